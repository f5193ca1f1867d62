"""Retrievers over a KoRAG collection."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from langchain_core.runnables import run_in_executor
from pydantic import ConfigDict, Field, field_validator
from pydantic.json_schema import SkipJsonSchema

from korag.collection import Collection
from korag.collection.filters import parse
from korag.collection.manifest import EncoderLike
from korag.encoders.load import late_interaction_encoder
from korag.errors import IndexStateError
from langchain_korag.documents import add_documents, to_document

DEFAULT_COLBERT = "dragonkue/colbert-ko-0.1b"


class KoColBERTRetriever(BaseRetriever):
    """Finds documents with a ColBERT model: exact MaxSim over every token of every document.

    >>> retriever = KoColBERTRetriever.from_documents(documents, model="mini-colbert", k=4)
    >>> retriever.invoke("보증금은 언제 돌려받나요?", filter={"분류": "임대차"})

    `k` and `filter` can be given to ``invoke``, ``ainvoke``, ``batch`` and ``stream`` too; they take the
    place of the retriever's own, so ``filter={}`` searches everything. Each document found is a new one with
    its id, its metadata, and its MaxSim score under `score_key`; scores compare documents for one query only.

    Attributes:
        collection: The documents and their vectors; shared by copies of the retriever.
        k: Documents to return.
        filter: Metadata filter, applied before the k best are taken (see `korag.collection.filters`).
        score_key: Metadata key of the score, written over what was there; None leaves it out.

    Raises:
        IndexStateError: If the collection has no ColBERT vectors.
    """

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, validate_assignment=True)

    collection: SkipJsonSchema[Collection] = Field(exclude=True, repr=False)
    k: int = Field(default=4, ge=0)
    filter: dict[str, Any] | None = None
    score_key: str | None = "score"

    @field_validator("collection")
    @classmethod
    def _check_collection(cls, collection: Collection) -> Collection:
        if "colbert" not in collection.legs:
            raise IndexStateError(
                f"{collection!r}에는 ColBERT 벡터가 없습니다. ColBERT 모델로 만든 컬렉션을 넣으세요.",
                f"{collection!r} has no ColBERT vectors; use a collection made with a ColBERT model.",
            )
        return collection

    @field_validator("filter")
    @classmethod
    def _check_filter(cls, filter: dict[str, Any] | None) -> dict[str, Any] | None:
        parse(filter)
        return filter

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
            documents: The documents; they keep their ids, and those without one get a new one.
            model: A name, a path, or a loaded late-interaction encoder.
            k: Documents to return.
            path: Folder of the collection, new or built with the same model, where documents replace those
                with the same ids; None keeps it in memory. To search a folder as it is, use `load_local`.
            ids: Ids in place of the documents' own.
            fields: Other fields of the retriever.

        Raises:
            WrongFamilyError: If the model is not a late-interaction model.
        """
        collection = cls._open(path, late_interaction_encoder(model))
        # The retriever comes first, so that a wrong field costs no indexing.
        retriever = cls(collection=collection, k=k, **fields)
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
        if path is None:
            return Collection.in_memory(encoders=encoders)
        return Collection.open(path, encoders=encoders)

    def add_documents(self, documents: Iterable[Document], *, ids: Sequence[str] | None = None) -> list[str]:
        """Adds documents, replacing those with the same ids.

        Args:
            documents: The documents.
            ids: Ids in place of the documents' own.

        Returns:
            The ids, in order.

        Raises:
            InvalidTextError: If something is not a `Document`.
        """
        return add_documents(self.collection, documents, ids)

    def delete(self, ids: Sequence[str] | None = None, *, filter: dict[str, Any] | None = None) -> int:
        """Removes documents by id, by filter, or those among `ids` that the filter matches.

        Args:
            ids: Ids; those that do not exist are passed over.
            filter: Metadata filter; ``{}`` matches everything.

        Returns:
            How many were removed.

        Raises:
            InvalidArgumentError: If neither is given.
        """
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
            self._get_relevant_documents,
            query,
            run_manager=run_manager.get_sync(),
            k=k,
            filter=filter,
        )

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        params = super()._get_ls_params(**kwargs)
        params["ls_vector_store_provider"] = "KoRAG"
        params["ls_embedding_provider"] = "KoRAG"
        params["ls_embedding_model"] = self.collection.encoders["colbert"].model_name
        return params
