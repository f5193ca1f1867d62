"""BM25 of the best rows from postings, without reading all of them.

Terms are added to the sums of rows one by one, the heaviest first. As soon as the rest of them together cannot lift a
row to the k-th best score, only rows that already have enough are looked up in the rest: MaxScore (Turtle and Flood
1995, https://doi.org/10.1016/0306-4573(95)00020-H), with a term's weight as the bound of its impact. Rare terms weigh
most, so that few of a question's postings are read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.kernels.jit import kernel, part
from korag.kernels.postings import FAR, Integers, existing, is_compiled, position
from korag.scoring import Ints

Floats = NDArray[np.float64]
Scores = NDArray[np.float32]

K1, B = 1.2, 0.75
"""Lucene's defaults. K1: saturation of term counts. B: weight of document length."""

_FEW = 50_000
"""Postings of a query in a segment that numpy adds up in the time that it takes to look at each term."""

SURE = 1 - 1e-6
"""Factor that keeps a lower bound of a score one, however sums are rounded."""


@part
def saturation(length: Any, average: float) -> Any:
    """Returns the count at which a term of a document has half of its weight: ``k1 · (1 − b + b · length / average)``.

    Args:
        length: Tokens of the document.
        average: Mean of all documents.
    """
    return K1 * (1 - B + B * length / average)


@part
def impact(weight: Any, count: Any, half: Any) -> Any:
    """Returns what a term adds to a document's score: ``weight · count / (count + half)``.

    Args:
        weight: Of the term.
        count: How often the document has it.
        half: The document's `saturation`.
    """
    return weight * count / (count + half)


def find_best(
    counts: Integers, rows: Integers, starts: Ints, ends: Ints, weights: Floats, lengths: NDArray[np.int32],
    halves: Floats, average: float, chosen: Ints, k: int, least: float, scores: Scores,
) -> Scores:  # fmt: skip
    """Scores those of some rows that may be among the k best.

    Args:
        counts: Counts of all postings. Shape: (postings,).
        rows: Rows of all postings; rows that do not exist are ignored. Shape: (postings,).
        starts: First posting of each term; in range. Shape: (terms,).
        ends: End of each term's postings, exclusive; in range. Shape: (terms,).
        weights: Weight of each term, descending. Shape: (terms,).
        lengths: Tokens of all rows. Shape: (n,).
        halves: Saturations of rows of 0, 1, … tokens; of longer ones they are computed. Shape: (some lengths,).
        average: Mean length, above 0.
        chosen: The rows to choose from, ascending. Shape: (chosen,).
        k: How many of them are wanted; 0 for all.
        least: A score that k rows are known to reach, of these or others; −inf if there are none.
        scores: Set to the scores of the chosen rows; −inf for a row that has none of the terms, and for some or all of
            those that are not among the k best or do not reach `least`. Shape: (chosen,).

    Returns:
        Those scores that are not −inf. Shape: (found,).
    """
    find = _find_best if is_compiled(len(rows)) else _find_best_slowly
    return find(counts, rows, starts, ends, weights, lengths, halves, average, chosen, k, least, scores)


@part
def _kth(sums: Floats, chosen: Ints, k: int) -> float:
    """The k-th greatest of some sums, from a heap of the k greatest; 0 if fewer are above 0."""
    heap = np.zeros(k)
    for row in chosen:
        value = sums[row]
        if value > heap[0]:
            at = 0
            child = 1
            while child < k:
                if child + 1 < k and heap[child + 1] < heap[child]:
                    child += 1
                if heap[child] >= value:
                    break
                heap[at] = heap[child]
                at = child
                child = 2 * at + 1
            heap[at] = value
    return float(heap[0])


@part
def _reaching(sums: Floats, rows: Ints, bound: float) -> Ints:
    """Those of some rows whose sum reaches a bound."""
    kept = np.empty(len(rows), np.int64)
    found = 0
    for row in rows:
        kept[found] = row  # without a branch, which the processor could not predict
        found += sums[row] >= bound
    return kept[:found]


@kernel
def _find_best(
    counts: Integers, rows: Integers, starts: Ints, ends: Ints, weights: Floats, lengths: NDArray[np.int32],
    halves: Floats, average: float, chosen: Ints, k: int, least: float, scores: Scores,
) -> Scores:  # fmt: skip
    n, terms = len(lengths), len(weights)
    sums = np.zeros(n)
    rest = np.zeros(terms + 1)  # what the terms from each on can add at most
    for term in range(terms - 1, -1, -1):
        rest[term] = rest[term + 1] + weights[term]
    candidates = chosen
    read, look = 0, n // 2
    for term in range(terms):
        if 0 < k <= len(candidates) and read >= look:  # sums only grow, so k rows will reach the k-th of now
            least = max(least, _kth(sums, candidates, k))
            look = 2 * read
        if rest[term] < least * SURE:
            candidates = _reaching(sums, candidates, least * SURE - rest[term])
        start, end, weight = starts[term], ends[term], weights[term]
        if len(candidates) * FAR < end - start:
            at = start
            for row in candidates:
                at = position(rows, at, end, row)
                if at < end and rows[at] == row:
                    length = lengths[row]
                    half = halves[length] if 0 <= length < len(halves) else saturation(length, average)
                    sums[row] += impact(weight, counts[at], half)
        else:
            read += end - start
            for at in range(start, end):
                row = np.int64(rows[at])
                if 0 <= row < n:
                    length = lengths[row]
                    half = halves[length] if 0 <= length < len(halves) else saturation(length, average)
                    sums[row] += impact(weight, counts[at], half)
    scores[:] = -np.inf
    found, place = np.empty(len(candidates), np.float32), 0
    count = 0
    for row in candidates:
        score = np.float32(sums[row])
        if score > 0 and score >= least * SURE:
            while chosen[place] < row:
                place += 1
            scores[place] = score
            found[count] = score
            count += 1
    return found[:count]


def _find_best_slowly(
    counts: Integers, rows: Integers, starts: Ints, ends: Ints, weights: Floats, lengths: NDArray[np.int32],
    halves: Floats, average: float, chosen: Ints, k: int, least: float, scores: Scores,
) -> Scores:  # fmt: skip
    n = len(lengths)
    sums: Floats = np.zeros(n)
    candidates = chosen
    if int((ends - starts).sum()) < _FEW:  # all in one pass, which adds them in the same order
        sums = _sums(counts, rows, starts, ends, weights, lengths, average)
        starts, ends, weights = starts[:0], ends[:0], weights[:0]
    rest = np.append(np.cumsum(weights[::-1])[::-1], 0)
    read, look = 0, n // 2
    for term, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if 0 < k <= len(candidates) and read >= look:
            least = max(least, np.partition(sums[candidates], -k)[-k])
            look = 2 * read
        if rest[term] < least * SURE:
            candidates = candidates[sums[candidates] >= least * SURE - rest[term]]
        own, held = rows[start:end], counts[start:end]
        if len(candidates) * FAR < len(own):
            at = np.minimum(np.searchsorted(own, candidates.astype(own.dtype)), len(own) - 1)
            at = at[own[at] == candidates]
            own, held = own[at], held[at]
        else:
            read += len(own)
        own, held = existing(own, held, n)
        sums[own] += impact(weights[term], held, saturation(lengths[own], average))
    scores[:] = -np.inf
    found = sums[candidates].astype(np.float32)
    kept = (found > 0) & (found >= least * SURE)
    scores[np.searchsorted(chosen, candidates[kept])] = found[kept]
    return found[kept]


def _sums(
    counts: Integers, rows: Integers, starts: Ints, ends: Ints, weights: Floats, lengths: NDArray[np.int32],
    average: float,
) -> Floats:  # fmt: skip
    spans = [slice(*span) for span in zip(starts.tolist(), ends.tolist(), strict=True)]
    joined = np.concatenate([rows[:0], *(rows[span] for span in spans)])
    own, at = existing(joined, np.arange(len(joined)), len(lengths))
    held = np.concatenate([counts[:0], *(counts[span] for span in spans)])[at]
    each = impact(np.repeat(weights, ends - starts)[at], held, saturation(lengths[own], average))
    sums = np.bincount(own, each, len(lengths))
    return sums.astype(np.float64, copy=False)  # whole numbers only if there are none
