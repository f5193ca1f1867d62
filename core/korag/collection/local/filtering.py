"""Results of filters: which rows of each segment meet a condition, brought up to date instead of found anew.

A filter on a million documents takes SQLite seconds. After a change, only documents that are new, or have other
metadata, are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from cachetools import LRUCache

from korag.collection.local.database import Database
from korag.collection.local.segment_readers import Part, SegmentReader
from korag.collection.local.segments import SegmentInfo
from korag.collection.local.tables import Keys
from korag.forking import Lock
from korag.legs.base import SegmentSlice
from korag.scoring import Ints

FILTERS = 32
"""Filters whose results are kept: eight bytes for each document found."""
ANEW = 4
"""If one in so many documents is new or has changed, a filter is evaluated anew: that takes as long."""

Condition = tuple[str, Sequence[object]]
"""SQL and its parameters."""


@dataclass(frozen=True)
class FilteredRows:
    """The documents a search may find. Shared between searches: do not write to it.

    Attributes:
        readers: The segments.
        parts: What of each is found.
    """

    readers: Sequence[SegmentReader]
    parts: Sequence[Part]

    @cached_property
    def keys(self) -> Keys:
        """Keys of the rows of all segments, concatenated."""
        return np.concatenate([np.zeros(0, np.int64), *(part.found for part in self.parts)])

    def slices(self, leg: str) -> list[SegmentSlice]:
        """The documents, as one leg sees them."""
        pairs = zip(self.readers, self.parts, strict=True)
        return [reader.legs[leg].only(part.rows) for reader, part in pairs if len(part.rows)]


@dataclass(frozen=True)
class _Known:
    """A result, at the generation it is of."""

    generation: int
    last_key: int
    parts: Mapping[SegmentInfo, Part]


class Filters:
    """Results of the filters used last, of whatever generation."""

    def __init__(self) -> None:
        known: LRUCache[str, _Known] = LRUCache(FILTERS)
        self._known = known
        self._lock = Lock(lambda: LRUCache.__init__(known, FILTERS))

    def select(
        self, readers: Sequence[SegmentReader], generation: int, last_key: int, condition: Condition, database: Database
    ) -> FilteredRows:
        """Finds the documents that meet a condition.

        Args:
            readers: The segments of a snapshot.
            generation: The snapshot's.
            last_key: The greatest key of any document then.
            condition: The condition.
            database: At this generation.
        """
        name = repr(condition)
        with self._lock:
            known = self._known.get(name)
        parts = None if known is None else _carry(known, readers, generation, condition, database)
        if parts is None:
            allowed = database.keys(*condition)
            parts = [Part(reader.keys, reader.live, reader.rows(allowed)) for reader in readers]
        by_info = {reader.info: part for reader, part in zip(readers, parts, strict=True)}
        with self._lock:
            latest = self._known.get(name)
            if latest is None or latest.generation <= generation:
                self._known[name] = _Known(generation, last_key, by_info)
        return FilteredRows(readers, parts)


def _carry(
    known: _Known, readers: Sequence[SegmentReader], generation: int, condition: Condition, database: Database
) -> list[Part] | None:
    """Brings a result up to date; None if it is of no use.

    A document that was there, and has the same metadata, meets the condition if it did. Where its segment has been
    merged, it is found by its key.
    """
    if known.generation > generation or (changes := database.changes_since(known.generation)) is None:
        return None
    current = {reader.info for reader in readers}
    moved = [part.found for info, part in known.parts.items() if info not in current]
    before = np.sort(np.concatenate([np.zeros(0, np.int64), *moved]))
    pairs = [(reader, _unsure(known, reader, changes.changed)) for reader in readers]
    asked = np.sort(np.concatenate([np.zeros(0, np.int64), *(reader.keys[unsure] for reader, unsure in pairs)]))
    if len(asked) * ANEW > sum(len(reader.live) for reader in readers):
        return None
    met = database.keys_among(asked, *condition) if len(asked) else asked
    return [_brought_up(known.parts.get(reader.info), reader, unsure, before, met) for reader, unsure in pairs]


def _unsure(known: _Known, reader: SegmentReader, changed: Keys) -> Ints:
    """Live rows of which it is not known whether they meet the condition."""
    rows = reader.rows(changed)
    if reader.info not in known.parts:
        rows = np.union1d(rows, reader.live[reader.live_keys > known.last_key])
    return rows


def _brought_up(part: Part | None, reader: SegmentReader, unsure: Ints, before: Keys, met: Keys) -> Part:
    if part is not None and not len(unsure) and part.live is reader.live:
        return part
    found = reader.mask(reader.index.find(before) if part is None else part.rows)
    found[unsure] = False
    found[reader.index.find(met)] = True
    found &= reader.mask(reader.live)
    return Part(reader.keys, reader.live, np.flatnonzero(found))
