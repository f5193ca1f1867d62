"""nDCG@10 on held-out pairs, for the model before and after training and for BM25."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from korag.collection import Collection
from korag.encoders.base import Encoder
from korag.evaluation.metrics import MAIN_MEASURE, score_rankings
from korag.training.pairs import Pair, key

_DEPTH = 10
"""Rank cutoff."""


def held_out_set(
    held_out: Sequence[Pair], *others: Iterable[Pair], corpus: Iterable[str] = ()
) -> tuple[list[str], list[set[str]], dict[str, str]]:
    """Builds a retrieval test set from held-out pairs.

    Args:
        held_out: The pairs to evaluate on.
        others: Further pairs, whose documents serve as distractors.
        corpus: Further distractors.

    Returns:
        The queries, the ids of each query's positives, and every distinct document by id.
    """
    documents: dict[str, str] = {}
    ids: dict[str, str] = {}

    def add(text: str) -> str:
        name = ids.setdefault(key(text), str(len(ids)))
        documents.setdefault(name, text)
        return name

    relevant: dict[str, set[str]] = {}
    queries: dict[str, str] = {}
    for pair in held_out:
        queries.setdefault(key(pair.query), pair.query)
        relevant.setdefault(key(pair.query), set()).add(add(pair.positive))
    for pairs in (held_out, *others):
        for pair in pairs:
            for text in (pair.positive, *pair.negatives):
                add(text)
    for text in corpus:
        add(text)
    return list(queries.values()), [relevant[name] for name in queries], documents


def mean_ndcg(
    queries: Sequence[str],
    relevant: Sequence[set[str]],
    documents: dict[str, str],
    *,
    encoder: Encoder[Any] | None = None,
    show_progress: bool | None = None,
) -> float:
    """Returns the mean nDCG@10 of an encoder on a test set.

    Args:
        queries: The queries.
        relevant: Ids of each query's relevant documents.
        documents: Text by id.
        encoder: The encoder; None for BM25 over character bigrams.
        show_progress: As for `Collection.add`.
    """
    encoders = [] if encoder is None else [encoder]
    with Collection.in_memory(encoders=encoders, bm25=encoder is None) as collection:
        collection.add(documents.values(), ids=list(documents), show_progress=show_progress)
        runs = collection.search_many(queries, k=_DEPTH)
    names = [str(index) for index in range(len(queries))]
    rankings = {name: [hit.id for hit in hits] for name, hits in zip(names, runs, strict=True)}
    grades = {name: dict.fromkeys(gold, 1) for name, gold in zip(names, relevant, strict=True)}
    return float(score_rankings(rankings, grades, depth=_DEPTH)[MAIN_MEASURE].mean())
