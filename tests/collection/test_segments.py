"""Segments: files that name the codecs that made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from korag.collection.local.segment_stores import SegmentFolder, SegmentMemory
from korag.collection.local.segments import CodecVersion, LegArrays, Segment
from korag.errors import FormatVersionError, SegmentError
from korag.legs.dense import Float32Codec

VECTORS = np.arange(6, dtype=np.float32).reshape(3, 2)


def segment(codec: CodecVersion | None) -> Segment:
    return Segment(np.array([3, 5, 9]), {"dense": LegArrays({"vectors": VECTORS}, codec)})


@pytest.mark.parametrize("codec", [None, CodecVersion("float32", 1), CodecVersion("float32", 2)])
def test_what_is_written_is_read(tmp_path: Path, codec: CodecVersion | None) -> None:
    for store in (SegmentFolder(tmp_path / "segments"), SegmentMemory()):
        info = store.write(segment(codec))
        assert info.rows == 3
        read = store.read(info)
        assert read.keys.tolist() == [3, 5, 9]
        assert read.legs["dense"].codec == codec
        assert read.legs["dense"].arrays["vectors"].tolist() == VECTORS.tolist()
        current = read.read({"dense": Float32Codec()}, file=info.name)
        assert current.legs["dense"].codec == CodecVersion("float32", 2)


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.uint8, np.uint32, np.bool_, np.float16])
def test_arrays_of_any_type(tmp_path: Path, dtype: type) -> None:
    store = SegmentFolder(tmp_path)
    array = np.array([[0, 1], [1, 0]]).astype(dtype)
    read = store.read(store.write(Segment(np.array([1, 2]), {"x": LegArrays({"a": array}, CodecVersion("c", 7))})))
    assert read.legs["x"].arrays["a"].dtype == dtype
    assert read.legs["x"].arrays["a"].tolist() == array.tolist()


def test_arrays_that_cannot_be_read_here() -> None:
    codecs = {"dense": Float32Codec()}
    with pytest.raises(FormatVersionError, match="version 3 of the codec 'float32'"):
        segment(CodecVersion("float32", 3)).read(codecs, file="x")
    with pytest.raises(SegmentError, match="does not match"):
        segment(CodecVersion("other", 1)).read(codecs, file="x")
    with pytest.raises(SegmentError, match="no 'dense'"):
        Segment(np.arange(3), {}).read(codecs, file="x")
