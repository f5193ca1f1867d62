"""Segments give the same scores on all cores as one after another."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from korag.legs import base
from korag.legs.base import SegmentSlice
from korag.legs.sparse import PostingsCodec, SparseLeg
from korag.scoring import dot_rows

pytestmark = pytest.mark.slow


def score(arrays: base.Arrays, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return dot_rows(query, arrays["vectors"][rows])


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 40), max_size=6), st.integers(0, 3))
@settings(deadline=None)
def test_threads_change_nothing(seed: int, sizes: list[int], asked: int) -> None:
    rng = np.random.default_rng(seed)
    slices = []
    for size in sizes:
        vectors = rng.standard_normal((size, 8)).astype(np.float32)
        slices.append(SegmentSlice({"vectors": vectors}, np.flatnonzero(rng.random(size) < 0.7)))
    queries = list(rng.standard_normal((asked, 8)).astype(np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "THREADS_FROM", -1)
        together = [scores.tolist() for scores in base.score_all(score, queries, slices, threads=True)]
    alone = [scores.tolist() for scores in base.score_all(score, queries, slices)]
    assert together == alone
    assert [len(scores) for scores in alone] == [sum(len(part.rows) for part in slices)] * asked


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0, 1))
def test_a_filtered_sparse_search_is_the_search_of_those_rows(seed: int, documents: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    dense = (rng.integers(1, 5, (documents, 12)) * (rng.random((documents, 12)) < 0.4)).astype(np.float32)
    query = (rng.integers(1, 5, (1, 12)) * (rng.random((1, 12)) < 0.5)).astype(np.float32)
    leg = SparseLeg(None, PostingsCodec())  # type: ignore[arg-type]  # nothing is encoded
    rows = np.flatnonzero(rng.random(documents) < share)
    slices = [SegmentSlice(leg.codec.encode(sp.csr_array(dense)), rows)]
    (found,) = leg.search([sp.csr_array(query)], slices, 3, exact=True)
    expected = dense[rows] @ query[0]
    assert found.tolist() == np.where(expected > 0, expected, -np.inf).tolist()
