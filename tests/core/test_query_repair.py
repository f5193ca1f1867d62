"""Queries typed with the other keyboard layout, or as loose jamo, at the surface of a collection."""

import dataclasses
import json
import logging
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from korag import Collection
from korag.analysis.repair.jamo import compose, typed_jamo
from korag.analysis.repair.keyboard import to_hangul, to_keys
from korag.collection.base import Hit, SearchOptions
from korag.errors import InvalidArgumentError

CLEAN: dict[str, list[str]] = json.loads((Path(__file__).parents[1] / "clean_queries.json").read_text(encoding="utf-8"))
TEXTS = [
    "전세보증금은 집을 비운 날에 돌려받습니다.",
    "보증금을 돌려받지 못하면 임차권등기명령을 신청합니다.",
    "육아휴직 급여는 고용센터에 신청하고, 매달 통장으로 받습니다.",
    "연차 수당은 마지막 달의 임금으로 계산합니다.",
    "Python과 Docker를 설치하는 방법을 설명합니다. Python 버전은 3.11입니다.",
    "닭볶음탕은 닭과 감자를 넣고 매운 양념에 끓입니다.",
    "왜 하늘이 파란지 빛의 산란으로 설명합니다.",
    "고양이는 하루에 열두 시간 넘게 잡니다.",
]


def syllables_of(text: str) -> list[str]:
    return list(text.lower().replace(" ", ""))


@pytest.fixture(scope="module", params=["bm25", "kiwi", "custom", "dense", "colbert", "sparse", "hybrid"])
def collection(request: pytest.FixtureRequest) -> Collection:
    made: dict[str, dict[str, Any]] = {
        "bm25": {"bm25": True},
        "kiwi": {"bm25": True, "tokenizer": "kiwi"},
        "custom": {"bm25": True, "tokenizer": syllables_of},
        "dense": {"encoders": ["mini-dense"]},
        "colbert": {"encoders": ["mini-colbert"]},
        "sparse": {"encoders": ["mini-splade"]},
        "hybrid": {"encoders": ["mini-dense", "mini-splade"], "bm25": True},
    }
    collection = Collection.in_memory(**made[request.param])
    collection.add(TEXTS, ids=[str(number) for number in range(len(TEXTS))])
    return collection


def bare(hits: list[Hit]) -> list[Hit]:
    return [dataclasses.replace(hit, rewritten_query=None) for hit in hits]


@pytest.mark.parametrize(
    ("hangul", "keys"),
    [
        ("전세보증금", "wjstpqhwmdrma"),
        ("값", "rkqt"),
        ("닭", "ekfr"),
        ("닭이", "ekfrdl"),
        ("왜", "dho"),
        ("쌓", "Tkg"),
        ("쌓아", "Tkgdk"),
        ("까꿍", "RkRnd"),
        ("예의", "dPdml"),
        ("얘기", "dOrl"),
        ("뷁", "qnpfr"),
        ("있었습니다", "dlTdjTtmqslek"),
        ("원숭이", "dnjstnddl"),
        ("없애", "djqtdo"),
        ("각가", "rkrrk"),
        ("2024년", "2024sus"),
        ("ㅋㅋ", "zz"),
        ("ㅔㅛ쇄ㅜ", "python"),
    ],
)
def test_keyboard_in_both_directions(hangul: str, keys: str) -> None:
    assert to_keys(hangul) == keys
    assert to_hangul(keys) == compose(typed_jamo(hangul))


def test_every_syllable_and_any_string_of_them_comes_back() -> None:
    syllables = [chr(code) for code in range(0xAC00, 0xD7A4)]
    assert [to_hangul(to_keys(syllable)) for syllable in syllables] == syllables
    assert [compose(typed_jamo(syllable)) for syllable in syllables] == syllables
    chance = random.Random(0)
    for _ in range(2_000):
        text = "".join(chance.choices([*syllables, " ", "7", "?"], k=chance.randint(1, 12)))
        assert to_hangul(to_keys(text)) == text
        assert compose(typed_jamo(text)) == text


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("wjstpqhwmdrma", "전세보증금"),
        ("WJSTPQHWMDRMA", "전세보증금"),
        ("wjstpqhwmdrmadms djswp ehffuqkeskdy?", "전세보증금은 언제 돌려받나요?"),
        ("전세보증금 ehffuqke", "전세보증금 돌려받"),
        ("Wjstpqhwmdrma", "전세보증금"),
        ("dbrdkgbwlr rmqdu", "육아휴직 급여"),
        ("ekfrqhRdmaxkd", "닭볶음탕"),
        ("EKFRQHrDMAXKD", "닭볶음탕"),
        ("ㅈㅓㄴㅅㅔㅂㅗㅈㅡㅇㄱㅡㅁ", "전세보증금"),
        ("전세ㅂㅗㅈㅡㅇㄱㅡㅁ", "전세보증금"),
        ("ㅇㅕㄴㅊㅏ ㅅㅜㄷㅏㅇ", "연차 수당"),
        ("ㅔㅛ쇄ㅜ 설치", "python 설치"),
        ("ㅔㅛ쇄ㅜ과 Docker", "python과 Docker"),
        ("ㅇㅐ찯ㄱ 설치", "docker 설치"),
        ("Docker dml 설치 qkdqjq", "Docker 의 설치 방법"),
        ("육아휴직급여는고용센터에신청", "육아휴직 급여는 고용센터에 신청"),
        ("전세 보증금은집을 비운날에 돌려 받습니다", "전세보증금은 집을 비운 날에 돌려받습니다"),
        ("육 아휴 직 급여 는 고용센 터에 신 청하고", "육아휴직 급여는 고용센터에 신청하고"),
        ("전세보증긍은 언제", "전세보증금은 언제"),
        ("육아휴짇 급여", "육아휴직 급여"),
        ("임차권등기병령", "임차권등기명령"),
        ("닭복음탕", "닭볶음탕"),
        ("dbrdkgbwlrrmqdusmsrhdydtpsxjdptlscjd", "육아휴직 급여는 고용센터에 신청"),
    ],
)
def test_mistyped_queries_are_searched_for_as_they_were_meant(collection: Collection, typed: str, meant: str) -> None:
    found, expected = collection.search(typed), collection.search(meant, repair_query=False)
    assert bare(found) == expected
    assert {hit.rewritten_query for hit in found} == {meant}
    as_given = collection.search(typed, options=SearchOptions(repair_query=False))
    assert all(hit.rewritten_query is None for hit in as_given)
    assert typed.replace(" ", "") == meant.replace(" ", "") or as_given != expected  # some legs need no spaces


@pytest.mark.parametrize("kind", list(CLEAN))
def test_clean_queries_are_searched_for_as_they_are(collection: Collection, kind: str) -> None:
    assert len(CLEAN[kind]) >= 40
    assert collection.search_many(CLEAN[kind]) == collection.search_many(CLEAN[kind], repair_query=False)


def test_what_the_collection_has_is_not_rewritten() -> None:
    with Collection.in_memory(bm25=True) as collection:
        collection.add(
            [*TEXTS, "제품 wjstpqhwmdrma의 사용 설명서", "rkskek123 부품", "가나다"], ids=list("abcdefghijk")
        )
        for query, first in [("wjstpqhwmdrma", "i"), ("rkskek123", "j")]:
            (hit, *_) = collection.search(query)
            assert (hit.id, hit.rewritten_query) == (first, None)
        collection.delete(["i"])
        assert {hit.rewritten_query for hit in collection.search("wjstpqhwmdrma")} == {"전세보증금"}


def test_english_texts_and_empty_collections_rewrite_no_english() -> None:
    with Collection.in_memory(bm25=True) as collection:
        assert collection.search("wjstpqhwmdrma") == []
        collection.add(["The deposit is returned when the tenant moves out.", "How to install Python"])
        assert collection.search("wjstpqhwmdrma") == []
        assert {hit.rewritten_query for hit in collection.search("deposit")} == {None}
        assert {hit.rewritten_query for hit in collection.search("ㅔㅛ쇄ㅜ")} == {"python"}


def test_filters_hold_for_the_repaired_query() -> None:
    with Collection.in_memory(bm25=True) as collection:
        collection.add(TEXTS, ids=list("abcdefgh"), metadata=[{"짝수": number % 2 == 0} for number in range(8)])
        found = collection.search("qhwmdrma", where={"짝수": True})
        assert [(hit.id, hit.rewritten_query) for hit in found] == [("a", "보증금")]


def test_a_repaired_query_is_logged(collection: Collection, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "korag"):
        collection.search("wjstpqhwmdrma")
    assert "'wjstpqhwmdrma'를 '전세보증금'으로 고쳐" in caplog.text


@pytest.mark.parametrize("value", [None, 1, "yes"])
def test_the_switch_is_a_flag(collection: Collection, value: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="repair_query="):
        collection.search("보증금", repair_query=value)


def test_threads_repair_alike(tmp_path: Path) -> None:
    with Collection.open(tmp_path / "모음", bm25=True) as collection:
        collection.add(TEXTS)
        queries = ["wjstpqhwmdrma", "보증금", "ㅔㅛ쇄ㅜ"] * 20

        def search(number: int) -> str | None:
            if number % 10 == 0:
                collection.add([f"새 문서 {number}"])
            return collection.search(queries[number])[0].rewritten_query

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(search, range(len(queries))))
        assert found == ["전세보증금", None, "python"] * 20


def test_words_of_documents_replaced_many_times_are_known() -> None:
    collection = Collection.in_memory(bm25=True)
    words = ["전세보증금", "육아휴직", "도서관", "김치찌개", "환불신청", "임차권등기"]
    collection.add(words[:1], ids=["first"])
    for _ in range(2_100):  # more numbers of documents than are read
        collection.add(words[1:], ids=words[1:], show_progress=False)
    assert [collection.search(to_keys(word))[0].rewritten_query for word in words] == words
