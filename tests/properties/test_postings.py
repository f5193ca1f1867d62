"""Searching postings: the same scores to the last bit, with kernels and without, whatever is skipped or split."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from korag.kernels import bm25, jit, postings
from korag.legs import base
from korag.legs.base import SegmentSlice
from korag.legs.bm25 import BM25Leg, QueryTerms
from korag.legs.bm25_codecs import PostingsCodec, TermCounts, WeighedQuery
from korag.legs.sparse import PostingsCodec as SparsePostings
from korag.scoring import sparse_dot, top_k

pytestmark = pytest.mark.slow

WAYS = [
    pytest.param((True, 0), marks=pytest.mark.skipif(not jit.is_available(), reason="korag[fast] is not installed")),
    (False, 0),
    (False, 50_000),
]


@pytest.fixture(scope="module", params=WAYS, ids=["kernels", "numpy", "numpy-few"])
def way(request: pytest.FixtureRequest) -> Iterator[bool]:
    with pytest.MonkeyPatch.context() as patch:
        compiled, few = request.param
        patch.setattr(jit, "is_available", lambda: compiled)
        patch.setattr(bm25, "_FEW", few)
        patch.setattr(postings, "MANY", 0)
        yield compiled


def draw_documents(rng: np.random.Generator, count: int) -> list[TermCounts]:
    """Documents of up to 30 terms: some in most documents, some in one or two; a few very long ones."""
    shares = np.array([0.9, 0.7, 0.5, *np.geomspace(0.4, 0.01, 27)])
    held = rng.random((count, 30)) < shares
    counts = np.minimum(rng.geometric(0.6, (count, 30)), 9) * np.where(rng.random((count, 1)) < 0.03, 700, 1)
    return [
        (np.flatnonzero(own).astype(np.uint64), some[own].astype(np.uint16))
        for own, some in zip(held, counts, strict=True)
    ]


def reference(documents: list[TermCounts], query: WeighedQuery) -> list[float]:
    """BM25 by the formula, one document at a time."""
    scores = []
    for terms, counts in documents:
        length, score = int(counts.sum(dtype=np.int64)), 0.0
        held = dict(zip(terms.tolist(), counts.tolist(), strict=True))
        for term, idf in zip(query.terms.tolist(), query.idf.tolist(), strict=True):
            if count := held.get(term):
                score += idf * count / (count + 1.2 * (1 - 0.75 + 0.75 * length / query.average_length))
        scores.append(float(np.float32(score)) if score > 0 else -np.inf)
    return scores


def split(documents: list[TermCounts], rng: np.random.Generator, share: float, version: int = 2) -> list[SegmentSlice]:
    """Segments of random sizes, with some of their rows."""
    cuts = np.sort(rng.integers(0, len(documents) + 1, int(rng.integers(0, 4)))).tolist()
    slices = []
    for start, end in zip([0, *cuts], [*cuts, len(documents)], strict=True):
        arrays = PostingsCodec().encode(documents[start:end])
        if version == 1:
            arrays |= {"rows": arrays["rows"].astype(np.int32), "counts": arrays["counts"].astype(np.uint16)}
        slices.append(SegmentSlice(arrays, np.flatnonzero(rng.random(end - start) < share)))
    return slices


def queries_of(rng: np.random.Generator, count: int) -> list[QueryTerms]:
    terms = [rng.permutation(33)[: int(rng.integers(1, 20))].astype(np.uint64) for _ in range(count)]
    return [QueryTerms(own, np.zeros(len(own), np.bool_), np.zeros(len(own), np.bool_)) for own in terms]


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.sampled_from([1, 5, 60, 400]),
    k=st.sampled_from([1, 3, 10, 1000]),
    share=st.sampled_from([0.0, 0.02, 0.2, 1.0]),
    version=st.sampled_from([1, 2]),
)
@settings(max_examples=60, deadline=None)
def test_the_best_by_bm25_are_those_of_the_formula(
    way: bool, seed: int, count: int, k: int, share: float, version: int
) -> None:
    rng = np.random.default_rng(seed)
    documents, leg = draw_documents(rng, count), BM25Leg(PostingsCodec())
    slices = split(documents, rng, share, version)
    everything = [SegmentSlice(part.arrays, np.arange(len(part.arrays["lengths"]))) for part in slices]
    prepared = [leg.prepare(query, everything) for query in queries_of(rng, 3)]
    chosen = [part.rows for part in slices]
    starts = np.cumsum([0, *(len(part.arrays["lengths"]) for part in slices)])
    kept = np.concatenate([rows + start for rows, start in zip(chosen, starts, strict=False)]).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "THREADS_FROM", -1)
        together = list(leg.search(prepared, slices, k, exact=True))
    for query, found in zip(prepared, together, strict=True):
        every = reference(documents, query)
        expected = np.array([every[row] for row in kept], np.float32)
        (alone,) = leg.search([query], slices, k, exact=True)
        for scores in (found, alone):
            assert scores.shape == expected.shape
            assert ((scores == expected) | (scores == -np.inf)).all()
            best = top_k(expected, np.arange(len(expected)), k)
            assert top_k(scores, np.arange(len(expected)), k).tolist() == best.tolist()
        (whole,) = leg.search([query], everything, len(documents), exact=True)
        assert whole.tolist() == every  # all are wanted, so all are scored


@given(seed=st.integers(0, 2**32 - 1), count=st.sampled_from([1, 40, 300]), share=st.sampled_from([0.3, 0.99, 1.0]))
@settings(max_examples=30, deadline=None)
def test_bm25_weighs_terms_by_the_documents_that_are_left(way: bool, seed: int, count: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    documents, leg = draw_documents(rng, count), BM25Leg(PostingsCodec())
    slices = split(documents, rng, share)
    starts = np.cumsum([0, *(len(part.arrays["lengths"]) for part in slices)])
    left = [documents[row + start] for part, start in zip(slices, starts, strict=False) for row in part.rows.tolist()]
    fresh = [SegmentSlice(PostingsCodec().encode(left), np.arange(len(left)))]
    for query in queries_of(rng, 2):
        found, expected = (leg.prepare(query, parts) for parts in (slices, fresh))
        assert found.terms.tolist() == expected.terms.tolist()
        assert found.idf.tolist() == expected.idf.tolist()
        assert found.average_length == expected.average_length
        assert (np.diff(found.idf) <= 0).all()


@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.sampled_from([0, 1, 60, 300]),
    vocabulary=st.integers(1, 40),
    density=st.sampled_from([0.0, 0.1, 0.9]),
    share=st.sampled_from([0.0, 0.02, 1.0]),
    integers=st.sampled_from([np.uint16, np.int32, np.int64]),
)
@settings(max_examples=60, deadline=None)
def test_sparse_scores_are_those_of_scipy(
    way: bool, seed: int, rows: int, vocabulary: int, density: float, share: float, integers: Any
) -> None:
    rng = np.random.default_rng(seed)
    documents = sp.random_array((rows, vocabulary), density=density, rng=rng, dtype=np.float32, format="csc")
    query = sp.random_array((1, vocabulary), density=0.5, rng=rng, dtype=np.float32, format="csr")
    chosen = np.flatnonzero(rng.random(rows) < share)
    arrays = SparsePostings().encode(documents.tocsr())
    assert arrays["rows"].dtype == np.uint16
    arrays["rows"] = arrays["rows"].astype(integers)
    expected = sparse_dot(query, documents)[chosen]
    expected[expected <= 0] = -np.inf
    assert SparsePostings().scores(arrays, query, chosen).tolist() == expected.tolist()
    assert (SparsePostings().decode(arrays, chosen) != documents.tocsr()[chosen]).nnz == 0


def test_rows_that_do_not_exist_are_never_written_to(way: bool) -> None:
    """A damaged or altered file must not lead outside of an array."""
    rows = np.array([0, 2, -1, 2**31 - 1, -(2**31)], np.int32)
    starts, ends, chosen = np.array([0]), np.array([5]), np.arange(2)
    scores = np.zeros(4, np.float32)[:2]
    postings.add_weights(np.ones(5, np.float32), rows, starts, ends, np.ones(1, np.float32), chosen, scores)
    assert scores.tolist() == [1.0, 0.0]
    assert (scores.base == 0).sum() == 3
    assert postings.count_chosen(rows, starts, ends, chosen, 2).tolist() == [1]
    lengths, found = np.array([3, -5], np.int32), np.zeros(2, np.float32)
    counts = np.ones(5, np.uint8)
    halves = bm25.saturation(np.arange(9), 1.0)
    bm25.find_best(counts, rows, starts, ends, np.ones(1), lengths, halves, 1.0, chosen, 2, -np.inf, found)
    assert found.tolist() == [0.25, -np.inf]


def test_any_content_of_a_files_arrays_is_survived(way: bool) -> None:
    """A segment is opened by its layout alone, so its arrays may hold anything."""
    rng, leg = np.random.default_rng(5), BM25Leg(PostingsCodec())
    documents = draw_documents(rng, 50)
    good = PostingsCodec().encode(documents)
    weights = SparsePostings().encode(sp.random_array((50, 30), density=0.4, rng=rng, dtype=np.float32, format="csr"))
    query = queries_of(rng, 1)[0]
    vector = sp.csr_array((np.ones(30, np.float32), np.arange(30), [0, 30]), shape=(1, 30))
    for _ in range(30):
        for name in good:
            info = np.iinfo(good[name].dtype)
            bad = rng.integers(info.min, info.max, good[name].shape, good[name].dtype, endpoint=True)
            part = SegmentSlice({**good, name: bad}, np.arange(50))
            PostingsCodec().check_layout(part.arrays, 50, dim=None)
            list(leg.search([leg.prepare(query, [part])], [part], 3, exact=True))
            with pytest.raises(ValueError, match=r"terms|starts|rows|lengths"):
                PostingsCodec().check(part.arrays, 50, dim=None)
        for name in ("rows", "terms"):
            info = np.iinfo(weights[name].dtype)
            bad = rng.integers(info.min, info.max, weights[name].shape, weights[name].dtype, endpoint=True)
            SparsePostings().check_layout({**weights, name: bad}, 50, dim=30)
            SparsePostings().scores({**weights, name: bad}, vector, np.arange(50))
