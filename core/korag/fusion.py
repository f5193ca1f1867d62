"""Fuses several rankings into one: anchored, weighted and reciprocal rank fusion.

All work on ids, never on texts, and are deterministic: equal scores keep the order in which their ids were first seen,
leg by leg, rank by rank. An id that a leg repeats counts once, at its best place; strings are the same if their NFC
form is, and returned as they were first seen.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Generic, Self, TypeVar

from korag.checks import FusionMethod, check_fusion, check_weights
from korag.errors import InvalidArgumentError
from korag.text import to_nfc

Id = TypeVar("Id", bound=Hashable)
DEFAULT_METHOD: FusionMethod = "anchored"
"""The method of ``"auto"`` where nothing was fitted; benchmarks/fusion.py chose it."""
LEXICAL = ("bm25", "bm25_bigram", "bm25_kiwi", "bm25_custom")
"""The names of lexical legs. The first of a collection is ``bm25``, further ones are named after their tokenizers."""
LEAST_WEIGHT = 1 / 3
"""The weight of a leg that disagrees with the lexical ones, in `anchored_fusion`."""
RRF_CONSTANT = 60
"""The constant of the RRF paper (Cormack et al. 2009, https://doi.org/10.1145/1571941.1572114)."""


def reciprocal_rank_fusion(
    rankings: Mapping[str, Sequence[Id]], *, weights: Mapping[str, float] | None = None, c: int = RRF_CONSTANT
) -> list[tuple[Id, float]]:
    """Fuses rankings by rank alone: ``score(d) = Σ_legs weight / (c + rank)``, ranks from 1.

    A leg without the id adds nothing.

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
    for leg, ranks in _ranks(rankings).items():
        for id_, rank in ranks.items():
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
        InvalidArgumentError: If `weights` names an unknown leg or holds a negative number, or a score is not a finite
            number.
    """
    factors = check_weights(runs, weights)
    return _sum_scaled({leg: _scale(scores) for leg, scores in _best_scores(runs).items()}, factors)


def anchored_fusion(
    runs: Mapping[str, Sequence[tuple[Id, float]]],
    *,
    weights: Mapping[str, float] | None = None,
    lexical: Collection[str] = LEXICAL,
    depth: int | None = None,
) -> list[tuple[Id, float]]:
    """Fuses scores with the lexical legs as the anchor: the others count as far as they agree with them.

    A leg with a model may be excellent, or no better than chance, and a single query does not show which. Lexical
    scores are never that bad, so they serve as the reference list: a leg's agreement with it predicts how good the leg
    is (Shtok, Kurland and Carmel 2016, https://doi.org/10.1145/2926790).

    1. Each leg's scores over the pool, all documents that any leg found, are counted from its lowest and divided by
       their standard deviation, so that a leg which singles a document out says more than one which hardly tells them
       apart. A document it did not find has its lowest score; in a lexical leg that found fewer than `depth` it has
       0, because every document that shares a word was found.
    2. Lexical legs together have the weight 1. Any other leg has the correlation (Pearson) of its scores with those of
       the lexical leg nearest to it, over what the two found, but at least `LEAST_WEIGHT`, because words miss synonyms.
       Without a lexical leg that found something, all legs have the weight 1.
    3. ``score(d) = Σ_legs weight · scaled(d) / Σ_legs weight · max scaled``.

    Args:
        runs: (id, score) of each leg.
        weights: Factor on the weight of each leg; 1 where not given. A leg of weight 0 is left out.
        lexical: The lexical legs among them.
        depth: The documents asked of each leg; None for the longest run.

    Returns:
        (id, score), best first; 1 for the best of every leg, 0 for the last.

    Raises:
        InvalidArgumentError: If `weights` names an unknown leg or holds a negative number, or a score is not a finite
            number.
    """
    parts = _anchored_parts(runs, check_weights(runs, weights), lexical, depth)
    return _sum_scaled(parts.scaled, parts.weights)


@dataclass(frozen=True)
class FusionParts(Generic[Id]):
    """The parts of fused scores: ``score(d) = Σ_legs weight · scaled(d)``.

    Attributes:
        scaled: The scores that count, by leg and id; 0 for an id that is not there.
        weights: Weight of each leg; 0 for one that is not there.
    """

    scaled: Mapping[str, Mapping[Id, float]]
    weights: Mapping[str, float]


def _anchored_parts(
    runs: Mapping[str, Sequence[tuple[Id, float]]],
    factors: Mapping[str, float],
    lexical: Collection[str],
    depth: int | None,
) -> FusionParts[Id]:
    scores = {leg: own for leg, own in _best_scores(runs).items() if own and factors[leg] > 0}
    if not scores:
        return FusionParts({}, {})
    asked = max(len(runs[leg]) for leg in scores) if depth is None else depth
    raised = {leg: _raise(own, complete=leg in lexical and len(runs[leg]) < asked) for leg, own in scores.items()}
    pool = len(set().union(*raised.values()))
    scaled = {leg: _standardize(own, pool) for leg, own in raised.items()}
    own = _anchored_weights(raised, lexical)
    trusted = {leg: factors[leg] * weight for leg, weight in own.items()}
    most = math.fsum(weight * max(scaled[leg].values()) for leg, weight in trusted.items())
    return FusionParts(scaled, {leg: weight / most for leg, weight in trusted.items()})


@dataclass(frozen=True)
class Fusion:
    """Settings of a hybrid search: the way the rankings of its legs are merged.

    Attributes:
        method: ``"anchored"``, ``"weighted"`` or ``"rrf"``: the function of this module that does it. ``"auto"`` is
            `DEFAULT_METHOD`.
        weights: Factor on the weight of each leg; 1 where not given.
    """

    method: FusionMethod = "auto"
    weights: Mapping[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        return {"method": self.method, "weights": None if self.weights is None else dict(self.weights)}

    @classmethod
    def from_dict(cls, recorded: Any) -> Self:
        """Returns what `to_dict` was called on.

        Raises:
            InvalidArgumentError: If it is not what `to_dict` returns.
        """
        if not isinstance(recorded, Mapping) or recorded.keys() != {"method", "weights"}:
            raise InvalidArgumentError(
                f"recorded={recorded!r:.80}: Fusion.to_dict()가 돌려준 dict여야 합니다. 키는 method와 weights입니다.",
                f"recorded={recorded!r:.80} must be a dict as returned by Fusion.to_dict(), with the keys method and "
                "weights.",
            )
        weights = recorded["weights"]
        return cls(
            check_fusion(recorded["method"]),
            None if weights is None else check_weights(weights if isinstance(weights, Mapping) else (), weights),
        )

    def resolved(self, fitted: Fusion | None = None) -> Fusion:
        """Returns the fusion that ``"auto"`` stands for: a collection's own with these weights on top, or the default.

        Args:
            fitted: The collection's own, if it has one.
        """
        if self.method != "auto":
            return self
        if fitted is None:
            return Fusion(DEFAULT_METHOD, self.weights)
        return Fusion(fitted.resolved().method, _product(self.weights, fitted.weights))

    def __call__(
        self,
        runs: Mapping[str, Sequence[tuple[Id, float]]],
        *,
        lexical: Collection[str] = LEXICAL,
        confidences: Mapping[str, float] | None = None,
        depth: int | None = None,
    ) -> tuple[list[tuple[Id, float]], float]:
        """Fuses runs.

        Args:
            runs: (id, score) of each leg, best first.
            lexical: The lexical legs among them.
            confidences: How far each leg is to be trusted for this query, 1 where not given; for ``"anchored"`` only.
            depth: The documents asked of each leg; None for the longest run.

        Returns:
            The fused (id, score), best first, and the score of a document that is the best of every leg.
        """
        method = DEFAULT_METHOD if self.method == "auto" else self.method
        weights = {leg: (self.weights or {}).get(leg, 1.0) for leg in runs}
        if method == "anchored":
            trusted = {leg: weight * (confidences or {}).get(leg, 1.0) for leg, weight in weights.items()}
            return anchored_fusion(runs, weights=trusted, lexical=lexical, depth=depth), 1.0
        if method == "weighted":
            return weighted_fusion(runs, weights=weights), sum(weights.values())
        ranked = {leg: [id_ for id_, _ in run] for leg, run in runs.items()}
        return reciprocal_rank_fusion(ranked, weights=weights), sum(weights.values()) / (RRF_CONSTANT + 1)

    def parts(
        self,
        runs: Mapping[str, Sequence[tuple[Id, float]]],
        *,
        lexical: Collection[str] = LEXICAL,
        confidences: Mapping[str, float] | None = None,
        depth: int | None = None,
    ) -> FusionParts[Id]:
        """Returns what the scores of a call with the same arguments are made of, whatever the method."""
        method = DEFAULT_METHOD if self.method == "auto" else self.method
        weights = {leg: (self.weights or {}).get(leg, 1.0) for leg in runs}
        if method == "anchored":
            trusted = {leg: weight * (confidences or {}).get(leg, 1.0) for leg, weight in weights.items()}
            return _anchored_parts(runs, trusted, lexical, depth)
        if method == "weighted":
            return FusionParts({leg: _scale(scores) for leg, scores in _best_scores(runs).items()}, weights)
        ranks = _ranks({leg: [id_ for id_, _ in run] for leg, run in runs.items()})
        scaled = {leg: {id_: 1 / (RRF_CONSTANT + rank) for id_, rank in own.items()} for leg, own in ranks.items()}
        return FusionParts(scaled, weights)


def _product(one: Mapping[str, float] | None, other: Mapping[str, float] | None) -> dict[str, float] | None:
    """Multiplies weights by leg; 1 where not given."""
    if one is None or other is None:
        given = other if one is None else one
        return None if given is None else dict(given)
    return {leg: one.get(leg, 1.0) * other.get(leg, 1.0) for leg in {**one, **other}}


def _first_seen(id_: Id, first: dict[Hashable, Id]) -> Id:
    """The form in which an id was first seen, which `first` remembers by NFC form."""
    return first.setdefault(to_nfc(id_) if isinstance(id_, str) else id_, id_)


def _ranks(rankings: Mapping[str, Sequence[Id]]) -> dict[str, dict[Id, int]]:
    """The rank of each id in each leg, from 1; the best of one that is repeated."""
    first: dict[Hashable, Id] = {}
    return {
        leg: {id_: rank for rank, id_ in enumerate(dict.fromkeys(_first_seen(id_, first) for id_ in ranking), start=1)}
        for leg, ranking in rankings.items()
    }


def _best_scores(runs: Mapping[str, Sequence[tuple[Id, float]]]) -> dict[str, dict[Id, float]]:
    """The score of each id in each leg; the best of one that is repeated."""
    first: dict[Hashable, Id] = {}
    found: dict[str, dict[Id, float]] = {}
    for leg, run in runs.items():
        scores = found[leg] = {}
        for index, entry in enumerate(run):
            id_, score = _checked(entry, f"runs['{leg}'][{index}]")
            id_ = _first_seen(id_, first)
            scores[id_] = max(score, scores.get(id_, score))
    return found


def _checked(entry: tuple[Id, float], place: str) -> tuple[Id, float]:
    if isinstance(entry, tuple | list) and len(entry) == 2 and isinstance(entry[1], Real):
        with contextlib.suppress(OverflowError):  # an integer beyond all floats
            if math.isfinite(score := float(entry[1])):
                return entry[0], score
    raise InvalidArgumentError(
        f"{place}={entry!r:.80}: (id, 점수)여야 하고 점수는 유한한 수여야 합니다.",
        f"{place}={entry!r:.80} must be (id, score) with a finite score.",
    )


def _scale(scores: Mapping[Id, float]) -> dict[Id, float]:
    """Scales scores to [0, 1] by their minimum and maximum; all equal ones become 1."""
    least, greatest = min(scores.values(), default=0.0), max(scores.values(), default=0.0)
    if greatest > least:
        return {id_: (score - least) / (greatest - least) for id_, score in scores.items()}
    return dict.fromkeys(scores, 1.0)


def _anchored_weights(raised: Mapping[str, Mapping[Id, float]], lexical: Collection[str]) -> dict[str, float]:
    """The weight of each leg that found something, as `anchored_fusion` describes."""
    anchors = [leg for leg in raised if leg in lexical]
    if not anchors:
        return dict.fromkeys(raised, 1.0)
    return {
        leg: 1 / len(anchors)
        if leg in anchors
        else max(LEAST_WEIGHT, *(_correlation(own, raised[anchor]) for anchor in anchors))
        for leg, own in raised.items()
    }


def _raise(scores: Mapping[Id, float], *, complete: bool) -> dict[Id, float]:
    """Counts scores from that of documents not found, which is 0 if these match in nothing, otherwise the lowest."""
    least = min(scores.values())
    if complete and least > 0:
        return dict(scores)
    raised = {id_: score - least for id_, score in scores.items()}
    return raised if any(raised.values()) else dict.fromkeys(scores, 1.0)


def _standardize(raised: Mapping[Id, float], pool: int) -> dict[Id, float]:
    """Divides by the standard deviation over a pool in which all other scores are 0; all equal ones become 1."""
    deviation = _deviation(raised, pool)
    return {id_: score / deviation for id_, score in raised.items()} if deviation else dict.fromkeys(raised, 1.0)


def _correlation(one: Mapping[Id, float], other: Mapping[Id, float]) -> float:
    """Pearson's correlation over the ids of both, where a score that one lacks is 0; 1 if neither varies."""
    pool = len(one.keys() | other.keys())
    deviations = _deviation(one, pool), _deviation(other, pool)
    if not all(deviations):
        return float(not any(deviations))
    return _covariance(one, other, pool) / (deviations[0] * deviations[1])


def _deviation(scores: Mapping[Id, float], pool: int) -> float:
    """The standard deviation, or 0 where it is nothing but rounding."""
    deviation = math.sqrt(max(0.0, _covariance(scores, scores, pool)))
    return deviation if deviation > 1e-6 * max(scores.values()) else 0.0


def _covariance(one: Mapping[Id, float], other: Mapping[Id, float], pool: int) -> float:
    products = math.fsum(score * other.get(id_, 0.0) for id_, score in one.items()) / pool
    return products - math.fsum(one.values()) * math.fsum(other.values()) / pool**2


def _sum_scaled(scaled: Mapping[str, Mapping[Id, float]], weights: Mapping[str, float]) -> list[tuple[Id, float]]:
    terms: dict[Id, list[float]] = {}
    for leg, scores in scaled.items():
        for id_, score in scores.items():
            terms.setdefault(id_, []).append(weights[leg] * score)
    return _add_up(terms)


def _add_up(terms: Mapping[Id, Sequence[float]]) -> list[tuple[Id, float]]:
    """Sums with `math.fsum`, so that ranks 1, 2, 3 and 3, 1, 2 tie whatever the order of the legs. Best first."""
    fused = [(id_, math.fsum(parts)) for id_, parts in terms.items()]
    return sorted(fused, key=lambda item: -item[1])
