"""Snapshots: the live rows of every segment at one moment, which is what a search sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from cachetools import LRUCache

from korag.collection.local.database import Database
from korag.collection.local.filtering import FILTERS, Condition, FilteredRows, Filters
from korag.collection.local.manifest import check_same_codecs
from korag.collection.local.segment_readers import SegmentReader
from korag.collection.local.segment_stores import SegmentStore
from korag.collection.local.segments import SegmentInfo
from korag.collection.local.tables import Keys
from korag.collection.local.views import repeated
from korag.errors import SegmentError
from korag.forking import Lock
from korag.legs.base import Codec


@dataclass(frozen=True)
class Snapshot:
    """All segments at one generation of the database.

    Attributes:
        generation: Of the database.
        last_key: The greatest key of any document so far.
        readers: The segments.
    """

    generation: int
    last_key: int
    readers: list[SegmentReader]
    _filters: Filters = field(repr=False)
    _filtered: LRUCache[str, FilteredRows] = field(default_factory=lambda: LRUCache(FILTERS), repr=False)
    _lock: Lock = field(init=False, repr=False)

    def __post_init__(self) -> None:
        filtered = self._filtered
        object.__setattr__(self, "_lock", Lock(lambda: LRUCache.__init__(filtered, FILTERS)))

    def count_rows(self, keys: Iterable[int]) -> dict[int, int]:
        """The number of live rows of each key: one if the document has vectors."""
        wanted = np.unique(np.fromiter(keys, np.int64))
        found = [reader.keys[reader.rows(wanted)] for reader in self.readers]
        counts = dict.fromkeys(wanted.tolist(), 0)
        for key in np.concatenate([wanted[:0], *found]).tolist():
            counts[key] += 1
        return counts

    def select(self, condition: Condition | None, database: Database) -> FilteredRows:
        """Returns the documents that meet a condition; cached.

        Args:
            condition: None for all documents.
            database: At this generation, that is, inside `SnapshotReader.reading`.
        """
        name = repr(condition)
        with self._lock:
            known = self._filtered.get(name)
        if known is None:
            known = self._all() if condition is None else self._find(condition, database)
            with self._lock:
                self._filtered[name] = known
        return known

    def _all(self) -> FilteredRows:
        return FilteredRows(self.readers, [reader.everything for reader in self.readers])

    def _find(self, condition: Condition, database: Database) -> FilteredRows:
        return self._filters.select(self.readers, self.generation, self.last_key, condition, database)


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
        self._filters = Filters()
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
                            legs = self._database.read_setting("legs")
                            check_same_codecs(legs, self._codecs, self._database.place)
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
        last = self._last
        known = dict(self._ahead)
        if last is not None:
            known |= {reader.info: (last.generation, reader) for reader in last.readers}
        logged = {since: self._database.changes_since(since) for since in {since for since, _ in known.values()}}
        if last is not None:
            logged[last.generation] = self._database.changes_since(last.generation)
        every = cache(self._database.all_keys)
        infos = self._database.segments()
        moved = cache(lambda: _keys_of_others(last.readers if last else (), infos))
        readers = []
        for info in infos:
            since, reader = known.get(info) or (-1 if last is None else last.generation, self._open(info))
            if (changes := logged.get(since)) is None:
                readers.append(reader.only(every()))
                continue
            if info not in known and last is not None:  # others have merged, with what was deleted before that moment
                readers.append(reader.only(np.union1d(moved(), reader.keys[reader.keys > last.last_key])))
            else:
                readers.append(reader)
            readers[-1] = readers[-1].without(changes.deleted)
        return Snapshot(generation, self._database.last_key(), readers, self._filters)

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
        return SegmentReader.of(info, segment)


def _keys_of_others(readers: Iterable[SegmentReader], infos: Iterable[SegmentInfo]) -> Keys:
    """Keys of the live rows of those segments that are not among some, ascending."""
    named = set(infos)
    gone = [reader.live_keys for reader in readers if reader.info not in named]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *gone]))
