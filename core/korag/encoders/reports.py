"""What a caller should know about the texts of a call, logged once: how many are empty, how many were cut."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal

from korag.text import is_empty

logger = logging.getLogger("korag")


class TruncationReport:
    """Counts over any number of blocks of texts.

    Args:
        task: What the texts are.
        limit: Longest text in tokens; None for no limit.
    """

    def __init__(self, task: Literal["query", "document"], limit: int | None) -> None:
        self._names = ("질의", "queries") if task == "query" else ("문서", "documents")
        self._limit = limit
        self._texts = self._empty = self._cut = self._longest = 0

    def count(self, texts: Sequence[str], lengths: Sequence[int]) -> None:
        """Counts some texts and their tokens before any truncation."""
        self._texts += len(texts)
        self._empty += sum(map(is_empty, texts))
        self._longest = max(self._longest, *lengths)
        if self._limit is not None:
            self._cut += sum(length > self._limit for length in lengths)

    def log(self) -> None:
        """Logs a warning for each thing that there is to say."""
        korean, english = self._names
        if self._empty:
            logger.warning(
                "%d개 가운데 %d개의 텍스트가 비어 있습니다. / %d of %d texts are empty.",
                self._texts, self._empty, self._empty, self._texts,
            )  # fmt: skip
        if self._cut:
            logger.warning(
                "%s %d개 가운데 %d개가 잘렸습니다(가장 긴 것 %s토큰, 한도 %s). / "
                "%d of %d %s truncated (longest %s tokens, limit %s).",
                korean, self._texts, self._cut, f"{self._longest:,}", f"{self._limit:,}",
                self._cut, self._texts, english, f"{self._longest:,}", f"{self._limit:,}",
            )  # fmt: skip
