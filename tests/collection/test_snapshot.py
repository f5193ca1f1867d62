"""Snapshots: which rows are live, what a filter leaves, and which segments are merged."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from korag.collection.documents import StoredDocument
from korag.collection.local import changes as changes_module
from korag.collection.local import filtering as filtering_module
from korag.collection.local import merging as merging_module
from korag.collection.local.database import Database
from korag.collection.local.filtering import FILTERS, FilteredRows
from korag.collection.local.merging import TIER, choose_merge, merge_segments
from korag.collection.local.segment_readers import SegmentReader
from korag.collection.local.segment_stores import SegmentFolder, SegmentMemory
from korag.collection.local.segments import LegArrays, Segment
from korag.collection.local.snapshot import Snapshot, SnapshotReader
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

    def change(self, *ids: str, **metadata: Any) -> None:
        with self.database.transaction():
            found = self.database.intact(ids)
            self.database.rewrite((key, StoredDocument(old.id, old.text, metadata)) for key, old in found.values())

    def merge(self, rng: random.Random) -> None:
        """Merges some segments, as another process does whose snapshot is older than the last deletion."""
        readers = SnapshotReader(self.database, self.segments, CODECS).read().readers
        chosen = rng.sample(readers, rng.randint(1, len(readers))) if readers else []
        new = list(merge_segments(chosen, LEGS))
        if rng.random() < 0.5:
            self.delete(*rng.sample("가나다라마바사", 1))
            if rng.random() < 0.5:
                self.reader.read()
        self.replace(chosen, new)

    def replace(self, old: list[SegmentReader], new: list[Segment]) -> None:
        infos = [self.segments.write(segment) for segment in new]
        with self.database.transaction():
            self.database.replace_segments([reader.info for reader in old], infos)

    def keys(self, where: dict[str, Any] | None = None) -> list[int]:
        """Of the documents found, ascending; segments come in no particular order."""
        return sorted(self.select(where).keys.tolist())

    def select(self, where: dict[str, Any] | None, reader: SnapshotReader | None = None) -> FilteredRows:
        """Of the current snapshot."""
        with (reader or self.reader).reading() as snapshot:
            return snapshot.select(None if where is None else to_sql(parse(where)), self.database)


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


@pytest.mark.parametrize(
    "limits",
    [{}, {"ANEW": 0}, {"ANEW": 0, "GENERATIONS": 3}, {"ANEW": 0, "OF_ONE": 1}, {"ANEW": 0, "OF_ALL": 4}],
    ids=["all", "filters carried over", "few generations", "few keys", "few keys together"],
)
def test_a_snapshot_brought_up_to_date_is_one_read_anew(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    for name, limit in limits.items():
        monkeypatch.setattr(filtering_module if name == "ANEW" else changes_module, name, limit)
    for seed in range(30):
        rng, store = random.Random(seed), Store()
        late = SnapshotReader(store.database, store.segments, CODECS)  # of another process, which looks now and then
        for _ in range(20):
            for _ in range(rng.randint(1, 4)):
                act(store, rng)
            anew = SnapshotReader(store.database, store.segments, CODECS)
            for reader in (store.reader, late) if rng.random() < 0.3 else (store.reader,):
                assert rows_of(reader.read()) == rows_of(anew.read())
                for where in ({"홀수": True}, {"홀수": False}, None):
                    if rng.random() < 0.7:
                        found, expected = store.select(where, reader), store.select(where, anew)
                        assert found.keys.tolist() == expected.keys.tolist()
                        assert [s.rows.tolist() for s in found.slices("dense")] == [
                            s.rows.tolist() for s in expected.slices("dense")
                        ]


def rows_of(snapshot: Snapshot) -> list[Any]:
    return [(reader.info, reader.live.tolist()) for reader in snapshot.readers]


def act(store: Store, rng: random.Random) -> None:
    """Changes something."""
    ids, metadata = rng.sample("가나다라마바사", rng.randint(1, 4)), {"홀수": rng.random() < 0.5}
    match rng.choice(["add", "add", "add", "delete", "change", "merge"]):
        case "add":
            store.add(*ids, **metadata)
        case "delete":
            store.delete(*ids)
        case "change":
            store.change(*ids, **metadata)
        case _:
            store.merge(rng)


def test_a_filter_asks_again_only_for_what_is_new_or_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    store.add(*(str(number) for number in range(50)), 홀수=True)
    assert len(store.keys({"홀수": True})) == 50
    asked: list[list[int]] = []
    among = Database.keys_among
    monkeypatch.setattr(Database, "keys_among", lambda d, keys, *a: asked.append(keys.tolist()) or among(d, keys, *a))
    store.add("새", "새 둘", 홀수=True)
    store.change("3", "4", 홀수=False)
    store.delete("4", "5")
    left = [key for key in range(1, 53) if key not in (4, 5, 6)]
    assert store.keys({"홀수": True}) == left
    store.merge(random.Random(3))
    assert store.keys({"홀수": True}) == left
    assert asked == [[4, 51, 52]]


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
    condition = {"분류": "주거"}
    found = store.select(condition)
    assert found.keys.tolist() == [1, 2]
    assert [piece.rows.tolist() for piece in found.slices("dense")] == [[0, 1]]
    assert store.select(condition) is found
    store.delete("가")
    assert store.select(condition).keys.tolist() == [2]


def test_the_cache_of_filters_is_bounded_and_drops_the_least_recent() -> None:
    store = Store()
    store.add("가", 번호=0)
    conditions = [{"번호": number} for number in range(FILTERS + 1)]
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


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_merged_segments_are_bounded_and_their_number_stays_small(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(merging_module, "MERGED_DOCUMENTS", 16)
    monkeypatch.setattr(merging_module, "TIER", 4)
    store, merged = Store(), 0
    for first in range(0, 240, batch):
        store.add(*(str(number) for number in range(first, first + batch)))
        if chosen := choose_merge(store.reader.read()):
            new = list(merge_segments(chosen, LEGS))
            assert len(new) == 1  # so that a merge is bounded, however large the collection is
            merged += len(new[0].keys)
            store.replace(chosen, new)
    sizes = [len(reader.keys) for reader in store.reader.read().readers]
    assert max(sizes) <= 16
    assert len(sizes) <= 240 / 8 + 2 * 4  # more than half full, and what is left in two tiers
    assert merged <= 2 * 240  # each document once in each tier
    assert store.keys() == list(range(1, 241))


def test_a_segment_of_an_older_korag_that_is_too_large_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    store.add(*(str(number) for number in range(50)))
    store.add("끝")
    store.delete("3")
    monkeypatch.setattr(merging_module, "MERGED_DOCUMENTS", 16)
    new = list(merge_segments(store.reader.read().readers, LEGS))
    assert [len(segment.keys) for segment in new] == [16, 16, 16, 2]
    assert np.concatenate([segment.legs["dense"].arrays["vectors"][:, 0] for segment in new]).tolist() == store.keys()


def test_segments_that_are_mostly_dead_are_merged_one_segment_full_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging_module, "MERGED_DOCUMENTS", 16)
    store = Store()
    for first in range(0, 96, 12):
        store.add(*(str(number) for number in range(first, first + 12)))
    store.delete(*(str(number) for number in range(96) if number % 3))
    while chosen := choose_merge(store.reader.read()):
        assert sum(len(reader.live) for reader in chosen) <= 16
        store.replace(chosen, list(merge_segments(chosen, LEGS)))
    assert store.keys() == list(range(1, 97, 3))
    assert all(len(reader.live) == len(reader.keys) for reader in store.reader.read().readers)
