"""Spans of a text that the tokenizers keep whole, with the tokens that stand for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from korag.analysis.references import REFERENCE, canonical_reference


class Identifier(NamedTuple):
    """A span of a text that is not split.

    Attributes:
        start: Where it starts.
        end: Where it ends.
        tokens: What stands for it among the tokens, in one spelling.
    """

    start: int
    end: int
    tokens: tuple[str, ...]


def _references(text: str) -> Iterator[Identifier]:
    for match in REFERENCE.finditer(text):
        yield Identifier(*match.span(), (canonical_reference(match.group()),))


_FINDERS: dict[int, Callable[[str], Iterator[Identifier]]] = {1: _references, 2: _references}
"""By version of the analysis: they yield spans in order, without overlaps."""


def find_identifiers(text: str, version: int) -> Iterator[Identifier]:
    """Yields what a version of the analysis keeps whole, in order of the text."""
    return _FINDERS[version](text)
