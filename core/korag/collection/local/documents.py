"""The documents of a local collection."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from korag.checks import check_deletion, check_ids
from korag.collection.documents import StoredDocument, check_documents
from korag.collection.editing import Documents
from korag.collection.local.database import Database
from korag.collection.local.editing import Editor
from korag.collection.metadata import MetadataChange
from korag.filters import parse, to_sql
from korag.text import to_nfc


class LocalDocuments(Documents):
    """The half of `korag.collection.local.collection.LocalCollection` that is about documents."""

    _database: Database
    _editor: Editor

    def add(
        self,
        texts: Iterable[str],
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        show_progress: bool | None = None,
    ) -> list[str]:
        """Adds documents; one whose id exists replaces it.

        With the same text, the document keeps its vectors and its place, and nothing is encoded: only other metadata is
        written, and nothing at all if that is the same too. With another text, it counts as newly inserted.

        Everything is checked first. Documents are then encoded and committed 2,048 at a time, or as many as have two
        million characters. A process killed in between, or a disk that is full, keeps the batches that were committed,
        and adding the same ids again completes the job. It also repairs documents that `verify` complains of.

        Args:
            texts: The documents.
            ids: Their ids, all different; generated if not given. Ids are the same if their NFC form is.
            metadata: A dict of JSON values for each; copied.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            The ids, in order.

        Raises:
            InvalidTextError: If a text or id is not a string.
            InvalidArgumentError: If numbers differ, an id is repeated, or metadata is not JSON.
            CollectionLockedError: If another process is still writing after the time-out.
            ReadOnlyError: If the folder cannot be written to.
            StorageFullError: If there is not enough space; the batch in progress leaves nothing behind.
        """
        documents = check_documents(texts, ids, metadata)
        self._editor.add(documents, show_progress=show_progress)
        return [document.id for document in documents]

    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Removes documents by id, by filter, or those among `ids` that match the filter.

        Returns:
            How many were removed. Unknown ids are ignored.

        Raises:
            InvalidArgumentError: If neither is given.
        """
        check_deletion("where={}", ids=ids, where=where)
        checked = None if ids is None else check_ids(ids)
        return self._editor.delete(to_sql(parse(where)), checked)

    def update_metadata(
        self,
        ids: Sequence[str],
        metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        replace: bool = False,
    ) -> list[str]:
        """As `korag.collection.base.Collection.update_metadata`, in one commit; visible in every process at once.

        Raises:
            InvalidTextError: If an id is not a string.
            InvalidArgumentError: If a document does not exist, an id occurs twice, the numbers differ, or metadata is
                not JSON.
            IndexStateError: If one of the documents is damaged.
            CollectionLockedError: If another process is still writing after the time-out.
            ReadOnlyError: If the folder cannot be written to.
            StorageFullError: If there is not enough space.
        """
        change = MetadataChange(ids, metadata, replace=replace)
        self._editor.update_metadata(change)
        return change.ids

    def keep_only(self, ids: Iterable[str]) -> int:
        """As `korag.collection.base.Collection.keep_only`, in one commit."""
        return self._editor.keep_only(check_ids(ids))

    def get(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> list[StoredDocument]:
        """Returns the documents that exist: by id in the order given, otherwise in insertion order."""
        condition = to_sql(parse(where))
        if ids is None:
            return self._database.find(*condition)
        checked = check_ids(ids)
        found: dict[str, list[StoredDocument]] = {}
        for document in self._database.find(*condition, ids=checked):
            found.setdefault(to_nfc(document.id), []).append(document)  # older KoRAGs stored two forms of an id
        # An id may be given twice.
        return [copy.deepcopy(document) for id_ in checked for document in found.get(to_nfc(id_), ())]

    def __len__(self) -> int:
        return self._database.count()

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """Number of documents that match a filter; of all documents without one."""
        return self._database.count(*to_sql(parse(where)))

    def ids(self, where: Mapping[str, Any] | None = None) -> list[str]:
        """Returns the ids of the documents that match a filter, or of all, in insertion order."""
        return list(self._database.id_by_key(None, *to_sql(parse(where))).values())
