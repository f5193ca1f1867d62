"""The nearest entries of a codebook equal those of plain numpy, with kernels and without, in whatever company."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from korag.kernels import jit
from korag.kernels.nearest import nearest_entries

pytestmark = pytest.mark.slow

WAYS = ["kernel", "numpy"] if jit.is_available() else ["numpy"]
seeds = st.integers(0, 2**32 - 1)
KINDS = ["random", "few entries", "entries", "equal", "zero", "tiny", "huge"]


def _random(rng: np.random.Generator, rows: int, parts: int, size: int, kind: str) -> tuple[Any, Any]:
    vectors, entries = rng.standard_normal((rows, parts * size)), rng.standard_normal((parts, 256, size))
    if kind == "few entries":  # each of them many times
        entries = entries[:, rng.integers(0, 3, 256)]
    if kind == "entries":
        chosen = entries[np.arange(parts), rng.integers(0, 256, (rows, parts))]
        vectors = chosen.reshape(rows, parts * size)
    if kind == "equal":
        entries[:] = 1
    scale = {"tiny": 1e-30, "huge": 1e17, "zero": 0.0}.get(kind, 1.0)
    return (vectors * scale).astype(np.float32), (entries * scale).astype(np.float32)


def _found(way: str, vectors: Any, entries: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        if way == "numpy":
            patch.setattr(jit, "is_available", lambda: False)
        return nearest_entries(vectors, entries)


@given(
    seed=seeds,
    rows=st.sampled_from([0, 1, 2, 7, 33]),
    parts=st.sampled_from([1, 3, 16]),
    size=st.sampled_from([1, 2, 3, 4, 8]),
    kind=st.sampled_from(KINDS),
)
@example(seed=1, rows=1_100, parts=2, size=8, kind="random")  # more than numpy compares together
@settings(max_examples=50, deadline=None)
@pytest.mark.parametrize("way", WAYS)
def test_nearest_entries(way: str, seed: int, rows: int, parts: int, size: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    vectors, entries = _random(rng, rows, parts, size, kind)
    codes = _found(way, vectors, entries)
    assert codes.dtype == np.uint8
    assert codes.shape == (rows, parts)
    for row in range(min(rows, 9)):
        alone = _found(way, vectors[row : row + 1], entries)
        assert alone.tolist() == codes[row : row + 1].tolist()
        for part, code in enumerate(codes[row].tolist()):
            own = vectors[row, part * size : (part + 1) * size].astype(np.float64)
            off = ((own - entries[part]) ** 2).sum(axis=1)
            assert off[code] <= off.min() * (1 + 2**-14) + 1e-44  # as near as any, to the 15 bits compared
            assert code == np.flatnonzero((entries[part] == entries[part, code]).all(axis=1))[0]  # the first of equals


@pytest.mark.skipif("kernel" not in WAYS, reason="korag[fast] is not installed")
@given(
    seed=seeds, rows=st.integers(0, 40), parts=st.integers(1, 5), size=st.integers(1, 9), kind=st.sampled_from(KINDS)
)
@settings(max_examples=50, deadline=None)
def test_without_kernels(seed: int, rows: int, parts: int, size: int, kind: str) -> None:
    vectors, entries = _random(np.random.default_rng(seed), rows, parts, size, kind)
    assert _found("kernel", vectors, entries).tolist() == _found("numpy", vectors, entries).tolist()


@pytest.mark.parametrize("way", WAYS)
def test_what_does_not_fit(way: str) -> None:
    vectors, entries = np.zeros((4, 6), np.float32), np.zeros((2, 256, 3), np.float32)
    bad: list[tuple[str, Any, Any]] = [
        ("float32", vectors.astype(np.float64), entries),
        ("float32", vectors, entries.astype(np.float16)),
        ("contiguous", np.zeros((4, 12), np.float32)[:, ::2], entries),
        ("do not fit", vectors[:, :5].copy(), entries),
        ("do not fit", vectors[0], entries),
        ("do not fit", vectors, entries[:, :255]),
        ("unpack", vectors, entries[0]),
    ]
    for reason, own, others in bad:
        with pytest.raises(ValueError, match=reason):
            _found(way, own, others)
