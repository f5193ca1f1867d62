"""Source code: functions and classes whole, as many as fit."""

from __future__ import annotations

import re

from korag.splitting.dividing import FINEST, lines, paragraphs
from korag.splitting.sections import Section, Unit

_DEFINITION = re.compile(r"\n[^\S\n]*\n(?=[^\s#})\]])")
"""Blank lines before a line that is not indented."""


def _definitions(text: str, start: int, end: int) -> list[int]:
    return [place for match in _DEFINITION.finditer(text, start, end) if start < (place := match.end()) < end]


CODE_WAYS = (_definitions, paragraphs, lines, *FINEST)
"""Ways to divide code that is too long for a chunk."""


def code_sections(text: str) -> list[Section]:
    """Returns the text as one section, of definitions."""
    return [Section((), (Unit(0, len(text), CODE_WAYS),))]
