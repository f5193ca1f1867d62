"""Segment files are verified block by block: a damaged one is an error when it is read, and not before."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korag.collection.local.blocks import BLOCK
from korag.collection.local.segment_stores import SegmentFolder
from korag.collection.local.segments import CodecVersion, LegArrays, Segment, SegmentInfo
from korag.errors import SegmentError
from korag.legs.arrays import verify, view

CODEC = CodecVersion("c", 1)
DTYPES = [np.float32, np.float16, np.float64, np.uint8, np.int64, np.bool_]


def write(store: SegmentFolder, arrays: dict[str, Any], rows: int) -> SegmentInfo:
    return store.write(Segment(np.arange(1, rows + 1), {"x": LegArrays(arrays, CODEC)}))


def place_of(path: Path, name: str) -> int:
    """Where the bytes of an array begin in a file."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    place: int = start + json.loads(content[8:start])[name]["data_offsets"][0]
    return place


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def test_only_what_is_read_is_verified(tmp_path: Path) -> None:
    store, rows = SegmentFolder(tmp_path), 4 * BLOCK
    info = write(store, {"codes": np.arange(rows * 2, dtype=np.uint32).view(np.uint8).reshape(rows, 8)}, rows)
    path = tmp_path / info.name
    flip(path, place_of(path, "x.codes") + 8 * (rows - 1))
    arrays = store.read(info).legs["x"].arrays
    assert "codes" in arrays
    assert view(arrays, "codes").shape == (rows, 8)
    verify(arrays, "codes", 0, rows - BLOCK)
    verify(arrays, "codes", np.array([5, rows, -9]), np.array([5, 10**15, 0]))  # nothing
    for damaged in (lambda: verify(arrays, "codes", [0, rows - 1], [1, rows]), lambda: arrays["codes"]) * 2:
        with pytest.raises(SegmentError, match=r"'x': codes: the checksum of block \d+ differs"):
            damaged()
    verify(arrays, "codes", 1, 2)


def test_numbers_that_nobody_stores_are_found_when_they_are_read(tmp_path: Path) -> None:
    store = SegmentFolder(tmp_path)
    vectors = np.zeros((40_000, 3), np.float16)
    vectors[30_000, 1] = np.nan
    arrays = store.read(write(store, {"vectors": vectors}, 40_000)).legs["x"].arrays
    verify(arrays, "vectors", 0, 15_000)
    for read in (lambda: verify(arrays, "vectors", 29_999, 30_001), lambda: arrays["vectors"]):
        with pytest.raises(SegmentError, match="'x': vectors: not finite"):
            read()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_found_by_whoever_reads_its_block(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 40))
    shapes = st.lists(st.integers(0, 70), max_size=2)
    kinds = data.draw(st.lists(st.tuples(shapes, st.sampled_from(DTYPES)), min_size=1, max_size=3))
    arrays = {str(number): np.ones((rows, *shape), dtype) for number, (shape, dtype) in enumerate(kinds)}
    name = data.draw(st.sampled_from(sorted(arrays)))
    with tempfile.TemporaryDirectory() as folder:
        store = SegmentFolder(Path(folder))
        info = write(store, arrays, rows)
        read = store.read(info)
        assert {name: array.tolist() for name, array in read.legs["x"].arrays.items()} == {
            name: array.tolist() for name, array in arrays.items()
        }
        path = Path(folder) / info.name
        at = data.draw(st.integers(0, info.size - 1))
        flip(path, at)
        offset, size = at - place_of_or_nothing(path, f"x.{name}"), arrays[name].nbytes
        hits_array = 0 <= offset < size
        start = data.draw(st.integers(-2, rows + 2))
        end = data.draw(st.integers(start, rows + 3))
        row = size // rows
        blocks = range(max(start, 0) * row // BLOCK, (min(end, rows) * row - 1) // BLOCK + 1)
        is_read = max(start, 0) < min(end, rows) and offset // BLOCK in blocks
        try:
            found = store.read(info).legs["x"].arrays
        except SegmentError:
            assert not hits_array  # header, keys or table
            return
        if hits_array and is_read:
            with pytest.raises(SegmentError):
                verify(found, name, start, end)
        else:
            verify(found, name, start, end)
            assert np.array_equal(
                view(found, name)[max(start, 0) : max(end, 0)], arrays[name][max(start, 0) : max(end, 0)]
            )


def place_of_or_nothing(path: Path, name: str) -> int:
    try:
        return place_of(path, name)
    except (ValueError, LookupError):
        return 1 << 60
