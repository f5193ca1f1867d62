"""Reading a collection in a folder that cannot be written to, such as a read-only mount, while others may write to it.

To read a database with a write-ahead log, SQLite needs that log, or a folder to make one in. If somebody writes, the
log is there, and SQLite reads with the locks of that process. If nobody does, there is none, and the only way is to
tell SQLite that the file is immutable. It then neither locks the file nor looks for changes, so this is believed for
one read at a time: the files are compared before and after it, and if they have changed, the file is opened anew and
the read is repeated.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from korag.collection.local.connections import READERS, connect, in_use_at_fork, uses
from korag.collection.local.files import open_file
from korag.collection.local.marker import MARKER_FILE
from korag.errors import CollectionLockedError

_TRIES = 20
Parameters = ParamSpec("Parameters")
Owner = TypeVar("Owner")
Result = TypeVar("Result")


class ChangedMeanwhileError(CollectionLockedError):
    """A database that could not be locked has changed while it was read; what was read is of no use."""


def repeated(
    read: Callable[Concatenate[Owner, Parameters], Result],
) -> Callable[Concatenate[Owner, Parameters], Result]:
    """Repeats a method that reads when the database has changed meanwhile."""

    @functools.wraps(read)
    def repeating(owner: Owner, /, *arguments: Parameters.args, **keywords: Parameters.kwargs) -> Result:
        for _ in range(_TRIES):
            try:
                return read(owner, *arguments, **keywords)
            except ChangedMeanwhileError:
                continue
        return read(owner, *arguments, **keywords)

    return repeating


@dataclass(frozen=True)
class State:
    """The files of a collection, as far as they show a change.

    Attributes:
        is_live: A log is there that SQLite can use, so that it notices changes by itself.
        files: What identifies the files; if nobody writes, also what any change changes. Time stamps alone do not: two
            changes may fall into one tick of the clock. But every commit leaves another marker.
    """

    is_live: bool
    files: tuple[object, ...]

    @classmethod
    def of(cls, path: Path) -> State:
        """Looks at the files."""
        database, log, index = (_stat(f"{path}{ending}") for ending in ("", "-wal", "-shm"))
        identity = database and (database.st_dev, database.st_ino)
        if log is not None and (log.st_size or index is not None):
            return cls(True, (identity, log.st_ino))  # noqa: FBT003
        changes = database and (database.st_size, database.st_mtime_ns, database.st_ctime_ns)
        return cls(False, (identity, changes, log is None, _marker(path.parent)))  # noqa: FBT003


class ViewConnections:
    """Connections that cannot write; see `korag.collection.local.connections.Connections`.

    Args:
        path: The file.
        timeout: Seconds to wait for a lock.
    """

    def __init__(self, path: Path, *, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self.statement: AbstractContextManager[object] = nullcontext()
        self._slots = threading.Semaphore(READERS)
        self._lock = threading.RLock()
        self._idle: list[tuple[sqlite3.Connection, State]] = []
        self._closed = self._abandoned = False
        self._writer: tuple[sqlite3.Connection, State] | None = self._open()
        self._writing = threading.RLock()

    @property
    def writer(self) -> sqlite3.Connection:
        """As `Connections.writer`."""
        with self._lock:
            if self._writer is None and self._closed:
                raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
            self._writer = self._writer or self._open()
            return self._writer[0]

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """As `Connections.reading`.

        Raises:
            ChangedMeanwhileError: At the end, if what was read is of no use.
        """
        with self._slots:
            connection, state = self._take()
            try:
                yield connection
            except Exception as error:
                self._check(state, error)  # half of a change looks like damage
                raise
            finally:
                self._give_back(connection, state)
            self._check(state)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """As `Connections.writing`: the connection can begin, and is refused at its first change."""
        with self._writing:
            if not self._closed and self._writer is not None and State.of(self._path) != self._writer[1]:
                self._writer[0].close()
                self._writer = None
            yield self.writer

    def close(self) -> None:
        """As `Connections.close`."""
        with uses.use():
            with self._lock:
                self._closed = True
                idle, self._idle = self._idle, []
            for connection, _ in idle:
                connection.close()
            with self._writing:
                if self._writer is not None:
                    self._writer[0].close()

    def close_as_it_is(self) -> None:
        """As `close`: nothing can be written."""
        self.close()

    def rest(self) -> None:
        """As `Connections.rest`."""
        for connection, _ in (*self._idle, *((self._writer,) if self._writer else ())):
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

    def _open(self) -> tuple[sqlite3.Connection, State]:
        if self._abandoned:
            raise in_use_at_fork(self._path)
        state = State.of(self._path)
        mode = "?mode=ro" if state.is_live else "?mode=ro&immutable=1"
        return connect(self._path, timeout=self._timeout, mode=mode), state

    def _take(self) -> tuple[sqlite3.Connection, State]:
        state = State.of(self._path)
        with self._lock:
            if self._closed:
                raise sqlite3.ProgrammingError("Cannot operate on a closed database.")
            idle, self._idle = self._idle, []
            outdated = [connection for connection, known in idle if known != state]
            self._idle = [entry for entry in idle if entry[1] == state]
            found = self._idle.pop() if self._idle else None
        for connection in outdated:
            connection.close()
        return found or self._open()

    def _give_back(self, connection: sqlite3.Connection, state: State) -> None:
        with self._lock:
            if not self._closed and not connection.in_transaction:
                self._idle.append((connection, state))
                return
        connection.close()

    def _check(self, state: State, error: Exception | None = None) -> None:
        if (not state.is_live or error is not None) and State.of(self._path) != state:
            raise ChangedMeanwhileError(
                f"'{self._path}'을(를) 읽는 동안 다른 프로세스가 계속 바꾸고 있습니다. 잠시 뒤 다시 하세요.",
                f"Another process keeps changing '{self._path}' while it is read; try again in a moment.",
            ) from error


def is_read_only(path: Path) -> bool:
    """Returns True for a database in a folder that this process cannot write to."""
    return path.exists() and not os.access(path.parent, os.W_OK)


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)  # noqa: PTH116 (done at every read: half the time of Path.stat)
    except OSError:
        return None


def _marker(folder: Path) -> bytes | None:
    try:
        with open_file(folder / MARKER_FILE) as file:
            return file.read(100)
    except OSError:
        return None
