"""Where an index takes documents and their token vectors from: a collection, which has most often stored them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from korag.collection.base import Collection
from korag.collection.documents import StoredDocument
from korag.collection.local.collection import LocalCollection
from korag.collection.moving import Movable
from korag.encoders.base import Encoder
from korag.encoders.batching import batched
from korag.errors import InvalidArgumentError

_PAGE = 512
"""Documents read at a time."""


class TokenSource:
    """A collection with a late-interaction leg.

    Args:
        collection: The collection. Nobody should write to it while it is read.

    Attributes:
        encoder: The leg's.

    Raises:
        InvalidArgumentError: If it is no collection, has no such leg, or splits documents into windows.
    """

    def __init__(self, collection: Collection) -> None:
        if not isinstance(collection, Collection):
            raise InvalidArgumentError(
                f"collection={collection!r:.80}: korag의 컬렉션이어야 합니다. Collection.open(...)으로 여세요.",
                f"collection={collection!r:.80} must be a collection of korag, as Collection.open(…) returns it.",
            )
        named = {name: one for name, one in collection.encoders.items() if one.family == "late_interaction"}
        if not named:
            raise InvalidArgumentError(
                f"이 컬렉션에는 ColBERT(late interaction) 모델이 없습니다({', '.join(collection.legs)}). "
                "encoders=['mini-colbert']처럼 모델을 넣어 만든 컬렉션을 쓰세요.",
                f"This collection has no ColBERT (late-interaction) model ({', '.join(collection.legs)}); use one that "
                "was made with such a model, for example encoders=['mini-colbert'].",
            )
        self._collection = collection
        ((self._name, self.encoder),) = named.items()
        if isinstance(collection, LocalCollection):
            collection._vectors.check_single_windows()

    def documents(self) -> Iterator[StoredDocument]:
        """Yields all documents in insertion order."""
        if isinstance(self._collection, Movable):
            yield from self._collection._in_order()
            return
        for ids in batched(self._collection.ids(), _PAGE):
            yield from self._collection.get(list(ids))

    def vectors(self, documents: Sequence[StoredDocument]) -> list[NDArray[Any]]:
        """Returns the token vectors of documents: those stored, or encoded again by a store that does not give them."""
        if not isinstance(self._collection, Movable):
            return encode(self.encoder, documents)
        leg = self._collection._legs[self._name]
        return list(self._collection._stored_vectors(self._name, leg, documents))


def encode(encoder: Encoder[Any], documents: Sequence[StoredDocument]) -> list[NDArray[Any]]:
    """Encodes documents as a collection does."""
    return list(encoder.encode_documents([document.searched for document in documents], show_progress=False))
