"""The loops of `korag.kernels.maxsim`; to be imported only if `korag.kernels.jit.is_available`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.kernels.jit import kernel
from korag.kernels.lanes import add, convert, fill, load, maximum, multiply, scale, store, total
from korag.kernels.products import BYTES, ROWS, SHIFT, WORD, add_products, greatest, no_products
from korag.kernels.tables import RESIDUALS

Ints = NDArray[np.int64]
_TOGETHER = 64
"""Documents scored by one group of query tokens before the tables of the next one take their place in the cache."""
_BLOCK = 64
"""Rows of a document multiplied by one group of query tokens before the next one takes its place in the cache."""


@kernel
def table_maxsim(
    codes: NDArray[np.uint8],
    cells: NDArray[np.uint16],
    gains: NDArray[np.uint8],
    factors: NDArray[np.int16],
    begins: Ints,
    lengths: Ints,
    tables: NDArray[np.int16],
    steps: NDArray[np.float32],
    sums: NDArray[Any],
) -> None:
    """Writes the sums of groups of query tokens. Shape: (n, groups)."""
    size = codes.shape[1]
    last = tables.shape[1] - 1
    for start in range(0, len(begins), _TOGETHER):
        for group in range(len(tables)):
            table = tables[group]
            for document in range(start, min(start + _TOGETHER, len(begins))):
                best = fill(np.int16(-32768))
                for row in range(begins[document], begins[document] + lengths[document]):
                    cell = np.intp(cells[row])
                    product = load(table, (256 * size + cell % RESIDUALS) * 32)
                    product = add(product, load(table, min(256 * size + RESIDUALS + cell // RESIDUALS, last) * 32))
                    for at in range(size):
                        product = add(product, load(table, (256 * at + np.intp(codes[row, at])) * 32))
                    best = maximum(best, scale(product, factors[gains[row]]))
                score = total(multiply(convert(best, np.float32), load(steps, group * 32)))
                sums[document, group] = score if lengths[document] else -np.inf


@kernel
def byte_maxsim(
    codes: NDArray[np.int8],
    begins: Ints,
    lengths: Ints,
    queries: NDArray[np.int32],
    corrections: NDArray[np.int32],
    steps: NDArray[np.float32],
    sums: NDArray[Any],
) -> None:
    """Writes the sums of groups of query tokens. Shape: (n, groups)."""
    dim, groups, count = codes.shape[1], len(queries), queries.shape[1]
    rows = np.zeros((_BLOCK, count * WORD), BYTES)
    words, best = rows.view(np.int32), np.empty((groups, 32), np.int32)
    for document in range(len(begins)):
        for first in range(0, lengths[document], _BLOCK):
            start, size = begins[document] + first, min(_BLOCK, lengths[document] - first)
            if dim % WORD == 0 and size * dim >= 32:
                for place in range(0, size * dim, 32):
                    at = min(place, size * dim - 32)
                    store(rows, at, add(convert(load(codes, start * dim + at), BYTES), fill(SHIFT)))
            else:
                for row in range(size):
                    for at in range(dim):
                        rows[row, at] = codes[start + row, at] + SHIFT
            for row in range(size, ROWS):  # a copy changes no maximum
                rows[row] = rows[size - 1]
            for group in range(groups):
                found = load(best, group * 32) if first else fill(np.int32(-(2**31)))
                for row in range(0, size, ROWS):  # some of the last ones twice
                    row = max(min(row, size - ROWS), 0)
                    products = no_products()
                    for at in range(count):
                        query = load(queries, (group * count + at) * 32)
                        products = add_products(products, words, row, at, query)
                    found = maximum(found, greatest(products))
                store(best, group * 32, found)
        for group in range(groups):
            exact = add(load(best, group * 32), load(corrections, group * 32))
            score = total(multiply(convert(exact, np.float32), load(steps, group * 32)))
            sums[document, group] = score if lengths[document] else -np.inf
