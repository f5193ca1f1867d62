"""Chunks: the parts that a text is split into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from korag.breadcrumbs import BREADCRUMB, searched_text


@dataclass(frozen=True)
class Chunk:
    """A part of a text.

    Attributes:
        text: The text to store and to return: ``source[start:end]``, behind `repeated` if there is any. Of HTML, what a
            reader sees of it.
        start: Where it begins in the source, in characters.
        end: Where it ends.
        headings: The headings it stands under, outermost first, its own included.
        breadcrumb: Those of them that the text does not have itself, in one line. A model reads them before the text.
        repeated: The beginning of the text that stands elsewhere in the source: the header of a table.
        metadata: What the splitter knows of it, e.g. the article of a statute and those it cites.
    """

    text: str
    start: int
    end: int
    headings: tuple[str, ...] = ()
    breadcrumb: str = ""
    repeated: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def searched(self) -> str:
        """The text as models and BM25 read it: with the breadcrumb in a line above."""
        return searched_text(self.text, self.breadcrumb)

    def to_metadata(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Returns JSON metadata for a collection, which searches the chunk by its breadcrumb as well.

        Args:
            given: Metadata of the whole document; the chunk's own has precedence.

        Returns:
            ``start``, ``end``, ``headings`` (if there are any), `metadata`, and the breadcrumb under a key of KoRAG's.
        """
        own: dict[str, Any] = {**(given or {}), **self.metadata, "start": self.start, "end": self.end}
        if self.headings:
            own["headings"] = list(self.headings)
        own.pop(BREADCRUMB, None)
        return own | ({BREADCRUMB: self.breadcrumb} if self.breadcrumb else {})
