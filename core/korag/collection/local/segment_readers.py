"""One segment in a snapshot: its content, and which of its rows are live."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from korag.collection.local.segments import Segment, SegmentInfo
from korag.collection.local.tables import Keys
from korag.legs.arrays import is_ascending
from korag.legs.base import SegmentSlice
from korag.scoring import Ints


class KeyIndex:
    """Finds the rows of keys.

    Args:
        keys: Key of each row, all different. Shape: (rows,).
    """

    def __init__(self, keys: Keys) -> None:
        self._rows = None if is_ascending(keys, strictly=True) else np.argsort(keys)
        self._keys = keys if self._rows is None else keys[self._rows]

    def find(self, keys: Keys) -> Ints:
        """Rows of those of some keys, ascending, that there are; ascending, too. Shape: (n,)."""
        if not len(self._keys):
            return np.zeros(0, np.int64)
        begin, end = np.searchsorted(keys, (self._keys[0], self._keys[-1] + 1)).tolist()
        wanted = keys[begin:end]
        places = np.searchsorted(self._keys, wanted)
        places = places[self._keys[places] == wanted]
        return places if self._rows is None else np.sort(self._rows[places])


@dataclass(frozen=True)
class Part:
    """Rows of one segment that a filter finds. Knows nothing of the file, which may be gone.

    Attributes:
        keys: Key of each row of the segment. Shape: (rows of the segment,).
        live: Those that were live. Shape: (live rows,).
        rows: Those found, ascending. Shape: (rows found,).
    """

    keys: Keys
    live: Ints
    rows: Ints

    @cached_property
    def found(self) -> Keys:
        """Keys of the rows found. Shape: (rows found,)."""
        return self.keys if len(self.rows) == len(self.keys) else self.keys[self.rows]


@dataclass(frozen=True)
class SegmentReader:
    """A segment, and which of its rows are live.

    Attributes:
        info: What the database records about it.
        segment: Its content, in the current layout of all codecs.
        keys: Key of each row, as a copy in memory. Shape: (rows,).
        index: Finds them.
        live: Rows whose document still exists, ascending. Shape: (live rows,).
    """

    info: SegmentInfo
    segment: Segment
    keys: Keys
    index: KeyIndex
    live: Ints

    @classmethod
    def of(cls, info: SegmentInfo, segment: Segment) -> SegmentReader:
        """All rows are live."""
        keys = np.array(segment.keys)
        return cls(info, segment, keys, KeyIndex(keys), np.arange(len(keys)))

    @cached_property
    def legs(self) -> dict[str, SegmentSlice]:
        """The live documents, as each leg sees them."""
        return {
            leg: SegmentSlice(stored.arrays, self.live, segment_memo=stored.memo)
            for leg, stored in self.segment.legs.items()
        }

    @cached_property
    def everything(self) -> Part:
        """All live rows."""
        return Part(self.keys, self.live, self.live)

    @property
    def live_keys(self) -> Keys:
        """Key of each live row. Shape: (live rows,)."""
        return self.everything.found

    @property
    def live_bytes(self) -> int:
        """Approximate size of the live rows."""
        return self.info.size * len(self.live) // max(1, self.info.rows)

    def only(self, keys: Keys) -> SegmentReader:
        """The same segment, whose live rows are those with one of these keys, which ascend."""
        return replace(self, live=self.index.find(keys))

    def without(self, keys: Keys) -> SegmentReader:
        """The same segment, in which the rows with one of these keys, which ascend, are no longer live."""
        left = self.mask(self.live)
        left[self.index.find(keys)] = False
        live = np.flatnonzero(left)
        return replace(self, live=live) if len(live) < len(self.live) else self

    def rows(self, allowed: Keys) -> Ints:
        """Live rows whose key is among `allowed`, which ascend."""
        found = self.index.find(allowed)
        return found if len(self.live) == len(self.keys) else found[self.mask(self.live)[found]]

    def mask(self, rows: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """True for some rows. Shape: (rows of the segment,)."""
        mask = np.zeros(len(self.keys), np.bool_)
        mask[rows] = True
        return mask
