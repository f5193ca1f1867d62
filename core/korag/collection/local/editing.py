"""Adding, changing and removing documents, while others search and write."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from korag.collection.adding import Bar, add_in_batches, even_pace, pace_of
from korag.collection.documents import COMMIT_DOCUMENTS, StoredDocument, is_same, to_json
from korag.collection.encoded import Represent, encode_here
from korag.collection.local.database import Database
from korag.collection.local.learning import Learner
from korag.collection.local.merging import Merger
from korag.collection.local.segment_stores import SegmentStore
from korag.collection.local.segments import LegArrays, Segment
from korag.collection.local.snapshot import SnapshotReader
from korag.collection.local.views import repeated
from korag.collection.local.writing import Writer
from korag.collection.metadata import MetadataChange, check_known
from korag.encoders.progress import encoding_documents
from korag.encoders.reports import one_call
from korag.errors import CollectionLockedError, InvalidArgumentError
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
        self._learner = Learner(database, segments, legs)

    # -- adding -------------------------------------------------------------------------------------------

    def add(self, documents: Sequence[StoredDocument], *, show_progress: bool | None) -> None:
        """Encodes documents and adds them in batches, each in one commit; ids all different."""

        def add(batch: list[StoredDocument], bar: Bar) -> list[StoredDocument]:
            return self._add(batch, encode_here, bar)

        self._check_readable(documents)
        add_in_batches(documents, add, pace=pace_of(self._legs), show_progress=show_progress)

    def add_represented(self, documents: Sequence[StoredDocument], represent: Represent) -> None:
        """Adds documents whose vectors exist, likewise."""

        def add(batch: list[StoredDocument], bar: Bar) -> list[StoredDocument]:
            return self._add(batch, represent, bar)

        self._check_readable(documents)
        add_in_batches(documents, add, pace=even_pace())

    def _check_readable(self, documents: Sequence[StoredDocument]) -> None:
        if documents:
            self._reader.read()  # merging reads every segment: a damaged one is an error before any work

    def _add(self, documents: list[StoredDocument], represent: Represent, bar: Bar) -> list[StoredDocument]:
        """Adds a batch. Returns those documents that were not there with the same text."""
        keys, is_changed = self._compare(documents)
        bar.skip(len(keys))
        new: list[StoredDocument] = []
        with bar.part(len(documents) - len(keys)):
            while is_changed:
                new = [document for document in documents if document.id not in keys]
                kept = {keys[document.id]: document for document in documents if document.id in keys}
                lost = self._write(kept, new, self._encode(new, represent))
                if lost is None:
                    continue
                if not lost:
                    break
                keys = {id_: key for id_, key in keys.items() if key not in lost}
        if len(keys) < len(documents):
            self._merger.merge_if_worth()
        return new

    def _write(
        self,
        kept: Mapping[int, StoredDocument],
        new: Sequence[StoredDocument],
        encoded: tuple[list[int], dict[str, LegArrays]] | None,
    ) -> set[int] | None:
        """Commits a batch, unless another process has replaced or removed documents since they were looked up.

        Args:
            kept: Documents whose texts and vectors stay, by key.
            new: The others.
            encoded: As of `_encode`.

        Returns:
            The keys of `kept` that do not exist any more; nothing is written then. None if nothing is written because
            another process was the first whose vectors a codec learned from: then they must be encoded like those.
        """
        is_renewed = False
        with self._writer.writing() as publish:
            if encoded is not None and not self._learner.is_current(encoded[1]):
                return None
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
                    is_renewed = self._learner.adopt(legs, publish)
                    info = self._segments.prepare(Segment(inserted[rows], legs))
                    publish(info)
                    self._database.replace_segments([], [info])
        if is_renewed:
            self._reader.read()  # lets go of the old files
            with contextlib.suppress(CollectionLockedError):  # the documents are committed; a later write removes them
                self._writer.clean()
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
            if old is not None and old.content == document.content and rows[key] == (0 if is_empty(old.text) else 1):
                keys[document.id] = key
                is_changed |= not is_same(document, old)
        return keys, is_changed or len(keys) < len(documents)

    def _encode(
        self, documents: Sequence[StoredDocument], represent: Represent
    ) -> tuple[list[int], dict[str, LegArrays]] | None:
        """Positions of those documents that are not empty, and what each leg stores of them; None if all are."""
        filled = [index for index, document in enumerate(documents) if not is_empty(document.text)]
        if not filled:
            return None
        given = [documents[index] for index in filled]
        with one_call() as call:  # the one of `add_in_batches`
            call.name([document.id for document in given])
        encoders = sum(leg.encoder is not None for leg in self._legs.values())
        vectors = {}
        for name, leg in self._legs.items():
            with encoding_documents(0 if leg.encoder is None else len(given) / encoders):
                vectors[name] = represent(name, leg, given)
        snapshot = self._reader.read()
        return filled, {name: self._learner.encode(name, own, len(given), snapshot) for name, own in vectors.items()}

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

    def rename(self, ids: Mapping[str, str]) -> None:
        """Gives documents other ids, all in one commit.

        Args:
            ids: New ids, all different, by old ones.
        """
        with self._writer.writing():
            keys = {to_nfc(id_): key for key, id_ in self._database.id_by_key(list(ids)).items()}
            check_known(list(ids), keys)
            targets = {keys[to_nfc(old)]: new for old, new in ids.items()}
            for key, id_ in self._database.id_by_key(list(ids.values())).items():
                if key not in targets:
                    raise InvalidArgumentError(
                        f"id {id_!r:.80}은(는) 다른 문서의 것입니다. 다른 id를 쓰거나 그 문서를 먼저 지우세요. "
                        "아무것도 "
                        "바꾸지 않았습니다.",
                        f"The id {id_!r:.80} is another document's. Use another id, or delete that document first; "
                        "nothing was changed.",
                    )
            # By way of ids that nobody has, so that two documents can exchange theirs.
            self._rewrite_ids({key: f"korag:renaming:{key}" for key in targets})
            self._rewrite_ids(targets)

    def _rewrite_ids(self, targets: Mapping[int, str]) -> None:
        keys = list(targets)
        for first in range(0, len(keys), COMMIT_DOCUMENTS):  # not all texts in memory at once
            found = self._database.documents(keys[first : first + COMMIT_DOCUMENTS])
            self._database.rewrite((key, replace(document, id=targets[key])) for key, document in found.items())

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
