"""A collection that was damaged, moved or replaced, open or closed: an error, never an empty or a wrong answer."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from korag import Collection
from korag.collection.local import replacing
from korag.collection.local.database import Database
from korag.errors import ForeignFolderError, IndexStateError, SegmentError
from korag.testing import FakeDenseEncoder

FILE, MARKER = "korag.sqlite3", "korag.committed"
TEXTS = ["보증금을 돌려받는 절차", "도서관 휴관일 안내", "연차 휴가 신청서"]


def opened(folder: Path) -> Collection:
    return Collection.open(folder, encoders=[FakeDenseEncoder()], timeout=5.0)


def filled(folder: Path, *texts: str) -> Path:
    with opened(folder) as collection:
        for text in texts:
            collection.add([text], ids=[text])
    return folder


def ids(folder: Path) -> list[str]:
    with opened(folder) as collection:
        found = [document.id for document in collection.get()]
        assert {hit.id for hit in collection.search("글", k=99)} == set(found)
        return found


def is_empty(file: Path) -> bool:
    return not file.stat().st_size


def content(folder: Path) -> dict[str, str]:
    """Names and hashes of all files; SQLite may make an empty log, and touch its index of one."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm") and not (path.name.endswith("-wal") and is_empty(path))
    }


def as_a_kill_leaves_it(folder: Path, *texts: str, was_closed: bool = True) -> Path:
    """A collection whose last commits are in the log of its database; all of them if it was never closed before."""
    source = folder.with_name("원본")
    if was_closed:
        filled(source, texts[0])
    with opened(source) as collection:
        for text in texts:
            collection.add([text], ids=[text])
        shutil.copytree(source, folder)
    assert (folder / f"{FILE}-wal").stat().st_size
    return folder


# -- commits that are lost --------------------------------------------------------------------------------


def remove_log(folder: Path) -> None:
    (folder / f"{FILE}-wal").unlink()


def empty_log(folder: Path) -> None:
    os.truncate(folder / f"{FILE}-wal", 0)


def cut_log(folder: Path) -> None:
    log = folder / f"{FILE}-wal"
    os.truncate(log, log.stat().st_size - 100)


def older_backup(folder: Path) -> None:
    remove_log(folder)
    ids(filled(folder.with_name("백업"), TEXTS[0]))
    shutil.copy(folder.with_name("백업") / FILE, folder / FILE)


def another_collection(folder: Path) -> None:
    remove_log(folder)
    shutil.copy(filled(folder.with_name("다른 것"), *TEXTS, *TEXTS) / FILE, folder / FILE)


def old_format(folder: Path) -> None:
    remove_log(folder)
    shutil.copy(Path(__file__).parents[1] / "collections" / "format_3" / "collection" / FILE, folder / FILE)


def empty_database(folder: Path) -> None:
    os.truncate(folder / FILE, 0)


def empty_database_without_log(folder: Path) -> None:
    remove_log(folder)
    os.truncate(folder / FILE, 0)


def no_database(folder: Path) -> None:
    (folder / FILE).unlink()


def only_the_marker(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != MARKER:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def only_the_segments(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_file():
            path.unlink()


def only_the_log(folder: Path) -> None:
    for path in folder.iterdir():
        if not path.name.endswith("-wal"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (remove_log, "lacks the last"),
        (empty_log, "lacks the last"),
        (cut_log, "lacks the last"),
        (older_backup, "not the one of this folder"),
        (another_collection, "not the one of this folder"),
        (old_format, "old format"),
        (empty_database, "missing or empty"),
        (empty_database_without_log, "missing or empty"),
        (no_database, "missing or empty"),
        (only_the_marker, "missing or empty"),
        (only_the_segments, "missing or empty"),
        (only_the_log, "missing or empty"),
    ],
)
def test_a_collection_that_has_lost_something_is_not_opened_and_not_touched(
    tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    folder = as_a_kill_leaves_it(tmp_path / "규정", *TEXTS)
    damage(folder)
    before = content(folder)
    for _ in range(2):
        for call in (opened, Collection.upgrade):
            with pytest.raises(IndexStateError, match=f"(?s)바꾸지 않았습니다.*{reason}"):
                call(folder)
    assert content(folder) == before


def test_a_lost_log_that_held_all_there_was(tmp_path: Path) -> None:
    folder = as_a_kill_leaves_it(tmp_path / "규정", *TEXTS, was_closed=False)
    remove_log(folder)
    for call in (opened, Collection.open, Collection.verify, Collection.upgrade):
        with pytest.raises(IndexStateError, match="without its '-wal' file"):
            call(folder)
    assert len(list((folder / "segments").iterdir())) == 3


def test_an_older_database_of_the_same_collection(tmp_path: Path) -> None:
    folder = filled(tmp_path / "규정", *TEXTS[:2])
    shutil.copy(folder / FILE, tmp_path / "백업")
    filled(folder, TEXTS[2])
    shutil.copy(tmp_path / "백업", folder / FILE)
    with pytest.raises(IndexStateError, match=r"lacks the last changes.*an older backup"):
        opened(folder)
    assert len(list((folder / "segments").iterdir())) == 3


@pytest.mark.parametrize("damage", [remove_log, empty_log, cut_log])
def test_a_loss_is_accepted_by_deleting_the_marker(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    folder = tmp_path / "규정"
    with opened(filled(tmp_path / "원본", *TEXTS[:2])) as collection:
        collection.add([TEXTS[2]], ids=[TEXTS[2]])
        shutil.copytree(tmp_path / "원본", folder)
    damage(folder)
    with pytest.raises(IndexStateError, match=r"delete '.*korag\.committed'"):
        opened(folder)
    (folder / MARKER).unlink()
    kept = ids(folder)
    assert kept[:2] == TEXTS[:2]
    filled(folder, "다시 쓴 글")
    assert ids(folder) == [*kept, "다시 쓴 글"]
    assert (folder / MARKER).exists()


@pytest.mark.parametrize("how", ["removed", "emptied"])
def test_segments_that_are_gone_are_an_error_and_nothing_else_goes(tmp_path: Path, how: str) -> None:
    folder = filled(tmp_path / "규정", *TEXTS)
    shutil.rmtree(folder / "segments")
    if how == "emptied":
        (folder / "segments").mkdir()
    before = content(folder)
    with opened(folder) as collection:
        for call in (lambda: collection.search("글"), lambda: collection.add(["글"])):
            with pytest.raises(SegmentError, match="missing"):
                call()
        assert [document.id for document in collection.get()] == TEXTS
    assert content(folder) == before


def test_files_are_not_cleared_away_while_the_database_misses_some(tmp_path: Path) -> None:
    """An older database beside newer segments, in a folder without a marker: they may be all that is left."""
    folder = filled(tmp_path / "규정", *TEXTS[:2])
    shutil.copy(folder / FILE, tmp_path / "백업")
    with opened(folder) as collection:
        collection.add([TEXTS[2]], ids=[TEXTS[2]])
        collection.compact()
    (folder / MARKER).unlink()
    shutil.copy(tmp_path / "백업", folder / FILE)
    segments = content(folder / "segments")
    with opened(folder) as collection:
        collection.delete(TEXTS[:1])
    assert content(folder / "segments") == segments


@pytest.mark.parametrize("line", ["", "쓰레기", "0" * 64, "00 1 00\n", "0" * 32 + " 5 00000000\n"])
def test_a_marker_that_is_unreadable_says_nothing(tmp_path: Path, line: str) -> None:
    folder = filled(tmp_path / "규정", TEXTS[0])
    (folder / MARKER).write_text(line, encoding="utf-8")
    filled(folder, TEXTS[1])
    assert ids(folder) == TEXTS[:2]
    assert len((folder / MARKER).read_text().split()) == 3


def test_a_marker_that_is_a_pipe_or_a_link_is_not_followed(tmp_path: Path) -> None:
    folder = filled(tmp_path / "규정", TEXTS[0])
    secret = tmp_path / "남의 것"
    secret.write_text("중요", encoding="utf-8")
    for make in (lambda path: path.symlink_to(secret), os.mkfifo, Path.mkdir):
        path = folder / MARKER
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        make(path)
        filled(folder, TEXTS[1])
    assert ids(folder) == TEXTS[:2]
    assert secret.read_text(encoding="utf-8") == "중요"


def test_every_commit_is_marked_and_copies_have_a_marker_of_their_own(tmp_path: Path) -> None:
    with opened(tmp_path / "규정") as collection, opened(tmp_path / "규정") as other:
        markers = [(tmp_path / "규정" / MARKER).read_text()]
        for change in (
            lambda: collection.add(["글"], ids=["가"]),
            lambda: other.add(["글"], ids=["나"]),
            lambda: collection.delete(["가"]),
            collection.compact,
        ):
            change()
            markers.append((tmp_path / "규정" / MARKER).read_text())
            generation = collection._database.generation()
            assert markers[-1].split()[1] == str(generation)
        assert len(set(markers)) == len(markers)
        collection.save(tmp_path / "사본")
        assert (tmp_path / "사본" / MARKER).read_text().split()[0] != markers[0].split()[0]
    assert sorted(path.name for path in (tmp_path / "규정").iterdir()) == [MARKER, FILE, "segments"]
    assert ids(tmp_path / "사본") == ["나"]


def test_a_process_killed_before_it_wrote_the_marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(tmp_path / "규정", TEXTS[0])
    with monkeypatch.context() as patch:
        patch.setattr("korag.collection.local.database.write_marker", lambda *_: None)
        filled(folder, TEXTS[1])
    (folder / f"{MARKER}.{'0' * 32}").write_text("반")
    assert ids(folder) == TEXTS[:2]
    filled(folder, TEXTS[2])
    assert ids(folder) == TEXTS
    assert sorted(path.name for path in folder.iterdir()) == [MARKER, FILE, "segments"]


# -- a collection that is open ----------------------------------------------------------------------------


def save_over(folder: Path, monkeypatch: pytest.MonkeyPatch, *, exchange: bool) -> None:
    if not exchange:
        monkeypatch.setattr(replacing, "exchange", lambda *_: False)
    with opened(filled(folder.with_name("새"), "새 글")) as collection:
        collection.save(folder, overwrite=True)


def put_another(folder: Path) -> None:
    folder.rename(folder.with_name("옮긴 곳"))
    filled(folder, "새 글")


def move(folder: Path) -> None:
    folder.rename(folder.with_name("옮긴 곳"))


def put_empty(folder: Path) -> None:
    move(folder)
    folder.mkdir()


def replace_database(folder: Path) -> None:
    other = filled(folder.with_name("새"), "새 글")
    (other / FILE).replace(folder / FILE)


def restore_by_rsync(folder: Path) -> None:
    """As rsync does: each file that differs is written anew and renamed."""
    backup = filled(folder.with_name("백업"), "새 글")
    for path in backup.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(backup)
            shutil.copy(path, target.with_name(".partial"))
            target.with_name(".partial").replace(target)


CHANGES: dict[str, Callable[[Path, pytest.MonkeyPatch], object]] = {
    "saved over": lambda folder, patch: save_over(folder, patch, exchange=True),
    "saved over by renames": lambda folder, patch: save_over(folder, patch, exchange=False),
    "another in its place": lambda folder, _: put_another(folder),
    "moved": lambda folder, _: move(folder),
    "an empty folder": lambda folder, _: put_empty(folder),
    "deleted": lambda folder, _: shutil.rmtree(folder),
    "database replaced": lambda folder, _: replace_database(folder),
    "restored by rsync": lambda folder, _: restore_by_rsync(folder),
    "database deleted": lambda folder, _: (folder / FILE).unlink(),
    "log deleted": lambda folder, _: remove_log(folder),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_open_collection_that_was_replaced_is_an_error_and_touches_nothing(
    tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = filled(tmp_path / "규정", *TEXTS)
    collection = opened(folder)
    collection.search("글")
    if change == "log deleted":
        collection.add(["로그에 있는 글"], ids=["로그"])
    CHANGES[change](folder, monkeypatch)
    before = content(tmp_path)
    for call in (
        lambda: collection.search("글"),
        lambda: collection.get(),
        lambda: collection.get(TEXTS[:1]),
        lambda: len(collection),
        lambda: collection.add(["잃을 글"], ids=["잃을 것"]),
        lambda: collection.delete(TEXTS[:1]),
        collection.compact,
        lambda: collection.save(tmp_path / "사본"),
    ):
        with pytest.raises(IndexStateError, match=r"(?s)Collection\.open.*no longer the collection that was opened"):
            call()
    assert content(tmp_path) == before
    collection.close()
    if change != "log deleted":  # SQLite still has it, and saves what it can
        assert content(tmp_path) == before
    if folder.exists() and change in ("saved over", "saved over by renames", "another in its place"):
        assert ids(folder) == ["새 글"]


def test_a_link_that_leads_elsewhere_now(tmp_path: Path) -> None:
    filled(tmp_path / "ㄱ" / "규정", *TEXTS)
    filled(tmp_path / "ㄴ" / "규정", "새 글")
    link = tmp_path / "지금"
    link.symlink_to("ㄱ")
    with opened(link / "규정") as collection:
        link.unlink()
        link.symlink_to("ㄴ")
        before = content(tmp_path)
        for call in (lambda: collection.search("글"), lambda: collection.add(["글"])):
            with pytest.raises(IndexStateError, match="no longer"):
                call()
        assert content(tmp_path) == before
        link.unlink()
        link.symlink_to("ㄱ")
        assert len(collection) == 3  # as if nothing had been
        collection.add(["더"], ids=["더"])
    assert ids(link / "규정") == [*TEXTS, "더"]


def test_a_folder_moved_away_while_it_is_written_to(tmp_path: Path) -> None:
    folder = filled(tmp_path / "규정", *TEXTS)
    with opened(folder) as collection:

        def change() -> None:
            with collection._writer.writing():
                collection._database.delete(collection._database.keys())
                put_another(folder)

        with pytest.raises(IndexStateError, match=r"no longer the collection.*Nothing was written"):
            change()
    assert ids(folder) == ["새 글"]
    assert ids(tmp_path / "옮긴 곳") == TEXTS


def test_a_folder_moved_away_just_before_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = filled(tmp_path / "규정", *TEXTS)
    check = Database._check_before_commit

    def check_and_move(*arguments: Any) -> Any:
        checked = check(*arguments)
        put_empty(folder)
        return checked

    with opened(folder) as collection:
        with monkeypatch.context() as patch:
            patch.setattr(Database, "_check_before_commit", check_and_move)
            with pytest.raises(IndexStateError, match=r"While .* was being written to"):
                collection.add(["새로 쓴 글"], ids=["새로 쓴 글"])
        assert list(folder.iterdir()) == []
        with pytest.raises(IndexStateError, match="no longer"):
            collection.add(["글"])
    assert ids(tmp_path / "옮긴 곳") == [*TEXTS, "새로 쓴 글"]


def test_a_second_object_in_the_new_place_is_not_disturbed(tmp_path: Path) -> None:
    folder = filled(tmp_path / "규정", *TEXTS)
    with opened(folder) as old:
        put_another(folder)
        with opened(folder) as new:
            new.add(["둘째"], ids=["둘째"])
            with pytest.raises(IndexStateError):
                old.delete(TEXTS)
            old.close()  # SQLite would remove a log that it takes for its own
            new.add(["셋째"], ids=["셋째"])
            assert len(new.search("글", k=9)) == 3
    assert ids(folder) == ["새 글", "둘째", "셋째"]


def test_a_folder_of_something_else_is_still_called_that(tmp_path: Path) -> None:
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "3장.safetensors").write_bytes(b"")
    with pytest.raises(ForeignFolderError):
        opened(tmp_path)
