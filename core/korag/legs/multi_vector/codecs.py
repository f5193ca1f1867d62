"""Token vectors in one byte a number: a fast look at every document, with a bound on how far it can be off.

Whole numbers of one byte take half the memory of float16 and a fraction of the time. Since the error of rounding is
known, the documents that could be among the k best are known too.

For a query token q and a document token d with their rounded q̂ and d̂, by Cauchy and Schwarz:
``|q·d − q̂·d̂| ≤ |q|·|d − d̂| + |q − q̂|·|d̂|``; maxima and sums keep the bound.

Documents lie in the order of their length, filled up to one of a few lengths: those of equal length make one array,
whose maxima are taken at once. Beside the codes lie summaries, one of four neighbours: a quarter of the work, no bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.scoring import Ints

BLOCK = 8
"""Tokens of a block; documents are filled up with copies of their last token, which change no maximum."""
_BITS = 4
"""Numbers of blocks have no more significant bits: any up to 16, then 18, 20, … 32, 36, …"""
POOLED = 4
"""Tokens of a summary."""


def encode(tokens: NDArray[np.float16], offsets: Ints) -> dict[str, NDArray[Any]]:
    """Makes the arrays a segment stores beside the token vectors.

    Args:
        tokens: All tokens end to end. Shape: (total_tokens, dim).
        offsets: Where each document starts, and the end. Shape: (n + 1,).

    Returns:
        ``codes``, int8, shape (blocks · 8, dim), by length of the documents; ``code_places``, the first block of each
        document and how many it has, shape (n, 2); ``code_errors``, the greatest ``|d − d̂|`` of each document, shape
        (n,); ``code_scale``, shape (2,): what a code is to be multiplied by, and the greatest ``|d̂|``; and
        ``summaries``, int8, shape (blocks · 2, dim), in the order and with the scale of the codes.
    """
    lengths = np.diff(offsets)
    counts = _round_up(-(-lengths // BLOCK))
    order = np.argsort(counts, kind="stable")
    ends = np.cumsum(counts[order])
    places = np.zeros((len(lengths), 2), np.int64)
    places[order, 0], places[order, 1] = ends - counts[order], counts[order]
    scale = max(float(np.abs(tokens).max(initial=0)), 1e-9) / 127
    total = int(counts.sum()) * BLOCK
    codes = np.zeros((total, tokens.shape[1]), np.int8)
    summaries = np.zeros((total // POOLED, tokens.shape[1]), np.int8)
    errors = np.zeros(len(lengths), np.float32)
    greatest = 0.0
    for document in np.flatnonzero(lengths).tolist():
        start, end = int(offsets[document]), int(offsets[document + 1])
        first, last = BLOCK * int(places[document, 0]), BLOCK * int(places[document].sum())
        vectors = np.empty((last - first, tokens.shape[1]), np.float32)
        vectors[: end - start], vectors[end - start :] = tokens[start:end], tokens[end - 1]
        rounded = np.rint(vectors / scale)
        codes[first:last] = rounded
        norms = np.linalg.norm(vectors, axis=1)
        errors[document] = np.linalg.norm(vectors - rounded * scale, axis=1).max()
        greatest = max(greatest, float(np.linalg.norm(rounded, axis=1).max()) * scale)
        # A mean is shorter than what it is of: as long as these, or documents of unlike neighbours would fall behind.
        means = vectors.reshape(-1, POOLED, vectors.shape[1]).mean(axis=1)
        means *= (norms.reshape(-1, POOLED).mean(axis=1) / np.maximum(np.linalg.norm(means, axis=1), 1e-9))[:, None]
        summaries[first // POOLED : last // POOLED] = np.rint(np.clip(means / scale, -127, 127))
    return {
        "codes": codes,
        "code_places": places,
        "code_errors": errors,
        "code_scale": np.array([scale, greatest], np.float32),
        "summaries": summaries,
    }


@dataclass(frozen=True)
class QuantizedQuery:
    """A query's token vectors in bytes.

    Attributes:
        vectors: As they are. Shape: (query_tokens, dim).
        codes: Shape: (query_tokens, dim).
        steps: What each row is to be multiplied by. Shape: (query_tokens,).
        norm: Sum of the tokens' lengths.
        error: Sum of ``|q − q̂|``.
    """

    vectors: NDArray[np.float32]
    codes: NDArray[np.int8]
    steps: NDArray[np.float32]
    norm: float
    error: float


def quantize_query(query: NDArray[np.float32]) -> QuantizedQuery:
    """Rounds query token vectors, shape (query_tokens, dim), each by a step of its own."""
    steps = np.maximum(np.abs(query).max(axis=1, initial=0), 1e-9) / 127
    rounded = np.rint(query / steps[:, None])
    return QuantizedQuery(
        query,
        rounded.astype(np.int8),
        steps.astype(np.float32),
        float(np.linalg.norm(query, axis=1).sum()),
        float(np.linalg.norm(query - rounded * steps[:, None], axis=1).sum()),
    )


def _round_up(blocks: Ints) -> Ints:
    """The next numbers of at most four bits, so that there are few different ones. Shape: that of `blocks`."""
    steps = 1 << np.maximum(np.frexp(blocks)[1] - _BITS, 0)
    rounded: Ints = -(-blocks // steps) * steps
    return rounded
