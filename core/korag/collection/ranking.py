"""From the runs of several legs to hits: fusion, relevance and thresholds, the same for every store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from korag.checks import check_fraction
from korag.collection.base import Hit, SearchOptions
from korag.collection.documents import StoredDocument
from korag.collection.relevance import hybrid_relevance
from korag.collection.runs import LegRuns, Run
from korag.collection.spans import fuse_part
from korag.fusion import Fusion
from korag.legs.registry import lexical_legs

FindSpan = Callable[[int], tuple[int, int] | None]
"""Returns the place of the best window of a document in a leg's run, by key; None if it was compared as a whole."""


def rank_hits(
    runs: Mapping[str, Run],
    max_scores: Mapping[str, float],
    documents: Callable[[Iterable[int]], Mapping[int, StoredDocument]],
    options: SearchOptions,
    confidences: Mapping[str, float] | None = None,
    *,
    spans: Mapping[str, FindSpan] | None = None,
) -> list[Hit]:
    """Turns what each leg found for a query into hits.

    Args:
        runs: What each leg found: `SearchOptions.candidates` documents if there are several legs, else k. A key that is
            repeated counts once, at its first place.
        max_scores: The score of a perfect match in each leg (`korag.legs.base.Leg.max_score`).
        documents: Returns the documents of some keys; those deleted meanwhile are left out of the hits.
        options: Number of hits, fusion, and threshold.
        confidences: How far each leg is to be trusted for this query (`korag.legs.base.Leg.confidence`); 1 where not
            given.
        spans: By leg, for `Hit.span`; asked for the hits only.

    Returns:
        Hits, best first; equal scores in insertion order.
    """
    runs = {leg: _once(run) for leg, run in runs.items()}
    relevance: Callable[[float], float]
    if len(runs) == 1:
        ((leg, run),) = runs.items()
        fused = sorted(run, key=lambda item: (-item[1], item[0]))
        relevance = partial(_fraction, max_score=max_scores[leg])
    else:
        given = LegRuns(runs, {}, confidences or {}, options.candidates)
        with fuse_part(list(runs), method=options.fusion) as part:
            fused = fuse_runs(given, Fusion(options.fusion, options.weights))
            part.found += len(fused)
        greatest = max((score for _, score in fused), default=0.0)
        trusted = {leg: (options.weights or {}).get(leg, 1.0) * (confidences or {}).get(leg, 1.0) for leg in runs}
        tops = {leg: _fraction(run[0][1], max_scores[leg]) if run else 0.0 for leg, run in runs.items()}
        relevance = hybrid_relevance(tops, greatest=greatest, weights=trusted)
    best = fused[: options.k]
    ranks = {leg: {key: (rank, score) for rank, (key, score) in enumerate(run, 1)} for leg, run in runs.items()}
    stored = documents([key for key, _ in best])
    hits = [
        Hit(
            id=stored[key].id,
            score=score,
            text=stored[key].text,
            metadata=stored[key].metadata,
            legs={leg: found[key] for leg, found in ranks.items() if key in found},
            span=_in_own_text(stored[key], _span(key, ranks, spans or {})),
            relevance=relevance(score),
        )
        for key, score in best
        if key in stored
    ]
    least = check_fraction("min_relevance", options.min_relevance)
    return [hit for hit in hits if hit.relevance >= least]


def fuse_runs(found: LegRuns, fusion: Fusion) -> Run:
    """Fuses what several legs found, as a search does.

    Returns:
        (key, score), best first, equal scores in insertion order.
    """
    lexical = lexical_legs(found.runs)
    fused, _ = fusion(found.runs, lexical=lexical, confidences=found.confidences, depth=found.depth)
    return sorted(fused, key=lambda item: (-item[1], item[0]))


def record_runs(
    runs: Mapping[str, Run],
    max_scores: Mapping[str, float],
    documents: Callable[[Iterable[int]], Mapping[int, StoredDocument]],
    options: SearchOptions,
    confidences: Mapping[str, float] | None = None,
    *,
    spans: Mapping[str, FindSpan] | None = None,
) -> LegRuns:
    """Returns what was found, in place of `rank_hits`; takes the same arguments."""
    stored = documents({key for run in runs.values() for key, _ in run})
    ids = {key: document.id for key, document in stored.items()}
    return LegRuns(runs, ids, confidences or {}, options.candidates)


def _once(run: Run) -> Run:
    scores: dict[int, float] = {}
    for key, score in run:
        scores.setdefault(key, score)
    return list(scores.items())


def _fraction(score: float, max_score: float) -> float:
    return min(1.0, max(0.0, score / max_score)) if max_score > 0 else 0.0


def _span(
    key: int, ranks: Mapping[str, Mapping[int, tuple[int, float]]], spans: Mapping[str, FindSpan]
) -> tuple[int, int] | None:
    """The best window in the leg that ranks the document best; the first of equals that compares windows."""
    for leg in sorted((leg for leg in spans if key in ranks[leg]), key=lambda leg: ranks[leg][key][0]):
        if (span := spans[leg](key)) is not None:
            return span
    return None


def _in_own_text(document: StoredDocument, span: tuple[int, int] | None) -> tuple[int, int] | None:
    """Converts a place in the text that was searched to one in the text as it was added, which has no breadcrumb."""
    offset = len(document.searched) - len(document.text)
    if span is None or not offset:
        return span
    begin, end = (max(0, place - offset) for place in span)
    return (begin, end) if begin < end else None
