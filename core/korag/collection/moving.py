"""Moving documents with their vectors from one store to another: in batches, and on from where it stopped."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from korag.collection.adding import even_pace
from korag.collection.documents import COMMIT_CHARACTERS, StoredDocument, in_batches
from korag.collection.encoded import Represent
from korag.encoders.progress import progress_bar
from korag.errors import FingerprintError, IndexStateError, InvalidArgumentError
from korag.fusion import Fusion
from korag.legs.base import Leg
from korag.legs.windows.leg import WindowedLeg


class Movable(ABC):
    """A store whose documents can be moved with their vectors."""

    _legs: dict[str, Leg]

    @property
    @abstractmethod
    def fitted_fusion(self) -> Fusion | None:
        """The fusion that was fitted to the documents; None for the library's default."""

    @abstractmethod
    def store_fusion(self, fusion: Fusion | None) -> None:
        """Stores a fusion of the legs."""

    @abstractmethod
    def _in_order(self) -> Iterator[StoredDocument]:
        """Yields all documents in insertion order; those added or removed meanwhile may or may not be among them."""

    @abstractmethod
    def _stored_vectors(self, name: str, leg: Leg, documents: Sequence[StoredDocument]) -> Any:
        """Returns what a leg with a model has stored of documents, which have a single window each.

        Raises:
            IndexStateError: If one of them has been changed since it was read.
        """

    @abstractmethod
    def _add_represented(self, documents: Sequence[StoredDocument], represent: Represent) -> None:
        """Adds documents; asks `represent` for those alone that are not there with the same text."""


def move_documents(source: Movable, target: Movable, *, total: int, show_progress: bool | None) -> int:
    """Adds all documents of a store to another, with their vectors. Nothing is encoded.

    Args:
        source: Where they are.
        target: With the same legs.
        total: The number of documents, for the progress bar.
        show_progress: Show a progress bar; None shows one in a terminal.

    Returns:
        The number of documents.

    Raises:
        InvalidArgumentError: If the target has other legs, or windows.
        FingerprintError: If its legs have other models or settings.
    """
    _check_same(source._legs, target._legs)

    def represent(name: str, leg: Leg, documents: Sequence[StoredDocument]) -> Any:
        if leg.encoder is None:  # reads texts, which is as fast as reading what others made of them
            return leg.encode_documents([document.searched for document in documents], show_progress=False)
        return source._stored_vectors(name, source._legs[name], documents)

    show = sys.stderr.isatty() if show_progress is None else show_progress
    moved = 0
    with progress_bar("Moving documents", total, show=show) as bar:
        for batch in in_batches(source._in_order(), even_pace(), COMMIT_CHARACTERS):
            target._add_represented(batch, represent)
            moved += len(batch)
            bar.update(len(batch))
    return moved


def changed_meanwhile(place: str) -> IndexStateError:
    """Returns the error for a document that is not as it was when it was read."""
    return IndexStateError(
        f"{place}의 문서가 읽는 동안 바뀌었습니다. 다시 호출하세요. 옮기던 중이면 멈춘 곳에서 이어집니다.",
        f"Documents of {place} were changed while they were read. Call again; a move continues where it stopped.",
    )


def _check_same(source: Mapping[str, Leg], target: Mapping[str, Leg]) -> None:
    if source.keys() != target.keys():
        raise InvalidArgumentError(
            f"검색 방식이 서로 다릅니다: {', '.join(source)} → {', '.join(target)}. 옮길 곳을 같은 encoders=와 bm25=로 "
            "여세요.",
            f"The legs differ: {', '.join(source)} → {', '.join(target)}. Open the target with the same encoders= and "
            "bm25=.",
        )
    for name, leg in target.items():
        if isinstance(leg, WindowedLeg):
            raise InvalidArgumentError(
                f"옮길 곳의 '{name}'이(가) 문서를 구간으로 나눕니다. window=None으로 여세요.",
                f"The '{name}' leg of the target splits documents into windows; open it with window=None.",
            )
        one, other = _identity(source[name]), _identity(leg)
        if one != other:
            differing = ", ".join(key for key in one | other if one.get(key) != other.get(key))
            raise FingerprintError(
                f"'{name}'의 모델이나 설정이 서로 다릅니다: {differing}. 옮길 곳을 같은 모델과 설정으로 여세요.",
                f"The model or settings of '{name}' differ: {differing}. Open the target with the same.",
            )


def _identity(leg: Leg) -> dict[str, Any]:
    """Whatever decides what is stored; where the model came from does not."""
    leg = leg.inner if isinstance(leg, WindowedLeg) else leg
    own = leg.identity()
    known = {key: value for key, value in own.items() if key not in ("load", "fingerprint")}
    if "fingerprint" in own:
        fields = {key: value for key, value in own["fingerprint"].items() if key not in ("model", "revision")}
        if leg.encoder is not None and not leg.encoder.fills_queries:
            del fields["query_length"]
        known |= fields
    return known
