"""The clients of this package take the server for what it serves, and so do others of the same shape."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from served import running

from korag import Collection, CrossEncoderReranker, ServerOptions, load_encoder, load_reranker
from korag.serving.app import create_app

TEXTS = ["전세 계약이 끝나면 보증금을 돌려받습니다.", "김치", "도서관은 매주 월요일에 쉽니다. " * 60]
QUERY = "보증금은 언제 돌려받나요?"


@pytest.fixture(scope="module")
def url(index: Path, cross_encoder: CrossEncoderReranker) -> Iterator[str]:
    with Collection.open(index) as collection, running(create_app(collection, reranker=cross_encoder)) as address:
        yield address


@pytest.mark.parametrize(("model", "path"), [("mini-dense", "/v1/embeddings"), ("mini-splade", "/embed_sparse")])
def test_vectors_are_those_of_the_local_model(url: str, model: str, path: str) -> None:
    local, there = load_encoder(model), load_encoder(url + path, like=model)
    for own, other in (
        (local.encode_documents(TEXTS), there.encode_documents(TEXTS)),
        (local.encode_queries(TEXTS[:2]), there.encode_queries(TEXTS[:2])),
    ):
        own, other = (each.toarray() if hasattr(each, "toarray") else each for each in (own, other))
        assert np.allclose(own, other, atol=2e-6)


def test_prompts_are_added_where_they_are_asked_for(url: str) -> None:
    local = load_encoder("mini-dense")
    with httpx.Client(base_url=url, timeout=60) as client:
        body = {"input": TEXTS[:2], "input_type": "query", "encoding_format": "base64", "model": "mini-dense"}
        answer = client.post("/v1/embeddings", json=body).json()
        rows = [np.frombuffer(base64.b64decode(entry["embedding"]), "<f4") for entry in answer["data"]]
        assert np.allclose(rows, local.encode_queries(TEXTS[:2]), atol=2e-6)
        assert answer["usage"]["prompt_tokens"] > 2
        answer = client.post("/embed", json={"inputs": TEXTS, "prompt_name": "document", "truncate": True}).json()
        assert np.allclose(answer, local.encode_documents(TEXTS), atol=2e-6)
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["mini-dense"]


@pytest.mark.parametrize(("path", "api"), [("/v1/rerank", None), ("/v2/rerank", None), ("/rerank", "tei")])
def test_scores_are_those_of_the_local_model(
    url: str, path: str, api: str | None, cross_encoder: CrossEncoderReranker
) -> None:
    there = load_reranker(url + path, like=cross_encoder, server=ServerOptions(api=api))  # type: ignore[arg-type]
    found, own = (each.rerank(QUERY, [*TEXTS, ""]) for each in (there, cross_encoder))
    assert [index for index, _ in found] == [index for index, _ in own]
    assert np.allclose([score for _, score in found], [score for _, score in own], atol=1e-5)


def test_documents_come_back_where_they_are_asked_for(url: str) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        body = {"query": QUERY, "documents": [{"text": "김치"}, TEXTS[0]], "return_documents": True, "top_n": 1}
        (found,) = client.post("/v1/rerank", json=body).json()["results"]
        assert found["document"]["text"] == ("김치", TEXTS[0])[found["index"]]
        assert 0 <= found["relevance_score"] <= 1
