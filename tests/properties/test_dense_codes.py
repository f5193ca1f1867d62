"""Search by codes finds every document that scoring all of them finds, in any segments, parts of them, and codec."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korag.kernels import jit, vector_codes
from korag.legs import dense, dense_codes, dense_search
from korag.legs.arrays import LazyArrays
from korag.legs.base import SegmentSlice
from korag.legs.dense import DenseCodec, Float32Codec, Int8Codec
from korag.scoring import dot_rows, top_k

pytestmark = pytest.mark.slow

CODECS = {"float32": Float32Codec(), "int8": Int8Codec()}
seeds = st.integers(0, 2**32 - 1)
dims = st.sampled_from([1, 7, 32, 63, 64, 65, 192, 1_024])
scales = st.sampled_from([1.0, 1.0, 1e-3, 50.0, 1e15, 1e-30, 0.0])
shapes = {
    "seed": seeds,
    "count": st.integers(1, 150),
    "dim": dims,
    "scale": scales,
    "k": st.integers(1, 12),
    "part": st.sampled_from([1.0, 0.5, 0.1]),
    "segments": st.integers(1, 4),
    "codec": st.sampled_from(sorted(CODECS)),
}


def _vectors(rng: np.random.Generator, count: int, dim: int, scale: float) -> np.ndarray:
    """Rows around a common direction, as of a model whose cosines are all high; some equal, or nearly."""
    rows = rng.standard_normal((count, dim)) + rng.standard_normal(dim) * rng.choice([0, 1, 5])
    rows *= scale / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    for copy in range(0, count - 1, 5):
        rows[copy + 1] = rows[copy] * (1 + 1e-6 * (copy % 2))
    rows[rng.random(count) < 0.02] = 0
    return rows.astype(np.float32)


def _case(
    seed: int, count: int, dim: int, scale: float, part: float, segments: int, codec: str, patch: pytest.MonkeyPatch
) -> tuple[list[SegmentSlice], list[np.ndarray]]:
    """Parts of segments, of which the small ones have no codes; and queries, some of them near a document."""
    patch.setattr(dense, "CODES_FROM", 20)
    patch.setattr(dense_search, "MIN_CODED", 0)
    patch.setattr(dense_search, "MIN_DOCUMENTS", 0)
    patch.setattr(dense_search, "MIN_RATIO", 1)
    rng = np.random.default_rng(seed)
    vectors = _vectors(rng, count, dim, scale)
    slices = [
        SegmentSlice(CODECS[codec].encode(own), np.flatnonzero(rng.random(len(own)) < part))
        for own in np.split(vectors, np.sort(rng.integers(0, count + 1, segments - 1)))
    ]
    queries = [*rng.standard_normal((3, dim)).astype(np.float32), vectors[0], np.zeros(dim, np.float32)]
    return slices, queries


def _search(codec: str, slices: list[SegmentSlice], queries: list[np.ndarray], k: int, *, exact: bool) -> list[Any]:
    return list(CODECS[codec].search(queries, slices, k, exact=exact))


def _expected(codec: DenseCodec, slices: list[SegmentSlice], query: np.ndarray) -> np.ndarray:
    return np.concatenate([dot_rows(query, codec.decode(part.arrays, part.rows)) for part in slices])


@given(**shapes)
@settings(max_examples=80, deadline=None)
def test_the_k_best_are_those_of_scoring_every_document(
    seed: int, count: int, dim: int, scale: float, k: int, part: float, segments: int, codec: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        slices, queries = _case(seed, count, dim, scale, part, segments, codec, patch)
        for query, found in zip(queries, _search(codec, slices, queries, k, exact=True), strict=True):
            expected = _expected(CODECS[codec], slices, query)
            keys = np.arange(len(expected))
            best = top_k(expected, keys, k)
            assert top_k(found, keys, k).tolist() == best.tolist()
            kept = found > -np.inf
            assert found[kept].tolist() == expected[kept].tolist()  # to the last bit


@given(**shapes)
@settings(max_examples=40, deadline=None)
def test_a_pruned_search_returns_enough_documents_with_their_scores(
    seed: int, count: int, dim: int, scale: float, k: int, part: float, segments: int, codec: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        slices, queries = _case(seed, count, dim, scale, part, segments, codec, patch)
        for query, found in zip(queries, _search(codec, slices, queries, k, exact=False), strict=True):
            expected = _expected(CODECS[codec], slices, query)
            kept = found > -np.inf
            assert found[kept].tolist() == expected[kept].tolist()
            assert kept.sum() >= min(k, len(expected))


def _clustered(rng: np.random.Generator, common: float) -> np.ndarray:
    """20,000 documents in clusters around a common direction, as those of real models are."""
    centres = rng.standard_normal((200, 256))
    vectors = centres[rng.integers(0, 200, 20_000)] + 1.5 * rng.standard_normal((20_000, 256)) + common
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("codec", sorted(CODECS))
@pytest.mark.parametrize("common", [0.0, 3.0])
def test_a_pruned_search_finds_almost_all_of_the_best(codec: str, common: float) -> None:
    rng = np.random.default_rng(0)
    vectors = _clustered(rng, common)
    queries = [
        (query / np.linalg.norm(query)).astype(np.float32)
        for query in vectors[:50] + 0.05 * rng.standard_normal((50, 256))
    ]
    slices = [SegmentSlice(CODECS[codec].encode(own), np.arange(len(own))) for own in np.split(vectors, [12_000])]
    keys, found, scored = np.arange(20_000), 0, 0
    for query, scores in zip(queries, _search(codec, slices, queries, 10, exact=False), strict=True):
        best = set(top_k(_expected(CODECS[codec], slices, query), keys, 10).tolist())
        found += len(best & set(top_k(scores, keys, 10).tolist()))
        scored += int((scores > -np.inf).sum())
    assert found >= 0.99 * 500
    assert scored < 50 * 1_000  # of 20,000


@given(seed=seeds, count=st.integers(1, 60), dim=dims, scale=scales)
@settings(max_examples=60, deadline=None)
def test_codes_are_within_the_error_they_state(seed: int, count: int, dim: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    vectors, rows = _vectors(rng, count, dim, scale), np.arange(count)
    arrays = dense_codes.quantize(vectors)
    exact, rounded = vectors.astype(np.float64), dense_codes.dequantize(arrays, rows).astype(np.float64)
    scale_terms, errors, lengths = arrays["code_terms"].T
    assert rounded.tolist() == (arrays["codes"] * scale_terms.astype(np.float64)[:, None]).tolist()  # without rounding
    assert (np.linalg.norm(exact - rounded, axis=1) <= errors.astype(np.float64) * (1 + 1e-6)).all()
    assert (np.linalg.norm(rounded, axis=1) <= lengths).all()
    query = rng.standard_normal(dim).astype(np.float32) * np.float32(max(scale, 1e-30))
    near, off = dense_codes.estimates(arrays, dense_codes.CodedQuery.of(query), rows)
    assert (np.abs(dot_rows(query, vectors).astype(np.float64) - near) <= off).all()


@given(seed=seeds, count=st.integers(1, 60), dim=dims, scale=scales)
@settings(max_examples=60, deadline=None)
def test_encoding_rounded_vectors_again_changes_nothing(seed: int, count: int, dim: int, scale: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense, "CODES_FROM", 20)
        once = Int8Codec().encode(_vectors(np.random.default_rng(seed), count, dim, scale))
        again = Int8Codec().encode(Int8Codec().decode(once, np.arange(count)))
    assert again["codes"].tolist() == once["codes"].tolist()
    assert again["code_terms"][:, 0].tolist() == once["code_terms"][:, 0].tolist()
    assert again.keys() == once.keys()
    for name in again.keys() & set(dense_codes.SIGNS):
        assert again[name].tolist() == once[name].tolist()


@given(seed=seeds, count=st.integers(0, 40), dim=dims, extreme=st.booleans())
@settings(max_examples=60, deadline=None)
def test_estimates_by_codes(seed: int, count: int, dim: int, extreme: bool) -> None:
    rng = np.random.default_rng(seed)
    codes = rng.choice([-127, 127], (count, dim)) if extreme else rng.integers(-127, 128, (count, dim))
    greatest = min(2**15 - 1, (2**31 - 1) // (127 * dim))
    query = np.full(dim, -greatest) if extreme else rng.integers(-greatest, greatest + 1, dim)
    terms = rng.random((count, 3)).astype(np.float32)
    rows = np.flatnonzero(rng.random(count) < 0.7)
    found, off = vector_codes.code_estimates(
        codes.astype(np.int8), terms, query.astype(np.int16), rows, step=0.3, factors=(2.0, 0.7)
    )
    scale, error, length = terms[rows].astype(np.float64).T
    assert found.tolist() == (codes[rows] @ query * (scale * 0.3)).astype(np.float32).tolist()
    assert off == pytest.approx(error * 2 + length * 0.7)


@given(seed=seeds, count=st.integers(0, 40), dim=dims, bits=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_estimates_by_signs(seed: int, count: int, dim: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    signs = rng.random((count, dim)) < 0.5
    query = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), dim)
    planes = dense_codes.pack_bits((query >> np.arange(bits)[:, None] & 1).astype(np.bool_))
    terms = rng.random((count, 3)).astype(np.float32)
    rows = np.flatnonzero(rng.random(count) < 0.7)
    found, spreads = vector_codes.sign_estimates(
        dense_codes.pack_bits(signs), terms, planes, rows, step=0.3, total=int(query.sum()), factors=(0.5, 2.0)
    )
    factor, product, spread = terms[rows].astype(np.float64).T
    assert found == pytest.approx(
        factor * (np.where(signs, 1, -1)[rows] @ query) * 0.3 + product + 0.5, rel=1e-5, abs=1e-6
    )
    assert spreads == pytest.approx(spread * 2)


def _by_codes(rows: Any, **other: Any) -> None:
    arrays = {"codes": np.zeros((3, 8), np.int8), "terms": np.zeros((3, 3), np.float32), "query": np.zeros(8, np.int16)}
    vector_codes.code_estimates(**(arrays | other), rows=np.array(rows), step=1, factors=(1, 1))


def _by_signs(rows: Any, **other: Any) -> None:
    words, terms = np.zeros((3, 1), np.uint64), np.zeros((3, 3), np.float32)
    arrays = {"signs": words, "terms": terms, "planes": np.zeros((4, 1), np.uint64)}
    vector_codes.sign_estimates(**(arrays | other), rows=np.array(rows), step=1, total=0, factors=(1, 1))


@pytest.mark.parametrize("rows", [[-1], [3], [0, 1, 2, 3]])
@pytest.mark.parametrize("estimate", [_by_codes, _by_signs])
def test_kernels_refuse_rows_that_do_not_exist(estimate: Callable[[Any], None], rows: list[int]) -> None:
    with pytest.raises(ValueError, match="row"):
        estimate(rows)


@pytest.mark.parametrize(
    ("estimate", "other"),
    [
        (_by_codes, {"query": np.zeros(9, np.int16)}),
        (_by_codes, {"query": np.zeros(8, np.int8)}),
        (_by_codes, {"codes": np.zeros((8, 3), np.int8).T}),
        (_by_codes, {"terms": np.zeros((2, 3), np.float32)}),
        (_by_signs, {"planes": np.zeros((4, 2), np.uint64)}),
        (_by_signs, {"signs": np.zeros((3, 1), np.int64)}),
        (_by_signs, {"terms": np.zeros((3, 2), np.float32)}),
    ],
)
def test_kernels_refuse_arrays_that_do_not_fit(estimate: Callable[..., None], other: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"shape|type"):
        estimate([0, 1], **other)


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_without_numba_the_same_documents_are_found(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slices, queries = _case(7, 150, 65, 1.0, 0.5, 3, codec, monkeypatch)
    with_kernels = _search(codec, slices, queries, 5, exact=True)
    monkeypatch.setitem(sys.modules, "numba", None)
    jit.is_available.cache_clear()
    try:
        for exact in (True, False):
            for found, plain in zip(with_kernels, _search(codec, slices, queries, 5, exact=exact), strict=True):
                keys = np.arange(len(found))
                best = top_k(found, keys, 5)
                assert best.tolist() == top_k(plain, keys, 5).tolist()
                assert found[best].tolist() == plain[best].tolist()
    finally:
        jit.is_available.cache_clear()


class _File(LazyArrays):
    """Arrays of which it is noted how many rows are verified."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.arrays, self.read = arrays, dict.fromkeys(arrays, 0)

    def __getitem__(self, name: str) -> Any:
        self.read[name] = len(self.arrays[name])
        return self.arrays[name]

    def __iter__(self) -> Any:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def view(self, name: str) -> Any:
        return self.arrays[name]

    def verify(self, name: str, starts: Any, ends: Any) -> None:
        self.read[name] += int((ends - starts).sum())


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("codec", sorted(CODECS))
def test_only_what_a_search_needs_is_read(codec: str, exact: bool) -> None:
    vectors = _clustered(np.random.default_rng(3), 1.0)
    file = _File(CODECS[codec].encode(vectors))
    CODECS[codec].check_layout(file, 20_000, dim=256)
    assert set(file.read.values()) == {0}
    for _ in _search(codec, [SegmentSlice(file, np.arange(20_000))], [vectors[7]], 10, exact=exact):
        pass
    assert file.read["signs"] == (0 if exact else 20_000)
    assert file.read["codes"] >= 20_000 if exact else 10 <= file.read["codes"] < 1_000
    assert 10 <= file.read.get("vectors", 10) < 100
