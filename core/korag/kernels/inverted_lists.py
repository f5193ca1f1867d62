"""Inverted lists: for each cell of a quantizer, the documents that have a token in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.kernels import jit
from korag.kernels.jit import kernel

Ints = NDArray[np.int64]
CELLS = 2**16
"""All that there can be."""
MANY = 1_000_000
"""Tokens of a segment from which its lists are made by a kernel; for fewer, compiling that takes longer."""


def make_lists(cells: NDArray[np.uint16], offsets: Ints, documents: NDArray[np.integer[Any]]) -> Ints:
    """Sorts the documents by their tokens' cells.

    Args:
        cells: Of all tokens. Shape: (tokens,).
        offsets: Where the tokens of each document start, ascending, and the end. Shape: (documents + 1,).
        documents: Filled with those of each cell, one cell after another, as numbers, which fit. Shape: (tokens,).

    Returns:
        Where the documents of each cell start, and the end. Shape: (65,537,).
    """
    starts = np.concatenate([[0], np.cumsum(np.bincount(cells, minlength=CELLS))])
    if len(cells) >= MANY and jit.is_available():
        _sort(cells, offsets, starts[:-1].copy(), documents)
    else:
        numbers = np.arange(len(offsets) - 1, dtype=documents.dtype)
        documents[:] = np.repeat(numbers, np.diff(offsets))[np.argsort(cells, kind="stable")]
    return starts


def add_gains(
    starts: Ints,
    documents: NDArray[np.integer[Any]],
    cells: NDArray[np.uint16],
    gains: NDArray[np.uint16],
    sums: NDArray[np.int32],
) -> None:
    """Adds to each document's sum, for each query token, the gain of the last of its cells that has the document.

    Args:
        starts: Where the documents of each cell start, and the end; in range. Shape: (cells + 1,).
        documents: Of all cells, one after another; in range. Shape: (tokens,).
        cells: Of each query token, those with the greatest gain last. Shape: (query_tokens, n).
        gains: Shape: (query_tokens, n).
        sums: Updated in place. Shape: (documents,).
    """
    add = _add if jit.is_available() else _add_slowly
    add(starts, documents, cells, gains, sums)


@kernel
def _sort(cells: NDArray[np.uint16], offsets: Ints, places: Ints, documents: NDArray[np.integer[Any]]) -> None:
    for document in range(len(offsets) - 1):
        for token in range(offsets[document], offsets[document + 1]):
            cell = cells[token]
            documents[places[cell]] = document
            places[cell] += 1


@kernel
def _add(
    starts: Ints,
    documents: NDArray[np.integer[Any]],
    cells: NDArray[np.uint16],
    gains: NDArray[np.uint16],
    sums: NDArray[np.int32],
) -> None:
    found = np.zeros(len(sums), np.uint16)
    for token in range(len(cells)):
        for at in range(cells.shape[1]):  # a greater gain takes the place of a smaller one, with nothing to decide
            cell, gain = cells[token, at], gains[token, at]
            for place in range(starts[cell], starts[cell + 1]):
                found[documents[place]] = gain
        for document in range(len(sums)):
            sums[document] += found[document]
            found[document] = 0


def _add_slowly(
    starts: Ints,
    documents: NDArray[np.integer[Any]],
    cells: NDArray[np.uint16],
    gains: NDArray[np.uint16],
    sums: NDArray[np.int32],
) -> None:
    for own_cells, own_gains in zip(cells.tolist(), gains.tolist(), strict=True):
        found = np.zeros(len(sums), np.uint16)
        for cell, gain in zip(own_cells, own_gains, strict=True):
            found[documents[starts[cell] : starts[cell + 1]]] = gain
        sums += found
