"""A vector store over a KoRAG collection."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from llama_index.core.bridge.pydantic import Field
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore
from llama_index.core.vector_stores import VectorStoreQuery, VectorStoreQueryResult
from llama_index.core.vector_stores.simple import DEFAULT_VECTOR_STORE, NAMESPACE_SEP
from llama_index.core.vector_stores.types import DEFAULT_PERSIST_DIR, DEFAULT_PERSIST_FNAME

from korag.analysis.tokenizers import TokenizerLike
from korag.checks import reject_unknown
from korag.collection.base import Collection
from korag.collection.explanation import Explanation
from korag.collection.local.arguments import EncoderLike
from korag.collection.local.opening import check_server, open_or_make, open_saved
from korag.empty_query import reject_empty_query
from korag.errors import InvalidArgumentError
from korag.legs.lexical import BM25Like
from korag.legs.windows.settings import WindowSize
from korag.paths import check_path
from korag.text import check_text
from llamaindex_korag.encoder_fields import EncoderFields, encoders_of
from llamaindex_korag.given import check_mode
from llamaindex_korag.nodes import is_pointer, to_node
from llamaindex_korag.store_embedding import KoStoreEmbedding
from llamaindex_korag.store_nodes import StoreNodes
from llamaindex_korag.store_query import plan_search

_POINTERS = (
    "node_ids에 IndexNode와 ImageNode만 있어 다른 노드는 찾지 않습니다. 그런 노드가 있으면 "
    "VectorStoreIndex.as_retriever()가 스스로 이렇게 합니다. 모두 찾으려면 VectorIndexRetriever(index, "
    "object_map=...)를 쓰세요. / "
    "node_ids has index and image nodes only, so no other node is found. VectorStoreIndex.as_retriever() "
    "passes these by itself if there are any; to search all nodes, use VectorIndexRetriever(index, "
    "object_map=...)."
)
"""A warning."""


class KoVectorStore(StoreNodes):
    """Nodes with dense, sparse, ColBERT and BM25 legs, as a LlamaIndex vector store.

    >>> store = KoVectorStore(["mini-colbert"], bm25=True, path="index")
    >>> pipeline = IngestionPipeline(
    ...     transformations=[SentenceSplitter(), store.embed_model], vector_store=store, docstore=SimpleDocumentStore()
    ... )
    >>> pipeline.run(documents=documents)
    >>> index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
    >>> retriever = index.as_retriever(similarity_top_k=4)

    The collection encodes texts and queries with its own models. **Embeddings of nodes are therefore neither stored nor
    searched**, and a model in `Settings.embed_model` would only cost time and money: give `embed_model` to the
    pipeline and the index. A pipeline without an embedding model adds nothing to any store.

    `llamaindex_korag.store_query` says what each ``vector_store_query_mode`` searches; a query without one searches the
    only leg, or all of them fused. In ``hybrid``, `alpha` goes from 0 (words only: SPLADE, BM25) to 1 (vectors only:
    dense, ColBERT), 0.5 being the usual weights; `hybrid_top_k` nodes are returned (`similarity_top_k` if not given) of
    `sparse_top_k` candidates of each leg (100). ``vector_store_kwargs`` of a retriever may have `using`, `fusion`,
    `weights`, `fetch_k`, `min_relevance`, `exact` and `repair_query` (see `korag.SearchOptions`), and in ``mmr``
    `mmr_threshold` and `mmr_prefetch_factor` or `mmr_prefetch_k`. Filters apply before the best nodes are taken (see
    `llamaindex_korag.filters`). A query is searched by its text; one that has an embedding only, by that with the dense
    leg. An empty one with filters returns what matches them, without scores.

    Nodes come back as they were added, but without embeddings, best first in every mode but ``mmr``; similarities are
    scores of each leg's own kind, higher is better. The retrievers of this package find the same nodes in
    `collection`, with relevance and repaired query: ``KoHybridRetriever(store.collection)``. Use them for query
    transformations like HyDE too, which LlamaIndex hands to a vector store only as an embedding.

    Attributes:
        path: The collection's folder; None in memory, or on a server.
        url: The server's address; None in a folder or memory.
        collection_name: The collection's name there.
        metadata_mode: Metadata that is part of the searched text, for nodes added from now on.
    """

    path: str | None = Field(default=None, frozen=True, description="The collection's folder; None in memory.")
    url: str | None = Field(default=None, frozen=True, description="Address of the collection's server.")
    collection_name: str | None = Field(default=None, frozen=True, description="The collection's name there.")

    def __init__(
        self,
        encoders: Sequence[EncoderLike | EncoderFields] | None = None,
        *,
        path: str | os.PathLike[str] | None = None,
        url: str | None = None,
        collection_name: str | None = None,
        api_key: str | None = None,
        bm25: BM25Like = False,
        tokenizer: TokenizerLike = None,
        window: WindowSize = "auto",
        stride: int | None = None,
        codec: str | None = None,
        keep_vectors: bool | None = None,
        pool_factor: int | None = None,
        metadata_mode: MetadataMode | str = MetadataMode.EMBED,
        collection: Collection | None = None,
        load_stored_models: bool = False,
        **unknown: Any,
    ) -> None:
        """Opens or makes the collection.

        Args:
            encoders: Names, paths, loaded encoders, or `KoEmbedding` and `KoSparseEmbedding` objects, whose settings
                hold; at most one per family.
            path: Folder of the collection, new or existing; None keeps it in memory.
            url: Address of a Qdrant server, in place of `path`; see `korag.QdrantCollection.open`.
            collection_name: Name of the collection there, new or existing.
            api_key: The server's key. Never shown or stored.
            bm25: Search with BM25 too: as for `korag.Collection.open`; an existing folder keeps its legs.
            tokenizer: Short for a tokenizer as `bm25`.
            window: Tokens of the windows that long nodes are split into; as for `korag.Collection.open`.
            stride: Tokens from the beginning of a window to that of the next; as there.
            codec: How the token vectors of a ColBERT model are stored; as there.
            keep_vectors: Store the float16 vectors too, where `codec` does not; as there.
            pool_factor: Merge similar token vectors of each node, so that one is left for so many; as there.
            metadata_mode: Metadata that is part of the searched text.
            collection: An open collection, of any store, in place of the models, BM25 and the folder.
            load_stored_models: Load models that an existing folder names from outside it; see `korag.Collection.open`.
            unknown: Not accepted; any other keyword is an error.

        Raises:
            InvalidArgumentError: If there is nothing to search by, two models are of the same family, or an argument
                breaks its rule.
            FingerprintError: If the folder was built with other models.
        """
        # pydantic adds its fields to the signature of the class
        own = [name for name in inspect.signature(type(self).__init__).parameters if name not in ("self", "unknown")]
        reject_unknown(self, unknown, own)
        mode = check_mode(metadata_mode)
        opened = open_or_make(
            encoders_of(encoders),
            path=path,
            server=check_server(url, collection_name, api_key, path=path),
            bm25=bm25,
            tokenizer=tokenizer,
            window=window,
            stride=stride,
            codec=codec,
            keep_vectors=keep_vectors,
            pool_factor=pool_factor,
            collection=collection,
            load_stored_models=load_stored_models,
        )
        folder = getattr(opened, "path", None)  # other stores may have none
        place = None if folder is None else str(folder)
        fields: dict[str, Any] = {"path": place, "url": url, "collection_name": collection_name, "metadata_mode": mode}
        super().__init__(**fields)
        self._collection = opened

    @classmethod
    def class_name(cls) -> str:
        """Name in serialised form."""
        return "KoVectorStore"

    @property
    def embed_model(self) -> KoStoreEmbedding:
        """The embedding model to give to a pipeline or an index with this store: it makes no vectors of its own."""
        return KoStoreEmbedding()

    # -- searching ----------------------------------------------------------------------------------------

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Finds nodes; the class says what a query may have.

        Raises:
            InvalidArgumentError: If the mode does not exist here or lacks its leg, or a setting breaks its rule or
                would have no effect.
            FilterError: If a filter's value does not fit its operator.
        """
        planned = plan_search(query, kwargs, self.collection.legs, owner=self)
        if query.node_ids and _POINTERS not in self._warned and self._are_pointers(query.node_ids):
            self._warn_once(_POINTERS)
        if planned.lists_all:
            stored = self.collection.get(where=planned.options.where)[: planned.options.k]
            return VectorStoreQueryResult(nodes=[to_node(one) for one in stored], ids=[one.id for one in stored])
        hits = planned.run(self.collection)
        return VectorStoreQueryResult(
            nodes=[to_node(hit) for hit in hits],
            similarities=[hit.score for hit in hits],
            ids=[hit.id for hit in hits],
        )

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Async `query`, run in a thread."""
        return await asyncio.to_thread(self.query, query, **kwargs)

    def explain(
        self, query: VectorStoreQuery | str, node: NodeWithScore | BaseNode | str, **kwargs: Any
    ) -> Explanation:
        """Explains a node's score for a query: by token, term and leg, with places in the searched text.

        That text begins with the metadata that are searched, too (`metadata_mode`).

        >>> why = store.explain("보증금은 언제 돌려받나요?", nodes[0])
        >>> print(why)  # a notebook shows it as a picture

        Args:
            query: The query, as `query` takes it, or its text alone.
            node: A node found in this store, also reranked, or its id.
            kwargs: As for `query`; the same as for the search that is to be explained.

        Raises:
            InvalidArgumentError: If the node is not in the store, the query is empty or has an embedding alone, or a
                setting breaks its rule.
            FilterError: If a filter's value does not fit its operator.
        """
        asked = (
            VectorStoreQuery(query_str=check_text(query, "query")) if not isinstance(query, VectorStoreQuery) else query
        )
        planned = plan_search(asked, kwargs, self.collection.legs, owner=self)
        reject_empty_query(planned.text or "", "query_str")
        found: Any = node.node if isinstance(node, NodeWithScore) else node
        id_: Any = found.node_id if isinstance(found, BaseNode) else found
        return self.collection.explain(planned.text or "", id_, options=planned.options)

    def _are_pointers(self, node_ids: Sequence[str]) -> bool:
        found = self.collection.get(node_ids)
        return len(found) < len(self.collection) and all(is_pointer(one) for one in found)

    # -- folders ------------------------------------------------------------------------------------------

    def persist(
        self,
        persist_path: str | os.PathLike[str] = str(Path(DEFAULT_PERSIST_DIR) / DEFAULT_PERSIST_FNAME),
        fs: AbstractFileSystem | None = None,
    ) -> None:
        """Writes the collection to a folder, replacing one that is there.

        A store with a `path` saves every change itself. ``StorageContext.persist(persist_dir)`` makes a copy in
        ``persist_dir``, which `from_persist_dir` opens.

        Args:
            persist_path: The folder.
            fs: LlamaIndex's file system; only the local one.

        Raises:
            ForeignFolderError: If the folder contains something else.
            ReadOnlyError: If it cannot be written.
        """
        _check_local(fs)
        self.collection.save(persist_path, overwrite=True)

    @classmethod
    def from_persist_dir(
        cls,
        persist_dir: str | os.PathLike[str] = DEFAULT_PERSIST_DIR,
        namespace: str = DEFAULT_VECTOR_STORE,
        fs: AbstractFileSystem | None = None,
        **options: Any,
    ) -> Self:
        """Opens what ``StorageContext.persist(persist_dir)`` wrote, or a store's own folder.

        Args:
            persist_dir: Either folder.
            namespace: The store's name in the storage context.
            fs: LlamaIndex's file system; only the local one.
            options: As for `from_persist_path`.
        """
        folder = check_path("persist_dir", persist_dir)
        inside = folder / f"{namespace}{NAMESPACE_SEP}{DEFAULT_PERSIST_FNAME}"
        return cls.from_persist_path(inside if inside.is_dir() else folder, fs=fs, **options)

    @classmethod
    def from_persist_path(
        cls,
        persist_path: str | os.PathLike[str],
        fs: AbstractFileSystem | None = None,
        *,
        encoders: Sequence[EncoderLike | EncoderFields] | None = None,
        bm25: BM25Like = None,
        tokenizer: TokenizerLike = None,
        metadata_mode: MetadataMode | str = MetadataMode.EMBED,
        load_stored_models: bool = False,
        **unknown: Any,
    ) -> Self:
        """Opens the folder of a store.

        Args:
            persist_path: The folder.
            fs: LlamaIndex's file system; only the local one.
            encoders: The models it was built with; None loads those recorded in the folder.
            bm25: The lexical legs it was built with; None takes those recorded in the folder.
            tokenizer: The tokenizer it was built with; needed only if it is your own function.
            metadata_mode: Metadata that is part of the searched text, for nodes added from now on.
            load_stored_models: Load models that the folder names from outside it; see `korag.Collection.open`.
            unknown: Not accepted; any other keyword is an error.

        Raises:
            IndexStateError: If there is nothing in the folder, or a model must be named.
            FingerprintError: If it was built with other models.
        """
        known = ("encoders", "bm25", "tokenizer", "metadata_mode", "load_stored_models")
        reject_unknown(cls, unknown, known)
        _check_local(fs)
        collection = open_saved(
            persist_path,
            encoders=encoders_of(encoders),
            bm25=bm25,
            tokenizer=tokenizer,
            load_stored_models=load_stored_models,
            made_by=f"KoVectorStore(encoders=[...], path='{persist_path}')",
        )
        return cls(collection=collection, metadata_mode=metadata_mode)

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """Opens the folder of a store that `to_dict` described; `kwargs` as for the constructor.

        Raises:
            InvalidArgumentError: If it was in memory.
        """
        given = {**data, **kwargs}
        if all(given.get(name) is None for name in ("path", "url", "collection")):
            raise InvalidArgumentError(
                "메모리에 있던 KoVectorStore라 dict에서 다시 만들 수 없습니다. KoVectorStore(path=...)로 만들거나 "
                "persist(...)한 뒤 from_persist_dir로 여세요.",
                "This KoVectorStore was in memory and cannot be made again from a dict: make it with "
                "KoVectorStore(path=...), or persist it and use from_persist_dir.",
            )
        return super().from_dict(data, **kwargs)

    def __repr__(self) -> str:
        return f"KoVectorStore({self.collection!r})"

    __str__ = __repr__  # pydantic has one of its own

    def __getstate__(self) -> dict[str, Any]:
        return {"collection": self.collection, "metadata_mode": self.metadata_mode}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _check_local(fs: AbstractFileSystem | None) -> None:
    if fs is not None and not isinstance(fs, LocalFileSystem):
        raise InvalidArgumentError(
            f"fs={type(fs).__name__}: KoVectorStore는 이 컴퓨터의 폴더에만 저장합니다. fs 없이 저장한 폴더를 옮기세요.",
            f"fs={type(fs).__name__}: a KoVectorStore is saved to folders of this machine only; save it without fs and "
            "move the folder.",
        )
