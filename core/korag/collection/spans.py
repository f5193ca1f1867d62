"""The spans of a search, the same for every store (see `korag.tracing`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from korag.encoders.base import Encoder
from korag.tracing import Part, Span, part, span


class _Options(Protocol):
    @property
    def k(self) -> int: ...
    @property
    def candidates(self) -> int: ...
    @property
    def where(self) -> Mapping[str, Any] | None: ...
    @property
    def fusion(self) -> str: ...
    @property
    def min_relevance(self) -> float | None: ...


class _Found(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def score(self) -> float: ...


def search_span(legs: Sequence[str], options: _Options, *, queries: int) -> AbstractContextManager[Span]:
    """Returns the span of a search.

    Args:
        legs: The legs searched.
        options: The settings.
        queries: Queries searched together.
    """
    hybrid = len(legs) > 1
    return span(
        "korag.search",
        "RETRIEVER",
        {
            "korag.legs": list(legs),
            "korag.k": options.k,
            "korag.fetch_k": options.candidates if hybrid else None,
            "korag.fusion": options.fusion if hybrid else None,
            "korag.min_relevance": options.min_relevance,
            "korag.filtered": options.where is not None,
            "korag.queries": queries,
        },
    )


def set_found(span: Span, found: Sequence[Sequence[_Found]], *, repaired: int = 0) -> None:
    """Records what a search found; the documents themselves if there was a single query.

    Args:
        span: Of `search_span`.
        found: The hits of each query, best first.
        repaired: Queries that were searched for as they were meant.
    """
    if span.is_recording:
        span.set({"korag.found": sum(map(len, found)), "korag.repaired": repaired})
        if len(found) == 1:
            span.set_documents("retrieval.documents", ((hit.id, hit.score) for hit in found[0]))


def leg_part(leg: str, encoder: Encoder[Any] | None, *, k: int) -> AbstractContextManager[Part]:
    """Returns the part of a search that one leg is.

    Args:
        leg: Its name.
        encoder: Its model; None without one.
        k: Documents asked of it.
    """
    model = None if encoder is None else encoder.model_name
    return part(f"korag.search {leg}", "RETRIEVER", {"korag.leg": leg, "korag.k": k, "embedding.model_name": model})


def fuse_part(legs: Sequence[str], *, method: str) -> AbstractContextManager[Part]:
    """Returns the part of a search that fuses its legs.

    Args:
        legs: The legs fused.
        method: The fusion.
    """
    return part("korag.fuse", "CHAIN", {"korag.legs": list(legs), "korag.fusion": method})
