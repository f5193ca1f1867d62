"""Ids, names and values of metadata are the same if their NFC form is: a Mac and a PC give one file one name."""

import sqlite3
import unicodedata
from contextlib import closing

import pytest

from korag import Collection
from korag.errors import InvalidArgumentError


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


NAME = "계약서/임대차.pdf"
MIXED = "계약서/" + nfd("임대차.pdf")
FORMS = [NAME, nfd(NAME), MIXED]


@pytest.fixture(params=["memory", "folder"])
def collection(request, tmp_path):
    if request.param == "memory":
        yield Collection.in_memory(bm25=True)
    else:
        with Collection.open(tmp_path / "collection", bm25=True) as opened:
            yield opened


@pytest.mark.parametrize("stored", FORMS)
@pytest.mark.parametrize("asked", FORMS)
def test_one_file_is_one_document(collection, stored, asked):
    collection.add(["옛 계약"], ids=[stored])
    assert [document.id for document in collection.get([asked])] == [stored]
    collection.add(["새 계약"], ids=[asked])
    assert [(document.id, document.text) for document in collection.get([stored])] == [(asked, "새 계약")]
    assert [hit.id for hit in collection.search("계약")] == [asked]
    assert collection.delete([stored]) == 1
    assert len(collection) == 0
    collection.add(["다시"], ids=[stored])
    assert collection.get([asked])[0].id == stored


def test_ids_differ_within_a_call(collection):
    with pytest.raises(InvalidArgumentError, match="id"):
        collection.add(["하나", "둘"], ids=[NAME, nfd(NAME)])
    assert len(collection) == 0


def test_a_stream_of_the_other_machine_adds_nothing(collection):
    rows = [(NAME, "본문", {"파일": NAME}), ("둘", "본문", {"파일": "둘"})]
    assert collection.add_stream(rows) == 2
    others = [(nfd(id_), text, {nfd("파일"): nfd(fields["파일"])}) for id_, text, fields in rows]
    assert collection.add_stream(others) == 0
    assert [document.id for document in collection.get()] == [NAME, "둘"]
    others[0] = (others[0][0], "고친 본문", others[0][2])
    assert collection.add_stream(others) == 1
    assert len(collection) == 2


@pytest.mark.parametrize("stored", [str, nfd])
@pytest.mark.parametrize("asked", [str, nfd])
def test_filters_find_every_form(collection, stored, asked):
    fields = {stored("부서"): stored("법무팀"), stored("출처"): {stored("파일"): stored("각서.pdf")}, "쪽": 3}
    fields[stored("주제")] = [stored("임대차"), "환불"]
    collection.add(["보증금 반환"], ids=["a"], metadata=[fields])
    for where in (
        {"부서": "법무팀"},
        {"부서": {"$in": ["인사팀", "법무팀"]}},
        {"부서": {"$gte": "법무"}},
        {"부서": {"$exists": True}},
        {"출처.파일": {"$contains": "각서"}},
        {"주제": "임대차"},
        {"주제": {"$contains": "임대차"}},
        {"부서": {"$icontains": "무팀"}},
        {"$not": {"부서": {"$ne": "법무팀"}}},
    ):
        asked_where = _in_form(where, asked)
        assert [document.id for document in collection.get(where=asked_where)] == ["a"], where
        assert [hit.id for hit in collection.search("보증금", where=asked_where)] == ["a"], where
    assert collection.get(where={"출처.파일": {"$contains": asked("가")}}) == []  # 각 begins with 가 in NFD alone
    assert collection.get()[0].metadata == fields
    assert collection.delete(where={asked("부서"): asked("법무팀")}) == 1


def _in_form(value, form):
    if isinstance(value, dict):
        return {form(key): _in_form(inner, form) for key, inner in value.items()}
    if isinstance(value, list):
        return [_in_form(inner, form) for inner in value]
    return form(value) if isinstance(value, str) else value


def test_two_forms_stored_by_an_older_version_stay_readable(tmp_path):
    """Both are found by either form, and the next addition replaces both."""
    with Collection.open(tmp_path / "old", bm25=True) as collection:
        collection.add(["옛 계약", "새 계약"], ids=[NAME, "x" * len(nfd(NAME))])
        collection.save(tmp_path / "copy")
    with closing(sqlite3.connect(tmp_path / "copy/korag.sqlite3")) as database, database:
        database.execute("UPDATE documents SET id = ?, checksum = NULL WHERE id LIKE 'x%'", (nfd(NAME),))
    with Collection.open(tmp_path / "copy") as collection:
        for form in (NAME, nfd(NAME)):
            assert {document.id for document in collection.get([form])} == {NAME, nfd(NAME)}
        assert len(collection.search("계약")) == 2
        collection.add(["합친 계약"], ids=[NAME])
        assert [(document.id, document.text) for document in collection.get()] == [(NAME, "합친 계약")]


def test_a_copy_knows_mixed_forms(tmp_path):
    with Collection.open(tmp_path / "a", bm25=True) as collection:
        collection.add(["계약"], ids=[MIXED])
        collection.save(tmp_path / "b")
    with Collection.open(tmp_path / "b") as copied:
        assert copied.get([NAME])[0].id == MIXED
    assert Collection.verify(tmp_path / "b").ok
