"""A store of somebody else: it knows `korag.collection.base.Collection` and nothing of the local one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.collection.base import Collection, Hit, SearchOptions
from korag.collection.documents import StoredDocument
from korag.encoders.base import Encoder


class OtherStore(Collection):
    """Passes everything on to another collection, and notes the options of every search.

    Args:
        inner: Where the documents are.
    """

    def __init__(self, inner: Collection) -> None:
        self._inner = inner
        self.searches: list[SearchOptions] = []

    def add(
        self,
        texts: Iterable[str],
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        show_progress: bool | None = None,
    ) -> list[str]:
        return self._inner.add(texts, ids=ids, metadata=metadata, show_progress=show_progress)

    def add_encoded(self, documents: Any, vectors: Any, *, fingerprints: Any) -> list[str]:
        return self._inner.add_encoded(documents, vectors, fingerprints=fingerprints)

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        return self._inner.delete(ids, where=where)

    def get(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> list[StoredDocument]:
        return self._inner.get(ids, where=where)

    def __len__(self) -> int:
        return len(self._inner)

    @property
    def legs(self) -> tuple[str, ...]:
        return self._inner.legs

    @property
    def encoders(self) -> dict[str, Encoder[Any]]:
        return self._inner.encoders

    def _search(self, queries: list[str], legs: Sequence[str], options: SearchOptions) -> list[list[Hit]]:
        self.searches.append(options)
        return self._inner.search_many(queries, options=options)

    def search_by_vector(
        self,
        vector: Sequence[float],
        *,
        k: int = 10,
        where: Mapping[str, Any] | None = None,
        min_relevance: float | None = None,
    ) -> list[Hit]:
        return self._inner.search_by_vector(vector, k=k, where=where, min_relevance=min_relevance)

    def _similarities(self, ids: Sequence[str], legs: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        return self._inner._similarities(ids, legs)

    def close(self) -> None:
        self._inner.close()

    def __repr__(self) -> str:
        return f"OtherStore({self._inner!r})"
