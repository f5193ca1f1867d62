"""Token vectors in one byte a number: a fast first look at every document, with a bound on how far it can be off.

Exact MaxSim reads two bytes a number and multiplies in float32. Whole numbers of one byte take half the memory and a
fraction of the time, and since the error of rounding is known, the documents that could be among the k best are known
too: only these are scored exactly. The result is the same, to the last bit.

For a query token q and a document token d with their rounded q̂ and d̂, by Cauchy and Schwarz:
``|q·d − q̂·d̂| ≤ |q|·|d − d̂| + |q − q̂|·|d̂|``; maxima and sums keep the bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from korag.scoring import Ints

if TYPE_CHECKING:
    import torch

_BLOCK = 8
"""Tokens of a block; documents are filled up with copies of their last token, which change no maximum."""
_BATCH = 2_048
"""Blocks multiplied at a time, so that the products stay in the cache."""
_SLACK = 5e-5
"""For what float32 itself rounds, as a share of the greatest possible score: 6e-8 a number, many times over."""
_NARROW = 8
"""Below this many dimensions nothing is gained; torch 2.13's product of bytes is wrong for a single one."""
_WORTH = 4
"""With fewer than this many documents for each one wanted, there is little to leave out."""


def encode(tokens: NDArray[np.float16], offsets: Ints) -> dict[str, NDArray[Any]]:
    """Makes the arrays a segment stores beside the token vectors.

    Args:
        tokens: All tokens end to end. Shape: (total_tokens, dim).
        offsets: Where each document starts, and the end. Shape: (n + 1,).

    Returns:
        ``codes``, int8, shape (blocks, 8 · dim); ``code_blocks``, the first block of each document and the end,
        shape (n + 1,); ``code_errors``, the greatest ``|d − d̂|`` of each document, shape (n,); and ``code_scale``,
        shape (2,): what a code is to be multiplied by, and the greatest ``|d̂|``.
    """
    lengths = np.diff(offsets)
    blocks = -(-lengths // _BLOCK)
    bounds = np.zeros(len(offsets), np.int64)
    np.cumsum(blocks, out=bounds[1:])
    scale = max(float(np.abs(tokens).max(initial=0)), 1e-9) / 127
    codes = np.zeros((int(bounds[-1]) * _BLOCK, tokens.shape[1]), np.int8)
    errors = np.zeros(len(lengths), np.float32)
    greatest = 0.0
    for document, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        if start < end:
            vectors = tokens[start:end].astype(np.float32)
            rounded = np.rint(vectors / scale)
            first = int(bounds[document]) * _BLOCK
            codes[first : first + end - start] = rounded
            codes[first + end - start : int(bounds[document + 1]) * _BLOCK] = rounded[-1]
            errors[document] = np.linalg.norm(vectors - rounded * scale, axis=1).max()
            greatest = max(greatest, float(np.linalg.norm(rounded, axis=1).max()) * scale)
    return {
        "codes": codes.reshape(int(bounds[-1]), _BLOCK * tokens.shape[1]),
        "code_blocks": bounds,
        "code_errors": errors,
        "code_scale": np.array([scale, greatest], np.float32),
    }


def candidates(arrays: Mapping[str, NDArray[Any]], query: NDArray[np.float32], rows: Ints, k: int) -> Ints:
    """Returns the rows that can be among the k best for MaxSim; all rows where looking does not pay.

    Args:
        arrays: What `encode` returned.
        query: Query token vectors. Shape: (query_tokens, dim).
        rows: Rows to choose from.
        k: How many are wanted.

    Returns:
        Some of `rows`, in their order; never one without tokens.
    """
    blocks = np.diff(arrays["code_blocks"])[rows]
    filled = rows[blocks > 0]
    if len(filled) <= _WORTH * k or not len(query) or query.shape[1] < _NARROW:
        return filled
    step = np.maximum(np.abs(query).max(axis=1, keepdims=True), 1e-9) / 127
    rounded = np.rint(query / step)
    scale, greatest = arrays["code_scale"].tolist()
    maxima = _maxima(arrays["codes"], arrays["code_blocks"], rounded.astype(np.int8), filled)
    scores = maxima @ (step[:, 0] * scale)
    norm = float(np.linalg.norm(query, axis=1).sum())
    off = float(np.linalg.norm(query - rounded * step, axis=1).sum()) * greatest
    bounds = norm * (arrays["code_errors"][filled] + _SLACK * greatest) + off
    least = np.partition(scores - bounds, -k)[-k]
    possible: Ints = filled[scores + bounds >= least]
    return possible


def _maxima(codes: NDArray[np.int8], first: Ints, query: NDArray[np.int8], rows: Ints) -> NDArray[np.float32]:
    """The greatest product of each query token with a token of each document. Shape: (len(rows), query_tokens)."""
    import torch

    transposed = torch.from_numpy(np.ascontiguousarray(query.T))
    starts, counts = first[rows], first[rows + 1] - first[rows]
    ends = np.cumsum(counts)
    maxima: NDArray[np.float32] = np.empty((len(rows), len(query)), np.float32)
    begin = 0
    while begin < len(rows):
        limit = (ends[begin - 1] if begin else 0) + _BATCH
        end = max(begin + 1, int(np.searchsorted(ends, limit, side="right")))
        part = _gather(codes, starts[begin:end], counts[begin:end])
        products = _multiply(torch.from_numpy(part.reshape(-1, query.shape[1])), transposed)
        of_blocks = products.view(len(part), _BLOCK, len(query)).amax(1).numpy()
        maxima[begin:end] = np.maximum.reduceat(of_blocks, ends[begin:end] - counts[begin:end] - (limit - _BATCH))
        begin = end
    return maxima


@cache
def is_fast() -> bool:
    """Whether this processor multiplies bytes faster than floats: with AVX-512 (VNNI) or AMX, by oneDNN."""
    import torch

    wide = torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2", "NO AVX")
    return wide and bool(torch.backends.mkldnn.is_available()) and hasattr(torch, "_int_mm")  # type: ignore[no-untyped-call]


def _multiply(codes: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.ops.aten._int_mm(codes, query) if is_fast() else codes.float() @ query.float()


def _gather(codes: NDArray[np.int8], starts: Ints, counts: Ints) -> NDArray[np.int8]:
    """A copy of some documents' blocks, end to end."""
    if np.array_equal(starts[1:], starts[:-1] + counts[:-1]):
        return codes[starts[0] : starts[-1] + counts[-1]].copy()
    pieces: Sequence[NDArray[np.int8]] = [
        codes[start : start + count] for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
    ]
    return np.concatenate(pieces)
