"""The first look in bytes leaves out nothing that exact MaxSim would have found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korag import Collection, LateInteractionEncoder
from korag.collection import token_codes
from korag.scoring import maxsim_packed, pack_tokens, top_k


def _documents(rng: np.random.Generator, count: int, dim: int, scale: float) -> list[np.ndarray]:
    """Documents of 0 to 30 tokens, some of them equal, some nearly so."""
    documents = [rng.standard_normal((int(rng.integers(0, 31)), dim)).astype(np.float32) for _ in range(count)]
    documents = [d / np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-9) * scale for d in documents]
    for copy in range(0, count - 1, 5):
        documents[copy + 1] = documents[copy] + (np.float32(1e-3 * scale) if copy % 2 else np.float32(0))
    return documents


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 120),
    dim=st.sampled_from([1, 8, 32, 96, 128]),
    tokens=st.integers(0, 40),
    k=st.integers(1, 12),
    scale=st.sampled_from([1.0, 1.0, 1e-3, 50.0, 0.0]),
    part=st.sampled_from([1.0, 0.5, 0.1]),
)
@settings(max_examples=120, deadline=None)
def test_the_k_best_are_among_the_candidates(
    seed: int, count: int, dim: int, tokens: int, k: int, scale: float, part: float
) -> None:
    rng = np.random.default_rng(seed)
    vectors, offsets = pack_tokens(_documents(rng, count, dim, scale), dim=dim)
    half = vectors.astype(np.float16)
    query = rng.standard_normal((tokens, dim)).astype(np.float32)
    if count and tokens and len(half):  # near a document, so that many scores are close
        query[: len(half)] = half[:tokens].astype(np.float32) + 0.05 * query[: len(half)]
    rows = np.flatnonzero(rng.random(count) < part)
    arrays = token_codes.encode(half, offsets)
    exact = maxsim_packed(query, half, offsets, rows)
    possible = token_codes.candidates(arrays, query, rows, k)
    assert np.isin(possible, rows).all()
    assert (np.diff(possible) > 0).all()
    found = np.full(len(rows), -np.inf, np.float32)
    found[np.searchsorted(rows, possible)] = maxsim_packed(query, half, offsets, possible)
    best = top_k(exact, rows, k)
    assert top_k(found, rows, k).tolist() == best.tolist()
    assert found[best].tolist() == exact[best].tolist()


def test_most_documents_are_left_out(colbert: LateInteractionEncoder, documents: list[str]) -> None:
    """Otherwise it would be of no use, whatever it returns."""
    texts = [f"{text} {number}번째 안내문입니다." for number in range(20) for text in documents]
    vectors, offsets = pack_tokens(colbert.encode_documents(texts), dim=colbert.dim)
    half = vectors.astype(np.float16)
    arrays = token_codes.encode(half, offsets)
    (query,) = colbert.encode_queries(["보증금은 언제 돌려받나요?"])
    possible = token_codes.candidates(arrays, query, np.arange(len(texts)), 3)
    assert len(possible) < len(texts) / 3


def test_codes_take_half_the_room_and_say_how_far_they_are_off(colbert: LateInteractionEncoder) -> None:
    vectors, offsets = pack_tokens(
        colbert.encode_documents(["도서관은 월요일에 쉰다.", "연차는 사흘 전에 낸다."]), dim=1
    )
    half = vectors.astype(np.float16)
    arrays = token_codes.encode(half, offsets)
    scale, longest = arrays["code_scale"]
    codes = arrays["codes"].reshape(-1, colbert.dim).astype(np.float32) * scale
    assert codes.nbytes / 4 <= half.nbytes / 2 + 2 * 8 * colbert.dim
    assert np.linalg.norm(codes, axis=1).max() == pytest.approx(longest, rel=1e-5)
    for document in range(2):
        first = arrays["code_blocks"][document] * 8
        original = half[offsets[document] : offsets[document + 1]].astype(np.float32)
        off = np.linalg.norm(original - codes[first : first + len(original)], axis=1).max()
        assert off == pytest.approx(arrays["code_errors"][document], rel=1e-4)
        assert 0 < off < 0.05


@pytest.mark.parametrize("where", [None, {"짝수": True}])
def test_a_collection_finds_the_same_with_and_without(
    colbert: LateInteractionEncoder,
    documents: list[str],
    where: dict[str, bool] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [f"{text} ({number % 7}쪽)" for number in range(12) for text in documents]  # many equal ones
    collection = Collection.in_memory(encoders=[colbert])
    ids = [f"{number:03}" for number in range(len(texts))]
    collection.add(texts, ids=ids, metadata=[{"짝수": number % 2 == 0} for number in range(len(texts))])
    collection.delete(ids[:5])
    queries = ["보증금은 언제 돌려받나요?", "도서관 쉬는 날", documents[3], "가"]
    found = {}
    for fast in (True, False):
        monkeypatch.setattr(token_codes, "is_fast", lambda fast=fast: fast)
        found[fast] = [
            [(hit.id, hit.score) for hit in hits] for hits in collection.search_many(queries, k=6, where=where)
        ]
    assert found[True] == found[False]
    assert all(len(hits) == 6 for hits in found[True])
