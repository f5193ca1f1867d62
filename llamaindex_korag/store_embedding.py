"""The embedding model of a `KoVectorStore`: none, because the store encodes the texts itself."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding, Embedding
from llama_index.core.bridge.pydantic import Field

from korag.errors import InvalidArgumentError


class KoStoreEmbedding(BaseEmbedding):
    """Marks nodes as ready for a `KoVectorStore`, which encodes their texts with its own models.

    LlamaIndex gives a store only nodes that have an embedding. These are empty and cost nothing; whatever would compare
    them is an error.
    """

    model_name: str = Field(default="KoVectorStore", frozen=True, description="The store has the models.")
    embed_batch_size: int = Field(default=2048, gt=0, le=2048, description="Texts between two events.")

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "KoStoreEmbedding"

    def similarity(self, *embeddings: Any, **options: Any) -> float:
        """Raises: there is nothing to compare."""
        raise _no_vectors()

    def _get_text_embedding(self, text: str) -> Embedding:
        return []

    def _get_query_embedding(self, query: str) -> Embedding:
        raise _no_vectors()

    async def _aget_query_embedding(self, query: str) -> Embedding:
        raise _no_vectors()


def _no_vectors() -> InvalidArgumentError:
    return InvalidArgumentError(
        "store.embed_model은 벡터를 만들지 않습니다. 인코딩은 KoVectorStore가 직접 하므로 IngestionPipeline과 "
        "VectorStoreIndex에만 넣을 수 있습니다. 벡터가 필요한 곳에는 KoEmbedding(model_name=...)을 쓰세요.",
        "store.embed_model makes no vectors: a KoVectorStore encodes texts itself, so this belongs into an "
        "IngestionPipeline or a VectorStoreIndex only. Where vectors are needed, use KoEmbedding(model_name=...).",
    )
