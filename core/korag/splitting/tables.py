"""Tables: rows whole, and the header with every chunk."""

from __future__ import annotations

import re

from korag.splitting.dividing import FINEST, lines
from korag.splitting.sections import Section, Unit

_RULE = re.compile(r"\s*(?:\|\s*)?:?-{2,}:?\s*(?:\|\s*:?-{2,}:?\s*)*(?:\|\s*)?")
ROW_WAYS = (lines, *FINEST)
"""Ways to divide a table whose rows are lines."""


def table_unit(text: str, start: int, end: int) -> Unit:
    """Returns a table of lines as a unit; its header is the first line, with the rule under it in Markdown."""
    first = text.find("\n", start, end)
    header = end if first < 0 else first + 1
    second = text.find("\n", header, end)
    if header < end and _RULE.fullmatch(text, header, end if second < 0 else second):
        header = end if second < 0 else second + 1
    return Unit(start, end, ROW_WAYS, (start, header) if header < end else None)


def record_sections(text: str) -> list[Section]:
    """Returns a CSV or TSV text as one section; a line end in quotation marks is within a row."""
    places = _records(text, 0, len(text))
    header = (0, places[0]) if places else None
    return [Section((), (Unit(0, len(text), (_records, *ROW_WAYS), header),))]


def _records(text: str, start: int, end: int) -> list[int]:
    found = []
    is_quoted = False
    for match in re.compile(r'"|\n').finditer(text, start, end):
        if match.group() == '"':
            is_quoted = not is_quoted
        elif not is_quoted and match.end() < end:
            found.append(match.end())
    return found
