"""The local store with a bug each: all of them must fail the contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from korag.collection import LocalCollection
from korag.collection.base import Hit, SearchOptions
from korag.collection.documents import StoredDocument
from korag.filters import matches, parse
from korag.text import normalize


class ChangesOptions(LocalCollection):
    """Searches with other settings than those given."""

    _changed: Mapping[str, Any] = MappingProxyType({})

    def __init_subclass__(cls, **changed: Any) -> None:
        cls._changed = changed

    def _search(self, queries: list[str], legs: Sequence[str], options: SearchOptions) -> list[list[Hit]]:
        return super()._search(queries, legs, dataclasses.replace(options, **self._changed))


class DropsFilters(ChangesOptions, where=None):
    pass


class IgnoresK(ChangesOptions, k=100):
    pass


class IgnoresThresholds(ChangesOptions, min_relevance=None):
    pass


class IgnoresWeights(ChangesOptions, weights=None):
    pass


class IgnoresFetchK(ChangesOptions, fetch_k=None):
    pass


class FusesInOneWay(ChangesOptions, fusion="rrf"):
    pass


class FiltersAfterwards(LocalCollection):
    def _search(self, queries: list[str], legs: Sequence[str], options: SearchOptions) -> list[list[Hit]]:
        found = super()._search(queries, legs, dataclasses.replace(options, where=None))
        return [[hit for hit in hits if matches(parse(options.where), hit.metadata)] for hits in found]


class ReversesTies(LocalCollection):
    def _search(self, queries: list[str], legs: Sequence[str], options: SearchOptions) -> list[list[Hit]]:
        found = super()._search(queries, legs, options)
        return [sorted(hits, key=lambda hit: (-hit.score, -hits.index(hit))) for hits in found]


class SwapsQueries(LocalCollection):
    def _search(self, queries: list[str], legs: Sequence[str], options: SearchOptions) -> list[list[Hit]]:
        return super()._search(queries, legs, options)[::-1]


class SearchesOneLeg(LocalCollection):
    def _search(self, queries: list[str], legs: Sequence[str], options: SearchOptions) -> list[list[Hit]]:
        return super()._search(queries, legs[:1], options)


class SharesMetadata(LocalCollection):
    def _search(self, queries: list[str], legs: Sequence[str], options: SearchOptions) -> list[list[Hit]]:
        found = super()._search(queries, legs, options)
        kept: dict[str, Any] = {}
        return [
            [dataclasses.replace(hit, metadata=kept.setdefault(hit.id, hit.metadata)) for hit in hits] for hits in found
        ]


class SwallowsKeywords(LocalCollection):
    def search(self, query: str, *, options: Any = None, **settings: Any) -> list[Hit]:
        known = {field.name for field in dataclasses.fields(SearchOptions)}
        return super().search(query, options=options, **{name: settings[name] for name in settings if name in known})


class EncodesBeforeChecking(LocalCollection):
    def search(self, query: str, **settings: Any) -> list[Hit]:
        self.encoders["dense"].encode_queries([query])
        return super().search(query, **settings)


class PopsFilters(LocalCollection):
    def search(self, query: str, *, where: Any = None, **settings: Any) -> list[Hit]:
        hits = super().search(query, where=where, **settings)
        if where:
            where.popitem()
        return hits


class MarksMetadata(LocalCollection):
    def add(self, texts: Any, *, ids: Any = None, metadata: Any = None, show_progress: Any = None) -> list[str]:
        added = super().add(texts, ids=ids, metadata=metadata, show_progress=show_progress)
        for fields in metadata or ():
            fields["_seen"] = True
        return added


class LosesUpserts(LocalCollection):
    def add(self, texts: Any, *, ids: Any = None, metadata: Any = None, show_progress: Any = None) -> list[str]:
        if ids is not None and self.get(ids):
            return list(ids)
        return super().add(texts, ids=ids, metadata=metadata, show_progress=show_progress)


class AddsOneByOne(LocalCollection):
    def add(self, texts: Any, *, ids: Any = None, metadata: Any = None, show_progress: Any = None) -> list[str]:
        if not isinstance(texts, list) or ids is None or metadata is not None:
            return super().add(texts, ids=ids, metadata=metadata, show_progress=show_progress)
        return [super(AddsOneByOne, self).add([text], ids=[id_])[0] for text, id_ in zip(texts, ids, strict=False)]


class StripsTexts(LocalCollection):
    def add(self, texts: Any, **arguments: Any) -> list[str]:
        return super().add([text.strip() for text in texts], **arguments)


class NormalizesTexts(LocalCollection):
    def add(self, texts: Any, **arguments: Any) -> list[str]:
        return super().add([normalize(text) for text in texts], **arguments)


class SortsByID(LocalCollection):
    def get(self, ids: Any = None, *, where: Any = None) -> list[StoredDocument]:
        return sorted(super().get(ids, where=where), key=lambda document: document.id)


class DeletesTooMuch(LocalCollection):
    def delete(self, ids: Any = None, *, where: Any = None) -> int:
        return super().delete(ids, where=where if ids is None else None)


class StreamsEverythingAgain(LocalCollection):
    def add_stream(self, documents: Any, **arguments: Any) -> int:
        rows = [(*document, {})[:3] for document in documents]
        self.add([row[1] for row in rows], ids=[row[0] for row in rows], metadata=[row[2] for row in rows])
        return len(rows)


class RepeatsItself(LocalCollection):
    def diversify(self, hits: Any, *, k: int = 10, **_: Any) -> list[Hit]:
        return list(hits[:k])


class ScalesVectors(LocalCollection):
    def search_by_vector(self, vector: Any, **settings: Any) -> list[Hit]:
        length = sum(float(number) ** 2 for number in vector) ** 0.5
        return [
            dataclasses.replace(hit, score=hit.score * length) for hit in super().search_by_vector(vector, **settings)
        ]


class NeverCloses(LocalCollection):
    def close(self) -> None:
        pass
