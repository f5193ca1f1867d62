"""HTML: what a reader sees of a page, a section for each heading, tables by rows.

Read by Python's own parser, which has a position for everything it finds and stumbles over nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from html import unescape

import numpy as np
from numpy.typing import NDArray

from korag.reading.pages import BLOCKS, PageParser
from korag.splitting.code import CODE_WAYS
from korag.splitting.dividing import prose_ways
from korag.splitting.sections import LONGEST_TITLE, Divide, Heading, Section, Unit, by_headings
from korag.splitting.tables import ROW_WAYS
from korag.splitting.views import View

_BLOCKS = BLOCKS.union(
    ("body", "center", "details", "dialog", "hgroup", "html", "menu", "summary", "tbody", "tfoot", "thead")
)
_SPACES = re.compile(r"\s+")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}


@dataclass
class Page:
    """The text of a page.

    Attributes:
        text: What a reader sees.
        begins: Where each of its characters is in the source. Shape: (len(text),).
        ends: Where it ends there. Shape: (len(text),).
        headings: In positions of `text`.
        tables: Beginning, end, and end of the header of each.
        blocks: Beginning and end of preformatted text.
    """

    text: str
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    headings: list[Heading] = field(default_factory=list)
    tables: list[tuple[int, int, int]] = field(default_factory=list)
    blocks: list[tuple[int, int]] = field(default_factory=list)


def read_html(source: str) -> Page:
    """Reads a page."""
    reader = _Reader(source)
    reader.read(source)
    return reader.page()


def html_sections(page: Page, view: View, sentences: Divide) -> list[Section]:
    """Returns the sections of a page.

    Args:
        page: The page.
        view: Its text in one spelling.
        sentences: Divides prose.
    """

    def place(position: int) -> int:
        return position if view.places is None else int(np.searchsorted(view.places, position))

    headings = [Heading(one.level, place(one.start), place(one.end), one.title) for one in page.headings]
    kinds: dict[int, Unit | None] = dict.fromkeys([0, *(heading.start for heading in headings)])
    marked = sorted(kinds)
    for begin, end, header in page.tables:  # in order, none in another
        own = Unit(place(begin), place(end), ROW_WAYS, (place(begin), place(header)) if begin < header < end else None)
        for at in marked[bisect_left(marked, own.start) : bisect_left(marked, own.end)]:
            kinds.pop(at, None)
        kinds[own.start] = own
        kinds.setdefault(own.end, None)
    for begin, end in page.blocks:
        if kinds.get(place(begin)) is None:
            kinds[place(begin)] = Unit(place(begin), place(end), CODE_WAYS)
            kinds.setdefault(place(end), None)
    places = sorted(at for at in kinds if at < len(view.text))
    units = []
    for begin, end in zip(places, [*places[1:], len(view.text)], strict=True):
        known = kinds[begin]
        units.append(
            Unit(begin, end, prose_ways(sentences)) if known is None else Unit(begin, end, known.ways, known.header)
        )
    starts = {unit.start for unit in units}
    return by_headings(view.text, [one for one in headings if one.start in starts and one.title], units)


class _Reader(PageParser):
    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=False)
        self._source = source
        self._lines = np.cumsum([0, *(len(line) + 1 for line in source.split("\n"))]).tolist()
        self._parts: list[str] = []
        self._begins: list[NDArray[np.int64]] = []
        self._ends: list[NDArray[np.int64]] = []
        self._length = 0
        self._depth = 0  # of tables
        self._pre = 0
        self._heading: tuple[int, int] | None = None
        self._table = (0, 0)
        self._row_is_header = False
        self._cells = 0
        self._block = 0
        self._headings: list[Heading] = []
        self._tables: list[tuple[int, int, int]] = []
        self._blocks: list[tuple[int, int]] = []

    def page(self) -> Page:
        text = "".join(self._parts)
        empty = np.zeros(0, np.int64)
        return Page(
            text,
            np.concatenate([empty, *self._begins]),
            np.concatenate([empty, *self._ends]),
            [one._replace(title=_title(text[one.start : one.end])) for one in self._headings],
            self._tables,
            self._blocks,
        )

    # -- tags -----------------------------------------------------------------------------------------------

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.hides_start(tag):
            return
        if tag in ("td", "th") and self._depth:
            if self._cells:
                self._insert(" | ")
            self._cells += 1
            self._row_is_header &= tag == "th"
        elif tag == "br":
            self._insert("\n")
        elif tag in _BLOCKS:
            self._end_line(blank=tag not in ("li", "tr", "dt", "dd") and not self._depth)
        if tag in _HEADINGS and not self._depth:
            self._end_heading()
            self._heading = (_HEADINGS[tag], self._length)
        elif tag == "table":
            self._depth += 1
            if self._depth == 1:
                self._table = (self._length, self._length)
                self._row_is_header = False
        elif tag == "tr" and self._depth == 1:
            self._row_is_header, self._cells = True, 0
        elif tag == "pre":
            self._pre += 1
            self._block = self._length

    def handle_endtag(self, tag: str) -> None:
        if self.hides_end(tag):
            return
        if tag in _HEADINGS:
            self._end_heading()
        if tag == "tr" and self._depth == 1:
            self._end_line(blank=False)
            begin, header = self._table
            if self._cells and header == begin and (self._row_is_header or not self._has_rows(begin)):
                self._table = (begin, self._length)
        elif tag in _BLOCKS:
            self._end_line(blank=tag not in ("li", "tr", "dt", "dd") and (not self._depth or tag == "table"))
        if tag == "table" and self._depth:
            self._depth -= 1
            if not self._depth:
                begin, header = self._table
                self._tables.append((begin, self._length, header))
                self._end_line(blank=True)
        elif tag == "pre" and self._pre:
            self._pre -= 1
            self._blocks.append((self._block, self._length))

    def _has_rows(self, begin: int) -> bool:
        return begin != self._table[0]

    def _end_heading(self) -> None:
        if self._heading is not None:
            level, begin = self._heading
            self._headings.append(Heading(level, begin, self._length, ""))
            self._heading = None

    # -- text -----------------------------------------------------------------------------------------------

    def handle_data(self, data: str) -> None:
        if self.hidden:
            return
        begin = self._position()
        if self._pre:
            self._add(data, np.arange(begin, begin + len(data)))
            return
        last = 0
        for match in _SPACES.finditer(data):
            self._add(data[last : match.start()], np.arange(begin + last, begin + match.start()))
            if not self._ends_with_space():
                self._add(" ", np.array([begin + match.start()]), np.array([begin + match.end()]))
            last = match.end()
        self._add(data[last:], np.arange(begin + last, begin + len(data)))

    def handle_entityref(self, name: str) -> None:
        self._reference(f"&{name}")

    def handle_charref(self, name: str) -> None:
        self._reference(f"&#{name}")

    def _reference(self, written: str) -> None:
        if self.hidden:
            return
        begin = self._position()
        end = begin + len(written)
        end += self._source[end : end + 1] == ";"
        read = unescape(self._source[begin:end])
        if read == "\0" or not read:
            return
        self._add(read, np.full(len(read), begin), np.full(len(read), end))

    def _position(self) -> int:
        line, offset = self.getpos()
        return int(self._lines[line - 1]) + offset

    def _ends_with_space(self) -> bool:
        return not self._parts or self._parts[-1][-1].isspace()

    def _add(self, text: str, begins: NDArray[np.int64], ends: NDArray[np.int64] | None = None) -> None:
        if text:
            self._parts.append(text)
            self._begins.append(begins)
            self._ends.append(begins + 1 if ends is None else ends)
            self._length += len(text)

    def _insert(self, text: str) -> None:
        """Adds characters that stand for a tag."""
        place = np.full(len(text), self._position())
        self._add(text, place, place)

    def _end_line(self, *, blank: bool) -> None:
        if self._length:
            tail = "".join(self._parts[-2:])[-2:]
            missing = (2 if blank else 1) - (len(tail) - len(tail.rstrip("\n")))
            if missing > 0:
                self._insert("\n" * missing)


def _title(text: str) -> str:
    return " ".join(text.split())[:LONGEST_TITLE]
