"""`korag.kernels.maxsim` without compiled loops: several times as slow, with the same results to the last bit."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from korag.kernels import processor
from korag.kernels.tables import LANES, RESIDUALS, VALUES

if TYPE_CHECKING:
    import torch

Ints = NDArray[np.int64]
_PRODUCTS = 524_288
"""Products made at a time, so that they stay in the cache: 2 MB."""
_SPREAD = 1.2
"""Documents of a batch are filled up to the longest one, which is at most so much longer than the shortest."""
_NARROW = 8
"""Below this many dimensions torch 2.13's product of bytes gains nothing; for a single one it is wrong."""
_EXACT = 1_024
"""Dimensions up to which float32 holds sums of products of bytes: 2^24."""


def table_maxsim(
    codes: NDArray[np.uint8],
    cells: NDArray[np.uint16],
    gains: NDArray[np.uint8],
    factors: NDArray[np.int16],
    begins: Ints,
    lengths: Ints,
    tables: NDArray[np.int16],
    steps: NDArray[np.float32],
    sums: NDArray[np.float32],
) -> None:
    """Writes the sums of groups of query tokens. Shape: (n, groups)."""
    import torch

    size = codes.shape[1]
    firsts, last = VALUES * np.arange(size), tables.shape[1] - 1

    groups = len(tables)
    # Whole numbers of 16 bits and their sums are exact in float32.
    columns = torch.from_numpy(tables.transpose(1, 0, 2).reshape(-1, groups * LANES).astype(np.float32))
    sums[lengths == 0] = -np.inf
    for documents, rows in _batches(begins, lengths, max(1, _PRODUCTS // steps.size)):
        own = rows.ravel()
        centroid, residual = np.divmod(cells[own].astype(np.int64), RESIDUALS)
        centroid = np.minimum(VALUES * size + RESIDUALS + centroid, last)
        numbers = torch.from_numpy(np.column_stack([codes[own] + firsts, VALUES * size + residual, centroid]))
        products = torch.nn.functional.embedding_bag(numbers, columns, mode="sum")
        by_token = torch.from_numpy(factors[gains[own]].astype(np.int32))[:, None]
        scaled = (products.to(torch.int32) * by_token) >> 16
        best = scaled.view(*rows.shape, steps.size).amax(1).numpy().astype(np.float32)
        sums[documents] = _totals(best.reshape(-1, *steps.shape) * steps)


def byte_maxsim(
    codes: NDArray[np.int8],
    begins: Ints,
    lengths: Ints,
    queries: NDArray[np.int8],
    steps: NDArray[np.float32],
    sums: NDArray[np.float32],
) -> None:
    """Writes the sums of groups of query tokens. Shape: (n, groups)."""
    import torch

    transposed = torch.from_numpy(np.ascontiguousarray(queries.reshape(-1, codes.shape[1]).T))
    sums[lengths == 0] = -np.inf
    for documents, rows in _batches(begins, lengths, _PRODUCTS // steps.size):
        products = _multiply(torch.from_numpy(codes[rows.ravel()]), transposed)
        best = products.view(*rows.shape, steps.size).amax(1).numpy().astype(np.float32)
        sums[documents] = _totals(best.reshape(-1, *steps.shape) * steps)


def _multiply(codes: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Products in int32 where bytes are multiplied as such, or in floats that hold the same whole numbers."""
    import torch

    if processor.has_fast_int8_matmul() and len(queries) >= _NARROW:
        products: torch.Tensor = torch.ops.aten._int_mm(codes, queries)
        return products
    dtype = torch.float32 if len(queries) <= _EXACT else torch.float64
    return codes.to(dtype) @ queries.to(dtype)


def _batches(begins: Ints, lengths: Ints, most: int) -> Iterator[tuple[Ints, Ints]]:
    """Yields documents of about the same length, and their rows, the last of which fills up the shorter ones.

    Shapes: (batch,) and (batch, rows of the longest).
    """
    order = np.argsort(lengths, kind="stable")
    ascending = lengths[order].tolist()
    start = bisect.bisect_left(ascending, 1)
    while start < len(ascending):
        end = bisect.bisect_right(ascending, ascending[start] * _SPREAD, start)
        end = min(end, start + max(1, most // ascending[start]))
        own = order[start:end]
        yield own, begins[own, None] + np.minimum(np.arange(ascending[end - 1]), lengths[own, None] - 1)
        start = end


def _totals(parts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Adds up the last axis as `korag.kernels.lanes.total` does."""
    while parts.shape[-1] > 1:
        half = parts.shape[-1] // 2
        parts = parts[..., :half] + parts[..., half:]
    return parts[..., 0]
