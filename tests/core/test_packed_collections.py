"""Collections of packed token vectors: the write that learns a codebook, and all that comes after it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_codebooks import learned_from

from korag import Collection
from korag.collection.adding import even_pace
from korag.collection.local import upgrade
from korag.collection.local.segment_stores import SegmentFolder
from korag.errors import IndexStateError
from korag.legs.multi_vector import candidates, packed_search
from korag.legs.multi_vector.packed import PACKED
from korag.testing import FakeMultiVectorEncoder

PLACES = ("도서관", "우체국", "수영장", "세탁소", "박물관", "체육관", "보건소", "주민센터", "어린이집", "경로당")
RULES = (
    "월요일에 쉽니다",
    "아홉 시에 엽니다",
    "예약해야 합니다",
    "무료로 씁니다",
    "신분증을 확인합니다",
    "주차장이 좁습니다",
)
TEXTS = [f"{place} {floor}층은 {rule}." for floor in range(1, 9) for place in PLACES for rule in RULES]
QUERIES = ["수영장 3층은 언제 쉽니까", "예약해야 하는 도서관", "어린이집 7층은 주차장이 좁습니다."]
FEW, ALL = 20, 200
"""Texts that are too few to learn from, and enough."""
LEARNED_FROM = 300
NAMES = [codec.name for codec in PACKED]


@pytest.fixture(autouse=True)
def small_codebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """And a list is one commit, so that a test knows what it was learned from."""
    monkeypatch.setattr("korag.collection.local.editing.pace_of", lambda _: even_pace())
    with learned_from(LEARNED_FROM):
        yield


def opened(folder: Path, codec: str | None = "1bit") -> Collection:
    return Collection.open(folder, encoders=[FakeMultiVectorEncoder(dim=24)], codec=codec)


def add(collection: Collection, start: int, end: int) -> None:
    collection.add(
        TEXTS[start:end],
        ids=[str(number) for number in range(start, end)],
        metadata=[{"even": number % 2 == 0} for number in range(start, end)],
    )


def answers(collection: Collection, k: int = 20, **options: Any) -> list[list[tuple[str, float]]]:
    found = collection.search_many(QUERIES, k=k, **options)
    return [[(hit.id, hit.score) for hit in hits] for hits in found]


def codebooks(folder: Path) -> set[str | None]:
    """The digests of what segments are coded with; and that the collection has recorded the same."""
    with contextlib.closing(sqlite3.connect(folder / "korag.sqlite3")) as connection:
        rows = connection.execute("SELECT value FROM settings WHERE name = 'learned:colbert'").fetchall()
    with Collection.open(folder, encoders=[FakeMultiVectorEncoder(dim=24)]) as collection:
        codec = collection._legs["colbert"].codec
        known = [codec.learned(reader.legs["colbert"].arrays) for reader in collection._reader.read().readers]
    digests = {None if own is None else own[0] for own in known}
    assert {value.strip('"') for (value,) in rows} == digests - {None}
    assert Collection.verify(folder).ok
    return digests


# -- learning ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_write_that_makes_enough_tokens_codes_all(tmp_path: Path, name: str) -> None:
    with opened(tmp_path / "색인", name) as collection:
        add(collection, 0, FEW)
        with Collection.in_memory(encoders=[FakeMultiVectorEncoder(dim=24)]) as exact:
            add(exact, 0, FEW)
            for own, other in zip(answers(collection), answers(exact), strict=True):  # in float16
                assert [id_ for id_, _ in own] == [id_ for id_, _ in other]
                assert [score for _, score in own] == pytest.approx([score for _, score in other], abs=1e-4)
        assert codebooks(tmp_path / "색인") == {None}
        add(collection, FEW, ALL)
        (digest,) = codebooks(tmp_path / "색인")
        assert digest is not None
        add(collection, ALL, ALL + 9)
        assert codebooks(tmp_path / "색인") == {digest}
        before = answers(collection)
        for number in (0, FEW, ALL):
            found = [hit.id for hit in collection.search(TEXTS[number], k=3)]
            assert str(number) in found
    with opened(tmp_path / "색인", None) as collection:
        assert answers(collection) == before
        collection.compact()
        assert answers(collection) == before
    assert codebooks(tmp_path / "색인") == {digest}


@pytest.mark.parametrize("first", [(0, FEW), (0, ALL)], ids=["few", "enough"])
@pytest.mark.parametrize("second", [(ALL, ALL + FEW), (ALL, 2 * ALL)], ids=["few", "enough"])
def test_two_that_write_at_once_learn_one_codebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: tuple[int, int], second: tuple[int, int]
) -> None:
    """The second one has encoded its documents when the first one commits what it has learned."""
    with opened(tmp_path) as collection, opened(tmp_path) as other:
        encode, calls = collection._editor._encode, []

        def encode_late(*arguments: Any) -> Any:
            encoded = encode(*arguments)
            if not calls:
                add(other, *first)
            calls.append(len(arguments[0]))
            return encoded

        monkeypatch.setattr(collection._editor, "_encode", encode_late)
        add(collection, *second)
        assert len(calls) == 1 + (first[1] == ALL)  # once more with what the other one has learned
        digests = codebooks(tmp_path)
        assert len(digests) == 1
        assert (digests == {None}) == (first[1] < ALL and second[1] < 2 * ALL)
        assert len(collection) == first[1] - first[0] + second[1] - second[0]
        assert answers(collection) == answers(other)


@pytest.mark.parametrize("compacts", [True, False])
def test_an_emptied_collection_is_filled_anew(tmp_path: Path, compacts: bool) -> None:
    with opened(tmp_path) as collection:
        add(collection, 0, ALL)
        (before,) = codebooks(tmp_path)
        collection.keep_only([])
        if compacts:
            collection.compact()
            assert codebooks_of_nothing(tmp_path)
        add(collection, ALL, ALL + FEW)
        assert codebooks(tmp_path) == ({None} if compacts else {before})
        add(collection, ALL + FEW, 2 * ALL)
        (after,) = codebooks(tmp_path)
        assert after is not None
        assert (after != before) == compacts
        assert len(answers(collection)[0]) == 20


def codebooks_of_nothing(folder: Path) -> bool:
    return not list((folder / "segments").iterdir())


def test_a_converting_write_that_fails_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as collection:
        for start in range(0, FEW, 5):
            add(collection, start, start + 5)
        before, files = answers(collection), sorted((tmp_path / "segments").iterdir())
        prepare, calls = SegmentFolder.prepare, []

        def full(self: SegmentFolder, segment: Any) -> Any:
            calls.append(segment)
            if len(calls) == 3:
                raise OSError(28, "No space left on device")
            return prepare(self, segment)

        with monkeypatch.context() as patch:
            patch.setattr(SegmentFolder, "prepare", full)
            with pytest.raises(OSError, match="No space"):
                add(collection, FEW, ALL)
        assert answers(collection) == before
        assert codebooks(tmp_path) == {None}
        assert sorted((tmp_path / "segments").iterdir()) == files
        add(collection, FEW, ALL)
        assert None not in codebooks(tmp_path)


# -- searching and changing -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["1bit", "2bit+vectors"])
def test_every_way_of_searching_gives_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for setting, value in {"RESCORED": 40, "RESCORED_EACH": 4, "PRUNED_FROM": 0}.items():
        monkeypatch.setattr(packed_search, setting, value)
    monkeypatch.setattr(candidates, "LEAST", 4)
    with opened(tmp_path, name) as collection:
        for start in range(0, 400, 100):
            add(collection, start, start + 100)
        whole = [dict(own) for own in answers(collection, k=1_000)]
        if name == "1bit":  # all documents have a score by their codes
            assert [len(own) for own in whole] == [400] * len(QUERIES)
        evens = answers(collection, k=5, where={"even": True})
        for scores, found, own in zip(whole, evens, answers(collection, k=5), strict=True):
            assert own == sorted(scores.items(), key=lambda item: (-item[1], int(item[0])))[:5]
            expected = [item for item in scores.items() if int(item[0]) % 2 == 0]
            assert found == sorted(expected, key=lambda item: (-item[1], int(item[0])))[:5]
        likely = answers(collection, k=5, exact=False)
        for scores, found in zip(whole, likely, strict=True):
            assert len(found) == 5
            assert all(scores[id_] == score for id_, score in found)
        gone = [id_ for id_, _ in evens[0]]
        collection.delete(gone)
        for _ in range(2):
            left = sorted(whole[0].items(), key=lambda item: (-item[1], int(item[0])))
            assert answers(collection, k=5)[0] == [item for item in left if item[0] not in gone][:5]
            collection.compact()


def test_equal_documents_tie_in_the_order_of_their_addition(tmp_path: Path) -> None:
    with opened(tmp_path) as collection:
        add(collection, 0, ALL)
        for copy in range(3):
            collection.add(
                [TEXTS[3], f"{TEXTS[3]} {copy}", ""], ids=[f"같은 글 {copy}", f"다른 글 {copy}", f"빈 글 {copy}"]
            )
        same: list[Any] = []
        for _ in range(2):
            hits = collection.search(TEXTS[3], k=len(collection) + 9)
            same = [hit for hit in hits if hit.text == TEXTS[3]]
            assert [hit.id for hit in same] == ["3", "같은 글 0", "같은 글 1", "같은 글 2"]
            assert len({hit.score for hit in same}) == 1
            assert len(hits) == ALL + 6
            collection.compact()
        score = same[0].score
        collection.add([TEXTS[3]], ids=["새 글"])
        collection.delete(["3"])
        collection.add([TEXTS[3]], ids=["3"])
        assert {hit.score for hit in collection.search(TEXTS[3], k=9) if hit.text == TEXTS[3]} == {score}


def test_windows(tmp_path: Path) -> None:
    """Documents of several windows are coded by the write that learns, merged, and found by the best of them."""

    def windowed() -> Collection:
        encoders = [FakeMultiVectorEncoder(dim=24)]
        return Collection.open(tmp_path, encoders=encoders, codec="1bit+vectors", window=16, stride=8)

    long = [" ".join(TEXTS[start : start + 7]) for start in range(0, 210, 7)]
    with windowed() as collection:
        collection.add(long[:4], ids=[str(number) for number in range(4)])
        collection.add(long[4:], ids=[str(number) for number in range(4, len(long))])
        before = [[(hit.id, hit.score, hit.span) for hit in collection.search(TEXTS[n], k=5)] for n in (0, 100)]
        for number, ((id_, _, span), *_) in zip((0, 100), before, strict=True):
            assert span is not None
            assert set(TEXTS[number].split()) <= set(long[int(id_)][slice(*span)].split())
        collection.compact()
        after = [[(hit.id, hit.score, hit.span) for hit in collection.search(TEXTS[n], k=5)] for n in (0, 100)]
        assert after == before
        (reader,) = collection._reader.read().readers
        assert "codes" in reader.legs["colbert"].arrays
    assert Collection.verify(tmp_path).ok


# -- upgrades and damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float16", "4bit+vectors"])
def test_an_upgrade_codes_what_is_there(tmp_path: Path, name: str) -> None:
    with opened(tmp_path / "전", name) as collection:
        for start in range(0, ALL, 100):
            add(collection, start, start + 100)
    with opened(tmp_path / "처음부터", "1bit") as collection:
        add(collection, 0, ALL)
        expected = answers(collection)
    assert Collection.upgrade(tmp_path / "전", codec="1bit", keep_vectors=False) == 2
    (digest,) = codebooks(tmp_path / "전")
    assert digest is not None
    with opened(tmp_path / "전", "1bit") as collection:
        for own, other in zip(answers(collection), expected, strict=True):
            assert own[0][0] == other[0][0]
            assert abs(own[0][1] - other[0][1]) < 0.05 * other[0][1]
        add(collection, ALL, ALL + 9)
    assert codebooks(tmp_path / "전") == {digest}
    with pytest.raises(IndexStateError, match="float16"):
        Collection.upgrade(tmp_path / "전", codec="float16")


def test_an_upgrade_of_few_tokens_learns_later(tmp_path: Path) -> None:
    with opened(tmp_path, "float16") as collection:
        add(collection, 0, FEW)
    Collection.upgrade(tmp_path, codec="2bit")
    assert codebooks(tmp_path) == {None}
    with opened(tmp_path, "2bit") as collection:
        add(collection, FEW, ALL)
    assert None not in codebooks(tmp_path)


def test_an_upgrade_learns_from_as_many_documents_as_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrade, "_LEARNED_FROM", 8)
    with opened(tmp_path, "float16") as collection:
        add(collection, 0, ALL)
    Collection.upgrade(tmp_path, codec="2bit")
    assert None not in codebooks(tmp_path)


def _damage(values: Any, kind: str) -> Any:
    bits = {"zeros": 0x00, "ones": 0xFF, "high": 0x7F}[kind]
    return np.full(values.nbytes, bits, np.uint8).view(values.dtype).reshape(values.shape)


@pytest.mark.parametrize("kind", ["zeros", "ones", "high"])
@pytest.mark.parametrize(
    "name",
    [
        "codes",
        "cells",
        "offsets",
        "centroids",
        "residual_centroids",
        "rotation",
        "entries",
        "codebook_digest",
        "tokens",
    ],
)
def test_damaged_arrays_are_errors_or_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    """Whoever wrote the file had the checksums fit; `verify` tells what no other array contradicts."""
    from korag.collection.local import segments
    from korag.errors import KoragError

    monkeypatch.setattr(segments.LegArrays, "encode", _unchecked(segments.LegArrays, name, kind))
    with opened(tmp_path, "2bit+vectors") as collection, contextlib.suppress(KoragError, ValueError):
        add(collection, 0, ALL)
    monkeypatch.undo()
    ok = Collection.verify(tmp_path).ok
    assert not ok or name in ("codes", "cells", "tokens")
    with contextlib.suppress(KoragError), opened(tmp_path, None) as collection:
        assert all(np.isfinite([score for _, score in own]).all() for own in answers(collection, exact=False))
        answers(collection, where={"even": True})


def _unchecked(kind_of_arrays: Any, name: str, kind: str) -> Callable[..., Any]:
    from korag.collection.local.segments import CodecVersion

    @classmethod  # type: ignore[misc]
    def encode(cls: Any, codec: Any, vectors: Any, rows: int, learned: Any = None) -> Any:
        arrays = codec.encode_with(vectors, learned)
        return cls(arrays | {name: _damage(arrays[name], kind)}, CodecVersion.of(codec))

    return encode


def test_copies(tmp_path: Path) -> None:
    with opened(tmp_path / "색인") as collection:
        add(collection, 0, ALL)
        before = answers(collection)
        collection.save(tmp_path / "사본")
    shutil.rmtree(tmp_path / "색인")
    with opened(tmp_path / "사본", None) as collection:
        assert answers(collection) == before
        add(collection, ALL, ALL + FEW)
    assert len(codebooks(tmp_path / "사본")) == 1
