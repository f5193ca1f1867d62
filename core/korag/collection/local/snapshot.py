"""Snapshots: the live rows of every segment at one moment, which is what a search sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import numpy as np
from cachetools import LRUCache

from korag.collection.local.database import Database
from korag.collection.local.segment_stores import SegmentStore
from korag.collection.local.segments import Segment, SegmentInfo
from korag.collection.local.tables import Keys
from korag.collection.local.views import repeated
from korag.errors import SegmentError
from korag.forking import Lock
from korag.legs.base import Codec, SegmentSlice
from korag.scoring import Ints

FILTERS = 32
"""Filter results cached per snapshot; each filter is a full scan."""
FEW = 4_096
"""Documents whose keys are looked up one by one; for more, all keys are read."""


@dataclass(frozen=True)
class SegmentReader:
    """A segment, and which of its rows are live.

    Attributes:
        info: What the database records about it.
        segment: Its content, in the current layout of all codecs.
        keys: Key of each row, as a copy in memory. Shape: (rows,).
        live: Rows whose document still exists, ascending. Shape: (live rows,).
    """

    info: SegmentInfo
    segment: Segment
    keys: Keys
    live: Ints

    @cached_property
    def legs(self) -> dict[str, SegmentSlice]:
        """The live documents, as each leg sees them."""
        return {leg: SegmentSlice(stored.arrays, self.live) for leg, stored in self.segment.legs.items()}

    @property
    def live_bytes(self) -> int:
        """Approximate size of the live rows."""
        return self.info.size * len(self.live) // max(1, self.info.rows)

    def only(self, keys: Keys) -> SegmentReader:
        """The same segment, whose live rows are those with one of these keys."""
        return replace(self, live=np.flatnonzero(np.isin(self.keys, keys, assume_unique=True)))

    def without(self, keys: Keys) -> SegmentReader:
        """The same segment, in which the rows with one of these keys are no longer live."""
        dead = np.isin(self.keys[self.live], keys)
        return replace(self, live=self.live[~dead]) if dead.any() else self

    def rows(self, allowed: Keys) -> Ints:
        """Live rows whose key is among `allowed`."""
        return self.live[np.isin(self.keys[self.live], allowed, assume_unique=True)]


@dataclass(frozen=True)
class Snapshot:
    """All segments at one generation of the database."""

    generation: int
    readers: list[SegmentReader]
    _filtered: LRUCache[str, FilteredRows] = field(default_factory=lambda: LRUCache(FILTERS), repr=False)
    _lock: Lock = field(init=False, repr=False)

    def __post_init__(self) -> None:
        filtered = self._filtered
        object.__setattr__(self, "_lock", Lock(lambda: LRUCache.__init__(filtered, FILTERS)))

    def count_rows(self, keys: Iterable[int]) -> dict[int, int]:
        """The number of live rows of each key: one if the document has vectors."""
        wanted = np.fromiter(keys, np.int64)
        rows = np.zeros(len(wanted), np.int64)
        for reader in self.readers if len(wanted) else ():
            rows += np.isin(wanted, reader.keys[reader.live])
        return dict(zip(wanted.tolist(), rows.tolist(), strict=True))

    def select(self, condition: tuple[str, Sequence[object]] | None, database: Database) -> FilteredRows:
        """Returns the documents that meet a condition; cached.

        Args:
            condition: SQL and its parameters; None for all documents.
            database: At this generation, that is, inside `SnapshotReader.reading`.
        """
        name = repr(condition)
        with self._lock:
            known = self._filtered.get(name)
        if known is None:
            allowed = None if condition is None else database.keys(*condition)
            rows = [reader.live if allowed is None else reader.rows(allowed) for reader in self.readers]
            keys = [reader.keys[own] for reader, own in zip(self.readers, rows, strict=True)]
            known = FilteredRows(self.readers, rows, np.concatenate([np.zeros(0, np.int64), *keys]))
            with self._lock:
                self._filtered[name] = known
        return known


@dataclass(frozen=True)
class FilteredRows:
    """The documents a search may find. Shared between searches: do not write to it.

    Attributes:
        readers: The segments.
        rows: Of each segment, ascending.
        keys: Keys of the rows of all segments, concatenated.
    """

    readers: list[SegmentReader]
    rows: list[Ints]
    keys: Keys

    def slices(self, leg: str) -> list[SegmentSlice]:
        """The documents, as one leg sees them."""
        parts = zip(self.readers, self.rows, strict=True)
        return [SegmentSlice(reader.legs[leg].arrays, rows) for reader, rows in parts if len(rows)]


class SnapshotReader:
    """Reads snapshots, and keeps the last one while nothing changes.

    Args:
        database: Which segments and documents there are.
        segments: Where the segments are.
        codecs: Of each leg.
        dims: Size of the encoder's vectors, for those legs that have one.
    """

    def __init__(
        self,
        database: Database,
        segments: SegmentStore,
        codecs: Mapping[str, Codec],
        dims: Mapping[str, int] | None = None,
    ) -> None:
        self._dims = dims
        self._database = database
        self._segments = segments
        self._codecs = codecs
        self._last: Snapshot | None = None
        self._ahead: dict[SegmentInfo, tuple[int, SegmentReader]] = {}
        self._lock = Lock()

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """The current snapshot; whatever is read from the database inside is of the same moment.

        Must not begin inside a transaction or `Database.reading`.

        Raises:
            SegmentError: If a segment is missing or damaged.
        """
        with ExitStack() as stack:
            yield self._begin(stack)

    def _begin(self, stack: ExitStack) -> Snapshot:
        failed = -1
        with self._lock:  # until the moment is fixed, so that a thread never finds a snapshot newer than its own moment
            while True:
                with ExitStack() as attempt:
                    attempt.enter_context(self._database.reading())
                    generation = self._database.generation()
                    try:
                        snapshot = self._at(generation)
                    except SegmentError:
                        # Another process may have merged segments since and taken the old ones away: then read again.
                        if generation == failed:
                            raise
                        failed = generation
                    else:
                        stack.push(attempt.pop_all())
                        return snapshot

    @repeated
    def read(self) -> Snapshot:
        """Returns the current snapshot, without keeping the database at its moment.

        Raises:
            SegmentError: If a segment is missing or damaged.
        """
        with self.reading() as snapshot:
            return snapshot

    def _at(self, generation: int) -> Snapshot:
        """The snapshot of the moment that the database is read at."""
        if self._last is not None and any(reader.segment.is_truncated for reader in self._last.readers):
            self._last = None  # opening the file again finds out more
        if self._last is None or self._last.generation != generation:
            self._last = self._next(generation)
            for reader in self._last.readers:
                self._ahead.pop(reader.info, None)
        return self._last

    def _next(self, generation: int) -> Snapshot:
        known = dict(self._ahead)
        if self._last is not None:
            known |= {reader.info: (self._last.generation, reader) for reader in self._last.readers}
        logged = {since: self._database.deleted_since(since) for since in {since for since, _ in known.values()}}
        every = cache(self._database.keys)
        readers = []
        for info in self._database.segments():
            since, reader = known.get(info) or (-1, self._open(info))
            if (deleted := logged.get(since)) is not None:
                readers.append(reader.without(deleted))
            else:
                few = bool(logged) and len(reader.keys) <= FEW
                readers.append(reader.only(self._database.existing(reader.keys) if few else every()))
        return Snapshot(generation, readers)

    def expect(self, info: SegmentInfo, generation: int) -> None:
        """Opens a segment before it is named, so that no search has to wait for that.

        Args:
            info: The segment.
            generation: All its rows were live then.
        """
        reader = self._open(info)
        with self._lock:
            self._ahead[info] = (generation, reader)

    def forget(self, infos: Iterable[SegmentInfo]) -> None:
        """Ends `expect`."""
        with self._lock:
            for info in infos:
                self._ahead.pop(info, None)

    def close(self) -> None:
        """Lets go of all segments; searches in progress keep theirs until they end."""
        with self._lock:
            self._last = None
            self._ahead.clear()

    def _open(self, info: SegmentInfo) -> SegmentReader:
        segment = self._segments.read(info).read(self._codecs, dims=self._dims, file=info.name)
        # Such a key would be given to another document later, whose vectors these would then be.
        if len(segment.keys) and int(segment.keys.max()) > (last := self._database.last_key()):
            raise self._database.damaged(f"sqlite_sequence: {last} < {segment.keys.max()}")
        return SegmentReader(info, segment, np.array(segment.keys), np.arange(len(segment.keys)))
