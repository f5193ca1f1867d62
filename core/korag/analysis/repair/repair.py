"""A query as it was meant."""

from __future__ import annotations

from korag.analysis.repair.layout import typed_as_hangul, typed_as_latin
from korag.analysis.repair.lexicon import Lexicon
from korag.analysis.repair.spacing import spaced
from korag.analysis.repair.spelling import spelt
from korag.text import normalize

_STEPS = (typed_as_latin, typed_as_hangul, spaced, spelt)
_LONGEST = 1_000
"""Characters; what is longer is a text, not a query."""


def repaired(query: str, lexicon: Lexicon) -> str | None:
    """Returns a query as it was probably meant, in NFC; None if it is right as it is.

    Args:
        query: The query.
        lexicon: The words of the collection searched.
    """
    if len(query) > _LONGEST:
        return None
    given = text = normalize(query)
    for step in _STEPS:
        text = step(text, lexicon)
    return None if text == given else text
