"""The difference between the files that a collection has and those of a folder."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Set
from dataclasses import dataclass

from korag.errors import KoragError
from korag.folders.records import Indexed, digest_of
from korag.folders.scanning import FoundFile


@dataclass(frozen=True)
class Changes:
    """The difference between a collection and a folder, by names of files; nothing is changed yet.

    Attributes:
        origins: The old names of files that were renamed, by the new ones.
        removed: Names of files that are gone.
    """

    origins: dict[str, str]
    removed: list[str]


def compare(files: Mapping[str, FoundFile], known: Mapping[str, Indexed], *, kept: Set[str]) -> Changes:
    """Finds what was renamed and what is gone.

    Args:
        files: Those in the folder.
        known: Those in the collection.
        kept: Names of files and folders that cannot be read: what is known of them is not gone.
    """
    gone = {name: indexed for name, indexed in known.items() if name not in files and not _is_below(name, kept)}
    origins = _find_renamed({name: file for name, file in files.items() if name not in known}, gone)
    renamed = set(origins.values())
    return Changes(origins, [name for name in gone if name not in renamed])


def _is_below(name: str, kept: Set[str]) -> bool:
    parts = name.split("/")
    return any("/".join(parts[:end]) in kept for end in range(1, len(parts) + 1))


def _find_renamed(new: Mapping[str, FoundFile], gone: Mapping[str, Indexed]) -> dict[str, str]:
    """Returns the old names of new files, by content."""
    notes = {name: note for name, indexed in gone.items() if (note := indexed.note) is not None}
    sizes = {note.size for note in notes.values()}
    origins: dict[str, str] = {}
    for name, file in new.items():
        if file.size in sizes:
            with contextlib.suppress(KoragError):  # it is an error when it is read
                digest = digest_of(file)
                old = next((old for old, note in notes.items() if note.digest == digest), None)
                if old is not None:
                    origins[name] = old
                    del notes[old]
    return origins
