"""A finished folder put where a collection is to be, or is, so that a kill at any moment leaves one of the two whole.

A save writes into ``<name>.<8 digits>.tmp`` next to its target, so that both are on one file system. Where the system
can exchange two folders in one step, the target's name is never free. Elsewhere two renames do it: the target becomes
``<name>.<8 digits>.old``, and the new folder takes its name. A process killed between them leaves both folders whole,
and whoever opens the collection next does the second rename.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from korag.collection.local.folders import exchange
from korag.storage import flush

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Makes a folder next to another, to be filled and renamed; removes what is there under its name at the end."""
    target.parent.mkdir(parents=True, exist_ok=True)
    while True:
        path = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        path.mkdir()
        with contextlib.suppress(BlockingIOError, FileNotFoundError):  # another save has taken it for a leftover
            lock = _lock(path)
            if path.exists():  # likewise
                break
            _unlock(lock)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        _unlock(lock)


def put_in_place(new: Path, target: Path) -> None:
    """Gives a folder of `temporary_folder` the name of its target, and removes a collection that was there.

    Args:
        new: The folder, complete.
        target: A collection, an empty folder, or nothing.

    Raises:
        OSError: If there is a folder with something in it after all, or it cannot be renamed.
    """
    if target.exists() and any(target.iterdir()):
        if not exchange(new, target):
            _rename_both(new, target)
    else:
        if os.name == "nt" and target.exists():  # elsewhere a rename replaces an empty folder
            target.rmdir()
        new.rename(target)
    flush(target.parent)


def _rename_both(new: Path, target: Path) -> None:
    old = new.with_suffix(".old")
    target.rename(old)
    try:
        new.rename(target)
    except FileNotFoundError:  # another process has opened the collection meanwhile, by `finish_interrupted`
        pass
    except BaseException:
        with contextlib.suppress(OSError):
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def finish_interrupted(folder: Path) -> None:
    """Does the second rename of a save to this folder that was killed after its first.

    Raises:
        OSError: If the folder cannot be renamed.
    """
    if folder.exists():
        return
    target = folder.resolve()
    for old in _leftovers(target, "old"):
        new = old.with_suffix(".tmp")
        if new.is_dir():  # no more after the second rename
            with contextlib.suppress(FileNotFoundError):  # another process has just done it
                new.rename(target)
            return


def remove_leftovers(target: Path, is_own: Callable[[str], bool]) -> None:
    """Removes what killed saves to this name left next to it.

    Without ``flock`` (Windows) nothing tells them from a save in progress, so they stay.

    Args:
        target: The folder saved to.
        is_own: True for the names that a collection's folder may hold; a folder with anything else in it stays.
    """
    if fcntl is None:
        return
    for path in [*_leftovers(target, "tmp"), *(_leftovers(target, "old") if target.exists() else ())]:
        with contextlib.suppress(OSError):  # in use, or not ours to remove
            lock = _lock(path)
            if lock is not None and all(is_own(entry.name) for entry in path.iterdir()):
                shutil.rmtree(path, ignore_errors=True)
            _unlock(lock)


def _leftovers(target: Path, kind: str) -> list[Path]:
    if not target.parent.is_dir():
        return []
    pattern = re.compile(rf"{re.escape(target.name)}\.[0-9a-f]{{8}}\.{kind}")
    found = [path for path in target.parent.iterdir() if pattern.fullmatch(path.name)]
    return sorted(path for path in found if path.is_dir() and not path.is_symlink())


def _lock(folder: Path) -> int | None:
    """Marks a folder as in use until the handle is closed, be it by a kill.

    Returns:
        The handle; None if the system or the file system has no such locks.

    Raises:
        BlockingIOError: If another process uses it.
        FileNotFoundError: If it is gone.
    """
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    except OSError:
        os.close(handle)
        return None
    return handle


def _unlock(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)
