"""The structure of a text, as the splitters for each kind of text find it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

Divide = Callable[[str, int, int], list[int]]
"""Returns the places between `start` and `end` of a text where it may be cut, rising."""

LONGEST_TITLE = 200
"""Characters of a heading in breadcrumbs."""


class Heading(NamedTuple):
    """A heading.

    Attributes:
        level: Smaller numbers are outer ones.
        start: Where it begins.
        end: Where its line ends.
        title: Its text, in one line.
    """

    level: int
    start: int
    end: int
    title: str


@dataclass(frozen=True)
class Unit:
    """A part of a section that is kept whole if it is small enough for a chunk.

    Attributes:
        start: Where it begins.
        end: Where it ends; the next unit begins there.
        ways: Ways to divide it if it is not, each into smaller parts than the one before.
        header: The place of its beginning that every part repeats: the header of a table.
    """

    start: int
    end: int
    ways: tuple[Divide, ...]
    header: tuple[int, int] | None = None


@dataclass(frozen=True)
class Section:
    """A part of a text that no chunk goes beyond.

    Attributes:
        headings: Those it stands under, its own included.
        units: Its parts, in order and without gaps.
        metadata: For all its chunks.
        describe: Returns more metadata of a chunk, from its beginning and end.
    """

    headings: tuple[Heading, ...]
    units: tuple[Unit, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    describe: Callable[[int, int], dict[str, Any]] | None = None


def by_headings(text: str, headings: Sequence[Heading], units: Sequence[Unit]) -> list[Section]:
    """Divides a text at its headings.

    A heading without text of its own is in one unit with what comes next: a table, code, the first heading below it.

    Args:
        text: The text.
        headings: In order.
        units: In order and without gaps; one begins at every heading.
    """
    sections: list[Section] = []
    path: list[Heading] = []
    waiting = iter(units)
    unit = next(waiting, None)
    mine: list[Unit] = []
    bare: int | None = None
    """Where headings without text begin, which the next unit takes in."""
    for index, heading in enumerate([*headings, None]):
        end = len(text) if heading is None else heading.start
        while unit is not None and unit.start < end:
            mine.append(unit if bare is None else replace(unit, start=bare))
            bare = None
            following = next(waiting, None)
            has_more = following is not None and (following.start < end or _is_deeper(headings, index))
            if index and has_more and not text[max(unit.start, headings[index - 1].end) : unit.end].strip():
                bare = mine.pop().start
            unit = following
        if mine:
            sections.append(Section(tuple(path), tuple(mine)))
        mine = []
        if heading is not None:
            path = [outer for outer in path if outer.level < heading.level] + [heading]
    return sections


def _is_deeper(headings: Sequence[Heading], index: int) -> bool:
    """Returns whether a heading stands under the one before."""
    return index < len(headings) and headings[index].level > headings[index - 1].level
