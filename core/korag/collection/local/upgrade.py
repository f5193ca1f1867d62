"""Rewrites old collections in the current format, without encoding a text."""

from __future__ import annotations

import contextlib
from pathlib import Path

from korag.collection.local.database import DATABASE_FILE, Database
from korag.collection.local.manifest import current_manifest, resolve_codecs
from korag.collection.local.remains import check_database_there
from korag.collection.local.replacing import finish_interrupted
from korag.collection.local.segment_stores import SEGMENT_FOLDER, SegmentFolder
from korag.collection.local.segments import Segment, SegmentInfo
from korag.errors import CollectionLockedError, ForeignFolderError, IndexStateError
from korag.storage import storage_errors


def upgrade_folder(folder: Path, *, timeout: float) -> int:
    """Brings the segments and the manifest of a collection into the current format.

    Everything becomes visible in one commit. A process killed before it leaves the old collection, and files that no
    database names, which the next write removes. Segments are rewritten one at a time, so memory holds one of them.

    Args:
        folder: The collection; absolute.
        timeout: Seconds to wait for another process that is writing.

    Returns:
        The number of segments rewritten.

    Raises:
        IndexStateError: If there is no collection, or one of its legs or codecs is not registered here.
        ForeignFolderError: If the folder holds something else.
        FormatVersionError: If a newer KoRAG made it, or one that is too old.
        CollectionLockedError: If another process is still writing after the time-out.
        ReadOnlyError: If the folder cannot be written to and something needs to be.
        StorageFullError: If there is not enough space; the collection stays as it was.
        SegmentError: If a segment is missing or damaged.
    """
    with storage_errors(folder, writing=False):
        finish_interrupted(folder)
        check_database_there(folder / DATABASE_FILE)
        if not (folder / DATABASE_FILE).exists():
            raise missing_collection(folder)
    database = Database(folder / DATABASE_FILE, timeout=timeout)
    try:
        return _upgrade(database, SegmentFolder(folder / SEGMENT_FOLDER), folder)
    finally:
        database.close()


def _upgrade(database: Database, store: SegmentFolder, folder: Path) -> int:
    if database.is_new():  # a process was killed while making it
        raise missing_collection(folder)
    database.remember()
    with database.transaction() as undo:
        manifest, is_recorded = current_manifest(database, f"'{folder}'")
        codecs = resolve_codecs(manifest, f"'{folder}'")
        old: list[SegmentInfo] = []
        new: list[SegmentInfo] = []
        for info in database.segments():
            segment = store.read(info)
            if segment.outdated(codecs):
                if not old:
                    database.check_writable()
                    store.keep_only({named.name for named in database.segments()}, database.folder)
                upgraded = segment.read(codecs, file=info.name)
                old.append(info)
                # Legs that the manifest does not name stay as they are: nothing here knows what they are for.
                new.append(store.write(Segment(segment.keys, {**segment.legs, **upgraded.legs})))
                undo.callback(store.discard, new[-1])
        if not old and is_recorded and not database.lacks_checksums():
            return 0
        database.check_writable()
        database.write_legs(manifest)
        database.add_checksums()
        database.replace_segments(old, new)
    # After the commit: until then, the old files are the collection. Another process may be writing by now; the next
    # write removes the files instead.
    with contextlib.suppress(CollectionLockedError), database.transaction():
        store.keep_only({info.name for info in database.segments()}, database.folder)
    return len(old)


def missing_collection(folder: Path) -> IndexStateError:
    """Returns the error for a folder without a collection."""
    if folder.exists() and (folder.is_file() or any(path.name != DATABASE_FILE for path in folder.iterdir())):
        return ForeignFolderError(
            f"'{folder}'은(는) KoRAG 컬렉션이 아닙니다. 컬렉션이 있는 폴더를 넣으세요. 아무것도 바꾸지 않았습니다.",
            f"'{folder}' is not a KoRAG collection; pass the folder of one. Nothing was changed.",
        )
    return IndexStateError(
        f"'{folder}'에 컬렉션이 없습니다. 컬렉션이 있는 폴더를 넣으세요.",
        f"There is no collection in '{folder}'; pass the folder of one.",
    )
