"""Query tokens in int8, for `korag.kernels.maxsim.byte_maxsim`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

LANES = 32
"""Query tokens of a group."""
MOST_DIMENSIONS = 65_536
"""So that the greatest sum of products, one of which is at most 255 · 128, fits int32."""


@dataclass(frozen=True)
class PackedQueries:
    """Query tokens in groups of 32 tokens of one query, the last of which is filled up with zeros.

    Attributes:
        codes: Shape: (groups, 32, dim).
        steps: What one stands for in each token's products; 0 for zeros. Shape: (groups, 32).
        firsts: First group of each query. Shape: (queries,).
    """

    codes: NDArray[np.int8]
    steps: NDArray[np.float32]
    firsts: NDArray[np.int64]

    @cached_property
    def words(self) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The codes as `korag.kernels.products.arrange` arranges them."""
        from korag.kernels import products

        return products.arrange(self.codes)


def pack(queries: Sequence[tuple[NDArray[np.int8], NDArray[np.float32]]]) -> PackedQueries:
    """Brings queries into groups.

    Args:
        queries: Codes, shape (tokens, dim), and steps, shape (tokens,), of each.

    Raises:
        ValueError: If there is no query, one without tokens, or none of 1 to 65,536 dimensions.
    """
    if not queries or not all(len(codes) for codes, _ in queries):
        raise ValueError("pack takes queries with at least one token each")
    dim = queries[0][0].shape[1]
    if not 1 <= dim <= MOST_DIMENSIONS:
        raise ValueError(f"pack takes codes of 1 to {MOST_DIMENSIONS} dimensions, not of {dim}")
    groups = [-(-len(codes) // LANES) for codes, _ in queries]
    firsts = np.cumsum([0, *groups])
    codes = np.zeros((int(firsts[-1]) * LANES, dim), np.int8)
    steps = np.zeros(len(codes), np.float32)
    for (own, own_steps), first in zip(queries, (firsts[:-1] * LANES).tolist(), strict=True):
        codes[first : first + len(own)], steps[first : first + len(own)] = own, own_steps
    return PackedQueries(codes.reshape(-1, LANES, dim), steps.reshape(-1, LANES), firsts[:-1])
