"""The texts of a file that become documents, gone through twice: to check and count them, and to store them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from korag.breadcrumbs import BREADCRUMB
from korag.collection.documents import StoredDocument, to_json
from korag.folders.missing_texts import MissingTexts
from korag.folders.scanning import FoundFile
from korag.reading.base import Part, ReadOptions
from korag.reading.registry import find_reader
from korag.splitting.chunks import Chunk
from korag.splitting.splitter import Splitter
from korag.text import is_empty

_MARKDOWN = frozenset((".md", ".markdown", ".html", ".htm", ".xhtml", ".docx", ".hwpx"))
"""Types of files whose texts, as they have been read, are Markdown, whatever tags they show."""
_KEPT = 1_000_000
"""Characters of texts and metadata up to which they are kept for the second time."""


class FileParts:
    """The texts that become a document each.

    Few texts are kept when they have been gone through; a large table is read and split anew each time, so that it is
    never in memory as a whole.

    Args:
        file: The file.
        options: How tables are read.
        splitter: Splits texts; None for texts as they are.

    Attributes:
        missing: The rows of a table whose text is missing, when all have been gone through.
    """

    def __init__(self, file: FoundFile, options: ReadOptions, splitter: Splitter | None) -> None:
        self._file, self._options, self._splitter = file, options, splitter
        self._kept: list[Part] | None = None
        self.missing = MissingTexts()

    def __iter__(self) -> Iterator[Part]:
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Part] = []
        characters = 0
        for part in self._split_parts():
            characters += characters_of(part)
            if characters <= _KEPT:
                kept.append(part)
            else:
                kept.clear()
            yield part
        if characters <= _KEPT:
            self._kept = kept

    def _split_parts(self) -> Iterator[Part]:
        reader = find_reader(self._file.path)
        is_filled = False
        self.missing = MissingTexts()
        for part in () if reader is None else reader.read(self._file.path, self._options):
            if part.missing is not None:
                self.missing.add(part.missing)
            if not is_empty(part.text):
                is_filled = True
                yield from self._split(part)
        if not is_filled:
            yield Part("", "")  # an empty document, by which a file without text is known

    def _split(self, part: Part) -> list[Part]:
        """Returns the parts that become a document each; a text that is one chunk keeps its name."""
        if self._splitter is None:
            return [part]
        title = part.metadata.get("title")
        # Not the name of a table, whose texts are rows.
        name = "text.md" if self._file.path.suffix.lower() in _MARKDOWN else None
        chunks = self._splitter.split(part.text, filename=name, title=title if isinstance(title, str) else None)
        if len(chunks) < 2:  # none of a text without anything to search, such as empty tags
            return [Part(part.name, chunk.text, _metadata(chunk, part)) for chunk in chunks] or [part]
        return [
            Part(f"{part.name}#{number}" if part.name else str(number), chunk.text, _metadata(chunk, part))
            for number, chunk in enumerate(chunks, start=1)
        ]


def characters_of(part: Part | StoredDocument) -> int:
    """Returns the characters of a text and its metadata, for what is held in memory."""
    return len(part.text) + len(to_json(part.metadata))


def _metadata(chunk: Chunk, part: Part) -> dict[str, Any]:
    """A chunk's metadata, where the columns of a row are left as they are."""
    metadata = {**chunk.to_metadata(), **part.metadata}
    return metadata | ({BREADCRUMB: chunk.breadcrumb} if chunk.breadcrumb else {})
