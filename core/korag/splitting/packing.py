"""Fits the sections of a text into chunks: as few as possible, none of them too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from korag.breadcrumbs import searched_text
from korag.logs import logger
from korag.splitting.chunks import Chunk
from korag.splitting.measure import Measure
from korag.splitting.sections import Section, Unit
from korag.splitting.views import View

SEPARATOR = " > "
"""Between the headings of a breadcrumb."""
_ROOM = 0.5
"""Share of a chunk that a breadcrumb takes at most; outer headings go first."""
_ROUNDING = 1e-9
_BLOCK = 256
"""Units measured at a time."""


@dataclass
class Packer:
    """Makes the chunks of one text.

    Args:
        source: The text as it was given.
        view: The text as it was read.
        measure: The size of chunks.
        title: Heading above all others; empty for none.

    Attributes:
        too_long: Characters that are longer than a chunk by themselves.
    """

    source: str
    view: View
    measure: Measure
    title: str = ""
    too_long: int = 0
    _added: float = field(init=False)

    def __post_init__(self) -> None:
        self._added = self.measure.shares([""])[0]

    def pack(self, sections: Sequence[Section]) -> list[Chunk]:
        """Returns the chunks of all sections, in order."""
        chunks = [chunk for section in sections for chunk in _Section(self, section).chunks()]
        if self.too_long:
            logger.warning(
                "글자 하나가 max_tokens보다 긴 곳이 %d군데 있어, 그 조각은 한도를 넘습니다. / %d single characters "
                "have more tokens than max_tokens; their chunks exceed it.",
                self.too_long, self.too_long,
            )  # fmt: skip
        return chunks


class _Section:
    """Fits one section."""

    def __init__(self, packer: Packer, section: Section) -> None:
        self._packer, self._section = packer, section
        self._text = packer.view.text
        self._breadcrumbs: dict[tuple[str, ...], str] = {}
        outermost = section.headings[0].title if section.headings else ""
        self._title = "" if packer.title == outermost else packer.title

    def chunks(self) -> list[Chunk]:
        spans = self._fit(self._section.units, None)
        return [chunk for start, end, header in spans if (chunk := self._chunk(start, end, header)) is not None]

    # -- dividing -----------------------------------------------------------------------------------------

    def _fit(
        self, units: Sequence[Unit], header: tuple[int, int] | None
    ) -> list[tuple[int, int, tuple[int, int] | None]]:
        """Returns the beginning and end of chunks, and the header that each repeats."""
        found = []
        shares = self._shares(units)
        first = 0
        while first < len(units):
            last = self._reach(units, shares, first, header)
            if last > first:
                found.append((units[first].start, units[last - 1].end, header))
                first = last
                continue
            found += self._divided(units[first], header)
            first += 1
        return found

    def _shares(self, units: Sequence[Unit]) -> list[float]:
        added = self._packer._added
        shares: list[float] = []
        for first in range(0, len(units), _BLOCK):
            texts = [self._own(unit.start, unit.end) for unit in units[first : first + _BLOCK]]
            shares += [max(0.0, share - added) for share in self._packer.measure.shares(texts)]
        return shares

    def _reach(self, units: Sequence[Unit], shares: Sequence[float], first: int, header: tuple[int, int] | None) -> int:
        """Returns the unit behind the last that is in one chunk with `first`; `first` if not even this one is."""
        start = units[first].start
        before = self._searched(start, start, header)
        left = 1 - self._packer.measure.shares([before])[0] if before else 1 - self._packer._added
        last = first
        while last < len(units) and (last == first or shares[last] <= left + _ROUNDING):
            left -= shares[last]
            last += 1
        # Units side by side may have other tokens than each by itself.
        while last > first and not self._packer.measure.fits(self._searched(start, units[last - 1].end, header)):
            last -= 1 + (last - first - 1) // 8
        return last

    def _divided(self, unit: Unit, header: tuple[int, int] | None) -> list[tuple[int, int, tuple[int, int] | None]]:
        """Returns the chunks of a unit that is too long for one."""
        for index, divide in enumerate(unit.ways):
            places = [unit.start, *divide(self._text, unit.start, unit.end), unit.end]
            if len(places) > 2:
                ways = unit.ways[index + 1 :]
                parts = [Unit(begin, end, ways) for begin, end in pairwise(places)]
                return self._with_header(unit, parts, header)
        if self._own(unit.start, unit.end).strip():
            self._packer.too_long += 1
        return [(unit.start, unit.end, None)]

    def _with_header(
        self, unit: Unit, parts: list[Unit], header: tuple[int, int] | None
    ) -> list[tuple[int, int, tuple[int, int] | None]]:
        own = unit.header
        if own is None or not self._leaves_room(own):
            return self._fit(parts, header)
        head = [part for part in parts if part.end <= own[1]]
        rows = parts[len(head) :]
        if not rows:
            return self._fit(parts, header)
        # The first chunk has the header in its place, the others repeat it.
        opening = Unit(unit.start, rows[0].end, ())
        whole = [opening, *rows[1:]]
        reached = self._reach(whole, self._shares(whole), 0, None)
        if not reached:
            return self._fit(parts, header)
        return [(unit.start, whole[reached - 1].end, None), *self._fit(whole[reached:], own)]

    def _leaves_room(self, header: tuple[int, int]) -> bool:
        return self._packer.measure.shares([self._own(*header)])[0] <= _ROOM

    # -- chunks -------------------------------------------------------------------------------------------

    def _own(self, start: int, end: int) -> str:
        """The text between two positions, as it was written."""
        view = self._packer.view
        return self._packer.source[view.place(start) : view.place(end)]

    def _searched(self, start: int, end: int, header: tuple[int, int] | None) -> str:
        return searched_text(self._repeated(header) + self._own(start, end).strip(), self._breadcrumb(start))

    def _repeated(self, header: tuple[int, int] | None) -> str:
        return "" if header is None else self._own(*header).strip() + "\n"

    def _breadcrumb(self, start: int) -> str:
        """The headings before a position, in one line; without the outer ones if they take too much room."""
        titles = [heading.title for heading in self._section.headings if heading.start < start]
        if self._title:
            titles.insert(0, self._title)
        key = tuple(titles)
        if key not in self._breadcrumbs:
            while titles and self._packer.measure.shares([SEPARATOR.join(titles)])[0] > _ROOM:
                titles.pop(0)
            self._breadcrumbs[key] = SEPARATOR.join(titles)
        return self._breadcrumbs[key]

    def _chunk(self, start: int, end: int, header: tuple[int, int] | None) -> Chunk | None:
        view = self._packer.view
        begin, stop = view.place(start), view.place(end)
        text = self._packer.source[begin:stop]
        begin, stop = begin + len(text) - len(text.lstrip()), stop - len(text) + len(text.rstrip())
        if begin >= stop:
            return None
        repeated, breadcrumb = self._repeated(header), self._breadcrumb(start)
        own = self._packer.source[begin:stop]
        if breadcrumb and not self._packer.measure.fits(searched_text(repeated + own, breadcrumb)):
            breadcrumb = ""  # a single character that is too long
        titles = tuple(heading.title for heading in self._section.headings)
        describe = self._section.describe
        metadata: dict[str, Any] = self._section.metadata | (describe(start, end) if describe is not None else {})
        return Chunk(
            text=repeated + own,
            start=begin,
            end=stop,
            headings=(self._title, *titles) if self._title else titles,
            breadcrumb=breadcrumb,
            repeated=repeated,
            metadata=metadata,
        )
