"""Changes of the metadata of stored nodes, which may be part of the text that is searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.schema import MetadataMode

from korag.collection.base import Collection
from korag.collection.documents import StoredDocument, is_same
from korag.collection.metadata import MetadataChange, check_known
from llamaindex_korag.node_json import describe
from llamaindex_korag.nodes import CONTENT, NODE, check_reserved, known_by_content, to_node


def update_metadata(
    collection: Collection,
    node_ids: Sequence[str],
    metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    metadata_mode: MetadataMode,
    replace: bool = False,
) -> list[str]:
    """Changes the metadata of nodes, all of them or none.

    Nodes whose searched text changes by that are encoded again and count as newly inserted; the others keep their
    vectors and places.

    Args:
        collection: Where they are.
        node_ids: Their ids, all different.
        metadata: A dict of JSON values for all of them, or a list with one for each. Its keys are set, the node's
            others stay.
        metadata_mode: Metadata that is part of the searched text, where the stored text does not show it.
        replace: The node has these keys only.

    Returns:
        The ids, in order.

    Raises:
        InvalidTextError: If an id is not a string.
        InvalidArgumentError: If a node does not exist, an id occurs twice, the numbers differ, or metadata is not JSON.
    """
    change = MetadataChange(node_ids, metadata, replace=replace, name="node_ids")
    for index, fields in enumerate([metadata] if isinstance(metadata, Mapping) else metadata):
        check_reserved(fields, "metadata" if isinstance(metadata, Mapping) else f"metadata[{index}]")
    stored = collection.get(change.ids)
    check_known(change.ids, [old.id for old in stored])
    changed = [new for old in stored if not is_same(new := _changed(old, change, metadata_mode), old)]
    if changed:
        collection.add(
            [new.text for new in changed],
            ids=[new.id for new in changed],
            metadata=[new.metadata for new in changed],
        )
    return change.ids


def _changed(old: StoredDocument, change: MetadataChange, metadata_mode: MetadataMode) -> StoredDocument:
    new = change.apply(old)
    if NODE not in old.metadata:  # not stored from LlamaIndex
        return new
    node = to_node(old)
    searched = [mode for mode in (metadata_mode, *MetadataMode) if node.get_content(mode) == old.text]
    node.metadata = {name: value for name, value in new.metadata.items() if name != NODE}
    text = node.get_content(searched[0]) if searched else old.text
    described, _ = describe(node, text, f"nodes[{old.id!r}]")
    # Its source is as it was, and so is the content that it is recognised by when a script adds it again.
    kept = {
        "ref_doc_hash": old.metadata[NODE]["ref_doc_hash"],
        CONTENT: known_by_content(old.id, old.text, old.metadata).content,
    }
    return StoredDocument(old.id, text, {**node.metadata, NODE: described | kept})
