"""Results are the documents that were added, and scores are there for those who name a key."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.retrievers import (
    ContextualCompressionRetriever,
    EnsembleRetriever,
    MergerRetriever,
    MultiQueryRetriever,
)
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.load import dumps, loads
from langchain_core.tools import create_retriever_tool
from retriever_kinds import QUERY, WIDE, Kind, ids

from korag import LateInteractionEncoder
from korag.errors import InvalidArgumentError
from langchain_korag import (
    KoBM25Retriever,
    KoColBERTReranker,
    KoColBERTRetriever,
    KoRerankRetriever,
    KoVectorStore,
)
from langchain_korag.collection_retriever import CollectionRetriever

TYPED = "qhwmdrmadms djswp ehffuqkeskdy?"
OTHER = "계약이 끝난 뒤의 보증금"


@pytest.fixture(scope="module")
def searcher(colbert: LateInteractionEncoder, papers: list[Document]) -> KoColBERTRetriever:
    return KoColBERTRetriever.from_documents(papers, model=colbert, k=3)


@pytest.fixture(scope="module")
def words(papers: list[Document]) -> KoBM25Retriever:
    return KoBM25Retriever.from_documents(papers, k=3)


@pytest.fixture(scope="module")
def store(colbert: LateInteractionEncoder, papers: list[Document]) -> KoVectorStore:
    store = KoVectorStore([colbert], bm25=True)
    store.add_documents(papers)
    return store


class TestAsAdded:
    async def test_every_result_is_a_document_that_was_added(
        self, read_only_retriever: CollectionRetriever, papers: list[Document]
    ) -> None:
        for query in (QUERY, WIDE, TYPED):
            for found in (read_only_retriever.invoke(query), await read_only_retriever.ainvoke(query)):
                assert found
                assert all(document in papers for document in found)
        assert all(type(document) is Document for document in found)

    def test_rerankers_too(self, searcher: KoColBERTRetriever, papers: list[Document]) -> None:
        reranker = KoColBERTReranker(model=searcher.collection.encoders["colbert"])
        reranked = KoRerankRetriever(base_retriever=searcher, reranker=reranker)
        for query in (QUERY, TYPED):
            assert all(document in papers for document in reranked.invoke(query))
            assert all(document in papers for document in reranker.compress_documents(searcher.invoke(query), query))

    def test_vector_stores_too(self, store: KoVectorStore, papers: list[Document]) -> None:
        for found in (
            store.similarity_search(TYPED),
            [document for document, _ in store.similarity_search_with_score(TYPED)],
            [document for document, _ in store.similarity_search_with_relevance_scores(TYPED)],
            store.max_marginal_relevance_search(TYPED, using="colbert"),
        ):
            assert found
            assert all(document in papers for document in found)


class TestOneDocumentIsOne:
    async def test_multi_query(self, searcher: KoColBERTRetriever) -> None:
        model = FakeListChatModel(responses=[f"{QUERY}\n{OTHER}\n보증금 반환 시기"])
        lists = searcher.batch([QUERY, OTHER, "보증금 반환 시기"])
        assert len({found[0].id for found in lists}) == 1  # each query finds it
        several = MultiQueryRetriever.from_llm(searcher, llm=model)
        for found in (several.invoke(QUERY), await several.ainvoke(QUERY)):
            assert len(ids(found)) == len(set(ids(found)))
            assert set(ids(found)) == {document.id for each in lists for document in each}

    def test_merger(self, searcher: KoColBERTRetriever, words: KoBM25Retriever) -> None:
        merged = MergerRetriever(retrievers=[searcher, words]).invoke(WIDE)
        seen: list[Document] = []
        for document in merged:
            if document not in seen:
                seen.append(document)
        assert sorted(map(str, ids(seen))) == sorted({str(document.id) for document in merged})
        assert len(seen) < len(merged)

    @pytest.mark.filterwarnings(
        "ignore:The function `loads` is in beta", "ignore:The default value of `allowed_objects`"
    )
    def test_rag_fusion(self, searcher: KoColBERTRetriever) -> None:
        """Reciprocal rank fusion as LangChain's template and most tutorials write it."""
        fused: dict[str, float] = {}
        lists = searcher.batch([QUERY, OTHER])
        for found in lists:
            for rank, document in enumerate(found):
                fused[dumps(document)] = fused.get(dumps(document), 0) + 1 / (rank + 60)
        ranked = [loads(text) for text, _ in sorted(fused.items(), key=lambda item: -item[1])]
        assert len(ranked) == len({document.id for found in lists for document in found})
        assert ranked[0] == searcher.invoke(QUERY)[0]
        assert max(fused.values()) == pytest.approx(2 / 60)

    async def test_ensemble_by_text_and_by_id(self, colbert: LateInteractionEncoder) -> None:
        twins = [Document(id=name, page_content="보증금 반환", metadata={"판": name}) for name in "가나"]
        one = KoColBERTRetriever.from_documents(twins, model=colbert)
        other = KoBM25Retriever.from_documents(twins)
        by_text = EnsembleRetriever(retrievers=[one, other])
        assert ids(by_text.invoke("보증금")) == ["가"]
        retrievers = [one.model_copy(update={"id_key": "id"}), other.model_copy(update={"id_key": "id"})]
        by_id = EnsembleRetriever(retrievers=retrievers, id_key="id")
        for found in (by_id.invoke("보증금"), await by_id.ainvoke("보증금")):
            assert [(document.id, document.metadata) for document in found] == [
                (name, {"판": name, "id": name}) for name in "가나"
            ]
        reranked = KoRerankRetriever(base_retriever=one, reranker=KoColBERTReranker(model=colbert), id_key="id")
        assert set(ids(EnsembleRetriever(retrievers=[reranked, retrievers[1]], id_key="id").invoke("보증금"))) == {
            "가", "나",
        }  # fmt: skip


class TestKeysPerCall:
    async def test_of_retrievers(self, read_only_retriever: CollectionRetriever, papers: list[Document]) -> None:
        by_id = {paper.id: paper for paper in papers}
        pairs = {document.id: score for document, score in read_only_retriever.similarity_search_with_score(QUERY)}
        keys: Any = {"score_key": "점수", "id_key": "번호"}
        expected = read_only_retriever.invoke(QUERY, **keys)
        for document in expected:
            added = {"점수": pairs[document.id], "번호": document.id}
            assert document.metadata == {**by_id[document.id].metadata, **added}
        assert await read_only_retriever.ainvoke(QUERY, **keys) == expected
        assert read_only_retriever.batch([QUERY], **keys) == [expected]
        assert list(read_only_retriever.stream(QUERY, **keys)) == [expected]
        assert read_only_retriever.bind(**keys).invoke(QUERY) == expected
        assert read_only_retriever.model_copy(update=keys).invoke(QUERY) == expected
        repaired = read_only_retriever.invoke(TYPED, score_key="점수")
        assert {document.metadata["rewritten_query"] for document in repaired} == {QUERY}

    async def test_of_vector_stores(self, store: KoVectorStore) -> None:
        keys: Any = {"score_key": "점수", "id_key": "번호"}
        pairs = store.similarity_search_with_score(TYPED, k=3, **keys)
        for document, score in pairs:
            assert document.metadata["점수"] == score
            assert document.metadata["번호"] == document.id
            assert document.metadata["rewritten_query"] == QUERY
        expected = [document for document, _ in pairs]
        assert store.similarity_search(TYPED, k=3, **keys) == expected
        assert await store.asimilarity_search(TYPED, k=3, **keys) == expected
        retriever = store.as_retriever(search_kwargs={"k": 3, **keys})
        assert retriever.invoke(TYPED) == expected
        assert await retriever.ainvoke(TYPED) == expected
        assert store.as_retriever().invoke(TYPED, k=3, **keys) == expected
        diverse = store.as_retriever(search_type="mmr", search_kwargs={"using": "colbert", **keys}).invoke(QUERY)
        assert all({"점수", "번호"} <= document.metadata.keys() for document in diverse)
        relevant = store.as_retriever(
            search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.1, **keys}
        )
        assert all({"점수", "번호"} <= document.metadata.keys() for document in relevant.invoke(QUERY))

    def test_by_vector(self, dense: Any, papers: list[Document]) -> None:
        store = KoVectorStore.from_documents(papers, encoders=[dense])
        vector = dense.encode_queries([QUERY])[0].tolist()
        (found,) = store.similarity_search_by_vector(vector, k=1, score_key="점수", id_key="번호")
        assert found.metadata.keys() - papers[0].metadata.keys() == {"점수", "번호"}
        assert store.similarity_search_by_vector(vector, k=1)[0] in papers
        assert store.max_marginal_relevance_search_by_vector(vector, k=1, score_key="점수")[0].metadata["점수"]

    def test_wrong_keys(self, read_only_retriever: CollectionRetriever, store: KoVectorStore) -> None:
        reranked = KoRerankRetriever(
            base_retriever=read_only_retriever, reranker=KoColBERTReranker(model=store.collection.encoders["colbert"])
        )
        for search in (read_only_retriever.invoke, store.similarity_search, reranked.invoke):
            for wrong in (3, "", True, ["score"]):
                for name in ("score_key", "id_key"):
                    with pytest.raises(InvalidArgumentError, match=f"{name}=(.|\n)*must be a string"):
                        search(QUERY, **{name: wrong})
            for taken in ("rewritten_query", "span", "_korag_hit"):  # would be overwritten by what results have there
                for name in ("score_key", "id_key"):
                    with pytest.raises(InvalidArgumentError, match=f"{name}='{taken}' is a key that KoRAG uses"):
                        search(TYPED, **{name: taken})
            with pytest.raises(InvalidArgumentError, match="use different keys"):
                search(QUERY, score_key="x", id_key="x")

    def test_wrong_keys_cost_nothing(self, kind: Kind, papers: list[Document], tmp_path: Path) -> None:
        for wrong in ({"score_key": 3}, {"id_key": ""}, {"score_key": "x", "id_key": "x"}):
            with pytest.raises(Exception, match="_key"):
                kind.make(papers, path=tmp_path / "x", **wrong)
        assert not (tmp_path / "x").exists()


class _Ends(BaseCallbackHandler):
    """The results of every retriever's run."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    def on_retriever_end(self, documents: Any, **_: Any) -> None:
        self.found.append(documents)


class TestWhereScoresGo:
    async def test_a_tools_artifact(self, searcher: KoColBERTRetriever, papers: list[Document]) -> None:
        call = {"name": "search", "args": {"query": TYPED}, "id": "1", "type": "tool_call"}
        for retriever in (searcher, searcher.model_copy(update={"score_key": "점수"})):
            tool = create_retriever_tool(retriever, "search", "찾습니다.", response_format="content_and_artifact")
            for message in (tool.invoke(call), await tool.ainvoke(call)):
                assert message.artifact == retriever.invoke(TYPED)
                scored = [{"점수", "rewritten_query"} <= document.metadata.keys() for document in message.artifact]
                assert set(scored) == {retriever is not searcher}

    async def test_traces(self, searcher: KoColBERTRetriever) -> None:
        ends = _Ends()
        plain = searcher.invoke(QUERY, {"callbacks": [ends]})
        scored = searcher.invoke(QUERY, {"callbacks": [ends]}, score_key="점수")
        assert ends.found == [plain, scored]
        assert all(document.metadata["점수"] > 0 for document in ends.found[1])
        events = [event async for event in searcher.bind(score_key="점수").astream_events(QUERY, version="v2")]
        (end,) = [event for event in events if event["event"] == "on_retriever_end"]
        assert end["data"]["output"] == scored

    async def test_compression_fuses_with_scores_of_the_base(
        self, colbert: LateInteractionEncoder, papers: list[Document]
    ) -> None:
        many = [
            *papers,
            *(Document(id=f"더-{i}", page_content=f"보증금 안내 {i}", metadata={}) for i in range(6)),
        ]
        base = KoBM25Retriever.from_documents(many, k=12, score_key="score")
        reranker = KoColBERTReranker(model=colbert, top_n=10)
        compressed = ContextualCompressionRetriever(base_retriever=base, base_compressor=reranker)
        fused = KoRerankRetriever(
            base_retriever=base.model_copy(update={"score_key": None}), reranker=reranker, fetch_k=12, k=10
        )
        query = "보증금 계약 안내, 도서관 휴관일, 연차 휴가 신청"
        assert len(base.invoke(query)) >= 10
        assert ids(compressed.invoke(query)) == ids(fused.invoke(query))
        alone = reranker.model_copy(update={"fuse_weight": 1.0})
        assert ids(fused.invoke(query)) != ids(alone.compress_documents(base.invoke(query), query))


STRICT = """
import sys
from typing import TypedDict
from langchain_core.documents import Document
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langchain_korag import KoBM25Retriever

class State(TypedDict):
    found: list
    scored: list

documents = [Document(id="가", page_content="보증금은 한 달 안에 돌려준다.", metadata={"쪽": 1})]
retriever = KoBM25Retriever.from_documents(documents)

def search(state):
    return {"found": retriever.invoke("보증금은"), "scored": retriever.invoke("qhwmdrmadms", score_key="점수")}

saver = InMemorySaver()
graph = StateGraph(State).add_node("search", search).add_edge(START, "search").add_edge("search", END)
compiled = graph.compile(checkpointer=saver)
config = {"configurable": {"thread_id": "1"}}
compiled.invoke({"found": [], "scored": []}, config)
state = compiled.get_state(config).values
assert state["found"] == documents, state
(scored,) = state["scored"]
assert type(scored) is Document and scored.id == "가"
assert set(scored.metadata) == {"쪽", "점수", "rewritten_query"} and scored.metadata["점수"] > 0, scored
print("ok")
"""


def test_langgraph_state_under_the_strict_serializer() -> None:
    environment = {**os.environ, "LANGGRAPH_STRICT_MSGPACK": "true"}  # read when langgraph is imported
    ran = subprocess.run([sys.executable, "-c", STRICT], env=environment, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("ok\n", 0), ran.stderr
    assert "locked" not in ran.stderr
    assert "unregistered" not in ran.stderr.lower()
