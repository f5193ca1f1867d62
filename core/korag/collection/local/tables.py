"""The tables of a collection: documents, metadata, ids, and which segments are live."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.collection.documents import StoredDocument
from korag.collection.local import changes, schema
from korag.collection.local.changes import Changes
from korag.collection.local.rows import checksum, damaged_document, from_row, to_row
from korag.collection.local.segments import SegmentInfo
from korag.errors import IndexStateError
from korag.text import to_nfc

GREATEST = 2**62
"""Generation or key. SQLite's integers end at 2⁶³, and nobody gets here one by one."""

_FORMS = "id:"
"""Begins the name of a setting with the form in which an id is stored, if that is neither NFC nor NFD."""

_KEYS = "keys"
"""The name of the setting with the number of documents and the sum of their keys."""

Keys = NDArray[np.int64]


class Tables(ABC):
    """Everything stored, in SQL. `korag.collection.local.database.Database` adds the file and its transactions."""

    @property
    @abstractmethod
    def place(self) -> str:
        """The file in messages."""

    @property
    @abstractmethod
    def _connection(self) -> sqlite3.Connection:
        """That of the transaction in progress."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """Everything this thread reads inside is of one moment, whatever others commit meanwhile."""

    @abstractmethod
    def _translated(self) -> AbstractContextManager[None]:
        """Translates SQLite errors into KoRAG errors."""

    @abstractmethod
    def _all(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        """All rows that a statement finds."""

    @abstractmethod
    def version(self) -> int:
        """The format version."""

    @abstractmethod
    def generation(self) -> int:
        """A number that every committed change raises."""

    @abstractmethod
    def damaged(self, reason: object) -> IndexStateError:
        """Returns the error for content that is not what was stored."""

    @abstractmethod
    def _write_setting(self, name: str, value: Any) -> None:
        """Stores a JSON value, inside a transaction."""

    @abstractmethod
    def _parse(self, name: str, value: Any) -> Any:
        """Reads a setting."""

    def replace_setting(self, name: str, value: Any) -> None:
        """Stores a JSON value as a change of its own, inside a transaction; None removes it."""
        if value is None:
            self._connection.execute("DELETE FROM settings WHERE name = ?", (name,))
        else:
            self._write_setting(name, value)
        self._advance()

    # -- changes ------------------------------------------------------------------------------------------

    def _advance(
        self, deleted: Collection[int] = (), changed: Collection[int] = (), added: Collection[int] = ()
    ) -> None:
        """Begins the next generation: documents of some keys no longer exist, others have changed, and some are new."""
        generation = self.generation() + 1
        self._write_setting("generation", generation)
        if len(deleted) or len(added):
            count, total = self._recorded_keys()
            count, total = count + len(added) - len(deleted), total + sum(map(int, added)) - sum(map(int, deleted))
            self._write_setting(_KEYS, [count, total])
        if len(deleted) + len(changed) <= changes.OF_ONE:
            row = (generation, changes.pack(deleted), changes.pack(changed))
            self._connection.execute("INSERT INTO changes VALUES (?, ?, ?)", row)
        sizes = self._all("SELECT generation, length(deleted) + length(changed) FROM changes ORDER BY generation DESC")
        oldest = changes.oldest_kept(sizes, generation)
        self._connection.execute("DELETE FROM changes WHERE generation < ?", (oldest,))

    def changes_since(self, generation: int) -> Changes | None:
        """Changes since a generation; None if that is not known any more."""
        if self.version() < schema.WITH_CHANGES:
            return None
        rows = self._all("SELECT deleted, changed FROM changes WHERE generation > ?", (generation,))
        if len(rows) != self.generation() - generation:
            return None
        try:
            return Changes(changes.unpack(row[0] for row in rows), changes.unpack(row[1] for row in rows))
        except ValueError:  # damaged: then everything is read
            return None

    # -- documents (inside a transaction) -----------------------------------------------------------------

    def upsert(self, documents: Sequence[StoredDocument]) -> Keys:
        """Stores documents, each under a new key, replacing those with the same ids.

        Args:
            documents: Ids all different.

        Returns:
            Their keys, ascending. Shape: (n,).
        """
        ids = [document.id for document in documents]
        replaced = self.keys_of(ids)
        self._delete_keys(replaced)
        self._remember_forms(ids)
        # What AUTOINCREMENT would choose; the checksum needs the key before it is inserted.
        first = self.last_key() + 1
        rows = (to_row(key, document) for key, document in enumerate(documents, first))
        self._connection.executemany("INSERT INTO documents VALUES (?, ?, ?, ?, ?)", rows)
        keys = np.arange(first, first + len(documents), dtype=np.int64)
        self._advance(replaced, added=keys)
        return keys

    def rewrite(self, documents: Iterable[tuple[int, StoredDocument]]) -> None:
        """Gives stored documents other metadata, or their id in another form.

        Args:
            documents: With their keys, and with the texts that are stored.
        """
        changed = []
        for key, document in documents:
            self._remember_forms([document.id])
            _, id_, _, metadata, crc = to_row(key, document)
            self._connection.execute(
                "UPDATE documents SET id = ?, metadata = ?, checksum = ? WHERE key = ?", (id_, metadata, crc, key)
            )
            changed.append(key)
        if changed:
            self._advance(changed=changed)

    def lacks_checksums(self) -> bool:
        """Returns True if an older format stored documents without one."""
        return bool(self._all("SELECT 1 FROM documents WHERE checksum IS NULL LIMIT 1"))

    def add_checksums(self) -> None:
        """Gives a checksum to those documents that an older format stored without."""
        sql = "SELECT key, id, text, metadata FROM documents WHERE key > ? AND checksum IS NULL ORDER BY key LIMIT 1000"
        last = -1
        while rows := self._all(sql, (last,)):
            found = [(checksum(*row), row[0]) for row in rows]
            self._connection.executemany("UPDATE documents SET checksum = ? WHERE key = ?", found)
            last = rows[-1][0]

    def delete(self, keys: Keys) -> None:
        """Removes documents by key."""
        self._delete_keys(keys)
        self._advance(keys)

    def _delete_keys(self, keys: Keys) -> None:
        rows = [(int(key),) for key in keys]
        self._connection.executemany("DELETE FROM documents WHERE key = ?", rows)

    def replace_segments(self, old: Iterable[SegmentInfo], new: Iterable[SegmentInfo]) -> None:
        """Names new segments and forgets old ones."""
        self._connection.executemany("DELETE FROM segments WHERE name = ?", [(info.name,) for info in old])
        self._connection.executemany(
            "INSERT INTO segments VALUES (?, ?, ?, ?)",
            [(info.name, info.size, info.checksum, info.rows) for info in new],
        )
        self._advance()

    # -- reading ------------------------------------------------------------------------------------------

    def segments(self) -> list[SegmentInfo]:
        """The live segments."""
        rows = self._all("SELECT name, size, checksum, rows FROM segments")
        for name, *numbers in rows:
            if not isinstance(name, str) or not all(type(number) is int and number >= 0 for number in numbers):
                raise self.damaged(f"segments: {name!r:.60}")
        return [SegmentInfo(*row) for row in rows]

    def last_key(self) -> int:
        """The greatest key that a document has ever had; 0 if there was none."""
        sql = "SELECT coalesce(max(seq), 0), (SELECT coalesce(max(key), 0) FROM documents) FROM sqlite_sequence"
        ((last, greatest),) = self._all(f"{sql} WHERE name = 'documents'")
        if type(last) is not int or not greatest <= last < GREATEST:
            raise self.damaged(f"sqlite_sequence: {last!r:.40}")
        return last

    def beginnings(self, keys: Iterable[int], characters: int) -> list[str]:
        """The first characters of the texts of those keys that exist; damaged ones as far as they can be read."""
        sql = "SELECT CAST(substr(text, 1, ?) AS BLOB) FROM documents WHERE key IN (SELECT value FROM json_each(?))"
        rows = self._all(sql, (characters, json.dumps(list(keys))))
        return [bytes(text or b"").decode("utf-8", "replace") for (text,) in rows]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """All documents, one after another, as `korag.collection.local.rows.from_row` takes them."""
        with self._translated(), self.reading() as connection:
            yield from connection.execute("SELECT * FROM documents")

    def keys(self, where: str = "TRUE", parameters: Sequence[object] = (), *, ids: Sequence[str] | None = None) -> Keys:
        """Keys of the documents an SQL condition holds for, ascending; only among `ids` if given. Shape: (n,)."""
        # As one text, which takes a third of the time of a row each. All keys are in an index, by id.
        ((found,),) = self._select("group_concat(key)", where, parameters, ids, order="")
        return np.sort(np.fromstring(found, np.int64, sep=",")) if found else np.zeros(0, np.int64)

    def all_keys(self) -> Keys:
        """Keys of all documents, ascending. Shape: (n,).

        Raises:
            IndexStateError: If they are not those that were stored: a damaged page hides or changes some.
        """
        keys = self.keys()
        if self.version() >= schema.WITH_CHANGES and self._recorded_keys() != _summary(keys):
            raise self.damaged(f"documents: {len(keys):,} / {self._recorded_keys()[0]:,}")
        return keys

    def record_keys(self) -> None:
        """Begins to record which keys there are, inside a transaction."""
        self._write_setting(_KEYS, _summary(self.keys()))

    def _recorded_keys(self) -> list[int]:
        """As of `_summary`, after the last commit."""
        rows = self._all("SELECT value FROM settings WHERE name = ?", (_KEYS,))
        recorded = self._parse(_KEYS, rows[0][0]) if rows else None
        if not isinstance(recorded, list) or [type(number) for number in recorded] != [int, int]:
            raise self.damaged(f"settings: {_KEYS}: {recorded!r:.40}")
        return recorded

    def keys_among(self, keys: Keys, where: str, parameters: Sequence[object]) -> Keys:
        """Those of some keys whose documents exist and an SQL condition holds for, ascending. Shape: (n,)."""
        listed = json.dumps(keys.tolist())
        among = f"key IN (SELECT value FROM json_each(?)) AND ({where})"  # noqa: S608 (to_sql binds values)
        return self.keys(among, (listed, *parameters))

    def keys_of(self, ids: Sequence[str]) -> Keys:
        """Keys of the ids that exist, ascending. Shape: (n,)."""
        return self.keys(ids=ids)

    def id_by_key(
        self, ids: Sequence[str] | None = None, where: str = "TRUE", parameters: Sequence[object] = ()
    ) -> dict[int, str]:
        """Keys and ids, in insertion order, of the documents an SQL condition holds for; only among `ids` if given."""
        found = dict(self._select("key, id", where, parameters, ids, order=""))  # without texts, as for `keys`
        return {key: self._checked_id(key, found[key]) for key in sorted(found)}

    def _checked_id(self, key: int, id_: object) -> str:
        if not isinstance(id_, str):
            raise damaged_document(key, id_, self.place)
        return id_

    def intact(self, ids: Sequence[str]) -> dict[str, tuple[int, StoredDocument]]:
        """Keys and documents of ids, by their NFC form; without those that cannot stay as they are.

        These are damaged ones, and ids of which an older KoRAG stored several forms.
        """
        rows: dict[str, list[Any]] = {}
        for row in self._select("*", "TRUE", (), ids):
            rows.setdefault(to_nfc(str(row[1])), []).append(row)
        found = {}
        for id_, own in rows.items():
            with contextlib.suppress(IndexStateError):
                if len(own) == 1:
                    found[id_] = from_row(own[0], self.place)
        return found

    def details(self, ids: Sequence[str]) -> dict[int, tuple[str, str]]:
        """Ids and metadata, by key, of the ids that exist; in JSON, as they are stored."""
        return {key: (id_, metadata) for key, id_, metadata in self._select("key, id, metadata", "TRUE", (), ids)}

    def find(
        self, where: str, parameters: Sequence[object], *, ids: Sequence[str] | None = None
    ) -> list[StoredDocument]:
        """Documents an SQL condition holds for, in insertion order; only among `ids` if given."""
        rows = self._select("*", where, parameters, ids)  # * for the checksum, which older formats do not have
        return list(self._read(rows).values())

    def documents(self, keys: Iterable[int]) -> dict[int, StoredDocument]:
        """Documents by key; those that do not exist are left out."""
        rows = self._all(
            "SELECT * FROM documents WHERE key IN (SELECT value FROM json_each(?))",
            (json.dumps([int(key) for key in keys]),),
        )
        return self._read(rows)

    def _read(self, rows: Iterable[Any]) -> dict[int, StoredDocument]:
        return dict(from_row(row, self.place) for row in rows)

    def _select(
        self,
        columns: str,
        where: str,
        parameters: Sequence[object],
        ids: Sequence[str] | None,
        *,
        order: str = "ORDER BY key",
    ) -> list[tuple[Any, ...]]:
        among = "" if ids is None else "id IN (SELECT value FROM json_each(?)) AND "
        listed = [] if ids is None else [json.dumps(self._forms(ids), ensure_ascii=False)]
        sql = f"SELECT {columns} FROM documents WHERE {among}({where}) {order}"  # noqa: S608 (to_sql binds values)
        return self._all(sql, [*listed, *parameters])

    # -- ids ----------------------------------------------------------------------------------------------

    def _forms(self, ids: Sequence[str]) -> list[str]:
        """The forms in which documents of these ids may be stored: ids are equal if their NFC form is.

        Ids are indexed as given. One is looked up in NFC, in NFD and as given; those of another form, such as a
        folder's name in NFC before a file's in NFD, are among the settings.
        """
        forms = dict.fromkeys(ids)
        others = dict.fromkeys(to_nfc(id_) for id_ in ids if not id_.isascii())
        if others:
            forms |= others | dict.fromkeys(unicodedata.normalize("NFD", id_) for id_ in others)
            for name, value in self._all(
                "SELECT name, value FROM settings WHERE name IN (SELECT ? || value FROM json_each(?))",
                (_FORMS, json.dumps(list(others), ensure_ascii=False)),
            ):
                forms |= dict.fromkeys(self._parse_forms(name, value))
        return list(forms)

    def _remember_forms(self, ids: Sequence[str]) -> None:
        """Records ids that are neither in NFC nor in NFD, inside a transaction."""
        for id_ in ids:
            if not id_.isascii() and id_ not in ((composed := to_nfc(id_)), unicodedata.normalize("NFD", composed)):
                known = self._all("SELECT name, value FROM settings WHERE name = ?", (name := _FORMS + composed,))
                forms = [form for row in known for form in self._parse_forms(*row)]
                if id_ not in forms:  # older KoRAGs stored several
                    self._write_setting(name, [*forms, id_])

    def remember_all_forms(self) -> None:
        """`_remember_forms` for the documents that a KoRAG stored which compared ids as they are; in a transaction."""
        last = 0
        while rows := self._all("SELECT key, id FROM documents WHERE key > ? ORDER BY key LIMIT 10000", (last,)):
            self._remember_forms([id_ for _, id_ in rows if isinstance(id_, str)])
            last = rows[-1][0]

    def check_forms(self) -> None:
        """Raises `IndexStateError` for a setting about the form of an id that KoRAG does not write."""
        for name, value in self._all("SELECT name, value FROM settings WHERE name GLOB ?", (_FORMS + "*",)):
            self._parse_forms(name, value)

    def _parse_forms(self, name: str, value: object) -> list[str]:
        forms = self._parse(name, value)
        if not isinstance(forms, list) or any(
            not isinstance(form, str) or _FORMS + to_nfc(form) != name for form in forms
        ):
            raise self.damaged(f"settings: {name!r:.40}")
        return forms

    def count(self, where: str = "TRUE", parameters: Sequence[object] = ()) -> int:
        """Number of documents an SQL condition holds for."""
        ((total,),) = self._select("count(*)", where, parameters, None, order="")
        return int(total)


def _summary(keys: Keys) -> list[int]:
    """Number and sum: of another key, or one less, it would be another."""
    return [len(keys), sum(keys.tolist())]
