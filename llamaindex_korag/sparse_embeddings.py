"""Learned sparse embeddings for LlamaIndex."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding, SparseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr

from korag.checkpoints.presets import DEFAULT_SPLADE
from korag.encoders.base import Task
from korag.encoders.sparse import SparseEncoder, index_weight_lists
from korag.explain import Term, explain_terms
from korag.text import check_text
from llamaindex_korag.encoder_fields import EncoderFields

QdrantFn = Callable[[list[str]], tuple[list[list[int]], list[list[float]]]]
"""Texts → (indices per text, values per text)."""


class KoSparseEmbedding(EncoderFields, BaseSparseEmbedding):
    """Embeds queries and texts with a Korean SPLADE model, as ``{vocabulary index: weight}``.

    >>> sparse_doc_fn, sparse_query_fn = KoSparseEmbedding(model_name="mini-splade").as_qdrant_fns()
    >>> store = QdrantVectorStore(
    ...     "laws", client, enable_hybrid=True, sparse_doc_fn=sparse_doc_fn, sparse_query_fn=sparse_query_fn
    ... )

    Vectors are compared by dot product, as in the model's training. Everything that changes them is a
    serialised field; how the model is run is up to the encoder passed in. The weights are loaded at the
    first use. Safe for threads; pickles contain the name and the settings only, no weights and no token.

    Attributes:
        model_name: The model's name, or the whole path of its folder.
        revision: Its Hub commit; None for a local folder.
        dim: Size of its vocabulary.
        query_prompt: Put before every query.
        document_prompt: Put before every text.
        max_length: Longest text in tokens.
        query_length: Longest query in tokens; None for `max_length`.
        pooling: For dense models only.
        adapter: None; there are PEFT adapters for dense models only.
        embed_batch_size: Texts embedded between two events.
        num_workers: Batches embedded at once in async, from 2 on; None leaves it to asyncio's threads.
    """

    _family = "sparse"

    model_name: str = Field(default=DEFAULT_SPLADE, frozen=True, description="Name or path of a sparse model.")
    _encoder: SparseEncoder = PrivateAttr()  # pyright: ignore[reportIncompatibleVariableOverride]  # narrowed to the family

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "KoSparseEmbedding"

    def similarity(self, embedding1: SparseEmbedding, embedding2: SparseEmbedding) -> float:
        """Returns the dot product: SPLADE's weights express how much a term counts, which a cosine would undo.

        Args:
            embedding1: A vector.
            embedding2: Another.
        """
        fewer, more = sorted((embedding1, embedding2), key=len)
        return float(sum(weight * more[index] for index, weight in fewer.items() if index in more))

    def as_qdrant_fns(self) -> tuple[QdrantFn, QdrantFn]:
        """Returns the ``sparse_doc_fn`` and ``sparse_query_fn`` for LlamaIndex's `QdrantVectorStore`."""
        return self._document_lists, self._query_lists

    def explain(self, text: str, top: int = 20, *, task: Task = "query") -> list[Term]:
        """Returns the strongest terms of a text's vector.

        >>> for term, weight in embedding.explain("보증금은 언제 돌려받나요?"):
        ...     print(term, weight)

        Arguments, terms and errors are those of `korag.explain.explain_terms`.
        """
        return explain_terms(self._encoder, text, task=task, top=top)

    def _document_lists(self, texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        return _transposed(index_weight_lists(self._encoder.encode_documents(texts, show_progress=False)))

    def _query_lists(self, texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        return _transposed(index_weight_lists(self._encoder.encode_queries(texts)))

    def _get_query_embedding(self, query: str) -> SparseEmbedding:
        return _dicts(self._query_lists([check_text(query, "query")]))[0]

    async def _aget_query_embedding(self, query: str) -> SparseEmbedding:
        # `asyncio.to_thread` keeps the context and thus the spans; `run_in_executor` would lose them.
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> SparseEmbedding:
        return self._get_text_embeddings([check_text(text, "text")])[0]

    async def _aget_text_embedding(self, text: str) -> SparseEmbedding:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[SparseEmbedding]:
        return _dicts(self._document_lists(texts))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[SparseEmbedding]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)


def _transposed(rows: list[tuple[list[int], list[float]]]) -> tuple[list[list[int]], list[list[float]]]:
    return [indices for indices, _ in rows], [weights for _, weights in rows]


def _dicts(lists: tuple[list[list[int]], list[list[float]]]) -> list[SparseEmbedding]:
    return [dict(zip(indices, weights, strict=True)) for indices, weights in zip(*lists, strict=True)]
