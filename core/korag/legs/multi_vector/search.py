"""Finds the k best documents by MaxSim without scoring each of them.

An exact search narrows the documents down by estimates with a known error bound, which exclude only documents that
cannot be among the k best. A pruned search starts from pooled tokens, whose estimates have no such bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from korag.legs.base import SegmentSlice, narrow
from korag.legs.multi_vector import quantization, scan
from korag.legs.multi_vector.quantization import QuantizedQuery
from korag.scoring import Ints, maxsim_packed

QUERY_BATCH = 4
"""Queries per pass over the codes."""
MIN_RATIO = 4
"""Documents per result wanted; below this, estimates cost more than they save."""
RESCAN_FROM = 1_000
"""Candidates above which one more, tighter estimate pays before they are scored."""
SCAN_STEPS = 20
"""Steps in which a pruned search goes through all documents, in the order of their pooled estimates."""
MIN_STEP = 10
"""Minimum documents per step, for each result wanted."""
Scores = NDArray[np.float32]


def search(
    queries: Sequence[NDArray[np.float32]], slices: Sequence[SegmentSlice], k: int, *, exact: bool
) -> Iterator[Scores]:
    """Scores the documents that can be among the k best.

    Args:
        queries: Token vectors of each. Shape of each: (query_tokens, dim).
        slices: Documents to choose from.
        k: How many of them are wanted.
        exact: False allows missing some of the k best.

    Yields:
        For each query the scores of `korag.scoring.maxsim_packed`, and −inf for documents that have no tokens or were
        excluded. Shape: (documents of all slices,).
    """
    total = sum(len(part.rows) for part in slices)
    for start in range(0, len(queries), QUERY_BATCH):
        batch = [quantization.quantize_query(query) for query in queries[start : start + QUERY_BATCH]]
        if total <= MIN_RATIO * k or not all(len(query.codes) for query in batch):
            chosen = [np.arange(total)] * len(batch)
        elif exact:
            bytes_first = scan.is_fast_with_bytes(batch[0].codes.shape[1])
            kind: Literal["tokens", "codes"] = "codes" if bytes_first else "tokens"
            estimates = scan.estimate(slices, batch, kind)
            chosen = [_within_error_bound(slices, query, estimates[:, i], k, kind) for i, query in enumerate(batch)]
        else:
            estimates = scan.estimate(slices, batch, "pooled_tokens")
            chosen = [_prune(slices, query, estimates[:, i], k) for i, query in enumerate(batch)]
        for query, positions in zip(batch, chosen, strict=True):
            if len(positions) > max(RESCAN_FROM, MIN_RATIO * k) and len(query.codes):
                nearer = narrow(slices, positions)
                rough = scan.estimate(nearer, [query], "tokens")[:, 0]
                positions = positions[_within_error_bound(nearer, query, rough, k, "tokens")]
            scores = np.full(total, -np.inf, np.float32)
            scores[positions] = _score(narrow(slices, positions), query)
            yield scores


def _within_error_bound(
    slices: Sequence[SegmentSlice], query: QuantizedQuery, estimates: Scores, k: int, kind: Literal["tokens", "codes"]
) -> Ints:
    """Positions of the documents that can be among the k best."""
    off = scan.bounds(slices, query, kind)
    found = np.flatnonzero(estimates > -np.inf)
    if len(found) > k:
        least = np.partition((estimates - off)[found], -k)[-k]
        found = found[(estimates + off)[found] >= least]
    return found


def _prune(slices: Sequence[SegmentSlice], query: QuantizedQuery, pooled: Scores, k: int) -> Ints:
    """Positions of the documents that are probably among the k best.

    Estimates documents by their codes, step by step in the order of their pooled estimates, until a whole step contains
    none better than the k-th best before it. The less the pooled estimates distinguish, the further this goes.
    """
    nonempty = int((pooled > -np.inf).sum())
    step = max(-(-nonempty // SCAN_STEPS), MIN_STEP * k)
    positions, estimates = np.zeros(0, np.int64), np.zeros(0, np.float32)
    above, end = np.inf, 0
    while end < nonempty:
        end = min(end + step, nonempty)
        lowest = np.partition(pooled, -end)[-end]
        new = np.flatnonzero((pooled >= lowest) & (pooled < above))  # ties in one step
        found = scan.estimate(narrow(slices, new), [query], "codes")[:, 0]
        worse = len(estimates) >= k and (not len(found) or found.max() <= np.partition(estimates, -k)[-k])
        positions, estimates = np.concatenate([positions, new]), np.concatenate([estimates, found])
        above = lowest
        if worse:
            break
    order = np.argsort(positions)
    positions, estimates = positions[order], estimates[order]
    return positions[_within_error_bound(narrow(slices, positions), query, estimates, k, "codes")]


def _score(slices: Sequence[SegmentSlice], query: QuantizedQuery) -> Scores:
    """Exact scores of all documents."""
    scores = [maxsim_packed(query.vectors, part.arrays["tokens"], part.arrays["offsets"], part.rows) for part in slices]
    return np.concatenate([np.zeros(0, np.float32), *scores])
