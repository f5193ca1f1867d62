"""What a search sees: the live rows of every segment at one moment."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.collection.local.database import Database, Keys
from korag.collection.local.segments import SegmentInfo, SegmentStore
from korag.errors import SegmentError
from korag.legs.base import Arrays, Leg, LiveSegment
from korag.scoring import Ints

_TIER = 16
"""Segments of about the same size that are merged into one, so that their number grows with the logarithm."""
_FILTERS = 32
"""Filters whose documents are remembered: the same few come again and again, and SQLite asks every document."""
_MERGED_BYTES = 256 * 2**20
"""Size of a merged segment at most: a merge holds a few times as much in memory."""


@dataclass(frozen=True)
class SegmentReader:
    """One segment, and which of its rows are live.

    Attributes:
        entry: What the database knows of it.
        arrays: All its arrays.
        keys: Key of each row. Shape: (rows,).
        live: Rows whose document still exists, ascending. Shape: (live rows,).
    """

    entry: SegmentInfo
    arrays: Arrays
    keys: Keys
    live: Ints

    @cached_property
    def legs(self) -> dict[str, LiveSegment]:
        """Each leg's part of it, by the leg's name: an array is called ``leg.array``."""
        live = np.zeros(len(self.keys), np.bool_)
        live[self.live] = True
        parts: dict[str, dict[str, NDArray[Any]]] = {}
        for name, array in self.arrays.items():
            leg, dot, rest = name.partition(".")
            if dot:
                parts.setdefault(leg, {})[rest] = array
        return {leg: LiveSegment(arrays, live) for leg, arrays in parts.items()}

    @property
    def live_bytes(self) -> int:
        """About what its live rows take."""
        return self.entry.size * len(self.live) // max(1, self.entry.rows)

    def rows(self, allowed: Keys) -> Ints:
        """Live rows whose key is among `allowed`."""
        return self.live[np.isin(self.keys[self.live], allowed, assume_unique=True)]


@dataclass(frozen=True)
class Snapshot:
    """All segments at one generation of the database."""

    generation: int
    views: list[SegmentReader]


@dataclass(frozen=True)
class FilteredRows:
    """The documents a search may find; nothing of it is to be written to.

    Attributes:
        snapshot: Where from.
        rows: Of each view, ascending.
        keys: Of the rows of all views, end to end.
    """

    snapshot: Snapshot
    rows: list[Ints]
    keys: Keys


class SnapshotReader:
    """Reads snapshots, and keeps the last one while nothing changes."""

    def __init__(self, database: Database, segments: SegmentStore) -> None:
        self._database = database
        self._segments = segments
        self._last: Snapshot | None = None
        self._selections: OrderedDict[str, FilteredRows] = OrderedDict()

    def select(self, condition: tuple[str, Sequence[object]] | None) -> FilteredRows:
        """Returns the documents a condition holds for, remembered while nothing changes.

        Args:
            condition: SQL and its parameters; None for all documents.

        Raises:
            SegmentError: If a segment is missing or damaged.
        """
        name = repr(condition)
        with self._database.lock:
            snapshot = self.read()
            if name in self._selections:
                self._selections.move_to_end(name)
                return self._selections[name]
            # If another process commits between the two reads, these keys are newer than the snapshot: new documents
            # are in no row of it, and deleted ones are left out. The next search reads both anew.
            allowed = None if condition is None else self._database.keys(*condition)
        rows = [view.live if allowed is None else view.rows(allowed) for view in snapshot.views]
        keys = [view.keys[own] for view, own in zip(snapshot.views, rows, strict=True)]
        selection = FilteredRows(snapshot, rows, np.concatenate([np.zeros(0, np.int64), *keys]))
        with self._database.lock:
            if self._last is snapshot:
                self._selections[name] = selection
                if len(self._selections) > _FILTERS:
                    self._selections.popitem(last=False)
        return selection

    def read(self) -> Snapshot:
        """Returns the current snapshot.

        Raises:
            SegmentError: If a segment is missing or damaged.
        """
        with self._database.lock:  # the same lock, or a merge and a search could wait for each other
            while True:
                if self._last is not None and self._database.generation() == self._last.generation:
                    return self._last
                generation, entries, keys = self._database.state()
                try:
                    self._last = Snapshot(generation, [self._view(entry, keys) for entry in entries])
                    self._selections.clear()  # they would keep the old segments in memory
                except SegmentError:
                    # Another process may have merged segments between the two reads: then look again.
                    if self._database.generation() == generation:
                        raise

    def _view(self, entry: SegmentInfo, live_keys: Keys) -> SegmentReader:
        known = {view.entry.name: view for view in self._last.views} if self._last else {}
        arrays = known[entry.name].arrays if entry.name in known else self._segments.read(entry)
        keys: Keys = np.array(arrays["keys"])
        return SegmentReader(entry, arrays, keys, np.flatnonzero(np.isin(keys, live_keys, assume_unique=True)))


def choose_merge(snapshot: Snapshot) -> list[SegmentReader]:
    """Returns the segments to merge now: a full tier of small ones, or those that are mostly dead."""
    tiers: dict[int, list[SegmentReader]] = {}
    for view in snapshot.views:
        if view.live_bytes <= _MERGED_BYTES // 2:  # two larger ones do not fit into one: they would stay as they are
            tiers.setdefault(int(math.log(max(1, len(view.live)), _TIER)), []).append(view)
    for tier in tiers.values():
        if len(tier) >= _TIER:
            return tier
    return [view for view in snapshot.views if len(view.live) * 2 < view.entry.rows]


def merge_views(
    views: Sequence[SegmentReader], legs: Mapping[str, Leg]
) -> Iterator[tuple[dict[str, NDArray[Any]], int]]:
    """Makes new segments of the live rows of old ones.

    Yields:
        The arrays of a segment, and its number of rows.
    """
    order = sorted(views, key=lambda view: int(view.keys[0]) if len(view.keys) else 0)
    batch: list[SegmentReader] = []
    for view in order:
        if batch and sum(v.live_bytes for v in batch) + view.live_bytes > _MERGED_BYTES:
            yield _merge(batch, legs)
            batch = []
        if len(view.live):
            batch.append(view)
    if batch:
        yield _merge(batch, legs)


def _merge(views: Sequence[SegmentReader], legs: Mapping[str, Leg]) -> tuple[dict[str, NDArray[Any]], int]:
    keys = np.concatenate([view.keys[view.live] for view in views])
    arrays: dict[str, NDArray[Any]] = {"keys": keys}
    for name, leg in legs.items():
        vectors = leg.join([leg.unpack(view.legs[name].arrays, view.live) for view in views])
        arrays |= {f"{name}.{array}": value for array, value in leg.pack(vectors).items()}
    return arrays, len(keys)
