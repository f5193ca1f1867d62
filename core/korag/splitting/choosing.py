"""Chooses a splitter by the type of a file and by what is in it."""

from __future__ import annotations

import re
from pathlib import PurePath

from korag.splitting.kinds import Kind
from korag.splitting.statutes import count_articles

_CODE = (
    *("py", "pyi", "js", "jsx", "ts", "tsx", "java", "kt", "kts", "c", "h", "cc", "cpp", "hpp", "cs", "go", "rs"),
    *("rb", "php", "swift", "scala", "sh", "sql", "r", "lua", "dart"),
)
_PAGES = ("html", "htm", "xhtml")
_BY_TYPE: dict[str, Kind] = {
    **dict.fromkeys(("csv", "tsv"), "table"),
    **dict.fromkeys(_CODE, "code"),
}
_HTML = re.compile(r"\s*(?:(?><!--.*?-->)\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"</(?:p|div|table|h[1-6]|li|ul|ol|span|section|article|td|tr)>", re.IGNORECASE)
_ANY_TAG = re.compile(
    r"</?(?:p|div|table|h[1-6]|li|ul|ol|span|section|article|td|tr|br|a|main|pre|dl|title)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_BEGINS_WITH_TAG = re.compile(r"\s*<[a-z!]", re.IGNORECASE)
_ATX = re.compile(r"^ {0,3}#{1,6}[ \t]+\S", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*\|(?:[ \t]*:?-{2,}:?[ \t]*\|)+[ \t]*$", re.MULTILINE)
_START = 200_000
"""Characters that are looked at."""


def choose(text: str, filename: str | None = None) -> Kind:
    """Returns the splitter for a text.

    The type of the file decides for tables and source code, and for HTML if there are tags: loaders of other packages
    have taken them out already. Otherwise it is the text: a page or a part of one begins with a tag; then a statute has
    two headings of articles with a title, or begins with one; then Markdown has headings, fences or tables.

    Args:
        text: The text, in one spelling.
        filename: Its file.
    """
    kind = "" if filename is None else PurePath(filename).suffix.lower().lstrip(".")
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    start = text[:_START]
    is_markdown = kind in ("md", "markdown", "mdx")
    if not is_markdown and (_is_page(start) or (kind in _PAGES and _ANY_TAG.search(start))):
        return "html"
    articles = count_articles(start)
    if articles >= 2 or (articles and re.match(r"[\s#]*제\s*\d+\s*조", start)):
        return "statutes"
    if is_markdown or _has_marks(start) or _RULE.search(start):
        return "markdown"
    return "prose"


def _is_page(start: str) -> bool:
    """Returns True for HTML. Texts about it, and Markdown with some tags, would lose them."""
    if _HTML.match(start):
        return True
    return bool(_BEGINS_WITH_TAG.match(start)) and len(_TAG.findall(start)) > 2 and not _has_marks(start)


def _has_marks(start: str) -> bool:
    return bool(_ATX.search(start) or _FENCE.search(start))
