"""Documents that are added again and metadata that changes, in a folder: what is written, and what others see."""

from __future__ import annotations

import copy
import hashlib
import random
import shutil
import sqlite3
import threading
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from korag import Collection
from korag.collection.local import database as database_module
from korag.collection.local import editing as editing_module
from korag.errors import IndexStateError, InvalidArgumentError, ReadOnlyError, SegmentError, StorageFullError
from korag.testing import FakeDenseEncoder

TEXTS = [f"제{n}조 보증금 {topic}" for n, topic in enumerate(["환불", "도서관 휴관", "연차 휴가", "김치찌개", "점검"])]
IDS = [f"문서{n}" for n in range(len(TEXTS))]
METADATA = [{"번호": n} for n in range(len(TEXTS))]
FILE = "korag.sqlite3"


class MeddlingEncoder(FakeDenseEncoder):
    """Lets a test act between the moment a collection looks and the moment it writes."""

    meanwhile: Callable[[], object] | None = None

    def encode_documents(self, texts: Any, *, show_progress: bool | None = None) -> Any:
        if (act := self.meanwhile) is not None:
            self.meanwhile = None
            act()
        return super().encode_documents(texts, show_progress=show_progress)


def opened(folder: Path, encoder: FakeDenseEncoder | None = None) -> Collection:
    return Collection.open(folder, encoders=[encoder or FakeDenseEncoder()], bm25=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with opened(tmp_path / "색인") as collection:
        collection.add([*TEXTS[:3], ""], ids=[*IDS[:3], "빈 글"], metadata=[*METADATA[:3], {}])
        collection.add(TEXTS[3:], ids=IDS[3:], metadata=METADATA[3:])
    return tmp_path / "색인"


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in (".sqlite3-shm", ".sqlite3-wal")
    }


def run(folder: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(folder / FILE)
    with connection:
        connection.execute(statement, values)
    connection.close()


def check(folder: Path) -> None:
    """Everything fits together, and every document is found by its own text."""
    assert Collection.verify(folder).problems == ()
    with opened(folder) as collection:
        for document in collection.get():
            if document.text:
                for using in collection.legs:
                    hits = collection.search(document.text, k=100, using=using)
                    (own,) = [hit for hit in hits if hit.id == document.id]
                    assert own.score == hits[0].score
                    assert (own.text, own.metadata) == (document.text, document.metadata)


# -- what is written --------------------------------------------------------------------------------------


@pytest.mark.parametrize("may_write", [True, False])
def test_nothing_is_written_for_what_is_there(folder: Path, may_write: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(folder)
    if not may_write:
        monkeypatch.setattr(database_module, "is_read_only", lambda _: True)
    encoder = FakeDenseEncoder()
    with opened(folder, encoder) as collection:
        assert collection.add([*TEXTS, ""], ids=[*IDS, "빈 글"], metadata=[*METADATA, {}]) == [*IDS, "빈 글"]
        assert collection.add_stream(zip(IDS, TEXTS, METADATA, strict=True)) == 0
        if may_write:
            assert collection.update_metadata(IDS, METADATA) == IDS
            assert collection.keep_only([*IDS, "빈 글"]) == 0
    assert encoder.calls == 0
    assert digest(folder) == before


def test_a_change_of_metadata_touches_no_segment(folder: Path) -> None:
    before = digest(folder / "segments")
    encoder = FakeDenseEncoder()
    with opened(folder, encoder) as collection:
        collection.add(TEXTS[1:4], ids=IDS[1:4], metadata=[{"번호": "하나"}, {"번호": [2]}, {"번호": 3.0}])
        collection.update_metadata([IDS[4], "빈 글"], {"공개": True})
        expected = collection.get()
    assert encoder.calls == 0
    assert digest(folder / "segments") == before
    with opened(folder) as collection:
        assert collection.get() == expected
        assert [repr(document.metadata["번호"]) for document in collection.get(IDS)] == [
            "0",
            "'하나'",
            "[2]",
            "3.0",
            "4",
        ]
    check(folder)


def test_a_read_only_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest(folder)
    monkeypatch.setattr(database_module, "is_read_only", lambda _: True)
    with opened(folder) as collection:
        changes: list[Callable[[], object]] = [
            lambda: collection.update_metadata(IDS, {"x": 1}),
            lambda: collection.keep_only(IDS[:1]),
            lambda: collection.add(TEXTS[:1], ids=IDS[:1], metadata=[{"x": 1}]),
        ]
        for change in changes:
            with pytest.raises(ReadOnlyError, match="permissions"):
                change()
        assert (collection.count({"번호": {"$gte": 3}}), collection.ids({"번호": {"$gte": 3}})) == (2, IDS[3:])
    assert digest(folder) == before


def test_all_metadata_changes_or_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing_module, "COMMIT_DOCUMENTS", 2)
    run(folder, "UPDATE documents SET metadata = ? WHERE id = ?", '{"번호": 5}', IDS[4])  # without its checksum
    with opened(folder) as collection:
        generation = collection._database.generation()
        with pytest.raises(IndexStateError, match=IDS[4]):
            collection.update_metadata(IDS, {"x": 1})
        with pytest.raises(InvalidArgumentError, match="없는 것"):
            collection.update_metadata([*IDS[:3], "없는 것"], {"x": 1})
        assert collection.count({"x": 1}) == 0
        collection.update_metadata(IDS[:4], {"x": 1})
        assert collection.ids({"x": 1}) == IDS[:4]
        assert collection._database.generation() == generation + 1


# -- what is not kept -------------------------------------------------------------------------------------


def test_a_document_without_vectors_gets_them(folder: Path) -> None:
    name = max((folder / "segments").iterdir(), key=lambda path: path.stat().st_size).name
    run(folder, "DELETE FROM segments WHERE name = ?", name)
    assert "segments = 0" in str(Collection.verify(folder).problems)
    encoder = FakeDenseEncoder()
    with opened(folder, encoder) as collection:
        collection.add([*TEXTS, ""], ids=[*IDS, "빈 글"], metadata=[*METADATA, {}])
        assert encoder.documents_encoded == 3  # those of that segment
    check(folder)


def test_a_document_with_vectors_in_two_segments_is_replaced(folder: Path) -> None:
    path = next((folder / "segments").iterdir())
    twin = path.with_name(f"{'a0' * 16}.safetensors")
    shutil.copy(path, twin)
    run(
        folder,
        "INSERT INTO segments SELECT ?, size, checksum, rows FROM segments WHERE name = ?",
        twin.name,
        path.name,
    )
    assert "segments > 1" in str(Collection.verify(folder).problems)
    with opened(folder) as collection:
        collection.add([*TEXTS, ""], ids=[*IDS, "빈 글"], metadata=[*METADATA, {}])
    check(folder)


@pytest.mark.parametrize("damage", ["missing", "flipped"])
def test_a_damaged_segment_is_an_error_although_the_texts_are_there(folder: Path, damage: str) -> None:
    path = next((folder / "segments").iterdir())
    if damage == "missing":
        path.unlink()
    else:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    with opened(folder) as collection, pytest.raises(SegmentError, match=path.name):
        collection.add(TEXTS, ids=IDS, metadata=METADATA)


@pytest.mark.parametrize("column", ["text", "metadata", "checksum"])
def test_a_damaged_document_is_replaced(folder: Path, column: str) -> None:
    value = {"text": TEXTS[2] + "!", "metadata": '{"번호": 9}', "checksum": 1}[column]
    run(folder, f"UPDATE documents SET {column} = ? WHERE id = ?", value, IDS[2])  # noqa: S608
    encoder = FakeDenseEncoder()
    with opened(folder, encoder) as collection:
        collection.add([*TEXTS, ""], ids=[*IDS, "빈 글"], metadata=[*METADATA, {}])
        assert encoder.documents_encoded == 1
        assert [d.metadata for d in collection.get(IDS)] == METADATA
    check(folder)


def test_an_id_that_an_older_korag_stored_in_two_forms() -> None:
    collection = Collection.in_memory(encoders=[FakeDenseEncoder()], bm25=True)
    collection.add(["각서", "각서 부본"], ids=["각서.pdf", "나"])
    decomposed = unicodedata.normalize("NFD", "각서.pdf")
    collection._database._connection.execute(
        "UPDATE documents SET id = ?, checksum = NULL WHERE id = '나'", (decomposed,)
    )
    assert len(collection.get(["각서.pdf"])) == 2
    collection.update_metadata(["각서.pdf"], {"판": 2})
    assert [document.metadata for document in collection.get()] == [{"판": 2}] * 2
    collection.add(["각서"], ids=["각서.pdf"])
    assert [(document.id, document.text) for document in collection.get()] == [("각서.pdf", "각서")]
    assert [hit.text for hit in collection.search("각서")] == ["각서"]


# -- others who write meanwhile ---------------------------------------------------------------------------


def test_another_who_has_the_folder_open_filters_by_new_metadata_at_once(folder: Path) -> None:
    with opened(folder) as one, opened(folder) as other:
        where = {"공개": True}
        assert other.search(TEXTS[0], where=where) == []
        one.update_metadata(IDS[:2], {"공개": True})
        assert {hit.id for hit in other.search(TEXTS[0], where=where)} == set(IDS[:2])
        assert other.search(TEXTS[0], k=1)[0].metadata == {"번호": 0, "공개": True}
        one.add(TEXTS[1:3], ids=IDS[1:3], metadata=[{}, {"공개": True}])
        assert {hit.id for hit in other.search(TEXTS[0], where=where)} == {IDS[0], IDS[2]}
        assert (other.count(where), other.ids(where)) == (2, [IDS[0], IDS[2]])


MEANWHILE: dict[str, Callable[[Collection], object]] = {
    "deleted": lambda other: other.delete(IDS[:2]),
    "replaced": lambda other: other.add(["딴 글", "또 딴 글"], ids=IDS[:2]),
    "replaced and put back": lambda other: (other.delete(IDS[:2]), other.add(TEXTS[:2], ids=IDS[:2])),
    "given other metadata": lambda other: other.update_metadata(IDS[:2], {"번호": "남의 것"}),
    "given the same metadata": lambda other: other.add(
        TEXTS[:2], ids=IDS[:2], metadata=[{"번호": 0}, {"번호": "하나"}]
    ),
    "added": lambda other: other.add(["새 글"], ids=["새것"]),
    "compacted": lambda other: other.compact(),
    "emptied": lambda other: other.keep_only([]),
}


@pytest.mark.parametrize("act", MEANWHILE.values(), ids=MEANWHILE)
def test_what_another_does_between_the_look_and_the_write(folder: Path, act: Callable[[Collection], object]) -> None:
    encoder = MeddlingEncoder()
    with opened(folder, encoder) as collection, opened(folder) as other:
        encoder.meanwhile = lambda: act(other)
        texts, ids = [*TEXTS[:2], "새 글"], [*IDS[:2], "새것"]
        metadata = [{"번호": 0}, {"번호": "하나"}, {}]
        collection.add(texts, ids=ids, metadata=metadata)
        assert encoder.meanwhile is None
        for reader in (collection, other):
            assert [(d.text, d.metadata) for d in reader.get(ids)] == list(zip(texts, metadata, strict=True))
    check(folder)


def test_many_who_add_the_same_ids_leave_vectors_of_the_texts_that_are_there(folder: Path) -> None:
    failed: list[BaseException] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        try:
            with opened(folder) as collection:
                for _ in range(12):
                    ids = rng.sample(IDS, 3)
                    texts = [rng.choice([TEXTS[IDS.index(id_)], f"바뀐 {id_}", f"또 바뀐 {id_}"]) for id_ in ids]
                    collection.add(texts, ids=ids, metadata=[{"글": text} for text in texts])
                    if rng.random() < 0.3:
                        collection.delete(rng.sample(IDS, 1))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    with opened(folder) as collection:
        touched = [document for document in collection.get() if "글" in document.metadata]
        assert all(document.metadata["글"] == document.text for document in touched)
    check(folder)


# -- like a dict ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_any_course_of_changes_equals_that_of_a_dict(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    encoder = FakeDenseEncoder()
    names = ["가", unicodedata.normalize("NFD", "나"), "다", "라", "마"]
    texts = ["보증금 반환", "도서관 휴관", "", "연차 휴가 신청"]
    fields: list[dict[str, Any]] = [
        {},
        {"판": 1},
        {"판": True},
        {"판": 1.0},
        {"부서": {"이름": "법무팀"}},
        {"판": None},
    ]
    model: dict[str, tuple[str, dict[str, Any]]] = {}  # in order of insertion
    encoded = 0
    with opened(tmp_path, encoder) as collection:
        for _ in range(60):
            ids = rng.sample(names, rng.randint(1, 3))
            drawn = rng.random()
            if drawn < 0.5:
                rows = {id_: (rng.choice(texts), copy.deepcopy(rng.choice(fields))) for id_ in ids}
                for id_, (text, own) in rows.items():
                    if id_ in model and model[id_][0] == text:
                        model[id_] = (text, own)
                    else:
                        model.pop(id_, None)
                        model[id_] = (text, own)
                        encoded += bool(text)
                collection.add([t for t, _ in rows.values()], ids=ids, metadata=[own for _, own in rows.values()])
            elif drawn < 0.75:
                known, new, replace = [id_ for id_ in ids if id_ in model], rng.choice(fields), rng.random() < 0.3
                collection.update_metadata(known, new, replace=replace)
                for id_ in known:
                    text, own = model[id_]
                    model[id_] = (text, new if replace else {**own, **new})
            elif drawn < 0.85:
                assert collection.delete(ids) == len([model.pop(id_) for id_ in ids if id_ in model])
            elif drawn < 0.93:
                assert collection.keep_only(ids) == len([model.pop(id_) for id_ in [*model] if id_ not in ids])
            else:
                collection.compact()
            found = [(document.id, repr((document.text, document.metadata))) for document in collection.get()]
            assert found == [(id_, repr(row)) for id_, row in model.items()]
            assert collection.ids() == [*model]
            assert collection.count({"판": 1}) == sum(
                own.get("판") == 1 and own["판"] is not True for _, own in model.values()
            )
            live = np.concatenate([[0], *(r.keys[r.live] for r in collection._reader.read().readers)])
            assert len(live) - 1 == sum(bool(text) for text, _ in model.values())
        assert encoder.documents_encoded == encoded
    check(tmp_path)


@pytest.mark.parametrize("given", [False, True])
def test_an_add_that_stops_midway_tells_its_ids(given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{number}번째 공고" for number in range(70)]  # the first batch has 64
    encode, calls = FakeDenseEncoder.encode_documents, []

    def failing(self: Any, documents: Any, **keywords: Any) -> Any:
        calls.append(len(documents))
        if len(calls) == 2:
            raise StorageFullError("가득 찼습니다.", "It is full.")
        return encode(self, documents, **keywords)

    monkeypatch.setattr(FakeDenseEncoder, "encode_documents", failing)
    with Collection.in_memory(encoders=[FakeDenseEncoder()]) as collection:
        own = [f"공고-{number}" for number in range(70)] if given else None
        with pytest.raises(StorageFullError) as error:
            collection.add(texts, ids=own)
        assert 0 < len(collection) < 70
        assert own is None or list(error.value.ids) == own
        assert collection.add(texts, ids=error.value.ids) == list(error.value.ids)
        assert [document.text for document in collection.get()] == texts
