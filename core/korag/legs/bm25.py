"""BM25: term counts as postings in the same segments as vectors, weighed at search time.

Document frequencies and lengths are taken over the live documents at each search. Results after any additions and
deletions are therefore those of a fresh index, and a committed transaction is searchable by every leg at once.
docs/bm25.md has the measurements against SQLite's FTS5 and bm25s.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.analysis.analyzer import Analyzer
from korag.analysis.marks import is_alternative, is_identifier
from korag.analysis.settings import BM25
from korag.analysis.synonyms import SynonymsLike, check_synonyms
from korag.analysis.tokenizers import KiwiTokenizer, TokenizerLike
from korag.analysis.versions import VERSION
from korag.errors import FingerprintError, FormatVersionError, InvalidArgumentError
from korag.legs.arrays import check_array, check_names, check_rows, check_starts, is_ascending, require
from korag.legs.base import Arrays, Codec, ModelFreeLeg, Scores, SegmentSlice, damaged_entry, score_all
from korag.legs.recorded_tokenizer import (
    check_same_tokenizer,
    is_recorded_tokenizer,
    record_tokenizer,
    restore_tokenizer,
)
from korag.scoring import Ints, concatenate, sparse_cosines

K1, B = 1.2, 0.75
"""Lucene's defaults. K1: saturation of term counts. B: weight of document length."""

IDENTIFIED = 4.0
"""Confidence of the leg in a query that consists of identifiers; 2 to 10 are alike in benchmarks/identifiers.py."""

_BLOCK = 1_000_000
"""Characters tokenized at a time."""

TermCounts = tuple[NDArray[np.uint64], NDArray[np.uint16]]
"""The distinct terms of a document and their counts. Shape of both: (distinct terms,)."""


@dataclass(frozen=True)
class QueryTerms:
    """The distinct terms of a query.

    Attributes:
        terms: Their hashes. Shape: (terms,).
        identifiers: Which of them name one thing (`korag.analysis.marks`). Shape: (terms,), bool.
        alternatives: Which of them count only if a document has them. Shape: (terms,), bool.
    """

    terms: NDArray[np.uint64]
    identifiers: NDArray[np.bool_]
    alternatives: NDArray[np.bool_]

    @classmethod
    def of(cls, tokens: Sequence[str]) -> Self:
        """Hashes and marks the tokens of a query."""
        distinct = list(dict.fromkeys(tokens))
        identifiers = np.fromiter(map(is_identifier, distinct), np.bool_, len(distinct))
        alternatives = np.fromiter(map(is_alternative, distinct), np.bool_, len(distinct))
        return cls(np.fromiter(map(_hash, distinct), np.uint64, len(distinct)), identifiers, alternatives)


@dataclass(frozen=True)
class WeighedQuery:
    """A query's terms with their weights in the whole collection.

    Attributes:
        terms: Distinct terms. Shape: (terms,).
        idf: Their inverse document frequencies. Shape: (terms,).
        average_length: Mean number of tokens of a live document.
        identified: The share of identifiers in the weight of all terms, in [0, 1].
    """

    terms: NDArray[np.uint64]
    idf: NDArray[np.float64]
    average_length: float
    identified: float = 0.0


class BM25Codec(Codec):
    """Base of codecs for the BM25 leg, whose representations are lists of `TermCounts`."""

    def statistics(self, arrays: Arrays, terms: NDArray[np.uint64], rows: Ints) -> tuple[int, Ints]:
        """Counts over some rows.

        Returns:
            Their tokens, and for each term how many of them contain it, shape (terms,).
        """
        postings = PostingsCodec()
        return postings.statistics(postings.encode(self.decode(arrays, rows)), terms, np.arange(len(rows)))

    def scores(self, arrays: Arrays, query: WeighedQuery, rows: Ints) -> Scores:
        """BM25 of some rows; −inf for those that share no term."""
        postings = PostingsCodec()
        return postings.scores(postings.encode(self.decode(arrays, rows)), query, np.arange(len(rows)))


class PostingsCodec(BM25Codec):
    """For each term, the rows that contain it and how often.

    ``terms``, distinct and ascending; ``starts``, where the postings of each begin, and the end; ``rows`` and
    ``counts`` of all postings; and the ``lengths`` of documents in tokens.
    """

    name = "postings"

    def encode(self, vectors: list[TermCounts]) -> dict[str, NDArray[Any]]:
        """Stores postings."""
        sizes = [len(terms) for terms, _ in vectors]
        terms = concatenate([np.zeros(0, np.uint64), *(terms for terms, _ in vectors)])
        counts = concatenate([np.zeros(0, np.uint16), *(counts for _, counts in vectors)])
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

    def decode(self, arrays: Arrays, rows: Ints) -> list[TermCounts]:
        """Term counts of some rows."""
        known, starts, few = arrays["terms"], arrays["starts"], 1_024  # pieces, so that other threads run meanwhile
        pieces = range(0, len(known), few)
        terms = concatenate(
            [known[:0], *(np.repeat(known[at : at + few], np.diff(starts[at : at + few + 1])) for at in pieces)]
        )
        order = np.argsort(arrays["rows"], kind="stable")
        bounds = np.searchsorted(arrays["rows"][order], np.arange(len(arrays["lengths"]) + 1))
        terms, counts = terms[order], arrays["counts"][order]
        return [(terms[bounds[row] : bounds[row + 1]], counts[bounds[row] : bounds[row + 1]]) for row in rows]

    def statistics(self, arrays: Arrays, terms: NDArray[np.uint64], rows: Ints) -> tuple[int, Ints]:
        """As `BM25Codec.statistics`, from the postings of these terms."""
        lengths, (starts, ends) = arrays["lengths"], _find(arrays, terms)
        if len(rows) == len(lengths):
            return int(lengths.sum(dtype=np.int64)), ends - starts
        counted = np.zeros(len(lengths), np.bool_)
        counted[rows] = True
        matches = counted[_gather(arrays["rows"], starts, ends)]
        frequencies = np.bincount(np.repeat(np.arange(len(terms)), ends - starts), matches, len(terms))
        return int(lengths[rows].sum(dtype=np.int64)), frequencies.astype(np.int64)

    def scores(self, arrays: Arrays, query: WeighedQuery, rows: Ints) -> Scores:
        """BM25 in Lucene's form: ``Σ idf · tf / (tf + k1 · (1 − b + b · length / average))``.

        (Robertson and Zaragoza 2009, https://doi.org/10.1561/1500000019, equation 3.15, without the constant
        factor k1 + 1.)
        """
        starts, ends = _find(arrays, query.terms)
        found, counts = _gather(arrays["rows"], starts, ends), _gather(arrays["counts"], starts, ends)
        saturation = K1 * (1 - B + B * arrays["lengths"][found] / max(query.average_length, 1e-9))
        impacts = np.repeat(query.idf, ends - starts) * counts / (counts + saturation)
        scores = np.bincount(found, impacts, len(arrays["lengths"])).astype(np.float32)[rows]
        scores[scores <= 0] = -np.inf
        return scores

    def check(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check`."""
        check_names(arrays, ("terms", "starts", "rows", "counts", "lengths"))
        terms, postings = len(arrays["terms"]), len(arrays["rows"])
        check_array(arrays, "terms", np.uint64, terms)
        check_array(arrays, "starts", np.int64, terms + 1)
        check_array(arrays, "rows", np.int32, postings)
        check_array(arrays, "counts", np.uint16, postings)
        check_array(arrays, "lengths", np.int32, rows)
        require(is_ascending(arrays["terms"], strictly=True), "terms: not ascending")
        check_starts("starts", arrays["starts"], postings)
        check_rows("rows", arrays["rows"], arrays["starts"], rows)
        lengths = np.bincount(arrays["rows"], arrays["counts"], rows)  # whole numbers, far below 2⁵³
        require((lengths == arrays["lengths"]).all(), "lengths: not those of the counts")


class BM25Leg(ModelFreeLeg):
    """Counts of tokens under 64-bit hashes, so that a token of any tokenizer has the same size.

    Two of a million distinct terms share a hash with a probability of 3 in 10⁸.

    Args:
        codec: How counts are stored.
        tokenizer: As for `BM25`; so are the other settings.
        trim_questions: Likewise.
        hanja: Likewise.
        synonyms: Likewise.
        version: Of the analysis; see `korag.analysis.versions`.
    """

    codec: BM25Codec
    query_settings = frozenset({"trim_questions", "synonyms"})
    lexical = True

    def __init__(
        self,
        codec: BM25Codec,
        *,
        tokenizer: TokenizerLike = None,
        trim_questions: bool = True,
        hanja: bool = False,
        synonyms: SynonymsLike = None,
        version: int = VERSION,
    ) -> None:
        super().__init__(codec)
        settings = BM25(restore_tokenizer(tokenizer), trim_questions=trim_questions, hanja=hanja, synonyms=synonyms)
        self.analyzer = Analyzer(settings, version)

    @property
    def settings(self) -> dict[str, Any]:
        """The tokenizer as `record_tokenizer` does, and the other settings; version 1 had its name alone."""
        own = self.analyzer.settings
        named: dict[str, Any] = {"tokenizer": record_tokenizer(own.resolved_tokenizer)}
        if own.hanja:
            named["hanja"] = True
        if own.synonym_groups:
            named["synonyms"] = [list(group) for group in own.synonym_groups]
        if self.analyzer.version == 1:
            return named
        return named | {"trim_questions": own.trim_questions, "version": self.analyzer.version}

    @property
    def arguments(self) -> dict[str, Any]:
        """The settings with the tokenizer itself; the version is the collection's, which another process may raise."""
        own = self.analyzer.settings
        return {
            "tokenizer": own.tokenizer,
            "trim_questions": own.trim_questions,
            "hanja": own.hanja,
            "synonyms": own.synonym_groups,
        }

    @classmethod
    def reopen(cls, codec: Codec, recorded: Mapping[str, Any], given: Any, *, name: str, place: str) -> Self:
        """As `Leg.reopen`; a function must be given again, because only its name is recorded."""
        settings = recorded.get("settings")
        tokenizer = settings.get("tokenizer") if isinstance(settings, dict) else None
        if not is_recorded_tokenizer(tokenizer):
            raise damaged_entry(name, place, "settings")
        given = _apart(given or {})
        check_same_tokenizer(tokenizer, given.get("tokenizer"), name=name, place=place)
        version = _version(settings or {}, name=name, place=place)
        before = {"hanja": False} | ({"trim_questions": False} if version == 1 else {})
        completed = before | {"version": version} | (settings or {})
        leg = super().reopen(codec, {**recorded, "settings": completed}, given, name=name, place=place)
        if completed["hanja"] and not leg.analyzer.settings.hanja:
            raise FingerprintError(
                f"{place}의 '{name}' 색인은 hanja=True로 만들었는데 hanja=False로 열었습니다. hanja=True로 열거나 새 "
                "폴더에 다시 색인하세요.",
                f"The '{name}' index of {place} was made with hanja=True and is opened with hanja=False. Open it with "
                "hanja=True, or index again into a new folder.",
            )
        return leg

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool | None) -> list[TermCounts]:
        """Counts the tokens of each document."""
        return [_count(tokens) for block in _blocks(texts) for tokens in self.analyzer.documents(block)]

    def encode_queries(self, texts: Sequence[str]) -> list[QueryTerms]:
        """The distinct terms of each query."""
        return [QueryTerms.of(tokens) for tokens in self.analyzer.queries(texts)]

    def prepare(self, query: QueryTerms, slices: Sequence[SegmentSlice]) -> WeighedQuery:
        """Weighs terms by the live documents that contain them: ``idf = ln(1 + (N − df + ½) / (df + ½))``."""
        documents, tokens, frequencies = 0, 0, np.zeros(len(query.terms), np.int64)
        for part in slices:
            some, counts = self.codec.statistics(part.arrays, query.terms, part.rows)
            documents, tokens, frequencies = documents + len(part.rows), tokens + some, frequencies + counts
        idf = np.log1p((documents - frequencies + 0.5) / (frequencies + 0.5))
        found = frequencies > 0
        kept = found | ~query.alternatives
        identified = idf[found & query.identifiers].sum() / max(idf[kept].sum(), 1e-9)
        return WeighedQuery(query.terms[kept], idf[kept], tokens / documents if documents else 1.0, float(identified))

    def search(
        self, queries: Sequence[Any], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        """Scores every document; one that shares no term does not match."""
        return score_all(self.codec.scores, queries, slices)

    def max_score(self, query: WeighedQuery) -> float:
        """``Σ idf``, which a document approaches as its term counts grow."""
        return float(query.idf.sum())

    def confidence(self, query: WeighedQuery) -> float:
        """Up to `IDENTIFIED` for a query of identifiers that a document has: no model tells 제44조 from 제45조.

        Years and other plain numbers are no identifiers. The rest of a query counts as before, by its share of the
        weight: ``1 + (IDENTIFIED − 1) · identified``.
        """
        return 1.0 + (IDENTIFIED - 1.0) * query.identified

    def similarities(self, vectors: list[TermCounts]) -> Scores:
        """Cosines of term counts."""
        terms = np.unique(np.concatenate([np.zeros(0, np.uint64), *(terms for terms, _ in vectors)]))
        columns = np.concatenate([np.zeros(0, np.int64), *(np.searchsorted(terms, held) for held, _ in vectors)])
        counts = np.concatenate([np.zeros(0, np.float32), *(counts for _, counts in vectors)]).astype(np.float32)
        starts = np.cumsum([0, *(len(held) for held, _ in vectors)])
        return sparse_cosines(sp.csr_array((counts, columns, starts), shape=(len(vectors), len(terms))))


def _apart(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with a tokenizer's synonyms as the setting that they are short for."""
    if not isinstance(tokenizer := given.get("tokenizer"), KiwiTokenizer) or not tokenizer.synonym_groups:
        return dict(given)
    own = BM25(tokenizer, synonyms=given.get("synonyms"))
    return {**given, "tokenizer": own.tokenizer, "synonyms": own.synonyms}


def _version(settings: Mapping[str, Any], *, name: str, place: str) -> int:
    """The version of the analysis that a collection's terms were made with."""
    version = settings.get("version", 1)
    flags = (settings.get("trim_questions", True), settings.get("hanja", False))
    if type(version) is not int or version < 1 or not all(isinstance(flag, bool) for flag in flags):
        raise damaged_entry(name, place, "settings")
    try:
        check_synonyms(settings.get("synonyms"))
    except InvalidArgumentError as error:
        raise damaged_entry(name, place, "settings") from error
    if version > VERSION:
        raise FormatVersionError(
            f"{place}의 '{name}' 색인은 더 새로운 KoRAG가 만들었습니다(분석 버전 {version}, 여기서는 {VERSION}까지). "
            "KoRAG를 업그레이드하세요.",
            f"The '{name}' index of {place} was made by a newer KoRAG (version {version} of the analysis; this one "
            f"knows {VERSION}); upgrade KoRAG.",
        )
    return version


def _find(arrays: Arrays, terms: NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """Start and end of each term's postings; equal for a term the segment does not contain."""
    known, bounds = arrays["terms"], arrays["starts"]
    positions = np.minimum(np.searchsorted(known, terms), max(len(known) - 1, 0))
    held = known[positions] == terms if len(known) else np.zeros(len(terms), np.bool_)
    return np.where(held, bounds[positions], 0), np.where(held, bounds[positions + held], 0)


def _gather(array: NDArray[Any], starts: Ints, ends: Ints) -> NDArray[Any]:
    """Concatenates slices of an array."""
    return np.concatenate([array[:0], *(array[start:end] for start, end in zip(starts, ends, strict=True))])


def _blocks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Groups texts, because their tokens take many times their memory."""
    block: list[str] = []
    size = 0
    for text in texts:
        if block and size + len(text) > _BLOCK:
            yield block
            block, size = [], 0
        block.append(text)
        size += len(text)
    yield block


def _count(tokens: Sequence[str]) -> TermCounts:
    counted = Counter(tokens)
    terms = np.fromiter(map(_hash, counted), np.uint64, len(counted))
    counts = np.minimum(np.fromiter(counted.values(), np.int64, len(counted)), np.iinfo(np.uint16).max)
    return terms, counts.astype(np.uint16)


def _hash(token: str) -> int:
    digest = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")
