"""Lexical legs of a collection: their settings, several of them, and what an existing collection was made with."""

import copy
import json
import pickle
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from korag import BM25, Collection
from korag.errors import FingerprintError, FormatVersionError, IndexStateError, InvalidArgumentError
from korag.testing.encoders import FakeDenseEncoder

TEXTS = ["임차인은 보증금을 돌려받는다.", "전입신고를 어디서 하든 효력은 같다.", "집주인이 수리비를 냈다.", ""]
IDS = ["보증금", "전입신고", "수리비", "빈 글"]
QUERY = "보증금은 어디서 돌려받나요?"


def words(text: str) -> list[str]:
    return [word[:3] for word in text.split()]


def filled(collection: Collection) -> Collection:
    collection.add(TEXTS, ids=IDS)
    return collection


def answers(collection: Collection, query: str = QUERY) -> dict[str, list[tuple[str, float]]]:
    legs = [*collection.legs, *(["hybrid"] if len(collection.legs) > 1 else [])]
    return {using: [(hit.id, hit.score) for hit in collection.search(query, using=using)] for using in legs}


def recorded(folder: Path) -> dict[str, Any]:
    connection = sqlite3.connect(folder / "korag.sqlite3")
    (row,) = connection.execute("SELECT value FROM settings WHERE name = 'legs'").fetchall()
    connection.close()
    return {name: leg["settings"] for name, leg in json.loads(row[0]).items() if "settings" in leg}


def record(folder: Path, leg: str, settings: dict[str, Any]) -> None:
    connection = sqlite3.connect(folder / "korag.sqlite3")
    (row,) = connection.execute("SELECT value FROM settings WHERE name = 'legs'").fetchone()
    legs = json.loads(row)
    legs[leg]["settings"] = settings
    connection.execute("UPDATE settings SET value = ? WHERE name = 'legs'", (json.dumps(legs),))
    connection.commit()
    connection.close()


CURRENT = {"trim_questions": True, "version": 2}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"bm25": True}, {"bm25": "bigram"}),
        ({"bm25": "bigram"}, {"bm25": "bigram"}),
        ({"bm25": BM25()}, {"bm25": "bigram"}),
        ({"bm25": words}, {"bm25": f"custom:{__name__}.words"}),
        ({"bm25": BM25(words)}, {"bm25": f"custom:{__name__}.words"}),
        ({"bm25": True, "tokenizer": words}, {"bm25": f"custom:{__name__}.words"}),
        ({"bm25": ["bigram"]}, {"bm25": "bigram"}),
        ({"bm25": ["bigram", words]}, {"bm25": "bigram", "bm25_custom": f"custom:{__name__}.words"}),
        ({"bm25": (words, BM25("bigram"))}, {"bm25": f"custom:{__name__}.words", "bm25_bigram": "bigram"}),
    ],
)
def test_forms_of_bm25(tmp_path: Path, given: dict[str, Any], names: dict[str, str]) -> None:
    with filled(Collection.open(tmp_path, **given)) as collection:
        assert collection.legs == tuple(names)
        assert recorded(tmp_path) == {leg: {"tokenizer": name, **CURRENT} for leg, name in names.items()}
        expected = answers(collection)
        assert all(hits[0][0] == "보증금" for hits in expected.values())
    with Collection.open(tmp_path, **given) as collection:
        assert answers(collection) == expected
    with filled(Collection.in_memory(**given)) as memory:
        assert answers(memory) == expected
        saved = memory.save(tmp_path / "사본")
        for twin in (copy.deepcopy(memory), pickle.loads(pickle.dumps(memory))):  # noqa: S301
            assert answers(twin) == expected
    with Collection.open(saved, **given) as collection:
        assert answers(collection) == expected


def test_bigrams_and_kiwi_in_one_collection(tmp_path: Path) -> None:
    pytest.importorskip("kiwipiepy")
    encoder = FakeDenseEncoder()
    with filled(Collection.open(tmp_path, encoders=[encoder], bm25=["bigram", "kiwi"])) as both:
        assert both.legs == ("dense", "bm25", "bm25_kiwi")
        expected = answers(both)
        for leg, tokenizer in (("bm25", "bigram"), ("bm25_kiwi", "kiwi")):
            with filled(Collection.in_memory(bm25=tokenizer)) as alone:
                assert answers(alone)["bm25"] == expected[leg]
        assert set(both.search(QUERY, k=1)[0].legs) == {"dense", "bm25", "bm25_kiwi"}
        assert set(both.search(QUERY, k=1, weights={"bm25_kiwi": 0.5, "dense": 0})[0].legs) >= {"bm25", "bm25_kiwi"}
    for given in ({}, {"bm25": True}, {"bm25": "bigram"}, {"bm25": ["bigram", "kiwi"]}):
        with Collection.open(tmp_path, encoders=[encoder], **given) as reopened:
            assert answers(reopened) == expected
            reopened.add(["보증금 반환 소송"], ids=["소송"])
            assert {hit.id for hit in reopened.search("보증금 반환", using="bm25_kiwi")} == {"보증금", "소송"}
            reopened.delete(["소송"])
            reopened.compact()
    for given, reason in (
        ({"bm25": ["kiwi", "bigram"]}, r"bm25 names 'bm25_bigram'|tokenizer='bigram', not 'kiwi'"),
        ({"bm25": "kiwi"}, r"'bm25' index .* tokenizer='bigram', not 'kiwi'"),
        ({"bm25": False}, r"bm25=False, but .* with BM25"),
    ):
        with pytest.raises(FingerprintError, match=reason):
            Collection.open(tmp_path, encoders=[encoder], **given)


def test_one_leg_does_not_become_two(tmp_path: Path) -> None:
    filled(Collection.open(tmp_path, bm25=True)).close()
    with pytest.raises(FingerprintError, match=r"bm25 names 'bm25_custom', but .* has: bm25"):
        Collection.open(tmp_path, bm25=["bigram", words])


def test_what_is_done_to_queries_may_change(tmp_path: Path) -> None:
    """It is kept where nothing is said, and given anew by `BM25`."""
    made = Collection.open(tmp_path, bm25=BM25(trim_questions=False))
    made.add(["보증금 이야기", "무엇인가 하는 이야기"], ids=["보증금", "무엇"])
    made.close()
    query = "무엇인가 보증금은 무엇인가?"
    for given, both in (({}, True), ({"bm25": True}, True), ({"bm25": BM25()}, False), ({}, True)):
        with Collection.open(tmp_path, **given) as collection:
            found = {hit.id: hit.relevance for hit in collection.search("보증금은 무엇인가?")}
            assert ("무엇" in found) is both
            with pickle.loads(pickle.dumps(collection)) as twin:  # noqa: S301
                assert twin.search(query) == collection.search(query)
    assert recorded(tmp_path)["bm25"]["trim_questions"] is False


@pytest.mark.parametrize(
    "settings",
    [
        {"tokenizer": "bigram", "version": 0},
        {"tokenizer": "bigram", "version": "2"},
        {"tokenizer": "bigram", "version": True},
        {"tokenizer": "bigram", "version": 2, "trim_questions": "ja"},
        {"tokenizer": "bigram", "version": 2, "colour": "red"},
    ],
)
def test_settings_that_korag_did_not_write(tmp_path: Path, settings: dict[str, Any]) -> None:
    filled(Collection.open(tmp_path, bm25=True)).close()
    record(tmp_path, "bm25", settings)
    with pytest.raises(IndexStateError, match="settings of 'bm25'"):
        Collection.open(tmp_path)


def test_an_analysis_of_a_newer_korag(tmp_path: Path) -> None:
    filled(Collection.open(tmp_path, bm25=True)).close()
    record(tmp_path, "bm25", {"tokenizer": "bigram", "trim_questions": True, "version": 99})
    with pytest.raises(FormatVersionError, match="newer KoRAG"):
        Collection.open(tmp_path)


def test_a_collection_of_an_older_korag_keeps_its_questions(tmp_path: Path) -> None:
    """Its settings are those of 0.1.0: a tokenizer and no more."""
    made = filled(Collection.open(tmp_path, legs={"bm25": {"version": 1, "trim_questions": False}}))
    expected = answers(made)
    made.close()
    assert recorded(tmp_path) == {"bm25": {"tokenizer": "bigram"}}
    with Collection.open(tmp_path) as collection:
        assert answers(collection) == expected
    with Collection.open(tmp_path, bm25=BM25()) as collection:
        assert answers(collection) != expected


def test_settings_are_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="'bigram', 'kiwi'"):
        BM25("mecab")
    assert BM25() == BM25("bigram")
    assert pickle.loads(pickle.dumps(BM25(words))) == BM25(words)  # noqa: S301


def test_hybrid_evaluation_with_two_lexical_legs() -> None:
    from korag.evaluation import Dataset, Hybrid, evaluate

    documents = dict(zip(IDS[:3], TEXTS[:3], strict=True))
    data = Dataset.build("자료", documents=documents, queries={"질문": QUERY}, relevant={"질문": ["보증금"]})
    hybrids = {"둘": Hybrid([], bm25=["bigram", words]), "셋": Hybrid([FakeDenseEncoder()], bm25=["bigram", words])}
    report = evaluate(data, hybrids, bm25=["bigram"], show_progress=False)
    assert [row.name for row in report.rows] == ["BM25 bigram", "둘", "셋"]
    assert [row.kind for row in report.rows] == ["bm25", "hybrid", "hybrid"]
    with pytest.raises(InvalidArgumentError, match="twice"):
        evaluate(data, [Hybrid([], bm25=["bigram", "bigram"])], show_progress=False)
