"""A note in the metadata of each document, by which the next run knows its file without reading it.

It stands with the documents, so that it is of the same commit: whatever kills a run, a file's note is there exactly for
those of its documents that are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from korag.collection.base import Collection
from korag.collection.documents import StoredDocument
from korag.folders.scanning import FoundFile
from korag.storage import storage_errors

FILE = "file"
"""The key of a document's metadata under which its file is."""
NOTE = "_file"
"""The key under which the note is."""
_PAGE = 512
_DIGITS = 32


@dataclass(frozen=True)
class Note:
    """A file as it was read.

    Attributes:
        size: Bytes.
        time: Of its last change; 0 if it was changed while it was read.
        digest: Hash of its content.
        parts: Documents that were made of it.
        how: Hash of the settings it was read with.
    """

    size: int
    time: int
    digest: str
    parts: int
    how: str

    @classmethod
    def parse(cls, text: object) -> Self | None:
        """Reverses `str`; None for anything else."""
        fields = text.split(":") if isinstance(text, str) else []
        if len(fields) != 5 or not all(field.isdigit() for field in (fields[0], fields[1], fields[3])):
            return None
        return cls(int(fields[0]), int(fields[1]), fields[2], int(fields[3]), fields[4])

    def __str__(self) -> str:
        return f"{self.size}:{self.time}:{self.digest}:{self.parts}:{self.how}"


@dataclass
class Indexed:
    """A file in the index.

    Attributes:
        ids: Its documents.
        notes: Their notes, all the same if it is there as a whole.
    """

    ids: list[str] = field(default_factory=list)
    notes: set[str] = field(default_factory=set)

    @property
    def note(self) -> Note | None:
        """The note of a file all of whose documents are there."""
        note = Note.parse(next(iter(self.notes))) if len(self.notes) == 1 else None
        return note if note is not None and note.parts == len(self.ids) else None


def read_notes(collection: Collection) -> dict[str, Indexed]:
    """Returns the files that a collection has documents of; other documents do not count."""
    files: dict[str, Indexed] = {}
    ids = collection.ids()
    for first in range(0, len(ids), _PAGE):
        for document in collection.get(ids[first : first + _PAGE]):
            name: Any = document.metadata.get(FILE)
            if isinstance(name, str) and isinstance(document.metadata.get(NOTE), str):
                known = files.setdefault(name, Indexed())
                known.ids.append(document.id)
                known.notes.add(document.metadata[NOTE])
    return files


def digest_of(file: FoundFile) -> str:
    """Returns the hash of a file's content."""
    with storage_errors(file.path, writing=False), file.path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:_DIGITS]


def short_hash(parts: Iterable[object]) -> str:
    """Returns a hash of some settings."""
    return hashlib.sha256(repr(tuple(parts)).encode()).hexdigest()[:8]


def content_hash(document: StoredDocument) -> bytes:
    """Returns a hash of what a document's vectors are made of."""
    return hashlib.blake2b(document.content.encode(), digest_size=16).digest()
