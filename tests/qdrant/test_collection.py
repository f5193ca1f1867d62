"""`QdrantCollection` beyond the contract: the same results as locally, what is sent, reopening, and mistakes."""

from __future__ import annotations

import contextlib
import json
import logging
from typing import Any

import pytest
from edge_server import EdgeServer
from qdrant_client import QdrantClient
from sentences import DOCUMENTS

from korag import BM25, Collection, QdrantCollection
from korag.collection.qdrant import frequencies
from korag.errors import (
    FingerprintError,
    ForeignFolderError,
    FormatVersionError,
    IndexStateError,
    InvalidArgumentError,
    KoragError,
    ServerError,
)
from korag.fusion import Fusion
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder

IDS = [f"글/{number}" for number in range(len(DOCUMENTS))]
METADATA = [
    {"번호": number, "부서": "법무팀" if number % 3 else "총무팀", "비율": number / 7} for number in range(len(IDS))
]
WORDS = BM25(str.split, trim_questions=False)
FAKES = [FakeMultiVectorEncoder(), FakeSparseEncoder(), FakeDenseEncoder()]


@pytest.fixture
def both(open_new: Any) -> tuple[Collection, QdrantCollection]:
    local, remote = Collection.in_memory(encoders=FAKES, bm25=True), open_new(encoders=FAKES, bm25=True)
    for collection in (local, remote):
        collection.add(DOCUMENTS, ids=IDS, metadata=METADATA)
    return local, remote


def assert_alike(local: Any, remote: Any, queries: Any, **settings: Any) -> None:
    found = zip(local.search_many(queries, **settings), remote.search_many(queries, **settings), strict=True)
    for expected, hits in found:
        assert [hit.id for hit in hits] == [hit.id for hit in expected]
        for hit, other in zip(hits, expected, strict=True):
            assert (hit.text, hit.metadata) == (other.text, other.metadata)
            assert hit.score == pytest.approx(other.score, rel=2e-3, abs=5e-4)  # queries in float16, too
            assert hit.relevance == pytest.approx(other.relevance, rel=2e-3, abs=5e-4)
            assert hit.legs.keys() == other.legs.keys()
            assert {leg: rank for leg, (rank, _) in hit.legs.items()} == {
                leg: rank for leg, (rank, _) in other.legs.items()
            }


@pytest.mark.parametrize("using", ["dense", "sparse", "bm25", "colbert"])
@pytest.mark.parametrize("where", [None, {"번호": {"$gte": 3}}, {"부서": "법무팀", "비율": {"$lt": 0.9}}])
def test_results_are_those_of_a_local_collection(both: Any, using: str, where: Any) -> None:
    queries = [*DOCUMENTS[:6], "보증금을 돌려받는 법", "제6조", "없는낱말"]
    assert_alike(*both, queries, using=using, where=where, k=5)


@pytest.mark.parametrize("fusion", ["auto", "rrf", "weighted"])
def test_hybrid_results_and_relevance_are_those_of_a_local_collection(both: Any, fusion: Any) -> None:
    local, remote = both
    queries = [*DOCUMENTS[:6], "보증금을 돌려받는 법", "제6조의2"]
    assert_alike(local, remote, queries, fusion=fusion)
    for collection in both:
        collection.delete(IDS[::4])
    assert_alike(local, remote, queries, fusion=fusion)


def test_counts_of_filters_that_the_engine_is_not_sure_of(both: Any) -> None:
    local, remote = both
    for where in (
        {"비율": 3 / 7},
        {"비율": {"$gt": 1 / 7}},
        {"부서": {"$contains": "무"}},
        {"번호": {"$in": [1, 2.0]}},
    ):
        assert remote.count(where) == local.count(where) == len(remote.get(where=where))
        assert remote.ids(where) == local.ids(where)
    assert remote.delete(where={"부서": {"$contains": "총"}}) == local.delete(where={"부서": {"$contains": "총"}})
    assert remote.ids() == local.ids()


def test_shipped_models(open_new: Any, dense: Any, splade: Any, colbert: Any) -> None:
    arguments: dict[str, Any] = {"encoders": [colbert, splade, dense], "bm25": "bigram"}
    local, remote = Collection.in_memory(**arguments, window=None), open_new("내장", **arguments)
    for collection in (local, remote):
        collection.add(DOCUMENTS, ids=IDS)
    for using in ("dense", "sparse", "colbert", "bm25"):
        assert_alike(local, remote, DOCUMENTS[:5], using=using, k=4)
    again = open_new("내장")  # bundled models are named by the manifest
    assert again.search(DOCUMENTS[0]) == remote.search(DOCUMENTS[0])
    assert again.encoders.keys() == remote.encoders.keys()


def test_documents_that_a_model_does_not_read_to_the_end_are_named(open_new: Any, dense: Any, caplog: Any) -> None:
    collection = open_new(encoders=[dense], bm25=True)
    collection.add(["보증금은 계약이 끝난 날에 돌려준다. " * 200, "짧은 글"], ids=["긴", "짧은"])
    (message,) = [record.getMessage() for record in caplog.records if record.name == "korag"]
    assert "mini-dense: 1 of 2 documents truncated" in message
    assert "Truncated: 긴 " in message
    assert collection.search("보증금", k=1)[0].id == "긴"


def test_a_list_is_sent_at_the_pace_of_its_models(server: EdgeServer, open_new: Any, monkeypatch: Any) -> None:
    now = [0.0]
    monkeypatch.setattr("korag.collection.pacing.monotonic", lambda: now[0])
    encoder, sizes = FakeDenseEncoder(), []
    encode = encoder.encode_documents

    def slow(texts: Any, **keywords: Any) -> Any:
        sizes.append(len(texts))
        now[0] += len(texts)  # a second for each
        return encode(texts, **keywords)

    monkeypatch.setattr(encoder, "encode_documents", slow)
    collection = open_new(encoders=[encoder])
    collection.add([f"글 {number}" for number in range(90)])
    assert (sizes, len(collection)) == ([64, 20, 6], 90)


def test_late_interaction_can_rerank_on_the_server(server: EdgeServer, open_new: Any) -> None:
    local = Collection.in_memory(encoders=FAKES, bm25=True)
    remote = open_new("재순위", encoders=FAKES, bm25=True, late_interaction="rerank")
    for collection in (local, remote):
        collection.add(DOCUMENTS, ids=IDS, metadata=METADATA)
    for query in DOCUMENTS[:5]:
        whole = [hit.id for hit in local.search(query, using="colbert", k=3)]
        assert [hit.id for hit in remote.search(query, using="colbert", k=3)] == whole
        narrow = remote.search(query, using="colbert", k=1, fetch_k=1)
        assert narrow[0].id == query_id(query)
    assert_alike(local, remote, DOCUMENTS[:3], fetch_k=len(DOCUMENTS))
    assert open_new("재순위", encoders=FAKES).search(DOCUMENTS[0]) == remote.search(DOCUMENTS[0])
    with pytest.raises(FingerprintError, match="late_interaction='rerank'"):
        open_new("재순위", encoders=FAKES, late_interaction="search")
    for encoders in ([FAKES[0]], [FAKES[2]]):
        with pytest.raises(InvalidArgumentError, match="rerank"):
            open_new("혼자", encoders=encoders, late_interaction="rerank")


def query_id(text: str) -> str:
    return IDS[DOCUMENTS.index(text)]


def test_an_equal_text_sends_no_vectors_and_other_metadata_only_payload(server: EdgeServer, open_new: Any) -> None:
    encoder = FakeDenseEncoder()
    collection = open_new(encoders=[encoder], bm25=True)
    collection.add(DOCUMENTS, ids=IDS, metadata=METADATA)
    encoded = encoder.documents_encoded

    def sent(call: Any) -> list[str]:
        before = len(server.log)
        call()
        return [path.rpartition("/")[2] for _, path, _ in server.log[before:]]

    assert sent(lambda: collection.add(DOCUMENTS, ids=IDS, metadata=METADATA)) == ["points"]  # looked up, nothing sent
    assert sent(lambda: collection.add(DOCUMENTS[:2], ids=IDS[:2], metadata=[{}, {}])) == ["points", "batch"]
    assert sent(lambda: collection.update_metadata(IDS[:3], {"판": 2})) == ["points", "batch"]
    assert encoder.documents_encoded == encoded
    assert collection.get(IDS[:1])[0].metadata == {"판": 2}
    assert sent(lambda: collection.search(DOCUMENTS[0], using="dense")) == ["batch", "points"]  # found, then read


def test_metadata_is_sent_in_requests_of_a_limited_size(server: EdgeServer, open_new: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("korag.collection.qdrant.points.REQUEST_BYTES", 20_000)
    collection = open_new(bm25=True)
    collection.add(DOCUMENTS[:8], ids=IDS[:8])
    before = len(server.log)
    collection.update_metadata(IDS[:8], {"비고": "긴 글" * 1_000})  # 7,000 bytes, stored and to search in
    collection.add(DOCUMENTS[:8], ids=IDS[:8], metadata=[{"비고": "다른 글" * 1_000}] * 8)
    sizes = [size for _, path, size in server.log[before:] if path.endswith("/batch")]
    assert len(sizes) >= 8
    assert max(sizes) <= 25_000  # a single document has more than 20,000
    assert {document.metadata["비고"][:4] for document in collection.get()} == {"다른 글"}


def test_a_change_of_metadata_never_meets_another_text(open_new: Any) -> None:
    one = open_new("둘이서", encoders=[FAKES[2]])
    one.add(["옛 글"], ids=["가"], metadata=[{"판": 1}])
    stored = one._stored(["가"])["가"]
    open_new("둘이서", encoders=[FAKES[2]]).add(["새 글"], ids=["가"], metadata=[{"판": 2}])
    one._change([(one.get(["가"])[0], stored.sequence)])
    assert [(document.text, document.metadata) for document in one.get()] == [("새 글", {"판": 2})]


def test_a_fitted_fusion_is_kept_with_the_collection(open_new: Any) -> None:
    collection = open_new("결합", encoders=[FAKES[2]], bm25=True)
    fusion = Fusion("weighted", {"bm25": 3.0})
    collection.store_fusion(fusion)
    assert collection.fitted_fusion == open_new("결합", encoders=[FAKES[2]]).fitted_fusion == fusion
    with pytest.raises(InvalidArgumentError):
        collection.store_fusion(Fusion("weighted", {"colbert": 1.0}))
    collection.store_fusion(None)
    assert open_new("결합", encoders=[FAKES[2]]).fitted_fusion is None


def test_filter_fields_are_indexed_also_later(server: EdgeServer, open_new: Any) -> None:
    collection = open_new("필드", bm25=True, filter_fields=["부서"])
    collection.add(DOCUMENTS, ids=IDS, metadata=METADATA)
    fields = {"부서": "keyword", "번호": "integer", "비율": "float", "출처.쪽": "integer"}
    again = open_new("필드", filter_fields=fields)
    made = server["필드"].describe()["payload_schema"]
    found = {name.replace('"', ""): own["data_type"] for name, own in made.items() if name.startswith("metadata")}
    assert found == {f"metadata.{name}": kind for name, kind in fields.items()}
    local = Collection.in_memory(bm25=True)
    local.add(DOCUMENTS, ids=IDS, metadata=METADATA)
    wheres: list[Any] = [{"부서": "총무팀"}, {"번호": {"$lt": 4}}, {"비율": 1 / 7}]
    for where in wheres:
        assert again.ids(where) == local.ids(where)


def test_tokens_are_pooled(open_new: Any) -> None:
    collection = open_new("모음", encoders=[FAKES[0]], pool_factor=2)
    collection.add(DOCUMENTS, ids=IDS)
    local = Collection.in_memory(encoders=[FAKES[0]], pool_factor=2)
    local.add(DOCUMENTS, ids=IDS)
    assert_alike(local, collection, DOCUMENTS[:4])
    with pytest.raises(FingerprintError, match="pool_factor"):
        open_new("모음", encoders=[FAKES[0]], pool_factor=3)


# -- mistakes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["localhost:6333", "ftp://host", "http://", "http://[::1", "http://host:열", 6333])
def test_what_is_no_address(url: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="address of a Qdrant server"):
        QdrantCollection.open("c", url=url, bm25=True)


def test_no_server() -> None:
    with pytest.raises(ServerError, match=r"127\.0\.0\.1:9.*does not answer") as caught:
        QdrantCollection.open("c", url="http://127.0.0.1:9", bm25=True, retries=1, timeout=1)
    assert isinstance(caught.value, ConnectionError)


def test_a_wrong_key_is_one_error_that_does_not_show_it(server: EdgeServer, caplog: Any) -> None:
    server.key = "맞는 열쇠".encode().hex()
    for key in (None, "sk-틀린열쇠".encode().hex()):
        with pytest.raises(ServerError, match="api_key=") as caught:
            QdrantCollection.open("잠긴", url=server.url, api_key=key, bm25=True)
        assert key is None or key not in str(caught.value)
    server.fault = lambda method, path: None
    with (
        caplog.at_level(logging.DEBUG),
        QdrantCollection.open("잠긴", url=server.url, api_key=server.key, bm25=True) as collection,
    ):
        collection.add(["글"])
        assert caplog.records
        shown = [repr(collection), repr(collection._transport), caplog.text, json.dumps(server["잠긴"].describe())]
        assert all(server.key not in text for text in shown)


def test_a_long_query_asks_for_few_numbers(server: EdgeServer, open_new: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(frequencies, "_MOST", 40)
    texts = [" ".join(f"낱말{(start + step * step) % 97}번" for step in range(30)) for start in range(30)]
    local = Collection.in_memory(bm25=WORDS)
    remote = open_new("긴 질의", bm25=WORDS)
    for collection in (local, remote):
        collection.add(texts, ids=[str(number) for number in range(len(texts))], metadata=[{"n": 1}] * len(texts))

    def counts(query: str, **settings: Any) -> int:
        before = len(server.log)
        remote.search(query, k=3, **settings)
        return sum(path.endswith("/count") for _, path, _ in server.log[before:])

    query = " ".join(texts[:6])
    terms = len(set(query.split()))
    assert terms > 80
    assert counts(query) == 1 + 40
    assert counts(query) == 1
    found, expected = remote.search(query, k=5), local.search(query, k=5)
    assert [hit.id for hit in found] == [hit.id for hit in expected]
    assert [hit.relevance for hit in found] == pytest.approx([hit.relevance for hit in expected], rel=0.1)
    assert counts(query, where={"n": {"$in": []}}) == 0
    remote.add(["낱말1번"], ids=["0"])  # as many documents as before
    assert counts(query) == 1 + 40
    with QdrantCollection.open("긴 질의", url=server.url, bm25=WORDS) as other:
        other.add(["낱말2번"])
    assert counts(query) == 1 + 40
    monkeypatch.setattr(frequencies, "_SECONDS", 0.0)
    remote.delete(["1"])
    assert counts(query) == counts(query) == 1 + 40


def test_an_old_server(server: EdgeServer) -> None:
    server.version = "1.15.4"
    with pytest.raises(IndexStateError, match=r"too old: Qdrant 1\.15\.4. Upgrade it to 1\.20"):
        QdrantCollection.open("옛", url=server.url, bm25=True)
    server.version = "1.20.0-dev"
    QdrantCollection.open("옛", url=server.url, bm25=True).close()


def test_something_else_than_qdrant(server: EdgeServer, open_new: Any) -> None:
    collection = open_new(bm25=True)
    server.fault = lambda method, path: 405
    with pytest.raises(ServerError, match="Check that it is a Qdrant server"):
        len(collection)


def test_a_collection_of_somebody_else(server: EdgeServer, open_new: Any) -> None:
    with contextlib.closing(QdrantClient(url=server.url, check_compatibility=False)) as client:
        client.create_collection("남의것", vectors_config={}, metadata={"주인": "남"})
        with pytest.raises(ForeignFolderError, match="nothing was changed"):
            open_new("남의것", bm25=True)
        assert client.get_collection("남의것").payload_schema == {}
        for recorded in ("{", "[]", "{}", '{"format": 1, "legs": {}, "late_interaction": "search"}', '{"format": "1"}'):
            client.update_collection("남의것", metadata={"korag": recorded})
            with pytest.raises(IndexStateError, match="manifest"):
                open_new("남의것", bm25=True)
        client.update_collection("남의것", metadata={"korag": json.dumps({"format": 99})})
        with pytest.raises(FormatVersionError, match="upgrade KoRAG"):
            open_new("남의것", bm25=True)


def test_a_collection_of_another_model(open_new: Any) -> None:
    open_new("모델", encoders=[FakeDenseEncoder(seed=1)], bm25=True).add(["글"])
    with pytest.raises(FingerprintError):
        open_new("모델", encoders=[FakeDenseEncoder(seed=2)])
    with pytest.raises(FingerprintError, match="sparse"):
        open_new("모델", encoders=[FakeDenseEncoder(seed=1), FakeSparseEncoder()])
    with pytest.raises(IndexStateError, match="encoder"):
        open_new("모델")  # a fake one has no name to load it by


def test_strict_mode(server: EdgeServer, open_new: Any) -> None:
    collection = open_new("엄격", encoders=[FAKES[2]])
    collection.add(DOCUMENTS, ids=IDS, metadata=METADATA)
    server["엄격"].strict = {"search_allow_exact": False}
    with pytest.raises(IndexStateError, match="exact=False"):
        collection.search(DOCUMENTS[0])
    assert collection.search(DOCUMENTS[0], exact=False)[0].id == IDS[0]
    server["엄격"].strict = {"unindexed_filtering_retrieve": False}
    where = {"부서": "법무팀"}
    with pytest.raises(IndexStateError, match="filter_fields="):
        collection.search(DOCUMENTS[0], where=where)
    again = open_new("엄격", encoders=[FAKES[2]], filter_fields=["부서"])  # what the message says
    assert {hit.metadata["부서"] for hit in again.search(DOCUMENTS[0], where=where)} == {"법무팀"}
    with pytest.raises(IndexStateError, match=r"번호|\\ubc88\\ud638"):
        again.search(DOCUMENTS[0], where={"부서": "법무팀", "번호": {"$gt": 3}})


def test_a_collection_that_is_deleted_meanwhile(server: EdgeServer, open_new: Any) -> None:
    collection = open_new("사라짐", bm25=True)
    with contextlib.closing(QdrantClient(url=server.url, check_compatibility=False)) as client:
        client.delete_collection("사라짐")
    for call in (lambda: collection.add(["글"]), lambda: collection.search("글"), lambda: len(collection)):
        with pytest.raises(IndexStateError, match="not on the server"):
            call()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"name": ""}, "name"), ({"name": "a/b"}, "name"), ({"name": None}, "name"), ({"name": "a" * 256}, "name"),
        ({"url": None}, "url"), ({"url": "localhost:6333"}, "url"), ({"url": "ftp://a"}, "url"), ({"url": 5}, "url"),
        ({"url": "http://a:b"}, "url"), ({"client": "x"}, "url and client"),
        ({"late_interaction": "빠르게"}, "late_interaction"), ({"filter_fields": "부서"}, "filter_fields"),
        ({"filter_fields": {"부서": "text"}}, "filter_fields"), ({"filter_fields": ['a"b']}, "filter_fields"),
        ({"shard_number": 0}, "shard_number"), ({"replication_factor": 1.5}, "replication_factor"),
        ({"timeout": 0}, "timeout"), ({"timeout": "5"}, "timeout"), ({"retries": -1}, "retries"),
        ({"load_stored_models": 1}, "load_stored_models"), ({"bm25": None}, "bm25=True"), ({"bm25": 5}, "bm25"),
        ({"encoders": "mini-dense"}, "encoders"), ({"pool_factor": 2}, "pool_factor"),
    ],
)  # fmt: skip
def test_bad_arguments_are_errors_before_anything_is_made(server: EdgeServer, arguments: Any, named: str) -> None:
    before = server.answer("GET", "/collections", None)
    given = {"name": "새것", "url": server.url, "bm25": True, **arguments}
    with pytest.raises(KoragError, match=named):
        QdrantCollection.open(given.pop("name"), **given)
    assert server.answer("GET", "/collections", None) == before


def test_an_unknown_keyword_names_the_nearest(server: EdgeServer) -> None:
    with pytest.raises(KoragError, match="shard_number"):
        QdrantCollection.open("c", url=server.url, bm25=True, shard_numbers=2)  # type: ignore[call-arg]


def test_creation_that_stops_halfway_is_completed_by_the_next_opening(server: EdgeServer, open_new: Any) -> None:
    server.fault = lambda method, path: 400 if path.endswith("/index") else None
    with pytest.raises(ServerError):
        open_new("반쯤", bm25=True)
    server.fault = lambda method, path: None
    collection = open_new("반쯤", bm25=True)
    collection.add(DOCUMENTS, ids=IDS)
    assert collection.search(DOCUMENTS[3])[0].id == IDS[3]


def test_two_processes_that_make_the_same_collection(server: EdgeServer, open_new: Any) -> None:
    made = open_new("함께", bm25=True)
    seen = []

    def fault(method: str, path: str) -> Any:
        seen.append(path)
        return None

    server.fault = fault
    server_answer, asked = server.answer, []

    def not_yet(method: str, path: str, body: Any) -> Any:
        if path.endswith("/exists") and not asked:
            asked.append(path)
            return {"exists": False}  # as it was when the other process asked
        return server_answer(method, path, body)

    server.answer = not_yet  # type: ignore[method-assign]
    try:
        other = open_new("함께", bm25=True)
    finally:
        server.answer = server_answer  # type: ignore[method-assign]
    made.add(["글"], ids=["가"])
    assert other.ids() == ["가"]


def test_a_client_that_was_given_stays_open(server: EdgeServer) -> None:
    with contextlib.closing(QdrantClient(url=server.url, check_compatibility=False)) as client:
        with QdrantCollection.open("빌린", client=client, bm25=True) as collection:
            collection.add(["글"], ids=["가"])
        assert client.count("빌린").count == 1
