"""An index with ColBERT vectors."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
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
from korag.collection.local.arguments import EncoderLike
from korag.encoders.load import as_encoders
from korag.keywords import checks_keywords
from korag.legs.windows.settings import WindowSize
from korag.text import to_nfc
from llamaindex_korag.given import check_documents, check_sync, engine_keywords
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

    @checks_keywords
    def __init__(
        self,
        nodes: Sequence[BaseNode] | None = None,
        *,
        model_name: EncoderLike = DEFAULT_COLBERT,
        query_length: int | None = None,
        window: WindowSize = "auto",
        stride: int | None = None,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        pool_factor: int | None = None,
        path: str | os.PathLike[str] | None = None,
        url: str | None = None,
        collection_name: str | None = None,
        api_key: str | None = None,
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
            model_name: A name, a path, or a loaded late-interaction encoder. ``model=`` is taken too.
            query_length: Longest query in tokens; None for the model's own.
            window: Tokens of the windows that long nodes are split into; as for `korag.Collection.open`.
            stride: Tokens from the beginning of a window to that of the next; as there.
            codec: How the token vectors of a ColBERT model are stored; as there.
            keep_vectors: Store the float16 vectors too, where `codec` does not; as there.
            pool_factor: Merge similar token vectors of each node, so that one is left for so many; as there.
            path: Folder of the collection, new or built with the same model; None keeps it in memory.
            url: Address of a Qdrant server, in place of `path`; see `korag.QdrantCollection.open`.
            collection_name: Name of the collection there, new or existing.
            api_key: The server's key. Never shown or stored.
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
        known = [name for name in inspect.signature(type(self)).parameters if name != "unknown"]
        reject_unknown(self, unknown, known)
        given = [*(nodes or ()), *(objects or ())]
        if collection is None:
            self._retriever = KoColBERTRetriever.from_defaults(
                given,
                model_name=model_name,
                query_length=query_length,
                window=window,
                stride=stride,
                codec=codec,
                keep_vectors=keep_vectors,
                pool_factor=pool_factor,
                path=path,
                url=url,
                collection_name=collection_name,
                api_key=api_key,
                metadata_mode=metadata_mode,
                show_progress=show_progress or None,
                load_stored_models=load_stored_models,
            )
        else:
            given_window = None if window == "auto" else window
            as_encoders(  # an error if one is given
                None,
                query_length=query_length,
                window=given_window,
                stride=stride,
                codec=codec,
                keep_vectors=keep_vectors,
                pool_factor=pool_factor,
            )
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
    @checks_keywords
    def from_documents(
        cls,
        documents: Sequence[Document],
        storage_context: StorageContext | None = None,
        show_progress: bool = False,  # noqa: FBT001, FBT002 (LlamaIndex's signature)
        callback_manager: CallbackManager | None = None,
        transformations: list[TransformComponent] | None = None,
        *,
        sync: bool = False,
        **options: Any,
    ) -> Self:
        """Splits documents and indexes their nodes.

        Args:
            documents: The documents. If the folder has nodes of a document with the same id, they are kept if the
                document has not changed, and replaced otherwise. Nodes of documents with random ids, which are others
                in every run, are recognised by their content (see `llamaindex_korag.recognition`).
            storage_context: LlamaIndex's; this index keeps nothing in it.
            show_progress: Show progress bars.
            callback_manager: LlamaIndex's callbacks.
            transformations: Splitting of documents; None for ``Settings.transformations``.
            sync: Remove from the folder, or the collection given, all nodes that do not belong to the documents given,
                after adding; what is unchanged is not encoded.
            options: Keywords of the constructor: `model_name`, `query_length`, `window`, `stride`, `codec`,
                `keep_vectors`, `pool_factor`, `path`, `url`, `collection_name`, `api_key`, `metadata_mode`,
                `collection`, `load_stored_models`.
        """
        documents = check_documents(documents)
        existing = any(options.get(name) is not None for name in ("path", "url", "collection"))
        check_sync(sync, existing=existing, given=len(documents))
        index = cls(
            storage_context=storage_context,
            callback_manager=callback_manager,
            transformations=transformations,
            show_progress=show_progress,
            **options,
        )
        with index._callback_manager.as_trace("refresh_ref_docs"):
            _, ids = index._refresh(documents)
        if check_sync(sync, existing=existing, given=len(ids)):
            index.collection.keep_only(ids)
        return index

    @classmethod
    @checks_keywords
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
    @checks_keywords
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

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.collection!r})"

    def _repr_html_(self) -> str:
        return self.collection._repr_html_()

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
        reject_unknown(KoColBERTRetriever, kwargs, [*own, *(name for name in engine_keywords() if name not in own)])
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

    def ids(self, *, filters: MetadataFilters | None = None) -> list[str]:
        """Returns the ids of the nodes that match filters, or of all, in insertion order."""
        return self._retriever.ids(filters=filters)

    def count(self, filters: MetadataFilters | None = None) -> int:
        """Number of nodes that match filters; of all nodes without them."""
        return self._retriever.count(filters)

    def update_metadata(
        self,
        node_ids: Sequence[str],
        metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        replace: bool = False,
    ) -> list[str]:
        """Changes the metadata of nodes, all of them or none; see `KoColBERTRetriever.update_metadata`."""
        return self._retriever.update_metadata(node_ids, metadata, replace=replace)

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
            changed, _ = self._refresh(check_documents(documents))
            return changed

    async def arefresh_ref_docs(self, documents: Sequence[Document], **update_kwargs: Any) -> list[bool]:
        """Async `refresh_ref_docs`, run in a thread."""
        return await asyncio.to_thread(self.refresh_ref_docs, documents, **update_kwargs)

    def _refresh(self, documents: Sequence[Document]) -> tuple[list[bool], list[str]]:
        """Indexes documents that are new or have changed; returns which, and the ids of the nodes of all."""
        stored = self.collection.get(where={DOCUMENT_ID: {"$in": [document.id_ for document in documents]}})
        known = {to_nfc(source_id(one) or ""): document_hash(one) for one in stored}
        changed = [known.get(to_nfc(document.id_)) != document.hash for document in documents]
        old = {to_nfc(document.id_) for document, new in zip(documents, changed, strict=True) if not new}
        kept = [one.id for one in stored if to_nfc(source_id(one) or "") in old]
        added = self._replace([document for document, new in zip(documents, changed, strict=True) if new])
        return changed, [*kept, *added]

    def _replace(self, documents: Iterable[Document]) -> list[str]:
        """Adds the nodes of all documents together, then removes those of their previous versions."""
        documents = check_documents(documents)
        nodes = split(documents, self._transformations or Settings.transformations, show_progress=self._show_progress)
        return replace_documents(self._retriever, documents, nodes, show_progress=self._show_progress or None)
