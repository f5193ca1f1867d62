"""The pieces of a passage that are kept or left out whole: sentences, rows of a table, blocks of code."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from korag.splitting.choosing import choose
from korag.splitting.code import CODE_WAYS
from korag.splitting.dividing import FINEST, lines
from korag.splitting.finding import DIVIDES, SentenceRule, find_sections
from korag.splitting.html import Page, read_html
from korag.splitting.sections import Section, Unit
from korag.splitting.views import View, view_of

_ITEM = re.compile(r"[ \t]*(?:[-*+•·○●▪※>|#]|\(?\d{1,3}(?:의\d+)?[.)]|\(?[가-힣A-Za-z][.)]\s|[①-⑳㉠-㉻㉑-㉟])")
"""The beginning of a line that does not continue the one before."""
_PARAGRAPH = re.compile(r"[ \t]*[①-⑳㉑-㉟]")
"""The beginning of a paragraph (항) of an article, which is no item of the one before."""
_ENDED = re.compile(r"[.．!?。！？…:：;\"'”’」』)\]）》]\s*$")
_LEAD = re.compile(r"(?:[:：]|다음|아래|각\s*[호목]).{0,40}$", re.DOTALL)
"""The end of a sentence that leads to the items below it."""
_WRAPPED = 25
"""Characters from which a line that has no end may go on in the next one: shorter ones are titles, names and values."""
_LOOK = 400
"""Characters before a line end that are looked at."""


@dataclass(frozen=True)
class Piece:
    """A part of a text.

    Attributes:
        start: Where it begins.
        end: Where it ends; the next one begins there.
        heads: The pieces without which it is hard to understand: its headings, the header of its table, the line that
            leads to a list.
        is_head: It heads others, and says little without one of them.
    """

    start: int
    end: int
    heads: tuple[int, ...] = ()
    is_head: bool = False


@dataclass(frozen=True)
class Pieces:
    """A text and its pieces.

    Attributes:
        text: The text as it was given; of HTML, what a reader sees of it.
        pieces: In order and without gaps.
        page: Where the characters are in HTML; None for other texts.
    """

    text: str
    pieces: tuple[Piece, ...]
    page: Page | None = None

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Returns where a part of `text` is in the text that was given."""
        return (start, end) if self.page is None else (int(self.page.begins[start]), int(self.page.ends[end - 1]))


def find_pieces(source: str, *, sentences: SentenceRule = "rules", filename: str | None = None) -> Pieces:
    """Divides a text at the ends of its sentences, rows of tables, headings and blocks of code.

    Args:
        source: The text.
        sentences: How to find the sentences of prose.
        filename: Its file, whose type tells that it is a table or code.
    """
    view = view_of(source)
    kind = choose(view.text, filename)
    page = read_html(source) if kind == "html" else None
    if page is not None:
        view = view_of(page.text)
    finder = _Finder(view)
    for section in find_sections(kind, view, page, divide=DIVIDES[sentences]):
        finder.add(section)
    return Pieces(source if page is None else page.text, finder.pieces(), page)


class _Finder:
    def __init__(self, view: View) -> None:
        self._view, self._text = view, view.text
        self._starts: dict[int, list[int]] = {}
        """Where pieces begin, with the beginnings of their heads."""
        self._heads: set[int] = set()

    def add(self, section: Section) -> None:
        path = [heading.start for heading in section.headings]
        for unit in section.units:
            heads = [start for start in path if start < unit.start]
            body = unit.start
            for heading in section.headings:
                if unit.start <= heading.start < unit.end:
                    self._begin(heading.start, heads, head=True)
                    heads, body = [*heads, heading.start], self._behind(heading.end, unit.end)
            if not self._text[body : unit.end].strip():
                continue
            if unit.header is not None and unit.header[0] <= body < unit.header[1]:
                self._begin(body, heads, head=True)
                heads, body = [*heads, body], unit.header[1]
            self._divide(unit, body, heads)

    def _behind(self, place: int, end: int) -> int:
        """Returns where the text behind a heading begins."""
        while place < end and self._text[place].isspace():
            place += 1
        return place

    def _divide(self, unit: Unit, body: int, heads: list[int]) -> None:
        places = [body, *_places(self._text, unit, body), unit.end]
        lead: int | None = None
        for begin, end in pairwise(places):
            is_item = _ITEM.match(self._text, begin, end) is not None and begin > body
            if _PARAGRAPH.match(self._text, begin, end):
                is_item &= lead is not None and _PARAGRAPH.match(self._text, lead, end) is None
            self._begin(begin, heads if lead is None or not is_item else [*heads, lead])
            if not is_item:
                lead = begin if _LEAD.search(self._text, max(begin, end - 60), end) else None

    def _begin(self, start: int, heads: Sequence[int], *, head: bool = False) -> None:
        self._starts.setdefault(start, list(heads))
        if head:
            self._heads.add(start)

    def pieces(self) -> tuple[Piece, ...]:
        rising = sorted(self._starts)
        starts = [one for one, end in pairwise([*rising, len(self._text)]) if self._text[one:end].strip()]
        if not starts:
            return ()
        ends = [*starts[1:], len(self._text)]
        starts_at = {start: index for index, start in enumerate(starts)}
        places = [0, *(self._view.place(end) for end in ends)]
        return tuple(
            Piece(
                places[index],
                places[index + 1],
                tuple(starts_at[head] for head in self._starts[start] if head in starts_at),
                start in self._heads,
            )
            for index, start in enumerate(starts)
        )


def _places(text: str, unit: Unit, body: int) -> list[int]:
    """Returns where a unit is divided, rising; behind `body`."""
    if unit.ways == CODE_WAYS:
        return []
    ways = [way for way in unit.ways if way not in FINEST]
    if ways[-1] is lines:  # a table: the first way are its rows, which may have line ends within a value
        return ways[0](text, body, unit.end)
    found = {place for way in ways for place in way(text, body, unit.end)}
    return sorted(found - {place for place in lines(text, body, unit.end) if _is_wrapped(text, body, place, unit.end)})


def _is_wrapped(text: str, start: int, place: int, end: int) -> bool:
    """Returns whether a line goes on in the one that begins at `place`: it is long, and nothing ends it."""
    before = text[max(start, place - _LOOK) : place]
    content = before.rstrip()
    line = content[content.rfind("\n") + 1 :].strip()
    return (
        before.count("\n", len(content)) == 1
        and len(line) >= _WRAPPED
        and _ENDED.search(line) is None
        and _ITEM.match(text, place, end) is None
    )


def piece_at(starts: Sequence[int], place: int) -> int:
    """Returns the piece that a character belongs to."""
    return max(0, bisect_right(starts, place) - 1)
