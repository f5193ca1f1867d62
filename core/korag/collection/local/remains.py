"""Remains of a collection whose database is gone: never taken for a new collection, and never cleared away."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from korag.collection.local.marker import MARKER_FILE, Commit
from korag.collection.local.segment_stores import SEGMENT_FOLDER
from korag.errors import IndexStateError

NOBODYS = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""Files that desktops leave in any folder they show."""
EMPTY = NOBODYS | {"lost+found"}
"""Names that a folder may hold and still be empty; the last is in every new ext4 volume."""


def check_database_there(file: Path) -> None:
    """Raises if a database is missing or empty, but something else of a collection is there.

    To be called before SQLite opens the file: it removes the log of an empty database.

    Args:
        file: The database.

    Raises:
        IndexStateError: If so.
    """
    remains = _find_remains(file)
    # In this order: whoever makes a collection fills the database first.
    if remains and not _size(file):
        raise _no_database(file, remains)


def is_new(file: Path, version: Callable[[], int]) -> bool:
    """True if a database has no tables yet.

    Args:
        file: The database.
        version: Reads its format; 0 if it has no tables.

    Raises:
        IndexStateError: If it has none, but something else of a collection is there: it has lost them, with its log.
    """
    # In this order: whoever makes a collection fills the database first.
    remains = [path for path in _find_remains(file) if not path.name.endswith("-wal")]
    if version():
        return False
    if remains:
        raise _no_database(file, remains)
    return True


def _find_remains(file: Path) -> list[Path]:
    """Finds what is there of a collection besides the database: marker, segments, a log with something in it."""
    folder, log = file.parent, file.with_name(file.name + "-wal")
    segments = folder / SEGMENT_FOLDER
    found = [path for path in (folder / MARKER_FILE,) if path.exists()]
    # Somebody else may have a folder of this name, but not next to our database.
    if segments.is_dir() and (file.exists() or any(map(_is_segment, segments.iterdir()))):
        found.append(segments)
    return [*found, log] if _size(log) else found


def _is_segment(path: Path) -> bool:
    return bool(re.fullmatch(r"[0-9a-f]{32}\.safetensors", path.name))


def check_commits(found: Commit, marker: Commit | None, folder: Path) -> None:
    """Raises if a database is not the one that was written last.

    Args:
        found: Its state, read after the marker.
        marker: What the marker names.
        folder: The collection.

    Raises:
        IndexStateError: If so.
    """
    if marker is None or (found.collection_id == marker.collection_id and found.generation >= marker.generation):
        return
    if found.collection_id == marker.collection_id:
        korean = "데이터베이스에 마지막 변경이 없습니다. '-wal' 파일이 지워졌거나, 예전 백업으로 바뀐 것 같습니다"
        english = "its database lacks the last changes: its '-wal' file was deleted, or an older backup put there"
    else:
        korean = "데이터베이스가 이 폴더의 것이 아닙니다. 다른 컬렉션의 것이거나, 예전 버전의 백업입니다"
        english = "its database is not the one of this folder: it is another collection's, or a backup in an old format"
    marker_file = folder / MARKER_FILE
    raise IndexStateError(
        f"'{folder}'의 내용이 온전하지 않습니다: {korean}. 아무것도 바꾸지 않았습니다. 백업에서 폴더를 통째로 "
        f"되살리세요. 잃은 변경을 포기하고 지금 상태로 쓰려면 '{marker_file}' 파일을 지우고 다시 여세요.",
        f"'{folder}' is not complete: {english}. Nothing was changed. Restore the whole folder from a backup. To "
        f"accept the loss and go on with what is there, delete '{marker_file}' and open it again.",
    )


def _no_database(file: Path, remains: list[Path]) -> IndexStateError:
    names = ", ".join(f"'{path.name}'" for path in remains)
    if _size(file):  # a file without tables
        korean, english = (
            "이(가) '-wal' 파일 없이 복사된 것처럼 비어 있습니다",
            "empty, as in a copy without its '-wal' file",
        )
    else:
        korean, english = "이(가) 없거나 비어 있습니다", "missing or empty"
    return IndexStateError(
        f"'{file.parent}'에 컬렉션의 {names}이(가) 있는데 데이터베이스 '{file.name}'{korean}. 새 컬렉션으로 보지 "
        "않았고, 아무것도 바꾸지 않았습니다. 백업에서 폴더를 통째로 되살리거나, 이 폴더를 지우고 문서를 다시 "
        "색인하세요.",
        f"'{file.parent}' holds {names} of a collection, but its database '{file.name}' is {english}. It was not "
        "taken for a new collection, and nothing was changed. Restore the whole folder from a backup, or delete the "
        "folder and index the documents again.",
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
