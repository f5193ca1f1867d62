"""Documents from a stream: bounded batches, skipping stored documents, and resuming after an interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from korag import Collection
from korag.collection import editing
from korag.errors import InvalidArgumentError, InvalidTextError
from korag.testing import FakeDenseEncoder


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editing, "COMMIT_DOCUMENTS", 4)


def documents(count: int) -> list[tuple[str, str, dict[str, Any]]]:
    return [(f"공고/{number}", f"{number}번 모집 공고", {"번호": number}) for number in range(count)]


def test_the_same_as_add(tmp_path: Path) -> None:
    rows = documents(11)
    with (
        Collection.open(tmp_path / "a", encoders=[FakeDenseEncoder()], bm25=True) as streamed,
        Collection.open(tmp_path / "b", encoders=[FakeDenseEncoder()], bm25=True) as added,
    ):
        assert streamed.add_stream(row for row in rows) == 11
        ids, texts, metadata = zip(*rows, strict=True)
        added.add(texts, ids=ids, metadata=metadata)
        assert streamed.get() == added.get()
        assert streamed.search("7번 모집 공고", k=5) == added.search("7번 모집 공고", k=5)


def test_taken_a_block_at_a_time() -> None:
    taken: list[int] = []
    collection = Collection.in_memory(encoders=[FakeDenseEncoder()])

    def rows() -> Any:
        for number, row in enumerate(documents(10)):
            taken.append(number)
            assert len(collection) >= len(taken) - 4  # what was taken before the block is committed
            yield row

    assert collection.add_stream(rows()) == 10


def test_goes_on_where_it_stopped() -> None:
    encoder = FakeDenseEncoder()
    collection = Collection.in_memory(encoders=[encoder])

    def broken() -> Any:
        yield from documents(10)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        collection.add_stream(broken())
    assert len(collection) == 8
    assert collection.add_stream(documents(10)) == 2
    assert encoder.documents_encoded == 10
    assert collection.add_stream(documents(10)) == 0
    assert encoder.documents_encoded == 10


def test_what_changed_is_replaced() -> None:
    collection = Collection.in_memory(encoders=[FakeDenseEncoder()])
    collection.add_stream(documents(6))
    rows = documents(6)
    rows[2] = (rows[2][0], "새 공고", rows[2][2])
    rows[4] = (rows[4][0], rows[4][1], {"번호": "넷"})
    assert collection.add_stream(rows) == 2
    assert [document.text for document in collection.get([rows[2][0]])] == ["새 공고"]
    assert collection.get([rows[4][0]])[0].metadata == {"번호": "넷"}


def test_metadata_that_only_python_takes_for_equal_is_changed() -> None:
    encoder = FakeDenseEncoder()
    collection = Collection.in_memory(encoders=[encoder])
    collection.add_stream([("가", "본문", {"공개": 1, "쪽": 2})])
    assert collection.add_stream([("가", "본문", {"공개": True, "쪽": 2})]) == 1
    assert collection.ids({"공개": True}) == ["가"]
    assert collection.add_stream([("가", "본문", {"쪽": 2, "공개": True})]) == 0
    assert encoder.documents_encoded == 1


def test_metadata_may_be_left_out_and_empty_texts_are_kept() -> None:
    collection = Collection.in_memory(encoders=[FakeDenseEncoder()])
    assert collection.add_stream([("가", "본문"), ("나", "", None), ("다", "본문", {"x": 1})]) == 3
    assert [document.metadata for document in collection.get()] == [{}, {}, {"x": 1}]
    assert collection.add_stream([("나", "")]) == 0
    assert collection.add_stream([]) == 0


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ("하나", InvalidArgumentError, r"documents\[5\]"),
        (("id",), InvalidArgumentError, r"documents\[5\]"),
        (("id", "text", {}, 1), InvalidArgumentError, r"documents\[5\]"),
        ((3, "text"), InvalidTextError, r"documents\[5\]\[0\]"),
        (("id", None), InvalidTextError, r"documents\[5\]\[1\]"),
        (("id", "\ud800"), InvalidTextError, r"documents\[5\]\[1\]"),
        (("공고/4", "text"), InvalidArgumentError, "have the same id"),
        (("id", "text", {"x": object()}), InvalidArgumentError, "is not a JSON value"),
    ],
)
def test_bad_entries_are_named_and_earlier_blocks_stay(bad: Any, error: type[Exception], message: str) -> None:
    collection = Collection.in_memory(encoders=[FakeDenseEncoder()])
    with pytest.raises(error, match=message):
        collection.add_stream([*documents(5), bad])
    assert len(collection) == 4
