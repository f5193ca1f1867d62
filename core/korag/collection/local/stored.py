"""A collection's folder, read without loading a model: what is in it, and its documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korag.collection.documents import StoredDocument
from korag.collection.local.database import DATABASE_FILE, Database
from korag.collection.local.manifest import read_manifest
from korag.collection.local.remains import check_database_there
from korag.collection.local.replacing import finish_interrupted
from korag.collection.local.upgrade import missing_collection
from korag.legs.windows.codec import split_name
from korag.storage import storage_errors

_PAGE = 512
"""Documents read at a time."""


@dataclass(frozen=True)
class LegInfo:
    """One way to search a collection.

    Attributes:
        name: Of the leg.
        model: Its model; None for one without, such as BM25.
        codec: How its representations are stored.
        window: Tokens of a window; None if documents are not split.
        tokenizer: Of BM25; None for others.
    """

    name: str
    model: str | None
    codec: str
    window: int | None
    tokenizer: str | None


@dataclass(frozen=True)
class FolderInfo:
    """The content of a collection's folder.

    Attributes:
        path: The folder.
        documents: How many.
        segments: How many.
        bytes: Of all files in the folder.
        format: Version of the format on disk.
        legs: The ways to search.
        fusion: The fusion fitted to it, as it is recorded; None for the default.
    """

    path: str
    documents: int
    segments: int
    bytes: int
    format: int
    legs: tuple[LegInfo, ...]
    fusion: Mapping[str, Any] | None


class StoredFolder:
    """Reads a folder; made by `reading`.

    Args:
        folder: The folder.
        database: Its database.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self._folder, self._database = folder, database

    def info(self) -> FolderInfo:
        """Returns what the folder holds."""
        with self._database.reading():
            manifest, _ = read_manifest(self._database)
            size = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
            return FolderInfo(
                str(self._folder),
                self._database.count(),
                len(self._database.segments()),
                size,
                self._database.version(),
                tuple(leg_info(name, entry) for name, entry in manifest.items()),
                self._database.read_setting("fusion"),
            )

    def __len__(self) -> int:
        return self._database.count()

    def documents(self) -> Iterator[StoredDocument]:
        """Yields all documents in insertion order, those that are there when they are read."""
        keys = self._database.keys()
        for first in range(0, len(keys), _PAGE):
            found = self._database.documents(keys[first : first + _PAGE].tolist())
            yield from (found[key] for key in sorted(found))


@contextmanager
def reading(folder: Path, *, timeout: float = 30.0) -> Iterator[StoredFolder]:
    """Opens a collection's folder without its models, which need not be on this machine.

    Args:
        folder: The collection.
        timeout: Seconds to wait for another process, where SQLite must.

    Raises:
        ForeignFolderError: If the folder holds something else.
        FormatVersionError: If a newer KoRAG made it, or one that is too old.
        IndexStateError: If there is no collection.
    """
    with storage_errors(folder, writing=False):
        finish_interrupted(folder)
        check_database_there(folder / DATABASE_FILE)
        if not (folder / DATABASE_FILE).exists():
            raise missing_collection(folder)
    database = Database(folder / DATABASE_FILE, timeout=timeout)
    try:
        if database.is_new():
            raise missing_collection(folder)
        yield StoredFolder(folder, database)
    finally:
        database.close()


def leg_info(name: str, entry: Mapping[str, Any]) -> LegInfo:
    """Returns what a manifest says of a leg.

    Args:
        name: Of the leg.
        entry: Its entry in the manifest.
    """
    codec, _ = split_name(str(entry.get("codec", {}).get("name", "-")))
    model = entry.get("fingerprint", {}).get("model")
    window = (entry.get("windows") or {}).get("window")
    tokenizer = entry.get("settings", {}).get("tokenizer")
    return LegInfo(name, model, codec, window, None if tokenizer is None else _named(tokenizer))


def _named(tokenizer: Any) -> str:
    return str(tokenizer.get("name", tokenizer)) if isinstance(tokenizer, Mapping) else str(tokenizer)
