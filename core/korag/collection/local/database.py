"""The SQLite side of a collection: its file, opened and checked, with transactions over its tables.

What a thread reads inside `Database.reading` is of one moment, and what it writes inside `Database.transaction` is
committed together. SQLite's write-ahead log gives the rest: threads and processes read while one writes, and a process
killed at any moment leaves the last commit.
"""

from __future__ import annotations

import json
import re
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from korag.collection.local import failures, schema
from korag.collection.local.connections import Connections, FileConnections, MemoryConnections, uses, watch
from korag.collection.local.folders import HeldFolder
from korag.collection.local.marker import Commit, read_marker, remove_unfinished, write_marker
from korag.collection.local.place import Place
from korag.collection.local.remains import check_commits, is_new
from korag.collection.local.segments import SegmentInfo
from korag.collection.local.tables import GREATEST, Tables
from korag.collection.local.views import ViewConnections, is_read_only, repeated
from korag.errors import (
    FormatVersionError,
    IndexStateError,
    StorageError,
)
from korag.storage import full

DATABASE_FILE = "korag.sqlite3"
FORMAT_VERSION = 5
"""Of the tables and settings; segments have versions of their own. 2, of KoRAG 0.1.0, records no codecs. 3 has no
checksums of documents and no id of the collection. 4 has no checksums of blocks, and records deletions alone."""
_OLDEST_FORMAT = 2  # 1 has no pooled token vectors
_APPLICATION_ID = 0x6B6F5247  # "koRG", in the file's header: tells our databases from others
_BUSY_SECONDS = 30.0


class Database(Tables):
    """Documents and bookkeeping of one collection.

    Args:
        path: The file; None for a database in memory.
        timeout: Seconds to wait for another writer.
    """

    def __init__(self, path: Path | None, *, timeout: float = _BUSY_SECONDS) -> None:
        self.path = path
        self.timeout = timeout
        self._place = None if path is None else Place(path)
        self._is_open = self._is_marked = self._is_closed = False
        self._collection_id: str | None = None
        self.folder: HeldFolder | None = None
        """That of the transaction in progress."""
        with self._translated():
            self._connections = self._connect()
        self._pages_checked = False
        self._current = threading.local()  # the connection of a thread inside `reading` or `transaction`
        weakref.finalize(self, self._connections.close)  # for those who do not: Python 3.13 warns of it

    @property
    def place(self) -> str:
        """The file in messages."""
        return f"'{self.path or ':memory:'}'"

    # -- opening ------------------------------------------------------------------------------------------

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._connections.writer

    def _connect(self) -> Connections:
        if self._place is None:
            return MemoryConnections()
        checks = weakref.WeakMethod(self._check_reopened)

        def reopened() -> None:
            if (check := checks()) is not None:
                check()

        while True:
            with self._place.opening():
                connections: Connections = (
                    ViewConnections(self._place.file, timeout=self.timeout)
                    if is_read_only(self._place.file)
                    else FileConnections(self._place.file, timeout=self.timeout, reopened=reopened)
                )
            if self._place.is_known:
                watch(connections)
                return connections
            connections.close()  # SQLite has just made the file

    def _check_reopened(self) -> None:
        """Raises unless the collection opened again, after a fork, is the one that was opened first."""
        if self._place is not None and self._is_open:
            known, self._is_open = self._collection_id, False  # the log is another one, if nobody else kept it
            try:
                self.remember()
            finally:
                self._is_open = True
            if known not in (None, self._collection_id):
                raise self._place.lost()

    def create(self, settings: dict[str, Any]) -> None:
        """Makes the tables of a new collection; waits for, and leaves alone, one made meanwhile."""
        with self._translated():
            if self.path is not None:
                self._use_write_ahead_log()
            with self.transaction():
                if self.is_new():
                    schema.create(self._connection)
                    self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                    self._connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
                    self._write_setting("generation", 0)
                    self.record_keys()
                    self.renew_id()
                    for name, value in settings.items():
                        self._write_setting(name, value)
            with self._held() as folder:
                if folder is not None:
                    write_marker(folder, lambda: self._commit(self._connection))

    @repeated
    def remember(self) -> None:
        """Takes the collection that is there for the one that is open; every transaction checks that it still is.

        Raises:
            IndexStateError: If the database has lost commits, or belongs to another folder.
        """
        if self._place is None:
            return
        with self._translated(), self._place.held() as folder:
            marker = read_marker(folder)  # first: it is never ahead of the database
            with self.reading() as connection:
                commit = self._commit(connection)
            try:
                check_commits(commit, marker, folder.path)
            except IndexStateError:
                self._connections.close_as_it_is()
                raise
            if isinstance(self._connections, FileConnections):
                self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the log, and keeps it
                self._place.remember_log()
        self._collection_id, self._is_open = commit.collection_id, True

    def _use_write_ahead_log(self) -> None:
        """Switches the file over; SQLite refuses this at once, whatever its time-out, while another does the same."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def is_new(self) -> bool:
        """True if there are no tables yet; raises as `version` does, and if there are none but there were."""
        if self.path is None:
            return self.version() == 0
        with self._translated():
            return is_new(self.path, self.version)

    @repeated
    def version(self) -> int:
        """The format version of the file; 0 for a new one.

        Raises:
            ForeignFolderError: If the file is another program's, or no database.
            FormatVersionError: If a newer KoRAG wrote it, or one that is too old.
            IndexStateError: If its tables are not those that KoRAG makes, or a page is damaged.
        """
        with self.reading():  # or another process could make the tables between two of these
            version: int = self._all("PRAGMA user_version")[0][0]
            application: int = self._all("PRAGMA application_id")[0][0]
            tables: int = self._all("SELECT count(*) FROM sqlite_master")[0][0]
            if not tables and not version:
                return 0
            if application != _APPLICATION_ID:
                raise failures.foreign(self.path)
            self._check_version(version)
            self._check_content(version)
        return version

    def _check_version(self, version: int) -> None:
        if 0 < version < _OLDEST_FORMAT:
            raise FormatVersionError(
                f"'{self.path}'은(는) 예전 형식 {version}입니다(이 버전은 {_OLDEST_FORMAT}부터 읽습니다). 새 폴더에 "
                "다시 색인하세요. 아무것도 바꾸지 않았습니다.",
                f"'{self.path}' has the old format {version} (this version reads formats from {_OLDEST_FORMAT}). Index "
                "again into a new folder; nothing was changed.",
            )
        if version > FORMAT_VERSION:
            raise FormatVersionError(
                f"'{self.path}'은(는) 더 새로운 KoRAG가 만든 형식 {version}입니다(이 버전은 {FORMAT_VERSION}까지). "
                "pip install -U korag로 올린 뒤 여세요. 아무것도 바꾸지 않았습니다.",
                f"'{self.path}' has format {version}, made by a newer KoRAG (this one reads up to "
                f"{FORMAT_VERSION}). Run pip install -U korag; nothing was changed.",
            )

    def _check_content(self, version: int) -> None:
        """Raises unless the file holds what KoRAG makes, before anything of it is used."""
        with self.reading() as connection, self._connections.statement:
            if foreign := schema.find_foreign(connection, version):
                raise IndexStateError(
                    f"'{self.path}'에 KoRAG가 만들지 않은 것이 있거나 만든 것이 없습니다({foreign}). 누군가 고쳤거나 "
                    "손상되었을 수 있어 열지 않습니다. 아무것도 바꾸지 않았습니다. 백업에서 폴더를 되살리거나 문서를 "
                    "새 폴더에 다시 색인하세요.",
                    f"'{self.path}' holds something that KoRAG does not make, or lacks something that it does "
                    f"({foreign}). It may have been altered or damaged, so it is not opened. Nothing was changed; "
                    "restore the folder from a backup, or index the documents again into a new folder.",
                )
            if self.path is not None and not self._pages_checked:
                if damage := schema.find_damage(connection, self.path):
                    raise self.damaged(damage)
                self._pages_checked = True

    def find_damage(self) -> list[IndexStateError]:
        """Checks all pages and indexes, whatever their size; returns what is wrong.

        Raises:
            IndexStateError: If the tables are not those that KoRAG makes; what they hold is then not read at all.
        """
        self._pages_checked = True  # by this, so that the rest can be read
        self.version()
        return [self.damaged(found) for (found,) in self._all("PRAGMA integrity_check") if found != "ok"]

    def damaged(self, reason: object) -> IndexStateError:
        """Returns the error for a file that is not what was written."""
        return failures.damaged(self.path, reason)

    def close(self) -> None:
        """Closes the file; reads in progress end as they would."""
        self._is_closed = True
        self._connections.close()

    # -- transactions -------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Everything this thread reads inside is of one moment, whatever others commit meanwhile.

        May be nested; inside `transaction`, it is the state that transaction has made so far. A transaction must not
        begin inside.
        """
        current: sqlite3.Connection | None = getattr(self._current, "connection", None)
        if current is not None:
            yield current
            return
        with self._translated(), self._connections.reading() as connection, self._using(connection):
            if self.path is None:  # nobody writes meanwhile, and other threads read by the same connection
                yield connection
                return
            connection.execute("BEGIN")
            try:
                self._check_read(connection)
                yield connection
            finally:
                if connection.in_transaction:  # some errors end it
                    connection.execute("COMMIT")

    def _check_read(self, connection: sqlite3.Connection) -> None:
        try:
            self._check(connection)
        except IndexStateError as error:
            if self._is_closed:  # just now, which took the log away
                raise sqlite3.ProgrammingError("Cannot operate on a closed database.") from error
            raise

    @contextmanager
    def transaction(self) -> Iterator[ExitStack]:
        """Everything inside is committed together, or not at all; other writers wait.

        Yields:
            What is to be done if it is not committed, such as removing files that it would have named.

        Raises:
            CollectionLockedError: If another process is still writing after the time-out.
            ReadOnlyError: If the folder cannot be written to.
            StorageFullError: If there is not enough space.
        """
        with self._translated(), self._connections.writing() as connection, self._using(connection), self._held() as at:
            connection.execute("PRAGMA synchronous = FULL")  # some builds of SQLite flush less in write-ahead mode
            connection.execute("BEGIN IMMEDIATE")
            self.folder = at
            with ExitStack() as undo:
                committing = False
                try:
                    before = self._check(connection, at)
                    yield undo
                    after = self._check_before_commit(connection)
                    committing = True
                    connection.execute("COMMIT")
                    undo.pop_all()
                except BaseException as error:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    elif committing and not isinstance(error, sqlite3.Error):  # Ctrl+C just after the commit
                        undo.pop_all()
                    if isinstance(error, sqlite3.Error | StorageError) and not self._shrink_log() and committing:
                        # The log may hold the whole commit, which would be found after a crash: then with its files.
                        undo.pop_all()
                    raise
            if at is not None and after is not None:
                self._committed(connection, at, after, is_new=after != before)

    @contextmanager
    def without_writers(self) -> Iterator[None]:
        """Nobody commits anything inside.

        Raises:
            CollectionLockedError: If another process is still writing after the time-out.
        """
        with self._translated(), self._connections.writing() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            finally:
                connection.execute("ROLLBACK")

    def _shrink_log(self) -> bool:
        """Gives the space of the write-ahead log back after a failed write, unless others still read it."""
        try:
            self._connection.execute("PRAGMA busy_timeout = 0")
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            return False
        else:
            return not busy
        finally:
            self._connection.execute(f"PRAGMA busy_timeout = {int(self.timeout * 1000)}")

    def _held(self) -> AbstractContextManager[HeldFolder | None]:
        return nullcontext() if self._place is None else self._place.held()

    def _check(self, connection: sqlite3.Connection, folder: HeldFolder | None = None) -> Commit | None:
        """Raises unless what a transaction works with is the collection that was opened.

        Args:
            connection: In the transaction.
            folder: Given to write: the commits are checked too.
        """
        if self._place is None or not self._is_open:
            return None
        marker = None if folder is None else read_marker(folder)
        commit = self._commit(connection)  # before the files, because this is what fixes the moment
        self._place.check()
        if commit.collection_id is not None:  # older formats have none, nor has a moment before it was given one
            if self._collection_id not in (None, commit.collection_id):
                raise self._place.lost()
            self._collection_id = commit.collection_id
        check_commits(commit, marker, self._place.file.parent)
        return commit

    def _check_before_commit(self, connection: sqlite3.Connection) -> Commit | None:
        if self._place is None or not self._is_open:
            return None
        self._place.check()  # again: segments have been written by name
        return self._commit(connection)

    def _committed(self, connection: sqlite3.Connection, folder: HeldFolder, commit: Commit, *, is_new: bool) -> None:
        """Raises if the collection was replaced while it was written to; leaves a marker otherwise."""
        self._collection_id = commit.collection_id
        if self._place is not None:
            try:
                self._place.check()
            except IndexStateError as error:
                raise self._place.lost_meanwhile() from error
        if is_new:
            if not self._is_marked:
                remove_unfinished(folder)
                self._is_marked = True
            write_marker(folder, lambda: self._commit(connection))

    def _commit(self, connection: sqlite3.Connection) -> Commit:
        sql = "SELECT name, value FROM settings WHERE name IN ('collection_id', 'generation')"
        return self._to_commit({name: self._parse(name, value) for name, value in connection.execute(sql)})

    def _to_commit(self, settings: dict[str, Any]) -> Commit:
        id_, generation = settings.get("collection_id"), settings.get("generation")
        if type(generation) is not int or not 0 <= generation < GREATEST:
            raise self.damaged(f"settings: generation: {generation!r:.40}")
        if id_ is not None and not (isinstance(id_, str) and re.fullmatch("[0-9a-f]{32}", id_)):
            raise self.damaged(f"settings: collection_id: {id_!r:.40}")
        return Commit(id_, generation)

    @contextmanager
    def _using(self, connection: sqlite3.Connection) -> Iterator[None]:
        self._current.connection = connection
        try:
            yield
        finally:
            self._current.connection = None

    def check_writable(self) -> None:
        """Raises `ReadOnlyError` now: in a read-only database a transaction begins all the same, as one that reads."""
        self._connection.execute("DELETE FROM segments WHERE FALSE")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Translates SQLite errors into KoRAG errors; a fork waits for what is done inside."""
        try:
            with uses.use():
                yield
        except sqlite3.ProgrammingError as error:
            if "closed" not in str(error):
                raise
            raise IndexStateError(
                f"이 컬렉션은 이미 닫혔습니다({self.place}). 다시 여세요.",
                f"This collection is closed ({self.place}); open it again.",
            ) from error
        except sqlite3.DatabaseError as error:
            if (translated := failures.translate(error, self.path, timeout=self.timeout)) is None:
                raise
            raise translated from error
        except UnicodeDecodeError as error:  # of SQLite's own message, which names a table of a damaged schema
            raise self.damaged(f"sqlite_master: {error}") from error

    @repeated
    def _all(self, sql: str, parameters: Sequence[object] = ()) -> list[Any]:
        with self._translated(), self.reading() as connection, self._connections.statement:
            return connection.execute(sql, parameters).fetchall()

    # -- settings -----------------------------------------------------------------------------------------

    def _parse(self, name: str, value: Any) -> Any:
        try:
            value.encode()  # fails for what is no UTF-8
            return json.loads(value)
        except (AttributeError, ValueError, RecursionError) as error:
            raise self.damaged(f"settings: {name!r:.40}: {error}") from error

    @repeated
    def read_settings(self) -> tuple[int, dict[str, Any]]:
        """The format version and all settings, of one moment.

        Raises:
            ForeignFolderError: If the file is another program's, or no database.
            FormatVersionError: If the format is too new or too old.
        """
        with self.reading():
            version = self.version()
            rows = self._all("SELECT name, value FROM settings WHERE name < 'id:' OR name >= 'id;'") if version else []
        settings = {name: self._parse(name, value) for name, value in rows}
        if version:
            if version >= schema.WITH_CHECKSUMS and self._to_commit(settings).collection_id is None:
                raise self.damaged("settings: collection_id")
            legs = settings.get("legs")
            if not isinstance(legs, dict) or not all(isinstance(leg, dict) for leg in legs.values()):
                raise self.damaged(f"settings: legs: {legs!r:.40}")
        return version, settings

    @repeated
    def read_setting(self, name: str) -> Any:
        """One setting; None if there is none.

        Raises:
            IndexStateError: If it is not JSON.
        """
        rows = self._all("SELECT value FROM settings WHERE name = ?", (name,))
        return self._parse(name, rows[0][0]) if rows else None

    def write_legs(self, legs: dict[str, Any]) -> None:
        """Records the legs in the current format, inside a transaction; older formats become this one.

        Raises:
            FormatVersionError: If a newer KoRAG has changed the format meanwhile.
        """
        self._write_setting("legs", legs)
        if (version := self.version()) < FORMAT_VERSION:
            schema.raise_format(self._connection, version)
            self._connection.execute("DELETE FROM settings WHERE name = 'tokenizer'")  # part of `legs` since format 3
            self._connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            self.record_keys()
        if version < schema.WITH_CHECKSUMS:
            self.remember_all_forms()
            self.renew_id()

    def renew_id(self) -> None:
        """Gives the collection an id that no other has, a copy of it included."""
        self._write_setting("collection_id", uuid.uuid4().hex)

    def _write_setting(self, name: str, value: Any) -> None:
        text = json.dumps(value, ensure_ascii=False)
        self._connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, text))

    @repeated
    def generation(self) -> int:
        """A number that every committed change raises."""
        with self._translated(), self.reading() as connection, self._connections.statement:
            return self._commit(connection).generation

    # -- copies -------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """The content of a database in memory."""
        with self.reading() as connection, self._connections.statement:
            return connection.serialize()

    def copy_to(self, path: Path, segments: Iterable[SegmentInfo], legs: dict[str, Any]) -> None:
        """Writes all documents to a new file, which names other segments.

        Args:
            path: The file; must not exist.
            segments: The segments of the copy, instead of this database's own.
            legs: What the copy records of its legs.
        """
        copy = Database(path)
        try:
            with self.reading() as connection, self._connections.statement:
                try:
                    connection.backup(copy._connection)
                except sqlite3.DatabaseError as error:  # of either; only writing fills a disk
                    if failures.is_full(error):
                        raise full(path, str(error)) from error
                    raise
            with copy._translated():
                copy._use_write_ahead_log()
                copy.remember()
            with copy.transaction():
                copy.write_legs(legs)
                copy.add_checksums()
                copy.renew_id()
                copy.replace_segments(copy.segments(), segments)
        finally:
            copy.close()  # the last connection also empties the write-ahead log into the file

    def restore(self, content: bytes) -> None:
        """Replaces a new database in memory by what `dump` returned."""
        with self._connections.writing() as connection:
            connection.deserialize(content)
        self.renew_id()
