"""Between LangChain's documents and a collection's."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from langchain_core.documents import Document

from korag.collection import Collection, Hit
from korag.errors import InvalidTextError


def check_documents(documents: Iterable[Document]) -> list[Document]:
    """Returns documents as a list.

    Raises:
        InvalidTextError: If something is not a `Document`.
    """
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


def add_documents(collection: Collection, documents: Iterable[Document], ids: Sequence[str] | None = None) -> list[str]:
    """Adds documents under `ids`, else under their own ids, else under new ones; changes none of them.

    Raises:
        InvalidTextError: If something is not a `Document`.
    """
    documents = check_documents(documents)
    if ids is None:
        ids = [document.id or str(uuid.uuid4()) for document in documents]
    return collection.add(
        [document.page_content for document in documents],
        ids=ids,
        metadata=[document.metadata for document in documents],
    )


def to_document(hit: Hit, score_key: str | None) -> Document:
    """Makes a new document of a hit, with its score in the metadata."""
    metadata = hit.metadata if score_key is None else {**hit.metadata, score_key: hit.score}
    return Document(id=hit.id, page_content=hit.text, metadata=metadata)
