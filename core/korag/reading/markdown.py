"""Writing what a document has as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MARK = re.compile(r"^ {0,3}(?=#{1,6}(?:[ \t]|$)|`{3}|~{3}|<!--|(?:=+|-+)[ \t]*$)", re.MULTILINE)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Returns rows as a table of Markdown, whose first row is the header."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows if row]
    if lines:
        lines.insert(1, "|" + " --- |" * len(rows[0]))
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Returns text whose lines are no headings, fences or comments, even if they begin with their marks."""
    return _MARK.sub(r"\g<0>\\", text)
