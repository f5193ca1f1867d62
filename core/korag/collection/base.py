"""What a search returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Hit:
    """One document found.

    Attributes:
        id: The document's id.
        score: Its score; of the leg's own kind, or fused for a hybrid search. Comparable within one search.
        text: The text as it was added.
        metadata: The metadata as it was added; a copy of one's own.
        legs: (rank from 1, score) in each leg that found it.
        relevance: The score as a share of the best one the query could get, in [0, 1]; what thresholds go by.
            Dense: the cosine. ColBERT: the mean over query tokens of each one's best match. Sparse: against the
            query itself. BM25: against a document with endless repetitions of every query term. Hybrid: against a
            document that is first in every leg, which tells ranks apart but not good matches from poor ones.
    """

    id: str
    score: float
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    legs: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    relevance: float = 0.0


@dataclass(frozen=True)
class StoredDocument:
    """One document of a collection.

    Attributes:
        id: Its id.
        text: The text as it was added.
        metadata: The metadata as it was added; a copy of one's own.
    """

    id: str
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
