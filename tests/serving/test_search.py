"""Searching over HTTP is searching the collection; mistakes are told in Korean, and nothing is printed of a token."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import ValidationError
from served import running

from korag import Collection
from korag.collection import LocalCollection
from korag.errors import CheckpointError, InvalidArgumentError
from korag.serving.app import create_app
from korag.serving.embeddings import EmbeddingsRequest, EmbedRequest
from korag.serving.limits import RateLimit, ServeLimits
from korag.serving.refusals import RefusedError
from korag.serving.rerank import RerankRequest, TeiRerankRequest
from korag.serving.search import DocumentsRequest
from korag.serving.served import Body
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder

QUERY = "보증금은 누가 돌려주나요?"


@pytest.fixture(scope="module")
def server(index: Path) -> Iterator[tuple[httpx.Client, LocalCollection]]:
    with (
        Collection.open(index) as collection,
        running(create_app(collection)) as url,
        httpx.Client(base_url=url, timeout=60) as client,
    ):
        yield client, collection


def _nested(levels: int) -> dict[str, Any]:
    return {"$not": _nested(levels - 1)} if levels else {"쪽": 1}


def _json(hits: Any) -> Any:
    return json.loads(json.dumps([{leg: list(found) for leg, found in hit.legs.items()} for hit in hits]))


def test_a_search_over_http_finds_what_the_collection_finds(
    server: tuple[httpx.Client, LocalCollection], index: Path
) -> None:
    client, collection = server
    settings = {"k": 3, "where": {"쪽": {"$lte": 4}}, "using": "hybrid", "min_relevance": 0.1}
    found = client.post("/v1/search", json={"query": QUERY, **settings}).json()
    own = collection.search(QUERY, **settings)  # type: ignore[arg-type]
    assert [(hit["id"], hit["score"], hit["relevance"], hit["text"]) for hit in found["hits"]] == [
        (hit.id, hit.score, hit.relevance, hit.text) for hit in own
    ]
    assert [{leg: [at["rank"], at["score"]] for leg, at in hit["legs"].items()} for hit in found["hits"]] == _json(own)
    assert "text" not in client.post("/v1/search", json={"query": QUERY, "text": False}).json()["hits"][0]
    assert client.post("/v1/search", json={"query": "ㄷㅗㅅㅓㄱㅗㅏㄴ"}).json()["rewritten_query"] == "도서관"

    why = client.post("/v1/explain", json={"query": QUERY, "id": "보증금", "where": settings["where"]}).json()
    local = collection.explain(QUERY, own[0], where=settings["where"])  # type: ignore[arg-type]
    assert (own[0].id, why["score"]) == ("보증금", pytest.approx(own[0].score))
    assert why["fusion"] == json.loads(json.dumps(local.to_dict()["fusion"]))
    assert "html" not in why

    with Collection.open(index) as other:  # what others add is found, and what they delete is not
        other.add(["새로 정한 규정은 게시판에 붙인다."], ids=["게시판"])
        assert (
            client.post("/v1/search", json={"query": "게시판에 붙인 규정", "k": 1}).json()["hits"][0]["id"] == "게시판"
        )
        assert client.post("/v1/documents", json={"ids": ["게시판", "없음"]}).json() == {
            "documents": [{"id": "게시판", "text": "새로 정한 규정은 게시판에 붙인다.", "metadata": {}}]
        }
        other.delete(["게시판"])
    assert client.get("/v1/info").json()["documents"] == len(collection)


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/search", {}, 422, "query: 꼭 필요한 항목이 없습니다"),
        ("/v1/search", {"query": 1}, 422, "query: 문자열이어야 합니다"),
        ("/v1/search", {"query": QUERY, "top_k": 3}, 422, "혹시 k인가요?"),
        ("/v1/search", {"query": QUERY, "k": 101}, 422, "k=101"),
        ("/v1/search", {"query": QUERY, "k": -1}, 422, "k=-1"),
        ("/v1/search", {"query": QUERY, "using": "kiwi"}, 422, "using='kiwi'"),
        ("/v1/search", {"query": QUERY, "where": {"쪽": {"$near": 1}}}, 422, "$near"),
        ("/v1/search", {"query": QUERY, "where": _nested(17)}, 422, "16단계까지만"),
        ("/v1/search", {"query": QUERY, "where": {"$or": [{str(n): n} for n in range(1_001)]}}, 422, "1,000"),
        ("/v1/search", {"query": "글" * 100_001}, 413, "100,001자"),
        ("/v1/search", {"query": QUERY, "\ud800" * 99: 3}, 422, f"'{chr(92)}ud800"),
        ("/v1/search", {"query": QUERY, "where": {"\ud800": 3}}, 422, "짝 없는 서로게이트"),
        ("/v1/search", {"query": QUERY, "using": "\ud800"}, 422, "using="),
        ("/v1/search", {"query": "\ud800"}, 422, "서로게이트"),
        ("/v1/rerank", {"query": QUERY, "documents": ["\ud800"], "return_documents": True}, 422, "서로게이트"),
        ("/embed", {"inputs": "\ud800"}, 422, "서로게이트"),
        ("/v1/search", {"query": QUERY, "weights": dict.fromkeys(map(str, range(1_001)))}, 413, "1,001개"),
        ("/v1/documents", {"ids": ["글"] * 129}, 413, "129개"),
        ("/v1/documents", {"ids": [0] * 100_000}, 413, "100,000개"),
        ("/v1/rerank", {"query": QUERY, "documents": [0] * 100}, 422, "documents.0"),
        ("/v1/explain", {"query": QUERY, "id": "없음"}, 422, "없음"),
        ("/v1/explain", {"query": QUERY, "id": "보증금", "k": 3}, 422, "'k'"),
        ("/v1/embeddings", {"input": []}, 422, "input"),
        ("/v1/embeddings", {"input": [1, 2]}, 422, "input"),
        ("/v1/embeddings", {"input": "글", "model": "gpt"}, 404, "'mini-dense'"),
        ("/v1/embeddings", {"input": "글", "dimensions": 7}, 422, "192차원"),
        ("/embed", {"inputs": "도서관은 월요일에 쉽니다. " * 200}, 422, "512토큰까지"),
        ("/v1/rerank", {"query": QUERY, "documents": ["글"], "model": "다른"}, 404, "'mini-colbert'"),
        ("/rerank", {"query": QUERY, "texts": ["글"], "raw_scores": True}, 422, "raw_scores=false"),
        ("/없는/주소", {}, 404, "없는 주소입니다"),
    ],
)
def test_mistakes_are_told_in_korean_first(
    server: tuple[httpx.Client, LocalCollection], path: str, body: Any, status: int, message: str
) -> None:
    answer = server[0].post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert message in error["message"]
    assert error["message_en"]
    assert error["type"]


def test_requests_that_are_no_json_of_ours(server: tuple[httpx.Client, LocalCollection]) -> None:
    """A form or plain text, which pages of other sites may send without asking, is not read."""
    client, _ = server
    plain = client.post("/v1/search", content=b'{"query": "x"}', headers={"Content-Type": "text/plain"})
    broken = client.post("/v1/search", content=b"{", headers={"Content-Type": "application/json"})
    assert (plain.status_code, broken.status_code) == (422, 422)
    assert client.get("/v1/search").status_code == 405
    assert (client.get("/healthz").json(), client.get("/readyz").json()) == ({"status": "ok"}, {"status": "ok"})
    counted = client.get("/metrics").text
    assert 'korag_requests_total{path="/v1/search",status="200"}' in counted
    assert f"korag_documents {float(len(server[1]))}" in counted
    assert QUERY not in counted


@pytest.mark.parametrize(
    ("shape", "field"),
    [
        (DocumentsRequest, "ids"),
        (EmbeddingsRequest, "input"),
        (EmbedRequest, "inputs"),
        (RerankRequest, "documents"),
        (TeiRerankRequest, "texts"),
    ],
)
def test_a_long_list_of_what_is_no_text_makes_few_errors(shape: type[Body], field: str) -> None:
    """One for each of a million numbers took minutes and gigabytes, in the thread that answers everybody."""
    with pytest.raises(ValidationError) as error:
        shape.model_validate({field: [0] * 1_000})
    assert error.value.error_count() <= 4  # the query is missing, too


def test_a_failure_of_its_own_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    collection = Collection.in_memory(bm25=True)

    def fail(*_: Any, **__: Any) -> list[Any]:
        raise CheckpointError("점수에 NaN이 있습니다.", "There are NaNs.")

    collection.search = fail  # type: ignore[method-assign]
    with _client(collection) as client:
        answer = client.post("/v1/search", json={"query": "글"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "internal")
    (record,) = [record for record in caplog.records if record.name == "korag"]
    assert record.exc_info
    assert "NaN" in str(record.exc_info[1])


@contextmanager
def _client(collection: Collection, **settings: Any) -> Iterator[httpx.Client]:
    with running(create_app(collection, **settings)) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def test_metrics_are_there_when_the_collection_is_not() -> None:
    collection = Collection.in_memory(bm25=True)
    with _client(collection) as client:
        collection.close()
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200
        counted = client.get("/metrics")
        assert counted.status_code == 200
        assert "korag_documents NaN" in counted.text
        assert 'korag_requests_total{path="/readyz",status="503"} 1.0' in counted.text


def test_models_that_others_serve_are_refused_clearly() -> None:
    with _client(Collection.in_memory(encoders=[FakeMultiVectorEncoder()])) as client:
        answer = client.post("/v1/embeddings", json={"input": "글"})
        assert answer.status_code == 404
        assert "ColBERT 모델은 텍스트마다 벡터가 여러 개" in answer.json()["error"]["message"]
        assert "fake-late-interaction (late_interaction)" in answer.json()["error"]["message_en"]
    with _client(Collection.in_memory(encoders=[FakeDenseEncoder()])) as client:
        answer = client.post("/rerank", json={"query": "글", "texts": ["글"]})
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_supported")


def test_a_token_is_wanted_and_other_names_of_this_machine_are_not_answered() -> None:
    collection, secret = Collection.in_memory(bm25=True), "0123456789abcdef-own"
    with pytest.raises(InvalidArgumentError, match="token") as error:
        create_app(collection, token=secret[:9])
    assert secret[:9] not in str(error.value)
    asked: dict[str, Any] = {"url": "/v1/search", "json": {"query": "글"}}
    with _client(collection, token=secret) as client:
        for wrong in ({}, {"Authorization": f"Bearer {secret}x"}, {"Authorization": secret}):
            answer = client.post(**asked, headers=wrong)
            assert (answer.status_code, answer.json()["error"]["type"]) == (401, "unauthorized")
            assert secret not in answer.text
        right = {"Authorization": f"Bearer {secret}"}
        assert client.post(**asked, headers=right | {"Host": "search.example"}).status_code == 200
        assert client.get("/metrics").status_code == 401
        assert client.get("/healthz").status_code == 200
        assert client.post("/healthz", content=b"x").status_code == 413  # anybody may ask, and send nothing
    with _client(collection) as client:
        for name, status in (("localhost:1", 200), ("[::1]:1", 200), ("rebound.example", 421), ("", 421)):
            assert client.post(**asked, headers={"Host": name}).status_code == status


@pytest.mark.parametrize(
    ("address", "status"), [("127.0.0.1", 200), ("::ffff:127.0.0.1", 200), ("192.0.2.7", 421), ("", 421)]
)
def test_without_a_token_only_this_machine_is_answered(address: str, status: int) -> None:
    """Whatever name of this server another machine sends."""
    app = create_app(Collection.in_memory(bm25=True))

    async def ask() -> int:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get("/healthz")).status_code

    assert asyncio.run(ask()) == status


def test_requests_that_are_too_large_too_many_or_too_much_at_once() -> None:
    collection, entered, leave = Collection.in_memory(bm25=True), Event(), Event()

    def slow(*_: Any, **__: Any) -> list[Any]:
        entered.set()
        assert leave.wait(20)
        return []

    collection.search = slow  # type: ignore[method-assign]
    asked: dict[str, Any] = {"url": "/v1/search", "json": {"query": "글"}}
    limits = ServeLimits(body_bytes=200, running=1, waiting=0, rate=None)
    with _client(collection, limits=limits) as client, ThreadPoolExecutor(1) as pool:
        first = pool.submit(client.post, **asked)
        assert entered.wait(20)
        second = client.post(**asked)
        assert (second.status_code, second.headers["Retry-After"]) == (503, "1")
        assert client.get("/healthz").status_code == 200  # health waits for nobody
        leave.set()
        assert first.result().status_code == 200
        large = client.post("/v1/search", json={"query": "글" * 200})
        chunks = client.post("/v1/search", content=iter([b"x" * 150] * 3))  # says no length
        assert (large.status_code, chunks.status_code) == (413, 413)
    with _client(collection, limits=ServeLimits(rate=0.001)) as client:  # one, and the next after a quarter of an hour
        assert client.post(**asked).status_code == 200
        many = client.post(**asked)
        assert (many.status_code, many.json()["error"]["type"]) == (429, "rate")
        assert 900 < int(many.headers["Retry-After"]) <= 1_000
        assert client.get("/healthz").status_code == 200


def test_what_waits_for_a_client_that_has_gone_is_never_computed() -> None:
    collection, entered, leave = Collection.in_memory(bm25=True), Event(), Event()
    asked: list[str] = []

    def slow(query: str, **_: Any) -> list[Any]:
        asked.append(query)
        entered.set()
        assert leave.wait(20)
        return []

    collection.search = slow  # type: ignore[method-assign]
    with _client(collection, limits=ServeLimits(running=1, waiting=8)) as client, ThreadPoolExecutor(2) as pool:
        first = pool.submit(client.post, "/v1/search", json={"query": "처음"})
        assert entered.wait(20)
        last = pool.submit(client.post, "/v1/search", json={"query": "마지막"})
        _wait_for(client, "korag_requests_in_progress 2.0")
        for query in ("간다", "간다"):
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/search", json={"query": query}, timeout=0.2)
        _wait_for(client, 'korag_requests_total{path="/v1/search",status="499"} 2.0')
        _wait_for(client, "korag_requests_in_progress 2.0")  # their places are free again
        leave.set()
        assert (first.result().status_code, last.result().status_code) == (200, 200)
        _wait_for(client, "korag_requests_in_progress 0.0")
    assert asked == ["처음", "마지막"]


def _wait_for(client: httpx.Client, metric: str) -> None:
    for _ in range(200):
        if metric in (said := client.get("/metrics").text):
            return
        time.sleep(0.05)
    pytest.fail(f"never {metric}:\n{said}")


def test_an_application_can_be_started_again_and_mounted_below_a_path() -> None:
    collection = Collection.in_memory(bm25=True)
    collection.add(["연차는 사흘 전에 신청한다."], ids=["연차"])
    secret = "0123456789abcdef-own"  # noqa: S105
    app = create_app(collection, token=secret)
    headers = {"Authorization": f"Bearer {secret}"}
    for _ in range(2):
        with running(app) as url:
            found = httpx.post(f"{url}/v1/search", json={"query": "연차"}, headers=headers, timeout=30)
            assert [hit["id"] for hit in found.json()["hits"]] == ["연차"]
    outer = FastAPI()
    outer.mount("/규정", create_app(collection, token=secret))
    with running(outer) as url, httpx.Client(base_url=f"{url}/규정/", headers=headers, timeout=30) as client:
        found = client.post("v1/search", json={"query": "연차"})
        assert [hit["id"] for hit in found.json()["hits"]] == ["연차"]
        assert 'path="/v1/search",status="200"} 1.0' in client.get("metrics").text
        client.headers.clear()
        assert client.get("v1/info").status_code == 401
        assert client.get("healthz").status_code == 200
        page = client.get("")  # needs no token here either, and asks for what is beside it
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert not re.findall(r"""(?:href|src|ask\()=?\(?["']/""", page.text)


def test_a_rate_is_of_an_address() -> None:
    now = 0.0
    limit = RateLimit(2.0, clock=lambda: now)
    for _ in range(20):
        limit.check("가")
    with pytest.raises(RefusedError, match="1초 뒤에"):
        limit.check("가")
    limit.check("나")
    now = 1.0
    limit.check("가")
    limit.check("가")
    with pytest.raises(RefusedError):
        limit.check("가")


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"rate": True}, {"texts": 0}, {"waiting": -1}, {"threads": 1}])
def test_limits_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgumentError):
        ServeLimits(**wrong)
