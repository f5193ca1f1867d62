"""The result of a run over a folder, and its progress."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from korag.folders.scanning import Problem


class Progress(Protocol):
    """Is told about the work."""

    def begin(self, total: int) -> None:
        """Work on so many bytes of files begins."""

    def encoding(self, documents: int, size: int) -> AbstractContextManager[Any]:
        """So many documents, of files of so many bytes, are encoded in this context."""
        ...


@dataclass
class IndexReport:
    """Result of `korag.folders.indexing.index_folder`.

    Attributes:
        added: Names of new files.
        changed: Of files whose content or settings changed.
        renamed: New names by old ones.
        removed: Names of files that are gone.
        unchanged: Number of files that were not read.
        without_text: Names of files in which there is no text, such as scans.
        problems: Files that could not be read, of which the collection still has what it had; and, with `in_part`,
            tables with rows whose text is missing.
        others: Numbers of files that are no documents, by the end of their name.
        documents: In the collection now.
        complete: False if the work was interrupted.
    """

    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    unchanged: int = 0
    without_text: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    documents: int = 0
    complete: bool = False
