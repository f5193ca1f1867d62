"""A store as another package would write it: documents in a dict, searched by brute force."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from korag.checks import check_deletion, check_ids
from korag.collection.base import Collection, Hit, SearchOptions
from korag.collection.documents import StoredDocument, check_documents
from korag.collection.encoded import check_encoded
from korag.collection.ranking import rank_hits
from korag.encoders.base import Encoder
from korag.errors import IndexStateError, InvalidArgumentError
from korag.filters import matches, parse
from korag.legs.base import Arrays, Leg, SegmentSlice
from korag.legs.lexical import lexical_settings
from korag.legs.registry import leg_of_family, leg_type
from korag.text import is_empty, to_nfc

FIRST = np.zeros(1, np.int64)


class Row(NamedTuple):
    document: StoredDocument
    arrays: dict[str, Arrays]  # of each leg; none for an empty text


class DictStore(Collection):
    def __init__(self, *, encoders: Iterable[Encoder[Any]] = (), bm25: Any = False, tokenizer: Any = None) -> None:
        rows = [(leg_of_family(encoder.family), encoder, None) for encoder in encoders]
        rows += [(leg_type(leg), None, settings) for leg, settings in lexical_settings(bm25, tokenizer).items()]
        self._legs: dict[str, Leg] = {row.name: row.make(row.codecs[0], *arguments) for row, *arguments in rows}
        self._lock = threading.RLock()
        self._rows: dict[str, Row] | None = {}

    def _opened(self) -> dict[str, Row]:
        if self._rows is None:
            raise IndexStateError("닫힌 컬렉션입니다.", "This collection is closed.")
        return self._rows

    def add(self, texts: Any, *, ids: Any = None, metadata: Any = None, show_progress: Any = None) -> list[str]:
        documents = check_documents(texts, ids, metadata)
        return self._add(documents, lambda _, leg, some: leg.encode_documents([some[0].searched], show_progress=False))

    def add_encoded(self, documents: Any, vectors: Any, *, fingerprints: Any) -> list[str]:
        given = check_encoded(documents, vectors, fingerprints, self._legs)
        return self._add(given.documents, given.represent)

    def _add(self, documents: Sequence[StoredDocument], represent: Callable[..., Any]) -> list[str]:
        with self._lock:
            rows = self._opened()
            for document in documents:
                id_ = to_nfc(document.id)
                if id_ in rows and rows[id_].document.content == document.content:
                    rows[id_] = Row(document, rows[id_].arrays)
                else:  # last in order, if it replaces one
                    named = {} if is_empty(document.text) else self._legs
                    arrays = {name: leg.codec.encode(represent(name, leg, [document])) for name, leg in named.items()}
                    rows.pop(id_, None)
                    rows[id_] = Row(document, arrays)
        return [document.id for document in documents]

    def delete(self, ids: Any = None, *, where: Any = None) -> int:
        check_deletion("where={}", ids=ids, where=where)
        with self._lock:
            found = {to_nfc(document.id) for document in self.get(ids, where=where)}
            for id_ in found:
                del self._opened()[id_]
        return len(found)

    def get(self, ids: Any = None, *, where: Any = None) -> list[StoredDocument]:
        condition = parse(where)
        with self._lock:
            rows = self._opened()
            wanted = rows if ids is None else [to_nfc(id_) for id_ in check_ids(ids)]
            chosen = [rows[id_] for id_ in wanted if id_ in rows]
        return [copy.deepcopy(row.document) for row in chosen if matches(condition, row.document.metadata)]

    def __len__(self) -> int:
        return len(self._opened())

    @property
    def legs(self) -> tuple[str, ...]:
        return tuple(self._legs)

    @property
    def encoders(self) -> dict[str, Encoder[Any]]:
        return {name: leg.encoder for name, leg in self._legs.items() if leg.encoder is not None}

    def _search(self, queries: list[str], legs: Sequence[str], options: SearchOptions) -> list[list[Hit]]:
        return self._find({name: self._legs[name].encode_queries(queries) for name in legs}, options)

    def search_by_vector(self, vector: Any, *, k: int = 10, where: Any = None, min_relevance: Any = None) -> list[Hit]:
        options = SearchOptions(k=k, where=where, min_relevance=min_relevance)
        if "dense" not in self._legs:
            raise InvalidArgumentError("dense 모델이 없습니다.", "There is no dense leg.")
        (hits,) = self._find({"dense": [self._legs["dense"].query_from_vector(vector)]}, options)
        return hits

    def _find(self, encoded: Mapping[str, list[Any]], options: SearchOptions) -> list[list[Hit]]:
        with self._lock:
            rows = [row for row in self._opened().values() if row.arrays]
        condition = parse(options.where)
        allowed = [key for key, row in enumerate(rows) if matches(condition, row.document.metadata)]
        fetch = options.candidates if len(encoded) > 1 else options.k
        queries = range(len(next(iter(encoded.values()))))
        runs: list[dict[str, Any]] = [{} for _ in queries]
        max_scores: list[dict[str, float]] = [{} for _ in queries]
        for name, own in encoded.items():
            leg, slices = self._legs[name], [SegmentSlice(row.arrays[name], FIRST) for row in rows]
            prepared = [leg.prepare(query, slices) for query in own]
            found = leg.search(prepared, [slices[key] for key in allowed], fetch, exact=options.exact)
            for index, scores in enumerate(found):
                run = [(key, float(score)) for key, score in zip(allowed, scores, strict=True) if score > -np.inf]
                runs[index][name] = sorted(run, key=lambda item: (-item[1], item[0]))[:fetch]
                max_scores[index][name] = leg.max_score(prepared[index])

        def documents(keys: Iterable[int]) -> dict[int, StoredDocument]:
            return {key: copy.deepcopy(rows[key].document) for key in keys}

        return [rank_hits(runs[index], max_scores[index], documents, options) for index in queries]

    def _similarities(self, ids: Sequence[str], legs: Sequence[str]) -> tuple[list[str], Any]:
        name = min(legs, key=lambda name: leg_type(name).comparison_order)
        leg, rows = self._legs[name], self._opened()
        found = [id_ for id_ in ids if to_nfc(id_) in rows and rows[to_nfc(id_)].arrays]
        if not found:
            return [], np.zeros((0, 0), np.float32)
        vectors = [leg.codec.decode(rows[to_nfc(id_)].arrays[name], FIRST) for id_ in found]
        return found, leg.similarities(leg.concat(vectors))

    def close(self) -> None:
        self._rows = None

    def __repr__(self) -> str:
        return f"DictStore(documents={len(self)})"
