"""Places where a text may be cut: between paragraphs, lines, sentences, words, characters."""

from __future__ import annotations

import re
from itertools import islice

from korag.analysis.user_words import check_user_words, kiwi_with
from korag.splitting.sections import Divide
from korag.splitting.views import JOINED

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_LINE = re.compile(r"\n\s*")
_WORD = re.compile(r"\s+")
_CHARACTER = re.compile(rf"(?!^)(?=[^{JOINED}])(?<!\u200d)")
_SENTENCE = re.compile(
    r"(?:(?<=[^\W\d_])[.．]|(?<=[)\]」』”’\"'%])\.|(?<![!?。！？…])[!?。！？…])"  # no end: 1. 목적, 2.5, 2026. 1. 2.
    r"[!?。！？…]*+[\"'”’」』)\]）]*+\s++(?=\S)"
)
"""The end of a sentence with the spaces behind it. It begins at the first of several marks: time is linear."""
_NO_END = re.compile(
    r"(?:^|[\s(\"'“‘「])(?:[A-Za-z]|[가나다라마바사아자차카타파하]|Mr|Mrs|Ms|Dr|St|vs|etc|cf|No|pp|Fig|e\.g|i\.e)\.$"
)
"""Words that end in a full stop and end no sentence: initials, abbreviations, ``가.`` before an item."""
_BLOCK = 32
"""Characters between two places of `blocks`."""


def _after(pattern: re.Pattern[str]) -> Divide:
    def divide(text: str, start: int, end: int) -> list[int]:
        return [place for match in pattern.finditer(text, start, end) if start < (place := match.end()) < end]

    return divide


paragraphs = _after(_PARAGRAPH)
lines = _after(_LINE)
words = _after(_WORD)
characters = _after(_CHARACTER)


def sentences(text: str, start: int, end: int) -> list[int]:
    """Divides Korean or English prose into sentences, by a rule of punctuation and line ends."""
    found = []
    for match in _SENTENCE.finditer(text, start, end):
        mark = match.group().rstrip()
        if match.end() < end and not (
            mark == "." and _NO_END.search(text, max(start, match.start() - 8), match.start() + 1)
        ):
            found.append(match.end())
    return sorted({*found, *lines(text, start, end)})


def kiwi_sentences(text: str, start: int, end: int) -> list[int]:
    """Divides Korean prose into sentences by Kiwi, which recognises them without punctuation too."""
    found = kiwi_with(check_user_words(None)).split_into_sents(text[start:end])
    return [place for sentence in found[1:] if start < (place := start + sentence.start) < end]


def blocks(text: str, start: int, end: int) -> list[int]:
    """Divides a text without spaces (base64, DNA), so that few parts are measured: only one too long is cut further."""
    found = islice(_CHARACTER.finditer(text, start, end), _BLOCK, None, _BLOCK)
    return [place for match in found if (place := match.start()) < end]


FINEST: tuple[Divide, ...] = (words, blocks, characters)
"""For what cannot be divided in any better way."""


def prose_ways(sentences: Divide) -> tuple[Divide, ...]:
    """Ways to divide prose, with this one into sentences."""
    return (paragraphs, lines, sentences, *FINEST)
