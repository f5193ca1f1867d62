"""Estimates MaxSim of many documents on all cores: from codes, pooled tokens, or the token vectors themselves.

int8 is multiplied by a kernel where there is one (`korag.kernels.maxsim`), otherwise by torch.

These are estimates; `korag.scoring.maxsim_packed` gives the scores. An estimate depends on the query and the document
alone.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from korag.kernels import processor
from korag.kernels.maxsim import byte_maxsim, can_multiply
from korag.kernels.packing import pack
from korag.legs.base import SegmentSlice
from korag.legs.multi_vector.quantization import BLOCK, POOLED, QuantizedQuery
from korag.logs import logger
from korag.scoring import Ints
from korag.workers import run_all

if TYPE_CHECKING:
    import torch

Kind = Literal["tokens", "codes", "pooled_tokens"]
"""The array to scan."""
_BLOCK_ROWS: dict[Kind, int] = {"tokens": 1, "codes": BLOCK, "pooled_tokens": BLOCK // POOLED}
"""Vectors of a block."""
_DOCUMENTS = 256
"""Documents a core takes at a time."""
_PRODUCTS = 524_288
"""Products made at a time, so that they stay in the cache: 2 MB."""
_SPREAD = 1.5
"""Single documents are filled up to the longest of those multiplied together, which is at most so much longer: few
products of more than is needed are faster than many of little."""
_SLACK = 5e-5
"""For what float32 itself rounds, as a share of the greatest possible score: 6e-8 a number, many times over."""
_NARROW = 8
"""Below this many dimensions torch 2.13's product of bytes gains nothing; for a single one it is wrong."""


def estimate(slices: Sequence[SegmentSlice], queries: Sequence[QuantizedQuery], kind: Kind) -> NDArray[np.float32]:
    """Scores documents for several queries in one pass.

    Args:
        slices: The documents.
        queries: At least one, each with at least one token.
        kind: What to score by.

    Returns:
        −inf for a document without tokens. Shape: (documents of all slices, len(queries)).
    """
    firsts = np.cumsum([0, *(len(part.rows) for part in slices)])
    scores = np.full((int(firsts[-1]), len(queries)), -np.inf, np.float32)
    if kind != "tokens" and can_multiply(queries[0].codes.shape[1]):
        _report("korag[fast]")
        _scan_by_kernel(slices, firsts, kind, queries, scores)
    else:
        _report(f"torch, {'int8' if kind != 'tokens' and processor.has_fast_int8_matmul() else 'float32'}")
        _scan_by_torch(slices, firsts, kind, queries, scores)
    return scores


def is_fast_with_bytes(dim: int) -> bool:
    """Returns True if int8 products of `dim` dimensions are faster than float32 products on this machine."""
    return can_multiply(dim) or processor.has_fast_int8_matmul()


@cache
def _report(way: str) -> None:
    """Once for each way."""
    logger.info("MaxSim 훑어보기: %s / MaxSim looks at documents with %s", way, way)


def bounds(
    slices: Sequence[SegmentSlice], query: QuantizedQuery, kind: Literal["tokens", "codes"]
) -> NDArray[np.float32]:
    """Bound on the error of `estimate` against `korag.scoring.maxsim_packed`. Shape: (documents of all slices,)."""
    found: list[NDArray[np.float32]] = [np.zeros(0, np.float32)]
    for part in slices:
        errors, greatest = part.arrays["code_errors"][part.rows], float(part.arrays["code_scale"][1])
        off = query.norm * _SLACK * (greatest + errors)
        if kind == "codes":
            off = off + query.norm * errors + query.error * greatest
        found.append(off.astype(np.float32))
    return np.concatenate(found)


def _scan_by_kernel(
    slices: Sequence[SegmentSlice],
    firsts: Ints,
    kind: Kind,
    queries: Sequence[QuantizedQuery],
    scores: NDArray[np.float32],
) -> None:
    packed, size = pack([(query.codes, query.steps) for query in queries]), _BLOCK_ROWS[kind]

    def work(task: tuple[SegmentSlice, Ints, Ints]) -> None:
        part, spans, positions = task
        begins, lengths = np.ascontiguousarray(spans.T) * size
        found = byte_maxsim(part.arrays[kind], begins, lengths, packed)
        scores[positions] = found * float(part.arrays["code_scale"][0])

    def tasks() -> Iterator[tuple[SegmentSlice, Ints, Ints]]:
        for part, first in zip(slices, firsts.tolist(), strict=False):
            order, spans = _filled(part)
            for start in range(0, len(order), _DOCUMENTS):
                own = slice(start, start + _DOCUMENTS)
                yield part, spans[own], first + order[own]

    run_all(work, tasks())


def _scan_by_torch(
    slices: Sequence[SegmentSlice],
    firsts: Ints,
    kind: Kind,
    queries: Sequence[QuantizedQuery],
    scores: NDArray[np.float32],
) -> None:
    columns = np.cumsum([0, *(len(query.codes) for query in queries)]).tolist()
    vectors = np.concatenate([query.vectors if kind == "tokens" else query.codes for query in queries])
    transposed = _tensor(np.ascontiguousarray(vectors.T))

    def work(group: _Group) -> None:
        products = _multiply(_gather(group), transposed)
        maxima = products.view(len(group.begins), -1, len(vectors)).amax(1).numpy()
        for number, query in enumerate(queries):  # one after another, or a score would depend on its company
            own = maxima[:, columns[number] : columns[number + 1]]
            weighted = own if kind == "tokens" else own * query.steps.astype(np.float64)
            scores[group.positions, number] = weighted.sum(axis=1) * group.scale

    run_all(work, _groups(slices, firsts, kind, max(1, _PRODUCTS // len(vectors))))


class _Group(NamedTuple):
    """Documents of one segment that are about as long.

    Attributes:
        blocks: Where their vectors lie. Shape: (blocks, vectors of a block, dim).
        begins: The first block of each. Shape: (documents,).
        lengths: How many it has. Shape: (documents,).
        positions: Which scores are theirs. Shape: (documents,).
        longest: The most blocks that one has.
        together: Whether they lie side by side, all of one length.
        scale: Of the codes.
    """

    blocks: torch.Tensor
    begins: Ints
    lengths: Ints
    positions: Ints
    longest: int
    together: bool
    scale: float


def _groups(slices: Sequence[SegmentSlice], firsts: Ints, kind: Kind, most: int) -> Iterator[_Group]:
    """Groups of about `most` vectors."""
    for part, first in zip(slices, firsts.tolist(), strict=False):
        arrays, size = part.arrays, _BLOCK_ROWS[kind]
        scale = 1.0 if kind == "tokens" else float(arrays["code_scale"][0])
        blocks = _tensor(arrays[kind].reshape(len(arrays[kind]) // size, size, arrays[kind].shape[1]))
        order, spans = _filled(part)
        begins, lengths = np.ascontiguousarray(spans.T)
        counts = lengths.tolist()
        if kind == "tokens":
            begins, ends = arrays["offsets"][part.rows[order]], arrays["offsets"][part.rows[order] + 1]
            lengths = ends - begins
        # All documents of one length lie side by side, and need not be copied; of a few, those of about one length do.
        spread = 1.0 if len(part.rows) * 2 > len(arrays["code_spans"]) else _SPREAD
        positions, start = order + first, 0
        while start < len(counts):
            end = bisect.bisect_right(counts, counts[start] * spread, start)
            end = min(end, start + max(1, most // (counts[start] * (BLOCK if kind == "tokens" else size))))
            own, longest = slice(start, end), counts[end - 1]
            together = kind != "tokens" and counts[start] == longest
            together = together and int(begins[end - 1] - begins[start]) == longest * (end - start - 1)
            if kind == "tokens":
                longest = int(lengths[own].max())
            yield _Group(blocks, begins[own], lengths[own], positions[own], longest, together, scale)
            start = end


def _filled(part: SegmentSlice) -> tuple[Ints, Ints]:
    """Which of a part's documents have tokens, as they lie in the file, so by length, too; and their spans there."""
    spans = part.arrays["code_spans"][part.rows]
    order = np.argsort(spans[:, 0], kind="stable")
    order = order[spans[order, 1] > 0]
    return order, spans[order]


def _gather(group: _Group) -> torch.Tensor:
    """The vectors of a group, each document filled up with its last block. Shape: (vectors, dim)."""
    import torch

    if group.together:
        begin = int(group.begins[0])
        return group.blocks[begin : begin + group.longest * len(group.begins)].flatten(0, 1)
    index = group.begins[:, None] + np.minimum(np.arange(group.longest), group.lengths[:, None] - 1)
    return group.blocks.index_select(0, torch.from_numpy(index.ravel())).flatten(0, 1)


def _multiply(vectors: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    """Products in int32 where bytes are multiplied as such, or in float32, which holds the same whole numbers."""
    import torch

    if vectors.dtype == torch.int8 and processor.has_fast_int8_matmul() and len(query) >= _NARROW:
        products: torch.Tensor = torch.ops.aten._int_mm(vectors, query)
        return products
    return vectors.float() @ query.float()


class _Writable:
    """Says of an array that it may be written to."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array  # keeps the memory
        self.__array_interface__ = array.__array_interface__ | {"data": (array.ctypes.data, False)}


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    """The same memory; torch would warn of a file mapped for reading, though nothing here writes to it."""
    import torch

    return torch.from_numpy(array if array.flags.writeable else np.asarray(_Writable(array)))
