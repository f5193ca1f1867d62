"""Segments: immutable files that hold the vectors of a batch of documents.

A segment is a safetensors file, written whole, flushed to disk and only then named in the collection's
database together with its size and CRC-32. It is memory-mapped when read; the checksum is verified once for
each opened collection, which costs about what one exact search over it does.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import uuid
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from korag.errors import SegmentError
from korag.legs.base import Arrays

_DTYPES = {
    "F16": np.float16, "F32": np.float32,
    "I8": np.int8, "I32": np.int32, "I64": np.int64,
    "U16": np.uint16, "U64": np.uint64,
}  # fmt: skip


@dataclass(frozen=True)
class SegmentInfo:
    """What the database knows of a segment.

    Attributes:
        name: File name.
        size: Bytes.
        checksum: CRC-32 of the file.
        rows: Documents in it, dead ones included.
    """

    name: str
    size: int
    checksum: int
    rows: int


class SegmentStore(Protocol):
    """Where segments are kept."""

    def write(self, arrays: Arrays, rows: int) -> SegmentInfo:
        """Stores a new segment, durably."""
        ...

    def read(self, entry: SegmentInfo) -> dict[str, NDArray[Any]]:
        """Returns its arrays; raises `SegmentError` if they are not what was written."""
        ...

    def keep_only(self, names: set[str]) -> None:
        """Removes every segment not named."""
        ...


class SegmentFolder:
    """Segments as files of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, arrays: Arrays, rows: int) -> SegmentInfo:
        """Writes a file, flushes it and its folder entry, and returns what to record of it."""
        if not self.folder.exists():
            self.folder.mkdir(exist_ok=True)
            _flush_folder(self.folder.parent)
        data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        unfinished = path.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        _flush_folder(self.folder)
        return SegmentInfo(path.name, len(data), zlib.crc32(data), rows)

    def read(self, entry: SegmentInfo) -> dict[str, NDArray[Any]]:
        """Maps a file, after comparing it with what was recorded of it.

        Raises:
            SegmentError: If the file is missing, or its size or checksum differs.
        """
        path = self.folder / entry.name
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != entry.size:
                    raise _damaged(path, f"{size:,} bytes instead of {entry.size:,}")
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError:
            raise _damaged(path, "the file is missing") from None
        if zlib.crc32(mapped) != entry.checksum:
            raise _damaged(path, "its checksum differs")
        return _map_arrays(mapped)

    def keep_only(self, names: set[str]) -> None:
        """Removes files that no transaction ever named, e.g. after a kill, and those replaced by a merge."""
        if not self.folder.exists():
            return
        for path in self.folder.iterdir():
            if path.suffix in (".safetensors", ".tmp") and path.name not in names:
                try:
                    path.unlink(missing_ok=True)
                except PermissionError:  # Windows: another process still maps it; the next merge removes it
                    continue


class SegmentMemory:
    """Segments of a collection in memory."""

    def __init__(self) -> None:
        self._segments: dict[str, dict[str, NDArray[Any]]] = {}

    def copy(self) -> SegmentMemory:
        """Another store of the same segments, which are never changed and so can be shared."""
        copied = SegmentMemory()
        copied._segments = dict(self._segments)
        return copied

    def write(self, arrays: Arrays, rows: int) -> SegmentInfo:
        """Keeps the arrays."""
        name = uuid.uuid4().hex
        self._segments[name] = dict(arrays)
        return SegmentInfo(name, sum(array.nbytes for array in arrays.values()), 0, rows)

    def read(self, entry: SegmentInfo) -> dict[str, NDArray[Any]]:
        """Returns the arrays as they were written."""
        return self._segments[entry.name]

    def keep_only(self, names: set[str]) -> None:
        """Forgets the others."""
        self._segments = {name: arrays for name, arrays in self._segments.items() if name in names}


def _map_arrays(mapped: mmap.mmap) -> dict[str, NDArray[Any]]:
    """Arrays over a safetensors file: 8 bytes of header length, a JSON header, then the data.

    The safetensors package copies arrays when it reads; this is the few lines that map them instead
    (format: https://github.com/huggingface/safetensors#format).
    """
    length = int.from_bytes(mapped[:8], "little")
    header = json.loads(mapped[8 : 8 + length])
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start = 8 + length + entry["data_offsets"][0]
            shape = tuple(entry["shape"])
            flat = np.frombuffer(mapped, _DTYPES[entry["dtype"]], math.prod(shape), start)
            arrays[name] = flat.reshape(shape)
    return arrays


def _flush_folder(folder: Path) -> None:
    if os.name == "posix":  # Windows has no handle on a folder to flush
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _damaged(path: Path, reason: str) -> SegmentError:
    return SegmentError(
        f"세그먼트 파일 '{path}'이(가) 손상되었습니다({reason}). 아무것도 고쳐 쓰지 않았습니다. "
        "백업에서 파일을 되살리거나 문서를 새 폴더에 다시 색인하세요.",
        f"The segment '{path}' is damaged ({reason}). Nothing was changed; restore the file from a backup, or "
        "index the documents again into a new folder.",
    )
