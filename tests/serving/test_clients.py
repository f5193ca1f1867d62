"""The clients of this package take the server for what it serves, and so do others of the same shape."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
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


@pytest.mark.parametrize(
    ("path", "body"),
    [
        # openai 3.57 (embeddings.create) and OpenAIEmbeddings of langchain-openai 1.7
        ("/v1/embeddings", {"model": "mini-dense", "input": TEXTS[:2], "encoding_format": "base64"}),
        (
            "/v1/embeddings",
            {"input": "김치", "model": "mini-dense", "user": "u", "dimensions": 192, "encoding_format": "float"},
        ),
        # InferenceClient.feature_extraction of huggingface-hub 1.33
        ("/embed", {"inputs": "김치"}),
        (
            "/embed",
            {"inputs": "김치", "normalize": True, "prompt_name": "query", "truncate": True, "dimensions": 192,
             "truncation_direction": "Right"},
        ),
        # cohere 5.21: Client.rerank (v1), ClientV2.rerank, and CohereRerank of langchain-cohere 0.6
        ("/v1/rerank", {"query": QUERY, "documents": [{"text": TEXTS[0]}, {"text": "김치"}], "return_documents": True}),
        ("/v2/rerank", {"query": QUERY, "documents": TEXTS[:2], "top_n": 1}),
        ("/v2/rerank", {"query": QUERY, "documents": TEXTS[:2], "top_n": 2, "max_tokens_per_doc": None}),
        ("/rerank", {"query": QUERY, "texts": TEXTS, "raw_scores": False, "truncate": True,
                     "truncation_direction": "Right"}),
    ],
)  # fmt: skip
def test_what_other_programs_clients_send_is_answered(url: str, path: str, body: dict[str, Any]) -> None:
    """As recorded from these clients; docs/serving.md has what was tried."""
    answer = httpx.post(url + path, json=body, timeout=60)
    assert answer.status_code == 200, answer.text


def test_what_would_change_an_answer_is_refused(url: str) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        left = client.post("/embed", json={"inputs": "김치", "truncation_direction": "Left"})
        cut = client.post("/v2/rerank", json={"query": QUERY, "documents": TEXTS, "max_tokens_per_doc": 8})
        assert (left.status_code, cut.status_code) == (422, 422)
        assert "따르지 않는 설정" in cut.json()["error"]["message"]
        (model,) = client.get("/v1/models").json()["data"]
        assert client.get("/v1/models/mini-dense").json() == model
        assert client.get("/v1/models/없는/모델").status_code == 404


def test_answers_have_the_shapes_that_openapi_says(url: str) -> None:
    """Every address is asked, so that none is forgotten; fields that are not described are an error here."""
    documents = {"query": QUERY, "documents": TEXTS, "return_documents": True}
    asked: dict[str, list[dict[str, Any]]] = {
        "/v1/search": [{"query": QUERY, "where": {"쪽": {"$gte": 0}}}, {"query": "ehtjrhks", "text": False}],
        "/v1/documents": [{"ids": ["보증금", "없음"]}],
        "/v1/explain": [
            {"query": QUERY, "id": "보증금", "html": True},
            *({"query": QUERY, "id": "보증금", "using": leg} for leg in ("dense", "sparse", "colbert", "bm25")),
        ],
        "/v1/embeddings": [{"input": TEXTS[:2]}, {"input": "김치", "encoding_format": "base64"}],
        "/embed": [{"inputs": TEXTS[:2]}],
        "/embed_sparse": [{"inputs": TEXTS[:2]}],
        "/v1/rerank": [documents],
        "/v2/rerank": [documents | {"return_documents": False}],
        "/rerank": [{"query": QUERY, "texts": TEXTS, "return_text": True}, {"query": QUERY, "texts": TEXTS}],
    }
    parameters = {"name": "mini-dense"}
    with httpx.Client(base_url=url, timeout=60) as client:
        described = client.get("/openapi.json").json()
        for schema in described["components"]["schemas"].values():
            schema.setdefault("additionalProperties", False)
        for path, methods in described["paths"].items():
            for method, address in methods.items():
                bodies = asked.pop(path) if method == "post" else [None]
                for body in bodies:
                    answer = client.request(method, path.format(**parameters), json=body)
                    assert answer.status_code == 200, (path, body, answer.text)
                    if body is not None:
                        sent = address["requestBody"]["content"]["application/json"]["schema"]
                        jsonschema.validate(body, sent | {"components": described["components"]})
                    kind = answer.headers["Content-Type"].partition(";")[0]
                    shape = address["responses"]["200"]["content"][kind]["schema"]
                    assert shape, path
                    found = answer.json() if kind == "application/json" else answer.text
                    jsonschema.validate(found, shape | {"components": described["components"]})
                error = client.request(method, path.format(**parameters) + "/없음", json=bodies[0])
                refusal = address["responses"]["default"]["content"]["application/json"]["schema"]
                jsonschema.validate(error.json(), refusal | {"components": described["components"]})
    assert not asked
