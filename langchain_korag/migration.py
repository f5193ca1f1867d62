"""Documents out of other stores and retrievers, to be indexed here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from langchain_core.documents import Document

from korag.collection.base import Collection
from korag.errors import InvalidArgumentError
from korag.text import to_nfc
from langchain_korag.documents import get_documents

_KNOWN = (
    "FAISS, BM25Retriever, TFIDFRetriever, InMemoryVectorStore, Chroma, EnsembleRetriever, "
    "ContextualCompressionRetriever, as_retriever(), KoRAG"
)


def read_documents(source: object) -> list[Document]:
    """Returns copies of all documents in a store or behind a retriever, with their ids.

    >>> retriever = KoHybridRetriever.from_documents(read_documents(ensemble), path="law_hybrid")

    Reads by shape, so that no package of theirs is needed and nothing is unpickled or encoded:

    * FAISS: in the order of the index. A document without an id gets its key in the docstore.
    * BM25, TF-IDF and others that keep a list as ``docs``, in its order.
    * `InMemoryVectorStore`, and Chroma, whose order is its own.
    * KoRAG's retrievers, stores and collections.
    * A retriever over others (``as_retriever()``, ensembles, compression, self-query): theirs. A document that several
      have is returned once, with the id that one of them has for it.

    Args:
        source: The store or retriever.

    Raises:
        InvalidArgumentError: If it is of no such shape, or two different documents have the same id.
    """
    return [
        document.model_copy(update={"metadata": dict(document.metadata)}) for document in _documents(source, source)
    ]


def _documents(source: Any, given: object) -> list[Document]:
    if isinstance(source, type | str | Mapping):
        raise _unknown(given)
    collection = getattr(source, "collection", source)
    if isinstance(collection, Collection):
        return get_documents(collection, None)
    for name in ("bound", "base_retriever"):  # of with_config(), of compression
        if (inner := getattr(source, name, None)) is not None:
            return _documents(inner, given)
    if isinstance(retrievers := getattr(source, "retrievers", None), list):
        return _once([_documents(retriever, given) for retriever in retrievers])
    if hasattr(source, "vectorstore") and not hasattr(source, "docstore"):
        return _documents(source.vectorstore, given)
    if isinstance(keys := getattr(source, "index_to_docstore_id", None), Mapping):
        return [_in_docstore(source.docstore, keys[place]) for place in sorted(keys)]
    docs = getattr(source, "docs", None)
    if isinstance(docs, list) and all(isinstance(document, Document) for document in docs):
        return docs
    if isinstance(stored := getattr(source, "store", None), Mapping):
        return [_stored(key, stored[key], given) for key in stored]
    if callable(get := getattr(source, "get", None)):
        return _columns(get(), given)
    raise _unknown(given)


def _in_docstore(docstore: Any, key: str) -> Document:
    found = docstore.search(key)
    if not isinstance(found, Document):  # a message
        raise InvalidArgumentError(
            f"색인에 있는 문서 {key!r:.80}이(가) docstore에 없습니다. 색인과 docstore를 함께 저장한 것을 넣으세요.",
            f"The document {key!r:.80} of the index is not in the docstore; pass a store that was saved with both.",
        )
    return found if found.id else found.model_copy(update={"id": key})


def _stored(key: str, entry: Any, given: object) -> Document:
    if isinstance(entry, Document):
        return entry if entry.id else entry.model_copy(update={"id": key})
    if not isinstance(entry, Mapping) or "text" not in entry:
        raise _unknown(given)
    return Document(id=entry.get("id") or key, page_content=entry["text"], metadata=entry.get("metadata") or {})


def _columns(found: Any, given: object) -> list[Document]:
    """Returns the documents of Chroma's columns."""
    if not isinstance(found, Mapping) or not {"ids", "documents", "metadatas"} <= found.keys():
        raise _unknown(given)
    ids, texts = found["ids"], found["documents"] or []
    metadatas = found["metadatas"] or [None] * len(ids)
    if len(texts) != len(ids) or None in texts:
        raise InvalidArgumentError(
            "텍스트가 저장되지 않은 문서가 있습니다. 벡터만으로는 옮길 수 없으니 원문에서 다시 만드세요.",
            "Some documents are stored without their text; vectors alone cannot be moved, so start from the texts.",
        )
    rows = zip(ids, texts, metadatas, strict=True)
    return [Document(id=id_, page_content=text, metadata=dict(metadata or {})) for id_, text, metadata in rows]


def _once(lists: list[list[Document]]) -> list[Document]:
    """Joins the documents of several retrievers, each once; one without an id takes the id that another has for it."""
    joined: list[Document] = []
    places: dict[str, int] = {}
    contents: dict[str, str] = {}
    for documents in lists:
        earlier = dict(places)
        for document in documents:
            content = json.dumps([document.page_content, document.metadata], sort_keys=True, default=repr)
            if document.id and contents.setdefault(to_nfc(document.id), content) != content:
                raise InvalidArgumentError(
                    f"서로 다른 두 문서의 id가 {document.id!r:.80}입니다. 하나씩 읽어 id를 바꾼 뒤 합치세요.",
                    f"Two different documents have the id {document.id!r:.80}; read them one by one and change ids.",
                )
            if content not in earlier:
                places.setdefault(content, len(joined))
                joined.append(document)
            elif joined[earlier[content]].id is None:
                joined[earlier[content]] = document
    return joined


def _unknown(source: object) -> InvalidArgumentError:
    name = type(source).__name__
    return InvalidArgumentError(
        f"{name}에서는 문서를 읽을 수 없습니다. 읽을 수 있는 것: {_KNOWN}. 다른 것이라면 원문으로 Document의 리스트를 "
        "만들어 from_documents에 넣으세요.",
        f"Documents cannot be read from a {name}; they can from: {_KNOWN}. For others, make a list of Documents from "
        "the texts, and give it to from_documents.",
    )
