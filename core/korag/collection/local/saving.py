"""Copies of collections: written to a temporary folder next to the target, then put in its place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korag.collection.local.database import DATABASE_FILE, Database
from korag.collection.local.marker import MARKER_FILE, is_unfinished
from korag.collection.local.remains import NOBODYS
from korag.collection.local.replacing import finish_interrupted, put_in_place, remove_leftovers, temporary_folder
from korag.collection.local.segment_stores import SEGMENT_FOLDER, SegmentFolder
from korag.collection.local.snapshot import Snapshot
from korag.errors import CollectionLockedError, ForeignFolderError, IndexStateError, InvalidArgumentError
from korag.storage import is_taken, storage_errors

_OWN = frozenset(
    {MARKER_FILE, SEGMENT_FOLDER, *(DATABASE_FILE + suffix for suffix in ("", "-wal", "-shm", "-journal"))}
)


def _is_own(name: str) -> bool:
    """Returns True for what a collection's folder may hold."""
    return name in _OWN or name in NOBODYS or is_unfinished(name)


def save_copy(
    database: Database, snapshot: Snapshot, manifest: dict[str, Any], folder: Path, *, overwrite: bool
) -> Path:
    """Writes documents and segments of one moment into a folder, in the current format.

    Args:
        database: The documents.
        snapshot: The segments, at the database's generation.
        manifest: The legs.
        folder: The target; absolute. If it is a link, the link stays and the folder it leads to is replaced.
        overwrite: Replace a collection that is there.

    Returns:
        The folder.

    Raises:
        InvalidArgumentError: If there is a collection and `overwrite` is False.
        ForeignFolderError: If there is something else.
        ReadOnlyError: If the folder cannot be written.
        StorageFullError: If there is not enough space.
    """
    with storage_errors(folder, writing=True):
        place = folder.resolve()
        finish_interrupted(place)
        _check_target(folder, overwrite=overwrite)
        with temporary_folder(place) as unfinished:
            store = SegmentFolder(unfinished / SEGMENT_FOLDER)
            infos = [store.write(reader.segment) for reader in snapshot.readers]
            database.copy_to(unfinished / DATABASE_FILE, infos, manifest)
            _check_target(folder, overwrite=overwrite)  # much may have happened meanwhile
            with _without_writers(place, timeout=database.timeout):
                put_in_place(unfinished, place)
        remove_leftovers(place, _is_own)
    return folder


@contextlib.contextmanager
def _without_writers(folder: Path, *, timeout: float) -> Iterator[None]:
    """Lets no other process commit to a collection that is replaced: its commit would be acknowledged and then gone.

    Those that wait for their turn find that another collection is in its place.
    """
    file = folder / DATABASE_FILE
    with contextlib.ExitStack() as stack:
        if file.exists() and os.name != "nt":  # Windows renames no folder in which a file is open
            try:
                target = stack.enter_context(contextlib.closing(Database(file, timeout=timeout)))
                stack.enter_context(target.without_writers())
            except (CollectionLockedError, ForeignFolderError):
                raise
            except IndexStateError:  # damaged, so that nobody can write to it
                stack.close()
        yield


def _check_target(folder: Path, *, overwrite: bool) -> None:
    if not is_taken(folder):
        return
    if not (folder / DATABASE_FILE).exists():
        raise ForeignFolderError(
            f"'{folder}'에는 KoRAG 컬렉션이 아닌 것이 있습니다. 비어 있거나 없는 폴더에 저장하세요. "
            "아무것도 바꾸지 않았습니다.",
            f"'{folder}' holds something other than a KoRAG collection; save into a folder that is empty or does not "
            "exist. Nothing was changed.",
        )
    if not overwrite:
        raise InvalidArgumentError(
            f"'{folder}'에 이미 컬렉션이 있습니다. 다른 폴더에 저장하거나 overwrite=True로 바꾸세요.",
            f"There is a collection in '{folder}' already; save into another folder, or replace it with "
            "overwrite=True.",
        )
    if theirs := sorted(entry.name for entry in folder.iterdir() if not _is_own(entry.name)):
        raise ForeignFolderError(
            f"'{folder}'에는 컬렉션 말고 다른 것도 있습니다('{theirs[0]}'). 폴더를 통째로 바꾸면 사라지므로 아무것도 "
            "바꾸지 않았습니다. 다른 곳으로 옮기거나 다른 폴더에 저장하세요.",
            f"'{folder}' holds more than a collection ('{theirs[0]}'), which would go when the folder is replaced. "
            "Nothing was changed; move it elsewhere, or save into another folder.",
        )
