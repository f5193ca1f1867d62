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


def runs_of_hits(found: Mapping[str, Sequence[tuple[str, float]]], fetch: int) -> LegRuns:
    """Gives the documents that legs found one by one keys in common.

    Args:
        found: (id, score) of the hits of each leg, best first.
        fetch: Documents asked of each leg.
    """
    keys: dict[str, int] = {}
    runs = {leg: [(keys.setdefault(id_, len(keys)), score) for id_, score in hits] for leg, hits in found.items()}
    return LegRuns(runs, {key: id_ for id_, key in keys.items()}, depth=fetch)
