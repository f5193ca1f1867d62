"""Warnings about empty and truncated texts, logged once per call."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from korag.text import is_empty

logger = logging.getLogger("korag")


class TruncationReport:
    """Counts empty and truncated texts over any number of blocks.

    Args:
        task: Queries or documents.
        limit: Maximum tokens per text; None for no limit.
    """

    def __init__(self, task: Literal["query", "document"], limit: int | None) -> None:
        self._names = ("질의", "queries") if task == "query" else ("문서", "documents")
        self._limit = limit
        self._texts = self._empty = self._truncated = self._longest = 0
        self._cut = False

    def count(self, texts: Sequence[str], lengths: Sequence[int], *, cut: bool) -> None:
        """Adds texts.

        Args:
            texts: The texts.
            lengths: Tokens of each.
            cut: Some have more tokens than that, because `cut_texts` shortened them.
        """
        self._texts += len(texts)
        self._empty += sum(map(is_empty, texts))
        self._longest = max(self._longest, *lengths)
        self._cut |= cut
        if self._limit is not None:
            self._truncated += sum(length > self._limit for length in lengths)

    def log(self) -> None:
        """Logs one warning about empty texts and one about truncated ones, if there are any."""
        korean, english = self._names
        if self._empty:
            logger.warning(
                "텍스트 %d개 가운데 %d개가 비어 있습니다. / %d of %d texts are empty.",
                self._texts, self._empty, self._empty, self._texts,
            )  # fmt: skip
        if self._truncated:
            at_least = (" 이상", " or more") if self._cut else ("", "")
            logger.warning(
                "%s %d개 가운데 %d개가 잘렸습니다(가장 긴 것 %s토큰%s, 한도 %s). / "
                "%d of %d %s truncated (longest %s tokens%s, limit %s).",
                korean, self._texts, self._truncated, f"{self._longest:,}", at_least[0], f"{self._limit:,}",
                self._truncated, self._texts, english, f"{self._longest:,}", at_least[1], f"{self._limit:,}",
            )  # fmt: skip
