"""Locks on files that are being written, so that no other process takes them for what a killed one left behind.

The operating system gives a lock back when its process ends, however that happens. Some file systems know no locks;
there, a merge may find its file gone, and is an error that changes nothing.
"""

from __future__ import annotations

import contextlib
import os
from io import FileIO
from pathlib import Path

from korag.collection.local.folders import HeldFolder

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed anyway
    fcntl = None  # type: ignore[assignment]


def create_locked(path: Path) -> FileIO:
    """Creates a file that is locked until it is closed.

    It has no buffer: a process that is forked meanwhile would write what is in it once more.
    """
    while True:
        file = path.open("xb", buffering=0)
        if fcntl is None:
            return file
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()  # somebody removed it before it was locked


def remove_unlocked(folder: HeldFolder, name: str) -> None:
    """Removes a file, unless it is locked.

    Raises:
        OSError: If it cannot be removed.
    """
    if fcntl is None:
        folder.unlink(name)
        return
    with folder.open(name) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        except OSError:  # no locks here
            pass
        folder.unlink(name)
