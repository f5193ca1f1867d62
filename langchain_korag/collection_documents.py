"""The documents of a retriever's collection: adding, reading, changing and removing them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.documents import Document
from langchain_core.indexing import DeleteResponse, UpsertResponse
from langchain_core.indexing.base import DocumentIndex
from langchain_core.runnables import run_in_executor
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from korag.checks import reject_unknown
from korag.collection.base import Collection
from korag.keywords import checks_keywords
from langchain_korag.checked_model import CHECKED, CheckedModel
from langchain_korag.documents import delete_documents, get_documents, to_records
from langchain_korag.owned_collection import OwnsCollection


class CollectionDocuments(OwnsCollection, CheckedModel, DocumentIndex):
    """A retriever that owns its documents, for ``langchain_core.indexing.index()`` too.

    Attributes:
        collection: The documents and their vectors; shared by copies of the retriever.
    """

    model_config = CHECKED

    collection: SkipJsonSchema[Collection] = Field(exclude=True, repr=False)

    @checks_keywords
    def add_documents(self, documents: Iterable[Document], *, ids: Sequence[str] | None = None) -> list[str]:
        """Adds documents, replacing those with the same ids.

        Args:
            documents: The documents; those without an id get one derived from text and metadata, so that adding them
                again changes nothing.
            ids: Ids in place of the documents' own.

        Returns:
            The ids, in order.

        Raises:
            InvalidTextError: If something is not a `Document`.
        """
        return to_records(documents, ids).add_to(self.collection)

    @checks_keywords
    async def aadd_documents(self, documents: Iterable[Document], *, ids: Sequence[str] | None = None) -> list[str]:
        """Async `add_documents`, run in a thread."""
        return await run_in_executor(None, self.add_documents, documents, ids=ids)

    def upsert(self, items: Sequence[Document], /, **kwargs: Any) -> UpsertResponse:
        """Adds documents, replacing those with the same ids, as LangChain's indexing API calls it.

        Args:
            items: The documents; those without an id get one, as in `add_documents`.
            kwargs: `batch_size`, which has no effect: batches are formed by length.

        Returns:
            The ids, in order, under ``succeeded``.
        """
        reject_unknown(self, kwargs, ("batch_size",))
        return UpsertResponse(succeeded=self.add_documents(items), failed=[])

    def get(self, ids: Sequence[str], /, **kwargs: Any) -> list[Document]:
        """Returns the documents that exist, in the order of `ids`.

        Args:
            ids: Ids; unknown ones are ignored.
            kwargs: `filter`, to return only those that match it.
        """
        reject_unknown(self, kwargs, ("filter",))
        return get_documents(self.collection, ids, kwargs.get("filter"))

    def delete(self, ids: Sequence[str] | None = None, **kwargs: Any) -> DeleteResponse:
        """Removes documents by id, by `filter`, or those among `ids` that match the filter.

        Args:
            ids: Ids; unknown ones are ignored.
            kwargs: `filter`, a metadata filter; ``filter={}`` matches everything.

        Returns:
            A dict: how many were removed under ``num_deleted``, their ids under ``succeeded``.

        Raises:
            InvalidArgumentError: If neither is given.
        """
        reject_unknown(self, kwargs, ("filter",))
        removed = delete_documents(self.collection, ids, kwargs.get("filter"))
        return DeleteResponse(num_deleted=len(removed), succeeded=removed, num_failed=0, failed=[])
