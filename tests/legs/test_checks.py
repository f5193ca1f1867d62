"""`Codec.check` of the built-in codecs: what they make passes, and arrays that would lead a reader astray do not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from korag import Collection
from korag.errors import InvalidArgumentError, KoragError
from korag.legs import bm25_codecs, dense, sparse
from korag.legs.base import Codec
from korag.legs.multi_vector.codecs import Float16Codec
from korag.legs.windows.codec import WindowedCodec, WindowVectors
from korag.testing import FakeDenseEncoder

DIM = 12


def vectors(kind: str, rng: np.random.Generator, rows: int) -> Any:
    """Documents as the leg of a codec represents them."""
    if kind in ("dense", "int8"):
        return rng.standard_normal((rows, DIM)).astype(np.float32)
    if kind == "sparse":
        return sp.csr_array(sp.random(rows, DIM, 0.4, format="csr", dtype=np.float32, rng=rng))
    if kind == "windows":
        counts = rng.integers(1, 4, rows)
        begins = rng.integers(0, 9, int(counts.sum()))
        places = np.stack([begins, begins + rng.integers(1, 9, len(begins))], axis=1).astype(np.int32)
        return WindowVectors(vectors("dense", rng, len(begins)), counts, places)
    if kind == "colbert":
        return [rng.standard_normal((length, DIM)).astype(np.float32) for length in rng.integers(0, 70, rows)]
    terms = [np.unique(rng.integers(0, 2**63, rng.integers(0, 9)).astype(np.uint64)) for _ in range(rows)]
    return [(held, rng.integers(1, 2**16, len(held)).astype(np.uint16)) for held in terms]


CODECS: dict[str, Codec] = {
    "dense": dense.Float32Codec(),
    "sparse": sparse.PostingsCodec(),
    "colbert": Float16Codec(),
    "bm25": bm25_codecs.PostingsCodec(),
    "windows": WindowedCodec(dense.Float32Codec()),
    "int8": dense.Int8Codec(),
}


@pytest.fixture(autouse=True)
def _codes_in_small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dense, "CODES_FROM", 40)


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_codec_makes_is_right(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = (1, 2, 3, 50, 300, 17)[seed % 6]
    arrays = CODECS[kind].encode(vectors(kind, rng, rows))
    CODECS[kind].check(arrays, rows, dim=None if kind == "bm25" else DIM)
    if kind != "bm25":
        with pytest.raises(ValueError, match=r"shape|out|dense|vectors"):
            CODECS[kind].check(arrays, rows, dim=DIM + 1)
    with pytest.raises(ValueError):  # noqa: PT011 (each array says so in its own words)
        CODECS[kind].check(arrays, rows + 1, dim=None)


def at(index: Any, value: Any) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[index] = value
        return array

    return change


@pytest.mark.parametrize(
    ("kind", "name", "change", "reason"),
    [
        ("dense", "vectors", at((3, 4), np.nan), "not finite"),
        ("dense", "vectors", at((-1, -1), -np.inf), "not finite"),
        ("dense", "vectors", lambda a: a.astype(np.float64), "float64"),
        ("dense", "vectors", lambda a: a[:-1], "shape"),
        ("dense", "vectors", np.ravel, "shape"),
        ("dense", "codes", lambda a: a.view(np.uint8), "uint8"),
        ("dense", "codes", lambda a: a[:, 1:].copy(), "shape"),
        ("dense", "code_terms", at((3, 1), np.nan), "not finite"),
        ("dense", "signs", lambda a: a[:-1], "shape"),
        ("dense", "signs", lambda a: np.concatenate([a, a], axis=1), "shape"),
        ("dense", "sign_terms", at((0, 2), np.inf), "not finite"),
        ("dense", "mean", lambda a: a[:-1], "shape"),
        ("int8", "codes", lambda a: a.astype(np.int16), "int16"),
        ("int8", "codes", np.ravel, "shape"),
        ("int8", "code_terms", lambda a: a[:, :2].copy(), "shape"),
        ("int8", "signs", lambda a: a.view(np.int64), "int64"),
        ("sparse", "weights", at(5, np.inf), "not finite"),
        ("sparse", "weights", lambda a: a[:-1], "shape"),
        ("sparse", "rows", at(0, 60_000), "out of range"),
        ("sparse", "rows", lambda a: a.astype(np.int32) - 1, "out of range"),
        ("sparse", "rows", at(-1, 50), "out of range"),
        ("sparse", "rows", lambda a: a[::-1].copy(), "not ascending"),
        ("sparse", "rows", lambda a: a.astype(np.uint32), "uint32"),
        ("sparse", "terms", at(0, 1), "not from 0"),
        ("sparse", "terms", at(-1, 10**6), "not from 0"),
        ("sparse", "terms", at(5, 10**6), "not ascending"),
        ("sparse", "terms", at(5, -(10**6)), "not ascending"),
        ("sparse", "shape", at(0, 10**12), "shape"),
        ("sparse", "shape", at(1, 2**62), "shape"),
        ("sparse", "shape", at(1, -1), "shape"),
        ("bm25", "terms", lambda a: a[::-1].copy(), "not ascending"),
        ("bm25", "starts", at(2, 10**9), "not ascending"),
        ("bm25", "starts", lambda a: a[:-1], "shape"),
        ("bm25", "rows", at(0, 50), "out of range"),
        ("bm25", "counts", at(0, 0), "lengths"),
        ("bm25", "lengths", at(0, 2**31 - 1), "lengths"),
        ("bm25", "lengths", lambda a: a.astype(np.int64), "int64"),
        ("windows", "vectors", at((3, 4), np.nan), "not finite"),
        ("windows", "vectors", lambda a: a[:-1], "shape"),
        ("windows", "window_starts", at(3, 0), "not ascending"),
        ("windows", "window_starts", lambda a: np.concatenate([a[:2], a[1:-2], a[-1:]]), "without windows"),
        ("windows", "window_starts", at(-1, 10**9), "not from 0"),
        ("windows", "window_starts", lambda a: a[:-1], "shape"),
        ("windows", "window_starts", lambda a: a.astype(np.int32), "int32"),
        ("windows", "window_spans", lambda a: a[:-1], "not from 0"),
        ("windows", "window_spans", lambda a: a[:, ::-1].copy(), "out of range"),
        ("windows", "window_spans", at((0, 0), -1), "out of range"),
        ("windows", "window_spans", lambda a: a.astype(np.int64), "int64"),
        ("colbert", "tokens", at((0, 0), np.nan), "not finite"),
        ("colbert", "tokens", lambda a: a.astype(np.float32), "float32"),
        ("colbert", "tokens", lambda a: a[:, :-1].copy(), "shape"),
        ("colbert", "offsets", at(1, -5), "not ascending"),
        ("colbert", "offsets", at(-1, 10**9), "not from 0"),
        ("colbert", "codes", lambda a: a[:-1], "shape"),
        ("colbert", "codes", lambda a: a[:-8], "shape|out of range|not all"),
        ("colbert", "codes", lambda a: a.view(np.uint8), "uint8"),
        ("colbert", "pooled_tokens", lambda a: a[:-1], "shape"),
        ("colbert", "code_spans", at((0, 0), 10**9), "code_spans"),
        ("colbert", "code_spans", at((0, 0), -1), "code_spans"),
        ("colbert", "code_spans", at((0, 1), 2**62), "out of range"),
        ("colbert", "code_spans", lambda a: np.roll(a, 1, axis=0), "code_spans"),
        ("colbert", "code_spans", lambda a: a * 0, "not of the tokens"),
        ("colbert", "code_errors", at(0, np.inf), "not finite"),
        ("colbert", "code_errors", at(0, -1.0), "negative"),
        ("colbert", "code_scale", at(0, np.nan), "not finite"),
        ("colbert", "code_scale", lambda a: a[:1], "shape"),
    ],
)
def test_arrays_that_lead_astray(kind: str, name: str, change: Callable[[Any], Any], reason: str) -> None:
    arrays = CODECS[kind].encode(vectors(kind, np.random.default_rng(5), 50))
    arrays[name] = change(arrays[name].copy())
    with pytest.raises(ValueError, match=reason):
        CODECS[kind].check(arrays, 50, dim=None)


@pytest.mark.parametrize("kind", CODECS)
def test_arrays_that_are_missing_or_too_many(kind: str) -> None:
    arrays = CODECS[kind].encode(vectors(kind, np.random.default_rng(5), 50))
    for name in arrays:
        with pytest.raises(ValueError, match="instead of"):
            CODECS[kind].check({other: array for other, array in arrays.items() if other != name}, 50, dim=None)
    with pytest.raises(ValueError, match="instead of"):
        CODECS[kind].check(arrays | {"more": np.zeros(3)}, 50, dim=None)


class Broken(FakeDenseEncoder):
    """Returns infinity for some texts, as float16 does when it overflows."""

    def _encode(self, texts: list[str]) -> Any:
        found = super()._encode(texts)
        found[["넘치는" in text for text in texts]] = np.inf
        return found


def test_vectors_that_are_not_finite_are_refused_before_anything_is_stored() -> None:
    with Collection.in_memory(encoders=[Broken()]) as collection:
        collection.add(["보통 글"], ids=["보통"])
        with pytest.raises((InvalidArgumentError, KoragError)) as caught:
            collection.add(["다른 글", "넘치는 글"])
        assert len(caught.value.args) == 2
        assert [document.id for document in collection.get()] == ["보통"]
        assert [hit.id for hit in collection.search("보통")] == ["보통"]
