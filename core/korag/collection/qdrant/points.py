"""Documents as points: what is sent, in batches that the server takes, and what is read again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
import scipy.sparse as sp
from qdrant_client import models as m

from korag.collection.documents import StoredDocument, to_json
from korag.collection.qdrant.layout import (
    DIGEST,
    ID,
    SEQUENCE,
    STORED_METADATA,
    TEXT,
    digest,
    point_id,
    searchable,
    terms_field,
)
from korag.encoders.base import Encoder
from korag.legs.base import Leg
from korag.legs.bm25 import BM25Leg
from korag.legs.dense import DenseLeg
from korag.legs.multi_vector.leg import LateInteractionLeg
from korag.legs.sparse import SparseLeg

T = TypeVar("T")

REQUEST_BYTES = 8_000_000
"""Of JSON in a request; servers take 32 MB by default."""
_FLOAT, _HALF, _SPARSE = 22, 12, 30
"""Bytes of a number of a vector in JSON."""
_DECIMALS = 8
"""Of token vectors: enough for each number in float16, in which the server keeps them."""


@dataclass(frozen=True)
class StoredPoint:
    """A document as the server has it, without its text.

    Attributes:
        id: The document's id, in the form of its last addition.
        digest: Of its text.
        metadata: As JSON text.
        sequence: Its place among the others.
    """

    id: str
    digest: str
    metadata: str
    sequence: int

    FIELDS: ClassVar[tuple[str, ...]] = (ID, DIGEST, STORED_METADATA, SEQUENCE)

    @classmethod
    def of(cls, payload: Mapping[str, Any]) -> Self:
        """Reads `FIELDS` of a payload."""
        return cls(*(payload[name] for name in cls.FIELDS))


def read_document(payload: Mapping[str, Any]) -> StoredDocument:
    """Returns the document in a payload with `ID`, `TEXT` and `STORED_METADATA`."""
    return StoredDocument(payload[ID], payload[TEXT], json.loads(payload[STORED_METADATA]))


def changed_fields(document: StoredDocument) -> dict[str, Any]:
    """Returns the part of the payload that other metadata, or another form of the id, changes."""
    return {ID: document.id, STORED_METADATA: to_json(document.metadata), **searchable(document.metadata)}


def make_points(
    documents: Sequence[StoredDocument],
    sequences: Sequence[int],
    filled: Sequence[int],
    represented: Mapping[str, Any],
    legs: Mapping[str, Leg],
) -> Iterator[tuple[m.PointStruct, int]]:
    """Yields the points of documents and their sizes in bytes, one by one: as lists, vectors take many times the space.

    Args:
        documents: The documents.
        sequences: Their places.
        filled: Positions of those that are not empty.
        represented: What each leg stores of these.
        legs: By name.
    """
    rows = {index: row for row, index in enumerate(filled)}
    for index, (document, sequence) in enumerate(zip(documents, sequences, strict=True)):
        payload = {
            **changed_fields(document),
            TEXT: document.text,
            DIGEST: digest(document.content),
            SEQUENCE: sequence,
        }
        vectors: dict[str, Any] = {}
        size = 0
        if index in rows:
            for name, leg in legs.items():
                value, own = _value(leg, represented[name], rows[index])
                if isinstance(leg, BM25Leg):
                    payload |= {} if value is None else {terms_field(name): value}
                elif value is not None:
                    vectors[name] = value
                    size += own
        size += json_size(payload)
        yield m.PointStruct(id=point_id(document.id), vector=vectors, payload=payload), size


def json_size(payload: Mapping[str, Any]) -> int:
    """Returns the bytes of a payload in a request."""
    return len(json.dumps(payload, ensure_ascii=False).encode())


def _value(leg: Leg, represented: Any, row: int) -> tuple[Any, int]:
    """Returns what the server stores of a document for a leg, and its bytes; None for nothing."""
    if isinstance(leg, SparseLeg):
        own = represented[[row]]
        if not own.nnz:
            return None, 0
        return m.SparseVector(indices=own.indices.tolist(), values=own.data.tolist()), _SPARSE * own.nnz
    if isinstance(leg, BM25Leg):
        terms, counts = represented[row]
        return terms_text(np.repeat(terms, counts)) or None, 0
    if isinstance(leg, LateInteractionLeg):
        tokens = np.asarray(represented[row], np.float16)
        if not len(tokens):
            return None, 0
        return np.round(tokens.astype(np.float64), _DECIMALS).tolist(), _HALF * tokens.size
    return represented[row].tolist(), _FLOAT * len(represented[row])


def terms_text(terms: Iterable[int]) -> str:
    """Returns hashes of terms as words for the server's text index."""
    return " ".join(f"{int(term):016x}" for term in terms)


def in_requests(parts: Iterable[tuple[T, int]], most: int | None = None) -> Iterator[list[T]]:
    """Groups what is sent, so that a request has at most `REQUEST_BYTES`, or a single part.

    Args:
        parts: Each with its size in bytes.
        most: Parts of a request at most; None for any number.
    """
    group: list[T] = []
    total = 0
    for part, size in parts:
        if group and (total + size > REQUEST_BYTES or len(group) == most):
            yield group
            group, total = [], 0
        group.append(part)
        total += size
    if group:
        yield group


def read_vectors(leg: Leg, encoder: Encoder[Any], vectors: Sequence[Any]) -> Any:
    """Returns what `make_points` was given of some documents for a leg with a model.

    Args:
        leg: The leg.
        encoder: Its encoder.
        vectors: As the server returns them; None for a sparse vector without terms.
    """
    if isinstance(leg, DenseLeg):
        return np.array(vectors, np.float32).reshape(len(vectors), encoder.dim)
    if isinstance(leg, LateInteractionLeg):
        return [np.array(tokens, np.float16).astype(np.float32) for tokens in vectors]
    rows = [([], []) if row is None else (row.indices, row.values) for row in vectors]
    starts = np.cumsum([0, *(len(indices) for indices, _ in rows)])
    indices = np.array([index for own, _ in rows for index in own], np.int32)
    values = np.array([value for _, own in rows for value in own], np.float32)
    found = sp.csr_array((values, indices, starts), shape=(len(vectors), encoder.dim))
    found.sort_indices()
    return found
