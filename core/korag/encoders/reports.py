"""Warnings about empty and truncated texts, logged once per call."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Literal

from korag.logs import logger
from korag.text import is_empty

_SHOWN = 30
"""Characters of what is not read."""


_NAMED = 3
"""Documents that are named."""


class Call:
    """One call that encodes documents in several batches: what is cut is reported at its end, once for each model."""

    def __init__(self) -> None:
        self.ids: Sequence[str] = ()
        self._reports: dict[tuple[str, int | None], TruncationReport] = {}

    def name(self, ids: Sequence[str]) -> None:
        """Names the texts that are encoded next, until this is called again."""
        self.ids = ids

    def collect(self, report: TruncationReport) -> None:
        """Adds a report to those of the same model."""
        known = self._reports.setdefault(report.key, report)
        if known is not report:
            known.join(report)

    def log(self) -> None:
        """Logs what has been collected."""
        for report in self._reports.values():
            report.log_now()


_call: ContextVar[Call | None] = ContextVar("korag_call", default=None)


@contextlib.contextmanager
def one_call() -> Iterator[Call]:
    """Joins the reports about documents that are made inside, and logs them at the end, even of one that fails.

    Inside another such call, everything is left to that one.
    """
    if (outer := _call.get()) is not None:
        yield outer
        return
    call = Call()
    token = _call.set(call)
    try:
        yield call
    finally:
        _call.reset(token)
        call.log()


class TruncationReport:
    """Counts empty and truncated texts over any number of blocks.

    Args:
        task: Queries or documents.
        limit: Maximum tokens per text; None for no limit.
        most: What `limit` can be raised to; None if unknown.
        model: The model's name.
    """

    def __init__(
        self, task: Literal["query", "document"], limit: int | None, *, most: int | None = None, model: str = ""
    ) -> None:
        self._task, self._limit, self._most, self._model = task, limit, most, model
        self._texts = self._empty = self._truncated = self._longest = 0
        self._tokens = self._lost = 0
        self._cut = False
        self._unread = ""
        self._named: list[str] = []

    @property
    def key(self) -> tuple[str, int | None]:
        """Reports with the same are about the same model."""
        return self._model, self._limit

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
        self._tokens += sum(lengths)
        if self._limit is not None:
            self._lost += sum(max(0, length - self._limit) for length in lengths)
            self._name(lengths, self._limit)
            self._truncated += sum(length > self._limit for length in lengths)
            if self._task == "query" and longest > max(self._limit, self._longest):
                self._unread = " ".join(unread(lengths.index(longest)).split())
        self._longest = max(self._longest, longest)

    def _name(self, lengths: Sequence[int], limit: int) -> None:
        call = _call.get()
        if call is not None and len(call.ids) == len(lengths) and self._task == "document":
            cut = [id_ for id_, length in zip(call.ids, lengths, strict=True) if length > limit]
            self._named = (self._named + cut)[:_NAMED]

    def join(self, other: TruncationReport) -> None:
        """Adds what another report about the same model has counted."""
        self._texts += other._texts
        self._empty += other._empty
        self._truncated += other._truncated
        self._tokens += other._tokens
        self._lost += other._lost
        self._longest = max(self._longest, other._longest)
        self._cut |= other._cut
        self._named = (self._named + other._named)[:_NAMED]

    def log(self) -> None:
        """Logs one warning about empty texts and one about truncated ones, if there are any; see `one_call`."""
        call = _call.get()
        if call is not None and self._task == "document":
            call.collect(self)
        else:
            self.log_now()

    def log_now(self) -> None:
        """As `log`, whatever call this belongs to."""
        if self._empty:
            logger.warning(
                "텍스트 %d개 가운데 %d개가 비어 있습니다. / %d of %d texts are empty.",
                self._texts, self._empty, self._empty, self._texts,
            )  # fmt: skip
        if self._truncated and self._limit is not None:
            logger.warning("%s / %s", *self._describe(self._limit))

    def _describe(self, limit: int) -> tuple[str, str]:
        ours, theirs = ("질문", "queries") if self._task == "query" else ("문서", "documents")
        model = f"{self._model}: " if self._model else ""
        at_least, or_more = (" 이상", " or more") if self._cut else ("", "")
        korean = (
            f"{model}{ours} {self._texts}개 가운데 {self._truncated}개가 잘렸습니다"
            f"(가장 긴 것 {self._longest:,}토큰{at_least}, 한도 {limit:,})."
        )
        english = (
            f"{model}{self._truncated} of {self._texts} {theirs} truncated (longest {self._longest:,} tokens{or_more}, "
            f"limit {limit:,})."
        )
        if self._task == "document" and self._tokens:
            share = f"{self._lost / self._tokens:.1%}"
            korean += f" 읽지 않은 토큰: 전체의 {share}{at_least}."
            english += f" {share}{or_more} of all tokens were not read."
        if self._named:
            named = ", ".join(self._named) + (" …" if self._truncated > len(self._named) else "")
            korean += f" 잘린 문서: {named} (모두 보려면 collection.truncated())."
            english += f" Truncated: {named} (collection.truncated() has them all)."
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
