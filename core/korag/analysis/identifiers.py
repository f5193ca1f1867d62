"""Spans of a text that the tokenizers keep whole, with the tokens that stand for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from korag.analysis.numbers import PATTERNS, TOKENS
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


_MAY_START = re.compile(
    r"\d++|제(?=\s?\d)|\((?=0\d)|\+(?=82)"
    r"|[A-Za-z](?<![0-9A-Za-z_-][A-Za-z])(?=[A-Za-z_-]*+(?:\d|[@.+][0-9A-Za-z]| \d{4}))"
)
"""Where to try the patterns; all of them at every character would take four times as long."""
_ANY = re.compile(
    "|".join(f"(?P<{kind}>{pattern})" for kind, pattern in PATTERNS.items() if kind not in ("account", "sum"))
    + rf"|(?P<reference>{REFERENCE.pattern})|(?P<account>{PATTERNS['account']})|(?P<sum>{PATTERNS['sum']})"
)
_PARAGRAPH = re.compile(r"\s?(?:의\s?)?제?\s?(\d{1,3})\s?항(?!공|구|목)")


def _references_and_numbers(text: str) -> Iterator[Identifier]:
    end = 0
    for place in _MAY_START.finditer(text):
        if place.start() < end or not (match := _ANY.match(text, place.start())):
            continue
        kind = str(match.lastgroup)
        end = match.end()
        if kind != "reference":
            tokens = TOKENS[kind](match.group())
        elif (article := canonical_reference(match.group())) and (part := _paragraph(article, text, end)):
            tokens = (article, f"제{part[1]}항", f"{article}제{part[1]}항")
            end = part.end()
        else:
            tokens = (article,)
        if tokens:
            yield Identifier(match.start(), end, tokens)


def _paragraph(article: str, text: str, end: int) -> re.Match[str] | None:
    """The paragraph behind an article: 제15조제1항, 15조 1항."""
    return _PARAGRAPH.match(text, end) if "조" in article else None


_FINDERS: dict[int, Callable[[str], Iterator[Identifier]]] = {1: _references, 2: _references_and_numbers}
"""By version of the analysis: they yield spans in order, without overlaps."""


def find_identifiers(text: str, version: int) -> Iterator[Identifier]:
    """Yields what a version of the analysis keeps whole, in order of the text."""
    return _FINDERS[version](text)
