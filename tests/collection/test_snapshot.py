"""Snapshots: which rows are live, what a filter leaves, and which segments are merged."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from korag.collection.documents import StoredDocument
from korag.collection.local import tables as tables_module
from korag.collection.local.database import Database
from korag.collection.local.merging import TIER, choose_merge, merge_segments
from korag.collection.local.segment_stores import SegmentFolder, SegmentMemory
from korag.collection.local.segments import LegArrays, Segment
from korag.collection.local.snapshot import FILTERS, FilteredRows, SnapshotReader
from korag.errors import SegmentError
from korag.filters import parse, to_sql
from korag.legs.dense import DenseLeg, Float32Codec
from korag.testing import FakeDenseEncoder

CODECS = {"dense": Float32Codec()}
LEGS = {"dense": DenseLeg(FakeDenseEncoder(), Float32Codec())}


class Store:
    """A database and its segments: what a snapshot is read from."""

    def __init__(self) -> None:
        self.database = Database(None)
        self.database.create({"legs": {}})
        self.segments = SegmentMemory()
        self.reader = SnapshotReader(self.database, self.segments, CODECS)

    def add(self, *ids: str, **metadata: Any) -> None:
        """Adds a segment with a vector per document; the vector is the document's key."""
        with self.database.transaction():
            keys = self.database.upsert([StoredDocument(id_, id_, metadata) for id_ in ids])
            vectors = np.stack([keys, keys], axis=1).astype(np.float32)
            info = self.segments.write(Segment(keys, {"dense": LegArrays.encode(CODECS["dense"], vectors, len(ids))}))
            self.database.replace_segments([], [info])

    def delete(self, *ids: str) -> None:
        with self.database.transaction():
            self.database.delete(self.database.keys_of(ids))

    def keys(self, where: dict[str, Any] | None = None) -> list[int]:
        """Of the documents found, ascending; segments come in no particular order."""
        return sorted(self.select(None if where is None else to_sql(parse(where))).keys.tolist())

    def select(self, condition: tuple[str, list[object]] | None) -> FilteredRows:
        """Of the current snapshot."""
        with self.reader.reading() as snapshot:
            return snapshot.select(condition, self.database)


def test_only_rows_of_documents_that_exist_are_live() -> None:
    store = Store()
    store.add("가", "나", "다")
    store.add("나", "라")  # replaces 나
    store.delete("다")
    first, second = sorted(store.reader.read().readers, key=lambda reader: int(reader.keys[0]))
    assert (first.live.tolist(), second.live.tolist()) == ([0], [0, 1])
    assert store.keys() == [1, 4, 5]
    rows = first.legs["dense"]
    assert rows.arrays["vectors"][rows.rows].tolist() == [[1, 1]]


def test_a_snapshot_is_kept_while_nothing_changes_and_stays_as_it_was() -> None:
    store = Store()
    store.add("가", "나")
    before = store.reader.read()
    assert store.reader.read() is before
    store.delete("가")
    after = store.reader.read()
    assert after is not before
    assert [reader.live.tolist() for reader in before.readers] == [[0, 1]]
    assert [reader.live.tolist() for reader in after.readers] == [[1]]
    assert after.readers[0].segment is before.readers[0].segment  # segments are never read twice


@pytest.mark.parametrize("limits", [{}, {"_CHANGES": 3}, {"_CHANGED": 1}], ids=["all", "few generations", "few keys"])
def test_a_snapshot_brought_up_to_date_is_one_read_anew(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(tables_module, name, limit)
    for seed in range(30):
        rng, store = random.Random(seed), Store()
        for _ in range(20):
            for _ in range(rng.randint(1, 4)):
                if rng.random() < 0.7:
                    store.add(*rng.sample("가나다라마바사", rng.randint(1, 4)))
                else:
                    store.delete(*rng.sample("가나다라마바사", rng.randint(0, 4)))
            anew = SnapshotReader(store.database, store.segments, CODECS).read()
            assert [(r.info, r.live.tolist()) for r in store.reader.read().readers] == [
                (r.info, r.live.tolist()) for r in anew.readers
            ]


def test_only_what_has_changed_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    store.add(*(str(number) for number in range(50)))
    before = store.reader.read().readers[0]
    read: list[int] = []
    keys = Database.keys
    monkeypatch.setattr(Database, "keys", lambda *a, **k: read.append(len(found := keys(*a, **k))) or found)
    store.add("3", "새")
    store.delete("7")
    after = next(reader for reader in store.reader.read().readers if reader.info == before.info)
    assert after.live.tolist() == [n for n in range(50) if n not in (3, 7)]
    assert before.live.tolist() == list(range(50))
    assert max(read) <= 2


def test_filters_are_cached_until_something_changes() -> None:
    store = Store()
    store.add("가", "나", 분류="주거")
    store.add("다", 분류="노무")
    condition = to_sql(parse({"분류": "주거"}))
    found = store.select(condition)
    assert found.keys.tolist() == [1, 2]
    assert [piece.rows.tolist() for piece in found.slices("dense")] == [[0, 1]]
    assert store.select(condition) is found
    store.delete("가")
    assert store.select(condition).keys.tolist() == [2]


def test_the_cache_of_filters_is_bounded_and_drops_the_least_recent() -> None:
    store = Store()
    store.add("가", 번호=0)
    conditions = [to_sql(parse({"번호": number})) for number in range(FILTERS + 1)]
    first, second, *_ = (store.select(condition) for condition in conditions[:FILTERS])
    assert store.select(conditions[0]) is first  # used again, so the second is now the least recent
    store.select(conditions[FILTERS])
    assert store.select(conditions[0]) is first
    assert store.select(conditions[1]) is not second


def test_threads_that_filter_and_write_see_whole_snapshots() -> None:
    store, stop, errors = Store(), threading.Event(), []
    store.add("고정", 분류="주거")

    def search() -> None:
        try:
            while not stop.is_set():
                assert store.keys({"분류": "주거"})[0] == 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(60):
        store.add(f"새 {number}", 분류="주거")
        store.delete(f"새 {number}")
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_segment_that_is_named_but_gone_is_an_error(tmp_path: Path) -> None:
    database, folder = Database(tmp_path / "korag.sqlite3"), SegmentFolder(tmp_path / "segments")
    database.create({"legs": {}})
    with database.transaction():
        keys = database.upsert([StoredDocument("가", "가")])
        arrays = LegArrays.encode(CODECS["dense"], np.ones((1, 2), np.float32), 1)
        info = folder.write(Segment(keys, {"dense": arrays}))
        database.replace_segments([], [info])
    (tmp_path / "segments" / info.name).unlink()
    with pytest.raises(SegmentError, match="missing"):
        SnapshotReader(database, folder, CODECS).read()
    database.close()


@pytest.mark.parametrize("size", [1, 3])
def test_a_full_tier_of_small_segments_is_merged(size: int) -> None:
    store = Store()
    for number in range(TIER - 1):
        store.add(*(f"{number}-{index}" for index in range(size)))
    assert choose_merge(store.reader.read()) == []
    store.add(*(f"끝-{index}" for index in range(size)))
    chosen = choose_merge(store.reader.read())
    assert len(chosen) == TIER
    (merged,) = merge_segments(chosen[::-1], LEGS)
    assert merged.keys.tolist() == list(range(1, TIER * size + 1))
    assert merged.legs["dense"].arrays["vectors"][:, 0].tolist() == merged.keys.tolist()


def test_segments_that_are_mostly_dead_are_merged_without_their_dead_rows() -> None:
    store = Store()
    store.add("가", "나", "다")
    store.add("라")
    assert choose_merge(store.reader.read()) == []
    store.delete("가", "나")
    chosen = choose_merge(store.reader.read())
    assert [reader.keys.tolist() for reader in chosen] == [[1, 2, 3]]
    (merged,) = merge_segments(chosen, LEGS)
    assert merged.keys.tolist() == [3]
    store.delete("다")
    assert list(merge_segments(choose_merge(store.reader.read()), LEGS)) == []
