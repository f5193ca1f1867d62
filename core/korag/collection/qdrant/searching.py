"""The part of a collection on a server that searches, whoever made it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from korag.collection.base import Hit, SearchOptions
from korag.collection.of_legs import CollectionOfLegs
from korag.collection.qdrant.querying import Searcher
from korag.collection.ranking import rank_hits, record_runs
from korag.collection.runs import LegRuns
from korag.collection.vector_queries import search_by_vector


class SearchedCollection(CollectionOfLegs):
    """Searches by legs, through a `Searcher`."""

    _searcher: Searcher

    def _search(self, queries: list[str], legs: Sequence[str], options: SearchOptions) -> list[list[Hit]]:
        return self._searcher.find(self._searcher.encode(queries, legs), legs, options, rank_hits)

    def _leg_runs(
        self, queries: list[str], legs: Sequence[str], fetch: int, where: Mapping[str, Any] | None = None
    ) -> list[LegRuns]:
        options = SearchOptions(k=fetch, fetch_k=fetch, where=where)
        return self._searcher.find(self._searcher.encode(queries, legs), legs, options, record_runs, texts=False)

    def search_by_vector(
        self,
        vector: Sequence[float],
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        min_relevance: float | None = None,
    ) -> list[Hit]:
        """As `korag.collection.base.Collection.search_by_vector`."""
        options = SearchOptions(k=k, where=where, min_relevance=min_relevance)

        def find(encoded: dict[str, list[Any]]) -> list[list[Hit]]:
            return self._searcher.find(encoded, list(encoded), options, rank_hits)

        return search_by_vector(self._legs, vector, options, find)
