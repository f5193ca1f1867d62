"""A collection in a folder: reopening, refusing other models, sharing, merging, copying."""

from __future__ import annotations

import contextlib
import copy
import gc
import hashlib
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from korag import Collection, load_encoder
from korag.collection.local import database as database_module
from korag.collection.local import merging as merging_module
from korag.collection.local.opening import open_saved
from korag.collection.local.segment_stores import SegmentFolder
from korag.collection.local.segments import Segment
from korag.collection.local.snapshot import SnapshotReader
from korag.errors import (
    CollectionLockedError,
    FingerprintError,
    ForeignFolderError,
    FormatVersionError,
    IndexStateError,
    InvalidArgumentError,
    InvalidTextError,
    ReadOnlyError,
    SegmentError,
)
from korag.legs.sparse import PostingsCodec
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder
from korag.testing.encoders import FakeEncoder

TEXTS = [f"제{n}조 보증금 {topic}" for n, topic in enumerate(["환불", "도서관 휴관", "연차 휴가", "김치찌개", "점검"])]
IDS = [f"문서{n}" for n in range(len(TEXTS))]
METADATA = [{"번호": n} for n in range(len(TEXTS))]
QUERIES = ["보증금 환불", "도서관 휴관", "제3조", "점검"]
FILE = "korag.sqlite3"


def legs() -> dict[str, Any]:
    return {"encoders": [FakeDenseEncoder(), FakeMultiVectorEncoder(dim=8)], "bm25": True}


def fill(folder: Path, **arguments: Any) -> Path:
    with Collection.open(folder, **(legs() | arguments)) as collection:
        collection.add(TEXTS, ids=IDS, metadata=METADATA)
    return folder


def results(collection: Collection, **arguments: Any) -> list[Any]:
    """The results of all legs, with exact scores."""
    return [collection.search_many(QUERIES, using=using, **arguments) for using in (*collection.legs, "hybrid")]


def digest(folder: Path) -> dict[str, str]:
    """Names and contents of all files but SQLite's shared-memory index, which readers use too."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".sqlite3-shm" and (path.suffix != ".sqlite3-wal" or path.stat().st_size)
    }


def by_spaces(text: str) -> list[str]:
    return text.split()


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "segments").iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "법 규정 #1?")  # characters a URI would read otherwise


# -- reopening --------------------------------------------------------------------------------------------


def test_a_reopened_collection_is_the_same(tmp_path: Path) -> None:
    memory = Collection.in_memory(**legs())
    memory.add(TEXTS, ids=IDS, metadata=METADATA)
    with Collection.open(tmp_path / "a" / "b", **legs()) as new:
        new.add(TEXTS, ids=IDS, metadata=METADATA)
        found, documents = results(new), new.get()
    with Collection.open(str(tmp_path / "a" / "b"), **legs()) as again:
        assert results(again) == found == results(memory)
        assert again.get() == documents == memory.get()
        assert len(again) == len(TEXTS)
        assert again.path == tmp_path / "a" / "b"
    (segment,) = segments(tmp_path / "a" / "b")
    assert digest(tmp_path / "a" / "b").keys() == {FILE, "korag.committed", f"segments/{segment.name}"}


@pytest.mark.slow
def test_a_collection_knows_its_encoders(tmp_path: Path) -> None:
    with Collection.open(tmp_path, encoders=["mini-colbert", "mini-dense"], bm25=True) as new:
        new.add(TEXTS, ids=IDS)
        found = results(new)
    with Collection.open(tmp_path) as again:
        assert again.legs == ("colbert", "dense", "bm25")
        assert results(again) == found
    with Collection.open(tmp_path, encoders=["mini-dense"], bm25=True) as again:
        assert again.legs == ("colbert", "dense", "bm25")


def test_without_the_model_the_error_says_where_to_give_it(folder: Path) -> None:
    before = digest(folder)
    with pytest.raises(IndexStateError, match=r"(?s)fake-dense.*encoders=\['"):
        Collection.open(folder)
    assert digest(folder) == before


def test_the_working_directory_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Collection.open("law", **legs()) as collection:
        monkeypatch.chdir("/")
        collection.add(TEXTS, ids=IDS)
        assert len(collection.search("보증금", using="dense")) == len(TEXTS)
    assert (tmp_path / "law" / "segments").exists()
    assert not Path("/segments").exists()


def test_a_closed_collection_says_so(folder: Path) -> None:
    collection = Collection.open(folder, **legs())
    collection.close()
    collection.close()
    calls = (lambda: collection.search("환불"), lambda: len(collection), lambda: collection.add(["글"]), collection.get)
    for call in calls:
        with pytest.raises(IndexStateError, match="closed"):
            call()


def test_a_wrong_argument_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError):
        Collection.open(tmp_path / "new")
    with pytest.raises(InvalidArgumentError):
        Collection.open(tmp_path / "new", bm25=True, tokenizer="없는 것")
    assert not (tmp_path / "new").exists()


def test_a_process_killed_before_the_tables_were_made_leaves_a_new_collection(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    with Collection.open(tmp_path, **legs()) as collection:
        assert len(collection) == 0


def test_a_folder_that_another_makes_just_then_is_no_foreign_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, is_dir = tmp_path / "새", Path.is_dir

    def made_after(path: Path) -> bool:
        found = is_dir(path)
        if path == folder:
            folder.mkdir(exist_ok=True)
        return found

    monkeypatch.setattr(Path, "is_dir", made_after)
    with Collection.open(folder, **legs()) as collection:
        assert len(collection) == 0


def test_many_may_make_the_same_new_collection(tmp_path: Path) -> None:
    for attempt in range(5):
        errors: list[BaseException] = []
        barrier = threading.Barrier(6)

        def make(n: int, place: Path = tmp_path / str(attempt), barrier: Any = barrier, errors: Any = errors) -> None:
            try:
                barrier.wait()
                with Collection.open(place, **legs()) as collection:
                    collection.add([f"글 {n}"], ids=[str(n)])
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=make, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        with Collection.open(tmp_path / str(attempt), **legs()) as collection:
            assert sorted(document.id for document in collection.get()) == [str(n) for n in range(6)]


# -- refusing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"encoders": [FakeDenseEncoder(dim=32)]}, "dim"),
        ({"encoders": [FakeDenseEncoder(query_prompt="query: ")]}, "query_prompt"),
        ({"encoders": [FakeDenseEncoder(seed=2)]}, "weights"),
        ({"encoders": [FakeDenseEncoder(), FakeMultiVectorEncoder(dim=4)]}, "dim"),
        ({"bm25": False}, "bm25=False"),
        ({"tokenizer": by_spaces}, "tokenizer='bigram'"),
    ],
)
def test_other_encoders_are_refused_by_name(folder: Path, arguments: dict[str, Any], named: str) -> None:
    before = digest(folder)
    with pytest.raises(FingerprintError, match=named):
        Collection.open(folder, **(legs() | arguments))
    assert digest(folder) == before


def test_real_encoders_are_refused_by_name(tmp_path: Path) -> None:
    Collection.open(tmp_path, encoders=["mini-colbert"]).close()
    colbert = load_encoder("mini-colbert")
    for encoder, named in (
        (load_encoder("mini-colbert", dim=min(colbert.dims)), "dim"),  # type: ignore[union-attr]
        (load_encoder("mini-colbert", query_prompt="다른 것"), "query_prompt"),
        (load_encoder("mini-dense"), "'dense'"),
    ):
        with pytest.raises(FingerprintError, match=named):
            Collection.open(tmp_path, encoders=[encoder])
    with pytest.raises(FingerprintError, match="bm25=True"):
        Collection.open(tmp_path, bm25=True)


def other_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.execute("INSERT INTO theirs VALUES (1)")
    connection.commit()
    connection.close()


def other_format(path: Path, version: int) -> None:
    fill(path.parent)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda place: (place / "내 글.txt").write_text("중요"), ForeignFolderError),
        (lambda place: (place / "segments").mkdir(), ForeignFolderError),
        (lambda place: (place / "다른 것.sqlite3").touch(), ForeignFolderError),
        (lambda place: (place / FILE).write_bytes(b"garbage" * 1000), ForeignFolderError),
        (lambda place: (place / FILE).write_bytes(b"\0" * 4096), ForeignFolderError),
        (lambda place: (place / FILE).write_text("SQLite"), ForeignFolderError),
        (lambda place: other_database(place / FILE), ForeignFolderError),
        (lambda place: other_format(place / FILE, 99), FormatVersionError),
        (lambda place: other_format(place / FILE, 1), FormatVersionError),
    ],
    ids=[
        "file",
        "folder",
        "database by another name",
        "garbage",
        "zeros",
        "short",
        "another program's",
        "newer",
        "older",
    ],
)
def test_what_is_not_ours_is_refused_and_left_alone(
    tmp_path: Path, make: Callable[[Path], object], error: type[Exception]
) -> None:
    make(tmp_path)
    before = digest(tmp_path)
    for arguments in (legs(), {}, {"bm25": True}):
        with pytest.raises((error, InvalidArgumentError) if not arguments else error):
            Collection.open(tmp_path, **arguments)
        assert digest(tmp_path) == before


def test_what_systems_leave_in_any_folder_is_nobody_s(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    (tmp_path / "lost+found").mkdir()
    with pytest.raises(IndexStateError, match="There is no collection"):
        open_saved(tmp_path, encoders=legs()["encoders"], made_by="…")
    with Collection.open(tmp_path, **legs()) as collection:
        collection.add(["도서관은 월요일에 쉰다."])
    assert (tmp_path / ".DS_Store").exists()


def test_a_file_in_the_folder_s_place(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("중요")
    with pytest.raises(ForeignFolderError, match="x"):
        Collection.open(tmp_path / "x", **legs())
    assert (tmp_path / "x").read_text() == "중요"


def test_a_damaged_database_is_not_called_somebody_else_s(folder: Path) -> None:
    path = folder / FILE
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)  # all pages but the first, which says whose it is
    path.write_bytes(content)
    before = digest(folder)
    with pytest.raises(IndexStateError, match="damaged") as caught:
        Collection.open(folder, **legs())
    assert not isinstance(caught.value, ForeignFolderError)
    path.write_bytes(content[:5000])  # cut short
    with pytest.raises(IndexStateError, match=r"damaged|cannot be read"):
        Collection.open(folder, **legs())
    path.write_bytes(content)
    assert digest(folder) == before


# -- damaged segments -------------------------------------------------------------------------------------


def refused(folder: Path, reason: str) -> None:
    """Reading and adding are refused with a clear error; nothing is changed or lost; deleting and getting work."""
    before = digest(folder)
    with Collection.open(folder, **legs()) as collection:
        for using in (*collection.legs, "hybrid"):
            with pytest.raises(SegmentError, match=reason):
                collection.search("보증금", using=using)
        for change in (lambda: collection.add(["글"], ids=["새것"]), collection.compact):
            with pytest.raises(SegmentError, match=reason):
                change()
        assert [document.id for document in collection.get()] == IDS
    assert digest(folder) == before


def test_a_missing_segment(folder: Path) -> None:
    segments(folder)[0].unlink()
    refused(folder, "missing")


@pytest.mark.parametrize("left", [0, 7, 8, 100, -1])
def test_a_truncated_segment(folder: Path, left: int) -> None:
    (path,) = segments(folder)
    path.write_bytes(path.read_bytes()[:left])
    refused(folder, "bytes instead of")


def test_a_segment_that_grew(folder: Path) -> None:
    (path,) = segments(folder)
    path.write_bytes(path.read_bytes() + b"\0")
    refused(folder, "bytes instead of")


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("shared"))


@given(st.integers(0, 10**6), st.integers(0, 7))
@example(0, 0)
@example(8, 3)
@example(55_834, 0)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_is_noticed(shared_folder: Path, place: int, bit: int) -> None:
    (path,) = segments(shared_folder)
    whole = path.read_bytes()
    with Collection.open(shared_folder, **legs()) as collection:
        right = {using: collection.search("보증금", using=using) for using in (*collection.legs, "hybrid")}
    flipped = bytearray(whole)
    flipped[place % len(whole)] ^= 1 << bit
    path.write_bytes(flipped)
    try:
        with Collection.open(shared_folder, **legs()) as collection:
            for using in (*collection.legs, "hybrid"):
                with contextlib.suppress(SegmentError):  # or the damage is where this search does not look
                    assert collection.search("보증금", using=using) == right[using]
        assert "checksum" in str(Collection.verify(shared_folder).problems)
    finally:
        path.write_bytes(whole)
    with Collection.open(shared_folder, **legs()) as collection:
        assert len(collection.search("보증금", using="dense")) == len(TEXTS)


# -- read-only folders ------------------------------------------------------------------------------------


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulates a user without write permission; tests may run as root."""
    monkeypatch.setattr(database_module, "is_read_only", lambda _: True)


def test_a_read_only_folder_can_be_read(folder: Path, request: pytest.FixtureRequest) -> None:
    with Collection.open(folder, **legs()) as collection:
        found = results(collection)
    before = digest(folder)
    request.getfixturevalue("read_only")
    with Collection.open(folder, **legs()) as collection:
        assert results(collection) == found
        assert results(collection, where={"번호": {"$gte": 0}}) == found
        assert [document.id for document in collection.get()] == IDS
        for change in (
            lambda: collection.add(["글"]),
            lambda: collection.delete(IDS),
            collection.compact,
        ):
            with pytest.raises(ReadOnlyError, match="permissions"):
                change()
        assert results(copy.deepcopy(collection)) == found
    assert digest(folder) == before
    assert not list(folder.glob("*-wal"))


def test_a_read_only_folder_that_a_killed_process_left(folder: Path, request: pytest.FixtureRequest) -> None:
    """Its last commits are in the write-ahead log only, which `immutable` would ignore."""
    code = (
        "import os, sys; sys.path[:0] = sys.argv[2:]\n"
        "from test_collection_disk import *\n"
        "collection = Collection.open(sys.argv[1], **legs())\n"
        "collection.add(['나중 글'], ids=['나중'])\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, folder, str(Path(__file__).parent), *sys.path], check=True)
    assert (folder / f"{FILE}-wal").stat().st_size
    before = digest(folder)
    request.getfixturevalue("read_only")
    with Collection.open(folder, **legs()) as collection:
        assert [hit.id for hit in collection.search("나중", using="bm25")] == ["나중"]
        with pytest.raises(ReadOnlyError):
            collection.delete(["나중"])
    assert digest(folder) == before


def test_a_new_collection_in_a_read_only_folder(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database_module, "is_read_only", lambda _: True)
        with pytest.raises(ReadOnlyError):
            Collection.open(tmp_path, **legs())


# -- concurrency -----------------------------------------------------------------------------------------

OTHER_PROCESS = """
import sys; sys.path[:0] = sys.argv[2:]
from test_collection_disk import *
collection = Collection.open(sys.argv[1], **legs())
def say(*words): print(*words, flush=True)
say("ready")
for line in sys.stdin:
    eval(line)
"""


class Other:
    """Another process with the collection open."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OTHER_PROCESS, folder, str(Path(__file__).parent), *sys.path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.hear() == "ready"

    def tell(self, expression: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __enter__(self) -> Other:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=30)


@pytest.mark.slow
def test_a_second_process_reads_what_a_writer_commits_and_waits_to_write(folder: Path) -> None:
    with Other(folder) as other, Collection.open(folder, timeout=0.2, **legs()) as collection:
        other.tell("say(len(collection), *[h.id for h in collection.search('새로운', using='bm25')])")
        assert other.hear() == "5"
        collection.add(["새로운 글"], ids=["새것"])
        other.tell("say(len(collection), *[h.id for h in collection.search('새로운', using='bm25')])")
        assert other.hear() == "6 새것"
        other.tell("say(*[h.id for h in collection.search('새로운 글', k=1, using='colbert')])")
        assert other.hear() == "새것"
        collection.delete(["새것"])
        collection.compact()  # takes away the files that the other has mapped
        other.tell("say(len(collection), len(collection.search('보증금', using='dense')))")
        assert other.hear() == "5 5"
        # now the other writes, for half a second
        other.tell("(exec('with collection._writer.writing():\\n say(1); time.sleep(.6)'), say('over'))")
        assert other.hear() == "1"
        started = time.monotonic()
        with pytest.raises(CollectionLockedError, match=r"0\.2"):
            collection.add(["글"], ids=["늦은"])
        assert time.monotonic() - started < 0.55
        assert len(collection.search("보증금", using="dense")) == 5  # reading goes on
        collection._database._connection.execute("PRAGMA busy_timeout = 20000")
        collection.add(["글"], ids=["기다린"])
        assert other.hear() == "over"
        other.tell("say(len(collection))")
        assert other.hear() == "6"


def test_many_who_open_the_log_at_once_are_no_raw_error(folder: Path) -> None:
    error = sqlite3.OperationalError("locking protocol")
    error.sqlite_errorcode = sqlite3.SQLITE_PROTOCOL
    with (
        Collection.open(folder, **legs()) as collection,
        pytest.raises(CollectionLockedError, match="try again"),
        collection._database._translated(),
    ):
        raise error


def test_a_merge_that_cannot_start_does_not_undo_an_add(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(*_: object) -> None:
        raise CollectionLockedError("잠김", "locked")

    monkeypatch.setattr(merging_module, "TIER", 2)
    with Collection.open(folder, **legs()) as collection:
        monkeypatch.setattr(merging_module.Merger, "_merge", locked)
        assert collection.add(["새로운 글"], ids=["새것"]) == ["새것"]
        assert [hit.id for hit in collection.search("새로운", using="bm25")] == ["새것"]
        assert len(segments(folder)) == 2


@pytest.mark.parametrize("on_disk", [True, False], ids=["disk", "memory"])
def test_threads_search_while_others_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: bool) -> None:
    monkeypatch.setattr(merging_module, "TIER", 3)
    collection = Collection.open(tmp_path / "x", **legs()) if on_disk else Collection.in_memory(**legs())
    fixed = [f"f{n}" for n in range(20)]
    collection.add([f"고정 글 {id_}" for id_ in fixed], ids=fixed, metadata=[{"고정": True}] * 20)
    errors: list[BaseException] = []
    stop = threading.Event()
    searches = 0

    def search(using: str) -> None:
        nonlocal searches
        n = 0
        try:
            while not stop.is_set():
                n = (n + 1) % 20
                where = {"고정": True} if n % 2 else None
                hits = collection.search(f"f{n} 글", k=30, using=using, where=where)
                for hit in hits:
                    assert hit.text == (f"고정 글 {hit.id}" if hit.id[0] == "f" else f"변하는 글 {hit.id}")
                assert len({hit.id for hit in hits}) == len(hits)
                if using == "bm25":
                    assert hits[0].id == f"f{n}"
                searches += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search, args=(using,)) for using in ("dense", "bm25")]
    for thread in threads:
        thread.start()
    try:
        for n in range(25):
            ids = [f"v{n % 7}n{i}" for i in range(5)]
            collection.add([f"변하는 글 {id_}" for id_ in ids], ids=ids)
            if n % 3 == 0:
                collection.delete([f"v{n % 7}n{i}" for i in range(3)])
            if n % 6 == 0:
                collection.compact()
                copy.deepcopy(collection).search("글")
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []
    assert searches > 0
    collection.close()


# -- merging ----------------------------------------------------------------------------------------------


def test_many_small_adds_are_one_large_add(tmp_path: Path) -> None:
    texts = [f"{TEXTS[n % 5]} 낱말{n % 13}" for n in range(60)]
    ids = [str(n) for n in range(60)]
    once = Collection.in_memory(**legs())
    once.add(texts, ids=ids)
    with Collection.open(tmp_path, **legs()) as collection:
        for text, id_ in zip(texts, ids, strict=True):
            collection.add([text], ids=[id_])
            assert len(collection._database.segments()) <= 2 * 16
        assert len(segments(tmp_path)) == len(collection._database.segments()) <= 16
        assert results(collection, k=60) == results(once, k=60)
        collection.compact()
        assert len(segments(tmp_path)) == 1
        assert results(collection, k=60) == results(once, k=60)
    with Collection.open(tmp_path, **legs()) as collection:
        assert results(collection, k=60) == results(once, k=60)


def test_large_segments_are_not_rewritten_for_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two segments above half the maximum size do not fit into one, so merging them would never change anything."""
    with Collection.open(tmp_path, **legs()) as collection:
        for n in range(6):
            collection.add([f"글 {n} {i}" for i in range(50)])
        monkeypatch.setattr(merging_module, "TIER", 4)
        before = digest(tmp_path / "segments")
        largest = max(info.size for info in collection._database.segments())
        monkeypatch.setattr(merging_module, "MERGED_BYTES", int(1.6 * largest))
        for n in range(40):
            collection.add([f"작은 글 {n}"])
        assert before.items() <= digest(tmp_path / "segments").items()
        infos = collection._database.segments()
        assert sum(info.rows for info in infos) == len(collection) == 340
        assert len(infos) <= 6 + 8
        assert max(info.size for info in infos) <= 1.6 * largest


def test_compaction_drops_dead_rows(folder: Path) -> None:
    with Collection.open(folder, **legs()) as collection:
        collection.add([TEXTS[0] + " 고침"], ids=[IDS[0]])
        collection.delete(IDS[3:])
        found = results(collection)
        assert sum(info.rows for info in collection._database.segments()) == 6
        size = sum(path.stat().st_size for path in segments(folder))
        collection.compact()
        assert [info.rows for info in collection._database.segments()] == [3]
        assert len(segments(folder)) == 1
        assert segments(folder)[0].stat().st_size < size
        assert results(collection) == found
        collection.delete(where={})
        collection.compact()
        assert segments(folder) == []
        assert results(collection) == [[[]] * len(QUERIES)] * 4


def test_mostly_dead_segments_are_rewritten_by_the_next_add(folder: Path) -> None:
    with Collection.open(folder, **legs()) as collection:
        collection.delete(IDS[1:])
        collection.add(["새 글"], ids=["새것"])
        assert sum(info.rows for info in collection._database.segments()) == 2


def test_an_add_that_is_only_empty_needs_no_segment(tmp_path: Path) -> None:
    with Collection.open(tmp_path, **legs()) as collection:
        collection.add(["", " "], ids=["a", "b"])
        assert collection._database.segments() == []
        collection.compact()
        assert len(collection) == 2


def test_a_batch_is_committed_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("korag.collection.adding.COMMIT_DOCUMENTS", 2)
    with Collection.open(tmp_path, **legs()) as collection:
        encode, calls = FakeEncoder.encode_documents, []

        def failing_at_the_third(self: Any, texts: Any, **keywords: Any) -> Any:
            calls.append(texts)
            if len(calls) == 5:  # two encoders, two batches done
                raise RuntimeError("GPU")
            return encode(self, texts, **keywords)

        monkeypatch.setattr(FakeEncoder, "encode_documents", failing_at_the_third)
        with pytest.raises(RuntimeError, match="GPU"):
            collection.add(TEXTS, ids=IDS)
        assert [document.id for document in collection.get()] == IDS[:4]
        collection.add(TEXTS, ids=IDS)
        assert [document.id for document in collection.get()] == IDS
        assert len(collection.search("보증금", using="dense")) == 5


def test_files_of_a_killed_process_go_with_the_next_write(folder: Path) -> None:
    for name in (f"{'0123' * 8}.safetensors", f"{'4567' * 8}.tmp"):
        (folder / "segments" / name).write_bytes(b"half")
    others = {"README", "model.safetensors", "4567.tmp", f"{'0123' * 8}.safetensors.bak"}
    for name in others:
        (folder / "segments" / name).write_text("not ours")
    with Collection.open(folder, **legs()) as collection:
        collection.search("보증금")
        assert len(segments(folder)) == 7  # reading removes nothing
        (own,) = collection._database.segments()
        collection.delete(["없는 것"])
    assert {path.name for path in segments(folder)} == {own.name, *others}


def test_a_full_disk_leaves_the_previous_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Collection.open(folder, **legs()) as collection:
        found = results(collection)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(OSError, match="No space"):
                collection.add(["글"], ids=[IDS[0]])
        assert results(collection) == found
        collection.add(["글"], ids=["새것"])
        collection.compact()
        assert len(segments(folder)) == 1


def test_segments_are_flushed_with_the_folders_that_name_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []
    fsync = os.fsync

    def spy(handle: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{handle}").readlink().suffix or "folder")
        fsync(handle)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", spy)
    SegmentFolder(tmp_path / "segments").write(Segment(np.arange(3), {}))
    assert flushed == ["folder", ".tmp", "folder"]


def test_a_sparse_search_copies_no_postings() -> None:
    rng = np.random.default_rng(0)
    vectors = sp.random_array((5_000, 200), density=0.9, rng=rng, dtype=np.float32, format="csr")
    arrays = PostingsCodec().encode(vectors)
    query = sp.csr_array(np.ones((1, 200), np.float32))
    PostingsCodec().scores(arrays, query, np.arange(5_000))
    tracemalloc.start()
    PostingsCodec().scores(arrays, query, np.arange(5_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < arrays["weights"].nbytes / 10


# -- copies -----------------------------------------------------------------------------------------------


def pickled(collection: Collection) -> Any:
    return pickle.loads(pickle.dumps(collection))  # noqa: S301


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy])
def test_copies_of_a_collection_in_memory_are_its_own(copied: Callable[[Collection], Collection]) -> None:
    original, other = Collection.in_memory(**legs()), Collection.in_memory(**legs())
    for collection in (original, other):
        collection.add(TEXTS[:2], ids=IDS[:2], metadata=METADATA[:2])
        collection.add(TEXTS[2:], ids=IDS[2:], metadata=METADATA[2:])
    found = results(other)
    codecs = original._reader._codecs
    original._reader = SnapshotReader(original._database, original._segments, codecs)  # has read no segment yet
    twin = copied(original)
    assert results(twin) == found
    twin.delete(IDS[1:])
    twin.compact()
    twin.add(["새 글"], ids=["새것"])
    assert results(original) == found
    assert len(original) == 5
    original.delete(where={})
    original.compact()
    assert [hit.id for hit in twin.search("새 글", k=1)] == ["새것"]
    assert len(twin.search("보증금", using="dense")) == 2


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy])
def test_copies_of_a_collection_on_disk_share_the_folder(folder: Path, copied: Any) -> None:
    with Collection.open(folder, timeout=7.0, **legs()) as original, copied(original) as twin:
        assert results(twin) == results(original)
        assert twin._database.timeout == 7.0
        assert twin.path == original.path
        twin.add(["새 글"], ids=["새것"])
        assert [hit.id for hit in original.search("새 글", k=1, using="bm25")] == ["새것"]


def test_a_pickle_whose_folder_is_gone_or_changed(folder: Path, tmp_path: Path) -> None:
    with Collection.open(folder, **legs()) as collection:
        data = pickle.dumps(collection)
    assert len(data) < 5_000
    folder.rename(tmp_path / "moved")
    with pytest.raises(IndexStateError, match="gone"):
        pickle.loads(data)  # noqa: S301
    assert not folder.exists()
    fill(folder, encoders=[FakeDenseEncoder(dim=5)])
    with pytest.raises(FingerprintError):
        pickle.loads(data)  # noqa: S301


# -- filters that come again -------------------------------------------------------------------------------


def test_a_filter_seen_before_sees_what_changed_since(tmp_path: Path) -> None:
    with Collection.open(fill(tmp_path / "둘"), **legs()) as one, Collection.open(tmp_path / "둘", **legs()) as other:
        where = {"번호": {"$gte": 3}}
        assert {hit.id for hit in one.search(QUERIES[0], using="dense", where=where)} == {IDS[3], IDS[4]}
        other.add(["보증금 새 문서"], ids=["새"], metadata=[{"번호": 9}])
        assert {hit.id for hit in one.search(QUERIES[0], using="dense", where=where)} == {IDS[3], IDS[4], "새"}
        one.delete([IDS[3]])
        other.add([TEXTS[4]], ids=[IDS[4]], metadata=[{"번호": 0}])
        assert {hit.id for hit in one.search(QUERIES[0], using="dense", where=where)} == {"새"}


def test_filters_that_look_alike_are_not_taken_for_each_other(tmp_path: Path) -> None:
    with Collection.open(tmp_path / "셋", **legs()) as collection:
        values: list[Any] = [1, True, "1", 0, False, "", None, 1.5]
        collection.add(
            [f"글 {n}" for n in range(8)], ids=[str(n) for n in range(8)], metadata=[{"x": v} for v in values]
        )
        for _ in range(2):
            for number, value in enumerate(values):
                hits = collection.search("글", using="dense", where={"x": value})
                assert [hit.id for hit in hits] == [str(number)]
        for number in range(100):  # more than are remembered
            assert collection.search("글", using="dense", where={"x": 1000 + number}) == []


def test_segments_that_were_replaced_are_let_go(tmp_path: Path) -> None:
    """Searches cache filter results; that must not keep the files of old segments mapped."""
    with Collection.open(fill(tmp_path / "다섯"), **legs()) as collection:
        for where in (None, {"번호": 1}):
            collection.search(QUERIES[0], where=where)
        old = [weakref.ref(reader.segment.keys) for reader in collection._reader.read().readers]
        collection.add(["새 글"], ids=["새"], metadata=[{"번호": 9}])
        collection.compact()
        collection.add(["또 새 글"], ids=["또"], metadata=[{"번호": 9}])  # reads the collection, and searches nothing
        gc.collect()
        assert old
        assert [reference() for reference in old] == [None] * len(old)


def test_a_search_is_exact_or_not(tmp_path: Path) -> None:
    with Collection.open(fill(tmp_path / "넷"), **legs()) as collection:
        for wrong in (1, None, "no", 0.5):
            with pytest.raises(InvalidArgumentError, match="exact="):
                collection.search(QUERIES[0], exact=wrong)  # type: ignore[arg-type]
        assert results(collection, exact=False) == results(collection)  # so few are looked at all


def test_a_text_that_sqlite_cannot_store_is_an_error_before_any_work(monkeypatch):
    monkeypatch.setattr("korag.collection.documents.MAX_CHARACTERS", 1_000)
    with Collection.in_memory(bm25=True) as collection:
        with pytest.raises(InvalidTextError, match=r"(?s)texts\[1\].*1,001자.*1,001 characters; 1,000"):
            collection.add(["가", "나" * 1_001])
        assert len(collection) == 0
        collection.add(["나" * 1_000])
        assert len(collection.search("나" * 2_000)) == 1  # a query is not stored
