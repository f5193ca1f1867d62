"""The documents of a local collection."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from korag.checks import check_deletion, check_distinct, check_ids
from korag.collection.adding import telling_ids
from korag.collection.documents import StoredDocument, check_documents
from korag.collection.editing import Documents
from korag.collection.encoded import FingerprintLike, Represent, check_encoded
from korag.collection.local.database import Database
from korag.collection.local.editing import Editor
from korag.collection.local.moving import StoredVectors
from korag.collection.metadata import MetadataChange
from korag.collection.moving import Movable, move_documents
from korag.errors import InvalidArgumentError
from korag.filters import parse, to_sql
from korag.legs.base import Leg
from korag.text import to_nfc


class LocalDocuments(Documents, Movable):
    """The half of `korag.collection.local.collection.LocalCollection` that is about documents."""

    _database: Database
    _editor: Editor
    _vectors: StoredVectors
    _legs: dict[str, Leg]

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

        Everything is checked first. Documents are then encoded and committed as many at a time as take about 20
        seconds: 64 at first, at most 2,048 or two million characters. A process killed in between, or a disk that is
        full, keeps the batches that were committed, and adding the same ids again completes the job; where none were
        given, they are ``ids`` of the error. It also repairs documents that `verify` complains of.

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
        with telling_ids(documents):
            self._editor.add(documents, show_progress=show_progress)
        return [document.id for document in documents]

    def add_encoded(
        self,
        documents: Iterable[tuple[str, str] | tuple[str, str, Mapping[str, Any] | None]],
        vectors: Mapping[str, Any],
        *,
        fingerprints: Mapping[str, FingerprintLike],
    ) -> list[str]:
        """As `korag.collection.base.Collection.add_encoded`; committed as `add` commits."""
        given = check_encoded(documents, vectors, fingerprints, self._legs)
        self._editor.add_represented(given.documents, given.represent)
        return [document.id for document in given.documents]

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

    def rename(self, ids: Mapping[str, str]) -> None:
        """Gives documents other ids, all in one commit. Texts, metadata, vectors and places stay; nothing is encoded.

        Args:
            ids: New ids by old ones. Two documents may exchange theirs.

        Raises:
            InvalidTextError: If an id is not a string.
            InvalidArgumentError: If a document does not exist, a new id is repeated or is another document's.
            CollectionLockedError: If another process is still writing after the time-out.
            ReadOnlyError: If the folder cannot be written to.
            StorageFullError: If there is not enough space.
        """
        old, new = check_ids(ids), check_ids(ids.values())
        check_distinct("ids", old)
        check_distinct("ids", new)
        if old:
            self._editor.rename(dict(zip(old, new, strict=True)))

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

    # -- moving -------------------------------------------------------------------------------------------

    def export_to(self, collection: Movable, *, show_progress: bool | None = None) -> int:
        """Adds all documents to a collection on a server, with their vectors and the fitted fusion. Nothing is encoded.

        If it is interrupted, the same call continues where it stopped: documents that are there with the same text are
        not sent again. Others that are there stay; `keep_only` removes them. Nobody should write here meanwhile.

        Args:
            collection: A `korag.QdrantCollection` with the same models and settings. Vectors that a codec has rounded
                are moved as they are.
            show_progress: Show a progress bar; None shows one in a terminal.

        Returns:
            The number of documents.

        Raises:
            InvalidArgumentError: If it is something else, has other legs, or documents are split into windows.
            FingerprintError: If its legs have other models or settings.
            IndexStateError: If documents are changed meanwhile.
            ServerError: If the server does not answer.
        """
        if not isinstance(collection, Movable) or collection is self:
            raise InvalidArgumentError(
                f"collection={collection!r:.80}: QdrantCollection이어야 합니다. 폴더로 옮기려면 save(path)를 쓰세요.",
                f"collection={collection!r:.80} must be a QdrantCollection; use save(path) for a folder.",
            )
        self._vectors.check_single_windows()
        moved = move_documents(self, collection, total=len(self), show_progress=show_progress)
        if (fusion := self.fitted_fusion) is not None:
            collection.store_fusion(fusion)
        return moved

    def _in_order(self) -> Iterator[StoredDocument]:
        return self._vectors.in_order()

    def _stored_vectors(self, name: str, leg: Leg, documents: Sequence[StoredDocument]) -> Any:
        return self._vectors.of(name, leg, documents)

    def _add_represented(self, documents: Sequence[StoredDocument], represent: Represent) -> None:
        self._editor.add_represented(documents, represent)
