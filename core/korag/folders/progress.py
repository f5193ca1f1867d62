"""The progress bar of a run over a folder, in bytes of files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Self

from korag.encoders.progress import is_watched, progress_bar


class FolderProgress:
    """Shows the bytes of files that are in the index, of those that are to be read.

    Args:
        show: Show a bar; None shows one in a terminal or a notebook.
    """

    def __init__(self, *, show: bool | None) -> None:
        self._show = show
        self._bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin(self, total: int) -> None:
        """As `korag.folders.reports.Progress`."""
        if total:
            show = is_watched() if self._show is None else self._show
            self._bar = progress_bar("Indexing", total, show=show, unit="B")

    @contextmanager
    def encoding(self, documents: int, size: int) -> Iterator[None]:
        """As `korag.folders.reports.Progress`."""
        with self._bar.part(documents, size) if self._bar is not None else nullcontext():
            yield
