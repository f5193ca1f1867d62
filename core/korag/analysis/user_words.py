"""A user's dictionary for Kiwi: names and terms that must not be taken apart."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

from cachetools import LRUCache

from korag._optional import require
from korag.analysis.spellings import unfold_forms
from korag.errors import InvalidArgumentError
from korag.forking import Lock
from korag.text import check_text, is_empty, normalize

TAGS = (
    "NNG", "NNP", "NNB", "NR", "NP", "VV", "VA", "VX", "VCP", "VCN", "MM", "MAG", "MAJ", "IC", "JKS", "JKC", "JKG",
    "JKO", "JKB", "JKV", "JKQ", "JX", "JC", "EP", "EF", "EC", "ETN", "ETM", "XPN", "XSN", "XSV", "XSA", "XSM", "XR",
    "SL", "SH", "SN", "VV-R", "VV-I", "VA-R", "VA-I", "VX-R", "VX-I",
)  # fmt: skip
"""Kiwi's tags of words; ``-R`` and ``-I`` are regular and irregular stems."""
FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
"""Full-width ASCII to ASCII: Kiwi takes a full-width letter for a symbol."""
LONGEST = 100
"""Characters of a word; Kiwi would take more, but they are no word."""
GREATEST = sys.float_info.max
_MOST_KIWIS = 4
"""Kiwis in memory: one takes 400 MB, and a second to load."""
_SHOWN = 5


class UserWord(NamedTuple):
    """A word of a dictionary.

    Attributes:
        form: The word, in the spelling that the tokenizer reads; a stem for verbs and adjectives.
        tag: Kiwi's tag.
        score: Kiwi's weight; higher is preferred where a text can be read in several ways.
    """

    form: str
    tag: str = "NNP"
    score: float = 0.0


class UserWords(tuple[UserWord, ...]):
    """A dictionary that `check_user_words` has checked: sorted, so that equal ones are equal."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 of it."""
        return hashlib.sha256(json.dumps(self).encode()).hexdigest()

    @cached_property
    def spaced(self) -> frozenset[str]:
        """The words with a space in them."""
        return frozenset(word.form for word in self if " " in word.form)


UserWordsLike: TypeAlias = (
    Mapping[str, str] | Sequence[str | tuple[str, str] | tuple[str, str, float] | Sequence[Any]] | None
)
"""A dictionary as an argument: see `check_user_words`."""


def check_user_words(words: UserWordsLike) -> UserWords:
    """Returns a dictionary, sorted and each word once.

    Args:
        words: Words, (word, tag) or (word, tag, score); or ``{word: tag}``. A tag not given is NNP, a proper noun.

    Raises:
        InvalidTextError: If a word is not a string.
        InvalidArgumentError: If it is something else, a word is empty or too long, a tag is none of Kiwi's, a score is
            not a finite number, or a word has two scores.
    """
    if isinstance(words, UserWords):
        return words
    if words is None:
        return UserWords()
    if isinstance(words, str | bytes) or not isinstance(words, Mapping | Sequence):
        raise InvalidArgumentError(
            f"user_words={words!r:.80}: 단어의 리스트여야 합니다. 예: ['동탄역', ('배민', 'NNP')]. "
            "{'배민': 'NNP'}도 됩니다.",
            f"user_words={words!r:.80} must be a list of words, for example ['동탄역', ('배민', 'NNP')], or "
            "{'배민': 'NNP'}.",
        )
    found: dict[tuple[str, str], UserWord] = {}
    for index, entry in enumerate(words.items() if isinstance(words, Mapping) else words):
        word = _checked(entry, f"user_words[{index}]")
        known = found.setdefault(word[:2], word)
        if known.score != word.score:
            raise InvalidArgumentError(
                f"user_words: '{word.form}' ({word.tag})의 점수가 둘입니다({known.score:g}, {word.score:g}). "
                "하나만 남기세요.",
                f"user_words gives '{word.form}' ({word.tag}) two scores, {known.score:g} and {word.score:g}; keep "
                "one.",
            )
    return UserWords(sorted(found.values()))


def _checked(entry: object, place: str) -> UserWord:
    parts = [entry] if isinstance(entry, str) else list(entry) if isinstance(entry, list | tuple) else []
    if not 1 <= len(parts) <= 3:
        raise InvalidArgumentError(
            f"{place}={entry!r:.80}: 단어, (단어, 품사) 또는 (단어, 품사, 점수)여야 합니다.",
            f"{place}={entry!r:.80} must be a word, (word, tag) or (word, tag, score).",
        )
    text, tag, score = parts + ["NNP", 0.0][len(parts) - 1 :]
    form = _spelt(check_text(text, place))
    if is_empty(form) or len(form) > LONGEST:
        raise InvalidArgumentError(
            f"{place}={entry!r:.80}: 단어는 1자 이상 {LONGEST}자 이하여야 합니다.",
            f"{place}={entry!r:.80}: a word must have 1 to {LONGEST} characters.",
        )
    if tag not in TAGS:
        raise InvalidArgumentError(
            f"{place}={entry!r:.80}: 품사 {tag!r:.40}은(는) Kiwi에 없습니다. 쓸 수 있는 것: {', '.join(TAGS)}. 이름은 "
            "NNP, 일반 명사는 NNG, 동사와 형용사는 어간에 VV와 VA를 붙입니다.",
            f"{place}={entry!r:.80}: {tag!r:.40} is not a tag of Kiwi. It has {', '.join(TAGS)}: NNP for names, NNG "
            "for other nouns, VV and VA for the stems of verbs and adjectives.",
        )
    if isinstance(score, bool) or not isinstance(score, int | float) or not -GREATEST <= score <= GREATEST:
        raise InvalidArgumentError(
            f"{place}={entry!r:.80}: 점수는 유한한 수여야 합니다.",
            f"{place}={entry!r:.80}: the score must be a finite number.",
        )
    return UserWord(form, str(tag), float(score))


def _spelt(word: str) -> str:
    """A word as the tokenizer reads texts; Kiwi takes any number of spaces inside for one, or for none."""
    return " ".join(unfold_forms(normalize(word)).translate(FULL_WIDTH).split())


def differences(recorded: UserWords, given: UserWords) -> tuple[str, str]:
    """Describes how two dictionaries differ, in Korean and in English.

    Args:
        recorded: Of a collection.
        given: The one it is opened with.
    """
    old, new = {word[:2]: word for word in recorded}, {word[:2]: word for word in given}
    missing, added = [word for key, word in old.items() if key not in new], [new[key] for key in new if key not in old]
    rescored = [new[key] for key in new if key in old and old[key] != new[key]]
    korean, english = [], []
    for words, own, other in (
        (missing, "넣은 사전에 없음", "missing"), (added, "넣은 사전에만 있음", "added"),
        (rescored, "점수가 다름", "with another score"),
    ):  # fmt: skip
        if words:
            korean.append(f"{own}: {_listed(words, '외 {}개')}")
            english.append(f"{other}: {_listed(words, 'and {} more')}")
    return "; ".join(korean), "; ".join(english)


def _listed(words: Sequence[UserWord], more: str) -> str:
    shown = ", ".join(f"{word.form} ({word.tag})" for word in words[:_SHOWN])
    return shown if len(words) <= _SHOWN else f"{shown} {more.format(len(words) - _SHOWN)}"


# By process: a Kiwi's worker threads do not survive a fork, and the child would hang in its first call to it, or in
# letting go of it.
_kiwis: dict[int, LRUCache[str, Any]] = {}
_lock = Lock()


def kiwi_with(words: UserWords) -> Any:
    """Returns this process's Kiwi with a dictionary, loaded at first use and shared by all threads.

    Args:
        words: The dictionary. The last four that were used stay in memory.
    """
    with _lock:
        own = _kiwis.setdefault(os.getpid(), LRUCache(_MOST_KIWIS))
        if (kiwi := own.get(words.digest)) is None:
            kiwi = require("kiwipiepy", extra="kiwi").Kiwi()
            for word in words:
                kiwi.add_user_word(*word)
            own[words.digest] = kiwi
        return kiwi
