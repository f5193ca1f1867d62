"""Web pages: their text, headings marked as in Markdown, tables row by row."""

from __future__ import annotations

import re
from pathlib import Path

from korag.reading.base import Part, ReadOptions
from korag.reading.decoding import read_text
from korag.reading.pages import BLOCKS, PageParser

_LINES = BLOCKS | {"br"}
"""Elements that begin and end a line."""
_CELLS = frozenset({"td", "th"})
_SPACES = re.compile(r"[ \t\n\f\r]+")


class HtmlReader:
    """Reads ``.html``."""

    suffixes: tuple[str, ...] = (".html", ".htm", ".xhtml")
    packages: tuple[str, ...] = ()
    extra: str | None = None

    def read(self, path: Path, options: ReadOptions) -> list[Part]:
        """As `korag.reading.base.Reader.read`."""
        page = _Page()
        page.feed(read_text(path))
        page.close()
        return [Part("", page.text(), {"title": page.title} if page.title else {})]


class _Page(PageParser):
    """Collects the visible text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._kept = 0
        self.title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.hides_start(tag):
            return
        if tag in _LINES:
            self._pieces.append("\n")
            if re.fullmatch("h[1-6]", tag):
                self._pieces.append("\n" + "#" * int(tag[1]) + " ")
            elif tag == "li":
                self._pieces.append("- ")
        elif tag in _CELLS and self._pieces and not self._pieces[-1].endswith("\n"):
            self._pieces.append(" | ")
        self._kept += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if self.hides_end(tag):
            return
        if tag in _LINES:
            self._pieces.append("\n")
        self._kept -= tag == "pre" and self._kept > 0

    def handle_data(self, data: str) -> None:
        if self.hidden == ["title"]:
            self.title = _SPACES.sub(" ", self.title + data).strip()
        elif not self.hidden:
            self._pieces.append(data if self._kept else _SPACES.sub(" ", data))

    def text(self) -> str:
        lines = (line.rstrip() for line in "".join(self._pieces).split("\n"))
        return re.sub(r"\n{3,}", "\n\n", "\n".join(line if line.strip() else "" for line in lines)).strip()
