"""Before and after: nDCG@10 on the held-out pairs, with BM25 beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from korag.collection import Collection
from korag.encoders.base import Encoder
from korag.evaluation.metrics import MAIN_MEASURE, score_rankings
from korag.training.pairs import Pair, key

_DEPTH = 10
"""Ranks that count."""


def held_out_set(
    held_out: Sequence[Pair], *others: Iterable[Pair], corpus: Iterable[str] = ()
) -> tuple[list[str], list[set[str]], dict[str, str]]:
    """Makes a retrieval test of held-out pairs.

    Args:
        held_out: The pairs to judge by.
        others: More pairs, whose documents are distractors.
        corpus: More distractors.

    Returns:
        The queries, the ids of each one's positives, and every document by id, each once.
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
    """Mean nDCG@10 over all documents, by `korag.evaluation`; of BM25 (bigrams) where there is no encoder."""
    encoders = [] if encoder is None else [encoder]
    with Collection.in_memory(encoders=encoders, bm25=encoder is None) as collection:
        collection.add(documents.values(), ids=list(documents), show_progress=show_progress)
        runs = collection.search_many(queries, k=_DEPTH)
    names = [str(index) for index in range(len(queries))]
    rankings = {name: [hit.id for hit in hits] for name, hits in zip(names, runs, strict=True)}
    grades = {name: dict.fromkeys(gold, 1) for name, gold in zip(names, relevant, strict=True)}
    return float(score_rankings(rankings, grades, depth=_DEPTH)[MAIN_MEASURE].mean())
