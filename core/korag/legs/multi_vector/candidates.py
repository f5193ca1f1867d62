"""Choosing the documents that a pruned search scores, by the cells that their tokens are in.

A query token looks only into the cells nearest to it, by inverted lists, and counts the same for all documents that are
in none of them (as WARP does, https://arxiv.org/abs/2501.17788). Such a guess is the sum of what each query token finds
there. Documents are scored whose guess is not much lower than the k-th best one: of a question that a few documents
answer these are few, and many of one that fits nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from korag.kernels.inverted_lists import add_gains, make_lists
from korag.kernels.tables import RESIDUALS
from korag.legs.arrays import row_type
from korag.legs.base import SegmentSlice
from korag.legs.multi_vector.codebook import CodebookScores
from korag.scoring import Ints
from korag.workers import run_all

Floats = NDArray[np.float32]
LISTED = 1 / 200
"""Of all cells, those that a query token looks into. With 1 of 1,000 twice as many documents have to be scored."""
_LISTED_AT_LEAST = 32
_NEAREST = 64
"""Centroids whose cells it chooses from."""
MARGIN = 0.35
"""A guess may be so much lower than the k-th best one, per unit of the query's length."""
MOST, LEAST = 1 / 4, 50
"""Documents scored: at most of all, and at least for each one wanted."""
_GREATEST = 2**16 - 1
"""Of the gains of a query, in steps: whole numbers, so that sums are exact."""
_TOGETHER = 256
"""Guesses of which the best stands for all when the k-th best is looked for."""


@dataclass(frozen=True)
class InvertedLists:
    """The documents of each cell.

    Attributes:
        starts: Where those of each cell start, and the end. Shape: (cells + 1,).
        documents: As rows of the segment. Shape: (tokens,).
    """

    starts: Ints
    documents: NDArray[np.integer[Any]]

    @classmethod
    def of(cls, part: SegmentSlice) -> Self:
        """Those of all documents in the segment; made at the first use."""
        if (made := part.segment_memo.get("inverted_lists")) is None:
            cells, offsets = part.arrays["cells"], part.arrays["offsets"]
            documents = np.empty(len(cells), row_type(len(offsets) - 1))
            made = part.segment_memo["inverted_lists"] = cls(make_lists(cells, offsets, documents), documents)
        found: Self = made
        return found


@dataclass(frozen=True)
class NearestCells:
    """The cells that each query token looks into.

    Attributes:
        cells: The nearest last. Shape: (query_tokens, n).
        gains: By how many steps each is nearer than the first one. Shape: (query_tokens, n).
        step: What a step is of a score.
        base: Sum of the scores of the first ones.
    """

    cells: NDArray[np.uint16]
    gains: NDArray[np.uint16]
    step: float
    base: float

    @classmethod
    def of(cls, scores: CodebookScores) -> Self:
        """Chooses them by the scores of a query and a codebook."""
        _, by_residual, by_centroid = scores
        nearest = _greatest(by_centroid.T, _NEAREST)
        sums: Any = np.take_along_axis(by_centroid.T, nearest, axis=1)[:, :, None] + by_residual.T[:, None]
        sums = sums.reshape(len(sums), -1)
        places = _greatest(sums, max(_LISTED_AT_LEAST, int(len(by_centroid) * RESIDUALS * LISTED)))
        chosen: Any = np.take_along_axis(sums, places, axis=1)
        order = np.argsort(chosen, axis=1, kind="stable")
        chosen, places = np.take_along_axis(chosen, order, axis=1), np.take_along_axis(places, order, axis=1)
        centroids = np.take_along_axis(nearest, places // RESIDUALS, axis=1)
        cells = (centroids * RESIDUALS + places % RESIDUALS).astype(np.uint16)
        gains = chosen - chosen[:, :1]
        step = max(float(gains.max()), 1e-30) / _GREATEST
        return cls(cells, np.rint(gains / step).astype(np.uint16), step, float(chosen[:, 0].sum()))


def choose(
    query: Floats, slices: Sequence[SegmentSlice], scores: Callable[[SegmentSlice], CodebookScores], k: int
) -> Ints:
    """Returns the positions of the documents to score, ascending.

    Args:
        query: Shape: (query_tokens, dim).
        slices: Documents to choose from.
        scores: Of the query and a slice's codebook; the same object for the same codebook.
        k: How many documents are wanted.
    """
    firsts = np.cumsum([0, *(len(part.rows) for part in slices)]).tolist()
    guesses = np.empty(firsts[-1], np.float32)

    def tasks() -> Iterator[tuple[SegmentSlice, NearestCells, slice]]:
        made: dict[int, NearestCells] = {}
        for part, (start, end) in zip(slices, pairwise(firsts), strict=True):
            own = scores(part)
            if id(own) not in made:
                made[id(own)] = NearestCells.of(own)
            yield part, made[id(own)], slice(start, end)

    def guess(task: tuple[SegmentSlice, NearestCells, slice]) -> None:
        part, near, own = task
        lists, sums = InvertedLists.of(part), np.zeros(len(part.arrays["offsets"]) - 1, np.int32)
        add_gains(lists.starts, lists.documents, near.cells, near.gains, sums)
        chosen = sums if len(part.rows) == len(sums) else sums[part.rows]
        guesses[own] = chosen * np.float32(near.step) + np.float32(near.base)

    run_all(guess, tasks())
    return _within(guesses, k, MARGIN * float(np.linalg.norm(query)))


def _within(guesses: Floats, k: int, margin: float) -> Ints:
    """Positions of guesses that are at most so much lower than the k-th best; not too few, and not too many."""
    least, most = LEAST * k, max(int(len(guesses) * MOST), LEAST * k)
    if len(guesses) <= least:
        return np.arange(len(guesses))
    blocks = np.maximum.reduceat(guesses, np.arange(0, len(guesses), _TOGETHER))
    bound = np.partition(blocks, -k)[-k] if len(blocks) >= k else blocks.min()
    best = guesses[guesses >= bound]  # the k best of the blocks are among them
    greatest = np.partition(best, -k)[-k] if len(best) >= k else bound
    positions = np.flatnonzero(guesses >= float(greatest) - margin)
    if len(positions) < least:
        return _best(guesses, least)
    return positions if len(positions) <= most else _best(guesses, most)


def _best(guesses: Floats, count: int) -> Ints:
    """Positions of the best, ascending; of equal ones the first."""
    least = np.partition(guesses, -count)[-count]
    better = np.flatnonzero(guesses > least)
    equal = np.flatnonzero(guesses == least)[: count - len(better)]
    return np.sort(np.concatenate([better, equal]))


def _greatest(scores: Floats, count: int) -> Ints:
    """Places of the greatest numbers of each row, ascending. Shape: (rows, at most `count`)."""
    if scores.shape[1] <= count:
        return np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    places = np.argpartition(scores, -count, axis=1)[:, -count:]
    return np.sort(places, axis=1)
