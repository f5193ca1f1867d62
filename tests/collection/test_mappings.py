"""Segments are mapped while something searches them, and no longer; a file cut off meanwhile is an error."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from korag import Collection
from korag.errors import IndexStateError
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder

pytestmark = pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")


def legs() -> dict[str, Any]:
    return {"encoders": [FakeDenseEncoder(), FakeSparseEncoder(), FakeMultiVectorEncoder()], "bm25": True}


def mapped(folder: Path) -> list[str]:
    """The files of a folder that this process maps or has open."""
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    handles = [str(handle.readlink()) for handle in Path("/proc/self/fd").iterdir() if handle.is_symlink()]
    return [entry for entry in (*maps, *handles) if str(folder) in entry]


def test_close_lets_go_of_every_file_though_encoders_live_on(tmp_path: Path) -> None:
    given = legs()
    collection = Collection.open(tmp_path / "가", **given)
    collection.add([f"제{number}조는 휴가를 준다." for number in range(9_000)])  # as many as are searched by threads
    hits = [collection.search("휴가를", using=using) for using in (*collection.legs, "hybrid")]
    hits.append(collection.search("휴가를", where={"없는 것": 1}))
    collection.diversify(hits[0], k=3)
    assert mapped(tmp_path)
    collection.close()
    assert mapped(tmp_path) == []
    with pytest.raises(IndexStateError, match="closed"):
        collection.search("휴가를")
    assert mapped(tmp_path) == []


def test_a_collection_that_is_dropped_lets_go_too(tmp_path: Path) -> None:
    collection = Collection.open(tmp_path / "가", **legs())
    collection.add(["제1조는 휴가를 준다."])
    collection.search("휴가를")
    assert mapped(tmp_path)
    del collection
    gc.collect()
    assert mapped(tmp_path) == []


@pytest.mark.parametrize("place", ["memory", "folder"])
def test_a_search_in_progress_while_it_is_closed(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "가"
    collection = Collection.open(folder, **legs()) if place == "folder" else Collection.in_memory(**legs())
    collection.add(["제1조는 휴가를 준다.", "제2조는 휴가를 더 준다."], ids=["1", "2"])
    closing = threading.Thread(target=collection.close)
    database = collection._database
    documents = database.documents

    def after_closing(keys: Any) -> Any:
        closing.start()
        closing.join(timeout=0.5)  # in memory, closing waits for the search
        return documents(keys)

    monkeypatch.setattr(database, "documents", after_closing)
    assert {hit.id for hit in collection.search("휴가를", using="dense")} == {"1", "2"}
    closing.join(timeout=60)
    assert not closing.is_alive()
    assert mapped(folder) == []
    with pytest.raises(IndexStateError, match="closed"):
        collection.search("휴가를")


CUT_OFF = """
import os, sys
from pathlib import Path
from korag import Collection
from korag.errors import SegmentError
from korag.testing import FakeDenseEncoder

folder = Path(sys.argv[1])
collection = Collection.open(folder, encoders=[FakeDenseEncoder()])
collection.add([f"제{number}조는 휴가를 준다." for number in range(500)])
collection.compact()  # one file
(found,) = collection.search("휴가를", k=1)
(file,) = (folder / "segments").iterdir()
whole = file.read_bytes()
for change in (lambda: os.truncate(file, 4096), lambda: os.truncate(file, 0)):
    change()
    for read in (lambda: collection.search("휴가를"), lambda: collection.add(["새 글"]), collection.compact):
        try:
            read()
        except SegmentError as error:
            assert str(file) in str(error), error
        else:
            raise AssertionError(read)
file.write_bytes(whole)
assert collection.search("휴가를", k=1) == [found]
"""


@pytest.mark.slow
def test_a_file_that_is_cut_off_while_it_is_mapped(tmp_path: Path) -> None:
    """In a process of its own, which the system would end."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", CUT_OFF, tmp_path / "가"], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
