"""Constructors of settings name the right keyword, as methods do."""

import copy
import pickle
from dataclasses import replace
from typing import Any

import pytest

import korag
from korag.collection import SearchOptions
from korag.errors import InvalidArgumentError


@pytest.mark.parametrize(
    ("cls", "given", "meant"),
    [
        (korag.BM25, {"synonym": {"주임법": "주택임대차보호법"}}, "synonyms"),
        (korag.BM25, {"tokeniser": "bigram"}, "tokenizer"),
        (korag.KiwiTokenizer, {"words": ["달맞이페이"]}, "user_words"),
        (SearchOptions, {"top_k": 3}, "k"),
        (SearchOptions, {"filter": {"분류": "주거"}}, "where"),
    ],
)
def test_another_name_is_told_the_right_one(cls: Any, given: dict[str, Any], meant: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"혹시 {meant}인가요"):
        cls(**given)


def test_settings_are_dataclasses_as_before() -> None:
    for settings in (korag.BM25(trim_questions=False), korag.KiwiTokenizer(["달맞이페이"]), SearchOptions(k=3)):
        assert replace(settings) == settings  # type: ignore[type-var]
        assert copy.deepcopy(settings) == settings
        assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 (our own bytes)
