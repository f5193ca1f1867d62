"""Postings: for each term the rows that have it, ascending, and a number for each of them.

Sums are made term by term, whichever way a row is reached. A row's score is therefore the same to the last bit with and
without kernels, and among whatever other rows. What a file says of rows is checked before it is followed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.kernels import jit
from korag.kernels.jit import kernel, part
from korag.scoring import Ints

Integers = NDArray[np.integer[Any]]
Weights = NDArray[np.float32]
Terms = NDArray[np.uint64]

MANY = 1_000_000
"""Postings of a segment from which kernels are used; for fewer, compiling them takes longer than it saves."""

FAR = 16
"""Postings per row wanted from which it is faster to look up each of the rows than to read all postings."""


def is_compiled(postings: int) -> bool:
    """Returns True if kernels are used for a segment of so many postings."""
    return postings >= MANY and jit.is_available()


def find_terms(terms: Terms, starts: Ints, wanted: Terms, postings: int) -> tuple[Ints, Ints]:
    """Returns where the postings of some terms start and end; in range, whatever the file says.

    Args:
        terms: The terms that there are, ascending. Shape: (terms,).
        starts: Where the postings of each start, and the end. Shape: (terms + 1,).
        wanted: The terms asked for. Shape: (wanted,).
        postings: How many postings there are.

    Returns:
        Start and end of each, equal for a term without postings. Shape of both: (wanted,).
    """
    find = _find_terms if is_compiled(postings) else _find_terms_slowly
    return find(terms, starts, wanted, postings)


def add_weights(
    weights: Weights, rows: Integers, starts: Ints, ends: Ints, factors: Weights, chosen: Ints, scores: Weights
) -> None:
    """Adds each term's weights, multiplied by the term's factor, to the scores of their rows.

    Args:
        weights: Weights of all postings. Shape: (postings,).
        rows: Rows of all postings; rows outside `scores` are ignored. Shape: (postings,).
        starts: First posting of each term; in range. Shape: (terms,).
        ends: End of each term's postings, exclusive; in range. Shape: (terms,).
        factors: Factor of each term. Shape: (terms,).
        chosen: The rows wanted, ascending. Shape: (chosen,).
        scores: Updated in place; right for those of `chosen` only. Shape: (n,).
    """
    add = _add_weights if is_compiled(len(rows)) else _add_weights_slowly
    add(weights, rows, starts, ends, factors, chosen, scores)


def count_chosen(rows: Integers, starts: Ints, ends: Ints, chosen: Ints, n: int) -> Ints:
    """Counts the postings of each term whose row is chosen.

    Args:
        rows: Rows of all postings. Shape: (postings,).
        starts: First posting of each term; in range. Shape: (terms,).
        ends: End of each term's postings, exclusive; in range. Shape: (terms,).
        chosen: The rows meant, ascending. Shape: (chosen,).
        n: How many rows there are.

    Returns:
        Shape: (terms,).
    """
    found = np.zeros(len(starts), np.int64)
    marked = np.zeros(n, np.bool_)
    marked[chosen] = True
    if is_compiled(len(rows)):
        _count_chosen(rows, starts, ends, chosen, marked, found)
    else:
        for term, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            own, _ = existing(rows[start:end], rows[start:end], n)
            found[term] = np.count_nonzero(marked[own])
    return found


def existing(rows: Integers, values: NDArray[Any], n: int) -> tuple[Ints, NDArray[Any]]:
    """Returns those of some postings whose row exists, and their values."""
    own = rows.astype(np.int64)
    inside = (own >= 0) & (own < n)
    return (own, values) if inside.all() else (own[inside], values[inside])


@part
def position(rows: Integers, low: int, end: int, row: int) -> int:
    """Returns the first posting from `low` on whose row is not lower, by longer and longer steps, and then by halves.

    Args:
        rows: Rows of all postings. Shape: (postings,).
        low: Where to begin; in range.
        end: Where the term ends; in range. Returned if all its rows are lower.
        row: The row.
    """
    high, step = low, 1
    while high < end and rows[high] < row:
        low = high + 1
        high += step
        step *= 2
    high = min(high, end)
    while low < high:
        middle = (low + high) // 2
        if rows[middle] < row:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _find_terms(terms: Terms, starts: Ints, wanted: Terms, postings: int) -> tuple[Ints, Ints]:
    begins, ends = np.zeros(len(wanted), np.int64), np.zeros(len(wanted), np.int64)
    for number, term in enumerate(wanted):
        at = np.searchsorted(terms, term)
        if at < len(terms) and terms[at] == term:
            begins[number] = min(max(starts[at], 0), postings)
            ends[number] = min(max(starts[at + 1], begins[number]), postings)
    return begins, ends


def _find_terms_slowly(terms: Terms, starts: Ints, wanted: Terms, postings: int) -> tuple[Ints, Ints]:
    at = np.searchsorted(terms, wanted)
    held = np.append(terms, 0)[at] == wanted
    held &= at < len(terms)
    begins, ends = (np.where(held, starts[np.where(held, at + by, 0)], 0) for by in (0, 1))
    begins = np.clip(begins, 0, postings)
    return begins, np.clip(ends, begins, postings)


@kernel
def _add_weights(
    weights: Weights, rows: Integers, starts: Ints, ends: Ints, factors: Weights, chosen: Ints, scores: Weights
) -> None:
    for term in range(len(starts)):
        start, end, factor = starts[term], ends[term], factors[term]
        if len(chosen) * FAR < end - start:
            at = start
            for row in chosen:
                at = position(rows, at, end, row)
                if at < end and rows[at] == row:
                    scores[row] += weights[at] * factor
        else:
            for at in range(start, end):
                row = np.int64(rows[at])
                if 0 <= row < len(scores):
                    scores[row] += weights[at] * factor


def _add_weights_slowly(
    weights: Weights, rows: Integers, starts: Ints, ends: Ints, factors: Weights, chosen: Ints, scores: Weights
) -> None:
    for start, end, factor in zip(starts.tolist(), ends.tolist(), factors, strict=True):
        own, held = existing(rows[start:end], weights[start:end], len(scores))
        scores[own] += held * factor


@kernel
def _count_chosen(
    rows: Integers, starts: Ints, ends: Ints, chosen: Ints, marked: NDArray[np.bool_], found: Ints
) -> None:
    for term in range(len(starts)):
        start, end = starts[term], ends[term]
        if len(chosen) * FAR < end - start:
            at = start
            for row in chosen:
                at = position(rows, at, end, row)
                if at < end and rows[at] == row:
                    found[term] += 1
        else:
            for at in range(start, end):
                row = np.int64(rows[at])
                if 0 <= row < len(marked) and marked[row]:
                    found[term] += 1
