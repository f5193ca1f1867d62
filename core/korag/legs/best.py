"""The best scores found so far, by which a search knows what it need not look at."""

from __future__ import annotations

import numpy as np

from korag.forking import Lock
from korag.legs.base import Scores


class BestScores:
    """The k best scores that any of several threads has found for one query.

    Args:
        k: How many documents are wanted.

    Attributes:
        k: As given, at least 1.
        least: The k-th best score so far, which no document of the result is below; −inf before k are found.
    """

    def __init__(self, k: int) -> None:
        self.k = max(k, 1)
        self.least = -np.inf
        self._scores = np.zeros(0, np.float32)
        self._lock = Lock()

    def add(self, scores: Scores) -> None:
        """Takes note of scores of further documents.

        Args:
            scores: Shape: (documents,).
        """
        with self._lock:
            self._scores = np.concatenate([self._scores, scores])
            if len(self._scores) >= self.k:
                self._scores = np.partition(self._scores, -self.k)[-self.k :]
                self.least = float(self._scores[0])
