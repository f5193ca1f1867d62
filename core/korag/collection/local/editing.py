"""Adding, changing and removing documents, while others search and write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from korag.collection.documents import (
    COMMIT_CHARACTERS,
    COMMIT_DOCUMENTS,
    StoredDocument,
    in_batches,
    is_same,
    to_json,
    warn_empty,
)
from korag.collection.local.database import Database
from korag.collection.local.merging import Merger
from korag.collection.local.segment_stores import SegmentStore
from korag.collection.local.segments import LegArrays, Segment
from korag.collection.local.snapshot import SnapshotReader
from korag.collection.local.views import repeated
from korag.collection.local.writing import Writer
from korag.collection.metadata import MetadataChange, check_known
from korag.legs.base import Leg
from korag.text import is_empty, to_nfc


class Editor:
    """Changes the documents of one collection.

    Args:
        database: Documents and metadata.
        segments: Where vectors are kept.
        reader: Where they are read.
        writer: Begins transactions.
        merger: Merges segments when there are many.
        legs: The collection's legs by name.
    """

    def __init__(
        self,
        database: Database,
        segments: SegmentStore,
        reader: SnapshotReader,
        writer: Writer,
        merger: Merger,
        legs: Mapping[str, Leg],
    ) -> None:
        self._database = database
        self._segments = segments
        self._reader = reader
        self._writer = writer
        self._merger = merger
        self._legs = legs

    # -- adding -------------------------------------------------------------------------------------------

    def add(self, documents: Sequence[StoredDocument], *, show_progress: bool | None) -> None:
        """Adds documents in batches, each in one commit; ids all different."""
        if documents:
            self._reader.read()  # merging reads every segment: a damaged one is an error before any work
        for batch in in_batches(documents, COMMIT_DOCUMENTS, COMMIT_CHARACTERS):
            self._add(batch, show_progress)

    def _add(self, documents: list[StoredDocument], show_progress: bool | None) -> None:  # noqa: FBT001
        keys, is_changed = self._compare(documents)
        while is_changed:
            new = [document for document in documents if document.id not in keys]
            kept = {keys[document.id]: document for document in documents if document.id in keys}
            lost = self._write(kept, new, self._encode(new, show_progress))
            if not lost:
                break
            keys = {id_: key for id_, key in keys.items() if key not in lost}
        if len(keys) < len(documents):
            self._merger.merge_if_worth()

    def _write(
        self,
        kept: Mapping[int, StoredDocument],
        new: Sequence[StoredDocument],
        encoded: tuple[list[int], dict[str, LegArrays]] | None,
    ) -> set[int]:
        """Commits a batch, unless another process has replaced or removed documents since they were looked up.

        Args:
            kept: Documents whose texts and vectors stay, by key.
            new: The others.
            encoded: As of `_encode`.

        Returns:
            The keys of `kept` that do not exist any more; nothing is written then.
        """
        with self._writer.writing() as publish:
            stored = self._database.details([document.id for document in kept.values()])
            if lost := kept.keys() - stored.keys():
                return lost
            self._database.rewrite(
                (key, document)
                for key, document in kept.items()
                if stored[key] != (document.id, to_json(document.metadata))
            )
            if new:
                inserted = self._database.upsert(new)
                if encoded is not None:
                    rows, legs = encoded
                    info = self._segments.prepare(Segment(inserted[rows], legs))
                    publish(info)
                    self._database.replace_segments([], [info])
        return set()

    @repeated
    def _compare(self, documents: Sequence[StoredDocument]) -> tuple[dict[str, int], bool]:
        """Finds what is there already.

        Returns:
            Keys of the documents whose text and vectors are stored, by id; and True if there is anything to write.
        """
        keys: dict[str, int] = {}
        is_changed = False
        with self._reader.reading() as snapshot:
            stored = self._database.intact([document.id for document in documents])
            rows = snapshot.count_rows(key for key, _ in stored.values())
        for document in documents:
            key, old = stored.get(to_nfc(document.id), (0, None))
            # A search must find it once; adding it again is what repairs one that is not found, or found twice.
            if old is not None and old.text == document.text and rows[key] == (0 if is_empty(old.text) else 1):
                keys[document.id] = key
                is_changed |= not is_same(document, old)
        return keys, is_changed or len(keys) < len(documents)

    def _encode(
        self,
        documents: Sequence[StoredDocument],
        show_progress: bool | None,  # noqa: FBT001
    ) -> tuple[list[int], dict[str, LegArrays]] | None:
        """Positions of those documents that are not empty, and what each leg stores of them; None if all are."""
        filled = [index for index, document in enumerate(documents) if not is_empty(document.text)]
        if len(filled) < len(documents):
            warn_empty(len(documents) - len(filled), len(documents))
        if not filled:
            return None
        texts = [documents[index].text for index in filled]
        return filled, {
            name: LegArrays.encode(leg.codec, leg.encode_documents(texts, show_progress=show_progress), len(texts))
            for name, leg in self._legs.items()
        }

    # -- changing and removing ----------------------------------------------------------------------------

    def update_metadata(self, change: MetadataChange) -> None:
        """Changes metadata, all in one commit."""
        with self._writer.writing():
            ids = self._database.id_by_key(change.ids)
            check_known(change.ids, ids.values())
            self._database.rewrite(self._changed(list(ids), change))

    def _changed(self, keys: Sequence[int], change: MetadataChange) -> Iterator[tuple[int, StoredDocument]]:
        for first in range(0, len(keys), COMMIT_DOCUMENTS):  # not all texts in memory at once
            for key, old in self._database.documents(keys[first : first + COMMIT_DOCUMENTS]).items():
                if not is_same(new := change.apply(old), old):
                    yield key, new

    def delete(self, condition: tuple[str, Sequence[object]], ids: Sequence[str] | None) -> int:
        """Removes documents an SQL condition holds for; only among `ids` if given. Returns how many."""
        with self._writer.writing():
            keys = self._database.keys(*condition, ids=ids)
            if len(keys):
                self._database.delete(keys)
        return len(keys)

    def keep_only(self, ids: Sequence[str]) -> int:
        """Removes all other documents. Returns how many."""
        with self._writer.writing():
            keys = np.setdiff1d(self._database.keys(), self._database.keys_of(ids), assume_unique=True)
            if len(keys):
                self._database.delete(keys)
        return len(keys)
