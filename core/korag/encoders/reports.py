"""Warnings about empty and truncated texts, logged once per call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Literal

from korag.text import is_empty

logger = logging.getLogger("korag")

_SHOWN = 30
"""Characters of what is not read."""


class TruncationReport:
    """Counts empty and truncated texts over any number of blocks.

    Args:
        task: Queries or documents.
        limit: Maximum tokens per text; None for no limit.
        most: What `limit` can be raised to; None if unknown.
    """

    def __init__(self, task: Literal["query", "document"], limit: int | None, *, most: int | None = None) -> None:
        self._task, self._limit, self._most = task, limit, most
        self._texts = self._empty = self._truncated = self._longest = 0
        self._cut = False
        self._unread = ""

    def count(self, texts: Sequence[str], lengths: Sequence[int], *, cut: bool, unread: Callable[[int], str]) -> None:
        """Adds texts.

        Args:
            texts: The texts.
            lengths: Tokens of each.
            cut: Some have more tokens than that, because `cut_texts` shortened them.
            unread: Returns the part of a text that is truncated, by its index.
        """
        self._texts += len(texts)
        self._empty += sum(map(is_empty, texts))
        self._cut |= cut
        longest = max(lengths)
        if self._limit is not None:
            self._truncated += sum(length > self._limit for length in lengths)
            if self._task == "query" and longest > max(self._limit, self._longest):
                self._unread = " ".join(unread(lengths.index(longest)).split())
        self._longest = max(self._longest, longest)

    def log(self) -> None:
        """Logs one warning about empty texts and one about truncated ones, if there are any."""
        if self._empty:
            logger.warning(
                "텍스트 %d개 가운데 %d개가 비어 있습니다. / %d of %d texts are empty.",
                self._texts, self._empty, self._empty, self._texts,
            )  # fmt: skip
        if self._truncated and self._limit is not None:
            logger.warning("%s / %s", *self._describe(self._limit))

    def _describe(self, limit: int) -> tuple[str, str]:
        ours, theirs = ("질의", "queries") if self._task == "query" else ("문서", "documents")
        at_least, or_more = (" 이상", " or more") if self._cut else ("", "")
        korean = (
            f"{ours} {self._texts}개 가운데 {self._truncated}개가 잘렸습니다"
            f"(가장 긴 것 {self._longest:,}토큰{at_least}, 한도 {limit:,})."
        )
        english = (
            f"{self._truncated} of {self._texts} {theirs} truncated (longest {self._longest:,} tokens{or_more}, limit "
            f"{limit:,})."
        )
        if self._unread:
            start = self._unread[:_SHOWN] + ("…" if len(self._unread) > _SHOWN else "")
            korean += f" '{start}'부터 {self._longest - limit:,}토큰{at_least}은 읽지 않았습니다."
            english += f" The last {self._longest - limit:,} tokens{or_more} were not read, from '{start}' on."
        if self._most is None or limit < self._most:
            keyword = "query_length" if self._task == "query" else "max_length"
            most = ("", "") if self._most is None else (f" 최대 {self._most:,}까지", f", up to {self._most:,}")
            korean += f" 더 읽게 하려면 {keyword}=를{most[0]} 늘려서 불러오세요."
            english += f" Load the model with a larger {keyword}= to read more{most[1]}."
        return korean, english
