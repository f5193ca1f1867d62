"""The BM25 leg: term counts as postings in the same segments as vectors, weighed when searched.

Document frequencies and lengths are taken over live documents at each search, so results after any adds and
deletes are those of an index built afresh, and what a transaction commits is searchable by every leg at once.
Why not SQLite's FTS5 or bm25s: docs/bm25.md has the measurements.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.legs.base import Arrays, LiveSegment, Part, score_all
from korag.legs.tokenizers import Tokenizer
from korag.scoring import Ints, sparse_cosines

K1, B = 1.2, 0.75
"""Saturation of term counts, and weight of document length: Lucene's defaults."""

TermCounts = tuple[NDArray[np.uint64], NDArray[np.uint16]]
"""The terms of a document, each once, and how often it has them. Shape of both: (distinct terms,)."""


@dataclass(frozen=True)
class WeighedQuery:
    """A query's terms with their weights in the whole collection.

    Attributes:
        terms: Distinct terms. Shape: (terms,).
        idf: Their inverse document frequencies. Shape: (terms,).
        average_length: Mean number of tokens of a live document.
    """

    terms: NDArray[np.uint64]
    idf: NDArray[np.float64]
    average_length: float


class BM25Leg:
    """Counts of tokens, under 64-bit hashes of them: any token of any tokenizer is as good as another.

    Two of a million distinct terms share a hash with a probability of 3 in 10⁸.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool | None) -> list[TermCounts]:
        """Counts the tokens of each document."""
        return [_count(tokens) for tokens in self.tokenizer(texts)]

    def encode_queries(self, texts: Sequence[str]) -> list[NDArray[np.uint64]]:
        """The distinct terms of each query."""
        return [_count(tokens)[0] for tokens in self.tokenizer(texts)]

    def pack(self, vectors: list[TermCounts]) -> dict[str, NDArray[Any]]:
        """Stores postings: for each term, the rows that have it, and how often."""
        sizes = [len(terms) for terms, _ in vectors]
        terms = np.concatenate([np.zeros(0, np.uint64), *(terms for terms, _ in vectors)])
        counts = np.concatenate([np.zeros(0, np.uint16), *(counts for _, counts in vectors)])
        rows = np.repeat(np.arange(len(vectors), dtype=np.int32), sizes)
        order = np.argsort(terms, kind="stable")  # rows stay ascending within a term
        distinct, starts = np.unique(terms[order], return_index=True)
        return {
            "terms": distinct,
            "starts": np.append(starts, len(terms)).astype(np.int64),
            "rows": rows[order],
            "counts": counts[order],
            "lengths": np.array([counts.sum(dtype=np.int64) for _, counts in vectors], np.int32),
        }

    def unpack(self, arrays: Arrays, rows: Ints) -> list[TermCounts]:
        """Term counts of some rows."""
        terms = np.repeat(arrays["terms"], np.diff(arrays["starts"]))
        order = np.argsort(arrays["rows"], kind="stable")
        bounds = np.searchsorted(arrays["rows"][order], np.arange(len(arrays["lengths"]) + 1))
        terms, counts = terms[order], arrays["counts"][order]
        return [(terms[bounds[row] : bounds[row + 1]], counts[bounds[row] : bounds[row + 1]]) for row in rows]

    def join(self, parts: Sequence[list[TermCounts]]) -> list[TermCounts]:
        """One list of documents."""
        return [document for part in parts for document in part]

    def prepare(self, query: NDArray[np.uint64], segments: Sequence[LiveSegment]) -> WeighedQuery:
        """Weighs terms by the live documents that have them: ``idf = ln(1 + (N − df + ½) / (df + ½))``."""
        documents, tokens, frequencies = 0, 0, np.zeros(len(query), np.int64)
        for segment in segments:
            lengths, starts, ends = segment.arrays["lengths"], *_find(segment.arrays, query)
            if segment.live.all():
                documents += len(lengths)
                tokens += int(lengths.sum(dtype=np.int64))
                frequencies += ends - starts
            else:
                documents += int(segment.live.sum())
                tokens += int(lengths[segment.live].sum(dtype=np.int64))
                alive = segment.live[_gather(segment.arrays["rows"], starts, ends)]
                frequencies += np.bincount(np.repeat(np.arange(len(query)), ends - starts), alive, len(query)).astype(
                    int
                )
        idf = np.log1p((documents - frequencies + 0.5) / (frequencies + 0.5))
        return WeighedQuery(query, idf, tokens / documents if documents else 1.0)

    def scores(self, arrays: Arrays, query: WeighedQuery, rows: Ints) -> NDArray[np.float32]:
        """BM25 in Lucene's form: ``Σ idf · tf / (tf + k1 · (1 − b + b · length / average))``.

        (Robertson and Zaragoza 2009, https://doi.org/10.1561/1500000019, equation 3.15, without the constant
        factor k1 + 1.) Documents that share no term do not match.
        """
        starts, ends = _find(arrays, query.terms)
        found, counts = _gather(arrays["rows"], starts, ends), _gather(arrays["counts"], starts, ends)
        saturation = K1 * (1 - B + B * arrays["lengths"][found] / max(query.average_length, 1e-9))
        impacts = np.repeat(query.idf, ends - starts) * counts / (counts + saturation)
        scores = np.bincount(found, impacts, len(arrays["lengths"])).astype(np.float32)[rows]
        scores[scores <= 0] = -np.inf
        return scores

    def search(
        self, queries: Sequence[WeighedQuery], parts: Sequence[Part], k: int, *, exact: bool
    ) -> Iterator[NDArray[np.float32]]:
        """Scores every document."""
        return score_all(self, queries, parts)

    def max_score(self, query: WeighedQuery) -> float:
        """``Σ idf``, which term counts approach as they grow."""
        return float(query.idf.sum())

    def similarities(self, vectors: list[TermCounts]) -> NDArray[np.float32]:
        """Cosines of term counts."""
        terms = np.unique(np.concatenate([np.zeros(0, np.uint64), *(terms for terms, _ in vectors)]))
        columns = np.concatenate([np.zeros(0, np.int64), *(np.searchsorted(terms, held) for held, _ in vectors)])
        counts = np.concatenate([np.zeros(0, np.float32), *(counts for _, counts in vectors)]).astype(np.float32)
        starts = np.cumsum([0, *(len(held) for held, _ in vectors)])
        return sparse_cosines(sp.csr_array((counts, columns, starts), shape=(len(vectors), len(terms))))


def _find(arrays: Arrays, terms: NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """Where the postings of each term start and end; nothing for a term the segment lacks."""
    known, bounds = arrays["terms"], arrays["starts"]
    positions = np.minimum(np.searchsorted(known, terms), max(len(known) - 1, 0))
    held = known[positions] == terms if len(known) else np.zeros(len(terms), np.bool_)
    return np.where(held, bounds[positions], 0), np.where(held, bounds[positions + held], 0)


def _gather(array: NDArray[Any], starts: Ints, ends: Ints) -> NDArray[Any]:
    """Some slices of an array end to end."""
    return np.concatenate([array[:0], *(array[start:end] for start, end in zip(starts, ends, strict=True))])


def _count(tokens: Sequence[str]) -> TermCounts:
    counted = Counter(tokens)
    terms = np.fromiter(map(_hash, counted), np.uint64, len(counted))
    counts = np.minimum(np.fromiter(counted.values(), np.int64, len(counted)), np.iinfo(np.uint16).max)
    return terms, counts.astype(np.uint16)


def _hash(token: str) -> int:
    digest = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
