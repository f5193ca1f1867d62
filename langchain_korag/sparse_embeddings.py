"""Learned sparse embeddings for LangChain's vector stores."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Annotated, Any, cast

from korag.checkpoints.presets import DEFAULT_SPLADE
from korag.encoders.base import Task
from korag.encoders.sparse import SparseEncoder, index_weight_lists
from korag.explain import Term, explain_terms
from korag.text import check_text
from langchain_korag.huggingface import read_settings
from langchain_korag.model_fields import MODEL_SCHEMA, EncoderModel, model_field

if TYPE_CHECKING or importlib.util.find_spec("langchain_qdrant") is not None:
    from langchain_qdrant.sparse_embeddings import SparseEmbeddings, SparseVector
else:
    from langchain_korag._qdrant_compat import SparseEmbeddings, SparseVector


class KoSparseEmbeddings(EncoderModel, SparseEmbeddings):
    """Embeds queries and documents with a Korean SPLADE model, as vocabulary terms with weights.

    >>> store = QdrantVectorStore.from_documents(
    ...     documents, KoEmbeddings(), sparse_embedding=KoSparseEmbeddings(), retrieval_mode=RetrievalMode.HYBRID
    ... )

    A subclass of `langchain_qdrant.SparseEmbeddings` if that package is installed; otherwise a class with the same
    methods. (langchain-milvus requires a subclass of its own ``BaseSparseEmbedding``, which this is not.) Vectors
    are compared by dot product. The weights of the model are loaded at first use. Safe for threads; pickles
    contain the name and the settings only, no weights and no token.

    Attributes:
        model: A name, a path, or a loaded sparse encoder (also as ``model_name``); replaced by the encoder.
        model_kwargs: Keywords of `korag.load_encoder` (``device``, ``dtype``, ``max_length``, ``query_length`` …).
        cache_folder: Hub cache; by default ``SENTENCE_TRANSFORMERS_HOME``, then the Hub's own.
        show_progress: Show a progress bar when embedding documents.

    Raises:
        WrongFamilyError: If the model is not a sparse model; the message names the class to use.
        CheckpointNotFoundError: If there is no such model.
        InvalidArgumentError: If a setting has no meaning here, or a loaded encoder has another value of it.
    """

    _family = "sparse"

    model: Annotated[  # pyright: ignore[reportIncompatibleVariableOverride]  # narrowed to the family
        SparseEncoder | str | os.PathLike[str], MODEL_SCHEMA
    ] = model_field(DEFAULT_SPLADE)

    def model_post_init(self, context: Any, /) -> None:
        """Resolves the model; its weights are loaded at first use."""
        self._resolve_model(read_settings(self.model_kwargs).loading)

    def embed_query(self, text: str) -> SparseVector:
        """Embeds a query, with the query prompt.

        Args:
            text: The query, in any Unicode normalization form.

        Returns:
            Vocabulary indices in ascending order, and their weights.

        Raises:
            InvalidTextError: If it is not a string, or contains a lone surrogate.
        """
        return _vectors(self._encoder.encode_queries([check_text(text, "text")]))[0]

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Embeds documents, with the document prompt.

        Args:
            texts: The documents, in any Unicode normalization form.

        Returns:
            One vector per text, in order.

        Raises:
            InvalidTextError: If an entry is not a string, or contains a lone surrogate; the message names its position.
        """
        return _vectors(self._encoder.encode_documents(texts, show_progress=self.show_progress))

    def explain(self, text: str, top: int = 20, *, task: Task = "query") -> list[Term]:
        """Returns the strongest terms of a text's vector.

        >>> for term, weight in embeddings.explain("보증금은 언제 돌려받나요?"):
        ...     print(term, weight)

        Args:
            text: A query or a document.
            top: Number of terms at most.
            task: Embed the text as a query or as a document.

        Returns:
            Terms, heaviest first, each with `term`, `weight`, and `in_text`, False for terms that the model added.

        Raises:
            InvalidTextError: If the text is not a string.
            InvalidArgumentError: If `top` is negative, or `task` is neither of the two.
        """
        return explain_terms(self._encoder, text, task=task, top=top)

    @property
    def _encoder(self) -> SparseEncoder:
        return cast("SparseEncoder", self.model)


def _vectors(rows: Any) -> list[SparseVector]:
    return [SparseVector(indices=indices, values=weights) for indices, weights in index_weight_lists(rows)]
