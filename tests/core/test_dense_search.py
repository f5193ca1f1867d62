"""Dense search by codes, in a collection on disk that changes, finds what scoring every document finds."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from korag import Collection
from korag.errors import SegmentError
from korag.legs import dense, dense_search
from korag.testing import FakeDenseEncoder

WORDS = [
    "보증금",
    "반환",
    "임대차",
    "계약",
    "해지",
    "도서관",
    "휴관",
    "연체료",
    "연차",
    "휴가",
    "신청",
    "팀장",
    "환불",
    "규정",
]
QUERIES = ["임대차 보증금 반환", "연차 휴가를 신청하려면", "환불 규정", "다리를 고치는 일", "배송 지연"]
COUNT = 2_500


def _texts(seed: int, count: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(3, 9))) for _ in range(count)]


@pytest.fixture(params=["float32", "int8"])
def codec(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def by_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "CODES_FROM", 300)
    monkeypatch.setattr(dense_search, "MIN_CODED", 0)
    monkeypatch.setattr(dense_search, "MIN_DOCUMENTS", 0)


def _collections(folder: Path, codec: str) -> Iterator[Collection]:
    """The same documents on disk, in segments with and without codes, and in memory."""
    arguments: dict[str, Any] = {"encoders": [FakeDenseEncoder(dim=96)], "codecs": {"dense": codec}}
    for collection in (Collection.open(folder, **arguments), Collection.in_memory(**arguments)):
        for first, count in ((0, COUNT), (COUNT, 200)):
            ids = [str(number) for number in range(first, first + count)]
            metadata = [{"tenth": number % 10} for number in range(first, first + count)]
            collection.add(_texts(first, count), ids=ids, metadata=metadata)
        yield collection


def _found(collection: Collection, **settings: Any) -> list[list[tuple[str, float]]]:
    return [[(hit.id, hit.score) for hit in hits] for hits in collection.search_many(QUERIES, k=10, **settings)]


def _scored_all(collection: Collection, **settings: Any) -> list[list[tuple[str, float]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense_search, "MIN_CODED", 10**9)
        return _found(collection, **settings)


@pytest.mark.usefixtures("by_codes")
def test_a_collection_that_changes(tmp_path: Path, codec: str) -> None:
    disk, memory = _collections(tmp_path, codec)
    changes: list[Any] = [
        lambda own: None,
        lambda own: own.delete([str(number) for number in range(0, 2_000, 3)]),
        lambda own: own.add(_texts(9, 50), ids=[str(number) for number in range(1, 150, 3)]),
        lambda own: own.compact(),
    ]
    for change in changes:
        change(disk)
        change(memory)
        for where in (None, {"tenth": 3}, {"tenth": {"$in": [1, 2, 4, 5, 7]}}):
            expected = _scored_all(memory, where=where)
            assert _found(disk, where=where) == _found(memory, where=where) == expected
            pruned = _found(disk, where=where, exact=False)
            both = sum(len(set(one) & set(other)) for one, other in zip(pruned, expected, strict=True))
            assert both >= 0.95 * 10 * len(QUERIES)
    with Collection.open(tmp_path, encoders=[FakeDenseEncoder(dim=96)]) as again:
        assert _found(again) == _found(memory)
        assert Collection.verify(tmp_path).ok
    disk.close()
    memory.close()


@pytest.mark.usefixtures("by_codes")
@pytest.mark.parametrize("exact", [True, False])
def test_a_damaged_segment_is_an_error_when_it_is_searched(tmp_path: Path, codec: str, exact: bool) -> None:
    disk, memory = _collections(tmp_path, codec)
    memory.close()
    disk.close()
    largest = max((tmp_path / "segments").iterdir(), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    for place in range(4_096, len(content) - 4_096, 1_024):
        content[place] ^= 0xFF
    largest.write_bytes(content)
    with pytest.raises(SegmentError), Collection.open(tmp_path, encoders=[FakeDenseEncoder(dim=96)]) as again:
        _found(again, exact=exact)
