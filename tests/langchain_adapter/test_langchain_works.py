"""Retrievers and the store within LangChain: chains, tools, agents, indexing, third-party retrievers."""

import gc
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.indexes import SQLRecordManager
from langchain_classic.retrievers import ContextualCompressionRetriever, EnsembleRetriever, MultiQueryRetriever
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, RecordManager, aindex, index
from langchain_core.language_models import FakeListChatModel
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnablePassthrough
from langchain_core.tools import BaseTool, create_retriever_tool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from retriever_kinds import QUERY, WIDE, ids

from korag import DenseEncoder, LateInteractionEncoder
from korag.errors import KoragError
from langchain_korag import (
    KoBM25Retriever,
    KoColBERTReranker,
    KoColBERTRetriever,
    KoRerankRetriever,
    KoVectorStore,
)
from langchain_korag.collection_retriever import CollectionRetriever


@pytest.fixture(scope="module")
def searcher(colbert: LateInteractionEncoder, papers: list[Document]) -> KoColBERTRetriever:
    return KoColBERTRetriever.from_documents(papers, model=colbert, k=3)


@pytest.fixture(scope="module")
def words(papers: list[Document]) -> KoBM25Retriever:
    return KoBM25Retriever.from_documents(papers, k=3)


# -- chains and traces ------------------------------------------------------------------------------------


async def test_a_chain_with_any_retriever(read_only_retriever: CollectionRetriever, papers: list[Document]) -> None:
    seen: list[str] = []

    def answer(prompt: Any) -> Any:
        seen.append(prompt.to_string())
        return FakeListChatModel(responses=["계약이 끝나면 돌려받습니다."])

    prompt = ChatPromptTemplate.from_template("다음 글만 보고 답하세요.\n{context}\n질문: {question}")
    context = read_only_retriever | (lambda found: "\n".join(document.page_content for document in found))
    chain = {"context": context, "question": RunnablePassthrough()} | prompt | answer | StrOutputParser()
    expected = "계약이 끝나면 돌려받습니다."
    assert chain.invoke(QUERY) == expected
    assert await chain.ainvoke(QUERY) == expected
    assert chain.batch([QUERY, WIDE], {"max_concurrency": 2}) == [expected] * 2
    assert "".join(chain.stream(QUERY)) == expected
    asked = [text for text in seen if text.endswith(f"질문: {QUERY}")]
    assert (len(seen), len(asked)) == (5, 4)
    assert all(papers[0].page_content in text for text in asked)


async def test_events_show_the_retriever_and_the_reranker(
    words: KoBM25Retriever, colbert: LateInteractionEncoder
) -> None:
    reranked = KoRerankRetriever(base_retriever=words, reranker=KoColBERTReranker(model=colbert), fetch_k=4, k=2)
    chain = reranked | (lambda found: [document.id for document in found])
    events = [event async for event in chain.astream_events(WIDE, version="v2")]
    runs = {event["name"]: event for event in events if event["event"].endswith("_start")}
    assert runs["KoBM25Retriever"]["parent_ids"][-1] == runs["KoRerankRetriever"]["run_id"]
    assert runs["KoColBERTReranker"]["parent_ids"][-1] == runs["KoRerankRetriever"]["run_id"]
    ends = {event["name"]: event["data"]["output"] for event in events if event["event"].endswith("_end")}
    assert len(ends["KoBM25Retriever"]) == 4
    assert len(ends["KoRerankRetriever"]) == 2
    assert ends["KoRerankRetriever"] == reranked.invoke(WIDE)


# -- tools and agents -------------------------------------------------------------------------------------


def _tool(retriever: Any) -> BaseTool:
    return create_retriever_tool(retriever, "search", "규정을 찾습니다.", response_format="content_and_artifact")


class _ToolSuite:
    @pytest.fixture(autouse=True)
    def _make(self, searcher: KoColBERTRetriever) -> None:
        self.made = _tool(searcher)

    @property
    def tool_constructor(self) -> BaseTool:
        return self.made

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"query": QUERY}


class TestToolUnit(_ToolSuite, ToolsUnitTests):
    """LangChain's unit suite for tools."""


class TestToolIntegration(_ToolSuite, ToolsIntegrationTests):
    """LangChain's integration suite for tools."""


async def test_a_tools_artifact_is_the_documents(read_only_retriever: CollectionRetriever) -> None:
    call = {"name": "search", "args": {"query": QUERY}, "id": "1", "type": "tool_call"}
    expected = read_only_retriever.invoke(QUERY)
    for message in (_tool(read_only_retriever).invoke(call), await _tool(read_only_retriever).ainvoke(call)):
        assert message.artifact == expected
        assert message.content == "\n\n".join(document.page_content for document in expected)


class _FakeAgent(FakeMessagesListChatModel):
    """Returns scripted answers and ignores its tools."""

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self


async def test_a_langgraph_agent_calls_the_retriever(read_only_retriever: CollectionRetriever) -> None:
    call = {"name": "search", "args": {"query": QUERY}, "id": "1"}
    said = [AIMessage("", tool_calls=[call]), AIMessage("계약이 끝나면 돌려받습니다.")]
    tools = [_tool(read_only_retriever)]
    expected = read_only_retriever.invoke(QUERY)
    for run in ("sync", "async"):
        model = _FakeAgent(responses=said).bind_tools(tools)

        def think(state: MessagesState, model: Any = model) -> dict[str, Any]:
            return {"messages": [model.invoke(state["messages"])]}

        graph = StateGraph(MessagesState).add_node("model", think).add_node("tools", ToolNode(tools))
        graph.add_edge(START, "model").add_edge("tools", "model")
        agent = graph.add_conditional_edges("model", tools_condition, {"tools": "tools", END: END}).compile()
        question: Any = {"messages": [HumanMessage(QUERY)]}
        state = agent.invoke(question) if run == "sync" else await agent.ainvoke(question)
        found, answer = state["messages"][-2:]
        assert isinstance(found, ToolMessage)
        assert found.artifact == expected
        assert found.status == "success"
        assert expected[0].page_content in found.content
        assert answer.content == said[1].content


# -- LangChain's indexing ---------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "sql"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RecordManager]:
    if request.param == "memory":
        manager: Any = InMemoryRecordManager(namespace="law")
        manager.create_schema()
        yield manager
        return
    manager = SQLRecordManager("law", db_url=f"sqlite:///{tmp_path / 'records.sqlite3'}")
    manager.create_schema()
    yield manager
    manager.engine.dispose()
    gc.collect()  # a connection that is closed only then warns


def _pages(**texts: str) -> list[Document]:
    return [Document(page_content=text, metadata={"source": name[0]}) for name, text in texts.items()]


def _counts(result: Any) -> tuple[int, int, int, int]:
    return (result["num_added"], result["num_updated"], result["num_skipped"], result["num_deleted"])


@pytest.fixture
def store(dense: DenseEncoder) -> KoVectorStore:
    return KoVectorStore([dense], bm25=True)


def _texts(store: KoVectorStore) -> list[str]:
    return sorted(document.text for document in store.collection.get())


@pytest.mark.slow
def test_indexing_incremental(store: KoVectorStore, records: RecordManager) -> None:
    def run(documents: list[Document]) -> tuple[int, int, int, int]:
        return _counts(
            index(documents, records, store, cleanup="incremental", source_id_key="source", key_encoder="sha256")
        )

    pages = _pages(가1="보증금 반환", 가2="임대차 기간", 나1="도서관 휴관")
    assert run(pages) == (3, 0, 0, 0)
    assert run(pages) == (0, 0, 3, 0)
    assert run(_pages(가1="보증금 반환", 가2="임대차 갱신")) == (1, 0, 1, 1)  # of source 가, only what changed
    assert _texts(store) == ["도서관 휴관", "보증금 반환", "임대차 갱신"]
    assert store.similarity_search("기간", using="bm25") == []
    (found,) = store.similarity_search("갱신", using="bm25")
    assert found.metadata == {"source": "가"}


def test_indexing_full(store: KoVectorStore, records: RecordManager) -> None:
    def run(documents: list[Document]) -> tuple[int, int, int, int]:
        return _counts(index(documents, records, store, cleanup="full", key_encoder="sha256"))

    assert run(_pages(가1="보증금 반환", 가2="임대차 기간", 나1="도서관 휴관")) == (3, 0, 0, 0)
    assert run(_pages(가1="보증금 반환", 다1="자전거 보관")) == (1, 0, 1, 2)
    assert _texts(store) == ["보증금 반환", "자전거 보관"]
    assert run([]) == (0, 0, 0, 2)
    assert len(store) == 0


async def test_indexing_async_and_forced(store: KoVectorStore) -> None:
    records = InMemoryRecordManager(namespace="law")
    await records.acreate_schema()
    pages = _pages(가1="보증금 반환", 나1="도서관 휴관")
    options: dict[str, Any] = {"cleanup": "full", "key_encoder": "sha256"}
    assert _counts(await aindex(pages, records, store, **options)) == (2, 0, 0, 0)
    assert _counts(await aindex(pages, records, store, force_update=True, **options)) == (0, 2, 0, 0)
    assert len(store) == 2
    assert _counts(await aindex(pages[:1], records, store, **options)) == (0, 0, 1, 1)
    assert _texts(store) == ["보증금 반환"]


def test_the_record_manager_really_was_sqlite(tmp_path: Path, store: KoVectorStore) -> None:
    records = SQLRecordManager("law", db_url=f"sqlite:///{tmp_path / 'r.sqlite3'}")
    records.create_schema()
    index(_pages(가1="보증금"), records, store, cleanup="full", key_encoder="sha256")
    records.engine.dispose()
    connection = sqlite3.connect(tmp_path / "r.sqlite3")
    ((key,),) = connection.execute("SELECT key FROM upsertion_record").fetchall()
    connection.close()
    assert [document.id for document in store.collection.get()] == [key]


# -- other people's retrievers around ours ----------------------------------------------------------------


async def test_contextual_compression(words: KoBM25Retriever, colbert: LateInteractionEncoder) -> None:
    reranker = KoColBERTReranker(model=colbert, top_n=2, score_key="relevance_score")
    compressed = ContextualCompressionRetriever(base_retriever=words, base_compressor=reranker)
    found = compressed.invoke(WIDE)
    assert found == list(reranker.compress_documents(words.invoke(WIDE), WIDE))
    assert await compressed.ainvoke(WIDE) == found
    assert all(document.id and "relevance_score" in document.metadata for document in found)


async def test_ensemble(words: KoBM25Retriever, searcher: KoColBERTRetriever) -> None:
    ensemble = EnsembleRetriever(retrievers=[words, searcher], weights=[0.5, 0.5], id_key=None)
    found = ensemble.invoke(WIDE)
    assert set(ids(found)) == set(ids(words.invoke(WIDE))) | set(ids(searcher.invoke(WIDE)))
    assert ids(await ensemble.ainvoke(WIDE)) == ids(found)


async def test_multi_query(searcher: KoColBERTRetriever) -> None:
    model = FakeListChatModel(responses=["보증금 반환\n도서관 휴관일"])
    best = searcher.model_copy(update={"k": 1})
    expected = [*best.invoke("보증금 반환"), *best.invoke("도서관 휴관일")]
    assert len(set(ids(expected))) == 2
    several = MultiQueryRetriever.from_llm(best, llm=model)
    assert several.invoke(QUERY) == await several.ainvoke(QUERY) == expected


def test_errors_of_ours_reach_the_caller_of_a_chain(searcher: KoColBERTRetriever) -> None:
    chain = searcher.bind(filter={"주제": {"$like": "규"}}) | len
    with pytest.raises(KoragError, match=r"\$like"):
        chain.invoke(QUERY)
    (error,) = chain.batch([QUERY], return_exceptions=True)
    assert isinstance(error, KoragError)
