"""Segments: immutable files that hold the vectors of a batch of documents.

A segment is a safetensors file, written whole, flushed to disk and only then named in the collection's database
together with its size and CRC-32. It is memory-mapped when read; the checksum is verified once per opened collection,
which costs about as much as one exact search over it. The file's metadata names the codec of each leg, so a segment can
be read without the collection's manifest.
"""

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
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from korag.collection.local.files import OWN_NAME, SEGMENT_NAME, check_folder, open_file
from korag.collection.local.folders import HeldFolder, hold
from korag.collection.local.locks import create_locked, remove_unlocked
from korag.collection.local.tensors import DTYPES, write_tensors
from korag.errors import FormatVersionError, InvalidArgumentError, SegmentError
from korag.legs.base import Arrays, Codec
from korag.storage import flush, storage_errors

SEGMENT_FOLDER = "segments"
"""Its name in the folder of a collection."""


@dataclass(frozen=True)
class CodecVersion:
    """Which codec made arrays.

    Attributes:
        name: The codec's name.
        version: Its version at the time.
    """

    name: str
    version: int

    @classmethod
    def of(cls, codec: Codec) -> Self:
        """The version a codec writes now."""
        return cls(codec.name, codec.version)

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Self:
        """Reverses `to_dict`."""
        return cls(entry["name"], entry["version"])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reverses `to_dict`, as JSON.

        Raises:
            ValueError: If it is something else.
        """
        try:
            entry = json.loads(text)
        except RecursionError as error:
            raise ValueError("JSON nested too deeply") from error
        if not is_codec_version(entry):
            raise ValueError(f"{text:.80} names no codec")
        return cls.from_dict(entry)

    def to_dict(self) -> dict[str, Any]:
        """As it is stored, in manifests and segments."""
        return {"name": self.name, "version": self.version}


def is_codec_version(entry: object) -> bool:
    """Returns True for what `CodecVersion.to_dict` returns."""
    if not isinstance(entry, dict) or entry.keys() != {"name", "version"}:
        return False
    return isinstance(entry["name"], str) and type(entry["version"]) is int and entry["version"] > 0


@dataclass(frozen=True)
class LegArrays:
    """The part of a segment that belongs to one leg.

    Attributes:
        arrays: By name.
        codec: What made them. None in files of KoRAG 0.1.0, which had one codec per leg: version 1 of that codec.
    """

    arrays: Arrays
    codec: CodecVersion | None

    @classmethod
    def encode(cls, codec: Codec, vectors: Any, rows: int) -> Self:
        """Encodes vectors.

        Raises:
            InvalidArgumentError: If the codec could not read them again: not finite, or of another size.
        """
        arrays = codec.encode(vectors)
        try:
            codec.check(arrays, rows, dim=None)
        except ValueError as error:
            raise InvalidArgumentError(
                f"인코더가 돌려준 벡터를 저장할 수 없습니다({codec.name}: {error}). 아무것도 저장하지 않았습니다. "
                "무한대나 NaN이 있으면 dtype='float32'로 불러온 인코더를 쓰세요.",
                f"The encoder returned vectors that cannot be stored ({codec.name}: {error}). Nothing was stored; if "
                "they are infinite or NaN, use an encoder loaded with dtype='float32'.",
            ) from error
        return cls(arrays, CodecVersion.of(codec))


@dataclass(frozen=True)
class Segment:
    """The content of a segment.

    Attributes:
        keys: The document of each row, all different. Shape: (rows,).
        legs: Each leg's representations of these documents.
        mapped: The file that they are mapped from; None in memory.
    """

    keys: NDArray[np.int64]
    legs: Mapping[str, LegArrays]
    mapped: mmap.mmap | None = None

    @property
    def is_truncated(self) -> bool:
        """True if the file has become shorter: the system ends a process that touches what is gone."""
        return self.mapped is not None and self.mapped.size() < len(self.mapped)

    def outdated(self, codecs: Mapping[str, Codec]) -> bool:
        """Returns True if an older version of one of the codecs wrote it."""
        current = {leg: CodecVersion.of(codec) for leg, codec in codecs.items()}
        return any(leg in current and current[leg] != stored.codec for leg, stored in self.legs.items())

    def read(self, codecs: Mapping[str, Codec], *, dims: Mapping[str, int] | None = None, file: str) -> Segment:
        """Brings the arrays of some legs into the layout of their codecs; the other legs are left out.

        Args:
            codecs: By leg.
            dims: Size of the encoder's vectors, for those legs that have one.
            file: The segment's name, for messages.

        Raises:
            SegmentError: If a leg is missing, another codec made it, or its arrays are not what its codec makes.
            FormatVersionError: If a newer version of its codec made it.
        """
        legs = {}
        for leg, codec in codecs.items():
            current = CodecVersion.of(codec)
            if leg not in self.legs:
                raise _inconsistent(file, f"no '{leg}'")
            stored = self.legs[leg]
            written = stored.codec or CodecVersion(codec.name, 1)
            if written.name != current.name:
                raise _inconsistent(file, f"'{leg}': '{written.name}' ≠ '{current.name}'")
            if written.version > current.version:
                raise newer_codec(leg, written, current, place=file)
            try:
                arrays = codec.read(stored.arrays, written.version) if written != current else stored.arrays
                codec.check(arrays, len(self.keys), dim=(dims or {}).get(leg))
            except (ValueError, LookupError, TypeError) as error:
                raise _inconsistent(file, f"'{leg}': {error}") from error
            legs[leg] = LegArrays(arrays, current)
        return Segment(self.keys, legs, self.mapped)


@dataclass(frozen=True)
class SegmentInfo:
    """The database record of a segment.

    Attributes:
        name: File name.
        size: Bytes.
        checksum: CRC-32 of the file.
        rows: Documents in it, deleted ones included.
    """

    name: str
    size: int
    checksum: int
    rows: int


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
        """Maps a file, after verifying it against what was recorded.

        Raises:
            SegmentError: If the file is missing, its size or checksum differs, or it is not a segment at all.
            ForeignFolderError: If the folder is a link.
            AccessError: If it may not be read.
        """
        if not SEGMENT_NAME.fullmatch(info.name):  # before any file is touched
            raise _inconsistent(info.name, "its name is not one that KoRAG gives")
        path = self._path(info.name)
        with storage_errors(path, writing=False):
            check_folder(self.folder)
            try:
                with open_file(path) as file:
                    size = os.fstat(file.fileno()).st_size
                    if size != info.size:
                        raise _damaged(path, f"{size:,} bytes instead of {info.size:,}")
                    mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                if zlib.crc32(mapped) != info.checksum:
                    raise _damaged(path, "its checksum differs")
                return _map_segment(path, mapped, info.rows)
            except FileNotFoundError:
                raise _damaged(path, "the file is missing") from None
            except (ValueError, SafetensorError) as error:
                raise _damaged(path, str(error)) from error
            except OSError as error:
                if error.errno in (None, errno.ELOOP):  # not a regular file, or a link
                    raise _damaged(path, error.strerror or str(error)) from error
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


def _map_segment(path: Path, mapped: mmap.mmap, rows: int) -> Segment:
    """Reads a safetensors file: 8 bytes of header length, a JSON header, then the data.

    The safetensors package copies arrays when it reads, so it only judges the file: lengths, types, shapes, no gap and
    no overlap. After that, these few lines map the arrays (format: https://github.com/huggingface/safetensors#format).

    Raises:
        ValueError: If it is not a segment.
        SafetensorError: If it is not a safetensors file.
    """
    with safe_open(path, "numpy"):  # raises for what is wrong
        length = int.from_bytes(mapped[:8], "little")
        header = json.loads(mapped[8 : 8 + length])
    codecs = {leg: CodecVersion.from_json(text) for leg, text in header.pop("__metadata__", {}).items()}
    legs: dict[str, dict[str, NDArray[Any]]] = {leg: {} for leg in codecs}
    for name, entry in header.items():
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"'{name}': {entry['dtype']}")
        start, shape = 8 + length + entry["data_offsets"][0], tuple(entry["shape"])
        array: NDArray[Any] = np.frombuffer(mapped, DTYPES[entry["dtype"]], math.prod(shape), start).reshape(shape)
        leg, _, rest = name.partition(".")
        legs.setdefault(leg, {})[rest] = array
    keys = legs.pop("keys", {}).get("")
    if keys is None or keys.dtype != np.int64 or keys.shape != (rows,):
        raise ValueError(f"no keys of {rows} documents")
    if rows and (keys.min() < 1 or len(np.unique(keys)) < rows):
        raise ValueError("keys: not of different documents")
    return Segment(keys, {leg: LegArrays(arrays, codecs.get(leg)) for leg, arrays in legs.items()}, mapped)


def _damaged(path: Path, reason: str) -> SegmentError:
    return SegmentError(
        f"세그먼트 파일 '{path}'이(가) 손상되었습니다({reason}). 아무것도 고쳐 쓰지 않았습니다. "
        "백업에서 파일을 되살리거나 문서를 새 폴더에 다시 색인하세요.",
        f"The segment '{path}' is damaged ({reason}). Nothing was changed; restore the file from a backup, or "
        "index the documents again into a new folder.",
    )


def _inconsistent(file: str, reason: str) -> SegmentError:
    return SegmentError(
        f"세그먼트 '{file}'의 내용이 컬렉션의 설정과 맞지 않습니다({reason}). 아무것도 고쳐 쓰지 않았습니다. 백업에서 "
        "폴더를 되살리거나 문서를 새 폴더에 다시 색인하세요.",
        f"The segment '{file}' does not match the collection's settings ({reason}). Nothing was changed; restore the "
        "folder from a backup, or index the documents again into a new folder.",
    )


def newer_codec(leg: str, written: CodecVersion, current: CodecVersion, *, place: str) -> FormatVersionError:
    """The error for arrays made by a newer codec than the one installed.

    Args:
        leg: Whose arrays.
        written: What made them.
        current: What is installed.
        place: The collection or segment.
    """
    return FormatVersionError(
        f"{place}의 '{leg}' 색인은 '{written.name}' 코덱의 버전 {written.version}(으)로 저장되어 있습니다(여기에는 "
        f"{current.version}까지). pip install -U korag로 올린 뒤 여세요. 아무것도 바꾸지 않았습니다.",
        f"The '{leg}' index of {place} is stored with version {written.version} of the codec '{written.name}' (this "
        f"installation reads up to {current.version}). Run pip install -U korag; nothing was changed.",
    )
