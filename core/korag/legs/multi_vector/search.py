"""Which documents are the k best by MaxSim, without scoring all of them one by one.

An exact search narrows the documents down by steps that leave out nothing: estimates with a bound on how far they can
be off tell which can be among the k best. A pruned search first goes by summaries, which have no such bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from korag.legs.base import Part
from korag.legs.multi_vector import codecs, scan
from korag.legs.multi_vector.codecs import QuantizedQuery
from korag.scoring import Ints, maxsim_packed

QUERY_BATCH = 4
"""Queries that share one pass over the codes."""
MIN_RATIO = 4
"""With fewer than this many documents for each one wanted, there is little to leave out."""
RESCAN_FROM = 1_000
"""Documents that are worth one more estimate before they are scored one by one."""
SCAN_STEPS = 20
"""A pruned search takes the documents with the best summaries by twentieths of all, …"""
MIN_STEP = 10
"""… but not fewer at once than this many for each one wanted."""
Scores = NDArray[np.float32]


def search(queries: Sequence[NDArray[np.float32]], parts: Sequence[Part], k: int, *, exact: bool) -> Iterator[Scores]:
    """Scores what can be among the k best.

    Args:
        queries: Token vectors of each. Shape of each: (query_tokens, dim).
        parts: Documents to choose from.
        k: How many are wanted.
        exact: Leave out nothing that is among the k best.

    Yields:
        For each query the scores of `korag.scoring.maxsim_packed`, and −inf for documents without tokens or left
        out. Shape: (documents of all parts,).
    """
    total = sum(len(part.rows) for part in parts)
    for start in range(0, len(queries), QUERY_BATCH):
        batch = [codecs.quantize_query(query) for query in queries[start : start + QUERY_BATCH]]
        if total <= MIN_RATIO * k or not all(len(query.codes) for query in batch):
            chosen = [np.arange(total)] * len(batch)
        elif exact:
            bytes_first = scan.is_fast_with_bytes(batch[0].codes.shape[1])
            kind: Literal["tokens", "codes"] = "codes" if bytes_first else "tokens"
            estimates = scan.estimate(parts, batch, kind)
            chosen = [_within_error_bound(parts, query, estimates[:, i], k, kind) for i, query in enumerate(batch)]
        else:
            estimates = scan.estimate(parts, batch, "summaries")
            chosen = [_prune(parts, query, estimates[:, i], k) for i, query in enumerate(batch)]
        for query, positions in zip(batch, chosen, strict=True):
            if len(positions) > max(RESCAN_FROM, MIN_RATIO * k) and len(query.codes):
                nearer = _narrow(parts, positions)
                rough = scan.estimate(nearer, [query], "tokens")[:, 0]
                positions = positions[_within_error_bound(nearer, query, rough, k, "tokens")]
            scores = np.full(total, -np.inf, np.float32)
            scores[positions] = _score(_narrow(parts, positions), query)
            yield scores


def _within_error_bound(
    parts: Sequence[Part], query: QuantizedQuery, estimates: Scores, k: int, kind: Literal["tokens", "codes"]
) -> Ints:
    """Positions of the documents that can be among the k best."""
    off = scan.bounds(parts, query, kind)
    found = np.flatnonzero(estimates > -np.inf)
    if len(found) > k:
        least = np.partition((estimates - off)[found], -k)[-k]
        found = found[(estimates + off)[found] >= least]
    return found


def _prune(parts: Sequence[Part], query: QuantizedQuery, summaries: Scores, k: int) -> Ints:
    """Positions of the documents that seem to be among the k best.

    Documents are looked at by their codes in the order of their summaries, a share of all at a time, until a whole
    share has none that is better than the k-th best before it. So it goes the further the less the summaries say.
    """
    filled = int((summaries > -np.inf).sum())
    share = max(-(-filled // SCAN_STEPS), MIN_STEP * k)
    positions, estimates = np.zeros(0, np.int64), np.zeros(0, np.float32)
    above, end = np.inf, 0
    while end < filled:
        end = min(end + share, filled)
        lowest = np.partition(summaries, -end)[-end]
        new = np.flatnonzero((summaries >= lowest) & (summaries < above))  # equal ones all at once
        found = scan.estimate(_narrow(parts, new), [query], "codes")[:, 0]
        worse = len(estimates) >= k and (not len(found) or found.max() <= np.partition(estimates, -k)[-k])
        positions, estimates = np.concatenate([positions, new]), np.concatenate([estimates, found])
        above = lowest
        if worse:
            break
    order = np.argsort(positions)
    positions, estimates = positions[order], estimates[order]
    return positions[_within_error_bound(_narrow(parts, positions), query, estimates, k, "codes")]


def _score(parts: Sequence[Part], query: QuantizedQuery) -> Scores:
    """Exact scores."""
    scores = [maxsim_packed(query.vectors, part.arrays["tokens"], part.arrays["offsets"], part.rows) for part in parts]
    return np.concatenate([np.zeros(0, np.float32), *scores])


def _narrow(parts: Sequence[Part], positions: Ints) -> list[Part]:
    """Some of the documents of all parts; positions ascend."""
    narrowed, first = [], 0
    for part in parts:
        start, end = np.searchsorted(positions, (first, first + len(part.rows))).tolist()
        narrowed.append(Part(part.arrays, part.rows[positions[start:end] - first]))
        first += len(part.rows)
    return narrowed
