"""Particles in messages agree with the word before them, whatever it is."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korag.errors import InvalidArgumentError, PairsError
from korag.particles import agree


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("보증금을(를)", "보증금을"), ("'도서'을(를)", "'도서'를"), ("서울(으)로", "서울로"),
        ("부산(으)로", "부산으로"), ("dim=32을(를)", "dim=32를"), ("k=10은(는)", "k=10은"), ("k=7(으)로", "k=7로"),
        ("k=3(으)로", "k=3으로"),
        ("model이(가)", "model이"), ("where을(를)", "where를"), ("filters이(가)", "filters가"),
        ("top_k이(가)", "top_k가"), ("None은(는)", "None은"), ("True(으)로", "True로"),
        ("'file.json'와(과)", "'file.json'과"),
        ("set이(가)", "set이"),
        ("client=이(가)", "client=가"), ("{1: 2}이(가)", "{1: 2}이(가)"), ("그림(가)", "그림(가)"),
    ],
)  # fmt: skip
def test_forms(written: str, read: str) -> None:
    assert agree(f"값 {written} 빼세요") == f"값 {read} 빼세요"


def test_errors_agree() -> None:
    error = InvalidArgumentError("weights에 'colbert'이(가) 있습니다.", "weights names 'colbert'.")
    assert str(error) == "weights에 'colbert'가 있습니다.\nweights names 'colbert'."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 (its own)
    pairs = PairsError("2행을(를) 고치세요", "Correct line 2", ((2, "정답이(가) 비어 있습니다", "it is empty"),))
    assert (str(pairs), pairs.problems[0][1]) == ("2행을 고치세요\nCorrect line 2", "정답이 비어 있습니다")


@settings(max_examples=25)
@given(st.text("가각갈라\u1100abcn_ 0179'\"(", min_size=1, max_size=8))
def test_one_form_is_left_and_nothing_else_changes(word: str) -> None:
    for both, closed, opened in (("을(를)", "을", "를"), ("이(가)", "이", "가"), ("(으)로", "으로", "로")):
        read = agree(word + both)
        assert read in {word + both, word + closed, word + opened}
        assert agree(read) == read
    if "가" <= word[-1] <= "힣":
        assert agree(f"{word}은(는)") == word + ("은" if (ord(word[-1]) - ord("가")) % 28 else "는")
