"""The words of a collection, by which a query is judged: what is written there is right."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise

from korag.analysis.repair.endings import ENDINGS, QUESTION_WORDS
from korag.text import normalize

_RUN = re.compile("[가-힣]+|[A-Za-z]+")
_LONGEST = 8
"""Syllables of a stem or an ending at most; longer ones are rare, and words of that length are whole."""
UNKNOWN_WORD, UNKNOWN_SYLLABLE = 8.0, 5.0
"""Costs of a word that is neither known nor made of a known beginning and a known end."""


class Lexicon:
    """Words of texts with their numbers: runs of Hangul, and Latin words in lower case.

    Costs are negative logarithms of probabilities, in nats. Never changed once it is made: safe for many threads.

    Args:
        texts: The texts, or a sample of them.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.words: Counter[str] = Counter()
        for text in texts:
            self.words.update(_RUN.findall(normalize(text)))
        self.latin: Counter[str] = Counter()
        for word in [word for word in self.words if word.isascii()]:
            self.latin[word.lower()] += self.words.pop(word)
        self.total = max(1, self.words.total())
        frequent = max(1, self.total // 1_000)
        for word in QUESTION_WORDS:  # people ask, documents do not
            self.words[word] += frequent
        self.starts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.pairs: set[str] = set()
        for word, count in self.words.items():
            for length in range(1, min(len(word), _LONGEST) + 1):
                self.starts[word[:length]] += count
                self.ends[word[-length:]] += count
            self.pairs.update(map("".join, pairwise(word)))
        for ending in ENDINGS:
            self.ends[ending] += frequent
        self.total = max(1, self.words.total())
        self.cost = lru_cache(100_000)(self._cost)

    def is_known(self, word: str) -> bool:
        """Returns True for a word, or the beginning of one with the end of another."""
        return self.cost(word) < UNKNOWN_WORD + UNKNOWN_SYLLABLE * len(word)

    def _cost(self, word: str) -> float:
        """The cost of a run of Hangul as one word."""
        best = UNKNOWN_WORD + UNKNOWN_SYLLABLE * len(word)
        if (count := self.words.get(word)) is not None:
            return min(best, math.log(self.total / count))
        for length in range(1, len(word)):
            if (first := self.starts.get(word[:length])) is None:
                break
            if (last := self.ends.get(word[length:])) is not None:
                best = min(best, 1.0 + 2 * math.log(self.total) - math.log(first) - math.log(last))
        if (first := self.starts.get(word)) is not None:
            best = min(best, 2.0 + math.log(self.total / first))
        return best

    def share_of_pairs(self, word: str) -> float:
        """The share of a word's pairs of syllables that are in some word."""
        pairs = list(map("".join, pairwise(word)))
        return sum(pair in self.pairs for pair in pairs) / len(pairs) if pairs else 0.0
