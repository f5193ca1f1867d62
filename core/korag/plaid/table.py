"""The documents of an index and their numbers in fast-plaid, in SQLite.

SQLite's write-ahead log lets others read while one writes, and a process killed at any moment leaves the last commit.
Each use has a connection of its own, so that threads, processes and forks share nothing.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korag.checkpoints.fingerprint import Fingerprint
from korag.collection.documents import StoredDocument, to_json
from korag.collection.local.failures import damaged, translate
from korag.errors import ForeignFolderError, FormatVersionError
from korag.filters import add_functions, parse, to_sql
from korag.legs.windows.settings import Windows
from korag.text import to_nfc

TABLE_FILE = "korag-plaid.sqlite3"
INDEX_NAME = re.compile("index-[0-9a-f]{32}")
"""Of a folder with fast-plaid's files."""
_FORMAT = 1
_APPLICATION_ID = 0x6B6F5250  # "koRP", in the file's header
_TABLES = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE documents (key INTEGER PRIMARY KEY AUTOINCREMENT, nfc TEXT NOT NULL UNIQUE, id TEXT NOT NULL, "
    "text TEXT NOT NULL, metadata TEXT NOT NULL)",
    "CREATE TABLE windows (position INTEGER PRIMARY KEY, key INTEGER NOT NULL, begin INTEGER NOT NULL, "
    "end INTEGER NOT NULL)",
    "CREATE INDEX windows_by_key ON windows (key)",
)
"""`key` grows in insertion order; `position` is fast-plaid's number of a window, of which a document has any number."""


@dataclass(frozen=True)
class State:
    """The parts of an index.

    Attributes:
        index: Name of the folder with fast-plaid's files; None if no document has token vectors.
        size: Windows in it, those deleted since included.
        live: Windows in it that are not deleted.
        documents: Documents that these belong to.
        nbits: Bits for each dimension of a token vector.
        fingerprint: Of the encoder.
        pool_factor: How token vectors are merged (`korag.legs.multi_vector.leg.LateInteractionLeg`).
        windows: How documents are split; None if they are not.
        releases: Of fast-plaid and torch, when it was last written.
        files: Of fast-plaid, as written (`korag.plaid.engine.Files`).
    """

    index: str | None
    size: int
    live: int
    documents: int
    nbits: int
    fingerprint: Fingerprint
    pool_factor: int
    windows: Windows | None
    releases: Mapping[str, str]
    files: Mapping[str, int | None]


@dataclass(frozen=True)
class Row:
    """A document as it is stored.

    Attributes:
        key: Grows in insertion order.
        document: The document.
    """

    key: int
    document: StoredDocument


@dataclass(frozen=True)
class Place:
    """A window as it is stored.

    Attributes:
        row: Its document.
        span: Where it is in the text that is searched; None if it is the document's only one.
    """

    row: Row
    span: tuple[int, int] | None


class Table:
    """The documents of an index.

    Args:
        folder: The index's.
        timeout: Seconds to wait for another writer.
    """

    def __init__(self, folder: Path, *, timeout: float) -> None:
        self.file = folder / TABLE_FILE
        self._timeout = timeout

    def create(self, state: State) -> None:
        """Makes the file."""
        with self._connected() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            for statement in _TABLES:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {_FORMAT}")
        with self.writing() as transaction:
            transaction.write_state(state)

    def check(self) -> None:
        """Checks the file before anything of it is used.

        Raises:
            ForeignFolderError: If there is none, or another program's, or it holds what KoRAG does not make.
            FormatVersionError: If a newer KoRAG made it.
        """
        if not self.file.is_file():
            raise self._foreign()
        with self._connected() as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
        if application != _APPLICATION_ID:
            raise self._foreign()
        if version > _FORMAT:
            raise FormatVersionError(
                f"'{self.file.parent}'은(는) 더 새로운 KoRAG가 만든 형식 {version}입니다(이 버전은 {_FORMAT}까지). pip "
                "install -U korag로 올린 뒤 여세요. 아무것도 바꾸지 않았습니다.",
                f"'{self.file.parent}' has format {version}, made by a newer KoRAG (this one reads up to {_FORMAT}). "
                "Run pip install -U korag; nothing was changed.",
            )
        if found - {"CREATE TABLE sqlite_sequence(name,seq)"} != set(_TABLES):
            raise self._foreign()

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """Everything read inside is of one moment."""
        with self._connected() as connection:
            connection.execute("BEGIN")
            yield Transaction(connection, self.file)

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """Everything written inside is committed together, or not at all; nobody else writes meanwhile.

        Raises:
            CollectionLockedError: If another process is still writing after the time-out.
        """
        with self._connected() as connection:
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            yield Transaction(connection, self.file)
            connection.execute("COMMIT")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self.file, timeout=self._timeout, isolation_level=None)
            try:
                add_functions(connection)
                yield connection
            finally:
                connection.close()  # rolls back what was not committed
        except sqlite3.DatabaseError as error:
            if (known := translate(error, self.file, timeout=self._timeout)) is None:
                raise
            raise (self._foreign() if isinstance(known, ForeignFolderError) else known) from error
        except UnicodeDecodeError as error:  # of SQLite's own message, which names a table of a damaged schema
            raise damaged(self.file, f"sqlite_master: {error}") from error

    def _foreign(self) -> ForeignFolderError:
        return ForeignFolderError(
            f"'{self.file.parent}'은(는) PlaidIndex.build로 만든 폴더가 아니거나 누군가 고친 것입니다. "
            "PlaidIndex.build로 새 폴더에 만드세요. 아무것도 바꾸지 않았습니다.",
            f"'{self.file.parent}' was not made by PlaidIndex.build, or has been altered. Make one with "
            "PlaidIndex.build in a new folder; nothing was changed.",
        )


class Transaction:
    """The table at one moment.

    Args:
        connection: Inside a transaction.
        file: For messages.
    """

    def __init__(self, connection: sqlite3.Connection, file: Path) -> None:
        self._connection = connection
        self._file = file

    def state(self) -> State:
        """Reads what the index consists of.

        Raises:
            IndexStateError: If it is not what KoRAG writes.
        """
        rows = dict(self._connection.execute("SELECT name, value FROM settings"))
        try:
            found: dict[str, Any] = {name: json.loads(value) for name, value in rows.items()}
            found["fingerprint"] = Fingerprint.from_dict(found["fingerprint"])
            found["windows"] = None if found["windows"] is None else Windows.from_dict(found["windows"])
            state = State(**found)
        except (ValueError, TypeError, KeyError) as error:
            raise damaged(self._file, error) from error
        name, numbers = state.index, (state.size, state.live, state.documents, state.nbits, state.pool_factor)
        is_name = name is None or (isinstance(name, str) and INDEX_NAME.fullmatch(name))
        if not is_name or any(type(number) is not int or number < 0 for number in numbers):
            raise damaged(self._file, f"settings: {name!r:.80}, {numbers}")
        return state

    def write_state(self, state: State) -> None:
        """Writes what the index consists of."""
        values = vars(state) | {
            "fingerprint": state.fingerprint.to_dict(),
            "windows": None if state.windows is None else state.windows.to_dict(),
            "releases": dict(state.releases),
            "files": dict(state.files),
        }
        rows = [(name, json.dumps(value, ensure_ascii=False)) for name, value in values.items()]
        self._connection.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", rows)

    def find(self, where: Mapping[str, Any] | None = None, *, ids: Sequence[str] | None = None) -> Iterator[Row]:
        """Yields the documents that match a filter, among `ids` where they are given, in insertion order."""
        condition, parameters = to_sql(parse(where))
        if ids is not None:
            condition = f"nfc IN (SELECT value FROM json_each(?)) AND {condition}"  # noqa: S608 (bound values)
            parameters = [json.dumps([to_nfc(id_) for id_ in ids], ensure_ascii=False), *parameters]
        statement = f"SELECT key, id, text, metadata FROM documents WHERE {condition} ORDER BY key"  # noqa: S608 (bound values)
        for key, id_, text, metadata in self._connection.execute(statement, parameters):
            yield Row(key, StoredDocument(id_, text, self._parsed(metadata)))

    def count(self, where: Mapping[str, Any] | None = None) -> int:
        """Number of documents that match a filter."""
        condition, parameters = to_sql(parse(where))
        statement = f"SELECT count(*) FROM documents WHERE {condition}"  # noqa: S608 (bound values)
        (count,) = self._connection.execute(statement, parameters).fetchone()
        return int(count)

    def ids(self, where: Mapping[str, Any] | None = None) -> list[str]:
        """The ids of the documents that match a filter, in insertion order."""
        condition, parameters = to_sql(parse(where))
        statement = f"SELECT id FROM documents WHERE {condition} ORDER BY key"  # noqa: S608 (bound values)
        return [id_ for (id_,) in self._connection.execute(statement, parameters)]

    def all_keys(self) -> list[int]:
        """The keys of all documents."""
        return [key for (key,) in self._connection.execute("SELECT key FROM documents")]

    def positions(self, where: Mapping[str, Any] | None = None) -> list[int]:
        """fast-plaid's numbers of the windows of the documents that match a filter, in order."""
        if where is None:
            found = self._connection.execute("SELECT position FROM windows ORDER BY position")
        else:
            condition, parameters = to_sql(parse(where))
            statement = f"SELECT position FROM documents JOIN windows USING (key) WHERE {condition} ORDER BY position"  # noqa: S608 (bound values)
            found = self._connection.execute(statement, parameters)
        return [position for (position,) in found]

    def count_windows(self) -> tuple[int, int]:
        """Number of windows, and of the documents that they belong to."""
        windows, documents = self._connection.execute("SELECT count(*), count(DISTINCT key) FROM windows").fetchone()
        return int(windows), int(documents)

    def count_owners(self, where: Mapping[str, Any] | None) -> int:
        """Number of documents that match a filter and have a window."""
        condition, parameters = to_sql(parse(where))
        statement = f"SELECT count(DISTINCT key) FROM documents JOIN windows USING (key) WHERE {condition}"  # noqa: S608 (bound values)
        (count,) = self._connection.execute(statement, parameters).fetchone()
        return int(count)

    def owners(self, positions: Sequence[int]) -> list[int]:
        """Returns the keys of the documents of windows, in order."""
        statement = "SELECT position, key FROM windows WHERE position IN (SELECT value FROM json_each(?))"
        found = dict(self._connection.execute(statement, (json.dumps(list(positions)),)))
        if missing := [position for position in positions if position not in found]:
            raise damaged(self._file, f"windows: {missing[0]}")
        return [found[position] for position in positions]

    def at(self, positions: Sequence[int]) -> dict[int, Place]:
        """Returns windows and their documents by fast-plaid's numbers."""
        statement = (
            "SELECT position, begin, end, (SELECT count(*) FROM windows AS own WHERE own.key = found.key), key, id, "
            "text, metadata FROM windows AS found JOIN documents USING (key) "
            "WHERE position IN (SELECT value FROM json_each(?))"
        )
        found = self._connection.execute(statement, (json.dumps(list(positions)),))
        return {
            position: Place(
                Row(key, StoredDocument(id_, text, self._parsed(metadata))), (begin, end) if count > 1 else None
            )
            for position, begin, end, count, key, id_, text, metadata in found
        }

    def insert(self, document: StoredDocument) -> int:
        """Adds a document behind all others; one with its id is replaced. Returns its key."""
        nfc = to_nfc(document.id)
        for (key,) in self._connection.execute("SELECT key FROM documents WHERE nfc = ?", (nfc,)).fetchall():
            self.delete([key])
        row = (nfc, document.id, document.text, to_json(document.metadata))
        key = self._connection.execute(
            "INSERT INTO documents (nfc, id, text, metadata) VALUES (?, ?, ?, ?)", row
        ).lastrowid
        assert key is not None  # noqa: S101 (an INSERT has one)
        return key

    def insert_window(self, position: int, key: int, begin: int, end: int) -> None:
        """Adds a window of a document."""
        self._connection.execute("INSERT INTO windows VALUES (?, ?, ?, ?)", (position, key, begin, end))

    def update(self, key: int, document: StoredDocument) -> None:
        """Writes other metadata, and the form of the id, of a document whose text stays."""
        row = (document.id, document.text, to_json(document.metadata), key)
        self._connection.execute("UPDATE documents SET id = ?, text = ?, metadata = ? WHERE key = ?", row)

    def delete(self, keys: Sequence[int]) -> None:
        """Removes documents and their windows."""
        for table in ("documents", "windows"):
            self._connection.executemany(f"DELETE FROM {table} WHERE key = ?", [(key,) for key in keys])  # noqa: S608

    def renumber(self) -> None:
        """Closes the gaps between positions, as fast-plaid does when it deletes."""
        moved = [(new, old) for new, old in enumerate(self.positions()) if new != old]
        self._connection.executemany("UPDATE windows SET position = ? WHERE position = ?", moved)

    def _parsed(self, metadata: str) -> dict[str, Any]:
        try:
            fields = json.loads(metadata)
        except ValueError as error:
            raise damaged(self._file, error) from error
        if not isinstance(fields, dict):
            raise damaged(self._file, "metadata")
        return fields
