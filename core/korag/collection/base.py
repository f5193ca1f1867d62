"""The contract of every collection.

A store (a folder, a server) derives from `Collection` and implements its abstract methods; everything that merely uses
a collection is typed against this class. `korag.testing.CollectionContract` tests a store.
"""

from __future__ import annotations

import dataclasses
import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Self, Unpack

import numpy as np
from numpy.typing import NDArray

from korag.analysis.repair.lexicon import Lexicon
from korag.analysis.repair.repair import repaired
from korag.checks import check_count, check_weights, meant_name, reject_unknown
from korag.collection.citations import with_cited
from korag.collection.documents import COMMIT_CHARACTERS, COMMIT_DOCUMENTS, StoredDocument
from korag.collection.editing import Documents
from korag.collection.explaining import (
    document_id,
    explain_anew,
    put_together,
    unknown_document,
)
from korag.collection.explanation import Explanation
from korag.collection.hits import Hit
from korag.collection.options import DEFAULT_FETCH_K, SearchOptions, SearchSettings
from korag.collection.runs import LegRuns, runs_of_hits
from korag.collection.spans import search_span, set_found
from korag.collection.truncation import PAGE, Truncation, measure
from korag.diversity import maximal_marginal_relevance
from korag.empty_query import reject_empty_query, warn_empty_query
from korag.encoders.base import Encoder
from korag.errors import IndexStateError, InvalidArgumentError
from korag.explanations import LegExplanation
from korag.fusion import DEFAULT_METHOD, Fusion
from korag.html.objects import object_html
from korag.legs.windows.settings import Windows
from korag.logs import logger
from korag.text import check_text, check_texts, is_empty

__all__ = [
    "COMMIT_CHARACTERS",
    "COMMIT_DOCUMENTS",
    "DEFAULT_FETCH_K",
    "Collection",
    "Hit",
    "SearchOptions",
    "SearchSettings",
]


class Collection(Documents):
    """Documents with one representation per leg, added, filtered and searched.

    Texts are stored and returned as given; searching reads them as `korag.text.normalize` does.
    Empty documents are kept and never found.
    Safe for use by many threads.
    """

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
                `weights`, `min_relevance`, `exact` (True), `repair_query` (True), `expand`.

        Returns:
            Hits, best first; equal scores in insertion order. With ``expand="citations"``, the articles that they cite
            come behind them.

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
        legs, options = self._resolved(options, settings)
        filled = [index for index, query in enumerate(checked) if not is_empty(query)]
        if len(filled) < len(checked):
            warn_empty_query(empty=len(checked) - len(filled), total=len(checked))
        hits: list[list[Hit]] = [[] for _ in checked]
        if filled and options.k:
            with search_span(legs, options, queries=len(filled)) as span:
                given = [checked[index] for index in filled]
                meant = self._repaired(given) if options.repair_query else [None] * len(given)
                found = self._search([new or query for query, new in zip(given, meant, strict=True)], legs, options)
                if options.expand is not None:
                    found = with_cited(found, self.get, options.where, options.k)
                for index, own, new in zip(filled, found, meant, strict=True):
                    hits[index] = own if new is None else [dataclasses.replace(hit, rewritten_query=new) for hit in own]
                set_found(span, found, repaired=len(meant) - meant.count(None))
        return hits

    def explain(
        self,
        query: str,
        document: Hit | StoredDocument | str,
        *,
        options: SearchOptions | None = None,
        **settings: Unpack[SearchSettings],
    ) -> Explanation:
        """Explains a document's score for a query: by token, term and leg, with places in its text.

        >>> why = collection.explain(query, hits[0])
        >>> print(why)  # a notebook shows it as a picture

        Searches again, by each leg, and asks the legs what their scores of this document consist of. The sum of the
        parts is the score that the search gives it, for ColBERT, sparse and BM25 legs and for every fusion; a dense
        leg's score has no parts. `k` and `min_relevance` are of no meaning here.

        Args:
            query: The query.
            document: A hit of it, or the id of any document.
            options: How it was searched; instead of `settings`.
            settings: As for `search`; the same as for the search that is to be explained.

        Raises:
            InvalidTextError: If the query is not a string.
            InvalidArgumentError: If it is empty, there is no such document, or a setting breaks its rule.
            FilterError: If `where` is not a filter.
        """
        reject_empty_query(check_text(query, "query"))
        id_ = document_id(document)
        legs, options = self._resolved(options, settings)
        if not (stored := self.get([id_])):
            raise unknown_document(id_)
        (new,) = self._repaired([query]) if options.repair_query else [None]
        searched = new or query
        (found,) = self._leg_runs([searched], legs, options.candidates, options.where)
        told = self._explain_legs(searched, legs, stored[0])
        return put_together(query, searched, stored[0], told, found, Fusion(options.fusion, options.weights).resolved())

    def _explain_legs(self, query: str, legs: Sequence[str], document: StoredDocument) -> dict[str, LegExplanation]:
        """Returns what each leg's score of a document consists of.

        By default, the document is encoded again, and a leg without an encoder does not tell.
        """
        return {name: explain_anew(self.encoders, name, query, document) for name in legs}

    def _resolved(
        self, options: SearchOptions | None, settings: SearchSettings
    ) -> tuple[tuple[str, ...], SearchOptions]:
        """Checks how to search; returns the legs, and the options with the fusion that is meant."""
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
        return legs, options

    def _repaired(self, queries: list[str]) -> list[str | None]:
        """Returns each query as it was meant, if it was mistyped."""
        lexicon = self._lexicon()
        if lexicon is None:
            return [None] * len(queries)
        meant = [repaired(query, lexicon) for query in queries]
        for query, new in zip(queries, meant, strict=True):
            if new is not None:
                logger.info("질문 %r을(를) %r(으)로 고쳐 찾습니다. / Searching for %r as %r.", query, new, query, new)
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
        choices = (*legs, *(["hybrid"] if len(legs) > 1 else []))
        korean, english = meant_name(using, choices)
        raise InvalidArgumentError(
            f"using={using!r}은(는) 이 컬렉션에 없습니다.{korean} 쓸 수 있는 값: {', '.join(choices)}.",
            f"using={using!r} is not in this collection.{english} It offers: {', '.join(choices)}.",
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

    def _leg_runs(
        self, queries: list[str], legs: Sequence[str], fetch: int, where: Mapping[str, Any] | None = None
    ) -> list[LegRuns]:
        """Finds what `legs` contribute to the fusion of each query. Takes what `_search` takes.

        By default, each leg is searched by itself. A store whose legs have confidences of their own
        (`korag.legs.base.Leg.confidence`) returns them as well.
        """
        alone = {
            leg: self._search(queries, (leg,), SearchOptions(k=fetch, using=leg, where=where, fusion=DEFAULT_METHOD))
            for leg in legs
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
                    f"hits[{index}]={hit!r:.80}: Hit이어야 합니다. 이 컬렉션의 search가 돌려준 결과를 넣으세요.",
                    f"hits[{index}]={hit!r:.80} must be a Hit; pass the result of this collection's `search`.",
                )
        by_id: dict[str, Hit] = {}
        for hit in hits:  # of several searches, perhaps: a document counts once, as it was found best
            known = by_id.setdefault(hit.id, hit)
            if hit.relevance > known.relevance:
                by_id[hit.id] = hit
        ids, similarities = self._similarities(list(by_id), self._choose_legs(using))
        relevance = np.array([by_id[id_].relevance for id_ in ids], np.float32)
        chosen = maximal_marginal_relevance(relevance, similarities, k=k, lambda_mult=lambda_mult)
        return [by_id[ids[index]] for index in chosen]

    @abstractmethod
    def _similarities(self, ids: Sequence[str], legs: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        """Compares documents pairwise, by the one of `legs` that comes first in the registry's order of comparison.

        Returns:
            The ids that exist, in order, and their similarities. Shape: (n, n).
        """

    # -- lengths ------------------------------------------------------------------------------------------

    def truncated(self) -> list[Truncation]:
        """Reports how much of the documents each model reads: which are cut or split into windows, and what is lost.

        Counts the tokens of all texts; nothing is encoded.

        Returns:
            An entry for each leg with a model, with the model's name, ids, the share of tokens that is not read, and
            the remedy; `str` of it is a summary.
        """
        windows = self._windows()
        ids = self.ids()
        return [
            measure(
                leg,
                encoder,
                (self.get(ids[first : first + PAGE]) for first in range(0, len(ids), PAGE)),
                windows.get(leg),
            )
            for leg, encoder in self.encoders.items()
        ]

    def _windows(self) -> dict[str, Windows]:
        """Returns how documents are split, by leg; a leg that is not in it cuts them at what its model reads."""
        return {}

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

    def _repr_html_(self) -> str:
        models = {leg: f"{encoder.model_name} ({encoder.family})" for leg, encoder in self.encoders.items()}
        return object_html(repr(self), [(leg, models.get(leg, "모델 없음")) for leg in self.legs])

    @abstractmethod
    def close(self) -> None:
        """Releases files and connections; the collection cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
