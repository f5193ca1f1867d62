"""Searching a collection that LangChain or LlamaIndex has made, with the model that made its vectors."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from qdrant_client import models as m

from korag.checks import check_ids
from korag.collection.documents import StoredDocument
from korag.collection.qdrant.payloads import FieldPayloads, NodePayloads
from korag.collection.qdrant.points import read_vectors
from korag.collection.qdrant.querying import Searcher
from korag.collection.qdrant.searching import SearchedCollection
from korag.collection.qdrant.transport import Transport
from korag.encoders.base import Encoder
from korag.errors import FingerprintError, IndexStateError, InvalidArgumentError
from korag.legs.base import Leg
from korag.legs.dense import DenseLeg
from korag.legs.registry import leg_of_family, leg_type
from korag.legs.sparse import SparseLeg
from korag.text import is_empty

_SAMPLE = 8
"""Points whose vectors are compared with the model's."""
_AGREE = 0.99
"""Cosine from which two vectors are of the same model: what is left is rounding."""
_LENGTHS = 0.01
"""By how much lengths may differ where the server does not divide by them."""
_PAGE = 256
_DIGITS = 20
"""Of the largest point's number; Python reads no number of more than 4,300."""


class AttachedCollection(SearchedCollection):
    """A collection of somebody else's on a Qdrant server, to search. Made by `QdrantCollection.attach`.

    Everything that reads works; whatever would change it is an error. Documents come in no particular order.
    """

    def __init__(
        self, transport: Transport, legs: Mapping[str, Leg], names: Mapping[str, str | None], payloads: FieldPayloads
    ) -> None:
        """Puts a collection together; use `QdrantCollection.attach`.

        Args:
            transport: The server.
            legs: By name.
            names: Of their vectors on the server.
            payloads: Reads its points.
        """
        self._transport = transport
        self._legs = dict(legs)
        self._names = dict(names)
        self._payloads = payloads
        self._searcher = Searcher(transport, self._legs, "search", payloads, self._names)

    # -- documents ----------------------------------------------------------------------------------------

    def _refuse(self) -> NoReturn:
        raise IndexStateError(
            f"{self._transport.place}은(는) 다른 프로그램이 만든 컬렉션이라 찾기만 할 수 있습니다. 그 프로그램으로 "
            "고치거나, QdrantCollection.open으로 새 컬렉션을 만들어 옮기세요.",
            f"{self._transport.place} was made by another program and can only be searched. Change it with that "
            "program, or make a collection with QdrantCollection.open and add its documents there.",
        )

    def add(
        self,
        texts: Iterable[str],
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        show_progress: bool | None = None,
    ) -> list[str]:
        """An error.

        Raises:
            IndexStateError: Always.
        """
        del texts, ids, metadata, show_progress
        self._refuse()

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """An error.

        Raises:
            IndexStateError: Always.
        """
        del ids, where
        self._refuse()

    def get(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> list[StoredDocument]:
        """As `korag.collection.base.Collection.get`; without ids in no particular order."""
        condition = self._payloads.where(where)
        if ids is None:
            found = list(self._scroll(condition.over))
        else:
            wanted = _points(check_ids(ids))
            records = self._transport.call("retrieve", ids=wanted, with_payload=True) if wanted else []
            by_id = {str(record.id): record for record in records}
            found = [by_id[str(point)] for point in wanted if str(point) in by_id]
        documents = [self._payloads.document(record) for record in found]
        return [document for document in documents if condition.passes_all(document.metadata)]

    def _scroll(self, condition: m.Filter | None) -> Iterable[Any]:
        offset = None
        while True:
            page, offset = self._transport.call(
                "scroll", scroll_filter=condition, limit=_PAGE, offset=offset, with_payload=True
            )
            yield from page
            if offset is None:
                return

    def __len__(self) -> int:
        return int(self._transport.call("count", exact=True).count)

    # -- search -------------------------------------------------------------------------------------------

    def _similarities(self, ids: Sequence[str], legs: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        name = min(legs, key=lambda name: leg_type(name).comparison_order)
        leg = self._legs[name]
        wanted = _points(dict.fromkeys(ids))
        records = self._transport.call("retrieve", ids=wanted, with_vectors=True) if wanted else []
        vectors = {str(record.id): _vector_of(record, self._names[name]) for record in records}
        there = [str(id_) for id_ in wanted if vectors.get(str(id_)) is not None]
        if not there or leg.encoder is None:
            return [], np.zeros((0, 0), np.float32)
        return there, leg.similarities(read_vectors(leg, leg.encoder, [vectors[id_] for id_ in there]))

    # -- life ---------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends the connection, unless the client was given; the collection cannot be used afterwards."""
        self._transport.close()

    def __repr__(self) -> str:
        return f"AttachedCollection({self._transport.name!r}, documents={len(self)}, legs={list(self.legs)})"


def attach(
    transport: Transport, encoders: Mapping[str, Encoder[Any]], *, text_field: str | None, metadata_field: str | None
) -> AttachedCollection:
    """Opens a collection of another program.

    Args:
        transport: The server.
        encoders: By leg.
        text_field: The payload's field with the text; None to find out.
        metadata_field: The one with the metadata; None likewise.

    Raises:
        InvalidArgumentError: If a model is neither dense nor sparse.
        IndexStateError: If the payload is of an unknown kind, or nothing is there to search.
        FingerprintError: If its vectors are of other models.
    """
    params = transport.call("get_collection").config.params
    sample, _ = transport.call("scroll", limit=_SAMPLE, with_payload=True, with_vectors=True)
    payloads = _payloads(sample, text_field, metadata_field, transport.place)
    legs: dict[str, Leg] = {}
    names: dict[str, str | None] = {}
    for name, encoder in encoders.items():
        row = leg_of_family(encoder.family)
        leg = row.make(row.codec(None), encoder, None)
        if not isinstance(leg, DenseLeg | SparseLeg):
            raise InvalidArgumentError(
                f"encoders에 {encoder.family} 모델이 있습니다. 다른 프로그램의 컬렉션에서는 dense와 sparse 벡터만 "
                "찾습니다.",
                f"encoders holds a {encoder.family} model; in collections of other programs, dense and sparse vectors "
                "are searched.",
            )
        legs[name], names[name] = leg, _agreeing(leg, params, sample, payloads, transport.place)
    return AttachedCollection(transport, legs, names, payloads)


def _payloads(sample: Sequence[Any], text_field: str | None, metadata_field: str | None, place: str) -> FieldPayloads:
    if text_field is not None or metadata_field is not None:
        return FieldPayloads(text_field or "page_content", metadata_field or "metadata")
    held = [point.payload or {} for point in sample]
    if held and all("_node_content" in payload for payload in held):
        return NodePayloads()
    if all("page_content" in payload for payload in held):
        return FieldPayloads()
    fields = ", ".join(sorted({name for payload in held for name in payload})[:20])
    raise IndexStateError(
        f"{place}의 문서가 어디에 있는지 알 수 없습니다(필드: {fields:.200}). text_field=에 글이 있는 필드를, "
        "metadata_field=에 메타데이터가 있는 필드를 넣으세요.",
        f"It is not known where {place} has its documents (fields: {fields:.200}). Name the field with the text in "
        "text_field=, and the one with the metadata in metadata_field=.",
    )


def _agreeing(
    leg: DenseLeg | SparseLeg, params: Any, sample: Sequence[Any], payloads: FieldPayloads, place: str
) -> str | None:
    """Returns the name of the vectors that are the leg's model's."""
    encoder = leg.encoder
    candidates = _sparse(params) if isinstance(leg, SparseLeg) else _dense(params, leg)
    filled = [point for point in sample if not is_empty(payloads.embedded(point))]
    texts = [payloads.embedded(point) for point in filled]
    own = leg.encode_documents(texts, show_progress=False) if texts else None
    found: dict[str, str] = {}
    for name in candidates:
        stored = [_vector_of(point, name) for point in filled]
        if own is None:
            return name  # nothing is there that could disagree
        there = [row for row, vector in enumerate(stored) if vector is not None]
        if not there:  # others may have been compared, or nothing was
            found[name or '""'] = "—"
            continue
        if isinstance(leg, SparseLeg) and any(max(stored[row].indices, default=0) >= encoder.dim for row in there):
            found[name or '""'] = "0.000"  # words that the model does not have
            continue
        theirs = read_vectors(leg, encoder, [stored[row] for row in there])
        least, length = _compare(own[np.array(there)], theirs)
        by_length = isinstance(leg, SparseLeg) or _distance(params, name) == m.Distance.DOT
        is_as_long = not by_length or abs(length - 1) <= _LENGTHS
        if least >= _AGREE and is_as_long:
            return name
        found[name or '""'] = f"{least:.3f}" if is_as_long else f"{least:.3f} (length × {length:.2f})"
    listed = ", ".join(f"{name}: {measured}" for name, measured in found.items()) or "—"
    raise FingerprintError(
        f"{place}에는 '{encoder.model_name}'(으)로 만든 {encoder.family} 벡터가 없습니다. 저장된 글을 다시 인코딩해 "
        f"비교한 가장 낮은 코사인: {listed}. 그 벡터를 만든 모델을 같은 설정으로 넣거나, 문서를 다시 색인하세요.",
        f"{place} has no {encoder.family} vectors of '{encoder.model_name}'. Lowest cosine with its stored texts, "
        f"encoded again: {listed}. Pass the model that made them, with the same settings, or index again.",
    )


def _dense(params: Any, leg: DenseLeg) -> list[str | None]:
    """Vectors of the model's size, compared as the model's are."""
    vectors = params.vectors
    named = vectors if isinstance(vectors, dict) else {None: vectors} if vectors is not None else {}
    wanted = {"cosine": (m.Distance.COSINE, m.Distance.DOT), "dot": (m.Distance.DOT,)}[leg.encoder.similarity]
    return [
        name or None
        for name, own in named.items()
        if own.size == leg.encoder.dim and own.distance in wanted and own.multivector_config is None
    ]


def _sparse(params: Any) -> list[str | None]:
    return [name for name, own in (params.sparse_vectors or {}).items() if own.modifier != m.Modifier.IDF]


def _points(ids: Iterable[str]) -> list[int | str]:
    """Returns the points that ids name; no other id names one."""
    found: list[int | str] = []
    for id_ in ids:
        is_number = len(id_) <= _DIGITS and id_.isascii() and id_.isdecimal() and str(int(id_)) == id_
        if is_number and int(id_) < 2**64:
            found.append(int(id_))
        else:
            with contextlib.suppress(ValueError):
                found.append(str(uuid.UUID(id_)))
    return found


def _vector_of(point: Any, name: str | None) -> Any:
    if name is None:
        return point.vector.get("") if isinstance(point.vector, dict) else point.vector
    return point.vector.get(name) if isinstance(point.vector, dict) else None


def _distance(params: Any, name: str | None) -> Any:
    vectors = params.vectors
    return vectors[name or ""].distance if isinstance(vectors, dict) else vectors.distance


def _compare(one: Any, other: Any) -> tuple[float, float]:
    """Returns the lowest cosine of two models' vectors, and how many times longer the other's are at the worst."""
    if isinstance(one, sp.csr_array):
        pairs = [(one[[row]].toarray(), other[[row]].toarray()) for row in range(one.shape[0])]
    else:
        pairs = list(zip(one, other, strict=True))
    norms = [(max(float(np.linalg.norm(a)), 1e-12), max(float(np.linalg.norm(b)), 1e-12)) for a, b in pairs]
    cosine = min(float((a * b).sum()) / (one * other) for (a, b), (one, other) in zip(pairs, norms, strict=True))
    return cosine, max((other / one for one, other in norms), key=lambda ratio: abs(ratio - 1))
