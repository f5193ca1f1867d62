"""Scores of byte codes as tables of int16, for `korag.kernels.maxsim.table_maxsim`.

What a document token scores with a query token is a sum of numbers looked up in tables: two for its cell, which is a
centroid and a residual centroid, and one for each byte of its code (product quantization, Jégou, Douze, Schmid 2011,
https://hal.science/inria-00514462).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from korag.kernels import aligned

Floats = NDArray[np.float32]
VALUES = 256
"""Values of a byte."""
UNIT = 2**14
"""1 as a factor in int16."""
_POWERS = np.linspace(-1, 1, VALUES, endpoint=False)
GAINS: NDArray[np.float32] = (2 ** (_POWERS * np.abs(_POWERS))).astype(np.float32)
"""The factor of each gain, for a token's product: from a half to two, finest at one, where most are."""
FACTORS: NDArray[np.int16] = np.rint(GAINS * UNIT).astype(np.int16)
RESIDUALS = 64
"""Residual centroids: the cell of a token is 64 times its centroid's number, and that of its residual centroid."""
LANES = 32
"""Query tokens of a group."""
_GREATEST = 32_766
"""Of a sum in int16; one less than fits, for what a step in float32 is too small."""
_ROUNDING = 2.0**-20
"""Bound on what float32 rounds in a sum of thousands of query tokens, as a share of the greatest possible score."""


@dataclass(frozen=True)
class ScoreTables:
    """Tables of query tokens, in groups of 32 tokens of one query, the last of which is filled up with zeros.

    Attributes:
        tables: What each value of each byte, then each residual centroid, and then each centroid, scores with each
            token, in steps. Shape: (groups, bytes · 256 + 64 + centroids, 32).
        size: Bytes of a code.
        steps: Of each token. Shape: (groups, 32).
        firsts: First group of each query. Shape: (queries,).
        errors: Bound on the error that rounding to steps causes in each query's MaxSim, factors included. Shape:
            (queries,).
    """

    tables: NDArray[np.int16]
    size: int
    steps: NDArray[np.float32]
    firsts: NDArray[np.int64]
    errors: NDArray[np.float32]


def make_tables(queries: Sequence[tuple[Floats, Floats, Floats]]) -> ScoreTables:
    """Rounds what codes and cells score to int16, such that no sum of a token overflows.

    Args:
        queries: For each query, what each value of each byte scores with each of its tokens, what each residual
            centroid does, and what each centroid does; at least one token and one centroid, and the same codes for all
            queries. Shapes: (bytes, 256, tokens), (64, tokens), (centroids, tokens).

    Raises:
        ValueError: If there is no query, one without tokens, or a number that is not finite.
    """
    if not queries or not all(own[0].ndim == 3 and own[0].shape[1] == VALUES and own[0].shape[2] for own in queries):
        raise ValueError("make_tables takes queries with 256 scores for each byte and at least one token")
    size, centroids = queries[0][0].shape[0], len(queries[0][2])
    if not size or not centroids or size >= _GREATEST:
        raise ValueError("make_tables takes codes of at least one byte, and at least one centroid")
    for codes, residuals, rows in queries:
        tokens = codes.shape[2]
        if codes.shape[0] != size or residuals.shape != (RESIDUALS, tokens) or rows.shape != (centroids, tokens):
            raise ValueError("make_tables takes the same codes for all queries")
        if not all(np.isfinite(scores).all() for scores in (codes, residuals, rows)):
            raise ValueError("make_tables takes finite scores")
    counts = [-(-codes.shape[2] // LANES) for codes, _, _ in queries]
    firsts = np.cumsum([0, *counts])
    tables = aligned.zeros((int(firsts[-1]), size * VALUES + RESIDUALS + centroids, LANES), np.int16)
    steps = np.zeros((len(tables), LANES), np.float32)
    errors = np.zeros(len(queries), np.float32)
    for number, (codes, *cells) in enumerate(queries):
        tokens = codes.shape[2]
        greatest = np.abs(codes).max(axis=1).sum(axis=0) + sum(np.abs(scores).max(axis=0) for scores in cells)
        greatest = greatest.astype(np.float64)
        half = (size + 2) / 2  # each number may round up by half a step
        own = np.maximum(greatest / (_GREATEST - half), np.finfo(np.float32).tiny).astype(np.float32)
        rounded = np.rint(np.concatenate([codes.reshape(-1, tokens), *cells]) / own)
        errors[number] = ((half * 2 + 2**16 / UNIT) * own.sum() + _ROUNDING * greatest.sum()) * (1 + 1e-3)
        for start in range(0, tokens, LANES):
            group, width = int(firsts[number]) + start // LANES, min(LANES, tokens - start)
            tables[group, :, :width] = rounded[:, start : start + width]
            steps[group, :width] = own[start : start + width]
    return ScoreTables(tables, size, steps, firsts[:-1], errors)
