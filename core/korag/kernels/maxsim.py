"""MaxSim of quantized token vectors: by compiled loops with `korag[fast]`, otherwise by torch, with the same results.

For each document and query, Σ over query tokens of the greatest of its products with the document's tokens (ColBERT,
https://arxiv.org/abs/2004.12832, equation 3). Sums of products are whole numbers, and exact. A score depends on the
query and the document alone, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.kernels import jit, maxsim_torch
from korag.kernels.packing import MOST_DIMENSIONS, PackedQueries
from korag.kernels.tables import FACTORS, UNIT, ScoreTables

Ints = NDArray[np.int64]


def table_maxsim(
    codes: NDArray[np.uint8],
    cells: NDArray[np.uint16],
    gains: NDArray[np.uint8],
    begins: Ints,
    lengths: Ints,
    queries: ScoreTables,
) -> NDArray[np.float32]:
    """MaxSim of tokens with a cell, a code and a gain.

    A product is the gain's factor times the sum of a number for each byte, and two for the cell.

    Args:
        codes: Tokens of all documents. Shape: (rows, bytes).
        cells: That of each token; a centroid that does not exist counts as the last one. Shape: (rows,).
        gains: Of each token; `korag.kernels.tables.GAINS` are their factors. Shape: (rows,).
        begins: First row of each document. Shape: (n,).
        lengths: Number of rows of each document. Shape: (n,).
        queries: From `korag.kernels.tables.make_tables`, for codes of this size.

    Returns:
        −inf for a document without rows. Shape: (n, queries).

    Raises:
        ValueError: If an array has the wrong type or shape, or rows are out of range.
    """
    _check(codes, np.uint8, begins, lengths)
    if cells.dtype != np.uint16 or cells.shape != (len(codes),) or not cells.flags.c_contiguous:
        raise ValueError("cells must be a contiguous array of one for each row in uint16")
    if gains.dtype != np.uint8 or gains.shape != (len(codes),) or not gains.flags.c_contiguous:
        raise ValueError("gains must be a contiguous array of one for each row in uint8")
    if queries.size != codes.shape[1]:
        raise ValueError(f"codes of {codes.shape[1]} bytes do not fit tables for {queries.size}")
    sums = np.empty((len(begins), len(queries.steps)), np.float32)
    steps = queries.steps * np.float32(2**16 / UNIT)
    arrays = codes, cells, gains, FACTORS, begins, lengths, queries.tables, steps, sums
    if jit.is_available():
        from korag.kernels import maxsim_lanes

        maxsim_lanes.table_maxsim(*arrays)
    else:
        maxsim_torch.table_maxsim(*arrays)
    return _by_query(sums, queries.firsts)


def can_multiply(dim: int) -> bool:
    """Returns True if there is a compiled loop for `byte_maxsim` in so many dimensions."""
    return jit.is_available() and 1 <= dim <= MOST_DIMENSIONS


def byte_maxsim(codes: NDArray[np.int8], begins: Ints, lengths: Ints, queries: PackedQueries) -> NDArray[np.float32]:
    """MaxSim of tokens in int8: a product is the one with a query token in int8, times that token's step.

    Args:
        codes: Tokens of all documents. Shape: (rows, dim).
        begins: First row of each document. Shape: (n,).
        lengths: Number of rows of each document. Shape: (n,).
        queries: From `korag.kernels.packing.pack`.

    Returns:
        −inf for a document without rows. Shape: (n, queries).

    Raises:
        ValueError: If an array has the wrong type or shape, or rows are out of range.
    """
    _check(codes, np.int8, begins, lengths)
    if queries.codes.shape[2] != codes.shape[1]:
        raise ValueError(f"codes of {codes.shape[1]} dimensions do not fit queries of {queries.codes.shape[2]}")
    sums = np.empty((len(begins), len(queries.steps)), np.float32)
    if jit.is_available():
        from korag.kernels import maxsim_lanes

        maxsim_lanes.byte_maxsim(codes, begins, lengths, *queries.words, queries.steps, sums)
    else:
        maxsim_torch.byte_maxsim(codes, begins, lengths, queries.codes, queries.steps, sums)
    return _by_query(sums, queries.firsts)


def _check(codes: NDArray[Any], dtype: type[np.generic], begins: Ints, lengths: Ints) -> None:
    if codes.dtype != dtype or codes.ndim != 2 or not codes.shape[1] or not codes.flags.c_contiguous:
        raise ValueError(f"codes must be a contiguous array of two dimensions in {np.dtype(dtype)}")
    _check_places(len(codes), begins, lengths)


def _check_places(rows: int, begins: Ints, lengths: Ints) -> None:
    if not all(array.dtype == np.int64 and array.ndim == 1 for array in (begins, lengths)):
        raise ValueError("begins and lengths must be in int64")
    if len(begins) != len(lengths):
        raise ValueError(f"{len(begins)} begins and {len(lengths)} lengths: one of each for a document")
    if ((begins < 0) | (lengths < 0) | (begins > rows) | (lengths > rows - begins)).any():
        raise ValueError("document rows are out of range")


def _by_query(sums: NDArray[np.float32], firsts: Ints) -> NDArray[np.float32]:
    """Adds up the groups of each query. Shape: (n, queries)."""
    return sums if len(firsts) == sums.shape[1] else np.add.reduceat(sums, firsts, axis=1)
