"""Links and files of other kinds in a collection's folder: nothing outside is read, changed or removed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from korag import Collection
from korag.errors import IndexStateError, SegmentError

FILE = "korag.sqlite3"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with Collection.open(tmp_path / "색인", bm25=True) as collection:
        collection.add(["눈이 오면 골목부터 쓴다.", "비가 오면 창문을 닫는다."], ids=["눈", "비"])
    return tmp_path / "색인"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Somebody's folder, with names like those of segments."""
    (tmp_path / "남의 폴더").mkdir()
    for name in ("model.safetensors", f"{'ab' * 16}.safetensors", f"{'cd' * 16}.tmp", "끝나지 않은 글.tmp"):
        (tmp_path / "남의 폴더" / name).write_bytes(b"\0" * 100)
    return tmp_path / "남의 폴더"


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def segment(folder: Path) -> Path:
    (path,) = (folder / "segments").iterdir()
    return path


def refused(folder: Path, error: type[Exception] = IndexStateError) -> None:
    """Whatever reads or writes segments is refused, by an error in two languages."""

    def use(work: Callable[[Collection], object]) -> None:
        with Collection.open(folder, bm25=True) as collection:
            work(collection)

    for work in (lambda c: c.search("눈"), lambda c: c.add(["글"]), lambda c: c.delete(["눈"]), lambda c: c.compact()):
        with pytest.raises(error) as caught:
            use(work)
        assert len(caught.value.args) == 2
    with pytest.raises(error):
        Collection.upgrade(folder)


def test_a_folder_of_segments_that_is_a_link(folder: Path, elsewhere: Path) -> None:
    shutil.rmtree(folder / "segments")
    (folder / "segments").symlink_to(elsewhere)
    before = everything(elsewhere)
    refused(folder)
    assert everything(elsewhere) == before


def test_a_link_to_nowhere_is_not_followed(folder: Path, elsewhere: Path) -> None:
    with Collection.open(folder, bm25=True) as collection:
        collection.delete(["눈", "비"])
        collection.compact()
    shutil.rmtree(folder / "segments")
    (folder / "segments").symlink_to(elsewhere / "새 폴더")
    with Collection.open(folder, bm25=True) as collection, pytest.raises(IndexStateError, match="link"):
        collection.add(["새 글"])
    assert not (elsewhere / "새 폴더").exists()


@pytest.mark.parametrize("name", [FILE, f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-journal"])
def test_a_database_that_is_a_link(folder: Path, elsewhere: Path, name: str) -> None:
    if name == FILE:
        shutil.move(folder / FILE, elsewhere / FILE)
        (folder / FILE).symlink_to(elsewhere / FILE)
    else:
        (folder / name).symlink_to(elsewhere / "model.safetensors")
    before = everything(elsewhere)
    refused(folder)
    assert everything(elsewhere) == before


def test_a_segment_that_is_a_link(folder: Path, elsewhere: Path) -> None:
    path = segment(folder)
    shutil.move(path, elsewhere / path.name)
    path.symlink_to(elsewhere / path.name)
    before = everything(elsewhere)
    with pytest.raises(SegmentError), Collection.open(folder, bm25=True) as collection:
        collection.search("눈")
    assert everything(elsewhere) == before


def test_links_among_the_segments_are_left_alone(folder: Path, elsewhere: Path) -> None:
    link = folder / "segments" / f"{'12' * 16}.safetensors"
    link.symlink_to(elsewhere / "model.safetensors")
    before = everything(elsewhere)
    with Collection.open(folder, bm25=True) as collection:
        collection.delete(["눈"])
    assert everything(elsewhere) == before
    assert link.is_symlink()


@pytest.mark.parametrize("name", ["../{}", "{}/../../남의 폴더/model.safetensors", "/etc/passwd", "", ".", "segment"])
def test_a_name_that_leads_out_of_the_folder(folder: Path, elsewhere: Path, name: str) -> None:
    path = segment(folder)
    shutil.copy(path, folder / path.name)
    connection = sqlite3.connect(folder / FILE)
    with connection:
        connection.execute("UPDATE segments SET name = ?", (name.format(path.name),))
    connection.close()
    before = everything(elsewhere)
    with pytest.raises(SegmentError), Collection.open(folder, bm25=True) as collection:
        collection.search("눈")
    assert everything(elsewhere) == before


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize("name", [FILE, f"{FILE}-wal", "segment"])
def test_a_file_of_another_kind_is_refused_and_nothing_waits_for_it(folder: Path, kind: str, name: str) -> None:
    path = segment(folder) if name == "segment" else folder / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        try:
            os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5))  # as /dev/zero
        except PermissionError:
            pytest.skip("only root makes devices")
    else:
        path.mkdir()
    script = f"""
from korag import Collection
from korag.errors import IndexStateError
try:
    with Collection.open({str(folder)!r}, bm25=True) as collection:
        collection.search("눈")
except IndexStateError as error:
    print("refused", len(error.args))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "refused 2\n", done.stderr
