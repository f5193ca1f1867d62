"""From the runs of several legs to hits: fusion, relevance and thresholds, the same for every store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from korag.checks import check_fraction
from korag.collection.base import Hit, SearchOptions
from korag.collection.documents import StoredDocument
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
    if len(runs) == 1:
        ((leg, fused),) = runs.items()
        max_score = max_scores[leg]
        low, high = 0.0, 1.0
    else:
        fusion = Fusion(options.fusion, options.weights)
        fused, max_score = fusion(runs, lexical=lexical_legs(runs), confidences=confidences, depth=options.candidates)
        low, high = (0.0, 1.0) if options.fusion in ("rrf", "weighted") else _relevance_range(runs, max_scores)
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
            relevance=low + (high - low) * _fraction(score, max_score),
        )
        for key, score in best
        if key in stored
    ]
    least = check_fraction("min_relevance", options.min_relevance)
    return [hit for hit in hits if hit.relevance >= least]


def _fraction(score: float, max_score: float) -> float:
    return min(1.0, max(0.0, score / max_score)) if max_score > 0 else 0.0


def _relevance_range(runs: Mapping[str, Run], max_scores: Mapping[str, float]) -> tuple[float, float]:
    """The mean relevance of the legs' last candidates and of their first: that of the worst and best fused score."""
    ranges = [
        (_fraction(run[-1][1], max_scores[leg]), _fraction(run[0][1], max_scores[leg]))
        for leg, run in runs.items()
        if run
    ]
    return (
        (sum(low for low, _ in ranges) / len(ranges), sum(high for _, high in ranges) / len(ranges))
        if ranges
        else (0.0, 1.0)
    )
