"""From the runs of several legs to hits: fusion, relevance and thresholds, the same for every store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from korag.checks import check_fraction
from korag.collection.base import Hit, SearchOptions
from korag.collection.documents import StoredDocument
from korag.collection.relevance import hybrid_relevance
from korag.fusion import Fusion
from korag.legs.registry import lexical_legs

Run = list[tuple[int, float]]
"""(key, score) of documents, best first. Keys ascend in insertion order."""


def rank_hits(
    runs: Mapping[str, Run],
    max_scores: Mapping[str, float],
    documents: Callable[[Iterable[int]], Mapping[int, StoredDocument]],
    options: SearchOptions,
    confidences: Mapping[str, float] | None = None,
) -> list[Hit]:
    """Turns what each leg found for a query into hits.

    Args:
        runs: What each leg found: `SearchOptions.candidates` documents if there are several legs, else k.
        max_scores: The score of a perfect match in each leg (`korag.legs.base.Leg.max_score`).
        documents: Returns the documents of some keys; those deleted meanwhile are left out of the hits.
        options: Number of hits, fusion, and threshold.
        confidences: How far each leg is to be trusted for this query (`korag.legs.base.Leg.confidence`); 1 where not
            given.

    Returns:
        Hits, best first; equal scores in insertion order.
    """
    tops = {leg: _fraction(run[0][1], max_scores[leg]) if run else 0.0 for leg, run in runs.items()}
    relevance: Callable[[float], float]
    if len(runs) == 1:
        ((leg, fused),) = runs.items()
        relevance = partial(_fraction, max_score=max_scores[leg])
    else:
        fusion = Fusion(options.fusion, options.weights)
        fused, _ = fusion(runs, lexical=lexical_legs(runs), confidences=confidences, depth=options.candidates)
        greatest = max((score for _, score in fused), default=0.0)
        trusted = {leg: (options.weights or {}).get(leg, 1.0) * (confidences or {}).get(leg, 1.0) for leg in runs}
        relevance = hybrid_relevance(tops, greatest=greatest, weights=trusted)
    best = sorted(fused, key=lambda item: (-item[1], item[0]))[: options.k]
    ranks = {leg: {key: (rank, score) for rank, (key, score) in enumerate(run, 1)} for leg, run in runs.items()}
    stored = documents([key for key, _ in best])
    hits = [
        Hit(
            id=stored[key].id,
            score=score,
            text=stored[key].text,
            metadata=stored[key].metadata,
            legs={leg: found[key] for leg, found in ranks.items() if key in found},
            relevance=relevance(score),
        )
        for key, score in best
        if key in stored
    ]
    least = check_fraction("min_relevance", options.min_relevance)
    return [hit for hit in hits if hit.relevance >= least]


def _fraction(score: float, max_score: float) -> float:
    return min(1.0, max(0.0, score / max_score)) if max_score > 0 else 0.0
