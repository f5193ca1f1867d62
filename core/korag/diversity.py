"""Diversifies results by maximal marginal relevance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from korag.errors import InvalidArgumentError


def maximal_marginal_relevance(
    relevance: NDArray[np.float32], similarities: NDArray[np.float32], *, k: int, lambda_mult: float = 0.5
) -> list[int]:
    """Chooses candidates one by one, each with the highest ``λ · relevance − (1 − λ) · redundancy``.

    Redundancy is the greatest similarity to a candidate already chosen (Carbonell and Goldstein 1998,
    https://doi.org/10.1145/290941.291025).

    Args:
        relevance: Relevance of each candidate, in [0, 1]. Shape: (n,).
        similarities: Pairwise similarities of the candidates, on the same scale. Shape: (n, n).
        k: How many at most.
        lambda_mult: λ; 1 for relevance only, 0 for diversity only.

    Returns:
        Indices of the chosen candidates, in the order chosen; ties keep their order.

    Raises:
        InvalidArgumentError: If `lambda_mult` is not in [0, 1].
    """
    if isinstance(lambda_mult, bool) or not isinstance(lambda_mult, int | float) or not 0 <= lambda_mult <= 1:
        raise InvalidArgumentError(
            f"lambda_mult={lambda_mult!r}: 0(다양성만)과 1(관련도만) 사이의 수여야 합니다.",
            f"lambda_mult={lambda_mult!r} is invalid; it must be between 0 (diversity only) and 1 (relevance only).",
        )
    chosen: list[int] = []
    redundancy = np.zeros(len(relevance), np.float32)
    open_ = np.ones(len(relevance), np.bool_)
    while len(chosen) < min(k, len(relevance)):
        gain = np.where(open_, lambda_mult * relevance - (1 - lambda_mult) * redundancy, -np.inf)
        if not chosen:
            gain = np.where(open_, relevance, -np.inf)  # the first is chosen by relevance alone
        best = int(np.argmax(gain))
        chosen.append(best)
        open_[best] = False
        redundancy = similarities[best] if len(chosen) == 1 else np.maximum(redundancy, similarities[best])
    return chosen
