"""References to statutes: 제6조의2, 제12조제1항.

A tokenizer keeps a reference whole and in one spelling, because to a reader ``제6조`` and ``제6조의2`` are different
articles, and bigrams of them are almost the same.
"""

from __future__ import annotations

import re
import unicodedata

from korag.analysis.scripts import HANGUL

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
# 제6조의 2항 and 제6조의 3가지 speak of article 6, not of 제6조의2 and 제6조의3.
_COUNTED = r"\s*(?:[항호%]|가지|개|번|명|인|건|단계|배|차|년|월|일|회|분의)"
_BRANCH = rf"(?:\s*의(?:\d+(?!\d|\s*[항호])|\s+\d+(?!\d|{_COUNTED})))"
# Without 제, an article may be a sum of money (6조 원 is six trillion won) or a count (3조각).
_MONEY = r"\s*(?:\d+(?!\d|\s*[항호])|원|달러|불|엔|위안|유로|억|이상|이하|규모|각|직|합|건)"
REFERENCE = re.compile(
    rf"제(?:(?=\d)|(?<![{HANGUL}]제)\s+|(?<=[조항호]제)\s+)"  # 문제 3호 is no reference, 민법제3조 is
    rf"{_NUMBER}\s*(?:조(?!직|합)|항(?!공|구|목)|호(?!텔|선|기)|장(?!군|관)|절|편(?!집)|관(?!문)){_BRANCH}*"
    rf"|\d(?<![\d.,]\d)\d{{0,3}}조(?:{_BRANCH}+|(?!{_MONEY}))"
)


def canonical_reference(text: str) -> str:
    """``제 6 조의 2``, ``6조의2`` and ``제06조의2`` are all ``제6조의2``."""
    bare = re.sub(r"[\s,제]", "", unicodedata.normalize("NFKC", text))
    return "제" + re.sub(r"(?<!\d)0+(?=\d)", "", bare)
