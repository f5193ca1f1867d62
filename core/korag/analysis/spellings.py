"""One spelling of a text for the lexical leg, beyond what `korag.text.normalize` does for every leg.

A model has learnt what ``㎡`` and ``①`` mean, or its tokenizer folds them; to a leg that compares terms, ``㎡`` is not
``m2`` unless it is told so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_BLOCKS = (
    (0x00B5, 0x00B5), (0x2100, 0x217F), (0x2E80, 0x2FDF), (0x321C, 0x321E), (0x322A, 0x3243), (0x3250, 0x3250),
    (0x32CC, 0x32CF), (0x3300, 0x33FF), (0xFB00, 0xFB06), (0xFE10, 0xFE19), (0xFE30, 0xFE6F), (0x1D400, 0x1D7FF),
)  # fmt: skip
"""Units and abbreviations in one character, Roman numerals, radicals, ligatures, vertical and small forms, letters of
mathematics. Not among them: numbers in a list (``①``, ``⑵``, ``㈎``), which are no content, and jamo (``ㅋㅋ``)."""
_FOLDED = frozenset({"<compat>", "<square>", "<small>", "<vertical>", "<font>"})
"""Kinds of decomposition (Unicode Character Database): the others have a meaning (``²``, ``½``) or only a frame."""


def _forms() -> Iterator[tuple[int, str]]:
    for first, last in _BLOCKS:
        for code in range(first, last + 1):
            if unicodedata.decomposition(chr(code)).partition(" ")[0] in _FOLDED:
                yield code, unicodedata.normalize("NFKC", chr(code))


_FORMS = dict(_forms())
_FORM = re.compile("[{}²³¼½¾⅐-⅞]".format("".join(f"{chr(first)}-{chr(last)}" for first, last in _BLOCKS)))
_POWER = re.compile("(?<=[A-Za-z])[²³]")
_FRACTION = re.compile("[¼½¾⅐-⅞]")

_NUMERALS = {numeral: value for value, numeral in enumerate("〇一二三四五六七八九")} | {"零": 0}
_TENS = {"十": 10, "百": 100, "千": 1000}
_NUMBER = rf"\d+|[{''.join((*_NUMERALS, *_TENS))}]+"
_UNITS = {
    "條": "조", "条": "조", "項": "항", "项": "항", "號": "호", "号": "호", "章": "장", "節": "절", "编": "편",
    "編": "편", "款": "관", "目": "목",
}  # fmt: skip
_HANJA_REFERENCE = re.compile(
    rf"第\s*({_NUMBER})\s*([{''.join(_UNITS)}])(?:\s*之\s*({_NUMBER}))?|(\d+)\s*(條|条)(?:\s*之\s*({_NUMBER}))?"
)


def unfold_forms(text: str) -> str:
    """Writes compatibility characters out: ``50㎏`` → ``50kg``, ``m²`` → ``m2``, ``㈜`` → ``(주)``, ``Ⅳ`` → ``IV``."""
    if not _FORM.search(text):
        return text
    text = _POWER.sub(lambda found: unicodedata.normalize("NFKC", found.group()), text.translate(_FORMS))
    return _FRACTION.sub(lambda found: " " + unicodedata.normalize("NFKC", found.group()).replace("\u2044", "/"), text)


def read_hanja_references(text: str) -> str:
    """Writes references to statutes in Hangul: ``第15條``, ``第十五條`` → ``제15조``, ``第6條之2`` → ``제6조의2``."""
    return _HANJA_REFERENCE.sub(_reference, text) if "條" in text or "第" in text or "条" in text else text


def _reference(found: re.Match[str]) -> str:
    number, unit, branch = found.group(1, 2, 3) if found.group(1) else found.group(4, 5, 6)
    return f"제{_digits(number)}{_UNITS[unit]}" + (f"의{_digits(branch)}" if branch else "")


def _digits(number: str) -> str:
    """Writes ``15``, ``十五``, ``百二十`` and, digit by digit, ``一五`` in digits, however many they are."""
    if number.isdecimal():
        return number
    if not any(numeral in _TENS for numeral in number):
        return "".join(str(_NUMERALS[numeral]) for numeral in number)
    return str(_value(number))


def _value(number: str) -> int:
    total, digit = 0, None
    for numeral in number:
        if numeral in _TENS:
            total += (1 if digit is None else digit) * _TENS[numeral]
            digit = None
        else:
            digit = _NUMERALS[numeral]
    return total + (digit or 0)
