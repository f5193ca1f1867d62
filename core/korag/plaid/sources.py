"""Where an index takes documents and their token vectors from: a collection, which has most often stored them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.checkpoints.presets import Family
from korag.collection.base import Collection
from korag.collection.documents import StoredDocument
from korag.collection.local.collection import LocalCollection
from korag.collection.moving import Movable
from korag.encoders.base import Encoder
from korag.encoders.batching import batched
from korag.errors import InvalidArgumentError
from korag.legs.base import EncoderLeg, Leg
from korag.legs.multi_vector.leg import LateInteractionLeg
from korag.legs.registry import leg_of_family
from korag.legs.windows.codec import WindowedCodec, WindowVectors
from korag.legs.windows.leg import WindowedLeg
from korag.legs.windows.settings import Windows

FAMILY: Family = "late_interaction"
_PAGE = 512
"""Documents read at a time."""


@dataclass(frozen=True)
class Window:
    """A part of a document that is compared as a whole.

    Attributes:
        tokens: Shape: (tokens, dim).
        begin: Where it begins in the text that is searched.
        end: Where it ends.
    """

    tokens: NDArray[Any]
    begin: int
    end: int


class TokenSource:
    """A collection with a late-interaction leg.

    Args:
        collection: The collection. Nobody should write to it while it is read.

    Attributes:
        encoder: The leg's.
        windows: How it splits documents; None if it does not.
        pool_factor: How it merges token vectors (`LateInteractionLeg`).

    Raises:
        InvalidArgumentError: If it is no collection, or has no such leg.
    """

    def __init__(self, collection: Collection) -> None:
        if not isinstance(collection, Collection):
            raise InvalidArgumentError(
                f"collection={collection!r:.80}: korag의 컬렉션이어야 합니다. Collection.open(...)으로 여세요.",
                f"collection={collection!r:.80} must be a collection of korag, as Collection.open(…) returns it.",
            )
        named = {name: one for name, one in collection.encoders.items() if one.family == FAMILY}
        if not named:
            raise InvalidArgumentError(
                f"이 컬렉션에는 ColBERT(late interaction) 모델이 없습니다({', '.join(collection.legs)}). "
                "encoders=['mini-colbert']처럼 모델을 넣어 만든 컬렉션을 쓰세요.",
                f"This collection has no ColBERT (late-interaction) model ({', '.join(collection.legs)}); use one that "
                "was made with such a model, for example encoders=['mini-colbert'].",
            )
        self._collection = collection
        ((self._name, self.encoder),) = named.items()
        self.windows = collection._windows().get(self._name)
        own = collection._legs[self._name] if isinstance(collection, Movable) else None
        inner = own.inner if isinstance(own, WindowedLeg) else own
        self.pool_factor = inner.pool_factor if isinstance(inner, LateInteractionLeg) else 1
        self._leg = own or make_leg(self.encoder, self.windows, self.pool_factor)

    def __repr__(self) -> str:
        return repr(self._collection)

    def ids(self) -> list[str]:
        """The ids of all documents in insertion order."""
        return self._collection.ids()

    def documents(self) -> Iterator[StoredDocument]:
        """Yields all documents in insertion order."""
        if isinstance(self._collection, Movable):
            yield from self._collection._in_order()
            return
        for ids in batched(self._collection.ids(), _PAGE):
            yield from self._collection.get(list(ids))

    def read(self, documents: Sequence[StoredDocument]) -> list[list[Window]]:
        """Returns the windows of documents: as stored, or encoded again for a store that does not give its vectors."""
        if not isinstance(self._collection, Movable):
            return encode(self._leg, documents)
        if isinstance(self._collection, LocalCollection):
            return _by_document(self._collection._vectors.windows_of(self._name, self._leg, documents), documents)
        return _by_document(self._collection._stored_vectors(self._name, self._leg, documents), documents)


def make_leg(encoder: Encoder[Any], windows: Windows | None, pool_factor: int) -> Leg:
    """Returns a leg that splits documents and merges token vectors as a collection's does."""
    row = leg_of_family(FAMILY)
    made = row.make(row.codec(None), encoder, {"pool_factor": pool_factor})
    return WindowedLeg(made, WindowedCodec(made.codec), windows) if windows and isinstance(made, EncoderLeg) else made


def encode(leg: Leg, documents: Sequence[StoredDocument]) -> list[list[Window]]:
    """Encodes documents as a collection does."""
    vectors = leg.encode_documents([document.searched for document in documents], show_progress=False)
    return _by_document(vectors, documents)


def _by_document(vectors: Any, documents: Sequence[StoredDocument]) -> list[list[Window]]:
    """Windows without tokens are left out: they match nothing."""
    if not isinstance(vectors, WindowVectors):
        wholes = zip(vectors, documents, strict=True)
        return [[Window(tokens, 0, len(one.searched))] if len(tokens) else [] for tokens, one in wholes]
    ends = np.cumsum(vectors.counts).tolist()
    spans = vectors.spans.tolist()
    return [
        [Window(vectors.vectors[at], *spans[at]) for at in range(end - count, end) if len(vectors.vectors[at])]
        for end, count in zip(ends, vectors.counts.tolist(), strict=True)
    ]
