"""Merging segments, while others search and write."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from korag.collection.local.segment_stores import SegmentStore
from korag.collection.local.segments import LegArrays, Segment, SegmentInfo
from korag.collection.local.snapshot import SegmentReader, Snapshot, SnapshotReader
from korag.collection.local.writing import Writer
from korag.errors import CollectionLockedError, StorageFullError
from korag.forking import Lock
from korag.legs.base import Leg

TIER = 16
"""Segments of similar size that are merged into one, so that their number grows logarithmically."""
MERGED_BYTES = 256 * 2**20
"""Greatest size of a merged segment; a merge holds a few times as much in memory."""


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
    """Returns the segments to merge now: a full tier of small ones, or those that are mostly dead."""
    tiers: dict[int, list[SegmentReader]] = {}
    for reader in snapshot.readers:
        if reader.live_bytes <= MERGED_BYTES // 2:  # two larger ones do not fit into one and would stay as they are
            tiers.setdefault(int(math.log(max(1, len(reader.live)), TIER)), []).append(reader)
    for tier in tiers.values():
        if len(tier) >= TIER:
            return tier
    return [reader for reader in snapshot.readers if len(reader.live) * 2 < reader.info.rows]


def merge_segments(readers: Sequence[SegmentReader], legs: Mapping[str, Leg]) -> Iterator[Segment]:
    """Yields new segments made of the live rows of old ones."""
    batch: list[SegmentReader] = []
    for reader in sorted(readers, key=lambda reader: int(reader.keys[0]) if len(reader.keys) else 0):
        if batch and sum(r.live_bytes for r in batch) + reader.live_bytes > MERGED_BYTES:
            yield _merge(batch, legs)
            batch = []
        if len(reader.live):
            batch.append(reader)
    if batch:
        yield _merge(batch, legs)


def _merge(readers: Sequence[SegmentReader], legs: Mapping[str, Leg]) -> Segment:
    keys = np.concatenate([reader.keys[reader.live] for reader in readers])
    merged = {}
    for name, leg in legs.items():
        decoded = [leg.codec.decode(reader.legs[name].arrays, reader.live) for reader in readers]
        merged[name] = LegArrays.encode(leg.codec, leg.concat(decoded), len(keys))
    return Segment(keys, merged)
