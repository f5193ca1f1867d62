"""MaxSim, dot products, cosine and top-k, compared with plain loops and values by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from korag import scoring
from korag.scoring import cosine, dot_rows, maxsim, maxsim_packed, pack_tokens, sparse_dot, top_k, unit_rows

INF = np.inf


def floats(*rows: Any) -> Any:
    return np.array(rows, np.float32)


def units(rng: np.random.Generator, *shape: int) -> Any:
    return unit_rows(rng.standard_normal(shape).astype(np.float32))


# -- MaxSim -----------------------------------------------------------------------------------------------


def test_maxsim_by_hand() -> None:
    query = floats([1, 0], [0, 2])
    documents = [floats([3, 0], [0, 5]), floats([1, 1]), floats([-1, -1], [-2, 0.5])]
    assert maxsim(query, documents).tolist() == [3 + 10, 1 + 2, -1 + 1]
    assert maxsim(query, documents).dtype == np.float32


def test_documents_without_tokens_match_nothing() -> None:
    empty = np.zeros((0, 2), np.float32)
    assert maxsim(floats([1, 0]), [empty, floats([2, 0]), empty, empty]).tolist() == [-INF, 2, -INF, -INF]
    assert maxsim(floats([1, 0]), [empty]).tolist() == [-INF]
    assert maxsim(floats([1, 0]), []).shape == (0,)


def test_padding_never_wins_over_negative_similarities() -> None:
    query = floats([1, 0], [0, 1])
    padded = np.zeros((2, 3, 2), np.float32)
    padded[0, :2] = [[-1, -3], [-2, -1]]
    padded[1, :1] = [[-0.5, -0.5]]
    mask = np.array([[True, True, False], [True, False, False]])
    assert maxsim(query, padded, document_mask=mask).tolist() == [-2, -1]
    assert maxsim(query, padded).tolist() == [0, 0]  # without a mask, zeros are tokens


def test_masks_of_both_sides() -> None:
    query = floats([1, 0], [100, 100], [0, 1])
    padded = floats([[1, 2], [9, 9]], [[3, 4], [9, 9]])
    scores = maxsim(
        query,
        padded,
        query_mask=np.array([True, False, True]),
        document_mask=np.array([[True, False], [False, False]]),
    )
    assert scores.tolist() == [3, -INF]
    with pytest.raises(ValueError, match="zip"):
        maxsim(query, padded, document_mask=np.ones((1, 2), bool))


def test_half_precision_tokens_are_summed_in_single_precision() -> None:
    query = np.ones((300, 128), np.float32)
    document = np.full((2, 128), 2.0, np.float16)
    assert maxsim(query, [document]).tolist() == [300 * 256.0]  # float16 ends at 65,504
    tokens, offsets = pack_tokens([document, document], dim=128)
    assert tokens.dtype == np.float16
    assert offsets.tolist() == [0, 2, 4]


def test_inputs_are_not_changed_and_may_be_read_only() -> None:
    query, tokens = floats([1, 0]), floats([1, 2], [3, 4])
    for array in (query, tokens):
        array.flags.writeable = False
    before = tokens.copy()
    maxsim_packed(query, tokens, np.array([0, 1, 2]), np.array([1]))
    assert (tokens == before).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_choosing_rows_changes_no_score(dtype: type[np.floating[Any]]) -> None:
    rng = np.random.default_rng(0)
    documents = [units(rng, int(length), 8).astype(dtype) for length in rng.integers(0, 9, 40)]
    query = units(rng, 5, 8)
    whole = maxsim(query, [document.astype(np.float32) for document in documents])
    tokens, offsets = pack_tokens(documents, dim=8)
    assert maxsim_packed(query, tokens, offsets).tolist() == whole.tolist()
    for rows in (rng.permutation(40), np.arange(40)[::2], np.array([39]), np.zeros(0, np.int64), np.array([3, 3])):
        assert maxsim_packed(query, tokens, offsets, rows).tolist() == whole[rows].tolist()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_how_vectors_lie_in_memory_changes_no_score(dtype: type[np.floating[Any]]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        wide = rng.standard_normal((17, 96)).astype(dtype)
        query = units(rng, 5, 48)
        for view in (wide[:, ::2], np.asfortranarray(wide[:, :48])):
            assert maxsim(query, [view]).tolist() == maxsim(query, [view.copy(order="C")]).tolist()


def test_no_more_than_a_document_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    matmul = np.matmul

    def spy(left: Any, right: Any, **keywords: Any) -> Any:
        sizes.append(left.nbytes)
        return matmul(left, right, **keywords)

    monkeypatch.setattr(scoring.np, "matmul", spy)
    rng = np.random.default_rng(0)
    tokens, offsets = pack_tokens([units(rng, 100, 16).astype(np.float16) for _ in range(200)], dim=16)
    for rows, count in ((None, 200), (np.arange(0, 200, 3), 67)):
        sizes.clear()
        maxsim_packed(units(rng, 4, 16), tokens, offsets, rows)
        assert sizes == [100 * 16 * 4] * count


@pytest.mark.parametrize("dim", [32, 64, 96, 100, 128])
@pytest.mark.parametrize("query_tokens", [1, 2, 8, 31, 32, 33])
def test_equal_documents_score_equal_wherever_they_lie(dim: int, query_tokens: int) -> None:
    rng = np.random.default_rng(dim * query_tokens)
    query, same = units(rng, query_tokens, dim), units(rng, 17, dim).astype(np.float16)
    scores: set[float] = set()
    for number in (1, 2, 3, 7, 50, 300):
        where = rng.random(number) < 0.5
        where[0] = True
        documents = [same if here else units(rng, int(rng.integers(1, 40)), dim).astype(np.float16) for here in where]
        tokens, offsets = pack_tokens(documents, dim=dim)
        scores |= set(maxsim_packed(query, tokens, offsets)[where].tolist())
        scores |= set(maxsim_packed(query, tokens, offsets, np.flatnonzero(where)).tolist())
    assert len(scores) == 1


# -- vectors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [3, 32, 96, 100, 128, 384, 768, 1024])
def test_equal_vectors_score_equal_wherever_they_lie(dim: int) -> None:
    rng = np.random.default_rng(dim)
    query, same = units(rng, 1, dim)[0], units(rng, 1, dim)[0]
    scores: set[float] = set()
    for number in (1, 2, 3, 5, 7, 16, 33, 100, 1000, 4097):
        vectors = units(rng, number, dim)
        where = rng.random(number) < 0.5
        where[0] = True
        vectors[where] = same
        scores |= set(dot_rows(query, vectors)[where].tolist()) | set(dot_rows(query, vectors[where]).tolist())
    assert len(scores) == 1
    assert scores.pop() == pytest.approx(float(query @ same), abs=1e-6)


def test_dot_rows_of_no_rows() -> None:
    assert dot_rows(floats(1, 2), np.zeros((0, 2), np.float32)).shape == (0,)


def test_cosine_by_hand() -> None:
    scores = cosine(floats(3, 4), floats([6, 8], [-3, -4], [4, -3], [0, 0]))
    assert scores == pytest.approx([1, -1, 0, 0])
    assert scores.dtype == np.float32
    assert cosine(floats(0, 0), floats([1, 1])).tolist() == [0]


def test_unit_rows_leave_zero_rows_and_the_input_alone() -> None:
    rows = floats([3, 4], [0, 0])
    assert unit_rows(rows) == pytest.approx(floats([0.6, 0.8], [0, 0]))
    assert rows.tolist() == [[3, 4], [0, 0]]
    assert unit_rows(rows.astype(np.float16)).dtype == np.float32
    assert unit_rows(np.zeros((0, 4), np.float32)).shape == (0, 4)


# -- sparse -----------------------------------------------------------------------------------------------


def test_sparse_dot_by_hand() -> None:
    documents = sp.csc_array(floats([1, 0, 2, 0], [0, 0, 0, 5], [0, 3, 1, 0]))
    assert sparse_dot(sp.csr_array(floats([2, 1, 0.5, 0])), documents).tolist() == [3, 0, 3.5]
    assert sparse_dot(sp.csr_array((1, 4), dtype=np.float32), documents).tolist() == [0, 0, 0]
    none = sp.csc_array((0, 4), dtype=np.float32)
    assert sparse_dot(sp.csr_array(floats([2, 1, 0.5, 0])), none).shape == (0,)
    assert sparse_dot(sp.csr_array(np.array([[1.0, 0, 0, 0]])), documents).dtype == np.float32


# -- the best k -------------------------------------------------------------------------------------------


def test_top_k_by_hand() -> None:
    scores, keys = floats(1, 5, 3, 5, -INF, 3), np.array([10, 40, 30, 20, 5, 25])
    assert top_k(scores, keys, 10).tolist() == [3, 1, 5, 2, 0]
    assert top_k(scores, keys, 3).tolist() == [3, 1, 5]
    assert top_k(scores, keys, 1).tolist() == [3]
    assert top_k(scores, keys, 0).tolist() == []
    assert top_k(floats(-INF, -INF), np.array([0, 1]), 3).tolist() == []
    assert top_k(np.zeros(0, np.float32), np.zeros(0, np.int64), 3).tolist() == []


def test_top_k_takes_the_first_of_many_equals() -> None:
    keys = np.random.default_rng(0).permutation(1000)
    best = top_k(np.ones(1000, np.float32), keys, 5)
    assert keys[best].tolist() == [0, 1, 2, 3, 4]
    assert top_k(floats(0.0, -0.0, 0.0), np.array([2, 0, 1]), 3).tolist() == [1, 2, 0]  # −0 equals 0


def test_a_score_that_is_no_number_is_never_found() -> None:
    assert top_k(floats(np.nan, 1, INF), np.arange(3), 3).tolist() == [2, 1]
