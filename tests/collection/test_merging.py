"""Merging segments while others search and write: nothing waits for it, nothing is lost, and no file is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from korag import Collection
from korag.collection.local import merging as merging_module
from korag.testing import FakeDenseEncoder

TEXTS = {f"규정 {number}": f"제{number}조는 휴가를 {number}일 준다." for number in range(6)}
Meanwhile = Callable[[Callable[[], object]], None]


def opened(folder: Path | None) -> Collection:
    legs: dict[str, Any] = {"encoders": [FakeDenseEncoder()], "bm25": True}
    return Collection.in_memory(**legs) if folder is None else Collection.open(folder, **legs)


def fill(collection: Collection) -> None:
    for id_, text in TEXTS.items():
        collection.add([text], ids=[id_])


def contents(collection: Collection) -> dict[str, str]:
    """Of the documents, as every way to read finds them."""
    stored = {document.id: document.text for document in collection.get()}
    for using in collection.legs:
        assert {hit.id: hit.text for hit in collection.search("제1조는 휴가를", k=50, using=using)} == stored
    return stored


def files(folder: Path) -> set[str]:
    return {path.name for path in (folder / "segments").iterdir()}


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Does something once, when the merged segments are written and not yet named."""

    def once(action: Callable[[], object]) -> None:
        merge, actions = merging_module.merge_segments, [action]

        def then_act(*arguments: Any) -> Iterator[Any]:
            yield from merge(*arguments)
            if actions:
                actions.pop()()

        monkeypatch.setattr(merging_module, "merge_segments", then_act)

    return once


@pytest.fixture(params=["memory", "folder"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "규정집" if request.param == "folder" else None


def test_other_threads_search_and_write_during_a_merge(place: Path | None, meanwhile: Meanwhile) -> None:
    with opened(place) as collection:
        fill(collection)
        found: list[dict[str, str]] = []

        def work() -> None:
            found.append(contents(collection))
            collection.add(["제9조는 새 조항이다. 제1조는 휴가를"], ids=["규정 9"])
            collection.delete(["규정 2"])
            collection.add(["제3조는 휴가를 없앤다."], ids=["규정 3"])
            found.append(contents(collection))

        def in_a_thread() -> None:
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            thread.join(timeout=60)
            assert not thread.is_alive(), "it waits for the merge"

        meanwhile(in_a_thread)
        collection.compact()
        changed = TEXTS | {"규정 9": "제9조는 새 조항이다. 제1조는 휴가를", "규정 3": "제3조는 휴가를 없앤다."}
        del changed["규정 2"]
        assert found == [TEXTS, changed]
        assert contents(collection) == changed
        collection.compact()
        assert contents(collection) == changed
    if place is not None:
        with opened(place) as again:
            assert contents(again) == changed
        assert len(files(place)) == 1


def test_what_was_deleted_before_a_reader_saw_the_merge_stays_deleted(tmp_path: Path, meanwhile: Meanwhile) -> None:
    """The reader knows of the deletion before the merged segment, which still has the row, is named."""
    with opened(tmp_path / "가") as collection, opened(tmp_path / "가") as reader:
        fill(collection)
        left = {id_: text for id_, text in TEXTS.items() if id_ != "규정 2"}

        def delete() -> None:
            collection.delete(["규정 2"])
            assert contents(reader) == left

        meanwhile(delete)
        collection.compact()
        assert contents(reader) == contents(collection) == left


def test_unfinished_segments_are_not_taken_for_leftovers(tmp_path: Path, meanwhile: Meanwhile) -> None:
    folder = tmp_path / "가"
    with opened(folder) as collection, opened(folder) as other:
        fill(collection)
        (folder / "segments" / f"{'0' * 32}.tmp").write_bytes(b"left by a killed process")

        def write() -> None:
            assert len([name for name in files(folder) if name.endswith(".tmp")]) == 2
            other.add(["제9조는 새 조항이다. 제1조는 휴가를"], ids=["규정 9"])  # its first write, which clears up
            assert len([name for name in files(folder) if name.endswith(".tmp")]) == 1

        meanwhile(write)
        collection.compact()
        assert set(contents(other)) == set(contents(collection)) == {*TEXTS, "규정 9"}
        assert len(files(folder)) == 2


def test_segments_that_somebody_else_merges_first(tmp_path: Path, meanwhile: Meanwhile) -> None:
    folder = tmp_path / "가"
    with opened(folder) as collection, opened(folder) as other:
        fill(collection)
        collection.delete(["규정 5"])
        meanwhile(other.compact)
        collection.compact()
        left = {id_: text for id_, text in TEXTS.items() if id_ != "규정 5"}
        assert contents(other) == contents(collection) == left
        assert len(files(folder)) == 1


def test_a_merge_that_fails_leaves_everything_as_it_was(place: Path | None, meanwhile: Meanwhile) -> None:
    def fail() -> None:
        raise MemoryError

    with opened(place) as collection:
        fill(collection)
        before = None if place is None else files(place)
        meanwhile(fail)
        with pytest.raises(MemoryError):
            collection.compact()
        assert contents(collection) == TEXTS
        assert place is None or files(place) == before
        collection.compact()
        assert contents(collection) == TEXTS
