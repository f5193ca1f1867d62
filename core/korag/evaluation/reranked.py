"""A reranker over the first documents of another system, alone or fused with that system's scores."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.evaluation.dataset import Dataset
from korag.evaluation.systems import Advance, CompositeSystem, Ranking, RetrievalRun, System
from korag.reranking.base import TextReranker
from korag.reranking.colbert import Reranker
from korag.reranking.cross_encoder import CrossEncoderReranker


@dataclass(frozen=True)
class Reranked:
    """The first documents of a system, in a reranker's order; those after them keep theirs.

    Attributes:
        reranker: A cross-encoder or a ColBERT model: a name, a path, or a loaded one.
        first_stage: The system that finds them, as for `korag.evaluation.evaluate`; None for the first BM25 row.
        k: Documents to rerank.
        fuse_weight: Weight of the reranker's score against the first stage's, in [0, 1]; 1 for the reranker alone, None
            for the default of its kind (`korag.reranking.base.TextReranker`).
    """

    reranker: Any
    first_stage: Any = None
    k: int = 50
    fuse_weight: float | None = None


class Remembering(TextReranker):
    """A reranker that scores each pair once, so that rows with other weights cost nothing.

    Args:
        reranker: Scores the pairs.

    Attributes:
        seconds: Time spent on each query.
    """

    def __init__(self, reranker: TextReranker) -> None:
        self.reranker = reranker
        self.seconds: Counter[str] = Counter()
        self._scores: dict[tuple[str, str], float] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        model = self.reranker.encoder if isinstance(self.reranker, Reranker) else self.reranker
        return str(getattr(model, "model_name", type(model).__name__))

    @property
    def identity(self) -> str | None:
        """The model's fingerprint; None for a reranker of another package."""
        if isinstance(self.reranker, Reranker):
            return str(self.reranker.encoder.fingerprint)
        return str(self.reranker.fingerprint) if isinstance(self.reranker, CrossEncoderReranker) else None

    def _score(
        self,
        query: str,
        texts: list[str],
        show_progress: bool | None,  # noqa: FBT001
    ) -> tuple[NDArray[np.float32], None]:
        missing = [text for text in dict.fromkeys(texts) if (query, text) not in self._scores]
        if missing:
            start = time.perf_counter()
            found, _ = self.reranker._score(query, missing, show_progress)
            self.seconds[query] += time.perf_counter() - start  # type: ignore[assignment]  # a Counter adds floats too
            self._scores |= {(query, text): float(score) for text, score in zip(missing, found, strict=True)}
        return np.array([self._scores[query, text] for text in texts], np.float32), None


class RerankedSystem(CompositeSystem):
    """A reranker over the first `k` documents of another system.

    Args:
        name: Its name in tables.
        first_stage: Finds the documents.
        reranker: Orders them.
        k: Documents to rerank.
        fuse_weight: Weight of the reranker's score, in [0, 1].
    """

    kind = "reranked"

    def __init__(self, name: str, first_stage: System, reranker: Remembering, *, k: int, fuse_weight: float) -> None:
        self.name, self.parts = name, (first_stage,)
        self._reranker, self._k, self._weight = reranker, k, fuse_weight

    @property
    def identity(self) -> str | None:
        """The identities of the first stage and of the reranker, and how they are used."""
        parts = [self.parts[0].identity, self._reranker.identity]
        return None if None in parts else json.dumps([*parts, self._k, self._weight])

    def combine(self, runs: Sequence[RetrievalRun], dataset: Dataset, k: int, advance: Advance) -> RetrievalRun:
        """Reranks the first documents of each query."""
        (first,) = runs
        rankings: dict[str, Ranking] = {}
        for query, found in first.rankings.items():
            rankings[query] = self._rerank(dataset, dataset.queries[query], found)[:k]
            advance(1)
        return RetrievalRun(
            rankings=rankings,
            search_seconds=first.search_seconds
            + sum(self._reranker.seconds[text] for text in dataset.queries.values()),
            index_seconds=first.index_seconds,
            index_bytes=first.index_bytes,
        )

    def _rerank(self, dataset: Dataset, query: str, found: Ranking) -> Ranking:
        head, tail = found[: self._k], found[self._k :]
        ranked = self._reranker.rerank(
            query,
            [dataset.documents[id_] for id_, _ in head],
            first_stage_scores=[score for _, score in head],
            fuse_weight=self._weight,
            show_progress=False,
        )
        reranked = [(head[index][0], score) for index, score in ranked]
        kept = {id_ for id_, _ in reranked}
        rest = [id_ for id_, _ in (*head, *tail) if id_ not in kept]  # documents without text are not reranked
        least = min((score for _, score in reranked), default=0.0)
        return reranked + [(id_, least - place) for place, id_ in enumerate(rest, start=1)]
