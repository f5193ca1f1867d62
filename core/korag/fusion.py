"""Fuses several rankings into one: reciprocal rank fusion and weighted score fusion.

Both work on ids, never on texts, and are deterministic: equal scores keep the order in which their ids were
first seen, leg by leg, rank by rank.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from korag.checks import check_weights
from korag.errors import InvalidArgumentError

Id = TypeVar("Id", bound=Hashable)
RRF_CONSTANT = 60
"""The constant of the RRF paper (Cormack et al. 2009, https://doi.org/10.1145/1571941.1572114)."""


def reciprocal_rank_fusion(
    rankings: Mapping[str, Sequence[Id]], *, weights: Mapping[str, float] | None = None, c: int = RRF_CONSTANT
) -> list[tuple[Id, float]]:
    """Fuses rankings by rank alone: ``score(d) = Σ_legs weight / (c + rank)``, ranks from 1.

    A leg without the id adds nothing; an id repeated in a leg counts once, at its better rank.

    Args:
        rankings: Ids of each leg, best first.
        weights: Weight of each leg; 1 where not given.
        c: Rank constant; larger values flatten the top.

    Returns:
        (id, score), best first.

    Raises:
        InvalidArgumentError: If `weights` names an unknown leg or holds a negative number, or `c` is negative.
    """
    weights = check_weights(rankings, weights)
    if not c >= 0:
        raise InvalidArgumentError(
            f"c={c!r}: 0 이상의 수여야 합니다.",
            f"c={c!r} is invalid; it must be a number of at least 0.",
        )
    terms: dict[Id, list[float]] = {}
    for leg, ranking in rankings.items():
        for rank, id_ in enumerate(dict.fromkeys(ranking), start=1):
            terms.setdefault(id_, []).append(weights[leg] / (c + rank))
    return _add_up(terms)


def weighted_fusion(
    runs: Mapping[str, Sequence[tuple[Id, float]]], *, weights: Mapping[str, float] | None = None
) -> list[tuple[Id, float]]:
    """Fuses scores: each leg's scores are scaled to [0, 1] by their minimum and maximum, then summed by weight.

    Args:
        runs: (id, score) of each leg.
        weights: Weight of each leg; 1 where not given.

    Returns:
        (id, score), best first. A leg without the id adds 0; a leg whose scores are all equal adds 1 for each id.

    Raises:
        InvalidArgumentError: If `weights` names an unknown leg or holds a negative number.
    """
    weights = check_weights(runs, weights)
    terms: dict[Id, list[float]] = {}
    for leg, run in runs.items():
        scores: dict[Id, float] = {}
        for id_, score in run:
            scores[id_] = max(score, scores.get(id_, score))
        least, greatest = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
        for id_, score in scores.items():
            scaled = (score - least) / (greatest - least) if greatest > least else 1.0
            terms.setdefault(id_, []).append(weights[leg] * scaled)
    return _add_up(terms)


@dataclass(frozen=True)
class Fusion:
    """Settings of a hybrid search.

    Attributes:
        method: ``"rrf"`` by rank, or ``"weighted"`` by scaled scores.
        weights: Weight of each leg; 1 where not given.
    """

    method: str = "rrf"
    weights: Mapping[str, float] | None = None

    def __call__(self, runs: Mapping[str, Sequence[tuple[Id, float]]]) -> tuple[list[tuple[Id, float]], float]:
        """Fuses runs.

        Args:
            runs: (id, score) of each leg, best first.

        Returns:
            The fused (id, score), best first, and the score of a document that ranks first in every leg.
        """
        total = sum((self.weights or {}).get(leg, 1.0) for leg in runs)
        if self.method == "weighted":
            return weighted_fusion(runs, weights=self.weights), total
        ranked = {leg: [id_ for id_, _ in run] for leg, run in runs.items()}
        return reciprocal_rank_fusion(ranked, weights=self.weights), total / (RRF_CONSTANT + 1)


def _add_up(terms: Mapping[Id, Sequence[float]]) -> list[tuple[Id, float]]:
    """Sums with `math.fsum`, so that ranks 1, 2, 3 and 3, 1, 2 tie whatever the order of the legs. Best first."""
    fused = [(id_, math.fsum(parts)) for id_, parts in terms.items()]
    return sorted(fused, key=lambda item: -item[1])
