"""`Collection.verify`: everything that is wrong with a folder, each with a remedy, and nothing where nothing is."""

from __future__ import annotations

import contextlib
import math
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assertions import assert_bilingual

from korag import Collection
from korag.cli import main
from korag.collection.local.segment_stores import SegmentFolder
from korag.collection.local.segments import LegArrays, Segment, SegmentInfo
from korag.errors import ForeignFolderError, FormatVersionError, IndexStateError, InvalidArgumentError, SegmentError
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder

FILE = "korag.sqlite3"
OLD = Path(__file__).parents[1] / "collections"
ENCODERS = [FakeDenseEncoder(), FakeMultiVectorEncoder(dim=8), FakeSparseEncoder()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Collection.open(tmp_path / "색인", encoders=ENCODERS, bm25=True) as collection:
        collection.add([f"{n}번 창구는 {n}시에 연다." for n in range(20)], ids=[f"창구 {n}" for n in range(20)])
        collection.add(["안내 방송은 매시 정각에 나온다.", ""], ids=["방송", "빈 글"])
        collection.add(["구 번 창구는 닫혔다."], ids=["창구 9"])
        collection.delete(["창구 0"])
    return tmp_path / "색인"


def run(folder: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(folder / FILE)
    with connection:
        connection.execute(statement, values)
    connection.close()


def flip(path: Path, text: str) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(text.encode()) + 2] ^= 1
    path.write_bytes(content)


def content(folder: Path) -> dict[Path, bytes]:
    """Of all files but those that SQLite makes and removes while it reads."""
    files = (path for path in folder.rglob("*") if path.suffix in (".sqlite3", ".safetensors"))
    return {path: path.read_bytes() for path in files}


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "segments").iterdir(), key=lambda path: path.stat().st_size)


def test_nothing_is_wrong(folder: Path) -> None:
    before = content(folder)
    report = Collection.verify(folder)
    assert (report.ok, report.documents, report.segments, report.problems) == (True, 21, 3, ())
    assert content(folder) == before


@pytest.mark.parametrize("version", [2, 3])
def test_older_formats(tmp_path: Path, version: int) -> None:
    old = shutil.copytree(OLD / f"format_{version}" / "collection", tmp_path / "전")
    assert Collection.verify(old).ok
    Collection.upgrade(old)
    assert Collection.verify(str(old)).ok


def test_everything_that_is_wrong_is_found_at_once(folder: Path) -> None:
    small, middle, _ = segments(folder)
    flip(folder / FILE, "13번 창구")
    flip(folder / FILE, "17번 창구")
    small.write_bytes(small.read_bytes()[:-1])
    content = bytearray(middle.read_bytes())
    content[-1] ^= 1
    middle.write_bytes(content)
    report = Collection.verify(folder)
    assert not report.ok
    assert (report.documents, report.segments) == (21, 1)
    named = {
        name for name in ("창구 13", "창구 17", small.name, middle.name) for p in report.problems if name in str(p)
    }
    assert len(named) == len(report.problems) == 4
    assert all(isinstance(problem, IndexStateError) and len(problem.args) == 2 for problem in report.problems)
    assert all(str(folder) in message for problem in report.problems for message in problem.args)


def test_documents_that_no_search_finds(folder: Path) -> None:
    run(folder, "DELETE FROM segments WHERE name = ?", segments(folder)[0].name)
    (problem,) = Collection.verify(folder).problems
    assert "segments = 0" in str(problem)
    assert "창구 9" in str(problem) or "방송" in str(problem)


def test_documents_that_are_found_twice(folder: Path) -> None:
    path = segments(folder)[0]
    copy = path.with_name(f"{'a0' * 16}.safetensors")
    shutil.copy(path, copy)
    insert = "INSERT INTO segments SELECT ?, size, checksum, rows FROM segments WHERE name = ?"
    run(folder, insert, copy.name, path.name)
    (problem,) = Collection.verify(folder).problems
    assert "segments > 1" in str(problem)


def test_keys_that_would_be_given_again(folder: Path) -> None:
    run(folder, "UPDATE sqlite_sequence SET seq = 3")
    (problem,) = Collection.verify(folder).problems
    assert "sqlite_sequence" in str(problem)


def test_damaged_pages_and_indexes(folder: Path) -> None:
    content = bytearray((folder / FILE).read_bytes())
    places = [at for at in range(len(content)) if content.startswith("창구 11".encode(), at)]
    content[max(places)] ^= 1  # in the index
    (folder / FILE).write_bytes(content)
    with pytest.raises(IndexStateError, match="index"):
        Collection.open(folder, encoders=ENCODERS, bm25=True)
    report = Collection.verify(folder)
    assert any("index" in str(problem) for problem in report.problems)
    assert report.documents == 21


@pytest.mark.parametrize("leg", ["dense", "colbert", "sparse", "bm25"])
def test_arrays_that_no_codec_makes(folder: Path, leg: str) -> None:
    """With the right checksum, as somebody who writes such a file would give it."""
    path = segments(folder)[-1]
    store = SegmentFolder(folder / "segments")
    connection = sqlite3.connect(folder / FILE)
    connection.row_factory = sqlite3.Row
    (row,) = connection.execute("SELECT * FROM segments WHERE name = ?", (path.name,)).fetchall()
    connection.close()
    segment = store.read(SegmentInfo(row["name"], row["size"], row["checksum"], row["rows"]))
    arrays = dict(segment.legs[leg].arrays)
    name = {"dense": "vectors", "colbert": "offsets", "sparse": "rows", "bm25": "starts"}[leg]
    arrays[name] = arrays[name].copy()
    arrays[name][..., -1] = np.inf if leg == "dense" else 60_000
    written = store.write(Segment(segment.keys, {**segment.legs, leg: LegArrays(arrays, segment.legs[leg].codec)}))
    shutil.move(folder / "segments" / written.name, path)
    update = "UPDATE segments SET size = ?, checksum = ? WHERE name = ?"
    run(folder, update, written.size, written.checksum, path.name)
    (problem,) = Collection.verify(folder).problems
    assert isinstance(problem, SegmentError)
    assert f"'{leg}'" in str(problem)
    with Collection.open(folder, encoders=ENCODERS, bm25=True) as collection:
        with contextlib.suppress(SegmentError):  # when it is read, or where it leads is known to be wrong
            assert all(math.isfinite(hit.score) for hit in collection.search("창구"))
        with pytest.raises(SegmentError, match=f"'{leg}'"):  # nothing damaged is vouched for
            collection.compact()
        assert len(collection.get()) == 21


def test_settings_that_are_damaged(folder: Path) -> None:
    run(folder, "UPDATE settings SET value = json_remove(value, '$.dense.fingerprint.dim') WHERE name = 'legs'")
    (problem,) = Collection.verify(folder).problems
    assert "'dense'" in str(problem)


def test_what_is_no_collection(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(IndexStateError, match="no collection"):
        Collection.verify(tmp_path / "없음")
    (tmp_path / "글.txt").write_text("글")
    with pytest.raises(ForeignFolderError):
        Collection.verify(tmp_path)
    run(folder, "PRAGMA user_version = 99")
    with pytest.raises(FormatVersionError):
        Collection.verify(folder)


@pytest.mark.parametrize("path", ["", "a\0b", 3])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Collection.verify(path)
    assert_bilingual(caught.value, "path=")


def test_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder.parent))
    assert Collection.verify(f"~/{folder.name}").documents == 21


def test_merges_meanwhile_are_no_problem(folder: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        with Collection.open(folder, encoders=ENCODERS, bm25=True) as collection:
            while not stop.is_set():
                collection.add(["새 글이다."], ids=["새것"])
                collection.compact()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        reports = [Collection.verify(folder) for _ in range(20)]
    finally:
        stop.set()
        thread.join()
    assert [report.problems for report in reports] == [()] * 20


def test_the_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(folder)]) == 0
    assert "21" in capsys.readouterr().out
    flip(folder / FILE, "13번 창구")
    assert main(["verify", str(folder)]) == 2
    output = capsys.readouterr()
    assert "창구 13" in output.out
    assert "1" in output.err


def test_commits_that_were_lost(folder: Path) -> None:
    """An older database beside newer segments is whole, and not what was written last."""
    older = (folder / FILE).read_bytes()
    with Collection.open(folder, encoders=ENCODERS, bm25=True) as collection:
        collection.add(["막 적은 글."], ids=["새것"])
    (folder / FILE).write_bytes(older)
    (problem,) = Collection.verify(folder).problems
    with pytest.raises(IndexStateError) as caught:
        Collection.open(folder, encoders=ENCODERS, bm25=True)
    assert str(caught.value) == str(problem)
