"""Conversion between LangChain's documents and a collection's."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document

from korag.checks import check_deletion, check_flag, check_lengths
from korag.collection.base import Collection
from korag.collection.documents import StoredDocument
from korag.collection.documents import check_documents as check_columns
from korag.errors import InvalidArgumentError, InvalidTextError
from korag.filters import parse
from korag.text import check_texts, to_nfc

_CONTENT = uuid.UUID("6b6f5261-6700-4000-8000-000000000001")
"""Namespace of ids derived from content."""


@dataclass(frozen=True)
class Records:
    """Checked documents, as columns for `Collection.add`.

    Attributes:
        texts: One per document.
        ids: All different.
        metadata: One dict per document.
    """

    texts: list[str]
    ids: list[str]
    metadata: list[dict[str, Any]]

    def add_to(self, collection: Collection, *, sync: bool = False) -> list[str]:
        """Adds the documents and returns their ids; with `sync`, removes all others afterwards."""
        ids = collection.add(self.texts, ids=self.ids, metadata=self.metadata)
        if sync:
            collection.keep_only(ids)
        return ids

    def check_sync(self, sync: object, *, existing: bool) -> bool:
        """Returns whether documents that are not given are removed.

        Args:
            sync: The argument.
            existing: The collection may have documents.

        Raises:
            InvalidArgumentError: If it is no bool, the collection is new, or no document is given.
        """
        if not check_flag("sync", sync):
            return False
        if not existing:
            raise InvalidArgumentError(
                "sync=True인데 path=가 없습니다. sync는 폴더에 저장된 문서 가운데 이번에 넣지 않은 것을 지웁니다. "
                "메모리의 새 컬렉션에는 지울 것이 없으니 path=를 넣거나 sync를 빼세요.",
                "sync=True without path=: it removes documents that a folder has and that are not given. A new "
                "collection in memory has none; pass path=, or leave sync out.",
            )
        if not self.texts:
            raise InvalidArgumentError(
                "sync=True인데 넣은 문서가 없어, 저장된 문서가 모두 지워집니다. 문서를 제대로 읽었는지 확인하세요. "
                "정말 모두 지우려면 delete(filter={})를 쓰세요.",
                "sync=True without any document would remove everything that is stored; check that your documents "
                "were read. To remove everything, use delete(filter={}).",
            )
        return True


def texts_to_documents(texts: Iterable[str], metadatas: Iterable[dict[str, Any]] | None) -> list[Document]:
    """Creates documents from texts.

    Raises:
        InvalidTextError: If a text is not a string.
        InvalidArgumentError: If the numbers of texts and metadatas differ, or one of the latter is not a dict.
    """
    texts = check_texts(texts)
    metadatas = [{} for _ in texts] if metadatas is None else list(metadatas)
    check_lengths(texts=texts, metadatas=metadatas)
    for index, metadata in enumerate(metadatas):
        if not isinstance(metadata, dict):
            raise InvalidArgumentError(
                f"metadatas[{index}]의 값 {metadata!r:.80}은(는) dict가 아닙니다. 텍스트마다 dict를 하나씩 넣으세요.",
                f"metadatas[{index}] is {metadata!r:.80}; give a dict for each text.",
            )
    return [Document(page_content=text, metadata=metadata) for text, metadata in zip(texts, metadatas, strict=True)]


def how_to_make(path: str | os.PathLike[str]) -> str:
    """Returns the calls that create a folder, for the error raised when there is none."""
    return f"from_documents(..., path='{path}'), save_local('{path}')"


def get_documents(
    collection: Collection, ids: Sequence[str] | None, filter: dict[str, Any] | None = None
) -> list[Document]:
    """Returns documents by id, by filter, or those among `ids` that match the filter.

    Raises:
        FilterError: If `filter` is not a filter.
    """
    parse(filter, written="filter=")
    found = collection.get(ids, where=filter)
    return [Document(id=d.id, page_content=d.text, metadata=d.metadata) for d in found]


def delete_documents(collection: Collection, ids: Sequence[str] | None, filter: dict[str, Any] | None) -> list[str]:
    """Removes documents by id, by filter, or those among `ids` that match the filter; returns the ids of those removed.

    Raises:
        InvalidArgumentError: If neither is given.
        FilterError: If `filter` is not a filter.
    """
    check_deletion("filter={}", ids=ids, filter=filter)
    parse(filter, written="filter=")
    if ids is None:
        found = collection.ids(filter)
    else:
        found = list(dict.fromkeys(document.id for document in collection.get(ids, where=filter)))
    collection.delete(found)
    return found


def id_to_explain(document: Document | str, collection: Collection) -> str:
    """Returns the id under which a collection has a document; without one, that derived from its content.

    Raises:
        InvalidArgumentError: If the document has no id, and the collection none of the same content.
    """
    if not isinstance(document, Document):
        return document
    if document.id:
        return document.id
    (id_,) = to_records([document]).ids
    if not collection.get([id_]):
        raise InvalidArgumentError(
            "id가 없는 Document이고, 텍스트와 메타데이터가 같은 문서도 컬렉션에 없습니다. invoke나 similarity_search가 "
            "돌려준 문서를 넣으세요.",
            "This Document has no id, and the collection has none of the same text and metadata; pass one that invoke "
            "or similarity_search returned.",
        )
    return id_


def check_documents(documents: Iterable[Document]) -> list[Document]:
    """Returns documents as a list.

    Raises:
        InvalidTextError: If something is not a `Document`.
    """
    if isinstance(documents, Document | str):
        raise InvalidTextError(
            f"documents에 {type(documents).__name__} 하나를 넣었습니다. 리스트여야 합니다: [문서].",
            f"documents is a single {type(documents).__name__}; it must be a list: [document].",
        )
    if not isinstance(documents, Iterable):
        raise InvalidTextError(
            f"documents의 값 {documents!r:.80}은(는) Document의 리스트가 아닙니다.",
            f"documents is {documents!r:.80}; it must be a list of Documents.",
        )
    documents = list(documents)
    for index, document in enumerate(documents):
        if not isinstance(document, Document):
            raise InvalidTextError(
                f"documents[{index}]은(는) {type(document).__name__}입니다. "
                "langchain_core.documents.Document여야 합니다. "
                "문자열이라면 Document(page_content=...)로 감싸거나 from_texts를 쓰세요.",
                f"documents[{index}] is a {type(document).__name__}; it must be a "
                "langchain_core.documents.Document. Wrap strings in Document(page_content=...), "
                "or use from_texts.",
            )
    return documents


def group_equal(documents: Sequence[Document]) -> list[list[Document]]:
    """Puts the occurrences of each document together, in the order of their first.

    Documents are the same if their ids are, in any Unicode normalization form, or without ids if text and metadata are.
    """
    groups: dict[tuple[str, str], list[list[Document]]] = {}
    found = []
    for document in documents:
        has_id = bool(document.id)
        key = ("id", to_nfc(str(document.id))) if has_id else ("text", document.page_content)
        candidates = groups.setdefault(key, [])
        group = next((one for one in candidates if has_id or _equal_metadata(one[0], document)), None)
        if group is None:
            candidates.append(group := [])
            found.append(group)
        group.append(document)
    return found


def _equal_metadata(one: Document, other: Document) -> bool:
    try:
        return bool(one.metadata == other.metadata)
    except ValueError:  # arrays, which compare by element
        return False


def to_records(documents: Iterable[Document], ids: Sequence[str] | None = None) -> Records:
    """Checks documents, before anything is created or changed for them.

    Missing ids are derived from text and metadata, so that the same documents get the same ids in the next run of a
    program and are not added twice.

    Args:
        documents: The documents; not modified.
        ids: Ids in place of the documents' own.

    Raises:
        InvalidTextError: If something is not a `Document`, or a text or id no string.
        InvalidArgumentError: If the numbers of ids and documents differ, an id occurs twice, or metadata is not JSON.
    """
    documents = check_documents(documents)
    texts, metadata = [document.page_content for document in documents], [document.metadata for document in documents]
    stored = check_columns(texts, ids, metadata, names=[document.id for document in documents])
    if ids is None:
        own = [document.id or new for document, new in zip(documents, _content_ids(stored), strict=True)]
        stored = check_columns([document.text for document in stored], own, [document.metadata for document in stored])
    return Records([d.text for d in stored], [d.id for d in stored], [d.metadata for d in stored])


def _content_ids(documents: Sequence[StoredDocument]) -> list[str]:
    seen: Counter[str] = Counter()
    ids = []
    for document in documents:
        content = json.dumps([document.text, document.metadata], sort_keys=True)
        seen[content] += 1  # two equal documents get different ids
        ids.append(str(uuid.uuid5(_CONTENT, f"{seen[content]} {content}")))
    return ids
