"""Bootstrap confidence intervals over queries.

Each resample draws as many queries as there are, with replacement; the interval contains the middle 95 % of the
resampled means (percentile method, Efron and Tibshirani 1993; for retrieval: Sakai 2006,
https://doi.org/10.1145/1148170.1148261). Resamples depend only on the number of queries and the seed, so that systems
are compared on the same ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
_BLOCK = 200
"""Resamples drawn at a time, to bound memory."""


def intervals(
    values: NDArray[np.float64], *, resamples: int = RESAMPLES, confidence: float = 0.95, seed: int = 0
) -> NDArray[np.float64]:
    """Computes lower and upper bounds of the mean of each column.

    Args:
        values: One row per query, one column per measure. Shape: (queries, measures).
        resamples: Number of resamples.
        confidence: Confidence level.
        seed: Seed of the resamples.

    Returns:
        Shape: (2, measures).
    """
    queries = len(values)
    random = np.random.default_rng(seed)
    chances = np.full(queries, 1 / queries)
    means = [
        # counts per query: the mean of a resample is then a matrix product
        random.multinomial(queries, chances, size=min(_BLOCK, resamples - start)) @ values / queries
        for start in range(0, resamples, _BLOCK)
    ]
    tail = (1 - confidence) / 2
    bounds: NDArray[np.float64] = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return bounds
