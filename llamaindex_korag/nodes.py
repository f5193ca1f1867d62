"""Conversion between LlamaIndex's nodes and a collection's documents.

A collection stores the searched text, and the node's metadata unchanged, so that any framework can filter by it.
Everything else that belongs to the node is stored under one more key, `NODE`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.ingestion import run_transformations
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MetadataMode,
    NodeWithScore,
    RelatedNodeInfo,
    TextNode,
    TransformComponent,
)

from korag.checks import check_distinct
from korag.collection.adding import added_together
from korag.collection.base import Collection, Hit
from korag.collection.documents import COMMIT_CHARACTERS, COMMIT_DOCUMENTS, StoredDocument, check_documents
from korag.errors import InvalidArgumentError, InvalidTextError
from korag.logs import logger
from korag.text import check_text, is_empty, to_nfc
from llamaindex_korag.node_json import describe, make
from llamaindex_korag.recognition import (
    Known,
    content_key,
    has_made_up_id,
    is_of_a_file,
    is_random,
    stored_names,
)

NODE = "_korag_node"
"""Metadata key of everything in a node besides text and metadata."""
NODE_ID, DOCUMENT_ID = f"{NODE}.id", f"{NODE}.ref_doc_id"
"""Filter keys of the node's id and of the id of its source document."""
CONTENT = "content"
"""Key within `NODE` of a hash of the node's content; null if the node's id is the caller's."""


@dataclass(frozen=True)
class Records:
    """Checked nodes, as columns for `Collection.add`.

    Attributes:
        texts: The searched text of each node.
        ids: All different.
        metadata: One dict per node.
        nodes: The nodes.
        metadata_mode: Metadata that is part of the searched text.
        objects: Targets of index nodes by `IndexNode.index_id`, if they are not nodes and thus cannot be stored.
        own: Ids of documents that are known to be the caller's, even if they look made up.
    """

    texts: list[str]
    ids: list[str]
    metadata: list[dict[str, Any]]
    nodes: list[BaseNode]
    metadata_mode: MetadataMode
    objects: dict[str, Any] = field(default_factory=dict)
    own: Container[str] = ()

    def add_to(self, collection: Collection, *, show_progress: bool | None = None) -> list[str]:
        """Adds the nodes, replacing those with the same ids; returns the ids.

        A document is never cut by an interruption, unless it is more than one commit by itself: it has the hash by
        which an index knows that it has not changed as soon as one of its nodes is stored.
        """
        with added_together():
            for part in self._whole_documents():
                collection.add(
                    self.texts[part], ids=self.ids[part], metadata=self.metadata[part], show_progress=show_progress
                )
        return self.ids

    def _whole_documents(self) -> Iterator[slice]:
        """Yields parts of one commit each, where documents allow it."""
        sources = [metadata[NODE]["ref_doc_id"] for metadata in self.metadata]
        begin, characters = 0, 0
        for _, places in itertools.groupby(range(len(sources)), lambda place: sources[place] or place):
            own = list(places)
            size = sum(len(self.texts[place]) for place in own)
            if begin < own[0] and (own[-1] - begin >= COMMIT_DOCUMENTS or characters + size > COMMIT_CHARACTERS):
                yield slice(begin, own[0])
                begin, characters = own[0], 0
            characters += size
        yield slice(begin, None)

    def recognised(self, collection: Collection) -> Records:
        """Returns the nodes under the ids that a collection has them under, if LlamaIndex made up theirs.

        Links between the nodes, and to their documents, follow (see `llamaindex_korag.recognition`).
        """
        given = list(map(known_by_content, self.ids, self.texts, self.metadata))
        listed = [node.id for node in given if node.content is not None or is_random(node.id)]
        found = collection.get(listed) if listed and len(collection) else []
        there = {
            to_nfc(one.id): known_by_content(one.id, one.text, one.metadata) for one in found if NODE in one.metadata
        }
        new = [node for node in given if node.content is not None and to_nfc(node.id) not in there]
        names = stored_names(new, given, _alike(new, collection)) if new and len(collection) else {}
        # A node that was read from a collection has all its fields set, so its id looks like the caller's.
        read = {id_ for id_, node in there.items() if node.content is not None}
        made_up = [node.content is not None or to_nfc(node.id) in read for node in given]
        if not names and not read:
            return self
        return _records([_renamed(node, names) for node in self.nodes], self.metadata_mode, made_up, self.own)


def to_records(nodes: Iterable[BaseNode], metadata_mode: MetadataMode, own: Container[str] = ()) -> Records:
    """Checks nodes, before anything is created or changed for them.

    Args:
        nodes: The nodes; not modified. Their embeddings are not stored: a collection has its own vectors.
        metadata_mode: Metadata that is part of the searched text.
        own: Ids of documents that are known to be the caller's.

    Raises:
        InvalidTextError: If something is not a node, or a text contains a lone surrogate.
        InvalidArgumentError: If a node has no text, an id occurs twice, or metadata is not JSON.
    """
    checked = _check(nodes)
    return _records(checked, metadata_mode, [has_made_up_id(node) for node in checked], own)


def to_node(found: Hit | StoredDocument) -> BaseNode:
    """Creates a new node equal to the one that was stored.

    A document that was not stored from LlamaIndex becomes a `TextNode` with its text and metadata.

    Raises:
        IndexStateError: If the node's class is the caller's own and has not been imported.
    """
    metadata = dict(found.metadata)
    described = metadata.pop(NODE, None)
    if described is None:
        return TextNode(id_=found.id, text=found.text, metadata=metadata)
    return make(described["class"], json.loads(described["fields"]), found.text, metadata)


def source_id(stored: StoredDocument) -> str | None:
    """Returns the id of the document that a stored node comes from."""
    described: Mapping[str, Any] = stored.metadata.get(NODE, {})
    return described.get("ref_doc_id")


def document_hash(stored: StoredDocument) -> str | None:
    """Returns the hash that a stored node's source document had."""
    described: Mapping[str, Any] = stored.metadata.get(NODE, {})
    return described.get("ref_doc_hash")


def is_pointer(stored: StoredDocument) -> bool:
    """Returns whether a stored node is one that LlamaIndex keeps elsewhere too: an `IndexNode` or an `ImageNode`."""
    described: Mapping[str, Any] = stored.metadata.get(NODE, {})
    return described.get("class") in (IndexNode.__name__, ImageNode.__name__)


def split(
    documents: Sequence[Document], transformations: Sequence[TransformComponent], *, show_progress: bool = False
) -> list[BaseNode]:
    """Splits documents into nodes and leaves out those without text: blank pages are not an error."""
    made = run_transformations(documents, transformations, show_progress=show_progress)
    nodes = [node for node in made if has_text(node)]
    if len(nodes) < len(made):
        logger.warning(
            "노드 %d개 가운데 %d개는 텍스트가 없어 뺐습니다. / %d of %d nodes have no text and were left out.",
            len(made), len(made) - len(nodes), len(made) - len(nodes), len(made),
        )  # fmt: skip
    return nodes


def has_text(node: BaseNode) -> bool:
    """Returns whether a node has text besides its metadata."""
    return not is_empty(node.get_content(MetadataMode.NONE))


def is_blank(node: object) -> bool:
    """Returns whether something is a node with nothing in it besides metadata, neither text nor media."""
    return isinstance(node, BaseNode) and not has_text(node) and _media(node) is None


def _media(node: BaseNode) -> str | None:
    """Returns the kind of a node's image, audio or video, if it has one."""
    names = ("image", "image_path", "image_url", "image_resource", "audio_resource", "video_resource")
    return next((name.partition("_")[0] for name in names if getattr(node, name, None)), None)


def check_nodes(nodes: Iterable[BaseNode]) -> list[BaseNode]:
    """Returns nodes as a list; a single one is an error. Whether they are nodes is checked by `to_records`."""
    if isinstance(nodes, BaseNode | str | Mapping) or not isinstance(nodes, Iterable):
        raise InvalidTextError(
            f"nodes의 값은 {type(nodes).__name__} 하나입니다. 노드의 리스트여야 합니다: [노드].",
            f"nodes is a single {type(nodes).__name__}; it must be a list of nodes: [node].",
        )
    return list(nodes)


def _check(nodes: Iterable[BaseNode]) -> list[BaseNode]:
    checked = check_nodes(nodes)
    for index, node in enumerate(checked):
        if not isinstance(node, BaseNode):
            fix = ("node.node를", "take its node.node") if isinstance(node, NodeWithScore) else (
                "TextNode(text=...)로 감싸", "wrap a string in TextNode(text=...)"
            )  # fmt: skip
            raise InvalidTextError(
                f"nodes[{index}]은(는) {type(node).__name__}입니다. LlamaIndex의 노드여야 하니 {fix[0]} 넣으세요.",
                f"nodes[{index}] is a {type(node).__name__}; it must be a LlamaIndex node: {fix[1]}.",
            )
        _check_has_text(node, index)
    check_distinct("nodes", (node.node_id for node in checked))
    return checked


def _check_has_text(node: BaseNode, index: int) -> None:
    if has_text(node):
        return
    if kind := _media(node):
        korean = {"image": "이미지", "audio": "소리", "video": "영상"}[kind]
        raise InvalidArgumentError(
            f"nodes[{index}](id {node.node_id!r})에는 {korean}만 있고 텍스트가 없습니다. KoRAG는 텍스트만 검색하니 "
            "설명을 text로 넣거나 그 노드를 빼세요.",
            f"nodes[{index}] (id {node.node_id!r}) has {kind} but no text. KoRAG searches text: give it a "
            "description as its text, or leave it out.",
        )
    raise InvalidArgumentError(
        f"nodes[{index}](id {node.node_id!r})에는 텍스트가 없습니다. 텍스트를 넣거나 그 노드를 빼세요.",
        f"nodes[{index}] (id {node.node_id!r}) has no text; give it one, or leave it out.",
    )


def _records(
    nodes: list[BaseNode], metadata_mode: MetadataMode, made_up: Sequence[bool], own: Container[str]
) -> Records:
    """Describes nodes.

    Args:
        nodes: Checked nodes.
        metadata_mode: Metadata that is part of the searched text.
        made_up: Whether LlamaIndex made up the id of each.
        own: As of `to_records`.
    """
    texts = [node.get_content(metadata_mode) for node in nodes]
    objects: dict[str, Any] = {}
    metadata, all_fields = [], []
    for index, (node, text) in enumerate(zip(nodes, texts, strict=True)):
        check_text(text, f"nodes[{index}]")
        check_reserved(node.metadata, f"nodes[{index}].metadata")
        if isinstance(node, IndexNode) and node.obj is not None and not isinstance(node.obj, BaseNode):
            objects[node.index_id] = node.obj
        described, fields = describe(node, text, f"nodes[{index}]")
        metadata.append({**node.metadata, NODE: described})
        all_fields.append(fields)
    stored = check_documents(texts, [node.node_id for node in nodes], metadata)
    for document, fields, generated in zip(stored, all_fields, made_up, strict=True):
        key = _content(document.text, document.metadata, fields, own) if generated else None
        document.metadata[NODE][CONTENT] = key
    return Records(texts, [d.id for d in stored], [d.metadata for d in stored], nodes, metadata_mode, objects, own)


def check_reserved(metadata: Mapping[str, Any], place: str) -> None:
    """Raises if metadata has the key that everything else in a node is stored under."""
    if NODE in metadata:
        raise InvalidArgumentError(
            f"{place}에 '{NODE}' 키가 있습니다. KoRAG가 쓰는 키이니 다른 이름을 쓰세요.",
            f"{place} has the key '{NODE}', which KoRAG uses; give it another name.",
        )


# -- nodes by their content -----------------------------------------------------------------------------------


def known_by_content(id_: str, text: str, metadata: Mapping[str, Any]) -> Known:
    """Returns a node as it is stored, by its content."""
    described = metadata[NODE]
    if CONTENT in described:
        content = described[CONTENT]
    else:  # stored by an earlier version
        content = _content(text, metadata, json.loads(described["fields"])) if is_random(id_) else None
    return Known(id_, described["ref_doc_id"] or id_, content, is_of_a_file(metadata))


def _content(text: str, metadata: Mapping[str, Any], fields: Mapping[str, Any], own: Container[str] = ()) -> str:
    described = metadata[NODE]
    own_text = (fields.get("text_resource") or fields).get("text")
    source = described["ref_doc_id"]
    if source == described["id"]:
        source = None
    elif source is not None and is_random(source) and source not in own:
        source = ""
    return content_key(
        described["class"],
        text if own_text is None else own_text,
        {name: value for name, value in metadata.items() if name != NODE},
        fields,
        source,
    )


def _alike(new: Sequence[Known], collection: Collection) -> Iterator[Known]:
    """Yields the nodes of stored documents that have some of the same contents, or the same ids, in order."""
    same: list[dict[str, Any]] = [
        {f"{NODE}.{CONTENT}": {"$in": list({node.content for node in new})}},
        {f"{NODE}.{CONTENT}": {"$exists": False}, NODE_ID: {"$exists": True}},
        {DOCUMENT_ID: {"$in": list({node.document for node in new})}},
    ]
    found = collection.get(where={"$or": same})
    if documents := {document for stored in found if (document := source_id(stored)) not in (None, stored.id)}:
        found = collection.get(where={"$or": [*same, {DOCUMENT_ID: {"$in": list(documents)}}]})
    for stored in found:
        yield known_by_content(stored.id, stored.text, stored.metadata)


def _renamed(node: BaseNode, names: Mapping[str, str]) -> BaseNode:
    """Returns a node with other ids of its own and of the nodes it is linked to; itself if none of them changes."""

    def linked(info: RelatedNodeInfo) -> RelatedNodeInfo:
        return info.model_copy(update={"node_id": names[info.node_id]}) if info.node_id in names else info

    links = {
        kind: [linked(one) for one in info] if isinstance(info, list) else linked(info)
        for kind, info in node.relationships.items()
    }
    if node.node_id not in names and links == node.relationships:
        return node
    return node.model_copy(update={"id_": names.get(node.node_id, node.node_id), "relationships": links})
