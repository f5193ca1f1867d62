"""One event loop in a thread of its own, which all requests of a process go through, sync or async."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, TypeVar

from korag.forking import Lock

T = TypeVar("T")
_lock = Lock()
_running: tuple[int, asyncio.AbstractEventLoop] | None = None
"""The process, since a forked child has the loop but not its thread, and the loop."""


def submit(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Starts a coroutine in the loop."""
    return asyncio.run_coroutine_threadsafe(work, _loop())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine and waits for its result; an interruption cancels it."""
    future = submit(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def arun(work: Coroutine[Any, Any, T]) -> T:
    """As `run`, without blocking the caller's own loop; cancelling the caller cancels the work."""
    return await asyncio.wrap_future(submit(work))


async def all_of(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Runs coroutines side by side; the first error cancels the rest, and nothing runs on behind its back."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _loop() -> asyncio.AbstractEventLoop:
    global _running
    running = _running
    if running is None or running[0] != os.getpid():  # not under the lock: the garbage collector may call this anywhere
        with _lock:
            running = _running
            if running is None or running[0] != os.getpid():
                loop = asyncio.new_event_loop()
                threading.Thread(target=loop.run_forever, name="korag-http", daemon=True).start()
                _running = running = os.getpid(), loop
    return running[1]
