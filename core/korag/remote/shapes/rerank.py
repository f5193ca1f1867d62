"""Scores of texts for a query: ``/rerank`` of TEI, and the shape that Cohere, Jina, vLLM and Infinity share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from korag.remote.shapes.base import by_index, floats


class RerankShape(Protocol):
    """An API that scores texts for a query."""

    def body(self, query: str, texts: Sequence[str], *, model: str | None, raw: bool) -> dict[str, Any]:
        """Returns the body of a request.

        Args:
            query: The query.
            texts: The texts.
            model: The model's name on the server; None for the only one.
            raw: Scores should be logits; otherwise in [0, 1].
        """
        ...

    def scores(self, answer: Any, count: int) -> NDArray[np.float32]:
        """Returns a score per text, in the order of the request.

        Raises:
            AnswerError: If the answer is something else.
        """
        ...


class TeiRerank:
    """``{"query": …, "texts": […]}`` → ``[{"index": 1, "score": 0.9}, …]``, best first."""

    def body(self, query: str, texts: Sequence[str], *, model: str | None, raw: bool) -> dict[str, Any]:
        """As `RerankShape.body`."""
        del model  # a server has one
        return {"query": query, "texts": list(texts), "raw_scores": raw, "truncate": True}

    def scores(self, answer: Any, count: int) -> NDArray[np.float32]:
        """As `RerankShape.scores`."""
        return floats([entry.get("score") for entry in by_index({"results": answer}, count, key="results")], ndim=1)


class ResultsRerank:
    """``{"query": …, "documents": […]}`` → ``{"results": [{"index": 1, "relevance_score": 0.9}, …]}``, best first."""

    def body(self, query: str, texts: Sequence[str], *, model: str | None, raw: bool) -> dict[str, Any]:
        """As `RerankShape.body`; which scores there are is up to the server."""
        del raw
        named = {} if model is None else {"model": model}
        return {**named, "query": query, "documents": list(texts), "top_n": len(texts)}

    def scores(self, answer: Any, count: int) -> NDArray[np.float32]:
        """As `RerankShape.scores`."""
        found = by_index(answer, count, key="results")
        return floats([entry.get("relevance_score") for entry in found], ndim=1)
