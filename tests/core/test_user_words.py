"""Kiwi with a user's dictionary: names are found whole, and a collection keeps its dictionary."""

from __future__ import annotations

import copy
import json
import os
import pickle
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from korag import BM25, Collection, KiwiTokenizer
from korag.analysis.user_words import kiwi_with
from korag.errors import FingerprintError, IndexStateError, InvalidArgumentError, InvalidTextError

pytest.importorskip("kiwipiepy")
WORDS = ["솔바람너울", ("해늘 포인트", "NNP")]
TEXTS = [
    "솔바람너울 분양 일정은 다음 달에 나옵니다.",
    "솔바람 부는 언덕에서 너울 무늬 천을 팝니다.",
    "해늘포인트는 커피를 살 때 쌓입니다.",
    "포인트 적립은 해가 늘 떠 있는 동안에만 됩니다.",
]
IDS = ["brand", "wood", "points", "sun"]


def _filled(path: Path | None = None, **settings: Any) -> Collection:
    collection = Collection.in_memory(**settings) if path is None else Collection.open(path, **settings)
    collection.add(TEXTS, ids=IDS)
    return collection


def _found(collection: Collection, query: str, **settings: Any) -> list[str]:
    return [hit.id for hit in collection.search(query, **settings)]


def test_a_name_is_found_whole_with_the_dictionary_only() -> None:
    assert set(_found(_filled(bm25="kiwi"), "솔바람너울")) > {"brand"}, "taken apart, other documents have its parts"
    collection = _filled(bm25=KiwiTokenizer(user_words=WORDS))
    assert _found(collection, "솔바람너울") == ["brand"]
    assert _found(collection, "해늘 포인트") == _found(collection, "해늘포인트") == ["points"]


def test_what_a_message_and_a_repr_say() -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        KiwiTokenizer(user_words="솔바람너울")
    assert "}}" not in str(raised.value)
    assert repr(KiwiTokenizer(WORDS, synonyms={"솔바람": "송풍"})) == (
        "KiwiTokenizer(user_words=['솔바람너울', '해늘 포인트'], synonyms=…)"
    )


@pytest.mark.parametrize(
    "words",
    [
        ["달맞이페이", ("해늘 포인트", "NNG")],
        [("해늘   포인트", "NNG"), "달맞이페이", "달맞이페이"],
        {"해늘 포인트": "NNG", "달맞이페이": "NNP"},
        [["달맞이페이", "NNP", 0], ("해늘\u3000포인트", "NNG", 0.0)],
    ],
)
def test_equal_dictionaries_are_equal_and_share_one_kiwi(words: Any) -> None:
    one, other = KiwiTokenizer(words), KiwiTokenizer(user_words=[("해늘 포인트", "NNG"), "달맞이페이"])
    assert one == other
    assert hash(one) == hash(other)
    assert kiwi_with(one.words) is kiwi_with(other.words)
    assert kiwi_with(one.words) is not kiwi_with(KiwiTokenizer().words)
    assert one(["해늘포인트로 달맞이페이를 샀다"]) == [["해늘포인트", "달맞이페이", "사"]]


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])  # noqa: S301
def test_copies_have_the_dictionary(duplicate: Any) -> None:
    tokenizer = KiwiTokenizer(user_words=WORDS)
    before = tokenizer(TEXTS)
    assert duplicate(tokenizer) == tokenizer
    assert duplicate(tokenizer)(TEXTS) == before
    collection = duplicate(_filled(bm25=tokenizer)) if duplicate is not copy.copy else _filled(bm25=tokenizer)
    assert _found(collection, "솔바람너울") == ["brand"]


def test_a_folder_keeps_its_dictionary(tmp_path: Path) -> None:
    _filled(tmp_path / "made", bm25=["bigram", KiwiTokenizer(user_words=WORDS)]).close()
    with Collection.open(tmp_path / "made") as collection:
        assert collection.legs == ("bm25", "bm25_kiwi")
        assert _found(collection, "솔바람너울", using="bm25_kiwi") == ["brand"]
        collection.save(tmp_path / "copy")
        assert _found(pickle.loads(pickle.dumps(collection)), "해늘 포인트", using="bm25_kiwi") == ["points"]  # noqa: S301
    again = ["bigram", KiwiTokenizer(user_words=list(reversed(WORDS)))]
    with Collection.open(tmp_path / "copy", bm25=again) as collection:
        assert _found(collection, "솔바람너울", using="bm25_kiwi") == ["brand"]
    assert Collection.verify(tmp_path / "copy").ok


@pytest.mark.parametrize(
    ("made", "given", "said"),
    [
        (WORDS, ["솔바람너울"], ["해늘 포인트 (NNP)", "넣은 사전에 없음", "missing"]),
        (WORDS, "kiwi", ["솔바람너울 (NNP)", "색인 2단어", "given: 0"]),
        ([], WORDS, ["넣은 사전에만 있음: 솔바람너울 (NNP), 해늘 포인트 (NNP)", "added"]),
        ([("솔바람너울", "NNP", 1)], ["솔바람너울"], ["점수가 다름", "with another score"]),
        ([f"상호{n}" for n in range(9)], ["다른말"], ["외 4개", "and 4 more"]),
    ],
)
def test_another_dictionary_is_refused(tmp_path: Path, made: Any, given: Any, said: list[str]) -> None:
    _filled(tmp_path, bm25=KiwiTokenizer(user_words=made)).close()
    tokenizer = given if given == "kiwi" else KiwiTokenizer(user_words=given)
    with pytest.raises(FingerprintError) as raised:
        Collection.open(tmp_path, tokenizer=tokenizer)
    assert not [words for words in said if words not in str(raised.value)]
    with pytest.raises(FingerprintError, match="bigram"):
        Collection.open(tmp_path, tokenizer="bigram")


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        ("솔바람너울", InvalidArgumentError, "['동탄역'"),
        (3, InvalidArgumentError, "user_words=3"),
        (3, InvalidArgumentError, " {'배민': 'NNP'}도"),
        ([3], InvalidArgumentError, "user_words[0]=3"),
        ([("솔바람", "NNP", 0, 1)], InvalidArgumentError, "user_words[0]"),
        (["솔바람", (3, "NNP")], InvalidTextError, "user_words[1]"),
        ([" "], InvalidArgumentError, "user_words[0]=' '"),
        (["가" * 101], InvalidArgumentError, "100"),
        ([("솔바람", "명사")], InvalidArgumentError, "'명사'"),
        ([("솔바람", "솔바람너울")], InvalidArgumentError, "NNP"),
        ({"솔바람": None}, InvalidArgumentError, "NNG"),
        ([("솔바람", "NNP", float("nan"))], InvalidArgumentError, "유한한 수"),
        ([("솔바람", "NNP", 10**400)], InvalidArgumentError, "유한한 수"),
        ([("솔바람", "NNP", "높음")], InvalidArgumentError, "finite"),
        ([("솔바람", "NNP", 1), ("솔바람", "NNP", 2)], InvalidArgumentError, "1, 2"),
    ],
)
def test_wrong_words_are_named(words: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error) as raised:
        KiwiTokenizer(user_words=words)
    assert said in str(raised.value)


def test_synonyms_of_the_tokenizer_are_those_of_the_leg(tmp_path: Path) -> None:
    synonyms = {"솔너": "솔바람너울"}
    tokenizer = KiwiTokenizer(user_words=WORDS, synonyms=synonyms)
    assert (
        BM25(tokenizer)
        == BM25(KiwiTokenizer(user_words=WORDS), synonyms=synonyms)
        == BM25(tokenizer, synonyms=synonyms)
    )
    with _filled(tmp_path, bm25=True, tokenizer=tokenizer) as collection:
        assert _found(collection, "솔너") == ["brand"]
    with Collection.open(tmp_path) as collection:
        assert _found(collection, "솔너") == ["brand"]
    others = KiwiTokenizer(user_words=WORDS, synonyms=[["적립금", "해늘 포인트"]])
    for settings in ({"tokenizer": others}, {"bm25": others}, {"legs": {"bm25": {"tokenizer": others}}}):
        with Collection.open(tmp_path, **settings) as collection:
            assert _found(collection, "적립금") == ["points"]
    with pytest.raises(InvalidArgumentError, match=r"synonyms=.*한 곳에만"):
        BM25(tokenizer, synonyms={"솔너": "해늘 포인트"})
    with pytest.raises(InvalidArgumentError, match="synonyms"):
        KiwiTokenizer(synonyms="솔너")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words",
    [
        [],
        [["솔바람너울", "NNP"]],
        [["솔바람너울", "명사", 0.0]],
        "솔바람너울",
        [[1, 2, 3]],
        None,
        [["솔바람너울", "NNP", 10**400]],
    ],
)
def test_a_damaged_dictionary_is_named(tmp_path: Path, words: Any) -> None:
    _filled(tmp_path, bm25=KiwiTokenizer(user_words=WORDS)).close()
    with sqlite3.connect(tmp_path / "korag.sqlite3") as connection:
        ((recorded,),) = connection.execute("SELECT value FROM settings WHERE name = 'legs'").fetchall()
        legs = json.loads(recorded)
        legs["bm25"]["settings"]["tokenizer"]["user_words"] = words
        connection.execute("UPDATE settings SET value = ? WHERE name = 'legs'", [json.dumps(legs)])
    connection.close()
    with pytest.raises(IndexStateError, match="settings"):
        Collection.open(tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_a_dictionary_of_its_own() -> None:
    collection = _filled(bm25=KiwiTokenizer(user_words=WORDS))
    assert _found(collection, "솔바람너울") == ["brand"]
    if (child := os.fork()) == 0:
        os._exit(0 if _found(collection, "솔바람너울") == ["brand"] else 1)
    assert os.waitpid(child, 0)[1] == 0
