"""Whole nodes as JSON, without their text and metadata, which a collection stores itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from llama_index.core.schema import BaseNode, Document, IndexNode, MediaResource, MetadataMode, Node

from korag.errors import IndexStateError, InvalidArgumentError

_HOME = BaseNode.__module__


def describe(node: BaseNode, text: str, place: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns what is stored of a node, and the fields that it contains as JSON."""
    source = node.source_node
    # A document indexed without splitting is its own source.
    itself = (node.node_id, node.hash) if isinstance(node, Document) else (None, None)
    ref_doc_id, ref_doc_hash = (source.node_id, source.hash) if source else itself
    try:
        fields = _fields(node, text)
        dumped = json.dumps(fields, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"{place}({type(node).__name__})을(를) JSON으로 저장할 수 없습니다: {error}",
            f"{place}, a {type(node).__name__}, cannot be stored as JSON: {error}",
        ) from error
    described = {
        "id": node.node_id,
        "ref_doc_id": ref_doc_id,
        "ref_doc_hash": ref_doc_hash,
        "class": _class_name(type(node)),
        "fields": dumped,
    }
    return described, fields


def _fields(node: BaseNode, text: str) -> dict[str, Any]:
    """Returns all fields except metadata and vectors; a text equal to the stored one is null."""
    if isinstance(node, IndexNode):
        target = node.obj
        node = node.model_copy(update={"obj": None})  # dumping fails if it points to an index or a retriever
        fields = node.model_dump(mode="json", exclude={"metadata", "embedding"})
        if isinstance(target, BaseNode):
            content = target.get_content(MetadataMode.NONE)
            inner = {"text": content, "metadata": target.metadata, "fields": _fields(target, content)}
            fields["obj"] = {"class": _class_name(type(target)), **inner}
    else:
        fields = node.model_dump(mode="json", exclude={"metadata", "embedding"})
    for name, value in node:
        if isinstance(value, MediaResource) and value.data is not None:  # dumps leave it out
            fields[name]["data"] = value.data.decode("ascii")
    holder = fields
    if isinstance(node, Node):
        fields.pop("text", None)  # a document's dump repeats it
        holder = fields["text_resource"] or {}
    if holder.get("text") == text:
        holder["text"] = None
    return fields


def make(class_name: str, fields: dict[str, Any], text: str, metadata: dict[str, Any]) -> BaseNode:
    """Creates a node from what is stored of it."""
    cls = _find_class(class_name)
    fields.pop("class_name", None)
    holder: dict[str, Any] = (fields.get("text_resource") or {}) if issubclass(cls, Node) else fields
    if "text" in holder and holder["text"] is None:
        holder["text"] = text
    if target := fields.get("obj"):
        fields["obj"] = make(target["class"], target["fields"], target["text"], target["metadata"])
    node: BaseNode = cls(**{**fields, "metadata": metadata})
    return node


def _class_name(cls: type[BaseNode]) -> str:
    """Returns a class's name: bare for LlamaIndex's own, whose modules have changed before, else with its module."""
    return cls.__qualname__ if cls.__module__ == _HOME else f"{cls.__module__}.{cls.__qualname__}"


def _find_class(name: str) -> type[Any]:
    """Searches the loaded classes only: a name in a folder must never make Python import anything."""
    for cls in _subclasses(BaseNode):
        if _class_name(cls) == name:
            return cls
    raise _not_imported(name)


def _not_imported(name: str) -> IndexStateError:
    return IndexStateError(
        f"저장된 노드의 클래스 {name}을(를) 찾을 수 없습니다. 그 클래스가 있는 모듈을 먼저 import하세요.",
        f"The stored node is a {name}, which has not been imported; import its module first.",
    )


def named_class(name: str) -> type[BaseNode]:
    """Returns the class of a node's dump, by its ``class_name``; LlamaIndex's own before others of that name."""
    classes = [cls for cls in _subclasses(BaseNode) if cls.class_name() == name]
    if not classes:
        raise _not_imported(name)
    found: type[BaseNode] = min(classes, key=lambda cls: cls.__module__ != _HOME)
    return found


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)
