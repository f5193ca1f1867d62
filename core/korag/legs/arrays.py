"""Checks of stored arrays, for `korag.legs.base.Codec.check`: whole arrays at a time, each in a pass or two.

Codes that read arrays may trust them afterwards: indices are in range, and numbers are finite.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from korag.legs.base import Arrays

_PIECE = 1 << 18
"""Numbers looked at together, so that what is computed of them stays in the cache."""


def require(condition: object, rule: str) -> None:
    """Raises unless a condition holds.

    Args:
        condition: The condition.
        rule: What must be so, in a few words.

    Raises:
        ValueError: With the rule.
    """
    if not condition:
        raise ValueError(rule)


def check_names(arrays: Arrays, names: Collection[str]) -> None:
    """Raises unless there are just these arrays.

    Raises:
        ValueError: If one is missing, or there is another one.
    """
    require(arrays.keys() == set(names), f"arrays {sorted(arrays)} instead of {sorted(names)}")


def check_array(arrays: Arrays, name: str, dtypes: DTypeLike | tuple[DTypeLike, ...], *shape: int | None) -> None:
    """Raises unless an array has the right type and shape; floating-point numbers must be finite, too.

    Args:
        arrays: All arrays.
        name: Which one.
        dtypes: The type, or several that are right.
        *shape: The length of each axis; None for any.

    Raises:
        ValueError: If it has not.
    """
    array = arrays[name]
    allowed = dtypes if isinstance(dtypes, tuple) else (dtypes,)
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    require(array.dtype in [np.dtype(dtype) for dtype in allowed], f"{name}: {array.dtype}")
    require(fits, f"{name}: shape {array.shape}")
    if array.dtype.kind == "f":
        require(is_finite(array), f"{name}: not finite")


def check_starts(name: str, starts: NDArray[Any], total: int) -> None:
    """Raises unless an array holds where each of several parts starts, in order, and the end.

    Args:
        name: Its name, for the message.
        starts: Shape: (parts + 1,).
        total: The end.

    Raises:
        ValueError: If it does not.
    """
    require(len(starts) > 0 and starts[0] == 0 and starts[-1] == total, f"{name}: not from 0 to {total}")
    require(is_ascending(starts), f"{name}: not ascending")


def check_rows(name: str, rows: NDArray[Any], starts: NDArray[Any], count: int) -> None:
    """Raises unless rows exist, and ascend within each part.

    Args:
        name: Their name, for the message.
        rows: Shape: (postings,).
        starts: Checked already. Shape: (parts + 1,).
        count: How many rows there are.

    Raises:
        ValueError: If they do not.
    """
    if not len(rows):
        return
    require(int(rows.min()) >= 0 and int(rows.max()) < count, f"{name}: out of range")
    right = np.ones(len(rows) + 1, np.bool_)
    np.less(rows[:-1], rows[1:], out=right[1:-1])
    right[starts] = True  # another part starts here
    require(right.all(), f"{name}: not ascending")


def is_finite(array: NDArray[Any]) -> bool:
    """Returns True if no number is infinite or NaN. By their bits: numpy computes slowly with float16."""
    bits: Any = {2: np.uint16, 4: np.uint32, 8: np.uint64}[array.dtype.itemsize]
    infinite = np.array(np.inf, array.dtype).view(bits)
    flat = array.reshape(-1).view(bits)
    pieces = (flat[start : start + _PIECE] for start in range(0, len(flat), _PIECE))
    return not any(((piece & infinite) == infinite).any() for piece in pieces)


def is_ascending(array: NDArray[Any], *, strictly: bool = False) -> bool:
    """Returns True if no number is lower than the one before it, or, strictly, equal to it."""
    compare = np.less if strictly else np.less_equal
    return bool(compare(array[:-1], array[1:]).all())
