"""Markdown: a section for each heading, code fences and tables whole, no headings in comments."""

from __future__ import annotations

import re
from collections.abc import Iterator

from korag.splitting.code import CODE_WAYS
from korag.splitting.dividing import prose_ways
from korag.splitting.sections import LONGEST_TITLE, Divide, Heading, Section, Unit, by_headings
from korag.splitting.tables import table_unit

_FENCE = re.compile(r" {0,3}(?P<mark>`{3,}|~{3,})(?P<rest>.*)")
_ATX = re.compile(r" {0,3}(?P<marks>#{1,6})(?:[ \t]+(?P<title>.*))?")
_COMMENT = re.compile(r" {0,3}<!--")
_SETEXT = re.compile(r" {0,3}(?P<mark>=+|-+)[ \t]*")
_RULE = re.compile(r"\s*(?:\|\s*)?:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)+(?:\|\s*)?|\s*\|\s*:?-{2,}:?\s*\|\s*")
_BLOCK_START = re.compile(r"\s*(?:[-*+>]|\d+[.)])\s")
_STYLE = re.compile(r"(\*\*|__|`)(?=\S)(.+?)(?<=\S)\1|!?\[([^\]]*)\]\([^)]*\)|\s*\{#[\w-]+\}\s*$")
_ANCHOR = re.compile(r"<a\b[^>]*>|</a>|<!--.*?-->")


def markdown_sections(text: str, sentences: Divide) -> list[Section]:
    """Returns the sections of a Markdown text."""
    headings: list[Heading] = []
    starts: dict[int, str] = {0: "prose"}
    """Where blocks begin, with their kinds."""
    rows = list(_lines(text))
    index = _front_matter(text, rows)
    if index:
        starts[rows[index][0] if index < len(rows) else len(text)] = "prose"
    comment_end = 0
    while index < len(rows):
        begin, end = rows[index]
        line = text[begin:end]
        if comment_end >= 0 and _COMMENT.match(line):
            comment_end = text.find("-->", begin)
            if comment_end > end:
                while index < len(rows) and rows[index][0] <= comment_end:
                    index += 1
                continue
        if fence := _FENCE.fullmatch(line):
            if "`" not in fence["rest"] or fence["mark"][0] == "~":
                starts[begin] = "code"
                index = _behind_fence(text, rows, index, fence["mark"])
                starts[rows[index][0] if index < len(rows) else len(text)] = "prose"
                continue
        elif heading := _ATX.fullmatch(line):
            headings.append(Heading(len(heading["marks"]), begin, end, plain(_without_closing(heading["title"] or ""))))
            starts[begin] = "prose"
        elif index + 1 < len(rows) and _is_table(text, rows, index):
            starts[begin] = "table"
            while index < len(rows) and "|" in text[slice(*rows[index])]:
                index += 1
            starts[rows[index][0] if index < len(rows) else len(text)] = "prose"
            continue
        elif line.strip() and index + 1 < len(rows) and (level := _underlined(text, rows, index)):
            headings.append(Heading(level, begin, rows[index + 1][1], plain(line)))
            starts[begin] = "prose"
            index += 1
        index += 1
    return by_headings(text, [one for one in headings if one.title], _units(text, starts, sentences))


def plain(title: str) -> str:
    """Returns a heading's text without its marks."""
    title = title[:LONGEST_TITLE]
    return " ".join(_STYLE.sub(lambda match: match[2] or match[3] or "", _ANCHOR.sub("", title)).split())


def _without_closing(title: str) -> str:
    """Returns the text of a heading without the ``#`` at its end."""
    title = title.rstrip(" \t")
    opened = title.rstrip("#")
    return opened.rstrip(" \t") if opened.endswith((" ", "\t")) else title


def _lines(text: str) -> Iterator[tuple[int, int]]:
    begin = 0
    while begin < len(text):
        end = text.find("\n", begin)
        end = len(text) if end < 0 else end
        yield begin, end
        begin = end + 1


def _front_matter(text: str, rows: list[tuple[int, int]]) -> int:
    """The number of lines of the settings at the beginning, between lines of three hyphens."""
    if rows and text[slice(*rows[0])].rstrip() == "---":
        for index in range(1, len(rows)):
            if text[slice(*rows[index])].rstrip() in ("---", "..."):
                return index + 1
    return 0


def _behind_fence(text: str, rows: list[tuple[int, int]], index: int, mark: str) -> int:
    closing = re.compile(rf" {{0,3}}{re.escape(mark[0])}{{{len(mark)},}}[ \t]*")
    for place in range(index + 1, len(rows)):
        if closing.fullmatch(text, *rows[place]):
            return place + 1
    return len(rows)


def _is_table(text: str, rows: list[tuple[int, int]], index: int) -> bool:
    return "|" in text[slice(*rows[index])] and _RULE.fullmatch(text, *rows[index + 1]) is not None


def _underlined(text: str, rows: list[tuple[int, int]], index: int) -> int:
    """The level of a heading that is underlined; 0 for another line."""
    line = _SETEXT.fullmatch(text, *rows[index + 1])
    before = index and text[slice(*rows[index - 1])].strip()
    if line is None or before or _BLOCK_START.match(text, *rows[index]):
        return 0
    return 1 if line["mark"][0] == "=" else 2


def _units(text: str, starts: dict[int, str], sentences: Divide) -> list[Unit]:
    places = sorted(place for place in starts if place < len(text))
    units = []
    for begin, end in zip(places, [*places[1:], len(text)], strict=True):
        if starts[begin] == "table":
            units.append(table_unit(text, begin, end))
        else:
            units.append(Unit(begin, end, CODE_WAYS if starts[begin] == "code" else prose_ways(sentences)))
    return units
