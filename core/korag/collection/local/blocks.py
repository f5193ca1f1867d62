"""The arrays of a segment file, verified block by block when they are first read.

Each array is cut into blocks of `BLOCK` bytes. Their CRC-32s, in the order of the arrays, and then their number are the
last tensor of the file, `TABLE`. The checksum in the database is that of header and table. So the database vouches for
the table, and the table for each block, and opening a file reads nothing else.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.errors import SegmentError
from korag.legs.arrays import LazyArrays, is_finite, join_ranges
from korag.scoring import Ints

BLOCK = 1 << 15
"""Bytes: a search that reads 1,000 documents here and there verifies so much for each of them, once."""
TABLE = ".blocks"
"""The name of the tensor; no leg can have it."""
_TOGETHER = 32
"""Blocks whose numbers are looked at together: 1 MB, which stays in the cache."""


def block_count(size: int) -> int:
    """The number of blocks that so many bytes are."""
    return -(-size // BLOCK)


def block_checksums(content: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """CRC-32 of each block of an array's bytes. Shape: (blocks,)."""
    parts = content.data
    starts = range(0, len(content), BLOCK)
    return np.fromiter((zlib.crc32(parts[start : start + BLOCK]) for start in starts), np.uint32, len(starts))


class BlockArray:
    """An array of a mapped file, and which of its blocks are verified.

    Args:
        path: The file.
        name: The array's, for messages.
        array: The array, mapped.
        content: Its bytes.
        checksums: Of its blocks. Shape: (blocks,).
    """

    def __init__(
        self, path: Path, name: str, array: NDArray[Any], content: memoryview, checksums: NDArray[np.uint32]
    ) -> None:
        self.array = array
        self._path, self._name, self._content, self._checksums = path, name, content, checksums
        self._verified = np.zeros(len(checksums), np.bool_)
        self._is_whole = False

    def read(self) -> NDArray[Any]:
        """Verifies what is not verified yet, and returns the array.

        Raises:
            SegmentError: If a block is damaged.
        """
        if not self._is_whole:
            self._verify(np.flatnonzero(~self._verified))
            self._is_whole = True
        return self.array

    def verify(self, starts: Ints, ends: Ints) -> None:
        """As `korag.legs.arrays.verify`."""
        if self._is_whole or not self.array.size:
            return
        rows, row = len(self.array), self.array.nbytes // len(self.array)
        starts, ends = np.clip(starts, 0, rows), np.clip(ends, 0, rows)
        filled = starts < ends
        first, last = starts[filled] * row // BLOCK, (ends[filled] * row - 1) // BLOCK
        if (last <= first + 1).all() and self._verified[first].all() and self._verified[last].all():
            return  # as for most documents of most searches
        blocks = join_ranges(first, last - first + 1)
        if len(new := np.unique(blocks[~self._verified[blocks]])):
            self._verify(new)
            self._is_whole = bool(self._verified.all())

    def _verify(self, blocks: Ints) -> None:
        """Verifies some blocks, ascending. Threads may do the same at once: they find the same."""
        for block in blocks.tolist():
            if zlib.crc32(self._content[block * BLOCK : (block + 1) * BLOCK]) != self._checksums[block]:
                raise damaged(self._path, f"{self._name}: the checksum of block {block} differs")
        if self.array.dtype.kind == "f":  # what no writer stores: scores would not be numbers
            numbers, each = self.array.reshape(-1), BLOCK // self.array.itemsize
            for run in _runs(blocks):
                if not is_finite(numbers[int(run[0]) * each : (int(run[-1]) + 1) * each]):
                    raise damaged(self._path, f"{self._name}: not finite")
        self._verified[blocks] = True


def _runs(blocks: Ints) -> Iterator[Ints]:
    """Neighbours, up to `_TOGETHER` of them."""
    for run in np.split(blocks, np.flatnonzero(np.diff(blocks) != 1) + 1) if len(blocks) else ():
        yield from (run[start : start + _TOGETHER] for start in range(0, len(run), _TOGETHER))


class BlockArrays(LazyArrays):
    """The arrays of one leg in a segment file."""

    def __init__(self, arrays: Mapping[str, BlockArray]) -> None:
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name].read()

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def view(self, name: str) -> NDArray[Any]:
        """As `LazyArrays.view`."""
        return self._arrays[name].array

    def verify(self, name: str, starts: Ints, ends: Ints) -> None:
        """As `LazyArrays.verify`."""
        self._arrays[name].verify(starts, ends)


def make_table(contents: Iterable[NDArray[np.uint8]]) -> bytes:
    """The last tensor of a file whose arrays have these bytes."""
    checksums = np.concatenate([np.zeros(0, np.uint32), *map(block_checksums, contents)])
    return np.append(checksums, np.uint32(len(checksums))).astype("<u4").tobytes()


def find_table(mapped: mmap.mmap) -> tuple[NDArray[np.uint32], int]:
    """Reads what may be the table of a file, before anything in it is believed.

    Returns:
        The checksums, and the CRC-32 of header and table, −1 if there is no table. Of no use unless that is recorded.
    """
    start, size = 8 + int.from_bytes(mapped[:8], "little"), 4 * (int.from_bytes(mapped[-4:], "little") + 1)
    if start + size >= len(mapped):  # of an older format: nothing would be left for the arrays
        return np.zeros(0, np.uint32), -1
    table = mapped[-size:]
    return np.frombuffer(table, "<u4")[:-1], zlib.crc32(table, zlib.crc32(memoryview(mapped)[:start]))


def split_table(table: NDArray[np.uint32], header: Mapping[str, Any]) -> dict[str, NDArray[np.uint32]]:
    """Returns the checksums of each array's blocks, by the array's name.

    Args:
        table: All of them.
        header: The file's.

    Raises:
        ValueError: If they are not of these arrays.
    """
    spans = {name: entry["data_offsets"] for name, entry in header.items() if name not in (TABLE, "__metadata__")}
    counts = {name: block_count(end - begin) for name, (begin, end) in sorted(spans.items(), key=lambda one: one[1])}
    if TABLE not in header or len(table) != sum(counts.values()):
        raise ValueError(f"'{TABLE}' is not of these arrays")
    return dict(zip(counts, np.split(table, np.cumsum(list(counts.values()))[:-1]), strict=True))


def damaged(path: Path, reason: str) -> SegmentError:
    """Returns the error for a segment file that is not what was written."""
    return SegmentError(
        f"세그먼트 파일 '{path}'이(가) 손상되었습니다({reason}). 아무것도 고쳐 쓰지 않았습니다. "
        "백업에서 파일을 되살리거나 문서를 새 폴더에 다시 색인하세요.",
        f"The segment '{path}' is damaged ({reason}). Nothing was changed; restore the file from a backup, or "
        "index the documents again into a new folder.",
    )
