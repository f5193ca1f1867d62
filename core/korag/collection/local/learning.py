"""Learning from the first vectors of a collection, for codecs that do: the same for all its segments.

Until there are enough vectors to learn from, segments hold the vectors themselves. The write that makes them enough
encodes those segments anew, in the same transaction, and records the name of what was learned. Whoever has prepared a
segment with something else finds that out in a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from korag.collection.local.database import Database
from korag.collection.local.segment_stores import SegmentStore
from korag.collection.local.segments import LegArrays, Segment, SegmentInfo
from korag.collection.local.snapshot import Snapshot
from korag.legs.base import Arrays, Codec, Leg


class Learner:
    """Encodes the vectors of a collection with what its codecs have learned.

    Args:
        database: Records what was learned.
        segments: Where vectors are kept.
        legs: The collection's legs by name.
    """

    def __init__(self, database: Database, segments: SegmentStore, legs: Mapping[str, Leg]) -> None:
        self._database = database
        self._segments = segments
        self._legs = legs
        self._codecs: dict[str, Codec] = {name: leg.codec for name, leg in legs.items()}

    def encode(self, leg: str, vectors: Any, rows: int, snapshot: Snapshot) -> LegArrays:
        """Encodes new vectors of a leg.

        Args:
            leg: Its name.
            vectors: As `Leg.encode_documents` returned them.
            rows: Documents that they are of.
            snapshot: What the collection holds already.

        Raises:
            InvalidArgumentError: If they cannot be stored.
        """
        codec = self._codecs[leg]
        return LegArrays.encode(codec, vectors, rows, self._learned(leg, vectors, snapshot) if codec.learns else None)

    def _learned(self, leg: str, vectors: Any, snapshot: Snapshot) -> Arrays | None:
        codec = self._codecs[leg]
        parts = [reader.legs[leg] for reader in snapshot.readers]
        for part in parts:
            if (known := codec.learned(part.arrays)) is not None:
                return known[1]
        stored = [codec.decode(part.arrays, part.rows) for part in parts]  # few, or something would have been learned
        return codec.learn(self._legs[leg].concat([*stored, vectors]))

    def is_current(self, encoded: Mapping[str, LegArrays]) -> bool:
        """Returns False if a segment was encoded with something else than the collection's; inside a transaction.

        A collection that has learned nothing yet takes what the segment was encoded with.
        """
        is_empty = not self._database.segments()
        return is_empty or all(
            (recorded := self._database.read_setting(setting_of(leg))) is None
            or recorded == _name(codec, encoded[leg].arrays)
            for leg, codec in self._learning()
        )

    def adopt(self, encoded: Mapping[str, LegArrays], publish: Callable[[SegmentInfo], None]) -> bool:
        """Encodes all segments with what a new one was the first to be encoded with; inside a transaction.

        Args:
            encoded: The new segment; `is_current`.
            publish: Names a prepared segment.

        Returns:
            True if there were any, whose files nothing names once the transaction is committed.
        """
        names = {leg: _name(codec, encoded[leg].arrays) for leg, codec in self._learning()}
        new = {leg: name for leg, name in names.items() if name != self._database.read_setting(setting_of(leg))}
        if not new:
            return False
        old = self._database.segments()
        renewed = []
        for info in old:
            segment = self._segments.read(info).read(self._codecs, file=info.name)
            renewed.append(self._segments.prepare(self._encode_anew(segment, encoded, new)))
            publish(renewed[-1])
        self._database.replace_segments(old, renewed)
        for leg, name in new.items():
            self._database.replace_setting(setting_of(leg), name)
        return bool(old)

    def _learning(self) -> list[tuple[str, Codec]]:
        return [(leg, codec) for leg, codec in self._codecs.items() if codec.learns]

    def _encode_anew(self, segment: Segment, encoded: Mapping[str, LegArrays], legs: Iterable[str]) -> Segment:
        rows, renewed = len(segment.keys), dict(segment.legs)
        for leg in legs:
            codec, known = self._codecs[leg], self._codecs[leg].learned(encoded[leg].arrays)
            vectors = codec.decode(segment.legs[leg].arrays, np.arange(rows))
            renewed[leg] = LegArrays.encode(codec, vectors, rows, None if known is None else known[1])
        return Segment(segment.keys, renewed)


def setting_of(leg: str) -> str:
    """Name of the setting that records what a leg's codec has learned."""
    return f"learned:{leg}"


def _name(codec: Codec, arrays: Arrays) -> str | None:
    """Name of what the arrays of a segment were encoded with."""
    known = codec.learned(arrays)
    return None if known is None else known[0]
