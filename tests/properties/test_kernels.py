"""Kernels give the same results as numpy and scipy, and never write out of bounds."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from korag.kernels import postings
from korag.kernels.byte_maxsim import byte_maxsim, can_multiply, pack
from korag.kernels.compiler import processor_features
from korag.legs.sparse import PostingsCodec
from korag.scoring import sparse_dot

pytestmark = pytest.mark.slow

needs_vnni = pytest.mark.skipif("avx512vnni" not in processor_features(), reason="this processor has no AVX-512 VNNI")

needs_compiler = pytest.mark.skipif(not postings.can_add(), reason="korag[fast] is not installed")


@needs_vnni
@given(
    seed=st.integers(0, 2**32 - 1),
    dim=st.sampled_from([32, 64, 96, 128, 1024]),
    lengths=st.lists(st.integers(1, 40), max_size=9),
    tokens=st.lists(st.integers(1, 70), min_size=1, max_size=4),
    extreme=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_maxsim_of_bytes(seed: int, dim: int, lengths: list[int], tokens: list[int], extreme: bool) -> None:
    rng = np.random.default_rng(seed)
    codes = (
        rng.choice([-127, 127], (sum(lengths) + 3, dim))
        if extreme
        else rng.integers(-127, 128, (sum(lengths) + 3, dim))
    )
    queries = [(rng.integers(-127, 128, (n, dim)).astype(np.int8), rng.random(n).astype(np.float32)) for n in tokens]
    if extreme:
        queries = [(np.where(own > 0, 127, -127).astype(np.int8), steps) for own, steps in queries]
    order = rng.permutation(len(lengths))
    sizes = np.array(lengths, np.int64)
    begins = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)[:-1][order]
    sizes = sizes[order]
    found = byte_maxsim(codes.astype(np.int8), begins, sizes, pack(queries))
    assert found.shape == (len(lengths), len(queries))
    for row, (begin, size) in enumerate(zip(begins.tolist(), sizes.tolist(), strict=True)):
        for column, (own, steps) in enumerate(queries):
            maxima = (codes[begin : begin + size].astype(np.int64) @ own.T.astype(np.int64)).max(axis=0)
            parts = maxima.astype(np.float64) * steps
            assert found[row, column] == pytest.approx(parts.sum(), abs=2e-6 * np.abs(parts).sum())
            alone = byte_maxsim(codes.astype(np.int8), begins[row : row + 1], sizes[row : row + 1], pack(queries))
            assert alone[0].tolist() == found[row].tolist()  # to the last bit, in whatever company


@needs_vnni
@pytest.mark.parametrize(
    ("begin", "length"),
    [(-1, 2), (3, 2), (0, 0), (0, 5), (2**62, 2**62)],
    ids=["before", "past", "none", "long", "far"],
)
def test_documents_that_do_not_exist(begin: int, length: int) -> None:
    query = pack([(np.ones((1, 32), np.int8), np.ones(1, np.float32))])
    with pytest.raises(ValueError, match="out of range"):
        byte_maxsim(np.zeros((4, 32), np.int8), np.array([begin]), np.array([length]), query)


@needs_vnni
def test_what_the_kernel_is_not_made_for() -> None:
    assert can_multiply(128)
    assert not any(map(can_multiply, (0, 1, 48)))
    query = pack([(np.ones((1, 32), np.int8), np.ones(1, np.float32))])
    codes, places = np.zeros((4, 32), np.int8), np.array([0, 2])
    wide = np.zeros((4, 64), np.int8)
    for others in (
        wide,
        np.zeros((4, 48), np.int8),
        codes.astype(np.uint8),
        wide[:, ::2],
        np.zeros((32, 4), np.int8).T,
    ):
        with pytest.raises(ValueError, match="byte_maxsim takes"):
            byte_maxsim(others, places, places + 1, query)
    for begins, lengths in ((places, np.array([1])), (places.astype(np.int32), places), (np.arange(4)[::2], places)):
        with pytest.raises(ValueError, match="byte_maxsim takes"):
            byte_maxsim(codes, begins, lengths, query)
    for none in ([], [(np.zeros((0, 32), np.int8), np.zeros(0, np.float32))]):
        with pytest.raises(ValueError, match="at least one"):
            pack(none)


@needs_compiler
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(0, 60),
    vocabulary=st.integers(1, 40),
    density=st.sampled_from([0.0, 0.1, 0.9]),
)
@settings(max_examples=80, deadline=None)
def test_postings_added_where_they_lie(seed: int, rows: int, vocabulary: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    documents = sp.random_array((rows, vocabulary), density=density, rng=rng, dtype=np.float32, format="csc")
    query = sp.random_array((1, vocabulary), density=0.5, rng=rng, dtype=np.float32, format="csr")
    scores = np.zeros(rows, np.float32)
    terms = documents.indptr
    postings.add_postings(
        documents.data, documents.indices, terms[query.indices], terms[query.indices + 1], query.data, scores
    )
    assert scores.tolist() == sparse_dot(query, documents).tolist()


@needs_compiler
def test_the_sparse_leg_finds_the_same_without_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    codec = PostingsCodec()
    arrays = codec.encode(sp.random_array((50, 30), density=0.2, rng=rng, dtype=np.float32, format="csr"))
    query = sp.random_array((1, 30), density=0.3, rng=rng, dtype=np.float32, format="csr")
    for rows in (np.arange(50), np.array([3, 7, 8])):
        with_kernel = codec.scores(arrays, query, rows)
        with monkeypatch.context() as patch:
            patch.setattr(postings, "can_add", lambda: False)
            assert codec.scores(arrays, query, rows).tolist() == with_kernel.tolist()
    assert (with_kernel > 0).any()


@needs_compiler
def test_postings_that_do_not_exist() -> None:
    weights, rows, scores = np.ones(3, np.float32), np.array([0, 2, -1], np.int32), np.zeros(2, np.float32)
    one = np.ones(1, np.float32)
    postings.add_postings(weights, rows, np.array([0]), np.array([3]), one, scores)
    assert scores.tolist() == [1.0, 0.0]  # rows 2 and -1 are of no document: a damaged file must not write elsewhere
    for start, end in ((-1, 2), (0, 4), (0, -1), (2, 1)):
        with pytest.raises(ValueError, match="out of range"):
            postings.add_postings(weights, rows, np.array([start]), np.array([end]), one, scores)
    with pytest.raises(ValueError, match="for each term"):
        postings.add_postings(weights, rows, np.array([0, 1]), np.array([1]), one, scores)
    scores.flags.writeable = False
    with pytest.raises(ValueError, match="to write to"):
        postings.add_postings(weights, rows, np.array([0]), np.array([1]), one, scores)


class TestNoCompiler:
    """With a broken llvmlite there are no kernels, and search uses the fallback."""

    @pytest.fixture(autouse=True)
    def _afresh(self) -> Iterator[None]:
        processor_features.cache_clear()
        yield
        processor_features.cache_clear()

    def test_absent(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
        assert not can_multiply(128)
        assert not postings.can_add()
        assert not caplog.records

    @needs_compiler
    def test_too_old_or_forbidden(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        def refuse(*_: object) -> None:
            raise RuntimeError("LLVM IR parsing error\n<string>:1:1: error: expected type")

        monkeypatch.setattr("llvmlite.binding.parse_assembly", refuse)
        assert not can_multiply(128)
        assert not postings.can_add()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "llvmlite 0.45 이상" in caplog.text
        assert "0.45 or newer" in caplog.text
