"""Tokens of the lexical leg that no tokenizer makes, marked by how they begin.

A built-in tokenizer makes no token with a colon after letters.
"""

from __future__ import annotations

import re

HEADING = "heading:"
"""The beginning of a document: ``heading:제44조``, ``heading:민법제44조``."""
MENTION = "id:"
"""A name of one thing, wherever a text has it: ``id:2019다12345``."""

_IDENTIFIER = re.compile(rf"{HEADING}|{MENTION}|제\d{{4,}}호$")


def is_identifier(token: str) -> bool:
    """Tells whether a document with this token of a query is about what the query names."""
    return _IDENTIFIER.match(token) is not None


def is_alternative(token: str) -> bool:
    """Tells whether a token only stands beside others for the same words, and says nothing where no document has it."""
    return token.startswith((HEADING, MENTION))
