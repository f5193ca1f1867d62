"""BM25: term counts as postings in the same segments as vectors, weighed at search time.

Document frequencies and lengths are taken over the live documents at each search. Results after any additions and
deletions are therefore those of a fresh index, and a committed transaction is searchable by every leg at once.
docs/bm25.md has the measurements against SQLite's FTS5 and bm25s.
"""

from __future__ import annotations

import hashlib
import math
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
from korag.explanations import LegExplanation, TermMatch
from korag.kernels.bm25 import saturation
from korag.legs.base import Arrays, Codec, ModelFreeLeg, Scores, SegmentSlice, damaged_entry, score_all
from korag.legs.best import BestScores
from korag.legs.bm25_codecs import BM25Codec, TermCounts, WeighedQuery
from korag.legs.explaining import NONE_SHARED, term_spans
from korag.legs.recorded_tokenizer import (
    check_same_tokenizer,
    is_recorded_tokenizer,
    record_tokenizer,
    restore_tokenizer,
)
from korag.places import spell
from korag.scoring import Ints, sparse_cosines

IDENTIFIED = 4.0
"""Confidence of the leg in a query that consists of identifiers; 2 to 10 are alike in benchmarks/identifiers.py."""

_BLOCK = 1_000_000
"""Characters tokenized at a time."""
_HALVINGS = 100
"""Of an interval up to 1e9, down to the precision of a float."""


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

    def among(self, terms: NDArray[np.uint64]) -> QueryTerms:
        """Returns those that are among some terms, such as a document's."""
        kept = np.isin(self.terms, terms)
        return QueryTerms(self.terms[kept], self.identifiers[kept], self.alternatives[kept])

    def part(self, begin: int, end: int) -> QueryTerms:
        """Returns some of them, by place."""
        return QueryTerms(self.terms[begin:end], self.identifiers[begin:end], self.alternatives[begin:end])


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
        """Weighs terms by the live documents that contain them."""
        documents, tokens, frequencies = 0, 0, np.zeros(len(query.terms), np.int64)
        for part in slices:
            some, counts = self.codec.statistics(part, query.terms)
            documents, tokens, frequencies = documents + len(part.rows), tokens + some, frequencies + counts
        return weigh(query, frequencies, documents=documents, average_length=tokens / max(documents, 1))

    def search(
        self, queries: Sequence[Any], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        """Scores the documents that may be among the k best; one that shares no term does not match."""
        return score_all(self._best_scores, [(query, BestScores(k)) for query in queries], slices, threads=True)

    def _best_scores(self, arrays: Arrays, query: tuple[WeighedQuery, BestScores], rows: Ints) -> Scores:
        return self.codec.best_scores(arrays, query[0], rows, query[1])

    def max_score(self, query: WeighedQuery) -> float:
        """``Σ idf``, which a document approaches as its term counts grow."""
        return float(query.idf.sum())

    def explain(self, asked: str, query: WeighedQuery, document: str, vectors: Any) -> LegExplanation:
        """As `Leg.explain`, by term."""
        names = {_hash(token): token for token in self.analyzer.queries([asked])[0]}
        terms, counts = _count(self.analyzer.documents([document])[0])
        half = float(saturation(int(counts.sum(dtype=np.int64)), query.average_length))
        held = dict(zip(terms.tolist(), counts.tolist(), strict=True))
        spelling = spell(document)
        matches = []
        for term, idf in zip(query.terms.tolist(), query.idf.tolist(), strict=True):
            if term in held:
                share, name = held[term] / (held[term] + half), names[term]
                matches.append(TermMatch(name, idf, share, idf * share, term_spans(name, spelling)))
        score = math.fsum(match.contribution for match in matches)
        matches.sort(key=lambda match: -match.contribution)
        return LegExplanation("lexical", score, terms=tuple(matches), note="" if matches else NONE_SHARED)

    def average_length_of(self, query: WeighedQuery, document: str, score: float) -> float | None:
        """Returns the mean length of documents with which one of them has a score: a server does not tell its own.

        Args:
            query: The query; its own `average_length` is of no meaning.
            document: The document.
            score: Its score for the query.

        Returns:
            The mean, in tokens; None if there is none, because the score comes from other weights.
        """
        terms, counts = _count(self.analyzer.documents([document])[0])
        _, asked, own = np.intersect1d(query.terms, terms, return_indices=True)
        idf, held = query.idf[asked], counts[own].astype(np.float64)
        least = float(saturation(0, 1.0))  # of no length at all
        low, high = least, 1e9
        if not idf @ (held / (held + high)) < score < idf @ (held / (held + low)):
            return None
        for _ in range(_HALVINGS):  # the score falls as the saturation rises
            middle = (low + high) / 2
            low, high = (middle, high) if idf @ (held / (held + middle)) > score else (low, middle)
        length = float(counts.sum(dtype=np.int64))
        return (float(saturation(length, 1.0)) - least) / max(high - least, 1e-12)

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


def weigh(
    query: QueryTerms, frequencies: Ints | NDArray[np.float64], *, documents: int, average_length: float
) -> WeighedQuery:
    """Weighs terms by the documents that contain them: ``idf = ln(1 + (N − df + ½) / (df + ½))``.

    Args:
        query: From `BM25Leg.encode_queries`.
        frequencies: Documents with each of its terms. Shape: (terms,).
        documents: Of the whole collection.
        average_length: Mean number of tokens of a document.
    """
    idf = np.log1p((documents - frequencies + 0.5) / (frequencies + 0.5))
    found = frequencies > 0
    kept = found | ~query.alternatives
    identified = idf[found & query.identifiers].sum() / max(idf[kept].sum(), 1e-9)
    order = np.flatnonzero(kept)[np.argsort(-idf[kept], kind="stable")]
    return WeighedQuery(query.terms[order], idf[order], max(average_length, 1e-9), float(identified))


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
