"""Repeated queries are encoded once, and cached vectors cannot be modified."""

import pickle
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp

from korag import load_encoder
from korag.encoders.pipeline import Pipeline
from korag.errors import InvalidArgumentError

QUERIES = ["전입 신고는 어디서 하나요?", "주차 등록", "전입 신고는 어디서 하나요?", ""]


def rows(vectors) -> list[np.ndarray]:
    return vectors if isinstance(vectors, list) else list(vectors.toarray() if sp.issparse(vectors) else vectors)


def counting(monkeypatch) -> list[str]:
    seen: list[str] = []
    measure = Pipeline.measure

    def count(self, texts, task):
        seen.extend(texts)
        return measure(self, texts, task)

    monkeypatch.setattr(Pipeline, "measure", count)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mini-dense", "mini-splade", "mini-colbert"])
def test_the_same_vectors_encoded_once(name, monkeypatch):
    plain, encoder = load_encoder(name), load_encoder(name, query_cache=8)
    expected = rows(plain.encode_queries(QUERIES))
    assert rows(encoder.encode_queries([])) == []
    seen = counting(monkeypatch)
    for _ in range(2):
        found = encoder.encode_queries(QUERIES)
        for one, other in zip(rows(found), expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
        for row in [found.data] if sp.issparse(found) else found:
            row[:] = 7  # a caller's own business
    assert sorted(seen) == sorted(set(QUERIES))
    assert encoder.fingerprint == plain.fingerprint


def test_decomposed_hangul_is_the_same_query(monkeypatch):
    encoder = load_encoder("mini-dense", query_cache=8)
    seen = counting(monkeypatch)
    encoder.encode_queries(["가방"])
    encoder.encode_queries([unicodedata.normalize("NFD", "가방")])
    assert seen == ["가방"]


def test_the_least_recently_asked_is_forgotten(monkeypatch):
    encoder = load_encoder("mini-dense", query_cache=2)
    seen = counting(monkeypatch)
    for query in ["하나", "둘", "하나", "셋", "하나", "둘"]:
        encoder.encode_queries([query])
    assert seen == ["하나", "둘", "셋", "둘"]
    encoder.encode_queries(["넷", "다섯", "여섯"])  # more than are kept
    assert sorted(seen[4:]) == ["넷", "다섯", "여섯"]


def test_documents_are_not_queries(monkeypatch):
    encoder = load_encoder("mini-colbert", query_cache=8)
    seen = counting(monkeypatch)
    encoder.encode_queries(["수도 요금"])
    encoder.encode_documents(["수도 요금"])
    assert seen == ["수도 요금", "수도 요금"]


def test_a_pickle_keeps_the_setting_and_no_vectors():
    encoder = load_encoder("mini-dense", query_cache=8)
    encoder.encode_queries(["수도 요금"])
    content = pickle.dumps(encoder)
    assert len(content) < 20_000
    copy = pickle.loads(content)  # noqa: S301 (our own, just made)
    assert copy.options.query_cache == 8
    np.testing.assert_allclose(copy.encode_queries(["수도 요금"]), encoder.encode_queries(["수도 요금"]), atol=1e-5)


def test_many_threads():
    encoder = load_encoder("mini-dense", query_cache=3)
    expected = {f"질문 {number}": encoder.encode_queries([f"질문 {number}"])[0] for number in range(6)}
    queries = list(expected) * 8
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda query: encoder.encode_queries([query])[0], queries))
    for query, vector in zip(queries, found, strict=True):
        np.testing.assert_allclose(vector, expected[query], atol=1e-5)


@pytest.mark.parametrize("size", [-1, 2.5, "8"])
def test_sizes(size):
    with pytest.raises(InvalidArgumentError, match="query_cache="):
        load_encoder("mini-dense", query_cache=size)
