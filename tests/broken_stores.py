"""The local store with a bug each: all of them must fail the contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from korag.collection import LocalCollection
from korag.collection.base import Hit, SearchOptions
from korag.collection.documents import StoredDocument, check_documents
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


class EncodesEqualTexts(LocalCollection):
    def add(self, texts: Any, *, ids: Any = None, metadata: Any = None, show_progress: Any = None) -> list[str]:
        documents = check_documents(texts, ids, metadata)
        self.delete([document.id for document in documents])
        return super().add(
            [document.text for document in documents],
            ids=[document.id for document in documents],
            metadata=[document.metadata for document in documents],
            show_progress=show_progress,
        )


class KeepsOldMetadata(LocalCollection):
    def add(self, texts: Any, *, ids: Any = None, metadata: Any = None, show_progress: Any = None) -> list[str]:
        documents = check_documents(texts, ids, metadata)
        stored = {document.id: document.text for document in self.get()}
        new = [document for document in documents if stored.get(document.id) != document.text]
        super().add([d.text for d in new], ids=[d.id for d in new], metadata=[d.metadata for d in new])
        return [document.id for document in documents]


class ChangesOneByOne(LocalCollection):
    def update_metadata(self, ids: Any, metadata: Any, *, replace: bool = False) -> list[str]:
        if not isinstance(metadata, Mapping):
            return super().update_metadata(ids, metadata, replace=replace)
        return [super(ChangesOneByOne, self).update_metadata([id_], metadata, replace=replace)[0] for id_ in ids]


class ReplacesMetadata(LocalCollection):
    def update_metadata(self, ids: Any, metadata: Any, *, replace: bool = False) -> list[str]:
        return super().update_metadata(ids, metadata, replace=replace is not None)


class CountsAll(LocalCollection):
    def count(self, where: Any = None) -> int:
        return len(self)


class KeepsWhatItWasNotGiven(LocalCollection):
    def keep_only(self, ids: Any) -> int:
        return self.delete(ids)


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


class EncodesWhatIsEncoded(LocalCollection):
    def add_encoded(self, documents: Any, vectors: Any, *, fingerprints: Any) -> list[str]:
        rows = [(*document, {})[:3] for document in documents]
        return self.add([row[1] for row in rows], ids=[row[0] for row in rows], metadata=[row[2] for row in rows])


class TakesOtherModels(LocalCollection):
    def add_encoded(self, documents: Any, vectors: Any, *, fingerprints: Any) -> list[str]:
        own = {name: encoder.fingerprint for name, encoder in self.encoders.items()}
        return super().add_encoded(documents, vectors, fingerprints=own)
