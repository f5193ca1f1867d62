"""An assertion about the event loop, shared by the adapters' tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest


async def assert_loop_stays_free(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, call: Callable[[], Awaitable[Any]]
) -> None:
    """Asserts that the event loop runs while `call` is inside ``owner.method``.

    The method waits for a gate that only the event loop opens: were it called on the loop's own thread, the gate
    would stay shut.
    """
    original, gate = getattr(owner, method), threading.Event()

    def waiting(*args: Any, **kwargs: Any) -> Any:
        assert gate.wait(timeout=20), "the event loop was blocked"
        return original(*args, **kwargs)

    async def open_gate() -> None:
        gate.set()

    monkeypatch.setattr(owner, method, waiting)
    await asyncio.gather(call(), open_gate())
