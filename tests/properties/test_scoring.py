"""For any input, scores and fusions equal plain loops and do not depend on order or other documents."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from korag.fusion import reciprocal_rank_fusion, weighted_fusion
from korag.scoring import cosine, maxsim, maxsim_packed, pack_tokens, sparse_dot, top_k

INF = math.inf
whole = st.integers(-4, 4).map(float)  # whole numbers: sums are exact, so equality is, and ties are many
dims = st.integers(1, 5)
seeds = st.integers(0, 2**32 - 1)


def tokens_of(dim: int, least: int = 0) -> st.SearchStrategy[Any]:
    rows = st.lists(st.lists(whole, min_size=dim, max_size=dim), min_size=least, max_size=6)
    return rows.map(lambda values: np.array(values, np.float32).reshape(-1, dim))


@st.composite
def late_interaction(draw: st.DrawFn) -> tuple[Any, list[Any]]:
    dim = draw(dims)
    return draw(tokens_of(dim, least=1)), draw(st.lists(tokens_of(dim), max_size=12))


def plain_maxsim(query: Any, document: Any) -> float:
    if not len(document):
        return -INF
    return sum(max(sum(x * y for x, y in zip(q, d, strict=True)) for d in document.tolist()) for q in query.tolist())


@given(late_interaction(), st.sampled_from([np.float32, np.float16]))
def test_maxsim_is_the_plain_loop(case: tuple[Any, list[Any]], dtype: Any) -> None:
    query, documents = case
    expected = [plain_maxsim(query, document) for document in documents]
    assert maxsim(query, [document.astype(dtype) for document in documents]).tolist() == expected


@given(late_interaction(), seeds)
def test_masked_padding_never_counts(case: tuple[Any, list[Any]], seed: int) -> None:
    query, documents = case
    if not documents:
        return
    rng = np.random.default_rng(seed)
    longest = max(map(len, documents)) + 2
    padded = rng.integers(5, 50, (len(documents), longest, query.shape[1])).astype(np.float32)  # padding that would win
    mask = np.zeros((len(documents), longest), bool)
    for row, document in enumerate(documents):
        places = np.sort(rng.permutation(longest)[: len(document)])  # not only at the end
        padded[row, places], mask[row, places] = document, True
    junk = np.vstack([query, np.full((2, query.shape[1]), 99, np.float32)])
    query_mask = np.arange(len(junk)) < len(query)
    found = maxsim(junk, padded, query_mask=query_mask, document_mask=mask)
    assert found.tolist() == [plain_maxsim(query, document) for document in documents]


@given(late_interaction(), st.lists(st.integers(0, 11), max_size=20))
def test_any_rows_in_any_order_score_the_same(case: tuple[Any, list[Any]], rows: list[int]) -> None:
    query, documents = case
    tokens, offsets = pack_tokens(documents, dim=query.shape[1])
    chosen = np.array([row for row in rows if row < len(documents)], np.int64)
    assert maxsim_packed(query, tokens, offsets, chosen).tolist() == maxsim(query, documents)[chosen].tolist()


@given(seeds, st.integers(1, 40), st.integers(1, 130), st.integers(1, 40))
def test_the_company_of_a_document_changes_no_bit_of_its_score(seed: int, number: int, dim: int, tokens: int) -> None:
    rng = np.random.default_rng(seed)
    query = rng.standard_normal((tokens, dim)).astype(np.float32)
    documents = [rng.standard_normal((int(size), dim)).astype(np.float16) for size in rng.integers(1, 30, number)]
    together = maxsim(query, documents).tolist()
    assert together == [maxsim(query, [document]).tolist()[0] for document in documents]


@given(st.integers(0, 8), st.integers(1, 8), seeds)
def test_sparse_dot_is_the_dense_product(rows: int, terms: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    documents = (rng.integers(0, 5, (rows, terms)) * (rng.random((rows, terms)) < 0.4)).astype(np.float32)
    query = (rng.integers(0, 5, (1, terms)) * (rng.random((1, terms)) < 0.6)).astype(np.float32)
    found = sparse_dot(sp.csr_array(query), sp.csc_array(documents))
    assert found.tolist() == (documents @ query[0]).tolist()


@given(st.integers(0, 8), dims, seeds)
def test_cosine_is_within_its_bounds(rows: int, dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    documents = rng.standard_normal((rows, dim)) * (rng.random((rows, 1)) < 0.7) * 10.0 ** rng.integers(-9, 9)
    query = rng.standard_normal(dim)
    norms = np.linalg.norm(documents, axis=1) * np.linalg.norm(query)
    expected = np.divide(documents @ query, norms, out=np.zeros(rows), where=norms > 0)
    found = cosine(query.astype(np.float32), documents.astype(np.float32))
    assert found == pytest.approx(expected, abs=1e-5)
    assert (np.abs(found) <= 1 + 1e-6).all()


@given(st.lists(st.sampled_from([-INF, -1.0, 0.0, 1.0, 2.5]), max_size=30), st.integers(0, 35), seeds)
def test_top_k_is_a_stable_sort(scores: list[float], k: int, seed: int) -> None:
    keys = np.random.default_rng(seed).permutation(len(scores)).astype(np.int64)
    found = top_k(np.array(scores, np.float32), keys, k).tolist()
    order = sorted(range(len(scores)), key=lambda index: (-scores[index], keys[index]))
    assert found == [index for index in order if scores[index] > -INF][:k]


@given(
    seed=seeds,
    count=st.integers(400, 3_000),
    share=st.sampled_from([0.0, 0.002, 0.1, 1.0]),
    different=st.sampled_from([1, 3, 1_000_000]),
    k=st.integers(1, 6),
    clustered=st.booleans(),
)
def test_top_k_of_many(seed: int, count: int, share: float, different: int, k: int, clustered: bool) -> None:
    """Most documents excluded, or most scores equal."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, different, count).astype(np.float32)
    scores[rng.random(count) >= share] = -INF
    scores[rng.random(count) < 0.01] = math.nan  # is never found
    scores, keys = np.sort(scores) if clustered else scores, rng.permutation(count)
    order = np.lexsort((keys, -scores))
    assert top_k(scores, keys, k).tolist() == order[scores[order] > -INF][:k].tolist()


# -- fusion -----------------------------------------------------------------------------------------------

ids = st.sampled_from("가나다라마바사")
legs = st.sampled_from(["dense", "sparse", "colbert", "bm25"])
rankings = st.dictionaries(legs, st.lists(ids, max_size=8))
some_scores = st.floats(-1e6, 1e6).map(lambda score: round(score, 3))
runs = st.dictionaries(legs, st.lists(st.tuples(ids, some_scores), max_size=8))


def some_weights(legs: Any, rng: np.random.Generator) -> dict[str, float]:
    """Weights of some legs; not 0 for all of them, which is an error."""
    weights = {leg: float(rng.integers(0, 4)) for leg in legs if rng.random() < 0.7}
    return weights if any(weights.get(leg, 1.0) for leg in legs) else {}


@given(rankings, seeds)
def test_rrf_is_its_formula(legs: dict[str, list[str]], seed: int) -> None:
    weights = some_weights(legs, np.random.default_rng(seed))
    fused = dict(reciprocal_rank_fusion(legs, weights=weights))
    assert set(fused) == {id_ for ranking in legs.values() for id_ in ranking}
    for id_, score in fused.items():
        terms = [
            weights.get(leg, 1.0) / (60 + list(dict.fromkeys(ranking)).index(id_) + 1)
            for leg, ranking in legs.items()
            if id_ in ranking
        ]
        assert score == math.fsum(terms)


@given(rankings, runs, st.randoms(use_true_random=False))
def test_the_order_of_legs_changes_no_score(legs: dict[str, list[str]], scored: dict[str, Any], random: Any) -> None:
    for fuse, given_ in ((reciprocal_rank_fusion, legs), (weighted_fusion, scored)):
        shuffled = list(given_.items())
        random.shuffle(shuffled)
        assert dict(fuse(dict(shuffled))) == dict(fuse(given_))  # type: ignore[arg-type, operator]


@given(rankings, runs)
def test_fused_rankings_are_sorted_and_deterministic(legs: dict[str, list[str]], scored: dict[str, Any]) -> None:
    for fused, again, seen in (
        (reciprocal_rank_fusion(legs), reciprocal_rank_fusion(legs), [i for r in legs.values() for i in r]),
        (weighted_fusion(scored), weighted_fusion(scored), [i for r in scored.values() for i, _ in r]),
    ):
        assert fused == again
        first_seen = list(dict.fromkeys(seen))
        assert fused == sorted(fused, key=lambda item: (-item[1], first_seen.index(item[0])))


@given(rankings)
def test_renaming_documents_renames_the_result(legs: dict[str, list[str]]) -> None:
    renamed = {leg: [id_ + "'" for id_ in ranking] for leg, ranking in legs.items()}
    assert reciprocal_rank_fusion(renamed) == [(id_ + "'", score) for id_, score in reciprocal_rank_fusion(legs)]


@given(runs, st.integers(1, 64), st.integers(-1000, 1000))
def test_weighted_fusion_forgets_scale_and_offset(scored: dict[str, Any], scale: int, offset: int) -> None:
    moved = {leg: [(id_, score * scale + offset) for id_, score in run] for leg, run in scored.items()}
    expected = dict(weighted_fusion(scored))
    for id_, score in weighted_fusion(moved):
        assert score == pytest.approx(expected[id_], abs=1e-5) or spread(scored) < 1e-2
    assert all(0 <= score <= len(scored) for score in expected.values())


def spread(scored: dict[str, Any]) -> float:
    """The smallest difference between two scores of a leg; below it, rounding of shifted scores shows."""
    found = [abs(x - y) for run in scored.values() for _, x in run for _, y in run if x != y]
    return min(found, default=INF)
