"""Korean particles that agree with the word before: ``'보증금'은``, ``model을``, ``dim=32를``, ``k=10으로``."""

from __future__ import annotations

import re

_BOTH = re.compile(
    r"(?P<word>[가-힣A-Za-z0-9]+)(?P<closing>['\"’”)\]」』》`=]*)(?P<both>[을은이와과]\([를는가과와]\)|\(으\)로)"
)
_FORMS = {
    "을(를)": ("을", "를"), "은(는)": ("은", "는"), "이(가)": ("이", "가"), "와(과)": ("과", "와"),
    "과(와)": ("과", "와"), "(으)로": ("으로", "로"),
}  # fmt: skip
"""The particle behind a consonant, and behind a vowel."""
_RIEUL = 8
"""The final consonant ㄹ among those of a syllable, behind which it is 로."""
_DIGITS = {"0": "ㅇ", "1": "ㄹ", "3": "ㅁ", "6": "ㄱ", "7": "ㄹ", "8": "ㄹ"}
"""Final consonants of 영, 일, 삼, 육, 칠, 팔; 십, 백 and 천 have one too."""
_LETTERS = {"l": "ㄹ", "m": "ㅁ", "n": "ㄴ", "r": "ㄹ"}
"""Final consonants of the names of letters: 엘, 엠, 엔, 알."""
_ENDINGS = ((re.compile(r"le?$"), "ㄹ"), (re.compile(r"me?$"), "ㅁ"), (re.compile(r"ne?$|ng$"), "ㄴ"))
"""Endings of words that are read with a final consonant; 로그, 리스트 and most others get a vowel instead."""
_SHORT = re.compile(r"(?:^|[^aeiou])[aeiou](?:ck|[ckpt])$|[aeo]b$|ook$|group$|type$")
"""A short vowel before a stop: 맵, 셋, 코덱, 웹; 북, 그룹, 타입."""


def agree(text: str) -> str:
    """Chooses particles that are written in both forms, ``을(를)``, by how the word before them ends.

    Words in Hangul and numbers end as they are read, words in Latin letters as they usually are in Korean; a single
    letter, or one behind ``_`` or a digit, is read by its name. Both forms stay behind anything else.

    Args:
        text: A message.
    """
    return _BOTH.sub(_chosen, text) if "(" in text else text


def _chosen(match: re.Match[str]) -> str:
    forms = _FORMS.get(match["both"])
    if forms is None:
        return match.group()
    end = _end(match["word"])
    is_open = not end or (match["both"] == "(으)로" and end == "ㄹ")
    return match["word"] + match["closing"] + forms[is_open]


def _end(word: str) -> str:
    """Returns the final consonant of a word as it is read, an ``"ㅇ"`` for any other than ㄹ; nothing for a vowel."""
    last = word[-1]
    if "가" <= last <= "힣":
        final = (ord(last) - ord("가")) % 28
        return "ㄹ" if final == _RIEUL else "ㅇ" if final else ""
    if last.isdigit():
        return _DIGITS.get(last, "")
    lower = re.sub(r".*[^a-z]", "", word.lower())
    if len(lower) == 1:
        return _LETTERS.get(lower, "")
    found = next((end for pattern, end in _ENDINGS if pattern.search(lower)), "")
    return found or ("ㅇ" if _SHORT.search(lower) else "")
