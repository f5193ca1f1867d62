"""Connections to a collection's database: one that writes, and some that read at the same time.

A file has a pool of read connections, because SQLite's write-ahead log lets each of them see one moment of it while
another thread or process writes. A database in memory exists in one connection only, so readers share it and a writer
has it to itself.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from korag.collection.local.files import check_database
from korag.collection.local.schema import harden
from korag.filters import add_functions

READERS = 16
"""Read connections of a collection at most; further threads wait for one."""


def connect(path: Path | None, *, timeout: float, reads_only: bool = False, mode: str = "") -> sqlite3.Connection:
    """Opens a connection; every one is made here.

    Args:
        path: The file; None for a database in memory.
        timeout: Seconds to wait for another writer.
        reads_only: Refuse to write by this connection.
        mode: How to open the file, as the end of a URI; nothing for reading and writing.

    Raises:
        ForeignFolderError: If the database, or a file that SQLite keeps beside it, is a link or no regular file.
    """
    if path is None:
        connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    else:
        check_database(path)
        uri = path.resolve().as_uri()
        connection = sqlite3.connect(
            uri + mode, uri=True, check_same_thread=False, isolation_level=None, timeout=timeout
        )
    if reads_only:
        connection.execute("PRAGMA query_only = ON")
    harden(connection)
    add_functions(connection)
    return connection


class Connections(Protocol):
    """The connections of one database.

    Attributes:
        writer: The one that writes.
        statement: Held for each statement, where threads share a connection.
    """

    writer: sqlite3.Connection
    statement: AbstractContextManager[object]

    def reading(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection that sees no change of this process while it is held, once a transaction has begun in it."""
        ...

    def writing(self) -> AbstractContextManager[sqlite3.Connection]:
        """The connection that writes; one thread at a time has it."""
        ...

    def close(self) -> None:
        """Closes all connections, those in use as soon as they are given back."""
        ...

    def close_as_it_is(self) -> None:
        """As `close`, and leaves the files as they are."""
        ...


class FileConnections:
    """Connections to a file.

    Args:
        path: The file.
        timeout: Seconds to wait for another writer.
    """

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self.writer = connect(path, timeout=timeout)
        self.statement: AbstractContextManager[object] = nullcontext()
        self._writing = threading.RLock()
        self._slots = threading.Semaphore(READERS)
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """As `Connections.reading`."""
        with self._slots:
            connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
            if self._idle:
                return self._idle.pop()
        return connect(self._path, timeout=self._timeout, reads_only=True)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and not connection.in_transaction:
                self._idle.append(connection)
                return
        connection.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """As `Connections.writing`."""
        with self._writing:
            yield self.writer

    def close(self) -> None:
        """As `Connections.close`."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        with self._writing:
            self.writer.close()

    def close_as_it_is(self) -> None:
        """As `Connections.close_as_it_is`: whoever closes a file last otherwise moves the log into the database."""
        last = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True)
        with closing(last):
            last.execute("SELECT count(*) FROM sqlite_master").fetchone()  # locks the file, and cannot write to it
            self.close()


class MemoryConnections:
    """The only connection to a database in memory."""

    def __init__(self) -> None:
        self.writer = connect(None, timeout=0)
        self.statement: AbstractContextManager[object] = threading.RLock()
        self._lock = FairLock()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """As `Connections.reading`."""
        with self._lock.shared():
            yield self.writer

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """As `Connections.writing`."""
        with self._lock.exclusive():
            yield self.writer

    def close(self) -> None:
        """As `Connections.close`; waits for reads in progress."""
        with self._lock.exclusive():
            self.writer.close()

    close_as_it_is = close


class FairLock:
    """A lock that many share or one has, given in the order asked for, so that neither side waits for ever."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        self._sharing = 0
        self._taken = False

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Held together with others that share it. Not reentrant."""
        with self._next_in_line(lambda: not self._taken):
            self._sharing += 1
        try:
            yield
        finally:
            with self._changed:
                self._sharing -= 1
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Held alone. Not reentrant."""
        with self._next_in_line(lambda: not self._taken and not self._sharing):
            self._taken = True
        try:
            yield
        finally:
            with self._changed:
                self._taken = False
                self._changed.notify_all()

    @contextmanager
    def _next_in_line(self, is_free: Callable[[], bool]) -> Iterator[None]:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and is_free())
                yield
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
