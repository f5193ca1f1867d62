"""Recognises nodes that are already stored under an id which LlamaIndex made up.

Splitters, and nodes and documents created without an id, get a random one, which is another in every run of a script.
Such a node takes the id under which its content is stored, so that running the script again adds nothing twice:

- A document counts as a stored one if all of its nodes, by content, are stored for that, or all of that one's are among
  its own and are more than half of them: documents that differ from each other, such as contracts with the same
  clauses, stay apart. Of the same file, more than half in common is enough, so that one that has changed is the same.
  Nodes of equal content take the stored ids, in order, and all nodes of the document its stored id.
- A document whose id is no random UUID, or is stored already, or was given with a `Document`, is that document only.
  (A random UUID of one's own cannot be told from one made up where nodes are given without their documents.)
- The content of a node is its text, metadata and what else tells nodes apart (an image, `IndexNode.index_id`). Of a
  file, size and dates do not count, as long as the path is the same.
- Ids of the caller's are always kept: those passed to a node's constructor, unless a splitter made them.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_index.core.schema import BaseNode

from korag.text import to_nfc

_FILE = "file_path"
_OF_A_FILE = ("file_size", "creation_date", "last_modified_date", "last_accessed_date")
"""Metadata by LlamaIndex's reader of files that changes without the text, where there is a `_FILE`."""
_NO_CONTENT = (
    *("id_", "class_name", "text", "text_resource", "obj", "relationships", "start_char_idx", "end_char_idx"),
    *("excluded_embed_metadata_keys", "excluded_llm_metadata_keys", "mimetype"),
    *("metadata_template", "metadata_separator", "text_template"),
)
"""Fields that say how a node is shown and linked, or that count as its text."""


def has_made_up_id(node: BaseNode) -> bool:
    """Returns whether a node's id was generated, rather than chosen by the caller."""
    if "id_" not in node.model_fields_set:
        return True
    source = node.ref_doc_id
    # a splitter passes the ids it makes, which may contain the document's
    return source is not None and (is_random(node.node_id) or (is_random(source) and source in node.node_id))


def is_random(id_: str) -> bool:
    """Returns whether an id is a random UUID, as LlamaIndex makes them."""
    try:
        return uuid.UUID(id_).version == 4 and len(id_) == 36
    except ValueError:
        return False


def is_of_a_file(metadata: Mapping[str, Any]) -> bool:
    """Returns whether a node comes from a file that its metadata names."""
    return _FILE in metadata


def content_key(
    class_name: str, text: str, metadata: Mapping[str, Any], fields: Mapping[str, Any], source: str | None
) -> str:
    """Returns a hash of a node's content.

    Args:
        class_name: The node's class.
        text: Its own text, without metadata.
        metadata: Its metadata as stored.
        fields: Its other fields.
        source: The id of its document; None if it has none, or is one; empty if LlamaIndex made that up.
    """
    left_out = _OF_A_FILE if is_of_a_file(metadata) else ()
    kept = {name: value for name, value in metadata.items() if name not in left_out}
    other = {name: value for name, value in fields.items() if name not in _NO_CONTENT and value not in (None, "", [])}
    content = json.dumps([class_name, text, kept, other, source], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class Known:
    """A node by its content.

    Attributes:
        id: Its id.
        document: The id of its document; its own if it has none.
        content: Its `content_key`; None if its id is the caller's.
        of_a_file: As `is_of_a_file`.
    """

    id: str
    document: str
    content: str | None
    of_a_file: bool = False


def stored_names(new: Iterable[Known], given: Iterable[Known], stored: Iterable[Known]) -> dict[str, str]:
    """Returns the stored id of each node and document that is recognised under another id.

    Args:
        new: Nodes whose made-up ids the collection does not have.
        given: All nodes to add, these among them.
        stored: Nodes of the collection: those of equal content, and those of the same documents; in order.
    """
    taken = {to_nfc(node.id) for node in given}
    added, there = _Documents(), _Documents()
    for node in new:
        added.put(node)
    for node in stored:
        if node.content is not None and to_nfc(node.id) not in taken:
            there.put(node)
    names: dict[str, str] = {}
    # What is stored claims itself first, and the whole of something before a part of it.
    for document in sorted(added.nodes, key=lambda name: (name not in there.nodes, -len(added.nodes[name]))):
        same = there.claim(document, added.counts[document])
        if same is None:
            continue
        if same != document:
            names[document] = same
        unclaimed: dict[str | None, deque[str]] = defaultdict(deque)
        for node in there.nodes[same]:
            unclaimed[node.content].append(node.id)
        for node in added.nodes[document]:
            if unclaimed[node.content]:
                names[node.id] = unclaimed[node.content].popleft()
    return names


@dataclass
class _Documents:
    """Documents, with their nodes and how often each content occurs."""

    nodes: dict[str, list[Known]] = field(default_factory=lambda: defaultdict(list))
    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    places: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    """Documents by content, in order; those claimed are left out."""
    of_files: set[str] = field(default_factory=set)

    def put(self, node: Known) -> None:
        assert node.content is not None  # noqa: S101 (for the type checker)
        self.nodes[node.document].append(node)
        self.counts[node.document][node.content] += 1
        self.places[node.content][node.document] = None
        if node.of_a_file:
            self.of_files.add(node.document)

    def claim(self, document: str, contents: Counter[str]) -> str | None:
        """Returns the document that counts as another with some contents, and that no other can claim then."""
        if document in self.nodes:
            found: str | None = document
        elif not is_random(document):
            found = None
        else:
            found = self._most_alike(contents)
        if found is not None:
            for content in self.counts[found]:
                self.places[content].pop(found, None)
        return found

    def _most_alike(self, contents: Counter[str]) -> str | None:
        size = contents.total()
        # Any document with more than half of them has one of the rarer half; common contents need no look.
        rarest = sorted(contents.elements(), key=lambda content: len(self.places.get(content, ())))[: size // 2 + 1]
        best, closeness = None, (0, 0)
        for content in dict.fromkeys(rarest):
            for candidate in filter(is_random, self.places.get(content, ())):
                there = len(self.nodes[candidate])
                shared = (contents & self.counts[candidate]).total()
                if shared == size == there:
                    return candidate
                is_part = shared in (size, there) or candidate in self.of_files
                if is_part and 2 * shared > size and (shared, -there) > closeness:
                    best, closeness = candidate, (shared, -there)
        return best
