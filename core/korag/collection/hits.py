"""The documents that a search finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from korag.html.objects import hit_html
from korag.text import shortened


@dataclass(frozen=True)
class Hit:
    """A document found by a search.

    Attributes:
        id: The document's id.
        score: Its score, of the leg's own kind or fused for a hybrid search. Comparable within one search only.
        text: The text as it was added.
        metadata: A copy of the metadata as it was added.
        legs: (rank from 1, score) in each leg that found it.
        relevance: How well it answers the query, in [0, 1]; thresholds apply to it. In a search with one leg, the score
            as a fraction of the best one the query could get. Dense: the cosine. ColBERT: each query token's best
            match, averaged. Sparse: against the query itself. BM25: against a document that repeats every query term
            endlessly. Hybrid: the same scale for all combinations of legs and all fusions, on which 0.5 is the
            threshold that rejects questions the collection cannot answer (`korag.collection.relevance` has the
            formula); docs/evaluation.md has those of single legs, which depend on the model.
        rewritten_query: What was searched for, if the query was repaired (see `SearchOptions.repair_query`).
        span: Where the window that matched best begins and ends in the text, in characters, if the document is long
            enough to be split into windows: that of the leg which ranks the document highest, of those with windows.
            None for a document that was compared as a whole; `passage` is then the whole text.
        cited_by: The id of the hit that cites it, if it is not one of the k best but was added by
            ``expand="citations"`` (`SearchOptions.expand`): it has that hit's score and relevance then, and no `legs`.
    """

    id: str
    score: float
    text: str
    metadata: dict[str, Any] = field(default_factory=dict)
    legs: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    relevance: float = 0.0
    rewritten_query: str | None = None
    span: tuple[int, int] | None = None
    cited_by: str | None = None

    @property
    def passage(self) -> str:
        """The part of the text that matched best: the window at `span`, or the whole text."""
        return self.text if self.span is None else self.text[slice(*self.span)]

    def __repr__(self) -> str:
        ranks = {leg: rank for leg, (rank, _) in self.legs.items()}
        return (
            f"Hit(id={self.id!r}, score={self.score:.4f}, relevance={self.relevance:.2f}, ranks={ranks}, "
            f"text={shortened(self.passage)!r})"
        )

    def _repr_html_(self) -> str:
        return hit_html(**{field.name: getattr(self, field.name) for field in fields(self)})
