"""Dense embeddings for LangChain."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, cast

from langchain_core.embeddings import Embeddings
from pydantic import Field, PrivateAttr, field_validator

from korag.checkpoints.presets import DEFAULT_DENSE
from korag.encoders.dense import DenseEncoder
from korag.errors import InvalidArgumentError
from korag.scoring import unit_rows
from korag.text import check_text
from langchain_korag.field_types import Flag
from langchain_korag.huggingface import read_settings
from langchain_korag.model_fields import MODEL_SCHEMA, EncoderModel, model_field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class KoEmbeddings(EncoderModel, Embeddings):
    """Embeds queries and documents with a Korean dense model, each with the prompt it was trained with.

    >>> embeddings = KoEmbeddings(model="mini-dense")
    >>> store = FAISS.from_documents(documents, embeddings)

    Takes the fields of ``langchain_huggingface.HuggingFaceEmbeddings``, so that changing the class name is
    enough. The differences: a checkpoint's prompts are used for queries and documents, line breaks are kept,
    and a setting that has no meaning here is an error. The weights are loaded at first use. Safe for
    threads; pickles contain the name and the settings only, no weights and no token.

    Attributes:
        model: A name, a path, or a loaded dense encoder (also as ``model_name``); replaced by the encoder.
        model_kwargs: Keywords of `korag.load_encoder` (``device``, ``dtype``, ``dim``, ``query_prompt``,
            ``query_length`` …) or of ``SentenceTransformer(…)`` (``prompts``, ``truncate_dim`` …). Vectors of unit
            length that are cut are scaled to unit length again.
        encode_kwargs: Keywords of ``encode(…)``: ``normalize_embeddings``, ``prompt``, ``batch_size`` …
        query_encode_kwargs: The same for queries, where they differ.
        cache_folder: Hub cache; by default ``SENTENCE_TRANSFORMERS_HOME``, then the Hub's own.
        show_progress: Show a progress bar when embedding documents.
        multi_process: False: one process serves all threads.

    Raises:
        WrongFamilyError: If the model is not a dense model; the message names the class to use.
        CheckpointNotFoundError: If there is no such model.
        InvalidArgumentError: If a setting has no meaning here, or a loaded encoder has another value of it.
    """

    _family = "dense"

    model: Annotated[  # pyright: ignore[reportIncompatibleVariableOverride]  # narrowed to the family
        DenseEncoder | str | os.PathLike[str], MODEL_SCHEMA
    ] = model_field(DEFAULT_DENSE)
    encode_kwargs: dict[str, Any] = Field(default_factory=dict, frozen=True)
    query_encode_kwargs: dict[str, Any] = Field(default_factory=dict, frozen=True)
    multi_process: Flag = Field(default=False, frozen=True)
    _unit: tuple[bool, bool] = PrivateAttr()

    @field_validator("multi_process")
    @classmethod
    def _check_one_process(cls, multi_process: bool) -> bool:  # noqa: FBT001 (pydantic's own way of calling)
        if multi_process:
            raise InvalidArgumentError(
                "multi_process=True는 쓸 수 없습니다. 빼세요. 여러 스레드에서 함께 쓸 수 있고, 여러 GPU에는 "
                "device='cuda:0', 'cuda:1'처럼 KoEmbeddings를 따로 만드세요.",
                "multi_process=True is not supported; leave it out. Threads can share one KoEmbeddings, and for "
                "several GPUs make one for each, with device='cuda:0', 'cuda:1' …",
            )
        return multi_process

    def model_post_init(self, context: Any, /) -> None:
        """Resolves the model; its weights are loaded at first use."""
        settings = read_settings(self.model_kwargs, self.encode_kwargs, self.query_encode_kwargs)
        self._resolve_model(settings.loading)
        self._unit = (settings.normalize_queries, settings.normalize_documents)

    @property
    def scales(self) -> bool:
        """Tells whether queries or documents are scaled to unit length, even if the model does not."""
        return any(self._unit)

    @property
    def cache_namespace(self) -> str:
        """Namespace for a cache of these vectors: differs whenever the vectors would.

        >>> CacheBackedEmbeddings.from_bytes_store(embeddings, store, namespace=embeddings.cache_namespace)

        Give queries a separate store (``query_embedding_cache=store``), never ``True``: that would return a
        document's vector for a query with the same text. The first use hashes the weights.
        """
        fingerprint = self._encoder.fingerprint
        unit = "" if fingerprint.normalized else "".join("01"[each] for each in self._unit) + "-"
        return f"korag-{fingerprint}-{unit}"

    def embed_query(self, text: str) -> list[float]:
        """Embeds a query, with the query prompt.

        Args:
            text: The query, in any Unicode normalization form.

        Returns:
            Shape: (dim,).

        Raises:
            InvalidTextError: If it is not a string, or contains a lone surrogate.
        """
        vectors = self._encoder.encode_queries([check_text(text, "text")])
        return self._as_floats(vectors, unit=self._unit[0])[0]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embeds documents, with the document prompt.

        Args:
            texts: The documents, in any Unicode normalization form.

        Returns:
            One vector per text, in order. Shape: (n_texts, dim).

        Raises:
            InvalidTextError: If an entry is not a string, or contains a lone surrogate; the message names its position.
        """
        vectors = self._encoder.encode_documents(texts, show_progress=self.show_progress)
        return self._as_floats(vectors, unit=self._unit[1])

    async def aembed_query(self, text: str) -> list[float]:
        """As `embed_query`; where a server computes, requests run side by side without threads."""
        vectors = await self._encoder.aencode_queries([check_text(text, "text")])
        return self._as_floats(vectors, unit=self._unit[0])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As `embed_documents`; where a server computes, requests run side by side without threads."""
        return self._as_floats(await self._encoder.aencode_documents(texts), unit=self._unit[1])

    @property
    def _encoder(self) -> DenseEncoder:
        return cast("DenseEncoder", self.model)

    @staticmethod
    def _as_floats(vectors: NDArray[np.float32], *, unit: bool) -> list[list[float]]:
        floats: list[list[float]] = (unit_rows(vectors) if unit else vectors).tolist()
        return floats
