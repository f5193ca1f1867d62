"""Reading what a local collection has stored, to move it to another store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from korag.collection.documents import StoredDocument
from korag.collection.local.database import Database
from korag.collection.local.snapshot import SnapshotReader
from korag.collection.local.views import repeated
from korag.collection.moving import changed_meanwhile
from korag.errors import InvalidArgumentError
from korag.legs.base import Leg
from korag.legs.windows.codec import WindowedCodec, window_rows
from korag.legs.windows.leg import WindowedLeg
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

    @repeated
    def of(self, name: str, leg: Leg, documents: Sequence[StoredDocument]) -> Any:
        """As `korag.collection.moving.Movable._stored_vectors`."""
        inner = leg.inner if isinstance(leg, WindowedLeg) else leg
        with self._reader.reading() as snapshot:
            keys = self._keys(documents)
            parts, found = [], []
            wanted = np.array(sorted(keys), np.int64)
            for reader in snapshot.readers:
                rows = reader.rows(wanted)
                if len(rows):
                    decoded = leg.codec.decode(reader.legs[name].arrays, rows)
                    parts.append(decoded.vectors if isinstance(leg.codec, WindowedCodec) else decoded)
                    found += reader.keys[rows].tolist()
        if len(found) != len(documents):
            raise changed_meanwhile(self._place)
        place = {key: index for index, key in enumerate(found)}
        joined, order = inner.concat(parts), [place[key] for key in keys]
        return [joined[index] for index in order] if isinstance(joined, list) else joined[np.array(order, np.int64)]

    def _keys(self, documents: Sequence[StoredDocument]) -> list[int]:
        there = self._database.intact([document.id for document in documents])
        keys = []
        for document in documents:
            key, stored = there.get(to_nfc(document.id), (0, None))
            if stored is None or stored.content != document.content:
                raise changed_meanwhile(self._place)
            keys.append(key)
        return keys
