"""Product quantization: the nearest entry of a codebook for each part of a vector."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from korag.kernels import aligned, jit
from korag.kernels.tables import VALUES

Floats = NDArray[np.float32]
_TOGETHER = 1_024
"""Vectors that numpy compares at a time."""


def nearest_entries(vectors: Floats, entries: Floats) -> NDArray[np.uint8]:
    """Finds the nearest entry for each part of each vector.

    Squares of differences are added up dimension by dimension, and compared without the last 8 of their 23 bits, whose
    place the entry's number takes: of entries that are equally near, within 1 in 32,768, the first is taken. With and
    without a compiler the result is the same.

    Args:
        vectors: Contiguous and finite. Shape: (n, parts · size).
        entries: Of each part; finite. Shape: (parts, 256, size).

    Returns:
        Their numbers. Shape: (n, parts).

    Raises:
        ValueError: If shapes or types do not fit.
    """
    parts, count, size = entries.shape
    if vectors.dtype != np.float32 or entries.dtype != np.float32 or not vectors.flags.c_contiguous:
        raise ValueError(f"contiguous vectors and entries in float32, not {vectors.dtype} and {entries.dtype}")
    if count != VALUES or vectors.shape[1:] != (parts * size,):
        raise ValueError(f"vectors {vectors.shape} do not fit entries {entries.shape}")
    codes = np.empty((len(vectors), parts), np.uint8)
    by_dimension = aligned.zeros((parts, size, VALUES), np.float32)
    by_dimension[:] = entries.transpose(0, 2, 1)
    if jit.is_available():
        from korag.kernels import nearest_lanes

        nearest_lanes.find(vectors, by_dimension, codes)
        return codes
    for start in range(0, len(vectors), _TOGETHER):
        some = vectors[start : start + _TOGETHER].reshape(-1, parts, size)
        for part in range(parts):
            off = np.zeros((len(some), VALUES), np.float32)
            for at in range(size):
                difference = some[:, part, at, None] - by_dimension[part, at]
                off += difference * difference
            keys = off.view(np.int32) & -VALUES | np.arange(VALUES, dtype=np.int32)
            codes[start : start + _TOGETHER, part] = keys.min(axis=1) & (VALUES - 1)
    return codes
