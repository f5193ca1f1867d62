"""Reading what a local collection has stored, to move it to another store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.collection.documents import StoredDocument
from korag.collection.local.database import Database
from korag.collection.local.snapshot import SnapshotReader
from korag.collection.local.views import repeated
from korag.collection.moving import changed_meanwhile
from korag.errors import InvalidArgumentError
from korag.legs.arrays import join_ranges
from korag.legs.base import Leg
from korag.legs.windows.codec import WindowVectors, window_rows
from korag.text import to_nfc

_PAGE = 512
"""Documents read at a time."""


class StoredVectors:
    """Reads documents and their vectors, in batches.

    Args:
        database: Documents.
        reader: Where vectors are read.
        place: The collection, for messages.
    """

    def __init__(self, database: Database, reader: SnapshotReader, place: str) -> None:
        self._database = database
        self._reader = reader
        self._place = place

    def in_order(self) -> Iterator[StoredDocument]:
        """As `korag.collection.moving.Movable._in_order`."""
        keys = self._database.keys()
        for first in range(0, len(keys), _PAGE):
            found = self._database.documents(keys[first : first + _PAGE].tolist())
            yield from (found[key] for key in sorted(found))

    def check_single_windows(self) -> None:
        """Raises if a document is split into several windows.

        Raises:
            InvalidArgumentError: With their number.
        """
        with self._reader.reading() as snapshot:
            longest: dict[str, int] = {}
            for reader in snapshot.readers:
                for name, part in reader.legs.items():
                    if "window_starts" in part.arrays and len(part.rows):
                        _, counts = window_rows(part.arrays, part.rows)
                        longest[name] = longest.get(name, 0) + int((counts > 1).sum())
        for name, count in longest.items():
            if count:
                raise InvalidArgumentError(
                    f"{self._place}의 문서 {count:,}개가 '{name}'에서 여러 구간으로 나뉘어 있어 옮길 수 없습니다. 글을 "
                    "나누어 넣거나 window=None으로 다시 색인하세요. 아무것도 옮기지 않았습니다.",
                    f"{count:,} documents of {self._place} are split into several windows by '{name}' and cannot be "
                    "moved. Split the texts, or index them again with window=None. Nothing was moved.",
                )

    def of(self, name: str, leg: Leg, documents: Sequence[StoredDocument]) -> Any:
        """As `korag.collection.moving.Movable._stored_vectors`."""
        found = self.windows_of(name, leg, documents)
        return found.vectors if isinstance(found, WindowVectors) else found

    @repeated
    def windows_of(self, name: str, leg: Leg, documents: Sequence[StoredDocument]) -> Any:
        """As `of`, for documents of any number of windows: `WindowVectors` of a leg that splits documents."""
        with self._reader.reading() as snapshot:
            keys = self._keys(documents)
            parts, found = [], []
            wanted = np.array(sorted(keys), np.int64)
            for reader in snapshot.readers:
                rows = reader.rows(wanted)
                if len(rows):
                    parts.append(leg.codec.decode(reader.legs[name].arrays, rows))
                    found += reader.keys[rows].tolist()
        if len(found) != len(documents):
            raise changed_meanwhile(self._place)
        place = {key: index for index, key in enumerate(found)}
        joined, order = leg.concat(parts), np.array([place[key] for key in keys], np.int64)
        if not isinstance(joined, WindowVectors):
            return _take(joined, order)
        windows = join_ranges(np.cumsum(joined.counts)[order] - joined.counts[order], joined.counts[order])
        return WindowVectors(_take(joined.vectors, windows), joined.counts[order], joined.spans[windows])

    def _keys(self, documents: Sequence[StoredDocument]) -> list[int]:
        there = self._database.intact([document.id for document in documents])
        keys = []
        for document in documents:
            key, stored = there.get(to_nfc(document.id), (0, None))
            if stored is None or stored.content != document.content:
                raise changed_meanwhile(self._place)
            keys.append(key)
        return keys


def _take(vectors: Any, rows: NDArray[np.int64]) -> Any:
    return [vectors[row] for row in rows.tolist()] if isinstance(vectors, list) else vectors[rows]
