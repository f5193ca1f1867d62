"""Statutes and rules: an article in each chunk, long ones by paragraph, with their part, chapter and section.

편, 장, 절, 관 and 조 are headings, in this order; 부칙 (addenda) and 별표 (tables) begin parts of their own. Articles
that are too long are divided before 항 (①), then 호 (1.), then 목 (가.), then as prose.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from korag.analysis.references import canonical_reference
from korag.metadata import CITATION, CITES
from korag.splitting.citations import Place, cited_by
from korag.splitting.dividing import FINEST, lines
from korag.splitting.sections import LONGEST_TITLE, Divide, Heading, Section, Unit, by_headings

_MARKS = r"[ \t#>*_-]*"
_PART = re.compile(
    rf"^{_MARKS}(?P<number>제\s*\d+\s*(?P<kind>편|장|절|관)(?:\s*의\s*\d+)*)"
    r"(?=[ \t*]|$|[가-힣])(?P<title>[^\n]{0,100})$",
    re.MULTILINE,
)
_ARTICLE = re.compile(
    rf"^{_MARKS}(?P<number>제\s*\d+\s*조(?:\s*의\s*\d+)*)(?!\d)"
    r"(?P<title>\s?(?:\([^()\n]*(?:\([^()\n]*\)[^()\n]*)*\)|【[^】\n]*】|\[[^\]\n]*\]))?",
    re.MULTILINE,
)
_ADDENDUM = re.compile(rf"^{_MARKS}부\s*칙[ \t*]*(?P<title>[<(\[【〈][^\n]{{0,100}})?$", re.MULTILINE)
_ANNEX = re.compile(
    rf"^{_MARKS}[\[<(【〈]\s*(?P<kind>별표|별지)\s*(?:제\s*)?(?P<number>\d+(?:\s*의\s*\d+)*)?"
    r"(?:\s*호)?(?:\s*서식)?\s*[\]>)】〉][^\n]{0,100}$",
    re.MULTILINE,
)
_PLAIN_ANNEX = re.compile(
    rf"^{_MARKS}(?P<kind>별표)\s?(?:제\s?)?(?P<number>\d+(?:\s?호)?(?:의\d+)?)[ \t*]*$"
    r"(?!\s*(?:의|에|을|를|과|와|및|또는|에서|으로|부터|까지)\s)",
    re.MULTILINE,
)
"""One without brackets is a line of its own, and no mention that goes on in the next line."""
_CONTENTS = re.compile(r"[\s\d.·ㆍ…‥_-]*")
"""Dots and the page, behind a heading in a table of contents."""
_TITLE = re.compile(
    r"(?:법|법률|령|규칙|규정|규약|조례|세칙|헌법|약관|정관|요령|지침|기준|내규|협약|예규|훈령|고시)"
    r"(?:\s*[\[(（<【〈].*)?$"
)
_TITLED = re.compile(r"[(【\[]\D")  # [1] is a note
_BEHIND = re.compile(r"(?:의|에|을|를|와|과|은|는|이|가|에서|으로|로|및|또는|내지|부터|까지|[,、ㆍ·])")
"""Follows a mention of an article, not a heading."""
_MENTIONED = re.compile(
    r"(?:의|에|에도|에는|을|를|와|과|은|는|에서|에서는|으로|로|및|또는|내지|부터|까지)(?=\s|$)|[,、ㆍ·]", re.MULTILINE
)
"""Follows a mention even if an article with this number would be next: no sentence of an article begins with it."""
_UNTITLED = re.compile(
    r"[ \t]*(?:$|[①<]|\n)|[ \t]+(?!제\s?\d|\d+\s?[항호]|[의에을를와과]\s|및|또는|내지|부터|까지|중\s)\S", re.MULTILINE
)
_LEVELS = {"편": 1, "장": 2, "절": 3, "관": 4}
_LEVEL_OF_ARTICLES = 5
_STEP = 20
"""Articles that may be missing before one without a title; more of a jump is a mention at the beginning of a line."""
_CIRCLED = "①-⑳㉑-㉟㊱-㊿"
_PARAGRAPHS = re.compile(rf"(?<!\S)(?=[{_CIRCLED}])")
_PARAGRAPH = re.compile(rf"(?<!\S)[{_CIRCLED}]")
_ITEMS = re.compile(r"(?<=\n)(?=[ \t]*\d{1,3}(?:의\d+)?\.(?!\d))")
_SUBITEMS = re.compile(r"(?<=\n)(?=[ \t]*[가-힣](?:의\d+)?\.\s)")


def _before(pattern: re.Pattern[str]) -> Divide:
    def divide(text: str, start: int, end: int) -> list[int]:
        return [match.start() for match in pattern.finditer(text, start, end) if start < match.start() < end]

    return divide


@dataclass(frozen=True)
class _Mark:
    """A heading of a statute, with what it begins.

    Attributes:
        heading: The heading.
        part: Name of the addendum or annex that it begins; None for another heading.
        article: The article that it begins, ``제6조의2``.
    """

    heading: Heading
    part: str | None = None
    article: str | None = None


def statute_sections(text: str, sentences: Divide, *, law: str | None = None) -> list[Section]:
    """Returns the sections of a statute: its articles, and whatever is between them.

    Args:
        text: The text.
        sentences: Divides prose.
        law: Its name, if the text does not begin with it.
    """
    marks = _marks(text)
    title = _title(text, marks[0].heading.start if marks else len(text))
    name = title.title if title is not None else law
    headings = [*([title] if title is not None else []), *(mark.heading for mark in marks)]
    ways = (*map(_before, (_PARAGRAPHS, _ITEMS, _SUBITEMS)), lines, sentences, *FINEST)
    places = sorted({0, *(heading.start for heading in headings), len(text)})
    units = [Unit(begin, end, ways) for begin, end in pairwise(places)]
    owners = _owners(marks, name)
    articles = [mark.article for mark in marks if mark.article is not None and not owners[mark.heading].part]
    sections = []
    for section in by_headings(text, headings, units):
        own = next((owners[heading] for heading in reversed(section.headings) if heading in owners), Place(name))
        behind = next((one.end for one in section.headings[-1:] if owners.get(one, own).article), 0)
        sections.append(_described(section, text, own, articles, behind))
    return sections


def count_articles(text: str) -> int:
    """Returns how many headings of articles with a title a text has."""
    return sum(mark.article is not None and _TITLED.search(mark.heading.title) is not None for mark in _marks(text))


# -- headings -------------------------------------------------------------------------------------------------


def _marks(text: str) -> list[_Mark]:
    """Returns the headings of a text, without the lines of its table of contents.

    These are articles without text that are there again, the headings over such articles, and addenda and annexes
    without text behind them.
    """
    marks = list(_lines_like_headings(text))
    ends = [*(mark.heading.start for mark in marks), len(text)][1:]
    bare = [_CONTENTS.fullmatch(text, mark.heading.end, end) is not None for mark, end in zip(marks, ends, strict=True)]
    listed = [False] * len(marks)
    later: set[str] = set()
    is_listed = False
    for index in reversed(range(len(marks))):
        if marks[index].article is not None:
            title = "".join(marks[index].heading.title.split())
            is_listed = bare[index] and title in later and _TITLED.search(title) is not None
            later.add(title)
        listed[index] = is_listed and bare[index]
    for index in range(1, len(marks)):
        listed[index] |= listed[index - 1] and bare[index] and marks[index].part is not None
    return [mark for mark, leaves in zip(marks, listed, strict=True) if not leaves]


def _lines_like_headings(text: str) -> Iterator[_Mark]:
    found: list[tuple[int, re.Match[str], str]] = []
    patterns = [("part", _PART), ("article", _ARTICLE), ("addendum", _ADDENDUM), ("annex", _ANNEX)]
    for kind, pattern in (*patterns, ("annex", _PLAIN_ANNEX)):
        found += [(match.start(), match, kind) for match in pattern.finditer(text)]
    last = 0
    end = -1
    for start, match, kind in sorted(found, key=lambda one: one[0]):
        if start < end:
            continue
        if kind == "article":
            number = int(re.findall(r"\d+", match["number"])[0])
            if not _is_heading(text, match, number, last):
                continue
            last = number
            article = canonical_reference(match["number"])
            yield _Mark(_heading(_LEVEL_OF_ARTICLES, match, article + (match["title"] or "").strip()), article=article)
        elif kind == "part":
            yield _Mark(_heading(_LEVELS[match["kind"]], match, _line(match)))
        else:
            last = 0
            part = _line(match) if kind == "addendum" else match["kind"] + (match["number"] or "").replace("호", "")
            yield _Mark(_heading(_LEVELS["편"], match, _line(match)), part="".join(part.split()))
        end = match.end()


def _heading(level: int, match: re.Match[str], title: str) -> Heading:
    return Heading(level, match.start(), match.end(), title[:LONGEST_TITLE])


def _line(match: re.Match[str]) -> str:
    return " ".join(match.group().lstrip(" \t#>*_-").rstrip(" \t*_").split())


def _is_heading(text: str, match: re.Match[str], number: int, last: int) -> bool:
    if match["title"] is not None:
        is_next = last in (0, number - 1) or (last == number and "의" in match["number"])
        return (_MENTIONED if is_next else _BEHIND).match(text, match.end()) is None
    return last < number <= last + _STEP and _UNTITLED.match(text, match.end()) is not None


def _title(text: str, end: int) -> Heading | None:
    """The name of the statute, in the first line."""
    match = re.compile(r"\S[^\n]*").search(text, 0, end)
    line = match.group().strip(" \t#*_") if match is not None else ""
    if match is None or len(line) > LONGEST_TITLE or not _TITLE.search(line):
        return None
    name = re.split(r"[\[(（<【〈]", line, maxsplit=1)[0]
    return Heading(0, text.rfind("\n", 0, match.start()) + 1, match.end(), " ".join(name.split()))


# -- metadata -------------------------------------------------------------------------------------------------


def _owners(marks: Sequence[_Mark], law: str | None) -> dict[Heading, Place]:
    """The place of every heading: the article, or the addendum or annex, that it begins."""
    owners = {}
    part: str | None = None
    for mark in marks:
        part = mark.part if mark.part is not None else part
        if mark.part is not None or mark.article is not None:
            owners[mark.heading] = Place(law, part, mark.article)
    return owners


def _described(section: Section, text: str, place: Place, articles: Sequence[str], behind: int) -> Section:
    metadata: dict[str, Any] = {}
    if place.law is not None:
        metadata["law"] = place.law
    if place.part is not None:
        metadata["part"] = place.part
    if place.article is not None:
        metadata["article"] = place.article
    if place.key is not None:
        metadata[CITATION] = place.key
    return replace(section, metadata=metadata, describe=_describe(text, place, articles, behind))


def _describe(text: str, place: Place, articles: Sequence[str], behind: int) -> Callable[[int, int], dict[str, Any]]:
    """Returns what describes a chunk of an article, whose heading ends at `behind` and is no citation."""

    def describe(start: int, end: int) -> dict[str, Any]:
        own = text[min(max(start, behind), end) : end]
        cites, applies = cited_by(own, place, articles)
        numbers = [_number(match.group()) for match in _PARAGRAPH.finditer(own)]
        found = {"paragraphs": sorted(set(numbers)), CITES: cites, "applies": applies}
        return {name: value for name, value in found.items() if value}

    return describe


def _number(circled: str) -> int:
    """``①`` is 1."""
    code = ord(circled)
    for first, value in (("㊱", 36), ("㉑", 21), ("①", 1)):
        if code >= ord(first):
            return code - ord(first) + value
    raise ValueError(circled)
