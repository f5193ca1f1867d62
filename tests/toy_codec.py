"""A codec from outside the package, in one file: dense vectors as the two halves of their float32 numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.legs.base import Arrays
from korag.legs.dense import DenseCodec
from korag.legs.registry import register_codec
from korag.scoring import Ints


class HalvesCodec(DenseCodec):
    """Sign, exponent and seven bits of the fraction in one array, the other 16 bits in a second one."""

    name = "halves"

    def encode(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        bits = np.ascontiguousarray(vectors).view(np.uint32)
        return {"upper": (bits >> 16).astype(np.uint16), "lower": (bits & 0xFFFF).astype(np.uint16)}

    def decode(self, arrays: Arrays, rows: Ints) -> NDArray[np.float32]:
        bits = (arrays["upper"][rows].astype(np.uint32) << 16) | arrays["lower"][rows]
        return bits.view(np.float32)


def register() -> None:
    register_codec("dense", codec=HalvesCodec())
