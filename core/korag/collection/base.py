"""The contract of every collection, and the types of its results and options.

A store (a folder, a server) derives from `Collection` and implements its abstract methods; everything that merely uses
a collection is typed against this class. `korag.testing.CollectionContract` tests a store.
"""

from __future__ import annotations

import dataclasses
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from korag.analysis.repair.lexicon import Lexicon
from korag.analysis.repair.repair import repaired
from korag.checks import (
    FusionMethod,
    check_count,
    check_flag,
    check_fraction,
    check_fusion,
    check_weights,
    reject_unknown,
)
from korag.collection.documents import StoredDocument, warn_empty
from korag.collection.runs import LegRuns, runs_of_hits
from korag.collection.spans import search_span, set_found
from korag.collection.streaming import stream_into
from korag.diversity import maximal_marginal_relevance
from korag.encoders.base import Encoder
from korag.errors import IndexStateError, InvalidArgumentError
from korag.filters import parse
from korag.fusion import DEFAULT_METHOD, Fusion
from korag.text import check_text, check_texts, is_empty

logger = logging.getLogger("korag")
DEFAULT_FETCH_K = 100
"""Candidates of each leg in a hybrid search."""
COMMIT_DOCUMENTS = 2_048
"""Documents encoded and committed together."""
COMMIT_CHARACTERS = 2_000_000
"""Characters above which fewer documents are: the vectors of all their windows are in memory at once."""


@dataclass(frozen=True)
class Hit:
    """A document found by a search.

    Attributes:
        id: The document's id.
        score: Its score, of the leg's own kind or fused for a hybrid search. Comparable within one search only.
        text: The text as it was added.
        metadata: A copy of the metadata as it was added.
        legs: (rank from 1, score) in each leg that found it.
        relevance: How well it answers the query, in [0, 1]; thresholds apply to it. In a search with one leg, the score
            as a fraction of the best one the query could get. Dense: the cosine. ColBERT: each query token's best
            match, averaged. Sparse: against the query itself. BM25: against a document that repeats every query term
            endlessly. Hybrid: the same scale for all combinations of legs and all fusions, on which 0.5 is the
            threshold that rejects questions the collection cannot answer (`korag.collection.relevance` has the
            formula); docs/evaluation.md has those of single legs, which depend on the model.
        rewritten_query: What was searched for, if the query was repaired (see `SearchOptions.repair_query`).
        span: Where the window that matched best begins and ends in the text, in characters, if the document is long
            enough to be split into windows: that of the leg which ranks the document highest, of those with windows.
            None for a document that was compared as a whole; `passage` is then the whole text.
    """

    id: str
    score: float
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    legs: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    relevance: float = 0.0
    rewritten_query: str | None = None
    span: tuple[int, int] | None = None

    @property
    def passage(self) -> str:
        """The part of the text that matched best: the window at `span`, or the whole text."""
        return self.text if self.span is None else self.text[slice(*self.span)]


class SearchSettings(TypedDict, total=False):
    """The fields of `SearchOptions` as keywords of `Collection.search`."""

    k: int
    using: str | None
    where: Mapping[str, Any] | None
    fetch_k: int | None
    fusion: FusionMethod
    weights: Mapping[str, float] | None
    min_relevance: float | None
    exact: bool
    repair_query: bool


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Settings of a search. Checked when created, except for what depends on the collection's legs.

    Attributes:
        k: Hits at most.
        using: A leg, or ``"hybrid"`` for all legs fused; None for the only leg, or hybrid if there are several.
        where: Metadata filter, applied before the k best are taken (see `korag.filters`).
        fetch_k: Candidates of each leg in a hybrid search; None for 100, or k if that is more.
        fusion: ``"auto"`` for the collection's `fitted_fusion` if it has one, otherwise ``"anchored"``. The others are
            the functions of `korag.fusion`: ``"anchored"`` by scaled scores, where legs with a model count as far as
            they agree with the lexical ones, ``"weighted"`` by scaled scores, ``"rrf"`` by rank.
        weights: Factor on the weight of each leg in a hybrid search; 1 where not given.
        min_relevance: Leave out hits of a lower `Hit.relevance`, in [0, 1].
        exact: False lets the late-interaction leg score only promising documents: faster in large collections, at the
            risk of missing some of the k best. Scores are the same. The other legs are always exact.
        repair_query: Search for what was meant where the collection has no such words and the query is Korean typed on
            an English keyboard (``wjstp`` for 전세) or the reverse, loose jamo (ㅈㅓㄴㅅㅔ), without spaces or with
            spaces in the wrong places, or has one wrong jamo in a long word. The query searched for is in
            `Hit.rewritten_query`. False searches for every query as it is.

    Raises:
        InvalidArgumentError: If a value breaks its rule.
        FilterError: If `where` is not a filter.
    """

    k: int = 10
    using: str | None = None
    where: Mapping[str, Any] | None = None
    fetch_k: int | None = None
    fusion: FusionMethod = "auto"
    weights: Mapping[str, float] | None = None
    min_relevance: float | None = None
    exact: bool = True
    repair_query: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "k", check_count("k", self.k))
        if self.fetch_k is not None:
            object.__setattr__(self, "fetch_k", check_count("fetch_k", self.fetch_k))
        check_fraction("min_relevance", self.min_relevance)
        check_flag("exact", self.exact)
        check_flag("repair_query", self.repair_query)
        check_fusion(self.fusion)
        parse(self.where)

    @property
    def candidates(self) -> int:
        """Documents each leg contributes to a fusion; at least k."""
        return max(self.k, DEFAULT_FETCH_K if self.fetch_k is None else self.fetch_k)


class Collection(ABC):
    """Documents with one representation per leg, added, filtered and searched.

    Texts are stored and returned as given; searching reads them as `korag.text.normalize` does.
    Empty documents are kept and never found.
    Safe for use by many threads.
    """

    # -- documents ----------------------------------------------------------------------------------------

    @abstractmethod
    def add(
        self,
        texts: Iterable[str],
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        show_progress: bool | None = None,
    ) -> list[str]:
        """Adds documents; one whose id exists replaces it and counts as newly inserted.

        Everything is checked before any work is done. Documents are committed in batches; adding the same ids again
        after an interruption completes the job.

        Args:
            texts: The documents, of up to 200 million characters each. Long ones are split into windows, or models read
                their beginning, as the collection was made; BM25 indexes the whole text.
            ids: Their ids, all different; generated if not given. Ids are the same if their NFC form is, here and in
                `get`, `delete` and `add_stream`; a document has the form of its last addition.
            metadata: A dict of JSON values for each document; copied.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            The ids, in order.

        Raises:
            InvalidTextError: If a text or id is not a string.
            InvalidArgumentError: If the numbers differ, an id occurs twice, or metadata is not JSON.
        """

    @abstractmethod
    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Removes documents by id, by filter, or those among `ids` that match the filter.

        Returns:
            How many were removed. Unknown ids are ignored.

        Raises:
            InvalidArgumentError: If neither is given.
        """

    @abstractmethod
    def get(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> list[StoredDocument]:
        """Returns the documents that exist: by id in the order given, otherwise in insertion order.

        Ids, and names and strings in `where`, are compared in NFC.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Number of documents."""

    def add_stream(
        self,
        documents: Iterable[tuple[str, str] | tuple[str, str, Mapping[str, Any] | None]],
        *,
        total: int | None = None,
        show_progress: bool | None = None,
    ) -> int:
        """Adds documents from an iterable of any length in constant memory.

        Documents are checked, encoded and committed 2,048 at a time. Those already stored with the same text and
        metadata are skipped without encoding, so after an interruption the same call continues where it stopped. One
        whose id exists with another text or other metadata replaces it.

        Args:
            documents: (id, text) or (id, text, metadata) for each; may be a generator.
            total: Their number, for the progress bar's estimate of the time left; None if unknown.
            show_progress: Show a progress bar; None shows one in a terminal.

        Returns:
            How many were added or replaced.

        Raises:
            InvalidTextError: If a text or id is not a string. Batches before it are stored.
            InvalidArgumentError: If an entry is something else, an id occurs twice in a batch, or metadata is not
                JSON.
        """

        def add(some: list[StoredDocument]) -> None:
            self.add(
                [document.text for document in some],
                ids=[document.id for document in some],
                metadata=[document.metadata for document in some],
                show_progress=False,
            )

        return stream_into(documents, COMMIT_DOCUMENTS, get=self.get, add=add, total=total, show_progress=show_progress)

    # -- search -------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def legs(self) -> tuple[str, ...]:
        """The names that `using` accepts, besides ``"hybrid"``."""

    @property
    @abstractmethod
    def encoders(self) -> dict[str, Encoder[Any]]:
        """The encoders by leg."""

    @property
    def fitted_fusion(self) -> Fusion | None:
        """The fusion fitted to this collection, which ``fusion="auto"`` uses; None for the library's default."""
        return None

    def store_fusion(self, fusion: Fusion | None) -> None:
        """Stores the fusion that ``fusion="auto"`` uses from now on. `korag.fit_fusion` finds one.

        Args:
            fusion: The fusion; None for the library's default.

        Raises:
            InvalidArgumentError: If it is no fusion of this collection's legs.
            IndexStateError: If this store cannot keep one.
        """
        raise IndexStateError(
            f"{type(self).__name__}은(는) 결합을 저장하지 않습니다. fit_fusion(..., store=False)로 구한 다음 검색할 때 "
            "넣으세요: search(query, fusion=fit.fusion.method, weights=fit.fusion.weights).",
            f"{type(self).__name__} does not store a fusion. Find one with fit_fusion(..., store=False) and pass it to "
            "each search: search(query, fusion=fit.fusion.method, weights=fit.fusion.weights).",
        )

    def search(
        self, query: str, *, options: SearchOptions | None = None, **settings: Unpack[SearchSettings]
    ) -> list[Hit]:
        """Finds the k best documents for a query.

        Args:
            query: The query, in any Unicode normalization form. An empty one finds nothing.
            options: How to search; instead of `settings`.
            settings: The fields of `SearchOptions`: `k` (10), `using`, `where`, `fetch_k`, `fusion` (``"auto"``),
                `weights`, `min_relevance`, `exact` (True), `repair_query` (True).

        Returns:
            Hits, best first; equal scores in insertion order.

        Raises:
            InvalidTextError: If the query is not a string.
            InvalidArgumentError: If a setting breaks its rule, or both `options` and settings are given.
            FilterError: If `where` is not a filter.
        """
        check_text(query, "query")
        return self.search_many([query], options=options, **settings)[0]

    def search_many(
        self, queries: Iterable[str], *, options: SearchOptions | None = None, **settings: Unpack[SearchSettings]
    ) -> list[list[Hit]]:
        """`search` for many queries, encoded together. Returns one list of hits per query, in order."""
        checked = check_texts(queries, "queries")
        if options is None:
            reject_unknown(self, settings, [setting.name for setting in fields(SearchOptions)])
            options = SearchOptions(**settings)
        elif not isinstance(options, SearchOptions):
            raise InvalidArgumentError(
                f"options={options!r:.80}: SearchOptions여야 합니다. korag.collection.SearchOptions(k=5)를 넣거나 "
                "k=5처럼 바로 넣으세요.",
                f"options={options!r:.80} is not a SearchOptions; pass korag.collection.SearchOptions(k=5), or its "
                "fields as keywords.",
            )
        elif settings:
            raise InvalidArgumentError(
                f"options와 {', '.join(settings)}을(를) 함께 넣었습니다. dataclasses.replace(options, ...)로 바꾸거나 "
                "하나만 넣으세요.",
                f"Both options and {', '.join(settings)} are given; use dataclasses.replace(options, ...), or give "
                "only one of them.",
            )
        legs = self._choose_legs(options.using)
        if options.weights is not None:
            check_weights(legs, options.weights)
        if options.fusion == "auto" and len(legs) > 1:
            fusion = Fusion(options.fusion, options.weights).resolved(self.fitted_fusion)
            options = replace(options, fusion=fusion.method, weights=fusion.weights)
        filled = [index for index, query in enumerate(checked) if not is_empty(query)]
        if len(filled) < len(checked):
            warn_empty(len(checked) - len(filled), len(checked))
        hits: list[list[Hit]] = [[] for _ in checked]
        if filled and options.k:
            with search_span(legs, options, queries=len(filled)) as span:
                given = [checked[index] for index in filled]
                meant = self._repaired(given) if options.repair_query else [None] * len(given)
                found = self._search([new or query for query, new in zip(given, meant, strict=True)], legs, options)
                for index, own, new in zip(filled, found, meant, strict=True):
                    hits[index] = own if new is None else [dataclasses.replace(hit, rewritten_query=new) for hit in own]
                set_found(span, found, repaired=len(meant) - meant.count(None))
        return hits

    def _repaired(self, queries: list[str]) -> list[str | None]:
        """Returns each query as it was meant, if it was mistyped."""
        lexicon = self._lexicon()
        if lexicon is None:
            return [None] * len(queries)
        meant = [repaired(query, lexicon) for query in queries]
        for query, new in zip(queries, meant, strict=True):
            if new is not None:
                logger.info("질의 %r을(를) %r로 고쳐 찾습니다. / Searching for %r as %r.", query, new, query, new)
        return meant

    def _lexicon(self) -> Lexicon | None:
        """Returns the words of this collection's texts, by which queries are repaired; None searches them as given."""
        return None

    def _choose_legs(self, using: str | None) -> tuple[str, ...]:
        """Returns the legs that `using` means.

        Raises:
            InvalidArgumentError: If this collection has no such leg.
        """
        legs = self.legs
        if using is None or (using == "hybrid" and len(legs) > 1):
            return legs
        if using in legs:
            return (using,)
        choices = ", ".join((*legs, *(["hybrid"] if len(legs) > 1 else [])))
        raise InvalidArgumentError(
            f"using={using!r}은(는) 이 컬렉션에 없습니다. 쓸 수 있는 값: {choices}.",
            f"using={using!r} is not in this collection; it offers: {choices}.",
        )

    @abstractmethod
    def _search(self, queries: list[str], legs: Sequence[str], options: SearchOptions) -> list[list[Hit]]:
        """Searches; what is common to all stores is checked and done before.

        Args:
            queries: At least one, none of them empty.
            legs: The legs to search and fuse; `korag.collection.ranking.rank_hits` fuses.
            options: Settings; `options.k` is at least 1, `options.using` is already resolved to `legs`, and
                ``fusion="auto"`` to a method and weights.

        Returns:
            Hits per query, in order.
        """

    def _leg_runs(self, queries: list[str], legs: Sequence[str], fetch: int) -> list[LegRuns]:
        """Finds what `legs` contribute to the fusion of each query. Takes what `_search` takes.

        By default, each leg is searched by itself. A store whose legs have confidences of their own
        (`korag.legs.base.Leg.confidence`) returns them as well.
        """
        alone = {
            leg: self._search(queries, (leg,), SearchOptions(k=fetch, using=leg, fusion=DEFAULT_METHOD)) for leg in legs
        }
        return [
            runs_of_hits({leg: [(hit.id, hit.score) for hit in hits[index]] for leg, hits in alone.items()}, fetch)
            for index in range(len(queries))
        ]

    @abstractmethod
    def search_by_vector(
        self,
        vector: Sequence[float],
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        min_relevance: float | None = None,
    ) -> list[Hit]:
        """`search` with the dense leg, for a query already encoded by its model.

        Args:
            vector: Shape: (dim,).
            k: Hits at most.
            where: Metadata filter, applied before the k best are taken.
            min_relevance: Leave out hits of a lower `Hit.relevance`, in [0, 1].

        Raises:
            InvalidArgumentError: If there is no dense leg, or the vector does not fit it.
        """

    def diversify(
        self, hits: Sequence[Hit], *, k: int = 10, lambda_mult: float = 0.5, using: str | None = None
    ) -> list[Hit]:
        """Chooses hits that differ from each other, by maximal marginal relevance.

        Args:
            hits: Results of a search of this collection; more than `k` of them.
            k: How many to choose at most.
            lambda_mult: 1 for relevance alone, 0 for difference alone.
            using: The leg searched, or ``"hybrid"``, as for `search`.

        Returns:
            Hits in the order chosen, without those deleted meanwhile.
        """
        check_count("k", k)
        for index, hit in enumerate(hits):
            if not isinstance(hit, Hit):
                raise InvalidArgumentError(
                    f"hits[{index}]={hit!r:.80}: Hit이어야 합니다. 이 컬렉션의 search가 반환한 결과를 넣으세요.",
                    f"hits[{index}]={hit!r:.80} must be a Hit; pass the result of this collection's `search`.",
                )
        ids, similarities = self._similarities([hit.id for hit in hits], self._choose_legs(using))
        by_id = {hit.id: hit for hit in hits}
        relevance = np.array([by_id[id_].relevance for id_ in ids], np.float32)
        chosen = maximal_marginal_relevance(relevance, similarities, k=k, lambda_mult=lambda_mult)
        return [by_id[ids[index]] for index in chosen]

    @abstractmethod
    def _similarities(self, ids: Sequence[str], legs: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        """Compares documents pairwise, by the one of `legs` that comes first in the registry's order of comparison.

        Returns:
            The ids that exist, in order, and their similarities. Shape: (n, n).
        """

    # -- life ---------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes a copy of the whole collection into a folder, for `korag.Collection.open`.

        A store that cannot do this inherits the error.

        Args:
            path: The folder; empty or not existing, unless `overwrite`.
            overwrite: Replace an existing collection. Anything else is never replaced.

        Returns:
            The folder.

        Raises:
            InvalidArgumentError: If there is a collection and `overwrite` is False, or this store cannot be saved.
            ForeignFolderError: If the folder contains something else.
            ReadOnlyError: If the folder cannot be written.
        """
        name = type(self).__name__
        raise InvalidArgumentError(
            f"{name}은(는) 폴더로 저장할 수 없는 저장소라 '{path}'에 아무것도 쓰지 않았습니다.",
            f"A {name} cannot be saved to a folder; nothing was written to '{path}'.",
        )

    @abstractmethod
    def close(self) -> None:
        """Releases files and connections; the collection cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
