"""A cache of vectors with separate entries for queries and texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.storage.kvstore.types import BaseKVStore

from korag.encoders.base import Encoder, Task
from korag.text import normalize

_COLLECTION = "embeddings"


class EmbeddingsCache(BaseKVStore):
    """Keeps vectors in a key-value store, keyed by task and model as well as text.

    `BaseEmbedding` looks vectors up by text alone, so a query would get the vector of an equal text, and one model
    that of another. It must not look them up at all, so the cache is falsy, as if there were none.

    Args:
        store: The key-value store; it can serve several models.
    """

    def __init__(self, store: BaseKVStore) -> None:
        self.store = store

    def __bool__(self) -> bool:
        return False

    def find(self, encoder: Encoder[Any], task: Task, texts: Sequence[str]) -> list[list[float] | None]:
        """Returns the vector of each text, or None."""
        return [_vector(self.store.get(_key(encoder, task, text), _COLLECTION)) for text in texts]

    async def afind(self, encoder: Encoder[Any], task: Task, texts: Sequence[str]) -> list[list[float] | None]:
        """Returns the vector of each text, or None."""
        return [_vector(await self.store.aget(_key(encoder, task, text), _COLLECTION)) for text in texts]

    def keep(self, encoder: Encoder[Any], task: Task, vectors: dict[str, list[float]]) -> None:
        """Stores the vectors of texts."""
        for text, vector in vectors.items():
            self.store.put(_key(encoder, task, text), {"embedding": vector}, _COLLECTION)

    async def akeep(self, encoder: Encoder[Any], task: Task, vectors: dict[str, list[float]]) -> None:
        """Stores the vectors of texts."""
        for text, vector in vectors.items():
            await self.store.aput(_key(encoder, task, text), {"embedding": vector}, _COLLECTION)

    def put(self, key: str, val: dict[str, Any], collection: str = _COLLECTION) -> None:
        """Delegates to the store."""
        self.store.put(key, val, collection)

    async def aput(self, key: str, val: dict[str, Any], collection: str = _COLLECTION) -> None:
        """Delegates to the store."""
        await self.store.aput(key, val, collection)

    def get(self, key: str, collection: str = _COLLECTION) -> dict[str, Any] | None:
        """Delegates to the store."""
        return self.store.get(key, collection)

    async def aget(self, key: str, collection: str = _COLLECTION) -> dict[str, Any] | None:
        """Delegates to the store."""
        return await self.store.aget(key, collection)

    def get_all(self, collection: str = _COLLECTION) -> dict[str, dict[str, Any]]:
        """Delegates to the store."""
        return self.store.get_all(collection)

    async def aget_all(self, collection: str = _COLLECTION) -> dict[str, dict[str, Any]]:
        """Delegates to the store."""
        return await self.store.aget_all(collection)

    def delete(self, key: str, collection: str = _COLLECTION) -> bool:
        """Delegates to the store."""
        return self.store.delete(key, collection)

    async def adelete(self, key: str, collection: str = _COLLECTION) -> bool:
        """Delegates to the store."""
        return await self.store.adelete(key, collection)


def _key(encoder: Encoder[Any], task: Task, text: str) -> str:
    return f"{task}:{encoder.fingerprint}:{normalize(text)}"


def _vector(entry: dict[str, Any] | None) -> list[float] | None:
    return None if entry is None else entry["embedding"]
