"""Rewrites collections in the current format, or with another codec of token vectors, without encoding a text."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from korag.collection.local.database import DATABASE_FILE, Database
from korag.collection.local.learning import setting_of
from korag.collection.local.manifest import current_manifest, recoded_legs, resolve_codecs, with_versions
from korag.collection.local.remains import check_database_there
from korag.collection.local.replacing import finish_interrupted
from korag.collection.local.segment_stores import SEGMENT_FOLDER, SegmentFolder
from korag.collection.local.segments import LegArrays, Segment, SegmentInfo, inconsistent
from korag.errors import CollectionLockedError, ForeignFolderError, IndexStateError
from korag.legs.base import Arrays, Codec
from korag.legs.multi_vector.settings import TokenArguments
from korag.legs.windows.codec import WindowedCodec, WindowVectors
from korag.storage import storage_errors

_LEARNED_FROM = 2_048
"""Documents of all segments that a codec learns from, or as many times 8 of these as it takes."""


def upgrade_folder(folder: Path, *, timeout: float, tokens: TokenArguments | None = None) -> int:
    """Brings the segments and the manifest of a collection into the current format.

    Everything becomes visible in one commit. A process killed before it leaves the old collection, and files that no
    database names, which the next write removes. Segments are rewritten one at a time, so memory holds one of them.

    Args:
        folder: The collection; absolute.
        timeout: Seconds to wait for another process that is writing.
        tokens: The codec that token vectors are stored with from now on.

    Returns:
        The number of segments rewritten.

    Raises:
        InvalidArgumentError: If there are no token vectors, or `tokens` contradict the codec they have.
        IndexStateError: If there is no collection, one of its legs or codecs is not registered here, or its codec has
            not kept the vectors that another one needs.
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
        return _upgrade(database, SegmentFolder(folder / SEGMENT_FOLDER), folder, tokens or TokenArguments())
    finally:
        database.close()


def _upgrade(database: Database, store: SegmentFolder, folder: Path, tokens: TokenArguments) -> int:
    if database.is_new():  # a process was killed while making it
        raise missing_collection(folder)
    database.remember()
    with database.transaction() as undo:
        manifest, is_recorded = current_manifest(database, f"'{folder}'")
        codecs = resolve_codecs(manifest, f"'{folder}'")
        recoded = recoded_legs(codecs, tokens, place=f"'{folder}'")
        manifest = with_versions(manifest, codecs | recoded)
        old: list[SegmentInfo] = []
        new: list[SegmentInfo] = []
        learned = {leg: _learn(database, store, codecs, leg, codec) for leg, codec in recoded.items()}
        for info in database.segments():
            segment = store.read(info)
            if segment.outdated(codecs | recoded):
                if not old:
                    database.check_writable()
                    store.keep_only({named.name for named in database.segments()}, database.folder)
                upgraded = segment.read(codecs, file=info.name)
                old.append(info)
                # Legs that the manifest does not name stay as they are: nothing here knows what they are for.
                legs = {
                    leg: _recode(upgraded, leg, codecs[leg], codec, info, learned[leg])
                    for leg, codec in recoded.items()
                }
                new.append(store.write(Segment(segment.keys, {**segment.legs, **upgraded.legs, **legs})))
                undo.callback(store.discard, new[-1])
        if not old and not recoded and is_recorded and not database.lacks_checksums():
            return 0
        database.check_writable()
        database.write_legs(manifest)
        for leg, codec in recoded.items():
            name = None if (found := learned[leg]) is None else codec.learned(found)
            database.replace_setting(setting_of(leg), name and name[0])
        database.add_checksums()
        database.replace_segments(old, new)
    # After the commit: until then, the old files are the collection. Another process may be writing by now; the next
    # write removes the files instead.
    with contextlib.suppress(CollectionLockedError), database.transaction():
        store.keep_only({info.name for info in database.segments()}, database.folder)
    return len(old)


def _learn(
    database: Database, store: SegmentFolder, codecs: Mapping[str, Codec], leg: str, new: Codec
) -> Arrays | None:
    """Lets a codec learn from documents of all segments, so that it fits a collection that has grown."""
    if not new.learns:
        return None
    infos, inner = database.segments(), new.inner if isinstance(new, WindowedCodec) else new
    total, count = sum(info.rows for info in infos), _LEARNED_FROM
    while (learned := inner.learn(_sample(store, infos, leg, codecs[leg], count))) is None and count < total:
        count *= 8  # short documents
    return learned


def _sample(store: SegmentFolder, infos: Sequence[SegmentInfo], leg: str, codec: Codec, count: int) -> list[Any]:
    """The vectors of about so many documents, spread evenly over all segments."""
    parts: list[Any] = []
    for info in infos:
        segment = store.read(info).read({leg: codec}, file=info.name)
        own = min(len(segment.keys), -(-count // len(infos)))
        chosen = np.unique(np.linspace(0, len(segment.keys) - 1, own).astype(np.int64))
        decoded = codec.decode(segment.legs[leg].arrays, chosen)
        parts += decoded.vectors if isinstance(decoded, WindowVectors) else decoded
    return parts


def _recode(segment: Segment, leg: str, old: Codec, new: Codec, info: SegmentInfo, learned: Arrays | None) -> LegArrays:
    """Encodes the vectors of a leg anew, those of deleted documents included: rows belong to all legs."""
    arrays = segment.legs[leg].arrays
    try:
        old.check(arrays, len(segment.keys), dim=None)
    except (ValueError, LookupError, TypeError) as error:
        raise inconsistent(info.name, f"'{leg}': {error}") from error
    return LegArrays.encode(new, old.decode(arrays, np.arange(len(segment.keys))), len(segment.keys), learned)


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
