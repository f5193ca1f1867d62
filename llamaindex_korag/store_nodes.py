"""Nodes of a vector store: added, changed, removed and read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.vector_stores import MetadataFilters
from llama_index.core.vector_stores.types import BasePydanticVectorStore

from korag.checks import check_deletion, reject_unknown
from korag.collection.base import Collection
from korag.errors import InvalidArgumentError
from korag.logs import logger
from korag.text import check_text
from llamaindex_korag.checked_fields import korag_errors
from llamaindex_korag.filters import to_where
from llamaindex_korag.node_metadata import update_metadata
from llamaindex_korag.nodes import DOCUMENT_ID, check_nodes, is_blank, to_node, to_records

_EMBEDDINGS = (
    "노드에 다른 모델의 임베딩이 있지만 KoVectorStore는 저장하지 않습니다. 텍스트를 자기 모델로 인코딩하니 "
    "IngestionPipeline과 VectorStoreIndex에 store.embed_model을 넣어 비용을 아끼세요. / The nodes have "
    "embeddings of another model, which a KoVectorStore does not store: it encodes the texts with its own "
    "models. Give store.embed_model to IngestionPipeline and VectorStoreIndex to save their cost."
)
"""A warning."""


class StoreNodes(BasePydanticVectorStore):
    """The half of `llamaindex_korag.vector_store.KoVectorStore` that is about nodes."""

    stores_text: bool = Field(default=True, frozen=True, exclude=True)
    is_embedding_query: bool = Field(default=False, frozen=True, exclude=True)
    metadata_mode: MetadataMode = Field(
        default=MetadataMode.EMBED, frozen=True, description="Metadata in the searched text."
    )
    _collection: Collection = PrivateAttr()
    _warned: set[str] = PrivateAttr(default_factory=set)

    def __setattr__(self, name: str, value: Any) -> None:
        with korag_errors(type(self)):
            super().__setattr__(name, value)

    @property
    def collection(self) -> Collection:
        """The nodes and their vectors."""
        return self._collection

    @property
    def client(self) -> Collection:
        """`collection` under LlamaIndex's name."""
        return self._collection

    def add(self, nodes: Sequence[BaseNode], **add_kwargs: Any) -> list[str]:
        """Adds nodes, replacing those with the same ids.

        Args:
            nodes: The nodes; not modified. Blank ones are left out.
            add_kwargs: `show_progress`; any other keyword is an error.

        Returns:
            The ids of all nodes, in order.

        Raises:
            InvalidTextError: If something is not a node.
            InvalidArgumentError: If a node has only media, an id occurs twice, metadata is not JSON, or an index node
                points to something that cannot be stored.
        """
        reject_unknown(self, add_kwargs, ("show_progress",))
        given = check_nodes(nodes)
        filled = [node for node in given if not is_blank(node)]
        records = to_records(filled, self.metadata_mode)
        if records.objects:
            name = next(iter(records.objects))
            raise InvalidArgumentError(
                f"index_id가 {name!r}인 IndexNode의 obj({type(records.objects[name]).__name__})는 저장할 수 없습니다. "
                "obj=None으로 두고 검색기의 object_map이나 VectorStoreIndex의 objects에 넣으세요.",
                f"The obj of the IndexNode with index_id {name!r}, a {type(records.objects[name]).__name__}, cannot be "
                "stored; set it to None and pass it in a retriever's object_map or in VectorStoreIndex(objects=...).",
            )
        if any(node.embedding for node in filled):
            self._warn_once(_EMBEDDINGS)
        if len(filled) < len(given):
            logger.warning(
                "노드 %d개 가운데 %d개는 텍스트가 없어 뺐습니다. / %d of %d nodes have no text and were left out.",
                len(given), len(given) - len(filled), len(given) - len(filled), len(given),
            )  # fmt: skip
        records.add_to(self.collection, show_progress=add_kwargs.get("show_progress"))
        return [node.node_id for node in given]

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Returns nodes: by id in the order given, otherwise in insertion order.

        Args:
            node_ids: Their ids; unknown ones are ignored.
            filters: Conditions on metadata.
        """
        return [to_node(stored) for stored in self.collection.get(node_ids, where=to_where(filters))]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Removes all nodes of a document, and the document itself if it was indexed without splitting."""
        reject_unknown(self, delete_kwargs, ())
        self.collection.delete(where={DOCUMENT_ID: check_text(ref_doc_id, "ref_doc_id")})

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Removes nodes by id, by filters, or those among `node_ids` that match the filters.

        Args:
            node_ids: Their ids; unknown ones are ignored.
            filters: Conditions on metadata.
            delete_kwargs: Not accepted.

        Raises:
            InvalidArgumentError: If neither is given; `clear` removes everything.
        """
        reject_unknown(self, delete_kwargs, ("node_ids", "filters"))
        check_deletion("clear()", node_ids=node_ids, filters=filters)
        self.collection.delete(node_ids, where=to_where(filters) or {})

    def update_metadata(
        self,
        node_ids: Sequence[str],
        metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        replace: bool = False,
    ) -> list[str]:
        """Changes the metadata of nodes, all of them or none; see `llamaindex_korag.node_metadata.update_metadata`."""
        return update_metadata(self.collection, node_ids, metadata, metadata_mode=self.metadata_mode, replace=replace)

    def count(self, filters: MetadataFilters | None = None) -> int:
        """Number of nodes that match filters; of all nodes without them."""
        return self.collection.count(to_where(filters))

    def clear(self) -> None:
        """Removes all nodes; the collection keeps its legs."""
        self.collection.delete(where={})

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Async `add`, run in a thread."""
        return await asyncio.to_thread(self.add, nodes, **kwargs)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Async `get_nodes`, run in a thread."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Async `delete`, run in a thread."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Async `delete_nodes`, run in a thread."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    async def aupdate_metadata(
        self,
        node_ids: Sequence[str],
        metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        replace: bool = False,
    ) -> list[str]:
        """Async `update_metadata`, run in a thread."""
        return await asyncio.to_thread(self.update_metadata, node_ids, metadata, replace=replace)

    async def acount(self, filters: MetadataFilters | None = None) -> int:
        """Async `count`, run in a thread."""
        return await asyncio.to_thread(self.count, filters)

    async def aclear(self) -> None:
        """Async `clear`, run in a thread."""
        await asyncio.to_thread(self.clear)

    def _warn_once(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            logger.warning(message)
