"""AutoRAG's definitions of the measures, and its figures before a bug was fixed.

AutoRAG (https://github.com/Marker-Inc-Korea/AutoRAG, ``autorag/evaluation/metric/retrieval.py``) judges a query
by groups of ids: one id of each group is needed. With one relevant document per query, its figures are the usual
ones. With several they differ: recall counts groups, mRR and mAP are means over groups, and the ideal ranking of NDCG
contains every id of every group.

Before version 0.2.17, AutoRAG scored rankings in reverse order. Figures from that time, such as NDCG, mAP and mRR on
the card of dragonkue/BGE-m3-ko, fall with k: for one relevant document per query, found at rank r by n_r queries,
mAP@k = mRR@k = mean(n_r / (k − r + 1)) and NDCG@k = mean(n_r / log2(k − r + 2)). ``legacy=True`` reproduces such
figures so that they can be recognised; they do not measure quality.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from korag.errors import InvalidArgumentError
from korag.evaluation.dataset import Groups

AUTORAG_MEASURES: tuple[str, ...] = ("F1", "Recall", "Precision", "mAP", "mRR", "NDCG")
"""All measures, in the order of AutoRAG's tables."""


def autorag_scores(
    rankings: Mapping[str, Sequence[str]], groups: Mapping[str, Groups], *, k: int, legacy: bool = False
) -> dict[str, float]:
    """Computes AutoRAG's measures, averaged over queries.

    Args:
        rankings: Ids for each query, best first.
        groups: ``retrieval_gt`` of each query.
        k: Rank cutoff.
        legacy: Score the first k in reverse order, as AutoRAG did before 0.2.17.

    Returns:
        `AUTORAG_MEASURES` by name. A query without a ranking scores 0.

    Raises:
        InvalidArgumentError: If there are no queries or `k` is below 1.
    """
    if not groups or k < 1:
        raise InvalidArgumentError(
            f"k={k}, 질문 {len(groups)}개: k는 1 이상이어야 하고 질문이 하나 이상 있어야 합니다.",
            f"k={k} with {len(groups)} queries: k must be at least 1, and there must be at least one query.",
        )
    totals = dict.fromkeys(AUTORAG_MEASURES, 0.0)
    for query, needed in groups.items():
        ids = list(rankings.get(query, ()))[:k]
        for name, value in _score(ids[::-1] if legacy else ids, needed).items():
            totals[name] += value
    return {name: total / len(groups) for name, total in totals.items()}


def _score(ids: Sequence[str], groups: Groups) -> dict[str, float]:
    if not ids:
        return {}
    any_of = {id_ for group in groups for id_ in group}
    hits = [id_ in any_of for id_ in ids]
    recall = sum(not set(group).isdisjoint(ids) for group in groups) / len(groups)
    precision = len(any_of.intersection(ids)) / len(ids)
    both = recall + precision
    gain = [1 / math.log2(rank + 1) for rank in range(1, len(ids) + 1)]
    ideal = sum(gain[: sum(map(len, groups))])
    return {
        "F1": 2 * recall * precision / both if both else 0.0,
        "Recall": recall,
        "Precision": precision,
        "mAP": sum(_average_precision(ids, group) for group in groups) / len(groups),
        "mRR": sum(_reciprocal_rank(ids, group) for group in groups) / len(groups),
        "NDCG": sum(value for value, hit in zip(gain, hits, strict=True) if hit) / ideal,
    }


def _average_precision(ids: Sequence[str], group: Sequence[str]) -> float:
    """Averages over the relevant documents found, not over all relevant ones, as AutoRAG does."""
    ranks = [rank for rank, id_ in enumerate(ids, start=1) if id_ in group]
    return sum(found / rank for found, rank in enumerate(ranks, start=1)) / len(ranks) if ranks else 0.0


def _reciprocal_rank(ids: Sequence[str], group: Sequence[str]) -> float:
    return next((1 / rank for rank, id_ in enumerate(ids, start=1) if id_ in group), 0.0)
