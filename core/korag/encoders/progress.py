"""Progress bars that move while the work does: in a terminal and in a notebook."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Self

_SHOW_FROM = 1_000
"""Number of texts above which a bar is shown."""
_TICK = 1.0
"""Seconds between two renewals of a bar, so that its clock moves while a batch is computed."""


class _Hidden:
    """A bar that is not shown.

    A disabled one of tqdm would do, but it takes tqdm's lock, which forked processes share: one that is killed while it
    has the lock keeps it for ever, and the others would wait for it.
    """

    disable = True

    def update(self, count: float) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class Progress:
    """A tqdm bar that is renewed every second, and whose estimate counts only what was really done.

    Args:
        bar: The bar, or `_Hidden`.
    """

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._part: tuple[float, float] | None = None
        self._given = 0.0
        self._ended = threading.Event()
        if not bar.disable:
            threading.Thread(target=self._tick, daemon=True, name="korag-progress").start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the bar."""
        self._ended.set()
        self._bar.close()

    def update(self, count: float) -> None:
        """So much more has been done."""
        self._bar.update(count)

    def skip(self, count: int) -> None:
        """So much had been done before: it counts as done, but not for the speed."""
        bar = self._bar
        if count and not bar.disable:
            bar.initial += count
            bar.n += count
            bar.last_print_n += count
            bar.refresh()

    @contextlib.contextmanager
    def part(self, documents: int, size: int | None = None) -> Iterator[None]:
        """Documents are added inside; encoders that run there move this bar instead of showing one of their own.

        Args:
            documents: How many.
            size: What they count on this bar; None for their number.
        """
        size = documents if size is None else size
        self._part, self._given = (documents, size), 0.0
        token = _outer.set(self)
        try:
            yield
        finally:
            _outer.reset(token)
            self._part = None
        self._bar.update(size - round(self._given))

    def advance(self, documents: float) -> None:
        """Of a part, so many documents have been encoded."""
        if self._part is not None:
            total, size = self._part
            before = round(self._given)
            self._given = min(size, self._given + size * documents / max(1, total))
            self._bar.update(round(self._given) - before)

    def _tick(self) -> None:
        while not self._ended.wait(_TICK):
            with contextlib.suppress(Exception):  # a stream that is closed meanwhile
                self._bar.refresh()


class Share:
    """Stands in for the bar of a call inside `Progress.part`."""

    def __init__(self, outer: Progress, total: int | None, documents: float) -> None:
        self._outer, self._worth = outer, documents / total if total else 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def close(self) -> None:
        """Does nothing."""

    def update(self, count: float) -> None:
        """So many texts more have been encoded."""
        self._outer.advance(count * self._worth)

    def skip(self, count: int) -> None:
        """Does nothing; whoever made the outer bar knows."""

    def part(self, documents: int) -> contextlib.AbstractContextManager[None]:
        """Encoders that run inside move the outer bar, whose part this is."""
        return contextlib.nullcontext()


_outer: ContextVar[Progress | None] = ContextVar("korag_progress", default=None)
_documents: ContextVar[float] = ContextVar("korag_documents", default=0.0)


@contextlib.contextmanager
def encoding_documents(documents: float) -> Iterator[None]:
    """The call of an encoder inside is worth so many documents of `Progress.part`, each of which several may encode."""
    token = _documents.set(documents)
    try:
        yield
    finally:
        _documents.reset(token)


def progress_bar(description: str, total: int | None, *, show: bool | None, unit: str = "it") -> Progress | Share:
    """Returns a progress bar.

    Args:
        description: Label.
        total: Number of texts; None if unknown.
        show: Whether to show it; None shows it in a terminal or notebook for more than 1,000 texts or an unknown
            number.
        unit: What is counted; ``"B"`` for bytes.
    """
    if (outer := _outer.get()) is not None:
        return Share(outer, total, _documents.get())
    if show is None:
        show = (total is None or total > _SHOW_FROM) and is_watched()
    if not show:
        return Progress(_Hidden())
    from tqdm.auto import tqdm

    return Progress(tqdm(total=total, desc=description, unit=unit, unit_scale=unit == "B"))


def is_watched() -> bool:
    """Returns True in a terminal or a notebook."""
    if sys.stderr.isatty():
        return True
    shell = sys.modules.get("IPython")
    running = None if shell is None else shell.get_ipython()
    return getattr(running, "kernel", None) is not None
