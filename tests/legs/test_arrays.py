"""`korag.legs.arrays`: arrays that are read in parts, and arrays under other names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from korag.legs.arrays import LazyArrays, check_array, check_form, check_names, renamed, verify, view
from korag.legs.base import Codec

ARRAYS = {"vectors": np.arange(12, dtype=np.float32).reshape(4, 3), "starts": np.arange(5)}


class Watched(LazyArrays):
    """Notes what is verified."""

    def __init__(self) -> None:
        self.verified: list[Any] = []

    def __getitem__(self, name: str) -> Any:
        self.verified.append(name)
        return ARRAYS[name]

    def __iter__(self) -> Any:
        return iter(ARRAYS)

    def __len__(self) -> int:
        return len(ARRAYS)

    def view(self, name: str) -> Any:
        return ARRAYS[name]

    def verify(self, name: str, starts: Any, ends: Any) -> None:
        self.verified.append((name, starts.tolist(), ends.tolist()))


def test_arrays_in_memory_need_no_verifying() -> None:
    verify(ARRAYS, "vectors", 0, 10**9)
    assert view(ARRAYS, "vectors") is ARRAYS["vectors"]
    with pytest.raises(KeyError):
        view(ARRAYS, "codes")


def test_parts_are_verified_and_looking_is_not() -> None:
    arrays = Watched()
    assert view(arrays, "vectors").shape == (4, 3)
    check_form(arrays, "vectors", np.float32, 4, None)
    check_names(arrays, ("vectors", "starts"))
    assert "vectors" in arrays
    assert arrays.verified == []
    verify(arrays, "vectors", 1, 3)
    verify(arrays, "vectors", np.array([0, 2], np.int32), np.array([1, 4], np.int32))
    assert arrays.verified == [("vectors", [1], [3]), ("vectors", [0, 2], [1, 4])]
    check_array(arrays, "vectors", np.float32, 4, 3)
    assert arrays.verified[2:] == ["vectors"]


def test_other_names_are_of_the_same_arrays() -> None:
    assert renamed(ARRAYS, {"a": "vectors"}) == {"a": ARRAYS["vectors"]}
    arrays = Watched()
    other = renamed(renamed(arrays, {"b": "vectors"}), {"a": "b"})
    assert list(other) == ["a"]
    assert view(other, "a") is ARRAYS["vectors"]
    verify(other, "a", 2, 3)
    assert other["a"] is ARRAYS["vectors"]
    assert arrays.verified == [("vectors", [2], [3]), "vectors"]
    for some in (ARRAYS, arrays, other):
        with pytest.raises(KeyError):
            renamed(some, {"a": "codes"})


def test_a_codec_that_says_nothing_else_is_checked_whole_when_it_is_opened() -> None:
    class Checked(Codec):
        name = "checked"

        def encode(self, vectors: Any) -> Any:
            return vectors

        def decode(self, arrays: Any, rows: Any) -> Any:
            return arrays

        def check(self, arrays: Any, rows: int, *, dim: int | None) -> None:
            check_array(arrays, "vectors", np.float32, rows, dim)

    with pytest.raises(ValueError, match="shape"):
        Checked().check_layout(ARRAYS, 5, dim=3)
    Checked().check_layout(ARRAYS, 4, dim=3)
