"""Names of statutes without brackets before a reference: 민법 제3조, 하천의 이용에 관한 법률 제7조."""

from __future__ import annotations

import re

_WORDS = 14
"""Of a name at most."""
_SINGLE = re.compile(
    r"(?P<name>(?:[가-힣ㆍ·]+(?:법|법률)\s시행(?:령|규칙))|[가-힣ㆍ·]{1,30}(?:법|법률|령|규칙|조례|헌법))\s*$"
)
_LAST = re.compile(r"(?<![가-힣ㆍ·])(?P<name>[가-힣ㆍ·]{0,30}(?:법률|법)(?:\s시행(?:령|규칙))?)\s*$")
"""The last word of a name of several."""
_WORD = re.compile(r"(?<![가-힣\dㆍ·])(?P<word>[\dㆍ·]*[가-힣][가-힣\dㆍ·]*)(?P<comma>,?)[ ]$")
_NO_LAW = frozenset(
    [
        "방법",
        "위법",
        "적법",
        "불법",
        "합법",
        "편법",
        "문법",
        "용법",
        "기법",
        "입법",
        "사법",
        "준법",
        "탈법",
        "현행법",
        "대통령",
        "명령",
        "시행령",
        "시행규칙",
        "총리령",
        "부령",
        "대통령령",
        "법령",
        "훈령",
    ]
)
_GENERAL = frozenset(["법률", "특별법", "특례법", "특별조치법", "기본법"])
"""Last words that are no name by themselves."""
_BEFORE_NAMES = frozenset(
    [
        "그",
        "이",
        "본",
        "위",
        "아래",
        "구",
        "현행",
        "개정",
        "신설",
        "각",
        "즉",
        "또",
        "또는",
        "및",
        "그리고",
        "따라",
        "따른",
        "의한",
        "관한",
        "특히",
        "다만",
        "해당",
        "관련",
        "다른",
        "모든",
        "당해",
        "상기",
        "종전",
        "때",
        "경우",
        "다음",
        "이하",
        "이상",
        "이때",
        "제외하고",
        "외",
        "중",
        "등",
    ]
)
_PARTICLE = re.compile(
    r"(?:[은는을를에만]|(?<![린놀])이|(?<![국평허인물증])가|(?<![도경])로|(?<![철제고지속정])도|에서|에게|으로|부터|까지)$"
)
_CLAUSE = re.compile(
    r"(?:(?<![창신사광보재해금경원피항상공권])고|(?:하|되|으|이|다|라)[며면]|[하되이아어해려]서|하여|되어|하게|[한된있없이]다|따라|려면"
    r"|[한할된될던린른인]|이란)$"
)
"""Nouns may end alike: 국가, 도로, 창고, 문서."""
_NUMBERED = re.compile(r"제\d|\d(?:호|조|항|년|월|일)")
_LINKED = ("관한", "위한", "따른", "의한", "대한")
"""Words of which the one before has a particle: 이용에 관한, 진흥을 위한."""


def names_before(before: str) -> tuple[str, ...]:
    """Returns the names that the end of a text may be; none if it is no statute's.

    A word before a name looks like its first word, so there may be two: all the words, and the last one alone. Only one
    of them is the name of a statute.
    """
    single = _SINGLE.search(before)
    names = [single["name"]] if single is not None and single["name"] not in _NO_LAW else []
    last = _LAST.search(before)
    if last is None or last["name"] in _NO_LAW:
        return tuple(names)
    words, base = _words_before(before[: last.start()]), last["name"].split()[0]
    if words and base != "법" and (base != "법률" or words[-1] in _LINKED):
        longer = " ".join([*words, last["name"]])
        names = [longer] if base in _GENERAL else [longer, *names]
    return tuple(names)


def _words_before(before: str) -> list[str]:
    """The words that may belong to the name of which the next word is the last, in order."""
    words: list[str] = []
    while len(words) < _WORDS and (match := _WORD.search(before)):
        word = match["word"]
        follows = words[0] if words else ""
        if not _belongs(word, follows, bool(match["comma"]), linked=any(one in _LINKED for one in words)):
            break
        words.insert(0, word)
        before = before[: match.start()]
    while words and (words[0] in ("및", "등", "등의", "등에") or words[0] in _LINKED):
        words.pop(0)
    return words


def _belongs(word: str, follows: str, comma: bool, *, linked: bool) -> bool:  # noqa: FBT001 (read at one place)
    if comma or _NUMBERED.search(word):
        return False
    if word in _LINKED:
        return True
    if follows in _LINKED:
        return word.endswith(("에", "을", "를"))
    if word in ("및", "등", "등의", "등에"):
        return True
    if linked and word.endswith(("의", "과", "와")):
        return len(word) > 1
    return len(word) > 1 and word not in _BEFORE_NAMES and not _PARTICLE.search(word) and not _CLAUSE.search(word)
