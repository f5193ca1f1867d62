"""A wrong filter is called what its caller called it, through every door that takes one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.documents import Document
from langchain_core.structured_query import Comparator, Comparison, StructuredQuery
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores import FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import VectorStoreQuery
from mcp import Client
from served import running

import langchain_korag as lc
import llamaindex_korag as li
from korag import Collection, SearchOptions
from korag.cli import main
from korag.collection import LocalCollection
from korag.errors import FilterError
from korag.serving.agents import make_agent_server
from korag.serving.app import create_app
from korag.testing import FakeDenseEncoder

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

WRONG = {"쪽": {"$gt": True}}
NODES = MetadataFilters(filters=[MetadataFilter(key="쪽", operator=FilterOperator.GT, value=float("nan"))])
DEEP = MetadataFilters(filters=[MetadataFilter(key="쪽", value=1)])
TEXT, QUERY = "보증금은 계약이 끝나면 돌려받는다.", "보증금 반환"
Call = Callable[[LocalCollection], object]

CORE: dict[str, Call] = {
    "SearchOptions": lambda own: SearchOptions(where=WRONG),
    "search": lambda own: own.search(QUERY, where=WRONG),
    "search_many": lambda own: own.search_many([QUERY], where=WRONG),
    "search_by_vector": lambda own: own.search_by_vector([0.0], where=WRONG),
    "explain": lambda own: own.explain(QUERY, "가", where=WRONG),
    "get": lambda own: own.get(where=WRONG),
    "ids": lambda own: own.ids(WRONG),
    "count": lambda own: own.count(WRONG),
    "delete": lambda own: own.delete(where=WRONG),
}
LANGCHAIN: dict[str, Call] = {
    "retriever": lambda own: lc.KoBM25Retriever(collection=own, filter=WRONG),
    "from_documents": lambda own: lc.KoBM25Retriever.from_documents([Document(TEXT)], filter=WRONG),
    "invoke": lambda own: lc.KoHybridRetriever(collection=own).invoke(QUERY, filter=WRONG),
    "retriever.explain": lambda own: lc.KoBM25Retriever(collection=own).explain(QUERY, "가", filter=WRONG),
    "retriever.get": lambda own: lc.KoBM25Retriever(collection=own).get(["가"], filter=WRONG),
    "retriever.delete": lambda own: lc.KoBM25Retriever(collection=own).delete(filter=WRONG),
    "rerank": lambda own: lc.KoRerankRetriever(
        base_retriever=lc.KoBM25Retriever(collection=own),
        reranker=lc.KoColBERTReranker(model="mini-colbert"),
    ).invoke(QUERY, filter=WRONG),
    "similarity_search": lambda own: lc.KoVectorStore(collection=own).similarity_search(QUERY, filter=WRONG),
    "by_vector": lambda own: lc.KoVectorStore(collection=own).similarity_search_by_vector([0.0], filter=WRONG),
    "mmr": lambda own: lc.KoVectorStore(collection=own).max_marginal_relevance_search(QUERY, filter=WRONG),
    "store.delete": lambda own: lc.KoVectorStore(collection=own).delete(filter=WRONG),
    "as_retriever": lambda own: lc.KoVectorStore(collection=own).as_retriever(search_kwargs={"filter": WRONG}),
    "translator": lambda own: lc.KoStructuredQueryTranslator(filter=WRONG),
}
LLAMAINDEX: dict[str, Call] = {
    "retriever": lambda own: li.KoBM25Retriever(own, filters=NODES),
    "from_defaults": lambda own: li.KoBM25Retriever.from_defaults([TextNode(text=TEXT)], filters=NODES),
    "get_nodes": lambda own: li.KoBM25Retriever(own).get_nodes(filters=NODES),
    "ids": lambda own: li.KoBM25Retriever(own).ids(filters=NODES),
    "count": lambda own: li.KoBM25Retriever(own).count(filters=NODES),
    "delete_nodes": lambda own: li.KoBM25Retriever(own).delete_nodes(filters=NODES),
    "query": lambda own: li.KoVectorStore(collection=own).query(VectorStoreQuery(query_str=QUERY, filters=NODES)),
    "store.get_nodes": lambda own: li.KoVectorStore(collection=own).get_nodes(filters=NODES),
    "store.delete_nodes": lambda own: li.KoVectorStore(collection=own).delete_nodes(filters=NODES),
    "store.count": lambda own: li.KoVectorStore(collection=own).count(filters=NODES),
}
CALLS = [
    *((f"core {door}", call, "where=") for door, call in CORE.items()),
    *((f"LangChain {door}", call, "filter=") for door, call in LANGCHAIN.items()),
    *((f"LlamaIndex {door}", call, "filters=") for door, call in LLAMAINDEX.items()),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("filters") / "색인"
    with Collection.open(path, bm25=True) as collection:
        collection.add([TEXT], ids=["가"], metadata=[{"쪽": 1}])
    return path


@pytest.fixture(scope="module")
def own() -> Iterator[LocalCollection]:
    with Collection.in_memory(encoders=[FakeDenseEncoder()], bm25=True) as collection:
        collection.add([TEXT], ids=["가"], metadata=[{"쪽": 1}])
        yield collection


def assert_named(message: str, written: str) -> None:
    korean, english = message.split("\n")
    assert korean.startswith(f"메타데이터 필터({written})의 쪽 $gt: "), korean
    assert english.startswith(f"Metadata filter ({written}), 쪽 $gt: "), english
    assert written == "where=" or "where" not in message


@pytest.mark.parametrize(("call", "written"), [each[1:] for each in CALLS], ids=[each[0] for each in CALLS])
def test_a_filter_is_called_what_its_caller_called_it(own: LocalCollection, call: Call, written: str) -> None:
    with pytest.raises(FilterError) as raised:
        call(own)
    assert_named(str(raised.value), written)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None
    assert own.count() == 1


def test_the_model_of_a_self_query_is_named_as_the_source() -> None:
    query = StructuredQuery(query=QUERY, filter=Comparison(comparator=Comparator.GT, attribute="쪽", value=True))
    with pytest.raises(FilterError) as raised:
        lc.KoStructuredQueryTranslator().visit_structured_query(query)
    assert_named(str(raised.value), "StructuredQuery.filter")


def test_ids_of_llamaindex_are_not_called_filters(own: LocalCollection) -> None:
    for name in ("node_ids", "doc_ids"):
        with pytest.raises(FilterError, match=rf"Metadata filter \({name}=\).*U\+0000"):
            li.KoBM25Retriever(own, **{name: ["\0"]})  # type: ignore[arg-type]


def test_a_filter_that_is_too_deep_only_when_joined_is_named_too(own: LocalCollection) -> None:
    deep = DEEP
    for _ in range(7):
        deep = MetadataFilters(filters=[MetadataFilters(filters=[deep], condition="not")], condition="not")  # type: ignore[arg-type]
    found = li.KoBM25Retriever(own, filters=deep)
    assert found.filters is deep
    for _ in range(2):
        deep = MetadataFilters(filters=[deep], condition="not")  # type: ignore[arg-type]
    with pytest.raises(FilterError, match=r"\(filters=\)"):
        li.KoBM25Retriever(own, filters=deep, node_ids=["가"])


def test_the_command_names_its_option(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(folder), QUERY, "--where", json.dumps(WRONG)]) != 0
    said = capsys.readouterr().err
    assert "메타데이터 필터(--where)의 쪽 $gt" in said
    assert "Metadata filter (--where), 쪽 $gt" in said


def test_http_and_mcp_name_the_field_of_the_request(folder: Path) -> None:
    with Collection.open(folder) as collection:
        with running(create_app(collection)) as url, httpx.Client(base_url=url, timeout=60) as client:
            for path, body in (("/v1/search", {}), ("/v1/explain", {"id": "가"})):
                answer = client.post(path, json={"query": QUERY, "where": WRONG, **body})
                assert answer.status_code == 422
                assert_named("\n".join(list(answer.json()["error"].values())[:2]), "where=")
        answered = asyncio.run(_asked(collection, {"query": QUERY, "where": WRONG}))
        assert answered.is_error
        assert_named(answered.content[0].text.partition(": ")[2], "where=")


async def _asked(collection: Collection, arguments: dict[str, Any]) -> Any:
    async with Client(make_agent_server(collection)) as client:
        return await client.call_tool("search", arguments)
