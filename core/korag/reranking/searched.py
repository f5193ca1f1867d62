"""The query that candidates were found with, which a reranker must score them by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

REWRITTEN = "rewritten_query"
"""Metadata key of adapters' results with `korag.Hit.rewritten_query`; only where a query was repaired."""


def searched_query(query: str, metadata: Sequence[Mapping[str, Any]]) -> str:
    """Returns the repaired query if all candidates were found with it, otherwise the query itself.

    Args:
        query: As the user typed it.
        metadata: Of each candidate.
    """
    first = metadata[0].get(REWRITTEN) if metadata else None
    is_shared = isinstance(first, str) and all(one.get(REWRITTEN) == first for one in metadata)
    return first if is_shared and first else query
