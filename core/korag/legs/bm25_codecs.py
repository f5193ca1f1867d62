"""Codecs of the BM25 leg: term counts as postings, weighed at search time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from korag.kernels.bm25 import find_best, saturation
from korag.kernels.postings import count_chosen, find_terms
from korag.legs.arrays import (
    check_form,
    check_names,
    check_rows,
    check_starts,
    is_ascending,
    require,
    row_type,
    verify,
    view,
)
from korag.legs.base import Arrays, Codec, Scores, SegmentSlice
from korag.legs.best import BestScores
from korag.scoring import Ints, concatenate

_SHORT = 4_096
"""Tokens of documents whose saturation is computed once per query rather than per posting."""

TermCounts = tuple[NDArray[np.uint64], NDArray[np.uint16]]
"""The distinct terms of a document and their counts. Shape of both: (distinct terms,)."""


@dataclass(frozen=True)
class WeighedQuery:
    """A query's terms with their weights in the whole collection.

    Attributes:
        terms: Distinct terms, the rarest first: scores are sums in this order. Shape: (terms,).
        idf: Their inverse document frequencies. Shape: (terms,).
        average_length: Mean number of tokens of a live document, above 0.
        identified: The share of identifiers in the weight of all terms, in [0, 1].
    """

    terms: NDArray[np.uint64]
    idf: NDArray[np.float64]
    average_length: float
    identified: float = 0.0

    @cached_property
    def saturations(self) -> NDArray[np.float64]:
        """Saturations of documents of 0, 1, … tokens."""
        halves: NDArray[np.float64] = saturation(np.arange(_SHORT), self.average_length)
        return halves


class BM25Codec(Codec):
    """Base of codecs for the BM25 leg, whose representations are lists of `TermCounts`."""

    def statistics(self, part: SegmentSlice, terms: NDArray[np.uint64]) -> tuple[int, Ints]:
        """Counts over the rows of a slice.

        Returns:
            Their tokens, and for each term how many of them contain it, shape (terms,).
        """
        postings = PostingsCodec()
        rows = np.arange(len(part.rows))
        return postings.statistics(SegmentSlice(postings.encode(self.decode(part.arrays, part.rows)), rows), terms)

    def scores(self, arrays: Arrays, query: WeighedQuery, rows: Ints) -> Scores:
        """BM25 of some rows; −inf for those that share no term."""
        postings = PostingsCodec()
        return postings.scores(postings.encode(self.decode(arrays, rows)), query, np.arange(len(rows)))

    def best_scores(self, arrays: Arrays, query: WeighedQuery, rows: Ints, best: BestScores) -> Scores:
        """As `scores`; may also be −inf for rows that cannot be among the best, and adds the others to these."""
        return self.scores(arrays, query, rows)


class PostingsCodec(BM25Codec):
    """For each term, the rows that contain it and how often.

    ``terms``, distinct and ascending; ``starts``, where the postings of each begin, and the end; ``rows`` and
    ``counts`` of all postings, in two and one byte each if they fit; and the ``lengths`` of documents in tokens.
    Version 1 had four bytes for rows, and two for counts.
    """

    name = "postings"
    version = 2

    def encode(self, vectors: list[TermCounts]) -> dict[str, NDArray[Any]]:
        """Stores postings."""
        sizes = [len(terms) for terms, _ in vectors]
        terms = concatenate([np.zeros(0, np.uint64), *(terms for terms, _ in vectors)])
        counts = concatenate([np.zeros(0, np.uint16), *(counts for _, counts in vectors)])
        rows = np.repeat(np.arange(len(vectors), dtype=row_type(len(vectors))), sizes)
        order = np.argsort(terms, kind="stable")  # rows stay ascending within a term
        distinct, starts = np.unique(terms[order], return_index=True)
        few = counts.max(initial=0) <= np.iinfo(np.uint8).max
        return {
            "terms": distinct,
            "starts": np.append(starts, len(terms)).astype(np.int64),
            "rows": rows[order],
            "counts": counts[order].astype(np.uint8 if few else np.uint16),
            "lengths": np.array([counts.sum(dtype=np.int64) for _, counts in vectors], np.int32),
        }

    def read(self, arrays: Arrays, version: int) -> Arrays:
        """As `Codec.read`; arrays of version 1 are right in version 2, too."""
        return arrays if version == 1 else super().read(arrays, version)

    def decode(self, arrays: Arrays, rows: Ints) -> list[TermCounts]:
        """Term counts of some rows."""
        known, starts, few = arrays["terms"], arrays["starts"], 1_024  # pieces, so that other threads run meanwhile
        pieces = range(0, len(known), few)
        terms = concatenate(
            [known[:0], *(np.repeat(known[at : at + few], np.diff(starts[at : at + few + 1])) for at in pieces)]
        )
        order = np.argsort(arrays["rows"], kind="stable")
        held = np.bincount(arrays["rows"], minlength=len(view(arrays, "lengths")))
        bounds = np.concatenate([[0], np.cumsum(held)])
        terms, counts = terms[order], arrays["counts"][order].astype(np.uint16)
        return [(terms[bounds[row] : bounds[row + 1]], counts[bounds[row] : bounds[row + 1]]) for row in rows]

    def statistics(self, part: SegmentSlice, terms: NDArray[np.uint64]) -> tuple[int, Ints]:
        """As `BM25Codec.statistics`, from the postings of these terms."""
        live = part.memo.get("bm25")
        if live is None:
            live = part.memo["bm25"] = _LiveRows.of(part)
        starts, ends = _find(part.arrays, terms)
        frequencies = ends - starts
        if len(live.dead):
            verify(part.arrays, "rows", starts, ends)
            n = len(part.rows) + len(live.dead)
            frequencies -= count_chosen(view(part.arrays, "rows"), starts, ends, live.dead, n)
        return live.tokens, np.clip(frequencies, 0, len(part.rows))

    def scores(self, arrays: Arrays, query: WeighedQuery, rows: Ints) -> Scores:
        """BM25 in Lucene's form: ``Σ idf · tf / (tf + k1 · (1 − b + b · length / average))``.

        (Robertson and Zaragoza 2009, https://doi.org/10.1561/1500000019, equation 3.15, without the constant
        factor k1 + 1.)
        """
        scores, _ = self._search(arrays, query, rows, 0, -np.inf)
        return scores

    def best_scores(self, arrays: Arrays, query: WeighedQuery, rows: Ints, best: BestScores) -> Scores:
        """As `BM25Codec.best_scores`, reading only what matters."""
        scores, found = self._search(arrays, query, rows, best.k, best.least)
        best.add(found)
        return scores

    @staticmethod
    def _search(arrays: Arrays, query: WeighedQuery, rows: Ints, k: int, least: float) -> tuple[Scores, Scores]:
        """Scores of all rows, and those that are not −inf."""
        starts, ends = _find(arrays, query.terms)
        for name in ("rows", "counts"):
            verify(arrays, name, starts, ends)
        scores = np.empty(len(rows), np.float32)
        found = find_best(
            view(arrays, "counts"), view(arrays, "rows"), starts, ends, query.idf, arrays["lengths"],
            query.saturations, query.average_length, rows, k, least, scores,
        )  # fmt: skip
        return scores, found

    def check_layout(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check_layout`; reads nothing."""
        check_names(arrays, ("terms", "starts", "rows", "counts", "lengths"))
        terms, postings = len(view(arrays, "terms")), len(view(arrays, "rows"))
        check_form(arrays, "terms", np.uint64, terms)
        check_form(arrays, "starts", np.int64, terms + 1)
        check_form(arrays, "rows", (np.uint16, np.int32), postings)
        check_form(arrays, "counts", (np.uint8, np.uint16), postings)
        check_form(arrays, "lengths", np.int32, rows)

    def check(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check`."""
        self.check_layout(arrays, rows, dim=dim)
        require(is_ascending(arrays["terms"], strictly=True), "terms: not ascending")
        check_starts("starts", arrays["starts"], len(arrays["rows"]))
        check_rows("rows", arrays["rows"], arrays["starts"], rows)
        lengths = np.bincount(arrays["rows"], arrays["counts"], rows)  # whole numbers, far below 2⁵³
        require((lengths == arrays["lengths"]).all(), "lengths: not those of the counts")


@dataclass(frozen=True)
class _LiveRows:
    """The part of statistics that is the same for all queries.

    Attributes:
        tokens: Of its documents.
        dead: The other rows of the segment, ascending. Shape: (dead rows,).
    """

    tokens: int
    dead: Ints

    @classmethod
    def of(cls, part: SegmentSlice) -> Self:
        lengths = part.arrays["lengths"]
        dead = np.ones(len(lengths), np.bool_)
        dead[part.rows] = False
        return cls(int(lengths[part.rows].sum(dtype=np.int64)), np.flatnonzero(dead))


def _find(arrays: Arrays, terms: NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """Start and end of each term's postings, in range; equal for a term the segment does not contain."""
    return find_terms(arrays["terms"], arrays["starts"], terms, len(view(arrays, "rows")))
