"""`save` puts a copy in place at once, and clears up after those that were killed."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from korag import Collection
from korag.collection.local import replacing
from korag.collection.local.opening import open_saved
from korag.errors import ForeignFolderError, IndexStateError
from korag.testing import FakeDenseEncoder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def opened(folder: Path) -> Collection:
    return Collection.open(folder, encoders=[FakeDenseEncoder()])


def filled(folder: Path, *texts: str) -> Path:
    with opened(folder) as collection:
        collection.add(texts, ids=list(texts))
    return folder


def texts(folder: Path) -> list[str]:
    with opened(folder) as collection:
        assert len(collection.search("글", k=9)) == len(collection)
        return [document.text for document in collection.get()]


@pytest.fixture(params=["exchange", "renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of replacing a folder; the second is that of systems that cannot exchange two."""
    if request.param == "renames":
        monkeypatch.setattr(replacing, "exchange", lambda *_: False)


@pytest.mark.usefixtures("way")
def test_a_save_over_a_link_keeps_the_link(tmp_path: Path) -> None:
    real = filled(tmp_path / "저장소" / "규정", "옛 글")
    link = tmp_path / "규정"
    link.symlink_to(real)
    with opened(filled(tmp_path / "새", "새 글")) as collection:
        assert collection.save(link, overwrite=True) == link
    assert link.is_symlink()
    assert texts(link) == texts(real) == ["새 글"]
    assert names(real.parent) == ["규정"]


@pytest.mark.usefixtures("way")
def test_a_save_that_cannot_rename_leaves_the_old_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = filled(tmp_path / "사본", "옛 글")

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with opened(filled(tmp_path / "새", "새 글")) as collection:
        with monkeypatch.context() as patch:
            patch.setattr(replacing, "put_in_place", refused)
            patch.setattr("korag.collection.local.saving.put_in_place", refused)
            with pytest.raises(PermissionError, match="permissions"):
                collection.save(target, overwrite=True)
        assert names(tmp_path) == ["사본", "새"]
        assert texts(target) == ["옛 글"]
        collection.save(target, overwrite=True)
    assert texts(target) == ["새 글"]


@pytest.mark.usefixtures("way")
def test_a_save_waits_for_who_writes_to_what_it_replaces(tmp_path: Path) -> None:
    """Otherwise documents would be acknowledged that go with the old collection a moment later."""
    target = filled(tmp_path / "사본", "옛 글")
    done: list[str] = []
    with opened(target) as writer, opened(filled(tmp_path / "새", "새 글")) as collection:
        started = threading.Event()

        def write() -> None:
            with writer._writer.writing():
                writer._database.delete(writer._database.keys())
                started.set()
                time.sleep(0.5)
                assert (target / "korag.sqlite3").samefile(inode)
                done.append("written")

        inode = tmp_path / "같은 파일"
        inode.hardlink_to(target / "korag.sqlite3")
        thread = threading.Thread(target=write)
        thread.start()
        started.wait()
        collection.save(target, overwrite=True)
        done.append("saved")
        thread.join()
        assert done == ["written", "saved"]
        with pytest.raises(IndexStateError, match="no longer"):
            writer.add(["글"])
    assert texts(target) == ["새 글"]


@pytest.mark.parametrize("damage", ["empty", "cut", "no log"])
def test_a_save_replaces_a_damaged_collection(tmp_path: Path, damage: str) -> None:
    target = filled(tmp_path / "사본", *map(str, range(50)))
    file = target / "korag.sqlite3"
    os.truncate(file, 0 if damage == "empty" else 5000) if damage != "no log" else (target / "korag.committed").touch()
    with opened(filled(tmp_path / "새", "새 글")) as collection:
        collection.save(target, overwrite=True)
    assert texts(target) == ["새 글"]


@pytest.mark.parametrize("how", ["open", "open_saved", "save", "upgrade"])
def test_a_save_killed_between_its_two_renames_is_finished_by_whoever_comes_next(tmp_path: Path, how: str) -> None:
    target = tmp_path / "사본"
    filled(tmp_path / "사본.0123abcd.old", "옛 글")
    filled(tmp_path / "사본.0123abcd.tmp", "새 글")
    if how == "open":
        opened(target).close()
    elif how == "open_saved":
        open_saved(target, encoders=[FakeDenseEncoder()], made_by="save").close()
    elif how == "upgrade":
        Collection.upgrade(target)
    else:
        with opened(filled(tmp_path / "다른 것", "글")) as collection:
            with pytest.raises(ValueError, match="overwrite=True"):
                collection.save(target)
            collection.save(target, overwrite=True)
            assert names(tmp_path) == ["다른 것", "사본"]
    assert texts(target) == (["글"] if how == "save" else ["새 글"])


@pytest.mark.parametrize("name", ["메모.txt", "다른 것", "korag.sqlite3.bak"])
def test_a_folder_that_holds_more_than_a_collection_is_not_replaced(tmp_path: Path, name: str) -> None:
    target = filled(tmp_path / "사본", "옛 글")
    (target / ".DS_Store").touch()
    filled(target / name, "속에 든 글") if name == "다른 것" else (target / name).write_text("중요", encoding="utf-8")
    with opened(filled(tmp_path / "새", "새 글")) as collection:
        with pytest.raises(ForeignFolderError, match=f"(?s)'{name}'.*'{name}'"):
            collection.save(target, overwrite=True)
        assert texts(target) == ["옛 글"]
        (target / name).rename(tmp_path / name)
        collection.save(target, overwrite=True)
    assert texts(target) == ["새 글"]
    assert names(tmp_path) == sorted(["사본", "새", name])


def test_leftovers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    target = filled(tmp_path / "사본", "옛 글")
    for leftover in ("사본.0123abcd.tmp", "사본.4567abcd.old"):
        filled(tmp_path / leftover, "글")
    shutil.rmtree(filled(tmp_path / "사본.89abcdef.tmp", "글") / "segments")
    (tmp_path / "사본.01234567.tmp").mkdir()
    theirs = [
        "사본.tmp",
        "사본.old",
        "사본.0123abcd.bak",
        "사본2.0123abcd.tmp",
        "사본.0123abc.tmp",
        "사본.0123ABCD.tmp",
    ]
    for name in theirs:
        filled(tmp_path / name, "글")
    notes = filled(tmp_path / "사본.11111111.tmp", "글") / "메모.txt"  # not left by us, or no longer only ours
    notes.write_text("중요")
    (tmp_path / "사본.22222222.tmp").write_text("파일")
    (tmp_path / "사본.33333333.tmp").symlink_to(tmp_path / "사본.tmp")
    with replacing.temporary_folder(target) as in_progress:
        with opened(filled(tmp_path / "새", "새 글")) as collection:
            collection.save(target, overwrite=True)
        kept = [*theirs, in_progress.name, notes.parent.name, "사본.22222222.tmp", "사본.33333333.tmp", "사본", "새"]
        assert names(tmp_path) == sorted(kept)
    assert texts(target) == ["새 글"]


def test_opening_a_new_collection_takes_no_leftover_for_it(tmp_path: Path) -> None:
    """A folder of one name alone is no save between its renames: it may be partly removed."""
    filled(tmp_path / "사본.0123abcd.old", "옛 글")
    filled(tmp_path / "사본.4567abcd.tmp", "새 글")
    assert texts(tmp_path / "사본") == []
