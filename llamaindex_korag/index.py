"""An index with ColBERT vectors."""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from llama_index.core.callbacks import CallbackManager
from llama_index.core.data_structs.data_structs import IndexStruct
from llama_index.core.data_structs.struct_type import IndexStructType
from llama_index.core.indices.base import BaseIndex
from llama_index.core.schema import BaseNode, Document, IndexNode, MetadataMode, TransformComponent
from llama_index.core.settings import Settings
from llama_index.core.storage.docstore.types import RefDocInfo
from llama_index.core.storage.storage_context import StorageContext
from llama_index.core.vector_stores import MetadataFilters

from korag.checkpoints.presets import DEFAULT_COLBERT
from korag.checks import reject_unknown
from korag.collection.base import Collection
from korag.collection.local.manifest import EncoderLike
from korag.encoders.load import as_encoders
from korag.errors import InvalidTextError
from korag.legs.windows.settings import WindowSize
from korag.text import to_nfc
from llamaindex_korag.node_methods import replace_documents
from llamaindex_korag.nodes import DOCUMENT_ID, document_hash, source_id, split, to_node
from llamaindex_korag.retrievers import KoColBERTRetriever
from llamaindex_korag.vector_store import KoVectorStore

_TYPE = "KoColBERTIndex is not in a storage context: use index.persist(path), KoColBERTIndex.load_from_disk(path)"
"""Shown in the KeyError of ``load_index_from_storage``; for a known type it would create another kind of index."""


@dataclass
class KoColBERTStruct(IndexStruct):
    """Entry of a `KoColBERTIndex` in a storage context: a note that the index is not stored there."""

    @classmethod
    def get_type(cls) -> IndexStructType:
        """Returns a type that ``load_index_from_storage`` refuses."""
        return cast("IndexStructType", _TYPE)


class KoColBERTIndex(BaseIndex[KoColBERTStruct]):
    """An index with ColBERT vectors: exact MaxSim over every token of every node.

    >>> index = KoColBERTIndex.from_documents(documents, model_name="mini-colbert")
    >>> query_engine = index.as_query_engine(similarity_top_k=4)

    Nodes are stored with their vectors, in one collection that all its retrievers search. The docstore stays empty, as
    with vector stores that store the nodes. Inserting an existing document replaces its nodes.

    With ``path=`` every change is on disk when the call returns; `persist` writes an in-memory index to disk.
    ``load_index_from_storage`` cannot load it and raises an error; use `load_from_disk`.
    """

    index_struct_cls = KoColBERTStruct

    def __init__(
        self,
        nodes: Sequence[BaseNode] | None = None,
        *,
        model_name: EncoderLike = DEFAULT_COLBERT,
        query_length: int | None = None,
        window: WindowSize = "auto",
        stride: int | None = None,
        path: str | os.PathLike[str] | None = None,
        metadata_mode: MetadataMode = MetadataMode.EMBED,
        objects: Sequence[IndexNode] | None = None,
        collection: Collection | None = None,
        load_stored_models: bool = False,
        storage_context: StorageContext | None = None,
        callback_manager: CallbackManager | None = None,
        transformations: list[TransformComponent] | None = None,
        show_progress: bool = False,
        **unknown: Any,
    ) -> None:
        """Indexes nodes.

        Args:
            nodes: The nodes; they keep their ids and are not modified.
            model_name: A name, a path, or a loaded late-interaction encoder.
            query_length: Longest query in tokens; None for the model's own.
            window: Tokens of the windows that long nodes are split into; as for `korag.Collection.open`.
            stride: Tokens from the beginning of a window to that of the next; as there.
            path: Folder of the collection, new or built with the same model; None keeps it in memory.
            metadata_mode: Metadata that is part of the searched text.
            objects: Index nodes that point to retrievers or query engines; indexed like the others.
            collection: An existing collection of any store, in place of `model_name` and `path`.
            load_stored_models: Load other models that an existing folder names from outside it; see
                `korag.Collection.open`.
            storage_context: LlamaIndex's; this index keeps nothing in it.
            callback_manager: LlamaIndex's callbacks.
            transformations: Splitting of documents; None for ``Settings.transformations``.
            show_progress: Show progress bars.
            unknown: Not accepted; any other keyword is an error.

        Raises:
            WrongFamilyError: If the model is not a late-interaction model.
            InvalidArgumentError: If a node has no text, an id occurs twice, or an argument breaks its rule.
            FingerprintError: If the folder was built with another model.
        """
        reject_unknown(self, unknown, [name for name in inspect.signature(type(self)).parameters if name != "unknown"])
        given = [*(nodes or ()), *(objects or ())]
        if collection is None:
            self._retriever = KoColBERTRetriever.from_defaults(
                given,
                model_name=model_name,
                query_length=query_length,
                window=window,
                stride=stride,
                path=path,
                metadata_mode=metadata_mode,
                show_progress=show_progress or None,
                load_stored_models=load_stored_models,
            )
        else:
            given_window = None if window == "auto" else window
            as_encoders(None, query_length=query_length, window=given_window, stride=stride)  # an error if one is given
            self._retriever = KoColBERTRetriever(collection, metadata_mode=metadata_mode)
            self._retriever.add_nodes(given)
        super().__init__(
            index_struct=KoColBERTStruct(),
            storage_context=storage_context,
            callback_manager=callback_manager,
            transformations=transformations,
            show_progress=show_progress,
        )

    @classmethod
    def from_documents(
        cls,
        documents: Sequence[Document],
        storage_context: StorageContext | None = None,
        show_progress: bool = False,  # noqa: FBT001, FBT002 (LlamaIndex's signature)
        callback_manager: CallbackManager | None = None,
        transformations: list[TransformComponent] | None = None,
        **options: Any,
    ) -> Self:
        """Splits documents and indexes their nodes.

        Args:
            documents: The documents. If the folder has nodes of a document with the same id, they are kept if the
                document has not changed, and replaced otherwise.
            storage_context: LlamaIndex's; this index keeps nothing in it.
            show_progress: Show progress bars.
            callback_manager: LlamaIndex's callbacks.
            transformations: Splitting of documents; None for ``Settings.transformations``.
            options: Keywords of the constructor: `model_name`, `query_length`, `window`, `stride`, `path`,
                `metadata_mode`, `collection`, `load_stored_models`.
        """
        index = cls(
            storage_context=storage_context,
            callback_manager=callback_manager,
            transformations=transformations,
            show_progress=show_progress,
            **options,
        )
        index.refresh_ref_docs(documents)
        return index

    @classmethod
    def load_from_disk(
        cls,
        path: str | os.PathLike[str],
        *,
        model_name: EncoderLike | None = None,
        query_length: int | None = None,
        load_stored_models: bool = False,
        **options: Any,
    ) -> Self:
        """Opens the folder that an index was created with or persisted to.

        Args:
            path: The folder.
            model_name: The model it was built with; None loads the one recorded in the folder.
            query_length: Longest query in tokens that `model_name` was loaded with; None for its own.
            load_stored_models: Load models that the folder names from outside it; see `korag.Collection.open`.
            options: Other keywords of the constructor.

        Raises:
            FingerprintError: If it was built with another model.
            IndexStateError: If there is no collection with ColBERT vectors in the folder.
        """
        saved = KoColBERTRetriever.from_persist_dir(
            path, model_name=model_name, query_length=query_length, load_stored_models=load_stored_models
        )
        return cls(collection=saved.collection, **options)

    @classmethod
    def from_persist_dir(
        cls,
        path: str | os.PathLike[str],
        *,
        model_name: EncoderLike | None = None,
        query_length: int | None = None,
        load_stored_models: bool = False,
        **options: Any,
    ) -> Self:
        """`load_from_disk` under the retrievers' name for it."""
        return cls.load_from_disk(
            path,
            model_name=model_name,
            query_length=query_length,
            load_stored_models=load_stored_models,
            **options,
        )

    def persist(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Writes the nodes and their vectors into a folder, for `load_from_disk`; see `KoColBERTRetriever.persist`."""
        return self._retriever.persist(path, overwrite=overwrite)

    # -- searching ----------------------------------------------------------------------------------------

    @property
    def collection(self) -> Collection:
        """The nodes and their vectors."""
        return self._retriever.collection

    @property
    def vector_store(self) -> KoVectorStore:
        """The nodes as a vector store, for an ingestion pipeline that adds to this index."""
        return KoVectorStore(collection=self.collection, metadata_mode=self._retriever.metadata_mode)

    def as_retriever(self, **kwargs: Any) -> KoColBERTRetriever:
        """Creates a retriever.

        Args:
            kwargs: Keywords of `KoColBERTRetriever`. Those of query and chat engines are ignored, because
                LlamaIndex gives an engine's keywords to both.

        Raises:
            InvalidArgumentError: If a keyword is none of these.
        """
        own = KoColBERTRetriever._options
        reject_unknown(KoColBERTRetriever, kwargs, [*own, *(name for name in _engine_keywords() if name not in own)])
        options = {name: value for name, value in kwargs.items() if name in own}
        options.setdefault("callback_manager", self._callback_manager)
        options.setdefault("metadata_mode", self._retriever.metadata_mode)
        retriever = KoColBERTRetriever(self.collection, **options)
        if "object_map" not in options and "objects" not in options:
            retriever.object_map = self._retriever.object_map  # shared, so that it has what is inserted later
        return retriever

    # -- nodes --------------------------------------------------------------------------------------------

    def get_nodes(
        self, node_ids: Sequence[str] | None = None, *, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Returns nodes: by id in the order given, otherwise in insertion order."""
        return self._retriever.get_nodes(node_ids, filters=filters)

    @property
    def ref_doc_info(self) -> dict[str, RefDocInfo]:
        """The source documents, with their nodes' ids and the first node's metadata."""
        infos: dict[str, RefDocInfo] = {}
        for stored in self.collection.get():
            if document := source_id(stored):
                info = infos.setdefault(document, RefDocInfo(metadata=to_node(stored).metadata))
                info.node_ids.append(stored.id)
        return infos

    def insert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        """Adds nodes, replacing those with the same ids; they are not modified."""
        with self._callback_manager.as_trace("insert_nodes"):
            self._insert(nodes, **insert_kwargs)

    async def ainsert_nodes(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        """Async `insert_nodes`, run in a thread."""
        await asyncio.to_thread(self.insert_nodes, nodes, **insert_kwargs)

    def delete_nodes(self, node_ids: list[str], delete_from_docstore: bool = False, **delete_kwargs: Any) -> None:  # noqa: FBT001, FBT002 (LlamaIndex's signature)
        """Removes nodes; unknown ids are ignored."""
        self._retriever.delete_nodes(node_ids)

    async def adelete_nodes(
        self,
        node_ids: list[str],
        delete_from_docstore: bool = False,  # noqa: FBT001, FBT002 (LlamaIndex's signature)
        **delete_kwargs: Any,
    ) -> None:
        """Async `delete_nodes`, run in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, delete_from_docstore, **delete_kwargs)

    def _build_index_from_nodes(self, nodes: Sequence[BaseNode], **build_kwargs: Any) -> KoColBERTStruct:
        self._insert(nodes)
        return KoColBERTStruct()

    def _insert(self, nodes: Sequence[BaseNode], **insert_kwargs: Any) -> None:
        reject_unknown(self, insert_kwargs, ["show_progress"])
        self._retriever.add_nodes(nodes, show_progress=insert_kwargs.get("show_progress", self._show_progress or None))

    def _delete_node(self, node_id: str, **delete_kwargs: Any) -> None:
        self._retriever.delete_nodes([node_id])

    # -- documents ----------------------------------------------------------------------------------------

    def insert(self, document: Document, **insert_kwargs: Any) -> None:
        """Splits a document and adds its nodes, replacing any it already has."""
        reject_unknown(self, insert_kwargs, ["show_progress"])
        with self._callback_manager.as_trace("insert"):
            self._replace([document])

    async def ainsert(self, document: Document, **insert_kwargs: Any) -> None:
        """Async `insert`, run in a thread."""
        await asyncio.to_thread(self.insert, document, **insert_kwargs)

    def update_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        """Replaces the nodes of a document by those of its new version.

        The new ones are added before the old ones are removed, so that a search always finds the document.
        """
        reject_unknown(self, update_kwargs, ["insert_kwargs", "delete_kwargs"])
        with self._callback_manager.as_trace("update_ref_doc"):
            self._replace([document])

    async def aupdate_ref_doc(self, document: Document, **update_kwargs: Any) -> None:
        """Async `update_ref_doc`, run in a thread."""
        await asyncio.to_thread(self.update_ref_doc, document, **update_kwargs)

    def delete_ref_doc(
        self,
        ref_doc_id: str,
        delete_from_docstore: bool = False,  # noqa: FBT001, FBT002 (LlamaIndex's signature)
        **delete_kwargs: Any,
    ) -> None:
        """Removes all nodes of a document, if there are any."""
        self._retriever.delete_ref_doc(ref_doc_id)

    async def adelete_ref_doc(
        self,
        ref_doc_id: str,
        delete_from_docstore: bool = False,  # noqa: FBT001, FBT002 (LlamaIndex's signature)
        **delete_kwargs: Any,
    ) -> None:
        """Async `delete_ref_doc`, run in a thread."""
        await asyncio.to_thread(self.delete_ref_doc, ref_doc_id, delete_from_docstore, **delete_kwargs)

    def refresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Indexes documents that are new or have changed.

        Args:
            documents: The current documents; all others are kept.
            update_kwargs: LlamaIndex's `insert_kwargs` and `update_kwargs`; not used.

        Returns:
            For each document, whether it was indexed.
        """
        reject_unknown(self, update_kwargs, ["insert_kwargs", "update_kwargs"])
        with self._callback_manager.as_trace("refresh_ref_docs"):
            documents = _check(documents)
            where = {DOCUMENT_ID: {"$in": [document.id_ for document in documents]}}
            found = self.collection.get(where=where)
            known = {to_nfc(source_id(stored) or ""): document_hash(stored) for stored in found}
            changed = [known.get(to_nfc(document.id_)) != document.hash for document in documents]
            self._replace([document for document, new in zip(documents, changed, strict=True) if new])
            return changed

    async def arefresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Async `refresh_ref_docs`, run in a thread."""
        return await asyncio.to_thread(self.refresh_ref_docs, documents, **update_kwargs)

    def _replace(self, documents: Iterable[Document]) -> None:
        """Adds the nodes of all documents together, then removes those of their previous versions."""
        documents = _check(documents)
        nodes = split(documents, self._transformations or Settings.transformations, show_progress=self._show_progress)
        replace_documents(
            self._retriever, [document.id_ for document in documents], nodes, show_progress=self._show_progress or None
        )


def _check(documents: Iterable[Document]) -> list[Document]:
    if isinstance(documents, BaseNode | str) or not isinstance(documents, Iterable):
        raise InvalidTextError(
            f"documents의 값은 {type(documents).__name__} 하나입니다. Document의 리스트여야 합니다: [문서].",
            f"documents is a single {type(documents).__name__}; it must be a list of Documents: [document].",
        )
    checked = list(documents)
    for index, document in enumerate(checked):
        if not isinstance(document, Document):
            raise InvalidTextError(
                f"documents[{index}]은(는) {type(document).__name__}입니다. LlamaIndex의 Document여야 합니다. "
                "나눈 노드는 KoColBERTIndex(nodes=[...])나 insert_nodes로 넣으세요.",
                f"documents[{index}] is a {type(document).__name__}; it must be a LlamaIndex Document. Nodes go into "
                "KoColBERTIndex(nodes=[...]) or insert_nodes.",
            )
    return checked


@functools.cache
def _engine_keywords() -> tuple[str, ...]:
    """Returns the keywords of the engines that can be created from an index."""
    from llama_index.core.chat_engine import (
        CondensePlusContextChatEngine,
        CondenseQuestionChatEngine,
        ContextChatEngine,
        SimpleChatEngine,
    )
    from llama_index.core.query_engine import RetrieverQueryEngine

    engines = (CondensePlusContextChatEngine, CondenseQuestionChatEngine, ContextChatEngine, SimpleChatEngine)
    makers = [RetrieverQueryEngine.from_args, *(engine.from_defaults for engine in engines)]
    names = [name for make in makers for name in inspect.signature(make).parameters]
    return tuple(name for name in dict.fromkeys(names) if name not in ("retriever", "kwargs"))
