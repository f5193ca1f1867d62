"""Confidence intervals by bootstrap over queries.

Queries are drawn with replacement, as many as there are, and the mean of each draw is taken; the interval holds
the middle 95 % of those means (Efron and Tibshirani 1993, percentile method; for retrieval: Sakai 2006,
https://doi.org/10.1145/1148170.1148261). The draws depend on the number of queries and the seed alone, so that
systems are compared on the same draws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
_BLOCK = 200
"""Resamples drawn at a time, so that memory stays small for many queries."""


def intervals(
    values: NDArray[np.float64], *, resamples: int = RESAMPLES, confidence: float = 0.95, seed: int = 0
) -> NDArray[np.float64]:
    """Lower and upper bound of the mean of each column.

    Args:
        values: One row a query, one column a measure. Shape: (queries, measures).
        resamples: How many draws.
        confidence: Share of draws inside the interval.
        seed: Of the random draws.

    Returns:
        Shape: (2, measures).
    """
    queries = len(values)
    random = np.random.default_rng(seed)
    chances = np.full(queries, 1 / queries)
    means = [
        # how often each query is drawn: the mean of a draw is then one matrix product
        random.multinomial(queries, chances, size=min(_BLOCK, resamples - start)) @ values / queries
        for start in range(0, resamples, _BLOCK)
    ]
    tail = (1 - confidence) / 2
    bounds: NDArray[np.float64] = np.quantile(np.concatenate(means), [tail, 1 - tail], axis=0)
    return bounds
