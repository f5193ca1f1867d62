"""The files of a collection: regular ones, of names KoRAG gives, in one folder, and nothing that leads out of it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from korag.errors import ForeignFolderError

SEGMENT_NAME = re.compile(r"[0-9a-f]{32}\.safetensors")
OWN_NAME = re.compile(r"[0-9a-f]{32}\.(safetensors|tmp)")
"""Of segments, and of those that are being written."""
_LOGS = ("", "-wal", "-shm", "-journal")
"""SQLite's files, by what they add to the database's name."""


def check_database(path: Path) -> None:
    """Raises unless the files of a database are regular, or not there: SQLite follows links, and waits for pipes.

    Raises:
        ForeignFolderError: If one is a link, a folder, a pipe or a device.
    """
    for ending in _LOGS:
        _check(path.with_name(path.name + ending), stat.S_ISREG)


def check_folder(path: Path) -> bool:
    """Returns True if a folder is there, False if nothing is.

    Raises:
        ForeignFolderError: If it is a link to one, or something else.
    """
    return _check(path, stat.S_ISDIR)


def is_file(path: Path) -> bool:
    """Returns True if a regular file is there, and not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def open_file(path: Path) -> BinaryIO:
    """Opens a regular file for reading, without following a link or waiting for a pipe.

    Raises:
        OSError: If there is no such file, or it cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("not a regular file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check(path: Path, is_right: Callable[[int], bool]) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not is_right(mode):
        kind = "링크" if stat.S_ISLNK(mode) else "다른 종류의 파일"
        raise ForeignFolderError(
            f"'{path}'은(는) KoRAG가 만든 것이 아니라 {kind}입니다. 컬렉션 밖의 파일은 읽거나 지우지 않으므로 열지 "
            "않습니다. 컬렉션의 폴더를 통째로 복사해 쓰세요. 아무것도 바꾸지 않았습니다.",
            f"'{path}' is a {'link' if stat.S_ISLNK(mode) else 'file of another kind'}, which KoRAG does not make. "
            "Files outside a collection are neither read nor removed, so it is not opened; use a copy of the whole "
            "folder. Nothing was changed.",
        )
    return True
