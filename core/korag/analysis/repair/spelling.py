"""Words with one wrong jamo."""

from __future__ import annotations

import re
from collections.abc import Iterator

from korag.analysis.repair.jamo import FINALS, INITIALS, VOWELS, parts, syllable
from korag.analysis.repair.lexicon import Lexicon

_WORD = re.compile("[가-힣]{4,}")
_GAIN = 10.0
"""The cost of the word must fall by so many nats."""
_STEM = 4
"""Syllables with which a word of the collection must begin: names of two or three have too many neighbours."""


def spelt(query: str, lexicon: Lexicon) -> str:
    """Changes one jamo of a long word that the collection lacks, where one such change makes a word it has."""
    return _WORD.sub(lambda word: _spelt(word[0], lexicon), query)


def _spelt(word: str, lexicon: Lexicon) -> str:
    if lexicon.is_known(word):
        return word
    least = lexicon.cost(word) - _GAIN
    found = sorted((lexicon.cost(other), other) for other in _others(word, lexicon) if lexicon.cost(other) <= least)
    if not found or (len(found) > 1 and found[1][0] < found[0][0] + 1.0):
        return word
    return found[0][1]


def _others(word: str, lexicon: Lexicon) -> Iterator[str]:
    """Words that differ in one jamo of a syllable whose neighbours it has nowhere in the collection."""
    for at, own in enumerate(word):
        before, after = word[max(0, at - 1) : at], word[at + 1 : at + 2]
        if (before and before + own in lexicon.pairs) or (after and own + after in lexicon.pairs):
            continue
        places = parts(own)
        for which, choices in enumerate((INITIALS, VOWELS, FINALS)):
            for place in range(len(choices)):
                new = syllable(*(place if index == which else old for index, old in enumerate(places)))
                is_there = (not before or before + new in lexicon.pairs) and (not after or new + after in lexicon.pairs)
                other = word[:at] + new + word[at + 1 :]
                if new != own and is_there and other[: max(_STEM, at + 1)] in lexicon.starts:
                    yield other
