"""The limits of a server: how much it takes on, and what it says to whoever asks for more."""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TypeVar

from cachetools import LRUCache

from korag.checks import check_count
from korag.empty_query import reject_empty_query
from korag.errors import InvalidArgumentError
from korag.keywords import checks_fields
from korag.serving.refusals import RefusedError
from korag.text import check_text as check_unicode

T = TypeVar("T")
_BURST = 10.0
"""Seconds' worth of requests that an address may send at once."""
_ADDRESSES = 10_000
"""Addresses whose requests are counted; the one that has been silent for longest is forgotten."""


@checks_fields
@dataclass(frozen=True, kw_only=True)
class ServeLimits:
    """The limits on what an HTTP server takes on.

    Attributes:
        body_bytes: Bytes of a request's body.
        texts: Texts of a request, and ids.
        characters: Characters of a text or query.
        hits: The largest `k` of a search.
        running: Requests that are computed at a time.
        waiting: Requests that wait for one of them to end; others are told to come back.
        rate: Requests a second from one address, and ten times as many at once; None for any number.

    Raises:
        InvalidArgumentError: If one is invalid.
    """

    body_bytes: int = 4_000_000
    texts: int = 128
    characters: int = 100_000
    hits: int = 100
    running: int = 4
    waiting: int = 64
    rate: float | None = 50.0

    def __post_init__(self) -> None:
        for name in ("body_bytes", "texts", "characters", "hits", "running"):
            check_count(name, getattr(self, name), at_least=1)
        check_count("waiting", self.waiting)
        rate: object = self.rate
        if rate is not None and (
            isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf
        ):
            raise InvalidArgumentError(
                f"rate={rate!r:.80}: 초당 요청 수라서 0보다 큰 수여야 합니다. 제한하지 않으려면 None을 넣으세요.",
                f"rate={rate!r:.80} is invalid; it must be a number of requests a second greater than 0, or None.",
            )

    def check_texts(self, name: str, texts: list[str]) -> list[str]:
        """Returns texts that are neither too many nor too long.

        Args:
            name: Their field in the request.
            texts: The texts.

        Raises:
            RefusedError: If they are; 413, so that a client may divide them.
        """
        self.check_number(name, len(texts))
        for index, text in enumerate(texts):
            self.check_text(f"{name}[{index}]", text)
        return texts

    def check_number(self, name: str, number: int) -> None:
        """Checks a number of texts.

        Raises:
            RefusedError: If they are too many.
        """
        if number > self.texts:
            raise RefusedError.too_large(
                f"{name}: {number:,}개. 한 번에 {self.texts:,}개까지 받습니다. 나누어 보내세요.",
                f"{name}: {number:,} are too many; a request may have {self.texts:,}. Divide them.",
            )

    def check_text(self, name: str, text: str) -> str:
        """Returns a text that is not too long.

        Raises:
            RefusedError: If it is.
            InvalidTextError: If it holds a lone surrogate, as JSON can.
        """
        if len(text) > self.characters:
            raise RefusedError.too_large(
                f"{name}: {len(text):,}자. {self.characters:,}자까지 받습니다.",
                f"{name} has {len(text):,} characters; {self.characters:,} are the most.",
            )
        return check_unicode(text, name)

    def check_query(self, query: str) -> None:
        """Checks a query.

        Raises:
            RefusedError: If it is too long.
            InvalidTextError: If it holds a lone surrogate, as JSON can.
            InvalidArgumentError: If it is empty.
        """
        reject_empty_query(self.check_text("query", query))


class Work:
    """Runs what takes long in threads, so many at a time; used by one event loop.

    Args:
        running: Threads.
        waiting: Calls that wait for one.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._running, self._most = running, running + waiting
        self._lock = Lock()
        self.taken = 0
        self.open()

    def open(self) -> None:
        """Takes calls, again after `close`: an application may be started more than once."""
        self._pool = ThreadPoolExecutor(self._running, thread_name_prefix="korag-serve")

    async def run(self, function: Callable[[], T]) -> T:
        """Returns what a function returns. If this call is cancelled while the function waits, it never runs.

        Raises:
            RefusedError: If too many are waiting, or the server stops.
        """
        with self._lock:
            if self.taken >= self._most:
                raise RefusedError.busy()
            self.taken += 1
        context = contextvars.copy_context()  # spans of this request are the parents of those made there
        try:
            future = self._pool.submit(context.run, function)
        except RuntimeError:
            self._end(None)
            raise RefusedError.stopping() from None
        future.add_done_callback(self._end)  # not when the request ends: its thread may go on without it
        return await asyncio.wrap_future(future)

    def _end(self, _: Future[T] | None) -> None:
        with self._lock:
            self.taken -= 1

    def close(self) -> None:
        """Ends the threads that have nothing to do, and drops what waits. What runs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class RateLimit:
    """Counts the requests of every address; used by one event loop.

    Args:
        rate: Requests a second; None for any number.
        clock: Seconds that never go back.
    """

    def __init__(self, rate: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = rate, clock
        self._left: LRUCache[str, tuple[float, float]] = LRUCache(_ADDRESSES)

    def check(self, address: str) -> None:
        """Counts a request.

        Raises:
            RefusedError: If the address has sent too many.
        """
        if self._rate is None:
            return
        now, most = self._clock(), max(1.0, self._rate * _BURST)
        left, since = self._left.get(address, (most, now))
        left = min(most, left + (now - since) * self._rate)
        if left < 1:
            raise RefusedError.too_many(self._rate, wait=math.ceil((1 - left) / self._rate))
        self._left[address] = (left - 1, now)
