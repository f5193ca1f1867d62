"""Commits so small that a kill loses little, and so large that they cost little."""

from __future__ import annotations

from time import monotonic

_SECONDS = 20.0
"""A commit is to take."""
_GROWTH = 4
"""Times that a commit may be as large as the one before."""


class Pace:
    """The number of documents for the next commit, by how long the last ones took.

    Args:
        most: At most so many.
        first: For the first commit.
    """

    def __init__(self, most: int, *, first: int = 64) -> None:
        self._most = most
        self.size = min(first, most)
        self._since = monotonic()

    def begin(self) -> None:
        """A commit begins."""
        self._since = monotonic()

    def end(self, documents: int) -> None:
        """It ends, with so many documents encoded."""
        if documents:
            rate = documents / max(monotonic() - self._since, 1e-6)
            self.size = max(1, min(self._most, self.size * _GROWTH, int(rate * _SECONDS)))
