"""The parser of everything that reads HTML."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

BLOCKS = frozenset(
    (
        *("address", "article", "aside", "blockquote", "dd", "div", "dl", "dt", "fieldset", "figcaption", "figure"),
        *("footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre"),
        *("section", "table", "tr", "ul"),
    )
)
"""Elements that begin and end a line."""
_HIDDEN = frozenset({"title", "script", "style", "template", "noscript", "svg", "iframe"})
"""``head`` is none of them: its end tag may be missing, and it has no other text."""
_MARKUP = re.compile("<[a-zA-Z/!?]")


class PageParser(HTMLParser):
    """Python's parser, with the elements that are hidden, which stumbles over nothing.

    Args:
        convert_charrefs: As `html.parser.HTMLParser`.
    """

    def __init__(self, *, convert_charrefs: bool) -> None:
        super().__init__(convert_charrefs=convert_charrefs)
        self.hidden: list[str] = []
        """The hidden element that is open, once for each time that it is nested in itself."""

    def read(self, source: str) -> None:
        """Reads a whole page.

        What is behind the last ``>`` is no markup any more, but a page that was cut off: it is read as text. Python's
        parser would look for the end of each tag and comment there, in time that grows with the square of their number.
        """
        begin = _MARKUP.search(source, source.rfind(">") + 1)
        end = len(source) if begin is None else begin.start()
        self.feed(source[:end])
        self.close()
        if end < len(source):
            self.handle_data(unescape(source[end:]) if self.convert_charrefs else source[end:])

    def hides_start(self, tag: str) -> bool:
        """Notes a start tag, and returns whether nothing is to be seen of it."""
        if tag == "body" or self.hidden == ["title"]:  # a title has no elements; one that is not closed hides no page
            self.hidden.clear()
        if tag in self.hidden[-1:] or (not self.hidden and tag in _HIDDEN):
            self.hidden.append(tag)
        return bool(self.hidden)

    def hides_end(self, tag: str) -> bool:
        """Notes an end tag, and returns whether nothing is to be seen of it."""
        if not self.hidden:
            return False
        if tag == "head" or self.hidden == ["title"]:
            self.hidden.clear()
        elif tag == self.hidden[-1]:
            self.hidden.pop()
        return True

    def parse_marked_section(self, i: int, report: bool = True) -> int:  # noqa: FBT001, FBT002 (Python's)
        """Reads ``<![…>`` as browsers do, as a comment; Python's raises an AssertionError for unknown ones."""
        return self.parse_bogus_comment(i, report)
