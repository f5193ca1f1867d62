"""Queries made from passages: their titles, their first sentences, and spans cut out of them (inverse cloze)."""

from __future__ import annotations

import re

import numpy as np

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_ARTICLE_TITLE = re.compile(r"(.{2,40}?) 제\d+조(?:의\d+)?\(([^)]{2,40})\)")
_WORDS = (3, 10)
"""Least and most words of a span."""
_LONGEST_SENTENCE = 120
_SHORTEST_REST = 40
"""Characters that must be left when a query is cut out of its passage."""
_KEPT_SHARE = 0.4
"""Passages whose span stays in them, so that matching of words is learned too."""


def title_query(passage: str) -> str | None:
    """Returns an article's act and title as keywords, or None if the passage is no article with a title."""
    found = _ARTICLE_TITLE.match(passage)
    return None if found is None else f"{found[1]} {found[2]}"


def first_sentence(passage: str) -> tuple[str, str] | None:
    """Returns the passage's first sentence as a query, and the rest as its document; None if either is too short."""
    sentence, *rest = _SENTENCE_END.split(passage.strip(), maxsplit=1)
    if not rest or not 10 <= len(sentence) <= _LONGEST_SENTENCE or len(rest[0]) < _SHORTEST_REST:
        return None
    return sentence, rest[0]


def cloze(passage: str, rng: np.random.Generator) -> tuple[str, str] | None:
    """Returns a span of the passage as a query, and the passage without it as its document.

    In two of five passages the span stays ("inverse cloze", Lee et al. 2019, https://arxiv.org/abs/1906.00300,
    section 5, which keeps one in ten: a small model has more to learn from equal words).

    Args:
        passage: The passage.
        rng: Random generator.

    Returns:
        Query and document; None if the passage is too short.
    """
    words = passage.split()
    count = int(rng.integers(_WORDS[0], _WORDS[1] + 1))
    if len(words) < 2 * count:
        return None
    start = int(rng.integers(0, len(words) - count + 1))
    query = " ".join(words[start : start + count])
    rest = " ".join(words[:start] + words[start + count :])
    kept = rng.random() < _KEPT_SHARE or len(rest) < _SHORTEST_REST
    return query, passage if kept else rest
