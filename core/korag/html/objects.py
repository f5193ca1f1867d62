"""Hits, collections, encoders and retrievers as notebooks show them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from korag.explanations import Heat
from korag.html.fragments import bar, escaped, facts, number, picture, table
from korag.html.heatmaps import heatmap

_SHOWN = 600
"""Characters of a text."""


def hit_html(
    *,
    id: str,
    text: str,
    score: float,
    relevance: float,
    legs: Mapping[str, tuple[int, float]],
    span: tuple[int, int] | None,
    metadata: Mapping[str, Any],
    rewritten_query: str | None = None,
    cited_by: str | None = None,
) -> str:
    """Returns a hit: its passage, relevance, and its place in each leg. Arguments are the fields of `korag.Hit`."""
    begin, end = span or (0, len(text))
    shown = (begin, min(end, begin + _SHOWN))
    rows = [(escaped(leg), str(rank), number(own)) for leg, (rank, own) in legs.items()]
    return picture(
        f"<p><b>{escaped(id)}</b> · 점수 {number(score)} · 관련도 {relevance:.2f} {bar(relevance)}</p>",
        heatmap(text, _NO_HEAT, span=shown),
        facts([("고쳐 찾은 질문", rewritten_query), ("인용한 문서", cited_by), *metadata.items()], caption="메타데이터")
        if metadata or rewritten_query or cited_by
        else "",
        table(("검색 방식", "순위", "점수"), rows, caption="검색 방식마다", numbers=frozenset({1, 2})) if rows else "",
    )


def object_html(title: str, rows: Iterable[tuple[str | None, object]]) -> str:
    """Returns an object as a table of its settings; values that are None are left out.

    Args:
        title: Its class, and what distinguishes it, as text.
        rows: Names and values; text is shown as it is, anything else by its ``repr``.
    """
    return picture(
        facts(
            (
                (name or "", value if isinstance(value, str) else repr(value))
                for name, value in rows
                if value is not None
            ),
            caption=title,
        )
    )


_NO_HEAT: list[Heat] = []
