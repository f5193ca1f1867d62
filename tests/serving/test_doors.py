"""One index through four doors: LangChain, LlamaIndex, HTTP, and MCP with the SDK's own client in another process.

The index is a folder, or a collection on a server with a key.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from edge_server import EdgeServer
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from mcp import Client, StdioServerParameters, stdio_client
from served import DOCUMENTS, running

from korag import Collection, QdrantCollection
from korag.cli import main
from korag.serving.app import create_app
from langchain_korag import KoVectorStore
from llamaindex_korag import KoVectorStore as KoNodeStore

QUERIES = ["보증금은 누가 돌려주나요?", "월요일에 쉬는 곳", "ehtjrhks", "회의록을 몇 년 보존하나요"]
FILTER = {"쪽": {"$lte": 3}}
LONG = "골목 끝 서점은 저녁 여덟 시에 닫는다. " * 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("doors") / "색인"
    with Collection.open(path, encoders=["mini-splade"], bm25=True) as collection:
        collection.add(list(DOCUMENTS.values()), ids=list(DOCUMENTS), metadata=[{"쪽": n} for n in range(6)])
        collection.add([LONG], ids=["서점"], metadata=[{"쪽": 9, "_file": "note", "설명": "가" * 2_000}])
    return path


@pytest.fixture(scope="module")
def transcript(folder: Path) -> dict[str, Any]:
    """All that an agent asks, in one session, and what it gets."""
    return asyncio.run(_talk(str(folder)))


def _command(*index: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "korag", "mcp", *index],
        env=dict(os.environ) | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


async def _search(client: Client) -> dict[str, Any]:
    return {query: await client.call_tool("search", {"query": query, "k": 4}) for query in QUERIES}


async def _only_search(*index: str) -> dict[str, Any]:
    async with asyncio.timeout(240), Client(stdio_client(_command(*index))) as client:
        return await _search(client)


async def _talk(folder: str) -> dict[str, Any]:
    async with asyncio.timeout(240), Client(stdio_client(_command(folder))) as client:
        listed = await client.list_tools()
        found = await _search(client)
        calls: dict[str, tuple[str, dict[str, Any]]] = {
            "filtered": ("search", {"query": QUERIES[0], "k": 50, "where": FILTER}),
            "why": ("explain", {"query": QUERIES[0], "id": "보증금"}),
            "read": ("get", {"ids": ["서점", "없음", "휴가"]}),
            "read on": ("get", {"ids": ["서점"], "start": 4_000}),
            "long": ("search", {"query": "골목 서점", "k": 1}),
            "too many": ("search", {"query": "글", "k": 51}),
            "too long": ("search", {"query": "글" * 2_001}),
            "wrong filter": ("search", {"query": "글", "where": {"쪽": {"$near": 1}}}),
            "unknown": ("explain", {"query": "글", "id": "없음"}),
            "another name": ("search", {"query": "글", "filter": FILTER}),
            "another type": ("search", {"query": "글", "k": True}),
            "too many ids": ("get", {"ids": [str(number) for number in range(21)]}),
        }
        answers = {name: await client.call_tool(*call) for name, call in calls.items()}
    return {"tools": listed.tools, "found": found, **answers}


def test_the_same_hits_and_ids_through_every_door(folder: Path, transcript: dict[str, Any]) -> None:
    with Collection.open(folder) as collection:
        _check_doors(collection, transcript["found"])


def test_the_same_hits_and_ids_of_a_collection_on_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = "0123456789-SECRET"
    with EdgeServer(tmp_path) as server:
        server.key = key
        index = [server.url, "--collection", "문서"]
        with QdrantCollection.open(
            "문서", url=server.url, api_key=key, encoders=["mini-splade"], bm25=True
        ) as collection:
            collection.add(list(DOCUMENTS.values()), ids=list(DOCUMENTS), metadata=[{"쪽": n} for n in range(6)])
            monkeypatch.setenv("QDRANT_API_KEY", key)
            _check_doors(collection, asyncio.run(_only_search(*index)))
            own = collection.search(QUERIES[0], k=4)
        assert main(["search", *index, QUERIES[0], "--k", "4", "--json"]) == 0
        assert [hit["id"] for hit in json.loads(capsys.readouterr().out)] == [hit.id for hit in own]
        assert main(["info", *index, "--json"]) == 0
        info = json.loads(capsys.readouterr().out)
        assert (info["collection"], info["documents"]) == ("문서", len(DOCUMENTS))
        assert [(leg["name"], leg["model"]) for leg in info["legs"]] == [("sparse", "mini-splade"), ("bm25", None)]
        assert main(["info", *index]) == 0
        assert "mini-splade" in capsys.readouterr().out
        assert main(["export", *index, str(tmp_path / "문서.jsonl")]) == 0
        capsys.readouterr()
        rows = [json.loads(line) for line in (tmp_path / "문서.jsonl").read_text(encoding="utf-8").splitlines()]
        assert [(row["id"], row["text"]) for row in rows] == list(DOCUMENTS.items())
        assert main(["truncated", *index, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[0]["documents"] == len(DOCUMENTS)
        for arguments, message in (
            (["serve", server.url, "--collection", "없음", "--models", "mini-dense"], "there is no such collection"),
            (["mcp", server.url], "add --collection NAME"),
            (["search", str(tmp_path), "글", "--collection", "문서"], "is for a collection on a server"),
            (["verify", server.url], "this command is for folders"),
            (["index", str(tmp_path), "--to", server.url], "this command is for folders"),
            (["upgrade", server.url], "this command is for folders"),
        ):
            assert main(arguments) == 2
            said = capsys.readouterr()
            assert message in said.err
            assert "SECRET" not in said.err + said.out
        monkeypatch.setenv("QDRANT_API_KEY", "SECRET-of-somebody-else")
        assert main(["serve", *index]) == 2
        said = capsys.readouterr()
        assert "QDRANT_API_KEY" in said.err
        assert "SECRET" not in said.err + said.out
        assert set(server.names) == {"문서"}


def _check_doors(collection: Collection, found: dict[str, Any]) -> None:
    """Compares what is found through all doors.

    Args:
        collection: The collection.
        found: What an agent has found, by query.
    """
    langchain, llamaindex = KoVectorStore(collection=collection), KoNodeStore(collection=collection)
    with running(create_app(collection)) as url, httpx.Client(base_url=url, timeout=60) as client:
        for query in QUERIES:
            own = collection.search(query, k=4)
            ids, relevances = [hit.id for hit in own], [hit.relevance for hit in own]
            assert len(ids) == 4
            over_http = client.post("/v1/search", json={"query": query, "k": 4}).json()["hits"]
            agent = found[query].structured_content["hits"]
            documents = langchain.similarity_search_with_relevance_scores(query, k=4, using="hybrid")
            nodes = llamaindex.query(
                VectorStoreQuery(query_str=query, similarity_top_k=4, mode=VectorStoreQueryMode.HYBRID)
            )
            assert [hit["id"] for hit in over_http] == ids
            assert [hit["id"] for hit in agent] == ids
            assert [document.id for document, _ in documents] == ids
            assert nodes.ids == ids
            assert [hit["relevance"] for hit in over_http] == relevances
            assert [relevance for _, relevance in documents] == pytest.approx(relevances)
            # another process, which computes in 16 bits where the processor does so well
            assert [hit["relevance"] for hit in agent] == pytest.approx(relevances, abs=0.01)
            texts = [hit.text for hit in own]
            assert [document.page_content for document, _ in documents] == texts
            assert [hit["text"] for hit in over_http] == texts
            assert [hit["passage"] for hit in agent] == [hit.passage[:4_000] for hit in own]


def test_an_agent_has_three_tools_that_only_read(transcript: dict[str, Any]) -> None:
    tools = {tool.name: tool for tool in transcript["tools"]}
    assert set(tools) == {"search", "get", "explain"}
    for tool in tools.values():
        assert tool.annotations.read_only_hint is True
        assert tool.description
        assert tool.output_schema
        assert tool.input_schema["additionalProperties"] is False
    assert tools["search"].input_schema["properties"]["k"]["maximum"] == 50


def test_an_agent_searches_explains_and_reads_on(transcript: dict[str, Any]) -> None:
    filtered = transcript["filtered"].structured_content["hits"]
    assert {hit["metadata"]["쪽"] for hit in filtered} <= {0, 1, 2, 3}
    assert transcript["found"]["ehtjrhks"].structured_content["query"] == "도서관"

    why = transcript["why"].structured_content
    assert (why["id"], set(why["legs"])) == ("보증금", {"sparse", "bm25"})
    assert sum(leg["adds"] for leg in why["legs"].values()) == pytest.approx(why["score"])
    assert "보증금" in why["legs"]["bm25"]["words"][0]["word"]

    read = transcript["read"].structured_content
    assert ([part["id"] for part in read["documents"]], read["missing"]) == (["서점", "휴가"], ["없음"])
    shop = read["documents"][0]
    assert (shop["text"], shop["next_start"], shop["characters"]) == (LONG[:4_000], 4_000, len(LONG))
    assert shop["metadata"] == {"쪽": 9}  # without notes of KoRAG's own, and what is long
    assert shop["metadata_left_out"] == ["설명"]
    assert transcript["read on"].structured_content["documents"][0]["text"] == LONG[4_000:8_000]

    (hit,) = transcript["long"].structured_content["hits"]
    assert hit["characters"] == len(LONG)
    assert hit["passage"] == LONG[hit["start"] :][: len(hit["passage"])]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("too many", "k=51: 1부터 50까지의 정수여야 합니다"),
        ("too long", "2,001자"),
        ("wrong filter", "$near"),
        ("unknown", "'없음'"),
        ("another name", "search에는 'filter' 인수가 없습니다. 혹시 where인가요?"),
        ("another type", "k: 정수여야 합니다"),
        ("too many ids", "len(ids)=21"),
    ],
)
def test_an_agent_is_told_what_is_wrong(transcript: dict[str, Any], call: str, message: str) -> None:
    answer = transcript[call]
    assert answer.is_error
    assert message in answer.content[0].text
