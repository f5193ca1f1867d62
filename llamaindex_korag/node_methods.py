"""Nodes of a retriever's collection: added, changed, removed and read."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.schema import BaseNode, Document, MetadataMode
from llama_index.core.settings import Settings
from llama_index.core.vector_stores import MetadataFilters

from korag.checks import check_deletion
from korag.collection.base import Collection
from korag.keywords import checks_keywords
from korag.text import check_text
from llamaindex_korag.filters import to_where
from llamaindex_korag.given import check_document, nodes_of
from llamaindex_korag.node_metadata import update_metadata
from llamaindex_korag.nodes import DOCUMENT_ID, Records, split, to_node, to_records
from llamaindex_korag.recognition import has_made_up_id


class NodeMethods:
    """The half of `llamaindex_korag.collection_retriever.CollectionRetriever` that is about nodes."""

    collection: Collection
    metadata_mode: MetadataMode
    object_map: dict[str, Any]

    @checks_keywords
    def add_nodes(self, nodes: Iterable[BaseNode], *, show_progress: bool | None = None) -> list[str]:
        """Adds nodes, replacing those with the same ids.

        A node whose id LlamaIndex made up, in this run of a script, takes the id under which the same content is stored
        already, and links to it follow, so that nothing is doubled (see `llamaindex_korag.recognition`). A docstore
        beside the collection needs ids of your own: ``doc_id``, ``filename_as_id=True``, a splitter's ``id_func``.

        Args:
            nodes: The nodes; not modified. Their embeddings are not used.
            show_progress: Show a progress bar; None shows one for more than 1,000 nodes in a terminal.

        Returns:
            Their ids, in order.

        Raises:
            InvalidTextError: If something is not a node.
            InvalidArgumentError: If a node has no text, an id occurs twice, or metadata is not JSON.
        """
        return self._add(to_records(nodes, self.metadata_mode), show_progress=show_progress)

    @checks_keywords
    def get_nodes(
        self, node_ids: Sequence[str] | None = None, *, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """Returns nodes: by id in the order given, otherwise in insertion order.

        Args:
            node_ids: Their ids; unknown ones are ignored.
            filters: Conditions on metadata.
        """
        return [to_node(stored) for stored in self.collection.get(node_ids, where=to_where(filters))]

    @checks_keywords
    def ids(self, *, filters: MetadataFilters | None = None) -> list[str]:
        """Returns the ids of the nodes that match filters, or of all, in insertion order."""
        return self.collection.ids(to_where(filters))

    @checks_keywords
    def count(self, filters: MetadataFilters | None = None) -> int:
        """Number of nodes that match filters; of all nodes without them."""
        return self.collection.count(to_where(filters))

    @checks_keywords
    def update_metadata(
        self,
        node_ids: Sequence[str],
        metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        replace: bool = False,
    ) -> list[str]:
        """Changes the metadata of nodes, all of them or none.

        Only nodes whose searched text changes are encoded again: those with a changed key that is part of it (see
        `metadata_mode` and a node's ``excluded_embed_metadata_keys``). Adding a node again brings its own metadata.

        Args:
            node_ids: The nodes, all different.
            metadata: A dict of JSON values for all of them, or a list with one for each; copied. Its keys are set, the
                node's others stay; a value that is a dict replaces the old one as a whole.
            replace: The node has these keys only.

        Returns:
            The ids, in order.

        Raises:
            InvalidArgumentError: If a node does not exist, an id occurs twice, the numbers differ, or metadata is not
                JSON.
        """
        return update_metadata(self.collection, node_ids, metadata, replace=replace, metadata_mode=self.metadata_mode)

    @checks_keywords
    def delete_nodes(self, node_ids: Sequence[str] | None = None, *, filters: MetadataFilters | None = None) -> int:
        """Removes nodes by id, by filters, or those among `node_ids` that match the filters.

        Args:
            node_ids: Their ids; unknown ones are ignored.
            filters: Conditions on metadata; ``MetadataFilters(filters=[])`` matches everything.

        Returns:
            How many were removed.

        Raises:
            InvalidArgumentError: If neither is given.
        """
        check_deletion("filters=MetadataFilters(filters=[])", node_ids=node_ids, filters=filters)
        return self.collection.delete(node_ids, where=to_where(filters) or {})

    @checks_keywords
    def delete_ref_doc(self, ref_doc_id: str) -> int:
        """Removes all nodes of a document, and the document itself if it was indexed without splitting.

        Args:
            ref_doc_id: The document's id.

        Returns:
            How many nodes were removed.
        """
        return self.collection.delete(where={DOCUMENT_ID: check_text(ref_doc_id, "ref_doc_id")})

    @checks_keywords
    def update_ref_doc(self, document: Document, *, nodes: Iterable[BaseNode] | None = None) -> list[str]:
        """Replaces the nodes of a document by those of its new version.

        The new ones are added before the old ones are removed, so that a search always finds the document.

        Args:
            document: The new version, with the id of the old one.
            nodes: Its nodes; None splits it by ``Settings.transformations``, unless it was indexed without splitting.

        Returns:
            The ids of its nodes.

        Raises:
            InvalidTextError: If it is not a `Document`.
            InvalidArgumentError: If one of `nodes` comes from another document.
        """
        check_document(document)
        if nodes is None:
            whole = bool(self.collection.get([document.id_]))
            nodes = [document] if whole else split([document], Settings.transformations)
        return replace_documents(self, [document], nodes_of(nodes, document))

    def _add(self, records: Records, *, show_progress: bool | None) -> list[str]:
        added = records.recognised(self.collection).add_to(self.collection, show_progress=show_progress)
        self.object_map.update(records.objects)
        return added

    @checks_keywords
    async def aadd_nodes(self, nodes: Iterable[BaseNode], *, show_progress: bool | None = None) -> list[str]:
        """Async `add_nodes`, run in a thread."""
        return await asyncio.to_thread(self.add_nodes, nodes, show_progress=show_progress)

    @checks_keywords
    async def aupdate_metadata(
        self,
        node_ids: Sequence[str],
        metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        replace: bool = False,
    ) -> list[str]:
        """Async `update_metadata`, run in a thread."""
        return await asyncio.to_thread(self.update_metadata, node_ids, metadata, replace=replace)

    @checks_keywords
    async def adelete_nodes(
        self, node_ids: Sequence[str] | None = None, *, filters: MetadataFilters | None = None
    ) -> int:
        """Async `delete_nodes`, run in a thread."""
        return await asyncio.to_thread(self.delete_nodes, node_ids, filters=filters)

    @checks_keywords
    async def adelete_ref_doc(self, ref_doc_id: str) -> int:
        """Async `delete_ref_doc`, run in a thread."""
        return await asyncio.to_thread(self.delete_ref_doc, ref_doc_id)

    @checks_keywords
    async def aupdate_ref_doc(self, document: Document, *, nodes: Iterable[BaseNode] | None = None) -> list[str]:
        """Async `update_ref_doc`, run in a thread."""
        return await asyncio.to_thread(self.update_ref_doc, document, nodes=nodes)


def replace_documents(
    retriever: NodeMethods,
    documents: Sequence[Document],
    nodes: Iterable[BaseNode],
    *,
    show_progress: bool | None = None,
) -> list[str]:
    """Adds the nodes of documents' new versions, then removes those of the old ones.

    In this order, so that a search finds the documents at any moment.

    Args:
        retriever: The retriever that adds the nodes.
        documents: The new versions; an id that one was made with is the caller's.
        nodes: All nodes of the new versions.
        show_progress: Show a progress bar; None shows one for more than 1,000 nodes in a terminal.

    Returns:
        The ids of the nodes, in order.
    """
    own = {document.id_ for document in documents if not has_made_up_id(document)}
    added = retriever._add(to_records(nodes, retriever.metadata_mode, own), show_progress=show_progress)
    kept = set(added)
    stored = retriever.collection.get(where={DOCUMENT_ID: {"$in": [document.id_ for document in documents]}})
    retriever.collection.delete([document.id for document in stored if document.id not in kept])
    return added
