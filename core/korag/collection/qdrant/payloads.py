"""Reading the payloads of points: those of KoRAG, and those that LangChain and LlamaIndex write."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from qdrant_client import models as m

from korag.collection.documents import StoredDocument
from korag.collection.qdrant.filters import OWN, Paths, Where
from korag.collection.qdrant.layout import ID, SEQUENCE, STORED_METADATA, TEXT
from korag.collection.qdrant.points import read_document

Fields = Any
"""A choice of a payload's fields, as the client takes it."""


class Payloads(ABC):
    """Knows where a point has its document.

    Attributes:
        place_fields: What `place` needs.
        filtered_fields: What `place` and `metadata` need.
        document_fields: What `document` needs.
    """

    place_fields: Fields
    filtered_fields: Fields
    document_fields: Fields
    _paths: Paths

    def where(self, where: Mapping[str, Any] | None) -> Where:
        """Returns a filter as the server evaluates it.

        Raises:
            FilterError: If it is none.
        """
        return Where(where, self._paths)

    @abstractmethod
    def place(self, point: Any) -> tuple[str, int]:
        """Returns the id of a point's document, and its place in insertion order."""

    @abstractmethod
    def metadata(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Returns a document's metadata."""

    @abstractmethod
    def document(self, point: Any) -> StoredDocument:
        """Returns a point's document."""


class OwnPayloads(Payloads):
    """Payloads as `korag.collection.qdrant.points` makes them."""

    place_fields: Fields = (ID, SEQUENCE)
    filtered_fields: Fields = (ID, SEQUENCE, STORED_METADATA)
    document_fields: Fields = (ID, TEXT, STORED_METADATA)
    _paths = OWN

    def place(self, point: Any) -> tuple[str, int]:
        """As `Payloads.place`."""
        return point.payload[ID], point.payload[SEQUENCE]

    def metadata(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """As `Payloads.metadata`."""
        found: dict[str, Any] = json.loads(payload[STORED_METADATA])
        return found

    def document(self, point: Any) -> StoredDocument:
        """As `Payloads.document`."""
        return read_document(point.payload)


class FieldPayloads(Payloads):
    """A text in one field and metadata in another, as LangChain stores documents. The id is the point's.

    Args:
        text: The field with the text.
        metadata: The field with the metadata.
    """

    def __init__(self, text: str = "page_content", metadata: str = "metadata") -> None:
        self._text, self._metadata = text, metadata
        self._paths = Paths(f'"{metadata}"', has_helpers=False)
        self.place_fields = False
        self.filtered_fields = [metadata]
        self.document_fields = [text, metadata]

    def place(self, point: Any) -> tuple[str, int]:
        """All in one place: points know no order."""
        return str(point.id), 0

    def metadata(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """As `Payloads.metadata`."""
        found = payload.get(self._metadata)
        return dict(found) if isinstance(found, Mapping) else {}

    def document(self, point: Any) -> StoredDocument:
        """As `Payloads.document`."""
        payload = point.payload or {}
        return StoredDocument(str(point.id), str(payload.get(self._text) or ""), self.metadata(payload))

    def embedded(self, point: Any) -> str:
        """Returns the text that a point's vectors are of."""
        return self.document(point).text


class NodePayloads(FieldPayloads):
    """Nodes as LlamaIndex stores them: metadata beside a node in JSON, and vectors of its text with metadata."""

    _NODE = "_node_content"
    _OWN = frozenset({_NODE, "_node_type", "document_id", "doc_id", "ref_doc_id"})

    def __init__(self) -> None:
        super().__init__()
        self._paths = Paths("", has_helpers=False)
        self.filtered_fields = m.PayloadSelectorExclude(exclude=[self._NODE])
        self.document_fields = True

    def metadata(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """As `Payloads.metadata`."""
        return {name: value for name, value in payload.items() if name not in self._OWN}

    def document(self, point: Any) -> StoredDocument:
        """As `Payloads.document`."""
        payload = point.payload or {}
        return StoredDocument(str(point.id), self._content(self._node(payload)), self.metadata(payload))

    def embedded(self, point: Any) -> str:
        """The text between the node's templates, as LlamaIndex's ``MetadataMode.EMBED`` has it."""
        node = self._node(point.payload or {})
        excluded = set(node.get("excluded_embed_metadata_keys") or ())
        template = node.get("metadata_template") or "{key}: {value}"
        separator = node.get("metadata_separator") or node.get("metadata_seperator") or "\n"
        fields = {key: value for key, value in (node.get("metadata") or {}).items() if key not in excluded}
        lines = separator.join(template.format(key=key, value=value) for key, value in fields.items())
        content = self._content(node)
        whole = node.get("text_template") or "{metadata_str}\n\n{content}"
        return str(whole).format(content=content, metadata_str=lines).strip() if lines else content

    def _node(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        try:
            node = json.loads(payload[self._NODE])
        except (KeyError, TypeError, ValueError):
            return {}
        return node if isinstance(node, dict) else {}

    @staticmethod
    def _content(node: Mapping[str, Any]) -> str:
        inner = node.get("text_resource")
        return str(node.get("text") or (inner or {}).get("text") or "")
