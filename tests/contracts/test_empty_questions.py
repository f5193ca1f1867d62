"""An empty question is called that through every door: by a warning if nothing is found, by an error if refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from mcp import Client
from served import running

import langchain_korag as lc
import llamaindex_korag as li
from korag import Collection, LateInteractionEncoder, Pruner, Reranker
from korag.cli import main
from korag.collection import LocalCollection
from korag.errors import InvalidArgumentError
from korag.serving.agents import make_agent_server
from korag.serving.app import create_app

EMPTY = {"nothing": "", "spaces": " \t\u3000\n", "invisible": "\u200b\ufeff\u3164"}
TEXT = "보증금은 계약이 끝나면 돌려받는다."
KOREAN, ENGLISH = "질문이 비어 있습니다", "query is empty"


class Parts(NamedTuple):
    collection: LocalCollection
    colbert: LateInteractionEncoder


Call = Callable[[Parts, str], object]
DOCUMENTS, NODES = [Document(TEXT, id="가")], [NodeWithScore(node=TextNode(text=TEXT, id_="가"), score=1.0)]
FINDING: dict[str, Call] = {
    "search": lambda own, query: own.collection.search(query),
    "search_many": lambda own, query: own.collection.search_many([query, "보증금", query]),
    "Reranker": lambda own, query: Reranker(own.colbert).rerank(query, [TEXT]),
    "Pruner": lambda own, query: Pruner(own.colbert).prune(query, [TEXT]),
    "LangChain BM25": lambda own, query: lc.KoBM25Retriever(collection=own.collection).invoke(query),
    "LangChain hybrid": lambda own, query: lc.KoHybridRetriever(collection=own.collection).invoke(query),
    "LangChain ColBERT": lambda own, query: lc.KoColBERTRetriever(collection=own.collection).invoke(query),
    "LangChain rerank": lambda own, query: lc.KoRerankRetriever(
        base_retriever=lc.KoBM25Retriever(collection=own.collection), reranker=lc.KoColBERTReranker(model=own.colbert)
    ).invoke(query),
    "LangChain store": lambda own, query: lc.KoVectorStore(collection=own.collection).similarity_search(query),
    "LangChain mmr": lambda own, query: lc.KoVectorStore(collection=own.collection).max_marginal_relevance_search(
        query
    ),
    "LangChain reranker": lambda own, query: lc.KoColBERTReranker(model=own.colbert).compress_documents(
        DOCUMENTS, query
    ),
    "LangChain pruner": lambda own, query: lc.KoContextPruner(model=own.colbert).compress_documents(DOCUMENTS, query),
    "LlamaIndex BM25": lambda own, query: li.KoBM25Retriever(own.collection).retrieve(query),
    "LlamaIndex hybrid": lambda own, query: li.KoHybridRetriever(own.collection).retrieve(query),
    "LlamaIndex ColBERT": lambda own, query: li.KoColBERTRetriever(own.collection).retrieve(query),
    "LlamaIndex store": lambda own, query: li.KoVectorStore(collection=own.collection).query(
        VectorStoreQuery(query_str=query)
    ),
    "LlamaIndex reranker": lambda own, query: li.KoColBERTRerank(model_name="mini-colbert").postprocess_nodes(
        NODES, query_str=query
    ),
    "LlamaIndex pruner": lambda own, query: li.KoContextPruner(model_name="mini-colbert").postprocess_nodes(
        NODES, query_str=query
    ),
}
REFUSING: dict[str, Call] = {
    "explain": lambda own, query: own.collection.explain(query, "가"),
    "Pruner.score": lambda own, query: Pruner(own.colbert).score(query, [TEXT]),
    "LangChain explain": lambda own, query: lc.KoBM25Retriever(collection=own.collection).explain(query, "가"),
    "LlamaIndex explain": lambda own, query: li.KoBM25Retriever(own.collection).explain(query, "가"),
}


@pytest.fixture(scope="module")
def own(colbert: LateInteractionEncoder) -> Iterator[Parts]:
    with Collection.in_memory(encoders=[colbert], bm25=True) as collection:
        collection.add([TEXT], ids=["가"])
        yield Parts(collection, colbert)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("questions") / "색인"
    with Collection.open(path, bm25=True) as collection:
        collection.add([TEXT], ids=["가"])
    return path


@pytest.mark.parametrize("query", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("call", FINDING.values(), ids=FINDING)
def test_nothing_is_found_and_a_warning_says_why(
    own: Parts, call: Call, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", logger="korag"):
        call(own, query)
    (said,) = [record.getMessage() for record in caplog.records if record.name == "korag"]
    assert KOREAN in said
    assert ENGLISH in said
    assert "텍스트" not in said


def test_of_many_questions_the_empty_ones_are_counted(own: Parts, caplog: pytest.LogCaptureFixture) -> None:
    found = own.collection.search_many(["", "보증금", "\u200b"])
    assert [len(hits) for hits in found] == [0, 1, 0]
    assert "질문이 비어 있습니다(3개 가운데 2개)" in caplog.text
    assert "The query is empty (2 of 3)" in caplog.text


@pytest.mark.parametrize("query", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("call", REFUSING.values(), ids=REFUSING)
def test_what_can_say_nothing_refuses_it(own: Parts, call: Call, query: str) -> None:
    with pytest.raises(InvalidArgumentError, match=KOREAN) as raised:
        call(own, query)
    assert ENGLISH in raised.value.args[1]


@pytest.mark.parametrize("query", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("more", [(), ("--json",), ("--explain",)], ids=str)
def test_the_command_refuses_it(
    folder: Path, query: str, more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(folder), query, *more]) != 0
    written = capsys.readouterr()
    assert KOREAN in written.err
    assert ENGLISH in written.err
    assert written.out == ""


@pytest.mark.allow_hosts(["127.0.0.1"])
def test_http_and_mcp_refuse_it(folder: Path, colbert: LateInteractionEncoder) -> None:
    with Collection.open(folder) as collection:
        app = create_app(collection, reranker=Reranker(colbert))
        with running(app) as url, httpx.Client(base_url=url, timeout=60) as client:
            for query in EMPTY.values():
                for path, body in (
                    ("/v1/search", {}),
                    ("/v1/explain", {"id": "가"}),
                    ("/v1/rerank", {"documents": [TEXT]}),
                    ("/rerank", {"texts": [TEXT]}),
                ):
                    answer = client.post(path, json={"query": query, **body})
                    assert answer.status_code == 422, path
                    assert KOREAN in answer.text, path
        for tool, arguments in (("search", {}), ("explain", {"id": "가"})):
            for query in EMPTY.values():
                answered = asyncio.run(_asked(collection, tool, {"query": query, **arguments}))
                assert answered.is_error
                assert KOREAN in answered.content[0].text


async def _asked(collection: Collection, tool: str, arguments: dict[str, Any]) -> Any:
    async with Client(make_agent_server(collection)) as client:
        return await client.call_tool(tool, arguments)
