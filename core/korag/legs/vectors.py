"""Checks of the numbers that encoders return, before they are stored or searched with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError

GREATEST_FACTOR = 1e15
"""Magnitude up to which the dot product of any two vectors is a number in float32."""
GREATEST_HALF, LEAST_HALF = 65_504.0, 2.0**-14
"""Magnitudes that float16 represents in full precision."""


def check_magnitudes(encoder: Encoder[Any], numbers: NDArray[Any], *, greatest: float, least: float = 0.0) -> None:
    """Raises unless the magnitudes of numbers are finite and within bounds.

    Args:
        encoder: Where they are from.
        numbers: The greatest magnitudes are compared with `least` row by row. Shape: (n,) or (n, dim).
        greatest: Upper bound.
        least: Lower bound of the greatest magnitude of a row, except 0.

    Raises:
        InvalidArgumentError: If one is not finite, or out of bounds.
    """
    if numbers.dtype.kind not in "fiu":
        raise wrong_vectors(encoder, str(numbers.dtype), "수의 배열이어야 합니다", "they must be arrays of numbers")
    rows = np.abs(numbers) if numbers.ndim == 1 else np.abs(numbers).max(axis=1, initial=0)
    wrong = np.flatnonzero(~((rows <= greatest) & (rows >= least) | (rows == 0)))  # with NaN, no comparison holds
    if len(wrong):
        value = float(rows[wrong[0]])
        raise wrong_vectors(
            encoder,
            f"{value:g}",
            f"유한한 수여야 하고 크기가 {least:g}부터 {greatest:g}까지여야 합니다",
            f"magnitudes must be finite and from {least:g} to {greatest:g}",
        )


def check_shape(encoder: Encoder[Any], found: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """Raises unless vectors have the shape they must have.

    Raises:
        InvalidArgumentError: If they have another one.
    """
    if found != wanted and wanted[0] != 0:
        raise wrong_vectors(encoder, f"shape {found}", f"모양이 {wanted}이어야 합니다", f"the shape must be {wanted}")


def wrong_vectors(encoder: Encoder[Any], found: str, korean: str, english: str) -> InvalidArgumentError:
    """Returns the error for vectors that cannot be stored or searched with.

    Args:
        encoder: Where they are from.
        found: What is wrong.
        korean: The rule, in Korean.
        english: The rule, in English.
    """
    return InvalidArgumentError(
        f"'{encoder.model_name}'의 벡터가 잘못되었습니다({found}): {korean}. KoRAG가 불러온 모델이면 dtype='float32'로 "
        "불러 보고, 직접 만든 인코더면 그것이 돌려주는 값을 고치세요.",
        f"The vectors of '{encoder.model_name}' are wrong ({found}): {english}. If KoRAG loaded the model, try "
        "dtype='float32'; if it is your own encoder, correct what it returns.",
    )
