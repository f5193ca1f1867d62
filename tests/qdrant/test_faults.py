"""A server that fails: requests are repeated, and nothing is lost or stored twice."""

from __future__ import annotations

import pickle
import random
from typing import Any

import pytest
from edge_server import EdgeServer

from korag import QdrantCollection
from korag.collection.qdrant import points, transport
from korag.errors import IndexStateError, KoragError, ServerError
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder

FAULTS = ["drop", "lose", "half", "slow", 429, 500, 502, 503]


def operate(collection: QdrantCollection, count: int, seed: int) -> dict[str, tuple[str, dict[str, Any]]]:
    """Adds, replaces, changes and deletes; returns what must be there at the end."""
    draw, expected = random.Random(seed), {}
    for number in range(count):
        ids = [f"문서/{draw.randrange(60)}" for _ in range(draw.randint(1, 6))]
        ids = list(dict.fromkeys(ids))
        known = [id_ for id_ in ids if id_ in expected]
        match draw.choice(["add", "add", "update", "delete", "search", "count"]):
            case "add":
                texts = [f"공고 {number}번 {id_} 접수" if draw.random() < 0.7 else "되풀이되는 글" for id_ in ids]
                metadata = [{"회차": number, "층": draw.randrange(3)} for _ in ids]
                collection.add(texts, ids=ids, metadata=metadata)
                expected |= dict(zip(ids, zip(texts, metadata, strict=True), strict=True))
            case "update":
                collection.update_metadata(known, {"고침": number})
                for id_ in known:
                    expected[id_] = (expected[id_][0], {**expected[id_][1], "고침": number})
            case "delete":
                assert collection.delete(ids) == len(known)
                for id_ in known:
                    del expected[id_]
            case "search":
                hits = collection.search(f"공고 {number}번", k=100, using=draw.choice(["dense", "bm25", "hybrid"]))
                assert len({hit.id for hit in hits}) == len(hits)
                assert all((hit.text, hit.metadata) == expected[hit.id] for hit in hits)
            case "count":
                assert len(collection) == len(expected)
                assert collection.count({"층": 1}) == sum(fields.get("층") == 1 for _, fields in expected.values())
    return expected


def injected(rate: float, seed: int) -> Any:
    draw, last = random.Random(seed), [0]

    def fault(method: str, path: str) -> Any:
        del method, path
        last[0] = last[0] + 1 if draw.random() < rate else 0
        return draw.choice(FAULTS) if 0 < last[0] < 4 else None

    return fault


@pytest.mark.parametrize(("operations", "rate"), [(150, 0.25), pytest.param(1_000, 0.3, marks=pytest.mark.slow)])
def test_nothing_is_lost_or_doubled(
    server: EdgeServer, open_new: Any, monkeypatch: pytest.MonkeyPatch, operations: int, rate: float
) -> None:
    monkeypatch.setattr(points, "REQUEST_BYTES", 12_000)  # several requests for one call
    collection = open_new(encoders=[FakeDenseEncoder(dim=16)], bm25=True, retries=12)
    injector = injected(rate, seed=operations)
    counted = []

    def fault(method: str, path: str) -> Any:
        found = injector(method, path)
        counted.extend([] if found is None else [found])
        return found

    server.fault = fault
    expected = operate(collection, operations, seed=operations)
    server.fault = lambda method, path: None
    assert {type(kind) for kind in counted} == {str, int}
    assert len(counted) > operations / 4
    stored = collection.get()
    assert {document.id: (document.text, document.metadata) for document in stored} == expected
    assert len(stored) == len(collection) == len(expected)
    for id_, (text, _) in expected.items():
        assert sum(hit.id == id_ for hit in collection.search(text, k=100, using="dense")) == 1


def test_a_server_that_stays_away_is_one_error_and_the_call_can_be_repeated(
    server: EdgeServer, open_new: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "REQUEST_BYTES", 2_000)
    collection = open_new(encoders=[FakeDenseEncoder(dim=16)], bm25=True, retries=2)
    texts, ids = [f"{number}번째 공고" for number in range(12)], [str(number) for number in range(12)]
    upserts = []

    def fault(method: str, path: str) -> Any:
        upserts.extend([path] if method == "PUT" else [])
        return 503 if len(upserts) > 3 else None

    server.fault = fault
    with pytest.raises(ServerError, match="tried 3 times"):
        collection.add(texts, ids=ids)
    server.fault = lambda method, path: None
    assert 0 < len(collection) < len(texts)
    collection.add(texts, ids=ids)
    assert collection.ids() == ids


def test_an_add_without_ids_can_be_completed(server: EdgeServer, open_new: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(points, "REQUEST_BYTES", 2_000)
    collection = open_new(bm25=True, retries=0)
    texts = [f"{number}번째 공고" for number in range(30)]
    upserts = []

    def fault(method: str, path: str) -> Any:
        upserts.extend([path] if method == "PUT" and path.endswith("/points") else [])
        return 503 if len(upserts) > 2 else None

    server.fault = fault
    with pytest.raises(ServerError, match="same ids") as caught:
        collection.add(texts)
    server.fault = lambda method, path: None
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 (our own)
    stored = collection.ids()
    assert 0 < len(stored) < len(texts) == len(error.ids)
    assert stored == list(error.ids[: len(stored)])
    assert collection.add(texts, ids=error.ids) == list(error.ids)
    assert [document.text for document in collection.get()] == texts
    server.fault = lambda method, path: 403
    with pytest.raises(KoragError) as caught:
        collection.add(["글"], ids=["내 것"])
    assert caught.value.ids == ("내 것",)


def test_waits_grow_and_follow_what_the_server_asks(server: EdgeServer, open_new: Any, monkeypatch: Any) -> None:
    collection = open_new(bm25=True, retries=4)
    waits: list[float] = []
    monkeypatch.setattr(transport, "_FIRST_WAIT", 1.0)
    monkeypatch.setattr(transport.time, "sleep", waits.append)
    server.fault = lambda method, path: 500
    with pytest.raises(ServerError):
        len(collection)
    assert len(waits) == 4
    assert all(0.5 * 2**n <= wait <= 2**n for n, wait in enumerate(waits))
    server.fault = lambda method, path: 404
    with pytest.raises(IndexStateError, match="not on the server"):
        len(collection)
    assert len(waits) == 4  # another attempt would fail as well


def test_requests_are_sized_by_bytes(server: EdgeServer, open_new: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(points, "REQUEST_BYTES", 100_000)
    collection = open_new(encoders=[FakeMultiVectorEncoder(dim=64)], bm25=True)
    before = len(server.log)
    collection.add([f"{number}번 창구는 " + "서류를 접수합니다 " * 20 for number in range(40)])
    sizes = [size for method, path, size in server.log[before:] if method == "PUT" and path.endswith("/points")]
    assert len(sizes) > 5
    assert max(sizes) < 110_000
    assert len(collection) == 40
