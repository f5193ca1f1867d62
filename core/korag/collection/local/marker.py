"""The commit marker: a small file next to the database that shows when the database has lost commits.

SQLite cannot notice that its write-ahead log was deleted, or that the file was replaced by an older backup: what is
left is a whole database, of an earlier moment. After every commit the marker therefore gets the collection's id and the
number of that commit. A database of another id or a lower number is not the one that was written last.

- The marker is written after the commit and never before it. A process killed in between leaves a marker that is
  behind, which is fine; one that is ahead would report a loss that never happened.
- Processes commit one after another, but may write their markers in another order. Each therefore reads the database
  again after it has written, until both agree: whoever writes the marker last has seen the last commit.
- It is not flushed to disk. The commit before it was; if power fails, an older marker, or none, is left, which hides a
  loss and never invents one. A flush would double the cost of a commit.
- A marker that is missing or unreadable says nothing: collections of older releases have none, and whoever wants to go
  on with what is left deletes it.
"""

from __future__ import annotations

import contextlib
import re
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from korag.collection.local.folders import HeldFolder

MARKER_FILE = "korag.committed"
_UNFINISHED = re.compile(re.escape(MARKER_FILE) + r"\.[0-9a-f]{32}")
_LONGEST = 64
_LINE = re.compile(r"([0-9a-f]{32}) ([0-9]{1,18}) ([0-9a-f]{8})\n")


@dataclass(frozen=True)
class Commit:
    """A state of a collection.

    Attributes:
        collection_id: Its id; None in formats before 4.
        generation: The number of the commit.
    """

    collection_id: str | None
    generation: int


def read_marker(folder: HeldFolder) -> Commit | None:
    """Returns the commit that the marker names; None if there is none, or it is unreadable."""
    try:
        text = folder.read(MARKER_FILE, limit=_LONGEST).decode("ascii")
    except (OSError, ValueError):
        return None
    parsed = _LINE.fullmatch(text)
    if parsed is None or text != _line(commit := Commit(parsed[1], int(parsed[2]))):
        return None
    return commit


def write_marker(folder: HeldFolder, newest: Callable[[], Commit]) -> None:
    """Writes the marker after a commit.

    A marker that cannot be written is left as it is: the commit is done, and a marker that is behind does no harm.

    Args:
        folder: The collection.
        newest: Reads the newest commit.
    """
    marker: Commit | None = None
    with contextlib.suppress(OSError):
        while (commit := newest()) != marker:
            unfinished = f"{MARKER_FILE}.{uuid.uuid4().hex}"
            # The name may be gone: another process took it for that of a killed one.
            with contextlib.suppress(FileNotFoundError):
                folder.write(MARKER_FILE, _line(commit).encode(), unfinished=unfinished)
                marker = commit


def remove_unfinished(folder: HeldFolder) -> None:
    """Removes markers that killed processes have not finished."""
    for name in folder.names():
        if is_unfinished(name):
            with contextlib.suppress(OSError):
                folder.unlink(name)


def is_unfinished(name: str) -> bool:
    """Returns True for the name of a marker that is being written, or was when its process was killed."""
    return bool(_UNFINISHED.fullmatch(name))


def _line(commit: Commit) -> str:
    text = f"{commit.collection_id} {commit.generation}"
    return f"{text} {zlib.crc32(text.encode()):08x}\n"
