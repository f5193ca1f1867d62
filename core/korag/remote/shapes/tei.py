"""Text Embeddings Inference of Hugging Face: ``/embed`` and ``/embed_sparse``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.remote.shapes.base import AnswerError, check_list, floats


class TeiDense:
    """``{"inputs": […]}`` → ``[[0.1, …], …]``."""

    takes_ids = False

    def body(self, inputs: Sequence[Any], *, model: str | None, normalize: bool) -> dict[str, Any]:
        """As `Shape.body`. A text that is too long for the server is an error there, not cut."""
        del model  # a server has one
        return {"inputs": list(inputs), "normalize": normalize, "truncate": False}

    def rows(self, answer: Any, count: int) -> list[NDArray[np.float32]]:
        """As `Shape.rows`."""
        return [floats(row, ndim=1) for row in check_list(answer, count)]


class TeiSparse:
    """``{"inputs": […]}`` → ``[[{"index": 7, "value": 0.5}, …], …]``; a row is (indices, values)."""

    takes_ids = False

    def body(self, inputs: Sequence[Any], *, model: str | None, normalize: bool) -> dict[str, Any]:
        """As `Shape.body`."""
        del model, normalize
        return {"inputs": list(inputs), "truncate": False}

    def rows(self, answer: Any, count: int) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """As `Shape.rows`."""
        return [self._row(row) for row in check_list(answer, count)]

    def _row(self, row: Any) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        if not isinstance(row, list):
            raise AnswerError("용어의 리스트가 아닌 벡터", "vectors that are no lists of terms")
        if not row:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        try:
            terms = [(entry["index"], entry["value"]) for entry in row]
        except (KeyError, TypeError):
            terms = []
        if not terms or not all(isinstance(index, int) and 0 <= index < 2**31 for index, _ in terms):
            raise AnswerError("index와 value가 없는 용어", "terms without index and value")
        return np.array([index for index, _ in terms], np.int64), floats([value for _, value in terms], ndim=1)
