"""`korag.text.to_nfc` is normalization form C for every text, in linear time."""

import random
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from korag.text import to_nfc

MARKS = "\u0300\u0301\u0308\u0313\u0316\u0323\u0327\u0338\u0342\u0344\u0345\u05b0\u0f71\u0f72\u0f73\u0f75\u0f81"
MARKS += "\u3099\u302e\u1dfa\U0001d165\U0001e94a"
marks = st.text(st.sampled_from(MARKS), max_size=100)
letters = st.sampled_from(["a", "é", "ǖ", "ᾳ", "가", "각", "\u1100", "\u1161", "\u11a8", "≠", "か", "\u0345", "—", ""])
texts = st.lists(letters | marks, max_size=8).map("".join) | st.text(max_size=20)


@pytest.mark.slow
@settings(deadline=None)
@given(texts)
@example("a" + "\u0316" * 40 + "\u0301" * 40 + "\u0323")
@example("\u0f73" * 40)
def test_it_is_form_c(text):
    assert to_nfc(text) == unicodedata.normalize("NFC", text)


def test_no_mark_is_a_letter_to_the_pattern_of_long_runs():
    letters = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isalnum()]
    assert not [letter for letter in letters if unicodedata.combining(unicodedata.normalize("NFD", letter)[0])]


@pytest.mark.parametrize("marks", ["\u0301\u0316", "\u0f73", "\u0344\u0323"])
def test_a_million_marks(marks):
    """Sorting them by insertion takes an hour."""
    drawn = random.Random(7).choices(marks, k=1_000_000)
    found = to_nfc("a" + "".join(drawn) + "가")
    assert len(unicodedata.normalize("NFD", found)) >= 1_000_000
    classes = [unicodedata.combining(character) for character in found[1:-1]]
    assert classes == sorted(classes)
