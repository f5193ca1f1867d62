"""Exchanging two folders in one step, and flushing names to disk, which the standard library does not offer."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}
"""A system or file system does not know this call; EPERM is from sandboxes, which admit only calls they know."""


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


def flush_folder(folder: Path) -> None:
    """Flushes the names in a folder to disk."""
    if os.name == "posix":  # Windows has no handle on a folder to flush
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
