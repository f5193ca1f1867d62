"""Dense embeddings for LlamaIndex."""

from __future__ import annotations

import asyncio
from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr, field_validator
from llama_index.core.storage.kvstore.types import BaseKVStore

from korag.checkpoints.presets import DEFAULT_DENSE
from korag.encoders.base import Task
from korag.encoders.dense import DenseEncoder
from korag.text import check_text, check_texts
from llamaindex_korag.embeddings_cache import EmbeddingsCache
from llamaindex_korag.encoder_fields import EncoderFields
from llamaindex_korag.given import wrong_kind

_YOUNGER = ("query_length", "pooling")
"""Fields that 0.1.0 did not have."""


class KoEmbedding(EncoderFields, BaseEmbedding):
    """Embeds queries and nodes with a Korean dense model, each with the prompt it was trained with.

    >>> Settings.embed_model = KoEmbedding(model_name="mini-dense")
    >>> index = VectorStoreIndex.from_documents(documents)

    Everything that changes vectors is a serialised field, so an ingestion cache is valid exactly as long as the
    vectors would be the same. How the model is run (device, precision, backend) is up to the encoder passed in.
    The weights are loaded at first use. Safe for threads; pickles contain the name and the settings only, no weights
    and no token.

    Attributes:
        model_name: The model's name, or the whole path of its folder.
        revision: Its Hub commit; None for a local folder.
        dim: Size of a vector.
        query_prompt: Put before every query.
        document_prompt: Put before every text.
        max_length: Longest text in tokens.
        query_length: Longest query in tokens; None for `max_length`.
        pooling: Pooling of a model whose files do not say it.
        adapter: Folder or Hub id of the PEFT adapter, if there is one.
        embed_batch_size: Texts embedded between two events.
        num_workers: Batches embedded at once in async, from 2 on; None leaves it to asyncio's threads.
        embeddings_cache: A key-value store; queries and texts have separate entries in it, and so do models.
    """

    _family = "dense"

    model_name: str = Field(default=DEFAULT_DENSE, frozen=True, description="Name or path of a dense model.")
    embeddings_cache: Any | None = Field(default=None, exclude=True, description="A key-value store for vectors.")
    _encoder: DenseEncoder = PrivateAttr()  # pyright: ignore[reportIncompatibleVariableOverride]  # narrowed to the family

    @field_validator("embeddings_cache", mode="before")
    @classmethod
    def _separate(cls, store: object) -> EmbeddingsCache | None:
        if not isinstance(store, BaseKVStore | None):
            raise wrong_kind("embeddings_cache", store, "BaseKVStore")
        return store if store is None or isinstance(store, EmbeddingsCache) else EmbeddingsCache(store)

    @field_validator("rate_limiter", mode="before")
    @classmethod
    def _check_limiter(cls, limiter: object) -> object:
        if limiter is not None and not hasattr(limiter, "acquire"):
            raise wrong_kind("rate_limiter", limiter, "BaseRateLimiter")
        return limiter

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "KoEmbedding"

    def to_dict(self, **kwargs: Any) -> dict[str, Any]:
        """Returns the fields that change vectors; younger ones where they are set, so ingestion caches stay valid."""
        fields = super().to_dict(**kwargs)
        return {name: value for name, value in fields.items() if name not in _YOUNGER or value is not None}

    def _get_query_embedding(self, query: str) -> Embedding:
        return self._embed("query", [check_text(query, "query")])[0]

    async def _aget_query_embedding(self, query: str) -> Embedding:
        return (await self._aembed("query", [check_text(query, "query")]))[0]

    def _get_text_embedding(self, text: str) -> Embedding:
        return self._embed("document", [check_text(text, "text")])[0]

    async def _aget_text_embedding(self, text: str) -> Embedding:
        return (await self._aembed("document", [check_text(text, "text")]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return self._embed("document", texts)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[Embedding]:
        return await self._aembed("document", texts)

    def _embed(self, task: Task, texts: list[str]) -> list[Embedding]:
        texts, cache = check_texts(texts), self.embeddings_cache
        if cache is None:
            return self._encode(task, texts)
        known = dict(zip(texts, cache.find(self._encoder, task, texts), strict=True))
        new = self._encode_new(task, known)
        cache.keep(self._encoder, task, new)
        found = known | new
        return [found[text] for text in texts]

    async def _aembed(self, task: Task, texts: list[str]) -> list[Embedding]:
        # `asyncio.to_thread` keeps the context and thus the spans; `run_in_executor` would lose them.
        texts, cache = check_texts(texts), self.embeddings_cache
        if cache is None:
            encode = self._encoder.aencode_queries if task == "query" else self._encoder.aencode_documents
            vectors: list[Embedding] = (await encode(texts)).tolist()
            return vectors
        await asyncio.to_thread(getattr, self._encoder, "fingerprint")  # the first access reads the weights
        known = dict(zip(texts, await cache.afind(self._encoder, task, texts), strict=True))
        new = await asyncio.to_thread(self._encode_new, task, known)
        await cache.akeep(self._encoder, task, new)
        found = known | new
        return [found[text] for text in texts]

    def _encode_new(self, task: Task, known: dict[str, Embedding | None]) -> dict[str, Embedding]:
        new = [text for text, vector in known.items() if vector is None]
        return dict(zip(new, self._encode(task, new), strict=True))

    def _encode(self, task: Task, texts: list[str]) -> list[Embedding]:
        encode = self._encoder.encode_queries if task == "query" else self._encoder.encode_documents
        vectors: list[Embedding] = encode(texts, show_progress=False).tolist()
        return vectors
