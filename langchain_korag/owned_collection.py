"""Methods over a collection that the retrievers and the vector store have alike."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langchain_core.runnables import run_in_executor

from korag.collection.base import Collection
from korag.keywords import checks_keywords


class OwnsCollection:
    """Changes and counts the documents of its collection, and saves it."""

    collection: Collection

    @checks_keywords
    def update_metadata(
        self,
        ids: Sequence[str],
        metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        replace: bool = False,
    ) -> list[str]:
        """Changes the metadata of documents, all of them or none, without encoding anything.

        >>> store.update_metadata(["법-1", "법-2"], {"상태": "폐지"})

        Args:
            ids: The documents, all different.
            metadata: A dict of JSON values for all of them, or a list with one for each. Its keys are set, the
                document's others stay.
            replace: The document has these keys only.

        Returns:
            The ids, in order.

        Raises:
            InvalidArgumentError: If a document does not exist, an id occurs twice, the numbers differ, or metadata is
                not JSON.
        """
        return self.collection.update_metadata(ids, metadata, replace=replace)

    @checks_keywords
    async def aupdate_metadata(
        self,
        ids: Sequence[str],
        metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        replace: bool = False,
    ) -> list[str]:
        """Async `update_metadata`, run in a thread."""
        return await run_in_executor(None, self.update_metadata, ids, metadata, replace=replace)

    @checks_keywords
    def count(self, filter: dict[str, Any] | None = None) -> int:
        """Returns the number of documents that match a metadata filter; of all documents without one."""
        return self.collection.count(filter)

    @checks_keywords
    async def acount(self, filter: dict[str, Any] | None = None) -> int:
        """Async `count`, run in a thread."""
        return await run_in_executor(None, self.count, filter)

    @checks_keywords
    def save_local(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Writes everything to a folder, for `load_local`.

        What was created with ``path=`` saves every change itself; this makes a copy elsewhere.

        Args:
            path: The folder; empty or not existing, unless `overwrite`.
            overwrite: Replace an existing collection.

        Returns:
            The folder.
        """
        return self.collection.save(path, overwrite=overwrite)
