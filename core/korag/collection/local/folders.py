"""Folders as the standard library does not offer them: held open, and exchanged in one step."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}
"""A system or file system does not know this call; EPERM is from sandboxes, which admit only calls they know."""
_BY_HANDLE = {os.open, os.stat, os.mkdir, os.rename, os.unlink} <= os.supports_dir_fd and os.listdir in os.supports_fd


class HeldFolder:
    """A folder held open: what is done by it is done in that folder, even if another has taken its name meanwhile.

    Windows has no such handles; there a folder in which a file is open cannot be renamed.

    Attributes:
        path: Its name when it was opened.
    """

    def __init__(self, path: Path, handle: int | None) -> None:
        self.path = path
        self._handle = handle

    def names(self) -> list[str]:
        """The names of what is in it."""
        return os.listdir(self.path if self._handle is None else self._handle)  # noqa: PTH208 (of a handle)

    def stat(self, name: str) -> os.stat_result:
        """As `os.stat` of a file in it, without following a link."""
        return os.stat(self._name(name), dir_fd=self._handle, follow_symlinks=False)

    def open(self, name: str) -> BinaryIO:
        """Opens a file for reading, without following a link or waiting for a pipe."""
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        return os.fdopen(os.open(self._name(name), flags, dir_fd=self._handle), "rb")

    def read(self, name: str, *, limit: int) -> bytes:
        """Returns the first bytes of a file, without following a link or waiting for a pipe."""
        with self.open(name) as file:
            return file.read(limit) or b""

    def write(self, name: str, data: bytes, *, unfinished: str) -> None:
        """Writes a file whole: under another name first, and then renamed. Not flushed to disk.

        Args:
            name: The file; replaced if it is there.
            data: Its content.
            unfinished: Its name until it is complete; must not exist.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(self._name(unfinished), flags, 0o666, dir_fd=self._handle), "wb") as file:
            file.write(data)
        os.replace(self._name(unfinished), self._name(name), src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def unlink(self, name: str) -> None:
        """Removes a file."""
        os.unlink(self._name(name), dir_fd=self._handle)

    def _name(self, name: str) -> str:
        return name if self._handle is not None else str(self.path / name)


@contextlib.contextmanager
def hold(path: Path, *, within: HeldFolder | None = None) -> Iterator[HeldFolder]:
    """Holds a folder open.

    Args:
        path: The folder.
        within: The folder it is in, if that is held already; a link is refused then.

    Raises:
        OSError: If it cannot be opened.
    """
    if not _BY_HANDLE:
        yield HeldFolder(path, None)
        return
    flags = os.O_RDONLY | os.O_DIRECTORY
    if within is None:
        handle = os.open(path, flags)
    else:
        handle = os.open(path.name, flags | os.O_NOFOLLOW, dir_fd=within._handle)
    try:
        yield HeldFolder(path, handle)
    finally:
        os.close(handle)


def exchange(one: Path, other: Path) -> bool:
    """Exchanges two folders, so that neither name is free at any moment.

    Linux does it by ``renameat2(RENAME_EXCHANGE)``, macOS by ``renamex_np(RENAME_SWAP)``.

    Args:
        one: A folder.
        other: A folder on the same file system.

    Returns:
        False if the system or the file system cannot; nothing was changed then.

    Raises:
        OSError: If it can, and this failed.
    """
    here, there = os.fsencode(one), os.fsencode(other)
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "darwin":
            failed = library.renamex_np(here, there, ctypes.c_uint(2))
        else:
            current = ctypes.c_int(-100)  # AT_FDCWD: relative to the working directory
            failed = library.renameat2(current, here, current, there, ctypes.c_uint(2))
    except (AttributeError, TypeError, OSError):  # no such call; Windows has no library of this kind
        return False
    if not failed:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(one), None, str(other))
