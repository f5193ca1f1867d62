"""Hits and documents as JSON, the same for the command line, HTTP and agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from korag.collection.hits import Hit


def hit_as_dict(hit: Hit, *, text: bool = True) -> dict[str, Any]:
    """Returns a hit as JSON values.

    Args:
        hit: The hit.
        text: With the whole text; the passage that matched is there without it.
    """
    return {
        "id": hit.id,
        "score": hit.score,
        "relevance": hit.relevance,
        "legs": {leg: {"rank": rank, "score": score} for leg, (rank, score) in hit.legs.items()},
        "metadata": hit.metadata,
        "rewritten_query": hit.rewritten_query,
        "cited_by": hit.cited_by,
        "span": hit.span,
        "passage": hit.passage,
        **({"text": hit.text} if text else {}),
    }
