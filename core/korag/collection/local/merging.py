"""Merging segments, while others search and write."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from korag.collection.local.segment_readers import SegmentReader
from korag.collection.local.segment_stores import SegmentStore
from korag.collection.local.segments import CodecVersion, LegArrays, Segment, SegmentInfo
from korag.collection.local.snapshot import Snapshot, SnapshotReader
from korag.collection.local.writing import Writer
from korag.errors import CollectionLockedError, StorageFullError
from korag.forking import Lock
from korag.legs.base import Leg, SegmentSlice

TIER = 16
"""Segments of similar size that are merged into one, so that their number grows logarithmically."""
MERGED_BYTES = 256 * 2**20
"""Greatest size of a merged segment. A merge holds a few times as much in memory, and what `Codec.merge` decodes."""
MERGED_DOCUMENTS = 65_536
"""Most documents of a merged segment, so that a row fits into 16 bits."""


class Merger:
    """Merges the segments of one collection; one thread at a time does.

    Args:
        writer: Names the merged segments.
        segments: Where they are kept.
        reader: Where the old ones are read.
        legs: The collection's legs by name.
    """

    def __init__(self, writer: Writer, segments: SegmentStore, reader: SnapshotReader, legs: Mapping[str, Leg]) -> None:
        self._writer = writer
        self._segments = segments
        self._reader = reader
        self._legs = legs
        self._merging = Lock()

    def merge_all(self) -> None:
        """Merges all segments, dead rows left out."""
        with self._merging:
            self._merge(lambda snapshot: snapshot.readers)

    def merge_if_worth(self) -> None:
        """Merges those that `choose_merge` chooses, unless another thread is merging."""
        if choose_merge(self._reader.read()) and self._merging.acquire(blocking=False):
            try:
                # The documents are committed, so another process that writes for long is no reason to fail, nor is a
                # disk without space for the merged segment next to the old ones. A later add merges them.
                with contextlib.suppress(CollectionLockedError, StorageFullError):
                    self._merge(choose_merge)
            finally:
                self._merging.release()

    def _merge(self, choose: Callable[[Snapshot], list[SegmentReader]]) -> None:
        with self._writer.writing():  # finds out before any work if it cannot be written to
            pass
        while not self._merged(choose, self._reader.read()):
            pass
        self._writer.clean()

    def _merged(self, choose: Callable[[Snapshot], list[SegmentReader]], snapshot: Snapshot) -> bool:
        """Returns False if somebody else has replaced the segments meanwhile."""
        if not (readers := choose(snapshot)):
            return True
        new: list[SegmentInfo] = []
        try:
            for segment in merge_segments(readers, self._legs):
                new.append(self._segments.prepare(segment))
                self._reader.expect(new[-1], snapshot.generation)
            is_current = self._writer.replace([reader.info for reader in readers], new)
            self._reader.read()
        finally:
            self._reader.forget(new)
            for info in new:
                self._segments.abandon(info)
        return is_current


def choose_merge(snapshot: Snapshot) -> list[SegmentReader]:
    """Returns the segments to merge now, into one: a full tier of small ones, or those that are mostly dead.

    A tier is full if it has `TIER` segments, or enough for the largest segment there may be. One that is more than half
    as large stays as it is, since no two of them would fit into one.
    """
    tiers: dict[int, list[SegmentReader]] = {}
    for reader in snapshot.readers:
        if _share(reader) <= 0.5:
            tiers.setdefault(int(math.log(max(1, len(reader.live)), TIER)), []).append(reader)
    for tier in tiers.values():
        if len(tier) >= TIER or sum(map(_share, tier)) > 1:
            return next(_batches(tier))
    return next(_batches([reader for reader in snapshot.readers if len(reader.live) * 2 < reader.info.rows]), [])


def merge_segments(readers: Sequence[SegmentReader], legs: Mapping[str, Leg]) -> Iterator[Segment]:
    """Yields new segments made of the live rows of old ones."""
    for batch in _batches([piece for reader in readers for piece in _pieces(reader)]):
        if filled := [reader for reader in batch if len(reader.live)]:
            yield _merge(filled, legs)


def _share(reader: SegmentReader) -> float:
    """The live rows as a share of the largest segment there may be."""
    return max(reader.live_bytes / MERGED_BYTES, len(reader.live) / MERGED_DOCUMENTS)


def _pieces(reader: SegmentReader) -> Iterator[SegmentReader]:
    """A segment in parts, if it has more rows than there may be: older KoRAGs merged by size alone."""
    for start in range(0, max(1, len(reader.live)), MERGED_DOCUMENTS):
        yield replace(reader, live=reader.live[start : start + MERGED_DOCUMENTS])


def _batches(readers: Sequence[SegmentReader]) -> Iterator[list[SegmentReader]]:
    """Segments that fit into one, in the order of their keys."""
    batch: list[SegmentReader] = []
    size = documents = 0
    for reader in sorted(readers, key=lambda reader: int(reader.keys[0]) if len(reader.keys) else 0):
        size, documents = size + reader.live_bytes, documents + len(reader.live)
        if batch and (size > MERGED_BYTES or documents > MERGED_DOCUMENTS):
            yield batch
            batch, size, documents = [], reader.live_bytes, len(reader.live)
        batch.append(reader)
    if batch:
        yield batch


def _merge(readers: Sequence[SegmentReader], legs: Mapping[str, Leg]) -> Segment:
    keys = np.concatenate([reader.live_keys for reader in readers])
    merged = {}
    for name, leg in legs.items():
        slices = [_checked(reader, name, leg) for reader in readers]
        merged[name] = LegArrays(leg.codec.merge(slices, leg.concat), CodecVersion.of(leg.codec))
    return Segment(keys, merged)


def _checked(reader: SegmentReader, name: str, leg: Leg) -> SegmentSlice:
    """The live documents, as a leg sees them, of which all is checked: a merge reads all, and vouches for it anew."""
    if reader.segment.mapped is not None:
        reader.segment.check(name, leg.codec, file=reader.info.name)
    return reader.legs[name]
