"""Fuses a reranker's scores with those of the first stage, the search that found its candidates.

Both are scaled to [0, 1] by the minimum and maximum over the candidates and added by weight, as in
`korag.fusion.weighted_fusion`: ``w · reranker + (1 − w) · first stage``. Where the first stage has no scores,
reciprocal ranks ``1 / (60 + rank)`` stand for them. ``benchmarks/rerank_quality.py`` measures weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.checks import check_list
from korag.errors import InvalidArgumentError
from korag.fusion import RRF_CONSTANT

Floats = NDArray[np.float64]


def check_fuse_weight(value: object) -> float | None:
    """Returns the weight of the reranker's score, a number in [0, 1]; None stays None.

    Raises:
        InvalidArgumentError: If it is anything else.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidArgumentError(
            f"fuse_weight={value!r:.80}: 0과 1 사이의 수여야 합니다. 1은 재순위 점수만, 0은 1차 검색의 점수만 씁니다.",
            f"fuse_weight={value!r:.80} is invalid; it must be a number between 0 and 1: 1 for the reranker's score "
            "alone, 0 for the first stage's.",
        )
    return float(value)


def check_first_stage(scores: Sequence[float] | None, count: int) -> Floats | None:
    """Returns the first stage's scores as an array; None stays None.

    Args:
        scores: One for each candidate.
        count: Number of candidates.

    Returns:
        Shape: (count,).

    Raises:
        InvalidArgumentError: If their number differs, or one is not a finite number.
    """
    if scores is None:
        return None
    given = scores.tolist() if isinstance(scores, np.ndarray) else check_list("first_stage_scores", scores)
    if len(given) != count:
        raise InvalidArgumentError(
            f"first_stage_scores: {len(given)}개, texts: {count}개. 문서마다 1차 검색의 점수를 하나씩 넣으세요.",
            f"There are {len(given)} first_stage_scores for {count} texts; give one for each.",
        )
    for index, score in enumerate(given):
        if not is_number(score):
            raise InvalidArgumentError(
                f"first_stage_scores[{index}]={score!r:.80}: 유한한 수여야 합니다.",
                f"first_stage_scores[{index}]={score!r:.80} is invalid; it must be a finite number.",
            )
    return np.array(given, np.float64)


def ranked_scores(scores: Sequence[object]) -> list[float] | None:
    """Returns scores that came with documents if they are those of a ranked list, otherwise None.

    In a ranked list every document has a score and none exceeds the one before it. Anything else under the same name,
    such as ratings of users or distances, is not what the documents were ranked by.

    Args:
        scores: What came with each document; None where nothing did.
    """
    numbers: list[Any] = list(scores)
    if not numbers or not all(map(is_number, numbers)):
        return None
    if any(after > before for before, after in pairwise(numbers)):
        return None
    return [float(number) for number in numbers]


def fuse(scores: NDArray[np.float32], first_stage: Floats | None, weight: float) -> NDArray[np.float32]:
    """Fuses scores of the same candidates.

    Args:
        scores: The reranker's. Shape: (n,).
        first_stage: The first stage's, or None if the candidates are in its order. Shape: (n,).
        weight: Weight of the reranker's scores, in [0, 1].

    Returns:
        Shape: (n,).
    """
    if first_stage is None:
        first_stage = 1 / (RRF_CONSTANT + np.arange(1, len(scores) + 1))
    fused = weight * _scale(scores.astype(np.float64)) + (1 - weight) * _scale(first_stage)
    return fused.astype(np.float32)


def _scale(scores: Floats) -> Floats:
    least, greatest = scores.min(), scores.max()
    return (scores - least) / (greatest - least) if greatest > least else np.ones_like(scores)


def is_number(value: object) -> bool:
    """Tells whether a value can be a score: finite, and not a bool."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(float(value))
