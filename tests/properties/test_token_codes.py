"""Search by codes, on all cores, finds everything that exact MaxSim finds."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from korag import Collection, LateInteractionEncoder, load_encoder, workers
from korag.kernels import processor
from korag.legs.base import SegmentSlice
from korag.legs.multi_vector import quantization, scan
from korag.legs.multi_vector import search as multi_vector_search
from korag.legs.multi_vector.codecs import Float16Codec
from korag.scoring import maxsim_packed, pack_tokens, top_k

pytestmark = pytest.mark.slow

WAYS = ["kernel", "bytes", "floats"]
"""The scanners available on this machine."""
shapes = {
    "seed": st.integers(0, 2**32 - 1),
    "count": st.integers(1, 120),
    "dim": st.sampled_from([1, 8, 32, 96, 128]),
    "tokens": st.integers(0, 40),
    "k": st.integers(1, 12),
    "scale": st.sampled_from([1.0, 1.0, 1e-3, 50.0, 0.0]),
    "part": st.sampled_from([1.0, 0.5, 0.1]),
    "segments": st.integers(1, 4),
    "way": st.sampled_from(WAYS),
}


def _documents(rng: np.random.Generator, count: int, dim: int, scale: float) -> list[np.ndarray]:
    """Documents of 0 to 30 tokens, some of them equal or nearly equal."""
    documents = [rng.standard_normal((int(rng.integers(0, 31)), dim)).astype(np.float32) for _ in range(count)]
    documents = [d / np.maximum(np.linalg.norm(d, axis=1, keepdims=True), 1e-9) * scale for d in documents]
    for copy in range(0, count - 1, 5):
        documents[copy + 1] = documents[copy] + (np.float32(1e-3 * scale) if copy % 2 else np.float32(0))
    return documents


def _case(seed: int, count: int, dim: int, tokens: int, scale: float, part: float, segments: int) -> Any:
    """Parts of some segments, and queries of which some are near a document, so that many scores are close."""
    rng = np.random.default_rng(seed)
    documents = _documents(rng, count, dim, scale)
    slices = []
    for own in np.array_split(np.arange(count), segments):
        vectors, offsets = pack_tokens([documents[index] for index in own], dim=dim)
        half = vectors.astype(np.float16)
        rows = np.flatnonzero(rng.random(len(own)) < part)
        if len(rows):
            arrays = {"tokens": half, "offsets": offsets, **quantization.quantize_documents(half, offsets)}
            slices.append(SegmentSlice(arrays, rows))
    queries = [rng.standard_normal((tokens, dim)).astype(np.float32) for _ in range(6)]
    near = np.concatenate(documents).astype(np.float32)[:tokens]
    for query in queries[::2]:
        query[: len(near)] = near + 0.05 * query[: len(near)]
    return slices, queries


def _exact(slices: list[SegmentSlice], query: np.ndarray) -> np.ndarray:
    scored = [maxsim_packed(query, part.arrays["tokens"], part.arrays["offsets"], part.rows) for part in slices]
    return np.concatenate([np.zeros(0, np.float32), *scored])


def _choose(way: str, patch: pytest.MonkeyPatch) -> None:
    if way != "kernel":
        patch.setattr(scan, "can_multiply", lambda _dim: False)
    if way == "floats":
        patch.setattr(processor, "has_fast_int8_matmul", lambda: False)


def _search(
    slices: list[SegmentSlice], queries: list[np.ndarray], k: int, *, exact: bool, way: str
) -> list[np.ndarray]:
    with pytest.MonkeyPatch.context() as patch:
        _choose(way, patch)
        patch.setattr(multi_vector_search, "RESCAN_FROM", 5)  # or the step between would need thousands of documents
        return list(multi_vector_search.search(queries, slices, k, exact=exact))


@given(**shapes)
@settings(max_examples=60, deadline=None)
def test_the_k_best_are_those_of_scoring_every_document(
    seed: int, count: int, dim: int, tokens: int, k: int, scale: float, part: float, segments: int, way: str
) -> None:
    slices, queries = _case(seed, count, dim, tokens, scale, part, segments)
    for query, found in zip(queries, _search(slices, queries, k, exact=True, way=way), strict=True):
        exact = _exact(slices, query)
        keys = np.arange(len(exact))
        best = top_k(exact, keys, k)
        assert top_k(found, keys, k).tolist() == best.tolist()
        assert found[best].tolist() == exact[best].tolist()
        assert set(found[found > -np.inf].tolist()) <= set(exact.tolist())


@given(**shapes)
@settings(max_examples=60, deadline=None)
def test_a_pruned_search_gives_true_scores_and_at_least_k(
    seed: int, count: int, dim: int, tokens: int, k: int, scale: float, part: float, segments: int, way: str
) -> None:
    slices, queries = _case(seed, count, dim, tokens, scale, part, segments)
    pruned = _search(slices, queries, k, exact=False, way=way)
    for query, found in zip(queries, pruned, strict=True):
        exact = _exact(slices, query)
        kept = np.flatnonzero(found > -np.inf)
        assert found[kept].tolist() == exact[kept].tolist()
        assert len(kept) >= min(k, int((exact > -np.inf).sum()))
        if k * multi_vector_search.MIN_STEP >= len(exact):  # too few to leave out any
            best = top_k(exact, np.arange(len(exact)), k)
            assert top_k(found, np.arange(len(exact)), k).tolist() == best.tolist()
    for query, found in zip(queries, pruned, strict=True):  # alone as in company
        assert _search(slices, [query], k, exact=False, way=way)[0].tolist() == found.tolist()


@given(**shapes)
@settings(max_examples=40, deadline=None)
def test_no_estimate_is_further_off_than_its_bound(
    seed: int, count: int, dim: int, tokens: int, k: int, scale: float, part: float, segments: int, way: str
) -> None:
    slices, queries = _case(seed, count, dim, max(1, tokens), scale, part, segments)
    rounded = [quantization.quantize_query(query) for query in queries]
    for kind in ("codes", "tokens"):
        with pytest.MonkeyPatch.context() as patch:
            _choose(way, patch)
            together = scan.estimate(slices, rounded, kind)
        for query, estimates in zip(rounded, together.T, strict=True):
            exact = _exact(slices, query.vectors)
            filled = exact > -np.inf
            assert ((estimates > -np.inf) == filled).all()
            bounds = scan.bounds(slices, query, kind)
            assert (np.abs(estimates[filled] - exact[filled]) <= bounds[filled]).all()


def test_most_documents_are_left_out(colbert: LateInteractionEncoder, documents: list[str]) -> None:
    """Without pruning, approximate search would be pointless."""
    texts = [f"{text} {number}번째 안내문입니다." for number in range(20) for text in documents]
    arrays = Float16Codec().encode(colbert.encode_documents(texts))
    (query,) = colbert.encode_queries(["보증금은 언제 돌려받나요?"])
    (scores,) = multi_vector_search.search([query], [SegmentSlice(arrays, np.arange(len(texts)))], 3, exact=True)
    assert (scores > -np.inf).sum() < len(texts) / 3


def test_codes_say_how_far_they_are_off(colbert: LateInteractionEncoder) -> None:
    texts = ["도서관은 월요일에 쉬고, 화요일부터 금요일까지는 저녁 아홉 시에 닫는다.", "연차는 사흘 전에 낸다."]
    vectors, offsets = pack_tokens(colbert.encode_documents(texts), dim=1)
    half = vectors.astype(np.float16)
    arrays = quantization.quantize_documents(half, offsets)
    scale, longest = arrays["code_scale"]
    codes = arrays["codes"].astype(np.float32) * scale
    assert arrays["codes"].nbytes <= half.nbytes / 2 + 2 * 8 * colbert.dim
    assert arrays["pooled_tokens"].nbytes * 4 == arrays["codes"].nbytes
    assert np.linalg.norm(codes, axis=1).max() == pytest.approx(longest, rel=1e-5)
    assert arrays["code_spans"][1, 0] < arrays["code_spans"][0, 0]  # the shorter one comes first
    for document in range(2):
        first = arrays["code_spans"][document, 0] * 8
        original = half[offsets[document] : offsets[document + 1]].astype(np.float32)
        off = np.linalg.norm(original - codes[first : first + len(original)], axis=1).max()
        assert off == pytest.approx(arrays["code_errors"][document], rel=1e-4)
        assert 0 < off < 0.05
        summary = arrays["pooled_tokens"][first // 4].astype(np.float32) * scale
        mean = original[:4].mean(axis=0)
        assert summary == pytest.approx(mean / np.linalg.norm(mean), abs=0.01)


@pytest.mark.parametrize("where", [None, {"짝수": True}])
@pytest.mark.parametrize("exact", [True, False])
def test_a_collection_finds_the_same_with_and_without(
    documents: list[str],
    where: dict[str, bool] | None,
    exact: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    texts = [f"{text} ({number % 7}쪽)" for number in range(12) for text in documents]  # many equal ones
    # each query is encoded once: alone and in a batch, the last bits of its vectors differ
    encoder = load_encoder("mini-colbert", device="cpu", dtype="float32", query_cache=10)
    collection = Collection.in_memory(encoders=[encoder])
    ids = [f"{number:03}" for number in range(len(texts))]
    metadata = [{"짝수": number % 2 == 0} for number in range(len(texts))]
    for start in (0, 30, 60):  # segments
        end = len(texts) if start == 60 else start + 30
        collection.add(texts[start:end], ids=ids[start:end], metadata=metadata[start:end])
    collection.delete(ids[:5])
    queries = ["보증금은 언제 돌려받나요?", "도서관 쉬는 날", documents[3], "가", "연차"]
    found = {}
    for way in WAYS:
        _choose(way, monkeypatch)
        together = collection.search_many(queries, k=6, where=where, exact=exact)
        found[way] = [[(hit.id, hit.score) for hit in hits] for hits in together]
        assert [collection.search(query, k=6, where=where, exact=exact) for query in queries] == together
    assert found["kernel"] == found["bytes"] == found["floats"]
    assert all(len(hits) == 6 for hits in found["kernel"])
    everything = collection.search(queries[0], k=len(texts), where=where, exact=exact)
    assert everything == collection.search(queries[0], k=len(texts), where=where)
    assert len(everything) == len(collection.get(where=where))


# -- the threads -------------------------------------------------------------------------------------------


def test_every_task_is_done_once_and_in_threads_of_one_core_each() -> None:
    import torch

    before, done, threads, lock = torch.get_num_threads(), [], set(), threading.Lock()

    def work(task: int) -> None:
        with lock:
            done.append(task)
            threads.add((threading.current_thread().name, torch.get_num_threads()))

    workers.run_all(work, range(500))
    assert sorted(done) == list(range(500))
    assert {number for _, number in threads} == {1}
    assert len(threads) <= before == torch.get_num_threads()


def test_an_error_of_a_task_is_raised() -> None:
    def work(task: int) -> None:
        if task == 3:
            raise ValueError("셋")

    with pytest.raises(ValueError, match="셋"):
        workers.run_all(work, range(10))
    workers.run_all(work, [1, 2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    workers.run_all(str, range(10))
    child = os.fork()
    if child == 0:
        done: list[int] = []
        workers.run_all(done.append, range(10))
        os._exit(0 if sorted(done) == list(range(10)) else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
