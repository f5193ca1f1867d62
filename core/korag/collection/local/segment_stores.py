"""Where segments are kept: in files of one folder, or in memory."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import mmap
import os
import stat
import uuid
import zlib
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from korag.collection.local.blocks import TABLE, BlockArray, BlockArrays, damaged, find_table, split_table
from korag.collection.local.files import OWN_NAME, SEGMENT_NAME, check_folder, open_file
from korag.collection.local.folders import HeldFolder, hold
from korag.collection.local.locks import create_locked, remove_unlocked
from korag.collection.local.segments import CodecVersion, LegArrays, Segment, SegmentInfo, inconsistent
from korag.collection.local.tensors import DTYPES, write_tensors
from korag.legs.arrays import is_ascending
from korag.legs.base import Arrays
from korag.storage import flush, storage_errors

SEGMENT_FOLDER = "segments"
"""Its name in the folder of a collection."""


class SegmentStore(Protocol):
    """Where segments are kept."""

    def write(self, segment: Segment) -> SegmentInfo:
        """Stores a new segment, durably: `prepare`, then `publish`."""
        ...

    def prepare(self, segment: Segment) -> SegmentInfo:
        """Stores a segment that no transaction names yet; `keep_only` of others leaves it alone. It can be read."""
        ...

    def publish(self, info: SegmentInfo) -> None:
        """Finishes a prepared segment, in the transaction that names it."""
        ...

    def abandon(self, info: SegmentInfo) -> None:
        """Removes a prepared segment, unless it has been published."""
        ...

    def read(self, info: SegmentInfo) -> Segment:
        """Returns a segment; raises `SegmentError` if it is not what was written."""
        ...

    def keep_only(self, names: set[str], within: HeldFolder | None) -> None:
        """Removes all other segments.

        Args:
            names: Those to keep.
            within: The folder of the collection, held by a transaction; None in memory.
        """
        ...

    def discard(self, info: SegmentInfo) -> None:
        """Removes a segment that was written and is not to be named after all."""
        ...


class SegmentFolder:
    """Segments as files of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._unfinished: dict[tuple[int, str], FileIO] = {}  # by process, as a forked child has none of its parent's

    def write(self, segment: Segment) -> SegmentInfo:
        """Writes a file, and flushes it and its folder entry.

        Raises:
            StorageFullError: If there is not enough space; nothing of it is left.
            ReadOnlyError: If the folder cannot be written to.
        """
        info = self.prepare(segment)
        self.publish(info)
        return info

    def prepare(self, segment: Segment) -> SegmentInfo:
        """As `SegmentStore.prepare`: a file under another name, locked as long as this process lives.

        Raises:
            StorageFullError: If there is not enough space; nothing of it is left.
            ReadOnlyError: If the folder cannot be written to.
        """
        name = f"{uuid.uuid4().hex}.safetensors"
        with storage_errors(self.folder, writing=True):
            try:
                if not check_folder(self.folder):
                    self.folder.mkdir(exist_ok=True)
                    flush(self.folder.parent)
                file = create_locked((self.folder / name).with_suffix(".tmp"))
                self._unfinished[os.getpid(), name] = file
                size, checksum = write_tensors(file, *_to_arrays(segment))
                os.fsync(file.fileno())
            except BaseException:
                self._abandon(name)
                raise
        return SegmentInfo(name, size, checksum, len(segment.keys))

    def publish(self, info: SegmentInfo) -> None:
        """As `SegmentStore.publish`."""
        with storage_errors(self.folder, writing=True):
            try:
                self._path(info.name).rename(self.folder / info.name)
                self._unfinished.pop((os.getpid(), info.name)).close()
                flush(self.folder)
            except BaseException:
                self.discard(info)
                raise

    def abandon(self, info: SegmentInfo) -> None:
        """As `SegmentStore.abandon`."""
        self._abandon(info.name)

    def _abandon(self, name: str) -> None:
        if (own := (os.getpid(), name)) in self._unfinished:
            with contextlib.suppress(OSError):  # an earlier error is the one to tell
                self._path(name).unlink()
            with contextlib.suppress(OSError):
                self._unfinished.pop(own).close()

    def _path(self, name: str) -> Path:
        """Where a file is: under another name until it is whole and named."""
        path = self.folder / name
        return path.with_suffix(".tmp") if (os.getpid(), name) in self._unfinished else path

    def read(self, info: SegmentInfo) -> Segment:
        """Maps a file, after verifying its header and keys against what was recorded; the rest when it is read.

        Raises:
            SegmentError: If the file is missing, its size or checksum differs, or it is not a segment at all.
            ForeignFolderError: If the folder is a link.
            AccessError: If it may not be read.
        """
        if not SEGMENT_NAME.fullmatch(info.name):  # before any file is touched
            raise inconsistent(info.name, "its name is not one that KoRAG gives")
        path = self._path(info.name)
        with storage_errors(path, writing=False):
            check_folder(self.folder)
            try:
                with open_file(path) as file:
                    size = os.fstat(file.fileno()).st_size
                    if size != info.size:
                        raise damaged(path, f"{size:,} bytes instead of {info.size:,}")
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                return _map_segment(path, mapped, info)
            except FileNotFoundError:
                raise damaged(path, "the file is missing") from None
            except (ValueError, SafetensorError) as error:
                raise damaged(path, str(error)) from error
            except OSError as error:
                if error.errno in (None, errno.ELOOP):  # not a regular file, or a link
                    raise damaged(path, error.strerror or str(error)) from error
                raise

    def keep_only(self, names: set[str], within: HeldFolder | None) -> None:
        """Removes files that no transaction ever named, e.g. after a kill, and those replaced by a merge.

        The folder is held, so that none of another collection goes, even if one takes this one's place just now.
        """
        with storage_errors(self.folder, writing=False):
            if not check_folder(self.folder):
                return
            with hold(self.folder, within=within) as folder:
                present = folder.names()
                if not names <= set(present):  # what is not named may be what should be, after a loss
                    return
                for name in present:
                    if not OWN_NAME.fullmatch(name) or name in names:
                        continue
                    # Gone: another process had not finished it. Windows: another process still maps it.
                    with contextlib.suppress(FileNotFoundError, PermissionError):
                        if stat.S_ISREG(folder.stat(name).st_mode):
                            remove_unlocked(folder, name)

    def discard(self, info: SegmentInfo) -> None:
        """Removes a file; one that cannot be removed is left to `keep_only`."""
        self.abandon(info)
        with contextlib.suppress(OSError):
            (self.folder / info.name).unlink()


class SegmentMemory:
    """Segments of a collection in memory."""

    def __init__(self) -> None:
        self._segments: dict[str, Segment] = {}
        self._unfinished: dict[str, Segment] = {}

    def copy(self) -> SegmentMemory:
        """Returns another store of the same segments, which never change and can be shared."""
        copied = SegmentMemory()
        copied._segments = dict(self._segments)
        return copied

    def write(self, segment: Segment) -> SegmentInfo:
        """Keeps the arrays."""
        info = self.prepare(segment)
        self.publish(info)
        return info

    def prepare(self, segment: Segment) -> SegmentInfo:
        """As `SegmentStore.prepare`."""
        name = uuid.uuid4().hex
        self._unfinished[name] = segment
        size = sum(array.nbytes for leg in segment.legs.values() for array in leg.arrays.values())
        return SegmentInfo(name, segment.keys.nbytes + size, 0, len(segment.keys))

    def read(self, info: SegmentInfo) -> Segment:
        """Returns the segment as it was written."""
        return self._unfinished.get(info.name) or self._segments[info.name]

    def publish(self, info: SegmentInfo) -> None:
        """As `SegmentStore.publish`."""
        self._segments[info.name] = self._unfinished.pop(info.name)

    def abandon(self, info: SegmentInfo) -> None:
        """As `SegmentStore.abandon`."""
        self._unfinished.pop(info.name, None)

    def keep_only(self, names: set[str], within: HeldFolder | None) -> None:
        """Forgets the others."""
        self._segments = {name: segment for name, segment in self._segments.items() if name in names}

    def discard(self, info: SegmentInfo) -> None:
        """Forgets one."""
        self._segments = {name: segment for name, segment in self._segments.items() if name != info.name}


def _to_arrays(segment: Segment) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays as ``keys`` and ``leg.array``, and codecs."""
    arrays: dict[str, NDArray[Any]] = {"keys": segment.keys}
    for leg, stored in segment.legs.items():
        arrays |= {f"{leg}.{name}": array for name, array in stored.arrays.items()}
    return arrays, {leg: json.dumps(stored.codec.to_dict()) for leg, stored in segment.legs.items() if stored.codec}


def _map_segment(path: Path, mapped: mmap.mmap, info: SegmentInfo) -> Segment:
    """Reads a safetensors file: 8 bytes of header length, a JSON header, then the data.

    The safetensors package copies arrays when it reads, so it only judges the file: lengths, types, shapes, no gap and
    no overlap. After that, these few lines map the arrays (format: https://github.com/huggingface/safetensors#format).

    Raises:
        ValueError: If it is not a segment.
        SafetensorError: If it is not a safetensors file.
        SegmentError: If it is not the one that was recorded.
    """
    checksums, checksum = find_table(mapped)
    is_lazy = checksum == info.checksum
    if not is_lazy and zlib.crc32(mapped) != info.checksum:  # of a file of an older format
        raise damaged(path, "its checksum differs")
    with safe_open(path, "numpy"):  # raises for what is wrong
        start = 8 + int.from_bytes(mapped[:8], "little")
        header = json.loads(mapped[8:start])
    table = split_table(checksums, header) if is_lazy else {}
    codecs = {leg: CodecVersion.from_json(text) for leg, text in header.pop("__metadata__", {}).items()}
    blocks: dict[str, dict[str, BlockArray]] = {leg: {} for leg in codecs}
    for name, entry in header.items():
        if name == TABLE:
            continue
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"'{name}': {entry['dtype']}")
        begin, end = (start + offset for offset in entry["data_offsets"])
        shape = tuple(entry["shape"])
        array: NDArray[Any] = np.frombuffer(mapped, DTYPES[entry["dtype"]], math.prod(shape), begin).reshape(shape)
        leg, _, rest = name.partition(".")
        content = memoryview(mapped)[begin:end]
        blocks.setdefault(leg, {})[rest] = BlockArray(
            path, f"'{leg}': {rest}", array, content, table.get(name, checksums[:0])
        )
    keys = _read_keys(blocks.pop("keys", {}), info.rows)
    legs: dict[str, Arrays] = {
        leg: BlockArrays(arrays) if is_lazy else {name: array.array for name, array in arrays.items()}
        for leg, arrays in blocks.items()
    }
    return Segment(keys, {leg: LegArrays(arrays, codecs.get(leg)) for leg, arrays in legs.items()}, mapped)


def _read_keys(arrays: Mapping[str, BlockArray], rows: int) -> NDArray[np.int64]:
    """The keys of a segment, which are read when it is opened."""
    keys = arrays[""].read() if "" in arrays else None
    if keys is None or keys.dtype != np.int64 or keys.shape != (rows,):
        raise ValueError(f"no keys of {rows} documents")
    if rows and (keys.min() < 1 or not (is_ascending(keys, strictly=True) or len(np.unique(keys)) == rows)):
        raise ValueError("keys: not of different documents")
    return keys
