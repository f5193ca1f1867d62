"""Missing spaces, and spaces in the wrong places."""

from __future__ import annotations

import re

from korag.analysis.repair.lexicon import Lexicon

_STRETCH = re.compile("[가-힣]+(?: +[가-힣]+)*")
_LONGEST_WORD = 12
_GAIN, _SHARE = 20.0, 0.8
"""The cost of a query's words must fall by so many nats, and to this share. Clean queries gain up to 20 where names
that the collection does not have are cut, mistyped ones 30 to 100."""
_KNOWN = 0.7
"""Of the syllables, this share must then be in words that the collection has."""


def spaced(query: str, lexicon: Lexicon) -> str:
    """Puts spaces between the words of a query's Hangul, where it is far likelier so than as it is given."""
    given = cost = 0.0
    syllables = known = 0
    parts: list[str] = []
    end = 0
    for stretch in _STRETCH.finditer(query):
        words = stretch[0].split()
        own = sum(map(lexicon.cost, words))
        least, best = own, words
        if own > _GAIN:
            least, best = segmented("".join(words), lexicon)
        given, cost = given + own, cost + least
        syllables += sum(map(len, best))
        known += sum(len(word) for word in best if lexicon.is_known(word))
        parts += query[end : stretch.start()], " ".join(best)
        end = stretch.end()
    is_better = cost < given - _GAIN and cost < given * _SHARE and known >= syllables * _KNOWN
    return "".join([*parts, query[end:]]) if is_better else query


def segmented(syllables: str, lexicon: Lexicon) -> tuple[float, list[str]]:
    """Returns the cheapest words that make up a run of syllables, with their cost (Viterbi 1967)."""
    costs, starts = [0.0], [0]
    for end in range(1, len(syllables) + 1):
        cost, start = min(
            (costs[start] + lexicon.cost(syllables[start:end]), start)
            for start in range(max(0, end - _LONGEST_WORD), end)
        )
        costs.append(cost)
        starts.append(start)
    words: list[str] = []
    end = len(syllables)
    while end:
        words.append(syllables[starts[end] : end])
        end = starts[end]
    return costs[-1], words[::-1]
