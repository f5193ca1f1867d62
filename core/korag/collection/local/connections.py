"""Connections to a collection's database: one that writes, and some that read at the same time.

A file has a pool of read connections, because SQLite's write-ahead log lets each of them see one moment of it while
another thread or process writes. A database in memory exists in one connection only, so readers share it and a writer
has it to itself.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from korag.collection.local.files import check_database
from korag.collection.local.schema import harden
from korag.errors import IndexStateError
from korag.filters import add_functions
from korag.forking import Gate

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
        statement: Held for each statement, where threads share a connection.
    """

    @property
    def writer(self) -> sqlite3.Connection:
        """The one that writes."""
        ...

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

    def rest(self) -> None:
        """Closes the connections to a file, before a fork. Each process opens its own at the next use."""
        ...

    def abandon(self) -> Sequence[object]:
        """Gives up, in a child, the connections that were in use at the fork. Returns them, to be kept for ever."""
        ...


_open: weakref.WeakSet[Connections] = weakref.WeakSet()
_inherited: list[object] = []
"""Connections of a parent process, kept for ever: closing one would take the locks of this one's own."""


def _rest() -> None:
    for connections in list(_open):
        connections.rest()


def _abandon() -> None:
    for connections in list(_open):
        _inherited.extend(connections.abandon())


uses = Gate(before=_rest, inherited=_abandon)
"""Held by whoever works with any connection. A fork waits until none is in use, and closes those to files."""


def watch(connections: Connections) -> None:
    """Lets forks know of connections."""
    _open.add(connections)


class FileConnections:
    """Connections to a file. A fork closes them; parent and child open their own at the next use.

    Args:
        path: The file.
        timeout: Seconds to wait for another writer.
        reopened: Called when they have been opened again.
    """

    def __init__(self, path: Path, *, timeout: float, reopened: Callable[[], object]) -> None:
        self._path = path
        self._timeout = timeout
        self._reopened = reopened
        self._writer: sqlite3.Connection | None = connect(path, timeout=timeout)
        self.statement: AbstractContextManager[object] = nullcontext()
        self._writing = threading.RLock()
        self._slots = threading.Semaphore(READERS)
        self._lock = threading.RLock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = self._abandoned = False

    @property
    def writer(self) -> sqlite3.Connection:
        """As `Connections.writer`."""
        with self._lock:
            if self._abandoned:
                raise in_use_at_fork(self._path)
            if self._writer is None and self._closed:
                raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
            if self._writer is None:
                self._writer = connect(self._path, timeout=self._timeout)
                try:
                    self._reopened()
                except BaseException:
                    self._writer.close()
                    self._writer = None
                    raise
            return self._writer

    def rest(self) -> None:
        """As `Connections.rest`."""
        for connection in (*self._idle, *((self._writer,) if self._writer else ())):
            connection.close()
        self._idle, self._writer = [], None

    def abandon(self) -> Sequence[object]:
        """As `Connections.abandon`."""
        if self._writer is None or self._closed:
            return ()
        old = (self._writer, *self._idle)
        self._idle, self._writer, self._abandoned = [], None, True
        self._lock = threading.RLock()
        return old

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """As `Connections.reading`."""
        # Opened first, and kept: it keeps the log in place. Opening it again reads, so it must not wait for a slot
        # while those who have one wait for it.
        self.writer  # noqa: B018
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
        with uses.use():
            with self._lock:
                self._closed = True
                idle, self._idle = self._idle, []
            for connection in idle:
                connection.close()
            with self._writing:
                if self._writer is not None:
                    self._writer.close()

    def close_as_it_is(self) -> None:
        """As `Connections.close_as_it_is`: whoever closes a file last otherwise moves the log into the database."""
        with uses.use():
            self._close_as_it_is()

    def _close_as_it_is(self) -> None:
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
        with uses.use(), self._lock.exclusive():
            self.writer.close()

    close_as_it_is = close

    def rest(self) -> None:
        """As `Connections.rest`: nothing, the child has a copy."""

    def abandon(self) -> Sequence[object]:
        """As `Connections.abandon`: nothing."""
        return ()


def in_use_at_fork(path: Path) -> IndexStateError:
    """Returns the error for connections that a child has inherited."""
    return IndexStateError(
        f"'{path.parent}'은(는) 이 프로세스를 fork할 때 쓰이고 있어서 여기서는 쓸 수 없습니다. 아무것도 쓰지 "
        "않았습니다. 이 프로세스를 spawn으로 시작하거나, 컬렉션을 쓰지 않을 때 fork하세요.",
        f"'{path.parent}' was in use when this process was forked, so it cannot be used here. Nothing was written; "
        "start this process by spawn, or fork while no call of the collection is in progress.",
    )


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
