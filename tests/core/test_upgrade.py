"""Collections of older releases: opened as they are, recorded anew by the first write, rewritten by `upgrade`."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from older_models import load_older

from korag import Collection
from korag.collection.local import database as database_module
from korag.collection.local.database import FORMAT_VERSION, Database
from korag.collection.local.manifest import read_manifest
from korag.collection.local.segment_stores import SegmentFolder
from korag.collection.local.segments import CodecVersion
from korag.encoders.pretrained import PretrainedEncoder
from korag.errors import (
    CollectionLockedError,
    ForeignFolderError,
    FormatVersionError,
    IndexStateError,
    ReadOnlyError,
    SegmentError,
)

OLD = Path(__file__).parents[1] / "collections" / "format_2"
EXPECTED = json.loads((OLD / "expected.json").read_text("utf-8"))
FILE = "korag.sqlite3"


@functools.cache
def encoders() -> list[Any]:
    """Loaded once, and each query is encoded once."""
    return [load_older(name) for name in ("mini-colbert", "mini-splade", "mini-dense")]


def reopen(folder: Path) -> Collection:
    return Collection.open(folder, encoders=encoders())


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of a collection made by KoRAG 0.1.0."""
    return Path(shutil.copytree(OLD / "collection", tmp_path / "법 규정"))


def reopen_dense(folder: Path) -> Collection:
    return Collection.open(folder, encoders=encoders()[2:])


def check_answers(collection: Collection, *, expected: dict[str, Any] = EXPECTED) -> None:
    """Compares documents and answers with those of the KoRAG that made it."""
    assert [[document.id, document.text, document.metadata] for document in collection.get()] == expected["documents"]
    for using, answers in expected["answers"].items():
        settings: dict[str, Any] = {"where": expected["where"]} if using == "where" else {"using": using}
        settings["fusion"] = "rrf"  # the only fusion there was by default
        for query, hits in answers.items():
            found = collection.search(query, k=expected["k"], **settings)
            assert [hit.id for hit in found] == [id_ for id_, *_ in hits]
            assert [hit.score for hit in found] == pytest.approx([score for _, score, _ in hits], abs=1e-6)
            if using in collection.legs:  # that of a hybrid search has another meaning since
                relevances = [relevance for *_, relevance in hits]
                assert [hit.relevance for hit in found] == pytest.approx(relevances, abs=1e-6)


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".sqlite3-shm")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.stat().st_size}


def versions(folder: Path) -> list[dict[str, CodecVersion | None]]:
    """The codecs that each segment names."""
    database = Database(folder / FILE)
    store = SegmentFolder(folder / "segments")
    named = [{leg: own.codec for leg, own in store.read(info).legs.items()} for info in database.segments()]
    database.close()
    return named


def format_of(folder: Path) -> int:
    connection = sqlite3.connect(folder / FILE)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


CURRENT = {
    "colbert": CodecVersion("float16", 2),
    "sparse": CodecVersion("postings", 2),
    "dense": CodecVersion("float32", 2),
    "bm25": CodecVersion("postings", 2),
}


def test_an_old_collection_is_opened_as_it_is(old: Path) -> None:
    before = content(old)
    with reopen(old) as collection:
        assert collection.legs == ("colbert", "sparse", "dense", "bm25")
        check_answers(collection)
    assert content(old) == before
    assert format_of(old) == 2
    assert versions(old) == [dict.fromkeys(CURRENT)] * 3


@pytest.mark.parametrize(("version", "reopen"), [(2, reopen), (3, reopen_dense)])
def test_an_old_collection_keeps_its_vectors_when_metadata_changes(
    tmp_path: Path, version: int, reopen: Callable[[Path], Collection]
) -> None:
    folder = shutil.copytree(OLD.with_name(f"format_{version}") / "collection", tmp_path / "법 규정")
    expected = json.loads((OLD.with_name(f"format_{version}") / "expected.json").read_text("utf-8"))
    with reopen(folder) as collection:
        stored = collection.get()
        names = [path.name for path in (folder / "segments").iterdir()]
        collection.add([d.text for d in stored], ids=[d.id for d in stored], metadata=[d.metadata for d in stored])
        assert Database(folder / FILE).version() == version  # nothing to write
        collection.update_metadata([stored[0].id], {"확인": "했음"})
        assert Database(folder / FILE).version() == FORMAT_VERSION
        assert collection.ids({"확인": "했음"}) == [stored[0].id]
        assert [hit.id for hit in collection.search(stored[0].text, where={"확인": "했음"})] == [stored[0].id]
        collection.add([stored[0].text], ids=[stored[0].id], metadata=[stored[0].metadata])
        check_answers(collection, expected=expected)
        assert [path.name for path in (folder / "segments").iterdir()] == names
    assert Collection.verify(folder).ok


def test_an_old_collection_in_a_read_only_folder(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(old)
    monkeypatch.setattr(database_module, "is_read_only", lambda _: True)
    with reopen(old) as collection:
        check_answers(collection)
        with pytest.raises(ReadOnlyError):
            collection.delete(["보증금"])
        check_answers(collection)
    with pytest.raises(ReadOnlyError):
        Collection.upgrade(old)
    assert content(old) == before


def refuse_to_encode(monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(*_: object, **__: object) -> None:
        raise AssertionError("a text is encoded")

    def load(*_: object, **__: object) -> None:
        raise AssertionError("a model is loaded")

    for name in ("encode_documents", "encode_queries"):
        monkeypatch.setattr(PretrainedEncoder, name, encode)
    monkeypatch.setattr("korag.collection.local.stored_models.load_encoder", load)
    monkeypatch.setattr("korag.analysis.tokenizers.BigramTokenizer.__call__", encode)


def test_upgrade_rewrites_everything_and_encodes_nothing(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        refuse_to_encode(patch)
        assert Collection.upgrade(old) == 3
    assert format_of(old) == FORMAT_VERSION
    assert versions(old) == [CURRENT] * 3
    assert len(list((old / "segments").iterdir())) == 3
    with reopen(old) as collection:
        check_answers(collection)
    before = content(old)
    with monkeypatch.context() as patch:
        refuse_to_encode(patch)
        assert Collection.upgrade(str(old)) == 0
        patch.setattr(database_module, "is_read_only", lambda _: True)
        assert Collection.upgrade(old) == 0  # there is nothing to write
    assert content(old) == before
    with reopen(old) as collection:
        collection.add(["새 글"], ids=["새것"])
        collection.delete(["새것"])
        collection.compact()
        check_answers(collection)
    assert versions(old) == [CURRENT]


def test_the_first_write_records_the_manifest_and_leaves_old_segments(old: Path) -> None:
    kept = {path.name: path.read_bytes() for path in (old / "segments").iterdir()}
    with reopen(old) as collection, reopen(old) as other:
        collection.add(["새로운 글입니다"], ids=["새것"])
        assert format_of(old) == FORMAT_VERSION
        found = versions(old)
        assert [found.count(expected) for expected in (dict.fromkeys(CURRENT), CURRENT)] == [3, 1]
        assert kept.items() <= {path.name: path.read_bytes() for path in (old / "segments").iterdir()}.items()
        collection.delete(["새것"])
        check_answers(collection)
        check_answers(other)
        other.delete(["없는 것"])  # it was opened in the old format, and finds the new one
        check_answers(other)
    manifest, is_current = read_manifest(Database(old / FILE))
    assert is_current
    assert {leg: CodecVersion.from_dict(entry["codec"]) for leg, entry in manifest.items()} == CURRENT
    assert manifest["bm25"]["settings"] == {"tokenizer": "bigram"}
    with reopen(old) as collection:
        check_answers(collection)
    assert Collection.upgrade(old) == 3
    with reopen(old) as collection:
        check_answers(collection)


def test_a_write_that_fails_leaves_the_old_format(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with reopen(old) as collection:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
            with pytest.raises(OSError, match="No space"):
                collection.add(["글"], ids=["새것"])
        assert format_of(old) == 2
        check_answers(collection)
        collection.delete([])
        assert format_of(old) == FORMAT_VERSION


def test_an_upgrade_that_fails_leaves_the_old_collection(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(old)
    with monkeypatch.context() as patch:
        written = 0
        write = SegmentFolder.write

        def fails_at_the_second(self: SegmentFolder, segment: Any) -> Any:
            nonlocal written
            written += 1
            if written == 2:
                raise OSError(28, "No space left on device")
            return write(self, segment)

        patch.setattr(SegmentFolder, "write", fails_at_the_second)
        with pytest.raises(OSError, match="No space"):
            Collection.upgrade(old)
    assert before.items() <= content(old).items()
    with reopen(old) as collection:
        check_answers(collection)
    assert Collection.upgrade(old) == 3
    assert len(list((old / "segments").iterdir())) == 3


def test_a_copy_of_an_old_collection_is_new(old: Path, tmp_path: Path) -> None:
    before = content(old)
    with reopen(old) as collection:
        copied = collection.save(tmp_path / "사본")
    assert content(old) == before
    assert format_of(copied) == FORMAT_VERSION
    assert versions(copied) == [CURRENT] * 3
    with reopen(copied) as collection:
        check_answers(collection)


def test_searches_go_on_during_an_upgrade(old: Path) -> None:
    with reopen(old) as collection:
        check_answers(collection)
        Collection.upgrade(old)  # also removes the files that the open collection has mapped
        check_answers(collection)
        collection.add(["새 글"], ids=["새것"])
        collection.delete(["새것"])
        check_answers(collection)


def test_a_segment_is_in_memory_at_a_time(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each segment is written before the next one is read."""
    calls = []
    read, write = SegmentFolder.read, SegmentFolder.write
    monkeypatch.setattr(SegmentFolder, "read", lambda self, info: calls.append("read") or read(self, info))
    monkeypatch.setattr(SegmentFolder, "write", lambda self, segment: calls.append("write") or write(self, segment))
    Collection.upgrade(old)
    assert calls == ["read", "write"] * 3


# -- format 3, which no release wrote ---------------------------------------------------------------------


FORMAT_3 = Path(__file__).parents[1] / "collections" / "format_3"


@pytest.fixture
def format_3(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FORMAT_3 / "collection", tmp_path / "형식 3"))


def checksums(folder: Path) -> list[int | None]:
    connection = sqlite3.connect(folder / FILE)
    stored = [row[0] for row in connection.execute("SELECT checksum FROM documents ORDER BY key")]
    connection.close()
    return stored


def collection_id(folder: Path) -> str:
    connection = sqlite3.connect(folder / FILE)
    (row,) = connection.execute("SELECT value FROM settings WHERE name = 'collection_id'").fetchall()
    connection.close()
    return str(json.loads(row[0]))


def test_format_3_is_read_as_it_is_and_becomes_current_with_the_first_write(format_3: Path, tmp_path: Path) -> None:
    expected = json.loads((FORMAT_3 / "expected.json").read_text("utf-8"))
    before = content(format_3)
    with reopen_dense(format_3) as collection, reopen_dense(format_3) as other:
        check_answers(collection, expected=expected)
        assert content(format_3) == before
        copied = collection.save(tmp_path / "사본")
        collection.add(["새로 적은 글"], ids=["새것"])
        assert format_of(format_3) == FORMAT_VERSION
        assert [value is None for value in checksums(format_3)] == [True] * 4 + [False]
        collection.delete(["새것"])
        check_answers(collection, expected=expected)
        check_answers(other, expected=expected)  # which was opened in the old format
    assert Collection.upgrade(format_3) == 2  # the codec of its segments has a newer version
    assert Collection.upgrade(format_3) == 0
    for folder in (format_3, copied):
        assert None not in checksums(folder)
        with reopen_dense(folder) as collection:
            check_answers(collection, expected=expected)
    before = content(format_3)
    assert Collection.upgrade(format_3) == 0
    assert content(format_3) == before


def test_ids_of_an_older_korag_are_the_same_in_every_form_after_the_first_write(format_3: Path) -> None:
    mixed = "도서관"[:1] + unicodedata.normalize("NFD", "서관")
    with contextlib.closing(sqlite3.connect(format_3 / FILE)) as connection:
        connection.execute("UPDATE documents SET id = ? WHERE id = '도서관'", (mixed,))
        connection.commit()
    with reopen_dense(format_3) as collection:
        count = len(collection)
        collection.add(["도서관은 월요일에 쉽니다."], ids=["도서관"])
        assert len(collection) == count
        assert [document.text for document in collection.get([mixed])] == ["도서관은 월요일에 쉽니다."]


def test_the_form_of_an_id_that_is_another_id_is_damage(tmp_path: Path) -> None:
    """Otherwise deleting one document would delete another."""
    with Collection.open(tmp_path / "색인", bm25=True) as collection:
        collection.add(["하나", "둘"], ids=["가", "나"])
    with contextlib.closing(sqlite3.connect(tmp_path / "색인" / FILE)) as connection:
        connection.execute("""INSERT INTO settings VALUES ('id:가', '["나"]')""")
        connection.commit()
    with Collection.open(tmp_path / "색인") as collection, pytest.raises(IndexStateError, match="id:가"):
        collection.delete(["가"])
    (problem,) = Collection.verify(tmp_path / "색인").problems
    assert "id:가" in str(problem)


def test_every_collection_has_an_id_of_its_own(tmp_path: Path, format_3: Path) -> None:
    with Collection.in_memory(bm25=True) as memory:
        memory.add(["비가 오는 날에는 전을 부칩니다."], ids=["비"])
        folders = [memory.save(tmp_path / name) for name in ("하나", "둘")]
        with copy.deepcopy(memory) as other:
            folders.append(other.save(tmp_path / "셋"))
    with Collection.open(folders[0]) as collection:
        folders.append(collection.save(tmp_path / "넷"))
        first = collection_id(folders[0])
        collection.add(["눈이 옵니다."])
        assert collection_id(folders[0]) == first
    Collection.upgrade(format_3)
    ids = [collection_id(folder) for folder in (*folders, format_3)]
    assert len(set(ids)) == len(ids)
    assert all(len(id_) == 32 for id_ in ids)


def test_keys_are_never_used_twice(tmp_path: Path) -> None:
    """Not even those of the last documents: segments may still have rows of them."""
    with Collection.open(tmp_path / "색인", bm25=True) as collection:
        for number in range(3):
            collection.add([f"글 {number}", f"글 {number} 다음"], ids=["가", "나"])
            collection.delete(["나"])
    connection = sqlite3.connect(tmp_path / "색인" / FILE)
    assert connection.execute("SELECT key FROM documents").fetchall() == [(5,)]
    assert connection.execute("SELECT seq FROM sqlite_sequence").fetchall() == [(6,)]
    connection.close()


# -- refusing ---------------------------------------------------------------------------------------------


def set_format(folder: Path, version: int) -> None:
    connection = sqlite3.connect(folder / FILE)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


@pytest.mark.parametrize(
    ("damage", "error", "reason"),
    [
        (lambda place: shutil.rmtree(place), IndexStateError, "no collection"),
        (lambda place: (shutil.rmtree(place), place.mkdir()), IndexStateError, "no collection"),
        (lambda place: (place / FILE).unlink(), IndexStateError, "database 'korag.sqlite3' is missing"),
        (lambda place: (shutil.rmtree(place), place.write_text("글")), ForeignFolderError, "is not a KoRAG collection"),
        (lambda place: (place / FILE).write_bytes(b"garbage" * 1000), ForeignFolderError, "not a KoRAG"),
        (lambda place: set_format(place, 99), FormatVersionError, "newer KoRAG"),
        (lambda place: set_format(place, 1), FormatVersionError, "old format 1"),
        (lambda place: next((place / "segments").iterdir()).unlink(), SegmentError, "missing"),
        (lambda place: os.truncate(next((place / "segments").iterdir()), 100), SegmentError, "bytes instead of"),
    ],
    ids=["gone", "empty", "no database", "file", "garbage", "newer", "format 1", "segment missing", "segment cut"],
)
def test_what_cannot_be_upgraded_is_left_alone(
    old: Path, damage: Callable[[Path], object], error: type[Exception], reason: str
) -> None:
    damage(old)
    before = content(old) if old.is_dir() else None
    with pytest.raises(error, match=reason) as caught:
        Collection.upgrade(old)
    assert len(caught.value.args) == 2
    if before is not None:
        after = content(old)
        assert before.items() <= after.items()  # a segment written before the error is removed by the next write
        assert after.keys() - before.keys() <= {name for name in after if name.endswith(".safetensors")}


def test_a_file_of_nothing_is_no_collection(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    with pytest.raises(IndexStateError, match="no collection"):
        Collection.upgrade(tmp_path)


def test_an_upgrade_waits_for_other_writers(old: Path) -> None:
    connection = sqlite3.connect(old / FILE, isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(CollectionLockedError, match=r"0\.1"):
        Collection.upgrade(old, timeout=0.1)
    timer = threading.Timer(0.3, lambda: connection.execute("COMMIT"))
    timer.start()
    assert Collection.upgrade(old, timeout=20) == 3
    timer.join()
    connection.close()


def test_an_upgrade_that_is_committed_does_not_fail(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process begins to write right after the commit; the next write removes the old files instead."""
    connection = sqlite3.connect(old / FILE, isolation_level=None)
    transaction = Database.transaction

    @contextlib.contextmanager
    def then_locked(self: Database) -> Iterator[contextlib.ExitStack]:
        with transaction(self) as undo:
            yield undo
        connection.execute("BEGIN IMMEDIATE")

    with monkeypatch.context() as patch:
        patch.setattr(Database, "transaction", then_locked)
        assert Collection.upgrade(old, timeout=0.1) == 3
    connection.close()
    assert versions(old) == [CURRENT] * 3
    with reopen(old) as collection:
        collection.delete([])
        check_answers(collection)
    assert len(list((old / "segments").iterdir())) == 3


# -- kills ------------------------------------------------------------------------------------------------


@pytest.mark.kill
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the writer is forked")
def test_an_upgrade_killed_at_any_step_leaves_the_same_answers(tmp_path: Path) -> None:
    """SIGKILL before and after every SQL statement, flush, rename and removal."""
    script = Path(__file__).parents[1] / "kill_writer.py"
    command = [sys.executable, str(script), "--upgrade", str(OLD / "collection"), "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout)
    assert counts["kills"] > 30
    folders = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
    assert len(folders) == counts["kills"] + 1
    formats = [format_of(folder) for folder in folders]
    assert formats == sorted(formats)
    assert set(formats) == {2, FORMAT_VERSION}
    checked: set[int] = set()
    for folder, version in zip(folders, formats, strict=True):
        found = versions(folder)  # reads and verifies every segment
        assert found == [dict.fromkeys(CURRENT) if version == 2 else CURRENT] * 3
        if version not in checked or folder is folders[-1]:
            with reopen(folder) as collection:
                check_answers(collection)
            checked.add(version)
        assert Collection.upgrade(folder) == (3 if version == 2 else 0)
        assert versions(folder) == [CURRENT] * 3
        left = {path.name for path in (folder / "segments").iterdir()}
        if version == 2:  # an upgrade that writes removes what the killed one left
            assert len(left) == 3
    for folder in (folders[0], folders[len(folders) // 2]):
        with reopen(folder) as collection:
            collection.delete([])  # as any write does
            assert len(list((folder / "segments").iterdir())) == 3
            check_answers(collection)
