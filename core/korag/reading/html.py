"""Web pages: their text as Markdown, with headings, preformatted text in fences, and tables row by row."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from korag.reading.base import Part, ReadOptions
from korag.reading.decoding import read_text
from korag.reading.markdown import escaped
from korag.reading.pages import BLOCKS, PageParser

_LINES = BLOCKS | {"br"}
"""Elements that begin and end a line."""
_CELLS = frozenset({"td", "th"})
_HEADING = re.compile("h[1-6]")
_SPACES = re.compile(r"[ \t\n\f\r]+")
_MADE = "\0"
"""Begins a line that is Markdown already; no page has this character."""


class HtmlReader:
    """Reads ``.html``."""

    suffixes: tuple[str, ...] = (".html", ".htm", ".xhtml")
    packages: tuple[str, ...] = ()
    extra: str | None = None

    def read(self, path: Path, options: ReadOptions) -> list[Part]:
        """As `korag.reading.base.Reader.read`."""
        page = _Page()
        page.read(read_text(path))
        return [Part("", page.text(), {"title": page.title} if page.title else {})]


class _Page(PageParser):
    """Collects the visible text. A heading, and a row of several cells, is one line, whatever elements are in it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[str] = []
        self._heading: int | None = None  # the piece with which the text of the open one begins
        self._row: list[int] = []  # the pieces with which its cells begin
        self._kept = 0
        self._block = 0  # the piece with which preformatted text begins
        self.title = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.hides_start(tag):
            return
        if tag in ("table", "tr", "pre") or _HEADING.fullmatch(tag):
            self._end_row()
        if tag in _CELLS:
            if not self._row and not "".join(self._pieces[-2:]).rstrip(" ").endswith("\n"):
                self._pieces.append("\n")
            self._row.append(len(self._pieces))
        elif tag in _LINES:
            self._pieces.append("\n")
        if tag == "pre":
            self._heading = None
            self._block = self._block if self._kept else len(self._pieces)
            self._kept += 1
        elif self._kept:
            return
        elif _HEADING.fullmatch(tag):
            self._pieces.append(f"\n{_MADE}{'#' * int(tag[1])} ")
            self._heading = len(self._pieces)
        elif tag == "li" and self._heading is None:
            self._pieces.append(f"{_MADE}- ")

    def handle_endtag(self, tag: str) -> None:
        if self.hides_end(tag):
            return
        if tag in ("table", "tr"):
            self._end_row()
        elif _HEADING.fullmatch(tag) and self._heading is not None:
            title = _in_line(self._pieces[self._heading :])
            self._pieces[self._heading - (not title) :] = [title]
            self._heading = None
            self._row = []
        if tag in _LINES:
            self._pieces.append("\n")
        if tag == "pre" and self._kept:
            self._kept -= 1
            if not self._kept:
                self._end_block()

    def handle_data(self, data: str) -> None:
        data = data.replace(_MADE, "")
        if self.hidden == ["title"]:
            self.title = _SPACES.sub(" ", self.title + data).strip()
        elif not self.hidden:
            self._pieces.append(data if self._kept else _SPACES.sub(" ", data))

    def text(self) -> str:
        self._end_row()
        if self._kept:
            self._end_block()
        lines = [line.rstrip() for line in "".join(self._pieces).split("\n")]
        text = "\n".join(line if line.startswith(_MADE) else escaped(line) for line in lines)
        return re.sub(r"\n{3,}", "\n\n", text).replace(_MADE, "").strip()

    def _end_row(self) -> None:
        if len(self._row) > 1:
            places = [*self._row, len(self._pieces)]
            cells = [_in_line(self._pieces[begin:end]) for begin, end in pairwise(places)]
            self._pieces[places[0] :] = [" | ".join(cells) if any(cells) else ""]
        self._row = []

    def _end_block(self) -> None:
        content = "".join(self._pieces[self._block :]).strip("\n")
        fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", content))])
        lines = [fence, *content.split("\n"), fence] if content.strip() else []
        self._pieces[self._block :] = [f"{_MADE}{line}\n" for line in lines]


def _in_line(pieces: Sequence[str]) -> str:
    return _SPACES.sub(" ", "".join(pieces).replace(_MADE, "")).strip()
