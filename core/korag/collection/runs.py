"""The documents that each leg of a collection found for a query: all that a fusion needs, to try others on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Run = list[tuple[int, float]]
"""(key, score) of documents, best first. Keys ascend in insertion order."""


@dataclass(frozen=True)
class LegRuns:
    """The documents that each leg found for one query.

    Attributes:
        runs: Of each leg.
        ids: The documents' ids by key.
        confidences: How far each leg is to be trusted for this query (`korag.legs.base.Leg.confidence`); 1 where not
            given.
        depth: Documents asked of each leg; None if unknown.
    """

    runs: Mapping[str, Run]
    ids: Mapping[int, str]
    confidences: Mapping[str, float] = field(default_factory=dict)
    depth: int | None = None


def runs_of_hits(
    hits: Sequence[tuple[str, Mapping[str, tuple[int, float]]]], legs: Sequence[str], fetch: int
) -> LegRuns:
    """Reads the legs' first documents off the hits of a hybrid search that returned all of them.

    Args:
        hits: ``id`` and ``legs`` of each hit.
        legs: The legs that were fused.
        fetch: Documents of each leg.
    """
    found: dict[str, list[tuple[int, int, float]]] = {leg: [] for leg in legs}
    for key, (_, places) in enumerate(hits):
        for leg, (rank, score) in places.items():
            if rank <= fetch:
                found[leg].append((rank, key, score))
    runs = {leg: [(key, score) for _, key, score in sorted(ranked)] for leg, ranked in found.items()}
    return LegRuns(runs, {key: id_ for key, (id_, _) in enumerate(hits)}, depth=fetch)
