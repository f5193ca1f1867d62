"""Searching packed token vectors: by codes, and by the vectors where they are kept.

A pruned search scores only the documents that `korag.legs.multi_vector.candidates` chooses.

A document's score is that of its codes, by tables of whole numbers, so it is the same in whatever company, and with or
without a compiler. With kept vectors the best by codes are scored by these instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from korag.kernels.maxsim import table_maxsim
from korag.kernels.tables import ScoreTables, make_tables
from korag.legs.arrays import verify, view
from korag.legs.base import Scores, SegmentSlice, narrow
from korag.legs.multi_vector import candidates
from korag.legs.multi_vector.codebook import Codebook, CodebookScores, digest_of
from korag.scoring import Ints, maxsim, maxsim_packed
from korag.workers import run_all

RESCORED, RESCORED_EACH = 256, 8
"""Documents scored by kept vectors: at least so many, and so many for each one wanted."""
PRUNED_FROM = 4_096
"""Documents from which choosing takes less time than it saves."""
PRUNED_SHARE = 1 / 16
"""Of the documents in their segments, from which on it does: lists are read whole, whatever a filter leaves."""
_READ = ("codes", "cells", "gains")
"""The arrays that are read of a document."""
_TOGETHER = 4_096
"""Documents that a core scores at a time."""


def search(
    queries: Sequence[NDArray[np.float32]], slices: Sequence[SegmentSlice], k: int, *, exact: bool, rescores: bool
) -> Iterator[Scores]:
    """Scores documents; −inf for those excluded.

    Args:
        queries: Token vectors of each. Shape of each: (query_tokens, dim).
        slices: Documents to choose from.
        k: How many of them are wanted.
        exact: False scores only documents whose cells make it likely that they are among the best.
        rescores: Score the best by the vectors themselves, and exclude all others.

    Yields:
        For each query the scores of all documents. Shape: (documents of all slices,).
    """
    total = sum(len(part.rows) for part in slices)
    rescored = max(RESCORED, RESCORED_EACH * k)
    stored = sum(len(part.arrays["offsets"]) - 1 for part in slices)
    prunes = not exact and total >= max(PRUNED_FROM, stored * PRUNED_SHARE, 2 * candidates.LEAST * k)
    prunes = prunes and all("codes" in part.arrays for part in slices)
    for query in queries:
        if not len(query):
            yield np.full(total, -np.inf, np.float32)
            continue
        tables, chosen, positions = _Tables(query), slices, np.arange(total)
        if prunes:
            positions = candidates.choose(query, slices, tables.scores, k)
            chosen = narrow(slices, positions)
        found = _scan(chosen, tables)
        if rescores:
            if len(found) > rescored:
                best = _best(found, rescored)
                chosen, positions = narrow(chosen, best), positions[best]
            found = np.concatenate([np.zeros(0, np.float32), *(_by_vectors(query, part) for part in chosen)])
        scores = np.full(total, -np.inf, np.float32)
        scores[positions] = found
        yield scores


class _Tables:
    """The scores of a query with each codebook, and the tables made of them."""

    def __init__(self, query: NDArray[np.float32]) -> None:
        self.query = query
        self._scores: dict[bytes, CodebookScores] = {}
        self._made: dict[bytes, ScoreTables] = {}

    def scores(self, part: SegmentSlice) -> CodebookScores:
        if (digest := digest_of(part.arrays)) not in self._scores:
            self._scores[digest] = _codebook(part).scores(self.query)
        return self._scores[digest]

    def of(self, part: SegmentSlice) -> ScoreTables:
        if (digest := digest_of(part.arrays)) not in self._made:
            self._made[digest] = make_tables([self.scores(part)])
        return self._made[digest]


def _codebook(part: SegmentSlice) -> Codebook:
    """That of a segment; read once, as long as it is open."""
    if "codebook" not in part.segment_memo:
        part.segment_memo["codebook"] = Codebook.of(part.arrays)
    found: Codebook = part.segment_memo["codebook"]
    return found


def _scan(slices: Sequence[SegmentSlice], tables: _Tables) -> Scores:
    """Scores all documents by their codes, on all cores."""
    firsts = np.cumsum([0, *(len(part.rows) for part in slices)]).tolist()
    scores = np.empty(firsts[-1], np.float32)

    def tasks() -> Iterator[tuple[SegmentSlice, ScoreTables | None, int, int]]:
        for part, first in zip(slices, firsts, strict=False):
            made = tables.of(part) if "codes" in part.arrays else None
            if made is not None:
                _verify(part)
            for start in range(0, len(part.rows), _TOGETHER):
                yield part, made, start, first + start

    def work(task: tuple[SegmentSlice, ScoreTables | None, int, int]) -> None:
        part, made, start, place = task
        arrays, rows = part.arrays, part.rows[start : start + _TOGETHER]
        own = slice(place, place + len(rows))
        if made is None:  # too few tokens for a codebook
            scores[own] = maxsim_packed(tables.query, arrays["tokens"], arrays["offsets"], rows)
            return
        begins = arrays["offsets"][rows]
        codes, cells, gains = (view(arrays, name) for name in _READ)
        lengths = arrays["offsets"][rows + 1] - begins
        scores[own] = table_maxsim(codes, cells, gains, begins, lengths, made)[:, 0]

    run_all(work, tasks())
    return scores


def _verify(part: SegmentSlice) -> None:
    """Verifies what a scan of a slice reads, all at once: for single documents it takes longer than their scores."""
    offsets = part.arrays["offsets"]
    whole = len(part.rows) == len(offsets) - 1
    starts, ends = (0, offsets[-1]) if whole else (offsets[part.rows], offsets[part.rows + 1])
    for name in _READ:
        verify(part.arrays, name, starts, ends)


def _by_vectors(query: NDArray[np.float32], part: SegmentSlice) -> Scores:
    """Scores by the vectors themselves."""
    arrays, offsets = part.arrays, part.arrays["offsets"]
    verify(arrays, "tokens", offsets[part.rows], offsets[part.rows + 1])
    tokens = view(arrays, "tokens")
    return maxsim(query, [tokens[offsets[row] : offsets[row + 1]] for row in part.rows])


def _best(scores: Scores, count: int) -> Ints:
    """Positions of the best, ascending."""
    if len(scores) <= count:
        return np.flatnonzero(scores > -np.inf)
    return np.flatnonzero((scores >= np.partition(scores, -count)[-count]) & (scores > -np.inf))
