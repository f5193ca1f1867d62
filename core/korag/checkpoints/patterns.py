"""Regular expressions from settings files: Python's `re` may need exponential time for them."""

from __future__ import annotations

import re

_MOST_REPEATS = 5
"""Unbounded repetitions in one pattern. Matching takes up to (length of the text) to this power; module names are
short."""
_TOKEN = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?(?:[a-zA-Z-]*:|<?[=!]|P?<\w+>|>))?|\)|\{\d+(?:,\d*)?\}|.", re.DOTALL
)
"""An escape, a character class, an opening parenthesis with its kind, a counted repetition, or any character."""


def is_harmless(pattern: object) -> bool:
    """Returns True for a regular expression that matches short texts fast.

    Nothing that is repeated may itself contain a repetition or an alternation, since ``(a+)+`` and ``(a|a)*`` try
    exponentially many ways.
    """
    if not isinstance(pattern, str) or len(pattern) > 1_000:
        return False
    repeats = 0
    ambiguous = [False]  # for each open parenthesis: whether it has a repetition or an alternation inside
    closed = False  # the same, of the parenthesis that the previous token closed
    for part in _TOKEN.findall(pattern):
        if part.startswith("("):
            ambiguous.append(False)
        elif part == ")":
            if len(ambiguous) == 1:
                return False
            inner = ambiguous.pop()
            ambiguous[-1] |= inner
            closed = inner
            continue
        elif part == "|":
            ambiguous[-1] = True
        elif part in ("*", "+") or part.startswith("{"):
            if closed:
                return False
            repeats += 1
            ambiguous[-1] = True
        closed = False
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return len(ambiguous) == 1 and repeats <= _MOST_REPEATS
