"""SQLite's errors as KoRAG's: which file, what happened, and what to do."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from korag.errors import CollectionLockedError, ForeignFolderError, IndexStateError, ReadOnlyError, StorageError
from korag.storage import full, read_only, storage_error, unreadable

_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})
"""The last one is for many who open the write-ahead log at once."""
_REFUSED = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
_FAILED_WRITES = frozenset({sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE})
"""For a used-up quota and for files that become too large."""


def translate(error: sqlite3.DatabaseError, path: Path | None, *, timeout: float) -> IndexStateError | None:
    """Returns KoRAG's error for one of SQLite's; None for a mistake in KoRAG itself.

    Args:
        error: SQLite's.
        path: The database; None in memory.
        timeout: Seconds that were waited for another writer.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
    if code in _BUSY:
        return CollectionLockedError(
            f"다른 프로세스가 '{path}'에 쓰고 있습니다({timeout:g}초 기다림). 그 작업이 끝난 뒤 다시 하세요.",
            f"Another process is writing to '{path}' (waited {timeout:g} s); try again after it.",
        )
    if code in _REFUSED:
        return _refused(path)
    if path is not None and is_full(error):
        return full(path, str(error))
    if code == sqlite3.SQLITE_NOTADB:
        return foreign(path)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_IOERR) or "malformed" in str(error):  # pages, or JSON
        return damaged(path, error)
    return None


def is_full(error: sqlite3.DatabaseError) -> bool:
    """Returns True if a disk, a quota or a limit of file sizes is used up."""
    extended = getattr(error, "sqlite_errorcode", 0)
    return extended & 0xFF == sqlite3.SQLITE_FULL or extended in _FAILED_WRITES


def damaged(path: Path | None, reason: object) -> IndexStateError:
    """Returns the error for a file that is not what was written."""
    path = path or Path(":memory:")
    return IndexStateError(
        f"'{path}'을(를) 읽을 수 없습니다({reason}). 파일이 손상되었거나 디스크에 문제가 있습니다. "
        "아무것도 고쳐 쓰지 않았습니다. 백업에서 폴더를 되살리거나 문서를 새 폴더에 다시 색인하세요.",
        f"'{path}' cannot be read ({reason}): the file is damaged or the disk fails. Nothing was "
        "changed; restore the folder from a backup, or index the documents again into a new folder.",
    )


def foreign(path: Path | None) -> ForeignFolderError:
    """Returns the error for another program's database, or none at all."""
    return ForeignFolderError(
        f"'{path}'은(는) KoRAG 컬렉션이 아닙니다. 다른 폴더를 쓰세요. 아무것도 바꾸지 않았습니다.",
        f"'{path}' is not a KoRAG collection. Use another folder; nothing was changed.",
    )


def _refused(path: Path | None) -> StorageError | ReadOnlyError:
    """The error for a file that SQLite could not open, or not for writing; it does not say why."""
    if path is None or (not path.exists() and path.parent.is_dir()):
        return read_only(path)
    try:
        path.stat()
    except OSError as error:
        return storage_error(error, path, writing=False)
    # It is not opened: when a process closes a file, POSIX drops all locks it has on it, SQLite's among them.
    return read_only(path) if os.access(path, os.R_OK) else unreadable(path)
