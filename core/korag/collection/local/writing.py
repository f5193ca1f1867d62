"""Write transactions of a collection: documents, manifest and segment files change together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

from korag.collection.local.database import Database
from korag.collection.local.manifest import check_same_codecs, current_manifest
from korag.collection.local.segment_stores import SegmentStore
from korag.collection.local.segments import SegmentInfo
from korag.legs.base import Codec


class Writer:
    """Begins the write transactions of one collection.

    Args:
        database: Documents and manifest.
        segments: Vectors.
        codecs: Of each leg.
        place: The collection in messages.
    """

    def __init__(self, database: Database, segments: SegmentStore, codecs: Mapping[str, Codec], place: str) -> None:
        self._database = database
        self._segments = segments
        self._codecs = codecs
        self._place = place
        self._cleaned = False

    @contextlib.contextmanager
    def writing(self) -> Iterator[Callable[[SegmentInfo], None]]:
        """A write transaction. The first one also removes files that a killed process left behind.

        Yields:
            What names a prepared segment in it; the segment is removed again if the transaction fails.

        Segment files are written inside the transaction, or locked until they are named in one, so whoever holds it
        knows that other files the database does not name belong to nobody. New segments are in the current layout of
        their codecs, so an older manifest is replaced in the same transaction.
        """
        with self._database.transaction() as undo:
            # Both before any file is touched. The manifest is read each time, because another process may have upgraded
            # the folder since it was opened here.
            self._database.check_writable()
            manifest, is_recorded = current_manifest(self._database, self._place)
            check_same_codecs(manifest, self._codecs, self._place)
            if not self._cleaned:
                self._keep_named()
                self._cleaned = True
            if not is_recorded:
                self._database.write_legs(manifest)

            def publish(info: SegmentInfo) -> None:
                undo.callback(self._segments.discard, info)
                self._segments.publish(info)

            yield publish

    def clean(self) -> None:
        """Removes segments that the database no longer names."""
        with self._database.transaction():
            self._keep_named()

    def replace(self, old: list[SegmentInfo], new: list[SegmentInfo]) -> bool:
        """Names new segments in the place of old ones; returns False if some of those are no longer named."""
        with self.writing() as publish:
            is_current = set(old) <= set(self._database.segments())
            if is_current:
                for info in new:
                    publish(info)
                # A document deleted meanwhile is dead in the new segment too: its key does not exist.
                self._database.replace_segments(old, new)
        return is_current

    def _keep_named(self) -> None:
        self._segments.keep_only({info.name for info in self._database.segments()}, self._database.folder)
