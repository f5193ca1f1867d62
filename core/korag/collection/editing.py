"""The documents of a collection: added, changed, removed and read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from korag.checks import check_ids
from korag.collection.documents import COMMIT_DOCUMENTS, StoredDocument, is_same
from korag.collection.encoded import FingerprintLike
from korag.collection.metadata import MetadataChange, check_known
from korag.collection.streaming import stream_into
from korag.errors import IndexStateError
from korag.text import to_nfc


class Documents(ABC):
    """The half of `korag.collection.base.Collection` that is about documents; searching is the other."""

    @abstractmethod
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

        Everything is checked before any work is done. Documents are committed in batches; adding the same ids again
        after an interruption completes the job.

        Args:
            texts: The documents, of up to 200 million characters each. Long ones are split into windows, or models read
                their beginning, as the collection was made; BM25 indexes the whole text.
            ids: Their ids, all different; generated if not given. Ids are the same if their NFC form is, here and in
                `get`, `delete` and `add_stream`; a document has the form of its last addition.
            metadata: A dict of JSON values for each document; copied.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            The ids, in order.

        Raises:
            InvalidTextError: If a text or id is not a string.
            InvalidArgumentError: If the numbers differ, an id occurs twice, or metadata is not JSON.
        """

    def add_encoded(
        self,
        documents: Iterable[tuple[str, str] | tuple[str, str, Mapping[str, Any] | None]],
        vectors: Mapping[str, Any],
        *,
        fingerprints: Mapping[str, FingerprintLike],
    ) -> list[str]:
        """Adds documents whose vectors were made elsewhere, by the same models; otherwise as `add`. Loads no model.

        Everything is checked before any work is done, and committed in batches. Documents that are stored with the
        same text keep their vectors, so a job that was interrupted can add the same again.

        Args:
            documents: (id, text) or (id, text, metadata) for each.
            vectors: For each leg with a model, what its encoder's `encode_documents` returns for all the texts, in
                order; of a part of a document (`korag.splitting`), for ``chunk.searched``. Entries of empty texts are
                ignored. Legs without a model, such as BM25, read the texts. Tokens are pooled here if the collection
                pools them; documents that it would split into windows are refused.
            fingerprints: For each of these legs, the encoder's `fingerprint`, or its `to_dict`.

        Returns:
            The ids, in order.

        Raises:
            InvalidTextError: If a text or id is not a string.
            InvalidArgumentError: If an id occurs twice, metadata is not JSON, vectors of a leg are missing or have
                another shape, or a document is longer than a window.
            FingerprintError: If they were made by other encoders than the collection's.
            IndexStateError: If this store cannot take vectors.
        """
        name = type(self).__name__
        raise IndexStateError(
            f"{name}은(는) 다른 곳에서 만든 벡터를 받지 않습니다. add로 글을 넣으면 여기서 인코딩합니다.",
            f"{name} does not take vectors made elsewhere; add the texts with `add`, which encodes them here.",
        )

    @abstractmethod
    def delete(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> int:
        """Removes documents by id, by filter, or those among `ids` that match the filter.

        Returns:
            How many were removed. Unknown ids are ignored.

        Raises:
            InvalidArgumentError: If neither is given.
        """

    @abstractmethod
    def get(self, ids: Sequence[str] | None = None, *, where: Mapping[str, Any] | None = None) -> list[StoredDocument]:
        """Returns the documents that exist: by id in the order given, otherwise in insertion order.

        Ids, and names and strings in `where`, are compared in NFC.
        """

    @abstractmethod
    def __len__(self) -> int:
        """Number of documents."""

    def update_metadata(
        self,
        ids: Sequence[str],
        metadata: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        replace: bool = False,
    ) -> list[str]:
        """Changes the metadata of documents, all of them or none. Texts, vectors and places stay; nothing is encoded.

        Args:
            ids: The documents, all different.
            metadata: A dict of JSON values for all of them, or a list with one for each; copied. Its keys are set, the
                document's others stay; a value that is a dict replaces the old one as a whole.
            replace: The document has these keys only.

        Returns:
            The ids, in order.

        Raises:
            InvalidTextError: If an id is not a string.
            InvalidArgumentError: If a document does not exist, an id occurs twice, the numbers differ, or metadata is
                not JSON.
        """
        change = MetadataChange(ids, metadata, replace=replace)
        stored = self.get(change.ids)
        check_known(change.ids, [document.id for document in stored])
        if changed := [new for old in stored if not is_same(new := change.apply(old), old)]:
            self.add(
                [document.text for document in changed],
                ids=[document.id for document in changed],
                metadata=[document.metadata for document in changed],
                show_progress=False,
            )
        return change.ids

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """Number of documents that match a filter; of all documents without one."""
        return len(self) if where is None else len(self.get(where=where))

    def ids(self, where: Mapping[str, Any] | None = None) -> list[str]:
        """Returns the ids of the documents that match a filter, or of all, in insertion order."""
        return [document.id for document in self.get(where=where)]

    def keep_only(self, ids: Iterable[str]) -> int:
        """Removes all documents except those with these ids; all documents for none.

        After adding whatever there is now, this drops what there is no more.

        Returns:
            How many were removed. Unknown ids are ignored.

        Raises:
            InvalidTextError: If an id is not a string.
        """
        kept = {to_nfc(id_) for id_ in check_ids(ids)}
        gone = [id_ for id_ in self.ids() if to_nfc(id_) not in kept]
        return self.delete(gone) if gone else 0

    def add_stream(
        self,
        documents: Iterable[tuple[str, str] | tuple[str, str, Mapping[str, Any] | None]],
        *,
        total: int | None = None,
        show_progress: bool | None = None,
    ) -> int:
        """Adds documents from an iterable of any length in constant memory.

        Documents are checked, encoded and committed as many at a time as take about 20 seconds, at most 2,048. Those
        already stored with the same text and metadata are skipped, so after an interruption the same call continues
        where it stopped. Others are added as `add` does.

        Args:
            documents: (id, text) or (id, text, metadata) for each; may be a generator.
            total: Their number, for the progress bar's estimate of the time left; None if unknown.
            show_progress: Show a progress bar; None shows one in a terminal.

        Returns:
            How many were added or replaced.

        Raises:
            InvalidTextError: If a text or id is not a string. Batches before it are stored.
            InvalidArgumentError: If an entry is something else, an id occurs twice in a batch, or metadata is not
                JSON.
        """

        def add(some: list[StoredDocument]) -> None:
            self.add(
                [document.text for document in some],
                ids=[document.id for document in some],
                metadata=[document.metadata for document in some],
                show_progress=False,
            )

        return stream_into(documents, COMMIT_DOCUMENTS, get=self.get, add=add, total=total, show_progress=show_progress)
