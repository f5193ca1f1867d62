"""Text and Markdown files, as they are."""

from __future__ import annotations

from pathlib import Path

from korag.reading.base import Part, ReadOptions
from korag.reading.decoding import read_text


class PlainReader:
    """Reads ``.txt`` and ``.md``."""

    suffixes: tuple[str, ...] = (".txt", ".text", ".md", ".markdown")
    packages: tuple[str, ...] = ()
    extra: str | None = None

    def read(self, path: Path, options: ReadOptions) -> list[Part]:
        """As `korag.reading.base.Reader.read`."""
        return [Part("", read_text(path))]
