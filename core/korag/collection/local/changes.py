"""The keys that each of the last commits changed, so that whoever has read one of them need not read all keys again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GENERATIONS = 256
"""Commits that are remembered at most."""
OF_ONE = 65_536
"""Keys that one of them may change; reading all keys is then as fast."""
OF_ALL = 262_144
"""Keys that are remembered at most: 2 MB."""


@dataclass(frozen=True)
class Changes:
    """Documents that some commits changed. What they added has a greater key than any before.

    Attributes:
        deleted: Keys that no longer exist, ascending. Shape: (n,).
        changed: Keys with other metadata, or their id in another form, ascending. Shape: (n,).
    """

    deleted: NDArray[np.int64]
    changed: NDArray[np.int64]


def pack(keys: Iterable[int]) -> bytes:
    """As a commit's keys are stored."""
    return np.fromiter(keys, "<i8").tobytes()


def unpack(stored: Iterable[object]) -> NDArray[np.int64]:
    """Keys of several commits, ascending.

    Raises:
        ValueError: If that is not what `pack` returned.
    """
    parts = list(stored)
    if not all(isinstance(part, bytes) and len(part) % 8 == 0 for part in parts):
        raise ValueError("not keys")
    return np.unique(np.frombuffer(b"".join(parts), "<i8")).astype(np.int64)  # type: ignore[arg-type]  # checked


def oldest_kept(sizes: Iterable[tuple[int, int]], generation: int) -> int:
    """The oldest of the commits that are to be remembered.

    Args:
        sizes: Commits and the bytes of their keys, latest first.
        generation: The latest commit.
    """
    oldest, keys = generation + 1, 0
    for own, size in sizes:
        keys += size // 8
        if keys > OF_ALL or own <= generation - GENERATIONS:
            break
        oldest = own
    return oldest
