"""Writing safetensors files array by array (format: https://github.com/huggingface/safetensors#format).

The safetensors package first copies everything into one piece of memory, and no other thread runs meanwhile; searches
would wait for half a second. This also writes the checksums of `korag.collection.local.blocks`.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from io import FileIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from korag.collection.local.blocks import TABLE, block_count, make_table

DTYPES = {
    "F16": np.float16, "F32": np.float32, "F64": np.float64,
    "I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64,
    "U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "U64": np.uint64,
    "BOOL": np.bool_,
}  # fmt: skip
_NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


def write_tensors(
    file: FileIO | BinaryIO, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> tuple[int, int]:
    """Writes a whole file: 8 bytes of header length, a JSON header, the data, and the checksums of their blocks.

    Args:
        file: Empty.
        arrays: By name; of the types in `DTYPES`.
        metadata: Any texts.

    Returns:
        Its size, and the CRC-32 of its header and of the table of checksums.
    """
    little = {name: np.ascontiguousarray(array, array.dtype.newbyteorder("<")) for name, array in arrays.items()}
    widest_first = sorted(little.items(), key=lambda item: (-item[1].itemsize, item[0]))  # so that all are aligned
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, array in widest_first:
        start, end = end, end + array.nbytes
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    contents = [array.reshape(-1).view(np.uint8) for _, array in widest_first]
    size = 4 * (1 + sum(block_count(len(content)) for content in contents))
    header[TABLE] = {"dtype": "U32", "shape": [size // 4], "data_offsets": [end, end + size]}
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    beginning = len(text).to_bytes(8, "little") + text
    table = make_table(contents)
    for part in (beginning, *contents, table):
        _write(file, part)
    return len(beginning) + end + size, zlib.crc32(table, zlib.crc32(beginning))


def _write(file: FileIO | BinaryIO, content: Any) -> None:
    rest = memoryview(content)
    while rest:  # a system call takes 2 GB at most
        rest = rest[file.write(rest) :]
