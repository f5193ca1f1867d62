"""The relevance of hybrid hits: one scale for every combination of legs and every fusion, so that one threshold works.

`benchmarks/relevance.py` measures the constants below.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from korag.legs.registry import leg_types

RECOMMENDED = 0.5
"""The `min_relevance` of a hybrid search that rejects questions a collection cannot answer."""

_LEXICAL = 0.21
_EVEN = {"dense": 0.63, "sparse": 0.42, "late_interaction": 0.69}
"""By family: the relevance of a leg's best document at which a question is as likely to be answerable as not."""


def hybrid_relevance(
    tops: Mapping[str, float],
    *,
    greatest: float,
    weights: Mapping[str, float] | None = None,
    even: Mapping[str, float] | None = None,
) -> Callable[[float], float]:
    """Returns the function from fused scores to relevances for one query.

    First, each leg says how well the collection answers the query: the relevance r of its own best document, bent so
    that the relevance t at which questions are as likely to be answerable as not becomes ½: ``r ** (ln ½ / ln t)``.
    The mean over the legs is the relevance of the best hit, whatever the fusion. Hits below it get less with their
    fused score: ``mean · √(score / best score)``.

    Args:
        tops: For each leg searched, the relevance of its best document, in [0, 1]; 0 if it found none.
        greatest: The best fused score.
        weights: Weight of each leg in the mean; 1 where not given.
        even: The t of each leg; `even_relevance` where not given.

    Returns:
        A function that never falls as the score grows, with values in [0, 1].
    """
    own = {leg: (weights or {}).get(leg, 1.0) for leg in tops}
    total = math.fsum(own.values())
    bent = {leg: _bend(top, (even or {}).get(leg) or even_relevance(leg)) for leg, top in tops.items()}
    mean = math.fsum(own[leg] * value for leg, value in bent.items()) / total if total > 0 else 0.0

    def relevance(score: float) -> float:
        share = min(1.0, max(0.0, score / greatest)) if greatest > 0 else float(score >= greatest)
        return min(1.0, mean * math.sqrt(share))

    return relevance


def even_relevance(leg: str) -> float:
    """Returns the relevance of a leg's best document at which a question is as likely to be answerable as not.

    Args:
        leg: Its name; that of one which is not registered counts as lexical.
    """
    families = {row.name: row.family for row in leg_types()}
    return _EVEN.get(families.get(leg) or "", _LEXICAL)


def _bend(relevance: float, even: float) -> float:
    return relevance ** (math.log(0.5) / math.log(even)) if relevance > 0 else 0.0
