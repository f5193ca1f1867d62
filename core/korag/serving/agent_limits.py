"""The limits on what an agent gets at once: its context is short, and paid for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from korag.checks import check_count
from korag.empty_query import reject_empty_query
from korag.errors import InvalidArgumentError
from korag.keywords import checks_fields

_LETTERS, _ITEMS = 80, 10
"""Characters of a word or name, and entries of a list of them: text without spaces is one word."""


@checks_fields
@dataclass(frozen=True, kw_only=True)
class AgentLimits:
    """The limits on what an agent gets at once.

    Attributes:
        hits: The largest `k` of a search.
        documents: Documents that it reads at once.
        characters: Characters of a passage or document.
        total: Characters of an answer's texts together.
        query: Characters of a query.

    Raises:
        InvalidArgumentError: If one is not an integer of at least 1.
    """

    hits: int = 50
    documents: int = 20
    characters: int = 4_000
    total: int = 40_000
    query: int = 2_000

    def __post_init__(self) -> None:
        for name in ("hits", "documents", "characters", "total", "query"):
            check_count(name, getattr(self, name), at_least=1)

    def check_between(self, name: str, value: int, most: int) -> None:
        """Checks a number of documents.

        Raises:
            InvalidArgumentError: If it is not between 1 and `most`.
        """
        if not 1 <= value <= most:
            raise InvalidArgumentError(
                f"{name}={value}: 1부터 {most}까지의 정수여야 합니다.",
                f"{name}={value} is invalid; it must be an integer from 1 to {most}.",
            )

    def check_query(self, query: str) -> None:
        """Checks a query.

        Raises:
            InvalidArgumentError: If it is empty or too long.
        """
        reject_empty_query(query)
        if len(query) > self.query:
            raise InvalidArgumentError(
                f"query: {len(query):,}자. {self.query:,}자까지 받습니다. 질문만 넣으세요.",
                f"query has {len(query):,} characters; {self.query:,} are the most. Pass the question alone.",
            )


class Budget:
    """Cuts the texts of one answer.

    Args:
        limits: How much there may be.
    """

    def __init__(self, limits: AgentLimits) -> None:
        self._limits, self._left = limits, limits.total

    def cut(self, text: str) -> str:
        """Returns the beginning of a text; nothing once the answer is full."""
        kept = text[: min(self._limits.characters, self._left)]
        self._left -= len(kept)
        return kept

    def fit(self, metadata: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Returns metadata without KoRAG's own notes and what takes too much space, and the names of the latter."""
        kept: dict[str, Any] = {}
        without: list[str] = []
        left = self._limits.characters // 4
        for name, value in metadata.items():
            if name.startswith("_"):
                continue
            size = len(name) + len(json.dumps(value, ensure_ascii=False))
            if size <= left:
                kept[name] = value
                left -= size
            else:
                without.append(shorten(name))
        return kept, shorten_list(without)


def shorten(text: str) -> str:
    """Returns a text of at most 80 characters; one that was longer ends in ``…``."""
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"


def shorten_list(texts: Sequence[str]) -> list[str]:
    """Returns at most ten texts, of which the last is ``…`` if there were more."""
    return list(texts) if len(texts) <= _ITEMS else [*texts[: _ITEMS - 1], "…"]
