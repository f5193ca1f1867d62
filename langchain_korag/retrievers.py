"""Retrievers over a KoRAG collection."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, Field

from korag.collection import Collection
from korag.collection.manifest import EncoderLike
from korag.encoders.load import late_interaction_encoder
from korag.errors import IndexStateError
from langchain_korag.documents import add_documents, to_document

DEFAULT_COLBERT = "dragonkue/colbert-ko-0.1b"


class KoColBERTRetriever(BaseRetriever):
    """Finds documents with a ColBERT model: exact MaxSim over every token of every document.

    >>> retriever = KoColBERTRetriever.from_documents(documents, model="mini-colbert", k=4)
    >>> retriever.invoke("보증금은 언제 돌려받나요?", filter={"분류": "임대차"})

    `k` and `filter` can be given to ``invoke``, ``ainvoke``, ``batch`` and ``stream`` too. Each document found
    is a new one with its id, its metadata, and its MaxSim score under `score_key`; scores compare documents
    for one query only.

    Attributes:
        collection: The documents and their vectors; shared by copies of the retriever.
        k: Documents to return.
        filter: Metadata filter, applied before the k best are taken (see `korag.collection.filters`).
        score_key: Metadata key of the score; None leaves it out.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    collection: Collection = Field(exclude=True, repr=False)
    k: int = Field(default=4, ge=0)
    filter: dict[str, Any] | None = None
    score_key: str | None = "score"

    @classmethod
    def from_documents(
        cls,
        documents: Iterable[Document],
        *,
        model: EncoderLike = DEFAULT_COLBERT,
        k: int = 4,
        path: str | os.PathLike[str] | None = None,
        ids: Sequence[str] | None = None,
        **fields: Any,
    ) -> Self:
        """Indexes documents and returns a retriever over them.

        Args:
            documents: The documents; they keep their ids.
            model: A name, a path, or a loaded late-interaction encoder.
            k: Documents to return.
            path: Folder of the collection, new or built with the same model; None keeps it in memory.
            ids: Ids in place of the documents' own.
            fields: Other fields of the retriever.

        Raises:
            WrongFamilyError: If the model is not a late-interaction model.
        """
        collection = cls._open(path, late_interaction_encoder(model))
        retriever = cls(collection=collection, k=k, **fields)  # first, so that a wrong field costs no indexing
        retriever.add_documents(documents, ids=ids)
        return retriever

    @classmethod
    def from_texts(
        cls,
        texts: Iterable[str],
        metadatas: Sequence[dict[str, Any]] | None = None,
        *,
        model: EncoderLike = DEFAULT_COLBERT,
        k: int = 4,
        path: str | os.PathLike[str] | None = None,
        ids: Sequence[str] | None = None,
        **fields: Any,
    ) -> Self:
        """Indexes texts and returns a retriever over them; arguments as for `from_documents`."""
        collection = cls._open(path, late_interaction_encoder(model))
        retriever = cls(collection=collection, k=k, **fields)
        collection.add(texts, ids=ids, metadata=metadatas)
        return retriever

    @classmethod
    def load_local(
        cls, path: str | os.PathLike[str], *, model: EncoderLike | None = None, k: int = 4, **fields: Any
    ) -> Self:
        """Opens the folder a retriever was made with.

        Args:
            path: The folder.
            model: The model it was built with; None loads the one the folder names.
            k: Documents to return.
            fields: Other fields of the retriever.

        Raises:
            FingerprintError: If it was built with another model.
            IndexStateError: If there is no collection with ColBERT vectors in the folder.
        """
        encoder = None if model is None else late_interaction_encoder(model)
        if not os.path.isdir(path):  # noqa: PTH112 (any path-like)
            raise IndexStateError(
                f"'{path}' 폴더가 없습니다. from_documents(..., path='{path}')로 먼저 만드세요.",
                f"There is no folder '{path}'; make it with from_documents(..., path='{path}').",
            )
        return cls(collection=cls._open(path, encoder), k=k, **fields)

    @staticmethod
    def _open(path: str | os.PathLike[str] | None, encoder: EncoderLike | None) -> Collection:
        encoders = None if encoder is None else [encoder]
        collection = Collection.in_memory(encoders=encoders) if path is None else Collection.open(path, encoders=encoders)
        if "colbert" not in collection.legs:
            raise IndexStateError(
                f"'{path}' 컬렉션에는 ColBERT 벡터가 없습니다(있는 것: {', '.join(collection.legs)}).",
                f"The collection '{path}' has no ColBERT vectors (it has: {', '.join(collection.legs)}).",
            )
        return collection

    def add_documents(self, documents: Iterable[Document], *, ids: Sequence[str] | None = None) -> list[str]:
        """Adds documents, replacing those with the same ids. Returns the ids, in order."""
        return add_documents(self.collection, documents, ids)

    def delete(self, ids: Sequence[str] | None = None, *, filter: dict[str, Any] | None = None) -> int:
        """Removes documents by id or filter. Returns how many were removed."""
        return self.collection.delete(ids, where=filter)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: dict[str, Any] | None = None,
    ) -> list[Document]:
        hits = self.collection.search(
            query,
            k=self.k if k is None else k,
            using="colbert",
            where=self.filter if filter is None else filter,
        )
        return [to_document(hit, self.score_key) for hit in hits]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        filter: dict[str, Any] | None = None,
    ) -> list[Document]:
        # The same keywords as above: the base class would drop them, and then `ainvoke` would take none.
        return await run_in_executor(
            None,
            lambda: self._get_relevant_documents(query, run_manager=run_manager.get_sync(), k=k, filter=filter),
        )

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        return LangSmithRetrieverParams(
            ls_retriever_name="kocolbert",
            ls_vector_store_provider="KoRAG",
            ls_embedding_provider="KoRAG",
            ls_embedding_model=self.collection.encoders["colbert"].model_name,
        )
