"""Choosing results that differ from each other: maximal marginal relevance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from korag.errors import InvalidArgumentError


def maximal_marginal_relevance(
    relevance: NDArray[np.float32], similarities: NDArray[np.float32], *, k: int, lambda_mult: float = 0.5
) -> list[int]:
    """Chooses one candidate after another, each the best of ``λ · relevance − (1 − λ) · likeness``.

    Likeness is the greatest similarity to a candidate already chosen (Carbonell and Goldstein 1998,
    https://doi.org/10.1145/290941.291025).

    Args:
        relevance: Of each candidate for the query, in [0, 1]. Shape: (n,).
        similarities: Of the candidates with each other, on the same scale. Shape: (n, n).
        k: How many at most.
        lambda_mult: λ: 1 goes by relevance alone, 0 by difference alone.

    Returns:
        Indices of the candidates chosen, in the order chosen; equal ones in their own order.

    Raises:
        InvalidArgumentError: If `lambda_mult` is not in [0, 1].
    """
    if isinstance(lambda_mult, bool) or not isinstance(lambda_mult, int | float) or not 0 <= lambda_mult <= 1:
        raise InvalidArgumentError(
            f"lambda_mult={lambda_mult!r}은(는) 쓸 수 없습니다. 0(다양성만)과 1(관련도만) 사이여야 합니다.",
            f"lambda_mult={lambda_mult!r} is not possible; it must be between 0 (difference only) and 1 (relevance "
            "only).",
        )
    chosen: list[int] = []
    likeness = np.zeros(len(relevance), np.float32)
    open_ = np.ones(len(relevance), np.bool_)
    while len(chosen) < min(k, len(relevance)):
        gain = np.where(open_, lambda_mult * relevance - (1 - lambda_mult) * likeness, -np.inf)
        if not chosen:
            gain = np.where(open_, relevance, -np.inf)  # nothing to differ from yet
        best = int(np.argmax(gain))
        chosen.append(best)
        open_[best] = False
        likeness = similarities[best] if len(chosen) == 1 else np.maximum(likeness, similarities[best])
    return chosen
