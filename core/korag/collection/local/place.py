"""The place of an open collection, watched: a folder that was moved, deleted or replaced is an error, not an answer.

SQLite keeps the files it has opened. If the folder is renamed or another collection is saved over it, SQLite goes on
with the old files without noticing, while segments would be looked for in the new folder. So the files found by name
are compared with those that were opened: by device and inode, and by the id that the collection has in its database.

On Windows the file system need not have inodes. But there a file that is open cannot be renamed or deleted, nor can the
folder it is in, so that nothing can take its place.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from korag.collection.local.folders import HeldFolder, hold
from korag.errors import IndexStateError

Identity = tuple[int, int]


class Place:
    """The database of a collection and the folder it is in.

    Args:
        file: The database.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._log = file.with_name(file.name + "-wal")
        self._known_file: Identity | None = None
        self._known_log: Identity | None = None

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """Takes the database that is opened inside for the collection's."""
        found = _identity(self.file)
        yield
        self._known_file = found if found == _identity(self.file) else None

    @property
    def is_known(self) -> bool:
        """False if the database was made, or replaced, while it was opened: which one was opened is then unknown."""
        return self._known_file is not None

    def remember_log(self) -> None:
        """Takes the log for the collection's; to be called by whoever has the database open and thereby keeps it."""
        self._known_log = _identity(self._log)

    def check(self) -> None:
        """Raises unless the files are those that were opened.

        The write-ahead log is among them: it exists as long as anybody has the database open.

        Raises:
            IndexStateError: If the database or its log is another one, or gone.
        """
        if _differs(_identity(self.file), self._known_file) or _differs(_identity(self._log), self._known_log):
            raise self.lost()

    @contextlib.contextmanager
    def held(self) -> Iterator[HeldFolder]:
        """Holds the folder that the opened database is in, whatever its name is meanwhile.

        Raises:
            IndexStateError: If it has been moved, deleted or replaced.
        """
        with contextlib.ExitStack() as stack:
            try:
                folder = stack.enter_context(hold(self.file.parent))
                found = folder.stat(self.file.name)
            except (FileNotFoundError, NotADirectoryError) as error:
                raise self.lost() from error
            if _differs((found.st_dev, found.st_ino), self._known_file):
                raise self.lost()
            yield folder

    def lost(self) -> IndexStateError:
        """Returns the error for a place that is no longer the collection's."""
        folder = self.file.parent
        return IndexStateError(
            f"'{folder}'은(는) 더 이상 여기서 연 컬렉션이 아닙니다. 폴더나 데이터베이스 파일이 옮겨졌거나 지워졌거나 "
            "다른 것으로 바뀌었습니다. 아무것도 쓰지 않았습니다. Collection.open으로 다시 여세요. 옮겼다면 새 위치에서 "
            "여세요.",
            f"'{folder}' is no longer the collection that was opened here: the folder or a file of its database was "
            "moved, deleted or replaced. Nothing was written. Open it again with Collection.open, at its new place if "
            "it was moved.",
        )

    def lost_meanwhile(self) -> IndexStateError:
        """Returns the error for a place that was taken while something was committed to the collection."""
        folder = self.file.parent
        return IndexStateError(
            f"'{folder}'에 쓰는 동안 폴더나 데이터베이스 파일이 옮겨졌거나 지워졌거나 다른 것으로 바뀌었습니다. 방금 "
            "쓴 내용은 옮겨진 컬렉션에만 있고, 지워졌다면 없습니다. Collection.open으로 다시 열어 확인한 뒤 다시 "
            "쓰세요.",
            f"While '{folder}' was being written to, the folder or a file of its database was moved, deleted or "
            "replaced. What was just written is in the collection that was moved, or gone if it was deleted. Open it "
            "again with Collection.open, look, and repeat the change.",
        )


def _identity(path: Path) -> Identity | None:
    try:
        found = os.stat(path)  # noqa: PTH116 (done at every read: half the time of Path.stat)
    except OSError:  # gone, or no longer within reach, which is the same here
        return None
    return found.st_dev, found.st_ino


def _differs(found: Identity | None, known: Identity | None) -> bool:
    return known is not None and known[1] != 0 and found != known
