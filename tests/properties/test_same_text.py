"""`korag.text.normalize`: characters that look the same are spelt the same."""

import re
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korag.characters import IGNORED
from korag.text import _PLAIN, is_empty, normalize, to_nfc

INVISIBLE = [
    *"\u200b\u2060\u00ad\ufeff\u3164\u115f\u1160\uffa0\u200e\u200f\u202a\u202e\u2066\u2069\ufe0e\ufe0f\ufff9\0\x02"
]
INVISIBLE += ["\U000e0061", "\U000e0100", "\u034f", "\u2063", "\u180e"]
KOREAN = "임대차 계약이 끝나면 보증금을 돌려준다. 第15條, GPU-4 서버 ①항 1,500원 ㅋㅋ が 👍"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("보증\u200b금", "보증금"), ("보증\u00ad금", "보증금"), ("\ufeff보증금\u3164", "보증금"),
        ("\u1112\u2060\u1161\u11ab", "한"),  # inside a decomposed syllable
        ("보증\u200d금\u200c", "보증금"), ("co\u200dop", "coop"),
        ("क्\u200dष", "क्\u200dष"), ("می\u200cخواهم", "می\u200cخواهم"), ("می\u200c", "می"),
        ("👩\u200d💻", "👩\u200d💻"), ("❤\ufe0f\u200d🔥", "❤\u200d🔥"), ("👍\u200d 끝", "👍 끝"),
        ("제3조\u00a0제1항\u3000끝\u2003.", "제3조 제1항 끝 ."),
        ("첫째\r\n둘째\r셋째\u2028넷째\x85", "첫째\n둘째\n셋째\n넷째\n"),
        ("ＧＰＵ－４（１０％）～", "GPU-4(10%)~"), ("ｶﾞｲﾄﾞ", "ガイド"), ("ﾡￂ", "ㄱㅏ"), ("￦500", "₩500"),
        ("\uf914", "樂"), ("\u212b", "Å"),  # canonical: NFC
        ("ㅋㅋ ㎏ ㈜ ① ½ m² … ﬁ ℃", "ㅋㅋ ㎏ ㈜ ① ½ m² … ﬁ ℃"),  # other compatibility forms are left to the model
        ("가\t나\n", "가\t나\n"),
    ],
)  # fmt: skip
def test_what_is_read(given, read):
    assert normalize(given) == normalize(read) == read


def test_plain_texts_are_in_their_normal_form():
    plain = [chr(code) for code in range(sys.maxunicode + 1) if _PLAIN.fullmatch(chr(code))]
    assert len(plain) > 11_000
    joined = "".join(plain)
    assert not re.search(f"[{IGNORED}\u200c\u200d]", joined)
    assert all(unicodedata.normalize("NFC", first + "가" + first) == first + "가" + first for first in plain)
    assert not [character for character in plain if unicodedata.combining(character)]
    assert not [character for character in plain if character.isspace() and character not in " \n\t"]


def test_every_ignorable_character_of_a_category_without_looks_is_removed():
    """All format characters of Unicode, except those with a look of their own, and the two joiners."""
    visible = set(range(0x600, 0x606)) | {0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD}
    visible |= set(range(0x13430, 0x13440)) | {0x200C, 0x200D}  # numbers in Arabic and Kaithi, Egyptian quadrats
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) == "Cf" and code not in visible:
            assert normalize(f"보증{chr(code)}금") == "보증금", f"{code:x}"


def test_every_space_of_unicode_is_a_space():
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] == "Z":
            assert normalize(f"보증{chr(code)}금").split() == ["보증", "금"], f"{code:x}"


@pytest.mark.slow
@settings(deadline=None)
@given(st.text(max_size=20))
def test_once_is_enough(text):
    assert normalize(normalize(text)) == normalize(text)
    assert unicodedata.is_normalized("NFC", normalize(text))


@pytest.mark.slow
@settings(deadline=None)
@given(data=st.data())
def test_invisible_characters_anywhere_make_no_difference(data):
    form = data.draw(st.sampled_from(["NFC", "NFD"]))
    characters = list(unicodedata.normalize(form, KOREAN))
    for place in data.draw(st.lists(st.integers(0, len(characters)), max_size=8)):
        characters.insert(place, data.draw(st.sampled_from([*INVISIBLE, "\u200c", "\u200d"])))
    assert normalize("".join(characters)) == to_nfc(KOREAN)


@pytest.mark.parametrize("text", ["\u3164", "\u1160\u115f", "\ufe0f \u034f", "\uffa0\u200b\ufeff\u2060", "\U000e0041"])
def test_what_is_invisible_is_empty(text):
    assert is_empty(text)
    assert not normalize(text).strip()
