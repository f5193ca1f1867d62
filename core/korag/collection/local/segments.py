"""Segments: immutable files that hold the vectors of a batch of documents.

A segment is a safetensors file, written whole, flushed to disk and only then named in the collection's database
together with its size and a checksum. It is memory-mapped, and each block is verified when it is first read, once per
opened collection (`korag.collection.local.blocks`). The file's metadata names the codec of each leg, so a segment can
be read without the collection's manifest.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from korag.errors import FormatVersionError, InvalidArgumentError, SegmentError
from korag.legs.arrays import LazyArrays
from korag.legs.base import Arrays, Codec

_RENAMED = {"float16_int8": "float16"}
"""Names of codecs that KoRAG used to give, and what they are called now."""


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
        """Reverses `to_dict`; a codec that has been renamed has its new name."""
        name, sign, wrapper = entry["name"].partition("+")
        return cls(_RENAMED.get(name, name) + sign + wrapper, entry["version"])

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
        memo: What the leg has computed of them while they are open.
    """

    arrays: Arrays
    codec: CodecVersion | None
    memo: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    def verify(self) -> None:
        """Reads every array, those included that the codec need not look at.

        Raises:
            SegmentError: If a block is damaged.
        """
        for name in self.arrays:
            self.arrays[name]  # verified when it is taken

    @classmethod
    def encode(cls, codec: Codec, vectors: Any, rows: int, learned: Arrays | None = None) -> Self:
        """Encodes vectors.

        Args:
            codec: How.
            vectors: As `Leg.encode_documents` returns them.
            rows: How many documents they are of.
            learned: What the codec has learned in this collection, if it `learns`.

        Raises:
            InvalidArgumentError: If the codec could not read them again: not finite, or of another size.
        """
        arrays = codec.encode_with(vectors, learned)
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

    @property
    def is_lazy(self) -> bool:
        """True if its arrays are verified when they are read."""
        return any(isinstance(stored.arrays, LazyArrays) for stored in self.legs.values())

    def outdated(self, codecs: Mapping[str, Codec]) -> bool:
        """Returns True if an older version of one of the codecs wrote it, or it must be read whole to be opened."""
        if self.mapped is not None and not self.is_lazy:
            return True
        current = {leg: CodecVersion.of(codec) for leg, codec in codecs.items()}
        return any(leg in current and current[leg] != stored.codec for leg, stored in self.legs.items())

    def check(self, leg: str, codec: Codec, *, file: str) -> None:
        """Reads all that a leg stores, in the current layout of its codec.

        Raises:
            SegmentError: If a block is damaged, or the codec does not make such arrays.
        """
        self.legs[leg].verify()
        with as_inconsistent(file, leg):
            codec.check(self.legs[leg].arrays, len(self.keys), dim=None)

    def read(
        self,
        codecs: Mapping[str, Codec],
        *,
        dims: Mapping[str, int] | None = None,
        file: str,
        whole: bool = False,
    ) -> Segment:
        """Brings the arrays of some legs into the layout of their codecs; the other legs are left out.

        Args:
            codecs: By leg.
            dims: Size of the encoder's vectors, for those legs that have one.
            file: The segment's name, for messages.
            whole: Check every array now, and not only what opening takes.

        Raises:
            SegmentError: If a leg is missing, another codec made it, or its arrays are not what its codec makes.
            FormatVersionError: If a newer version of its codec made it.
        """
        legs = {}
        for stored in self.legs.values() if whole else ():
            stored.verify()
        whole = whole or (self.mapped is not None and not self.is_lazy)  # it has been read whole, so this costs little
        for leg, codec in codecs.items():
            current = CodecVersion.of(codec)
            if leg not in self.legs:
                raise inconsistent(file, f"no '{leg}'")
            stored = self.legs[leg]
            written = stored.codec or CodecVersion(codec.name, 1)
            if written.name != current.name:
                raise inconsistent(file, f"'{leg}': '{written.name}' ≠ '{current.name}'")
            if written.version > current.version:
                raise newer_codec(leg, written, current, place=file)
            with as_inconsistent(file, leg):
                arrays = codec.read(stored.arrays, written.version) if written != current else stored.arrays
                check = codec.check if whole else codec.check_layout
                check(arrays, len(self.keys), dim=(dims or {}).get(leg))
            legs[leg] = LegArrays(arrays, current)
        return Segment(self.keys, legs, self.mapped)


@dataclass(frozen=True)
class SegmentInfo:
    """The database record of a segment.

    Attributes:
        name: File name.
        size: Bytes.
        checksum: CRC-32 of the file's header and of its table of checksums; of older files, of the whole file.
        rows: Documents in it, deleted ones included.
    """

    name: str
    size: int
    checksum: int
    rows: int


@contextmanager
def as_inconsistent(file: str, leg: str) -> Iterator[None]:
    """Says of which segment it is that a leg's arrays are not what its codec makes."""
    try:
        yield
    except (ValueError, LookupError, TypeError) as error:
        raise inconsistent(file, f"'{leg}': {error}") from error


def inconsistent(file: str, reason: str) -> SegmentError:
    """Returns the error for a segment that is not one of its collection's."""
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
