"""Breadcrumbs: the headings of a part of a document, which are searched with its text but are not part of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from korag.errors import InvalidArgumentError

BREADCRUMB = "_korag_breadcrumb"
"""Metadata key of a line that is searched before the text of a document, and not returned with it."""


def searched_text(text: str, breadcrumb: str) -> str:
    """Returns what models and tokenizers read of a document."""
    return f"{breadcrumb}\n{text}" if breadcrumb else text


def breadcrumb_of(metadata: Mapping[str, Any]) -> str:
    """Returns the breadcrumb of a document with this metadata; empty if it has none."""
    breadcrumb = metadata.get(BREADCRUMB)
    return breadcrumb if isinstance(breadcrumb, str) else ""


def check_breadcrumb(metadata: Mapping[str, Any], place: str) -> None:
    """Raises if the breadcrumb in metadata is not a line of text.

    Args:
        metadata: A document's.
        place: Its name in the message.

    Raises:
        InvalidArgumentError: If it is something else.
    """
    breadcrumb = metadata.get(BREADCRUMB, "")
    if not isinstance(breadcrumb, str) or "\n" in breadcrumb:
        raise InvalidArgumentError(
            f"{place}['{BREADCRUMB}']={breadcrumb!r:.80}: 한 줄의 문자열이어야 합니다. "
            "Chunk.to_metadata()가 만든 값을 그대로 넣으세요.",
            f"{place}['{BREADCRUMB}']={breadcrumb!r:.80} must be a string of one line; pass what Chunk.to_metadata() "
            "makes.",
        )
