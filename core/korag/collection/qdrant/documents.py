"""The documents of a collection on a server."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from qdrant_client import models as m

from korag.checks import check_deletion, check_ids
from korag.collection.adding import Bar, add_in_batches, even_pace, pace_of, telling_ids
from korag.collection.documents import StoredDocument, check_documents, to_json
from korag.collection.editing import Documents
from korag.collection.encoded import FingerprintLike, Represent, check_encoded, encode_here
from korag.collection.metadata import MetadataChange, check_known
from korag.collection.moving import Movable, changed_meanwhile
from korag.collection.qdrant.filters import Where
from korag.collection.qdrant.layout import DIGEST, ID, SEQUENCE, STORED_METADATA, TEXT, digest, point_id
from korag.collection.qdrant.points import (
    StoredPoint,
    changed_fields,
    in_requests,
    json_size,
    make_points,
    read_document,
    read_vectors,
)
from korag.collection.qdrant.transport import Transport
from korag.encoders.batching import batched
from korag.encoders.progress import encoding_documents
from korag.encoders.reports import one_call
from korag.forking import Lock
from korag.legs.base import Leg
from korag.text import is_empty, to_nfc

_PAGE = 256
"""Points read, or changed, in a request."""
_VECTORS = 64
"""Points whose vectors are read in a request: 64 documents of 150 tokens are some 15 MB."""
_CHANGE = 250
"""Bytes of the condition for a change, in JSON."""
_IDS = 1_000
"""Points named in a request."""


class QdrantDocuments(Documents, Movable):
    """The half of `korag.collection.qdrant.collection.QdrantCollection` that is about documents."""

    def __init__(self, transport: Transport, legs: Mapping[str, Leg]) -> None:
        self._transport = transport
        self._legs = dict(legs)
        self._lock = Lock()
        self._last = 0

    # -- adding -------------------------------------------------------------------------------------------

    def add(
        self,
        texts: Iterable[str],
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        show_progress: bool | None = None,
    ) -> list[str]:
        """As `korag.collection.base.Collection.add`.

        Everything is checked first. Documents are then encoded and sent as many at a time as take about 20 seconds, at
        most 2,048, in requests of up to 8 MB. Each request is repeated if it fails for reasons that may pass. After an
        error, a part may be stored: the same call with the same ids completes it, and stores nothing twice. Where no
        ids were given, new ones would be drawn; those of this call are ``ids`` of the error.

        Raises:
            InvalidTextError: If a text or id is not a string.
            InvalidArgumentError: If numbers differ, an id is repeated, or metadata is not JSON.
            ServerError: If the server does not answer, or refuses.
        """
        documents = check_documents(texts, ids, metadata)

        def add(batch: list[StoredDocument], bar: Bar) -> list[StoredDocument]:
            return self._add(batch, encode_here, bar)

        with telling_ids(documents):
            add_in_batches(documents, add, pace=pace_of(self._legs), show_progress=show_progress)
        return [document.id for document in documents]

    def add_encoded(
        self,
        documents: Iterable[tuple[str, str] | tuple[str, str, Mapping[str, Any] | None]],
        vectors: Mapping[str, Any],
        *,
        fingerprints: Mapping[str, FingerprintLike],
    ) -> list[str]:
        """As `korag.collection.base.Collection.add_encoded`; sent as `add` sends."""
        given = check_encoded(documents, vectors, fingerprints, self._legs)
        self._add_represented(given.documents, given.represent)
        return [document.id for document in given.documents]

    def _add_represented(self, documents: Sequence[StoredDocument], represent: Represent) -> None:
        def add(batch: list[StoredDocument], bar: Bar) -> list[StoredDocument]:
            return self._add(batch, represent, bar)

        add_in_batches(documents, add, pace=even_pace())

    def _add(self, documents: list[StoredDocument], represent: Represent, bar: Bar) -> list[StoredDocument]:
        """Sends a batch. Returns those documents that were not there with the same text."""
        there = self._stored([document.id for document in documents])
        new = []
        changed = []
        for document in documents:
            old = there.get(to_nfc(document.id))
            if old is None or old.digest != digest(document.content):
                new.append(document)
            elif (old.id, old.metadata) != (document.id, to_json(document.metadata)):
                changed.append((document, old.sequence))
        self._change(changed)
        bar.skip(len(documents) - len(new))
        if new:
            with bar.part(len(new)):
                self._upsert(new, represent)
        return new

    def _upsert(self, documents: Sequence[StoredDocument], represent: Represent) -> None:
        filled = [index for index, document in enumerate(documents) if not is_empty(document.text)]
        given = [documents[index] for index in filled]
        encoders = sum(leg.encoder is not None for leg in self._legs.values())
        represented = {}
        with one_call() as call:  # the one of `add_in_batches`
            call.name([document.id for document in given])
        for name, leg in self._legs.items() if given else ():
            with encoding_documents(0 if leg.encoder is None else len(given) / encoders):
                represented[name] = represent(name, leg, given)
        points = make_points(documents, self._next(len(documents)), filled, represented, self._legs)
        for group in in_requests(points):
            self._transport.call("upsert", points=group, wait=True)

    def _next(self, count: int) -> range:
        """Places after all that there are: nanoseconds, so that several machines need not ask each other."""
        with self._lock:
            first = max(self._last + 1, time.time_ns())
            self._last = first + count - 1
            return range(first, first + count)

    # -- changing and removing ----------------------------------------------------------------------------

    def update_metadata(
        self,
        ids: Sequence[str],
        metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        replace: bool = False,
    ) -> list[str]:
        """As `korag.collection.base.Collection.update_metadata`; only payloads are sent.

        Checked as a whole, but a server that fails in the middle may have changed some of the documents; the same call
        completes it. Of two calls at the same time that change one document, one may be lost.
        """
        change = MetadataChange(ids, metadata, replace=replace)
        records = self._retrieve(change.ids, [ID, STORED_METADATA, SEQUENCE])
        documents = [(read_document({**payload, TEXT: ""}), payload) for payload in records]
        check_known(change.ids, [document.id for document, _ in documents])
        changed = [(change.apply(document), payload) for document, payload in documents]
        self._change(
            [
                (document, payload[SEQUENCE])
                for document, payload in changed
                if payload[STORED_METADATA] != to_json(document.metadata)
            ]
        )
        return change.ids

    def _change(self, documents: Sequence[tuple[StoredDocument, int]]) -> None:
        """Writes ids and metadata of documents that still have the text that they were compared with."""
        for operations in in_requests((_change_of(*one) for one in documents), _PAGE):
            self._transport.call("batch_update_points", update_operations=operations, wait=True)

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """As `korag.collection.base.Collection.delete`."""
        check_deletion("where={}", ids=ids, where=where)
        condition = Where(where)
        if ids is None:
            found = [point for point, _ in self._scroll(condition, [])]
        else:
            records = self._retrieve(check_ids(ids), [ID, STORED_METADATA])
            found = list({point_id(own[ID]): 0 for own in records if condition.passes(own[STORED_METADATA])})
        for some in batched(found, _IDS):
            self._transport.call("delete", points_selector=m.PointIdsList(points=list(some)), wait=True)
        return len(found)

    # -- reading ------------------------------------------------------------------------------------------

    def get(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> list[StoredDocument]:
        """As `korag.collection.base.Collection.get`."""
        condition = Where(where)
        fields = [ID, TEXT, STORED_METADATA]
        if ids is not None:
            records = self._retrieve(check_ids(ids), fields)
            return [read_document(own) for own in records if condition.passes(own[STORED_METADATA])]
        found = sorted(self._scroll(condition, [*fields, SEQUENCE]), key=_place)
        return [read_document(payload) for _, payload in found]

    def ids(self, where: Mapping[str, Any] | None = None) -> list[str]:
        """As `korag.collection.base.Collection.ids`; reads no texts."""
        return [payload[ID] for _, payload in sorted(self._scroll(Where(where), [ID, SEQUENCE]), key=_place)]

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """As `korag.collection.base.Collection.count`; only documents that the server is not sure of are read."""
        condition = Where(where)
        if condition.is_exact:
            return self._count(condition.over)
        between = self._pages(condition.between, [STORED_METADATA])
        return self._count(condition.under) + sum(condition.passes(own[STORED_METADATA]) for _, own in between)

    def __len__(self) -> int:
        return self._count(None)

    def _count(self, condition: m.Filter | None) -> int:
        return int(self._transport.call("count", count_filter=condition, exact=True).count)

    def _stored(self, ids: Sequence[str]) -> dict[str, StoredPoint]:
        """Returns the documents of some ids that exist, without their texts, by id in NFC."""
        found = [StoredPoint.of(payload) for payload in self._retrieve(ids, list(StoredPoint.FIELDS))]
        return {to_nfc(own.id): own for own in found}

    def _retrieve(self, ids: Sequence[str], fields: list[str]) -> Iterator[dict[str, Any]]:
        """Payloads of the documents that exist, in the order of their ids; again for an id that is repeated."""
        for some in batched(ids, _PAGE):
            points = [point_id(id_) for id_ in some]
            records = self._transport.call("retrieve", ids=list(dict.fromkeys(points)), with_payload=fields)
            found = {str(record.id): record.payload for record in records}
            yield from (found[point] for point in points if point in found)

    def _scroll(self, condition: Where, fields: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Points and payloads of the documents that match, in no order."""
        if condition.matches_nothing:
            return
        needed = fields if condition.is_exact else list(dict.fromkeys([*fields, STORED_METADATA]))
        for point, payload in self._pages(condition.over, needed):
            if condition.is_exact or condition.passes(payload[STORED_METADATA]):
                yield point, payload

    def _pages(self, condition: m.Filter | None, fields: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        offset = None
        while True:
            page, offset = self._transport.call(
                "scroll", scroll_filter=condition, limit=_PAGE, offset=offset, with_payload=fields or False
            )
            yield from ((str(record.id), record.payload or {}) for record in page)
            if offset is None:
                return

    # -- moving -------------------------------------------------------------------------------------------

    def _in_order(self) -> Iterator[StoredDocument]:
        """Ordered here: the server compares places as doubles, of which 1.8e18 nanoseconds leave every 256th.

        Raises:
            IndexStateError: If there are other documents than were listed.
        """
        listed = sorted((*_place(found), found[0]) for found in self._pages(None, [ID, SEQUENCE]))
        if len(listed) != self._count(None):
            raise changed_meanwhile(self._transport.place)
        for some in batched([point for _, _, point in listed], _PAGE):
            records = self._transport.call("retrieve", ids=list(some), with_payload=[ID, TEXT, STORED_METADATA])
            found = {str(record.id): record.payload for record in records}
            if len(found) != len(some):
                raise changed_meanwhile(self._transport.place)
            yield from (read_document(found[point]) for point in some)

    def _stored_vectors(self, name: str, leg: Leg, documents: Sequence[StoredDocument]) -> Any:
        if leg.encoder is None:
            raise TypeError(name)
        vectors: list[Any] = []
        for some in batched(documents, _VECTORS):
            points = [point_id(document.id) for document in some]
            records = self._transport.call("retrieve", ids=points, with_payload=[DIGEST], with_vectors=[name])
            found = {str(record.id): record for record in records}
            for point, document in zip(points, some, strict=True):
                if point not in found or found[point].payload[DIGEST] != digest(document.content):
                    raise changed_meanwhile(self._transport.place)
                vectors.append((found[point].vector or {}).get(name))
        return read_vectors(leg, leg.encoder, vectors)


def _change_of(document: StoredDocument, sequence: int) -> tuple[m.SetPayloadOperation, int]:
    """Returns the change of a document's payload, and its bytes."""
    payload = changed_fields(document)
    change = m.SetPayload(payload=payload, filter=_unchanged(document.id, sequence))
    return m.SetPayloadOperation(set_payload=change), json_size(payload) + _CHANGE


def _unchanged(id_: str, sequence: int) -> m.Filter:
    here = m.HasIdCondition(has_id=[point_id(id_)])
    return m.Filter(must=[here, m.FieldCondition(key=SEQUENCE, match=m.MatchValue(value=sequence))])


def _place(found: tuple[str, dict[str, Any]]) -> tuple[int, str]:
    return found[1][SEQUENCE], found[1][ID]
