"""Stored arrays: reading them in parts, and checks for `korag.legs.base.Codec.check`.

The arrays of a segment may be in a file that is verified piece by piece, as it is read (`LazyArrays`). ``arrays[name]``
is an array of which all is verified. Whoever needs a part takes the array by `view`, and calls `verify` for that part
before reading it.

The checks take whole arrays at a time, in a pass or two each. Code that reads arrays may trust them afterwards: indices
are in range, and numbers are finite.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from korag.legs.base import Arrays
from korag.scoring import Ints

_PIECE = 1 << 18
"""Numbers looked at together, so that what is computed of them stays in the cache."""


class LazyArrays(Mapping[str, NDArray[Any]]):
    """Arrays of a file. ``arrays[name]`` verifies the whole of an array at its first use."""

    def __contains__(self, name: object) -> bool:
        return any(own == name for own in self)  # that of `Mapping` would read the array

    @abstractmethod
    def view(self, name: str) -> NDArray[Any]:
        """Returns an array of which nothing is verified yet.

        Raises:
            KeyError: If there is none of that name.
        """

    @abstractmethod
    def verify(self, name: str, starts: Ints, ends: Ints) -> None:
        """As the function `verify`."""


def view(arrays: Arrays, name: str) -> NDArray[Any]:
    """Returns an array of which nothing need be verified yet: its type and shape can be trusted, its content cannot.

    Args:
        arrays: All arrays.
        name: Which one.

    Raises:
        KeyError: If there is none of that name.
    """
    return arrays.view(name) if isinstance(arrays, LazyArrays) else arrays[name]


def verify(arrays: Arrays, name: str, starts: Ints | int, ends: Ints | int) -> None:
    """Verifies some parts of an array, each piece of the file once; floating-point numbers in them must be finite, too.

    Does nothing for arrays in memory.

    Args:
        arrays: All arrays.
        name: Which one.
        starts: Where each part starts on the first axis. What lies outside of the array is ignored. Shape: (parts,),
            or one number.
        ends: Where each part ends; a part that ends before it starts is empty. As `starts`.

    Raises:
        SegmentError: If one of the parts is damaged.
    """
    if isinstance(arrays, LazyArrays):
        arrays.verify(name, np.atleast_1d(np.asarray(starts, np.int64)), np.atleast_1d(np.asarray(ends, np.int64)))


def renamed(arrays: Arrays, names: Mapping[str, str]) -> Arrays:
    """Returns some of the arrays under other names; nothing is read.

    Args:
        arrays: All arrays.
        names: The old name by the new one.

    Raises:
        KeyError: If one is missing.
    """
    if isinstance(arrays, LazyArrays):
        return _Renamed(arrays, names)
    return {new: arrays[old] for new, old in names.items()}


class _Renamed(LazyArrays):
    def __init__(self, arrays: LazyArrays, names: Mapping[str, str]) -> None:
        if missing := set(names.values()) - arrays.keys():
            raise KeyError(min(missing))
        self._arrays, self._names = arrays, dict(names)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[self._names[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def view(self, name: str) -> NDArray[Any]:
        return self._arrays.view(self._names[name])

    def verify(self, name: str, starts: Ints, ends: Ints) -> None:
        self._arrays.verify(self._names[name], starts, ends)


def join_ranges(starts: Ints, counts: Ints) -> Ints:
    """Returns the numbers of several ranges, one range after another.

    Args:
        starts: Where each begins. Shape: (ranges,).
        counts: How many numbers each has. Shape: (ranges,).
    """
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()))


def row_type(count: int) -> type[np.uint16 | np.int32 | np.int64]:
    """Returns the smallest type of row numbers in segments that holds those of so many rows."""
    if count <= 65_536:
        return np.uint16
    return np.int32 if count <= np.iinfo(np.int32).max else np.int64


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


def check_form(arrays: Arrays, name: str, dtypes: DTypeLike | tuple[DTypeLike, ...], *shape: int | None) -> None:
    """Raises unless an array has the right type and shape. Reads nothing: for `Codec.check_layout`.

    Args:
        arrays: All arrays.
        name: Which one.
        dtypes: The type, or several that are right.
        *shape: The length of each axis; None for any.

    Raises:
        ValueError: If it has not.
    """
    array = view(arrays, name)
    allowed = dtypes if isinstance(dtypes, tuple) else (dtypes,)
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    require(array.dtype in [np.dtype(dtype) for dtype in allowed], f"{name}: {array.dtype}")
    require(fits, f"{name}: shape {array.shape}")


def check_array(arrays: Arrays, name: str, dtypes: DTypeLike | tuple[DTypeLike, ...], *shape: int | None) -> None:
    """As `check_form`; floating-point numbers must be finite, too.

    Raises:
        ValueError: If they are not.
    """
    check_form(arrays, name, dtypes, *shape)
    array = arrays[name]
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
