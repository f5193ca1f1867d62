"""Estimates of dot products from codes of dense vectors: int8 codes, and signs, 64 of which are a word."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.kernels.jit import kernel

Floats = NDArray[np.float32]
_ODD, _PAIRS, _NIBBLES, _BYTES = (
    np.uint64(pattern) for pattern in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F, 0x0101010101010101)
)
_ONE, _TWO, _FOUR, _TOP = (np.uint64(shift) for shift in (1, 2, 4, 56))


def code_estimates(
    codes: NDArray[np.int8],
    terms: Floats,
    query: NDArray[np.int16],
    rows: NDArray[np.int64],
    *,
    step: float,
    factors: tuple[float, float],
) -> tuple[Floats, Floats]:
    """Dot products of a query with some rows, ``codes × scale``, and how far they may be off.

    Args:
        codes: Contiguous. Shape: (n, dim).
        terms: Scale, error and length of each row. Contiguous. Shape: (n, 3).
        query: Small enough that no sum leaves int32. Shape: (dim,).
        rows: Shape: (m,).
        step: The query's scale.
        factors: On a row's error and on its length, in how far its product may be off.

    Returns:
        Shapes: (m,), (m,).

    Raises:
        ValueError: If an array has the wrong type or shape, or a row does not exist.
    """
    _check((codes, np.int8), (terms, np.float32), (query, np.int16), (rows, np.int64))
    if terms.shape != (len(codes), 3) or query.shape != codes.shape[1:]:
        raise ValueError(f"shapes {codes.shape}, {terms.shape} and {query.shape}")
    found = np.empty((2, len(rows)), np.float32)
    if not _estimate_by_codes(codes, terms, query, rows, float(step), float(factors[0]), float(factors[1]), found):
        raise ValueError("a row does not exist")
    return found[0], found[1]


def sign_estimates(
    signs: NDArray[np.uint64],
    terms: Floats,
    planes: NDArray[np.uint64],
    rows: NDArray[np.int64],
    *,
    step: float,
    total: int,
    factors: tuple[float, float],
) -> tuple[Floats, Floats]:
    """Estimates ``terms[:, 0] × (signs · query) + terms[:, 1] + factors[0]``, and spreads ``terms[:, 2] × factors[1]``.

    Args:
        signs: A bit for each dimension: 1 for a sign of 1, 0 for −1. Contiguous. Shape: (n, words).
        terms: Contiguous. Shape: (n, 3).
        planes: The query's integers in two's complement, a row for each bit, the lowest first. Shape: (bits, words).
        rows: Shape: (m,).
        step: The query's scale.
        total: Sum of the query's integers.
        factors: See above.

    Returns:
        Shapes: (m,), (m,).

    Raises:
        ValueError: If an array has the wrong type or shape, or a row does not exist.
    """
    _check((signs, np.uint64), (terms, np.float32), (planes, np.uint64), (rows, np.int64))
    if terms.shape != (len(signs), 3) or planes.shape[1:] != signs.shape[1:]:
        raise ValueError(f"shapes {signs.shape}, {terms.shape} and {planes.shape}")
    found = np.empty((2, len(rows)), np.float32)
    first, second = factors
    if not _estimate_by_signs(signs, terms, planes, rows, float(step), int(total), float(first), float(second), found):
        raise ValueError("a row does not exist")
    return found[0], found[1]


def _check(*arrays: tuple[NDArray[Any], type]) -> None:
    """Kernels read whatever an index points to."""
    for array, dtype in arrays:
        if array.dtype != dtype or not array.flags.c_contiguous:
            raise ValueError(f"type {array.dtype} instead of {np.dtype(dtype)}, or not contiguous")


@kernel
def _estimate_by_codes(
    codes: NDArray[np.int8],
    terms: Floats,
    query: NDArray[np.int16],
    rows: NDArray[np.int64],
    step: float,
    of_error: float,
    of_length: float,
    found: Floats,
) -> bool:
    for place in range(len(rows)):
        at = rows[place]
        if at < 0 or at >= len(codes):
            return False
        row = codes[at]
        total = np.int32(0)
        for i in range(len(query)):
            total = np.int32(total + np.int32(row[i]) * np.int32(query[i]))  # otherwise numba takes int64: half as fast
        found[0, place] = total * (np.float64(terms[at, 0]) * step)
        found[1, place] = np.float64(terms[at, 1]) * of_error + np.float64(terms[at, 2]) * of_length
    return True


@kernel
def _estimate_by_signs(
    signs: NDArray[np.uint64],
    terms: Floats,
    planes: NDArray[np.uint64],
    rows: NDArray[np.int64],
    step: float,
    all_set: int,
    added: float,
    of_spread: float,
    found: Floats,
) -> bool:
    bits = len(planes)
    for place in range(len(rows)):
        at = rows[place]
        if at < 0 or at >= len(signs):
            return False
        row = signs[at]
        total = np.int64(0)
        for bit in range(bits):
            plane = planes[bit]
            count = np.uint64(0)
            for i in range(len(row)):
                word = row[i] & plane[i]  # its bits counted as in Hacker's Delight, which LLVM knows as one instruction
                word = word - ((word >> _ONE) & _ODD)
                word = (word & _PAIRS) + ((word >> _TWO) & _PAIRS)
                word = (word + (word >> _FOUR)) & _NIBBLES
                count += (word * _BYTES) >> _TOP
            total += np.int64(count) * (np.int64(1) << bit if bit < bits - 1 else -(np.int64(1) << bit))
        product = np.float64(2 * total - all_set) * step
        found[0, place] = np.float64(terms[at, 0]) * product + np.float64(terms[at, 1]) + added
        found[1, place] = np.float64(terms[at, 2]) * of_spread
    return True
