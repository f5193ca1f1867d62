"""Finds the k best documents by dot product, in segments with codes, without scoring each of them.

An exact search estimates all scores by int8 codes, whose error bound excludes only what cannot be among the k best. A
pruned one starts from signs, and leaves out what would have to be several spreads better than its estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from korag.kernels import jit
from korag.legs.arrays import view
from korag.legs.base import THREADS_FROM, Arrays, ScoreRows, Scores, SegmentSlice, narrow, score_all
from korag.legs.dense_codes import CodedQuery, estimates, rough_estimates
from korag.scoring import Ints, top_k
from korag.workers import run_all, run_here

MIN_CODED = 16_384
"""Documents with codes in a collection; below this, kernels are not worth compiling."""
MIN_DOCUMENTS = 2_048
"""Documents to choose from; below this, scoring all takes less time than finding candidates."""
MIN_RATIO = 8
"""Documents per result wanted; below this, too."""
SPREADS = 2.5
"""A pruned search leaves out what would have to be more spreads than this better than its estimate by signs."""
FIRST = 8
"""Documents per result wanted that a pruned search looks at to know about how good the k-th best is."""

Estimate = Callable[[Arrays, CodedQuery, Ints], tuple[Scores, Scores]]


def search(
    score: ScoreRows, queries: Sequence[NDArray[np.float32]], slices: Sequence[SegmentSlice], k: int, *, exact: bool
) -> Iterator[Scores]:
    """`korag.legs.base.Leg.search` for vectors with the arrays of `korag.legs.dense_codes`.

    Args:
        score: Scores rows as they are stored.
        queries: Shape of each: (dim,).
        slices: Documents to choose from; those in segments without codes are all scored.
        k: How many of them are wanted.
        exact: False allows missing some of the k best.

    Yields:
        Scores, and −inf for documents that were excluded. Shape: (documents of all slices,).
    """
    total = sum(len(part.rows) for part in slices)
    coded = sum(len(view(part.arrays, "codes")) for part in slices if "codes" in part.arrays)
    few = coded < MIN_CODED or total < max(MIN_DOCUMENTS, MIN_RATIO * k)
    if few or k <= 0 or not jit.is_available():
        yield from score_all(score, queries, slices, threads=True)
        return
    for vector in queries:
        query = CodedQuery.of(vector)

        def closely(arrays: Arrays, query: CodedQuery, rows: Ints) -> tuple[Scores, Scores]:
            if "codes" in arrays:
                return estimates(arrays, query, rows)
            return score(arrays, query.vector, rows), np.zeros(len(rows), np.float32)

        def roughly(arrays: Arrays, query: CodedQuery, rows: Ints) -> tuple[Scores, Scores]:
            return (rough_estimates if "signs" in arrays else closely)(arrays, query, rows)

        if exact:
            positions = _within_error(query, slices, k, closely)
        else:
            promising = _promising(query, slices, k, roughly, closely)
            positions = promising[_within_error(query, narrow(slices, promising), k, closely)]
        scores = np.full(total, -np.inf, np.float32)
        scores[positions] = _scored(score, vector, narrow(slices, positions))
        yield scores


def _promising(query: CodedQuery, slices: Sequence[SegmentSlice], k: int, roughly: Estimate, closely: Estimate) -> Ints:
    """Positions of the documents that are probably among the k best."""
    rough, spreads = _estimated(query, slices, roughly)
    first = np.sort(top_k(rough, np.arange(len(rough)), FIRST * k))
    near, off = _estimated(query, narrow(slices, first), closely)
    least = kth_best(near - off, k)
    rough += SPREADS * spreads
    rough[first] = np.inf
    return np.flatnonzero(rough >= least)


def _within_error(query: CodedQuery, slices: Sequence[SegmentSlice], k: int, closely: Estimate) -> Ints:
    """Positions of the documents that can be among the k best."""
    near, off = _estimated(query, slices, closely)
    least = kth_best(near - off, k)
    near += off
    return np.flatnonzero(near >= least)


def kth_best(scores: Scores, k: int) -> float:
    """The k-th best score, −inf if there are fewer."""
    best = top_k(scores, np.arange(len(scores)), k)
    return float(scores[best[-1]]) if len(best) == k else -np.inf


def _estimated(query: CodedQuery, slices: Sequence[SegmentSlice], estimate: Estimate) -> tuple[Scores, Scores]:
    """Estimates and errors of the documents of all slices."""
    ends = np.cumsum([0, *(len(part.rows) for part in slices)]).tolist()
    found = np.empty((2, ends[-1]), np.float32)

    def work(number: int) -> None:
        own, part = slice(ends[number], ends[number + 1]), slices[number]
        found[0, own], found[1, own] = estimate(part.arrays, query, part.rows)

    run = run_all if ends[-1] > THREADS_FROM else run_here
    run(work, [number for number, (start, end) in enumerate(pairwise(ends)) if start < end])
    return found[0], found[1]


def _scored(score: ScoreRows, vector: NDArray[np.float32], slices: Sequence[SegmentSlice]) -> Scores:
    (scores,) = score_all(score, [vector], slices, threads=True)
    return scores
