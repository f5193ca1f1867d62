"""KoRerankRetriever: candidates, arguments, traces, and LangChain's suite."""

import asyncio
import copy
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.callbacks import BaseCallbackHandler, CallbackManagerForRetrieverRun, Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import FakeListChatModel
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_tests.integration_tests import RetrieversIntegrationTests

from korag import CrossEncoderReranker, LateInteractionEncoder
from korag.errors import InvalidArgumentError, InvalidTextError
from langchain_korag import KoColBERTReranker, KoColBERTRetriever, KoCrossEncoderReranker, KoRerankRetriever

QUERY = "보증금은 언제 돌려받나요?"
TOPICS = ["주거", "생활", "음식", "쇼핑", "회사", "규정", "규정", "기술"]


@pytest.fixture(scope="module")
def notices(documents: list[str]) -> list[Document]:
    """Documents with ids and nested metadata; no test may change them."""
    return [
        Document(id=f"문서-{index}", page_content=text, metadata={"주제": topic, "표": [index]})
        for index, (text, topic) in enumerate(zip(documents, TOPICS, strict=True))
    ]


@pytest.fixture(scope="module")
def base(notices: list[Document], colbert: LateInteractionEncoder) -> KoColBERTRetriever:
    return KoColBERTRetriever.from_documents(notices, model=colbert, k=2)


@pytest.fixture(scope="module")
def reranker(cross_encoder: CrossEncoderReranker) -> KoCrossEncoderReranker:
    """A reranker whose order is unrelated to the base retriever's."""
    return KoCrossEncoderReranker(model=cross_encoder, top_n=1)


@pytest.fixture(scope="module")
def retriever(base: KoColBERTRetriever, reranker: KoCrossEncoderReranker) -> KoRerankRetriever:
    return KoRerankRetriever(base_retriever=base, reranker=reranker, fetch_k=6, k=3)


class Fixed(BaseRetriever):
    """A third-party retriever without keywords that returns fixed documents and counts its calls."""

    documents: list[Document]
    calls: list[str] = []  # noqa: RUF012 (pydantic copies it)

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        self.calls.append(query)
        return self.documents


class Reversing(BaseDocumentCompressor):
    """A third-party compressor that reverses the documents and modifies them."""

    async def acompress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        return self.compress_documents(documents, query, callbacks)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        for document in documents:
            document.metadata["본 적"] = True
            document.page_content += "!"
        return list(documents)[::-1]


class TestStandard(RetrieversIntegrationTests):
    """LangChain's suite for retrievers."""

    @pytest.fixture(autouse=True)
    def _made(self, base: KoColBERTRetriever, reranker: KoCrossEncoderReranker) -> None:
        self.parts = {"base_retriever": base, "reranker": reranker}

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return KoRerankRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return self.parts

    @property
    def retriever_query_example(self) -> str:
        return QUERY


class TestResults:
    async def test_the_rerankers_order_over_the_bases_best(
        self, retriever: KoRerankRetriever, base: KoColBERTRetriever, reranker: KoCrossEncoderReranker
    ) -> None:
        candidates = base.invoke(QUERY, k=6)
        expected = reranker.model_copy(update={"top_n": 3}).compress_documents(candidates, QUERY)
        found = retriever.invoke(QUERY)
        assert found == expected
        assert [document.id for document in found] != [document.id for document in candidates[:3]]
        assert await retriever.ainvoke(QUERY) == expected

    def test_k_takes_the_place_of_the_rerankers_top_n(
        self, retriever: KoRerankRetriever, reranker: KoCrossEncoderReranker
    ) -> None:
        assert reranker.top_n == 1
        assert len(retriever.invoke(QUERY)) == 3
        assert reranker.top_n == 1

    def test_scores_belong_to_their_documents_and_metadata_stays(
        self, retriever: KoRerankRetriever, cross_encoder: CrossEncoderReranker, notices: list[Document]
    ) -> None:
        by_id = {notice.id: notice for notice in notices}
        for document in retriever.invoke(QUERY, k=8, score_key="relevance_score"):
            ((_, score),) = cross_encoder.rerank(QUERY, [document.page_content])
            assert document.metadata["relevance_score"] == pytest.approx(score, abs=1e-6)
            assert document.page_content == by_id[document.id].page_content
            assert document.metadata["표"] == by_id[document.id].metadata["표"]

    def test_nothing_found(self, reranker: KoCrossEncoderReranker, colbert: LateInteractionEncoder) -> None:
        empty = KoColBERTRetriever.from_documents([], model=colbert)
        assert KoRerankRetriever(base_retriever=empty, reranker=reranker).invoke(QUERY) == []

    def test_an_empty_query_finds_nothing(self, retriever: KoRerankRetriever) -> None:
        assert retriever.invoke(" ") == []

    def test_a_threshold_of_the_reranker(self, base: KoColBERTRetriever, reranker: KoCrossEncoderReranker) -> None:
        scored = KoRerankRetriever(base_retriever=base, reranker=reranker, k=8, score_key="점수")
        everything = scored.invoke(QUERY)
        scores = [document.metadata["점수"] for document in everything]
        bounded = reranker.model_copy(update={"score_threshold": scores[3]})
        assert scored.model_copy(update={"reranker": bounded}).invoke(QUERY) == everything[:4]


class TestKeywords:
    async def test_every_way_to_call(self, retriever: KoRerankRetriever) -> None:
        keywords: dict[str, Any] = {"k": 1, "fetch_k": 2, "filter": {"주제": "규정"}}
        expected = retriever.invoke(QUERY, **keywords)
        assert [document.metadata["주제"] for document in expected] == ["규정"]
        assert await retriever.ainvoke(QUERY, **keywords) == expected
        assert retriever.batch([QUERY, QUERY], **keywords) == [expected] * 2
        assert await retriever.abatch([QUERY] * 4, {"max_concurrency": 2}, **keywords) == [expected] * 4
        assert list(retriever.stream(QUERY, **keywords)) == [expected]
        assert [chunk async for chunk in retriever.astream(QUERY, **keywords)] == [expected]
        assert retriever.bind(**keywords).invoke(QUERY) == expected

    async def test_exact_is_passed_to_the_base(self, retriever: KoRerankRetriever, search_calls: list[bool]) -> None:
        expected = retriever.invoke(QUERY)
        assert retriever.invoke(QUERY, exact=False) == expected  # so few are all looked at
        assert await retriever.ainvoke(QUERY, exact=False) == expected
        assert search_calls == [True, False, False]
        with pytest.raises(InvalidArgumentError, match="exact='yes'"):
            retriever.invoke(QUERY, exact="yes")

    @pytest.mark.slow
    def test_fetch_k_is_what_is_reranked(self, retriever: KoRerankRetriever, base: KoColBERTRetriever) -> None:
        for fetch_k in (1, 2, 5, 8, 1_000):
            found = retriever.invoke(QUERY, k=fetch_k, fetch_k=fetch_k)
            assert {document.id for document in found} == {d.id for d in base.invoke(QUERY, k=fetch_k)}
        assert retriever.invoke(QUERY, fetch_k=1, k=1)[0].id == base.invoke(QUERY)[0].id

    def test_k_beyond_fetch_k_fetches_k(self, retriever: KoRerankRetriever) -> None:
        assert len(retriever.invoke(QUERY, k=8, fetch_k=1)) == 8
        assert len(retriever.invoke(QUERY, k=10_000)) == 8
        assert len(retriever.invoke(QUERY, fetch_k=0)) == 3

    def test_k_zero_searches_nothing(self, notices: list[Document], reranker: KoCrossEncoderReranker) -> None:
        fixed = Fixed(documents=notices)
        assert KoRerankRetriever(base_retriever=fixed, reranker=reranker, k=0).invoke(QUERY) == []
        assert KoRerankRetriever(base_retriever=fixed, reranker=reranker).invoke(QUERY, k=0) == []
        assert fixed.calls == []

    async def test_fuse_weight(
        self, base: KoColBERTRetriever, reranker: KoCrossEncoderReranker, retriever: KoRerankRetriever
    ) -> None:
        candidates = base.invoke(QUERY, k=6, score_key="score")
        for document in candidates:
            assert document.metadata["score"] > 0
        fusing = reranker.model_copy(update={"top_n": 3, "fuse_weight": 0.2})
        expected = fusing.compress_documents(candidates, QUERY)
        for document in expected:
            del document.metadata["score"]
        assert expected != retriever.invoke(QUERY)
        assert retriever.invoke(QUERY, fuse_weight=0.2) == expected
        assert await retriever.ainvoke(QUERY, fuse_weight=0.2) == expected
        own = KoRerankRetriever(base_retriever=base, reranker=reranker, fetch_k=6, k=3, fuse_weight=0.2)
        assert own.invoke(QUERY) == expected
        assert own.invoke(QUERY, fuse_weight=1) == retriever.invoke(QUERY)
        assert [d.id for d in own.invoke(QUERY, fuse_weight=0)] == [d.id for d in candidates[:3]]

    def test_wrong_fuse_weights(self, base: KoColBERTRetriever, retriever: KoRerankRetriever) -> None:
        with pytest.raises(InvalidArgumentError, match=r"fuse_weight=2.*재순위"):
            retriever.invoke(QUERY, fuse_weight=2)
        with pytest.raises(InvalidArgumentError, match="fuse_weight=-1"):
            KoRerankRetriever(base_retriever=base, reranker=retriever.reranker, fuse_weight=-1)
        with pytest.raises(InvalidArgumentError, match="Reversing is not one of KoRAG's rerankers"):
            KoRerankRetriever(base_retriever=base, reranker=Reversing(), fuse_weight=0.5)
        with pytest.raises(InvalidArgumentError, match="Reversing은"):
            KoRerankRetriever(base_retriever=base, reranker=Reversing()).invoke(QUERY, fuse_weight=0.5)

    @pytest.mark.parametrize("name", ["k", "fetch_k"])
    @pytest.mark.parametrize("wrong", [-1, 2.5, "3", True])
    async def test_wrong_numbers(self, retriever: KoRerankRetriever, name: str, wrong: Any) -> None:
        with pytest.raises(InvalidArgumentError, match=f"{name}="):
            retriever.invoke(QUERY, **{name: wrong})
        with pytest.raises(InvalidArgumentError, match=f"{name}="):
            await retriever.ainvoke(QUERY, **{name: wrong})

    async def test_a_misspelt_keyword_is_an_error_before_any_search(
        self, retriever: KoRerankRetriever, notices: list[Document], reranker: KoCrossEncoderReranker
    ) -> None:
        for keyword, near in (("filters", "filter"), ("fetchk", "fetch_k"), ("topk", "k")):
            with pytest.raises(InvalidArgumentError) as caught:
                retriever.invoke(QUERY, **{keyword: 1})
            korean, english = str(caught.value).split("\n")
            assert keyword in korean
            assert keyword in english
            assert near in english
            with pytest.raises(InvalidArgumentError, match=keyword):
                await retriever.ainvoke(QUERY, **{keyword: 1})
        # LangChain would drop these without a word, because this base takes none
        fixed = Fixed(documents=notices)
        without = KoRerankRetriever(base_retriever=fixed, reranker=reranker)
        with pytest.raises(InvalidArgumentError, match="filter"):
            without.invoke(QUERY, filter={"주제": "규정"})
        with pytest.raises(InvalidArgumentError, match="filter"):
            await without.ainvoke(QUERY, filter={"주제": "규정"})
        assert fixed.calls == []

    @pytest.mark.parametrize("query", [None, 3, ["보증금"], "\ud800"])
    async def test_a_query_that_is_no_good_string(self, retriever: KoRerankRetriever, query: Any) -> None:
        with pytest.raises(InvalidTextError, match="query"):
            retriever.invoke(query)
        with pytest.raises(InvalidTextError, match="query"):
            await retriever.ainvoke(query)

    def test_fields(self, base: KoColBERTRetriever, reranker: KoCrossEncoderReranker) -> None:
        for wrong in ({"topk": 3}, {"k": -1}, {"fetch_k": "viel"}, {"base_retriever": "이름"}, {"reranker": base}):
            with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
                KoRerankRetriever(**{"base_retriever": base, "reranker": reranker, **wrong})
        assigned = KoRerankRetriever(base_retriever=base, reranker=reranker)
        assert (assigned.fetch_k, assigned.k) == (20, 4)
        with pytest.raises(InvalidArgumentError):
            assigned.k = -1


class TestBases:
    """Base retrievers that accept `fetch_k`, and those that do not."""

    def test_a_vector_stores_retriever(self, notices: list[Document], reranker: KoCrossEncoderReranker) -> None:
        class Lengths(Embeddings):
            def embed_documents(self, texts: list[str]) -> list[list[float]]:
                return [[float(len(text)), 1.0] for text in texts]

            def embed_query(self, text: str) -> list[float]:
                return [float(len(text)), 1.0]

        store = InMemoryVectorStore(Lengths())
        store.add_documents(notices)
        retriever = KoRerankRetriever(base_retriever=store.as_retriever(), reranker=reranker, fetch_k=8, k=8)
        assert len(retriever.invoke(QUERY)) == 8  # its own k is 4
        kept = retriever.invoke(QUERY, filter=lambda document: document.metadata["주제"] == "규정")
        assert {document.id for document in kept} == {"문서-5", "문서-6"}

    async def test_one_without_keywords_is_taken_as_it_is_up_to_fetch_k(
        self, notices: list[Document], reranker: KoCrossEncoderReranker
    ) -> None:
        retriever = KoRerankRetriever(base_retriever=Fixed(documents=notices), reranker=reranker, k=8)
        assert len(retriever.invoke(QUERY)) == 8
        found = retriever.invoke(QUERY, k=2, fetch_k=2)
        assert {document.id for document in found} == {"문서-0", "문서-1"}
        assert await retriever.ainvoke(QUERY, k=2, fetch_k=2) == found

    def test_one_whose_method_names_k(self, notices: list[Document], reranker: KoCrossEncoderReranker) -> None:
        seen: list[int] = []

        class Named(BaseRetriever):
            def _get_relevant_documents(
                self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int = 1, lang: str = "ko"
            ) -> list[Document]:
                seen.append(k)
                return notices[:k]

        retriever = KoRerankRetriever(base_retriever=Named(), reranker=reranker, fetch_k=5)
        assert len(retriever.invoke(QUERY, lang="en")) == 4
        assert seen == [5]
        with pytest.raises(InvalidArgumentError, match="lang"):
            retriever.invoke(QUERY, lan="en")

    def test_behind_with_config_and_configurable_fields(
        self, base: KoColBERTRetriever, reranker: KoCrossEncoderReranker
    ) -> None:
        bound = base.configurable_fields(k=ConfigurableField(id="k")).with_config(tags=["꼬리표"])
        retriever = KoRerankRetriever(base_retriever=bound, reranker=reranker, fetch_k=7, k=7)
        assert len(retriever.invoke(QUERY)) == 7
        assert len(retriever.invoke(QUERY, filter={"주제": "규정"})) == 2
        with pytest.raises(InvalidArgumentError, match="filters"):
            retriever.invoke(QUERY, filters={})

    async def test_any_runnable(self, notices: list[Document], reranker: KoCrossEncoderReranker) -> None:
        chain = RunnableLambda(lambda query: [document for document in notices if query[:2] in document.page_content])
        retriever = KoRerankRetriever(base_retriever=chain, reranker=reranker)
        assert [document.id for document in retriever.invoke(QUERY)] == ["문서-0"]
        assert [document.id for document in await retriever.ainvoke(QUERY)] == ["문서-0"]

    def test_an_ensemble(self, base: KoColBERTRetriever, reranker: KoCrossEncoderReranker) -> None:
        ensemble = EnsembleRetriever(
            retrievers=[base.model_copy(update={"k": 5}), base.model_copy(update={"k": 3})], weights=[0.5, 0.5]
        )
        found = KoRerankRetriever(base_retriever=ensemble, reranker=reranker, k=5).invoke(QUERY)
        assert {document.id for document in found} == {document.id for document in base.invoke(QUERY, k=5)}
        inside = EnsembleRetriever(retrievers=[KoRerankRetriever(base_retriever=base, reranker=reranker), base])
        assert inside.invoke(QUERY)

    def test_one_in_another(self, retriever: KoRerankRetriever, colbert: LateInteractionEncoder) -> None:
        outer = KoRerankRetriever(base_retriever=retriever, reranker=KoColBERTReranker(model=colbert), fetch_k=5, k=2)
        assert len(outer.invoke(QUERY)) == 2
        found = outer.invoke(QUERY, filter={"주제": "규정"}, score_key="점수")
        assert [document.metadata.keys() for document in found] == [{"주제", "표", "점수"}] * 2

    async def test_a_compressor_that_writes_to_what_it_is_given(self, notices: list[Document]) -> None:
        given = copy.deepcopy(notices)
        retriever = KoRerankRetriever(base_retriever=Fixed(documents=given), reranker=Reversing(), fetch_k=4, k=2)
        found = retriever.invoke(QUERY)
        assert [document.id for document in found] == ["문서-3", "문서-2"]
        assert found[0].metadata["본 적"]
        assert given == notices
        assert await retriever.ainvoke(QUERY) == found

    def test_a_base_that_returns_something_else(self, reranker: KoCrossEncoderReranker) -> None:
        wrong: Any = RunnableLambda(lambda query: ["문자열"])
        with pytest.raises(InvalidTextError, match=r"documents\[0\]"):
            KoRerankRetriever(base_retriever=wrong, reranker=reranker).invoke(QUERY)


class Recorder(BaseCallbackHandler):
    """Runs as (name, name of the parent), and their ends."""

    def __init__(self) -> None:
        self.names: dict[Any, str] = {}
        self.runs: list[tuple[str, str | None]] = []
        self.ends: list[str] = []

    def _start(self, kwargs: dict[str, Any]) -> None:
        self.names[kwargs["run_id"]] = kwargs["name"]
        self.runs.append((kwargs["name"], self.names.get(kwargs["parent_run_id"])))

    def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
        self._start(kwargs)

    def on_chain_start(self, serialized: Any, inputs: Any, **kwargs: Any) -> None:
        self._start(kwargs)

    def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
        self.ends.append(self.names[kwargs["run_id"]])

    def on_chain_end(self, outputs: Any, **kwargs: Any) -> None:
        self.ends.append(self.names[kwargs["run_id"]])

    def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
        self.ends.append(f"{self.names[kwargs['run_id']]}: {type(error).__name__}")

    on_chain_error = on_retriever_error


class TestTraces:
    async def test_the_parts_are_children(self, retriever: KoRerankRetriever) -> None:
        for call in (retriever.invoke, retriever.ainvoke):
            recorder = Recorder()
            result: Any = call(QUERY, {"callbacks": [recorder]})
            if asyncio.iscoroutine(result):
                await result
            assert recorder.runs == [
                ("KoRerankRetriever", None),
                ("KoColBERTRetriever", "KoRerankRetriever"),
                ("KoCrossEncoderReranker", "KoRerankRetriever"),
            ]
            assert recorder.ends == ["KoColBERTRetriever", "KoCrossEncoderReranker", "KoRerankRetriever"]

    async def test_a_failure_is_reported_where_it_was(
        self, notices: list[Document], reranker: KoCrossEncoderReranker
    ) -> None:
        broken = Fixed(documents=[*notices[:1], Document(page_content="\udc00")])
        recorder = Recorder()
        with pytest.raises(InvalidTextError):
            KoRerankRetriever(base_retriever=broken, reranker=reranker).invoke(QUERY, {"callbacks": [recorder]})
        assert recorder.ends == [
            "Fixed",
            "KoCrossEncoderReranker: InvalidTextError",
            "KoRerankRetriever: InvalidTextError",
        ]

    async def test_astream_events(self, retriever: KoRerankRetriever) -> None:
        prompt = ChatPromptTemplate.from_template("{문서}\n질문: {질문}")
        chain = (
            {"문서": retriever, "질문": RunnablePassthrough()}
            | prompt
            | FakeListChatModel(responses=["30일 안에."])
            | StrOutputParser()
        )
        expected = retriever.invoke(QUERY)
        events = [event async for event in chain.astream_events(QUERY, version="v2")]
        seen = {(event["event"], event["name"]): event["data"] for event in events}
        assert seen["on_retriever_end", "KoRerankRetriever"]["output"] == expected
        assert len(seen["on_retriever_end", "KoColBERTRetriever"]["output"]) == 6
        reranked = seen["on_chain_end", "KoCrossEncoderReranker"]
        assert reranked["output"] == expected
        assert reranked["input"]["query"] == QUERY
        assert len(reranked["input"]["documents"]) == 6

    async def test_callbacks_reach_a_compressor_that_uses_them(self, notices: list[Document]) -> None:
        class Calling(Reversing):
            def compress_documents(
                self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
            ) -> Sequence[Document]:
                RunnableLambda(lambda text: text, name="안쪽").invoke(query, {"callbacks": callbacks})
                return documents

        recorder = Recorder()
        retriever = KoRerankRetriever(base_retriever=Fixed(documents=notices), reranker=Calling())
        retriever.invoke(QUERY, {"callbacks": [recorder]})
        assert ("안쪽", "Calling") in recorder.runs


class TestPlace:
    @pytest.mark.slow
    async def test_64_at_once(self, base: KoColBERTRetriever, colbert: LateInteractionEncoder) -> None:
        retriever = KoRerankRetriever(base_retriever=base, reranker=KoColBERTReranker(model=colbert), fetch_k=6, k=2)
        queries = [f"{topic} 안내 {number % 3}" for number, topic in enumerate(TOPICS * 8)]
        expected = [retriever.invoke(query) for query in queries]
        assert list(await asyncio.gather(*(retriever.ainvoke(query) for query in queries))) == expected

    async def test_a_cancelled_call_leaves_nothing_broken(self, retriever: KoRerankRetriever) -> None:
        expected = retriever.invoke(QUERY)
        calls = [asyncio.ensure_future(retriever.ainvoke(QUERY)) for _ in range(6)]
        await asyncio.sleep(0.01)
        for call in calls[:3]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results[3:] == [expected] * 3
        assert await retriever.ainvoke(QUERY) == expected

    def test_pickle_and_deepcopy(self, retriever: KoRerankRetriever, notices: list[Document]) -> None:
        expected = retriever.invoke(QUERY)
        copied = copy.deepcopy(retriever)
        assert copied.invoke(QUERY) == expected
        assert copied.reranker.model is retriever.reranker.model  # type: ignore[attr-defined]
        fixed = KoRerankRetriever(base_retriever=Fixed(documents=notices), reranker=retriever.reranker)
        again = pickle.loads(pickle.dumps(fixed))  # noqa: S301
        assert again.invoke(QUERY) == fixed.invoke(QUERY)

    async def test_with_config_and_configurable_fields_load_nothing(
        self, retriever: KoRerankRetriever, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = retriever.invoke(QUERY, k=1)
        monkeypatch.setattr(CrossEncoderReranker, "__init__", None)
        monkeypatch.setattr(LateInteractionEncoder, "__init__", None)
        configurable = retriever.configurable_fields(
            k=ConfigurableField(id="k"), fetch_k=ConfigurableField(id="fetch_k")
        )
        chosen = configurable.with_config(configurable={"k": 1, "fetch_k": 6})
        assert chosen.invoke(QUERY) == expected
        assert await chosen.ainvoke(QUERY) == expected
        assert len(configurable.invoke(QUERY)) == 3
        recorder = Recorder()
        retriever.with_config(run_name="찾기", callbacks=[recorder]).invoke(QUERY)
        assert recorder.runs[0] == ("찾기", None)
        assert recorder.runs[1] == ("KoColBERTRetriever", "찾기")

    def test_repr_holds_no_documents(self, retriever: KoRerankRetriever) -> None:
        assert repr(retriever) == (
            f"KoRerankRetriever(base_retriever={retriever.base_retriever!r}, reranker={retriever.reranker!r}, "
            "fetch_k=6, k=3)"
        )
        assert len(repr(retriever)) < 250

    async def test_a_tool(self, retriever: KoRerankRetriever) -> None:
        tool = create_retriever_tool(retriever, "찾기", "규정을 찾는다", response_format="content_and_artifact")
        call = {"name": "찾기", "args": {"query": QUERY}, "id": "1", "type": "tool_call"}
        assert tool.invoke(call).artifact == retriever.invoke(QUERY)
        assert (await tool.ainvoke(call)).artifact == retriever.invoke(QUERY)

    def test_scores_are_floats_that_json_takes(self, retriever: KoRerankRetriever) -> None:
        assert not any(isinstance(v, np.generic) for d in retriever.invoke(QUERY) for v in d.metadata.values())
