"""Tests of every retriever: LangChain's suite, keywords, results, sharing, threads."""

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from event_loop import assert_loop_stays_free
from langchain_core.documents import Document
from langchain_core.load import dumpd
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField
from langchain_tests.integration_tests import RetrieversIntegrationTests
from retriever_kinds import QUERY, WIDE, Kind, ids, kind_of

from korag import Collection, LateInteractionEncoder, SparseEncoder
from korag.collection.local import collection as local
from korag.errors import IndexStateError, KoragError
from langchain_korag import KoHybridRetriever
from langchain_korag.collection_retriever import CollectionRetriever


class Standard(RetrieversIntegrationTests):
    """LangChain's suite for retrievers; each subclass runs the whole of it."""

    name: str

    @pytest.fixture(autouse=True)
    def _index(self, papers: list[Document], colbert: LateInteractionEncoder, splade: SparseEncoder) -> None:
        self.kind = kind_of(self.name, colbert, splade)
        self.collection = self.kind.make(papers).collection

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return self.kind.cls

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"collection": self.collection}

    @property
    def retriever_query_example(self) -> str:
        return WIDE


class TestStandardColBERT(Standard):
    name = "colbert"


class TestStandardSplade(Standard):
    name = "splade"


class TestStandardBM25(Standard):
    name = "bm25"


class TestStandardHybrid(Standard):
    name = "hybrid"


async def every_way(retriever: CollectionRetriever, query: str, **keywords: Any) -> list[Document]:
    """Returns the results of a query, and asserts that every way to call the retriever gives the same."""
    expected = retriever.invoke(query, **keywords)
    assert await retriever.ainvoke(query, **keywords) == expected
    assert retriever.batch([query, query], {"max_concurrency": 2}, **keywords) == [expected] * 2
    assert await retriever.abatch([query, query], {"max_concurrency": 1}, **keywords) == [expected] * 2
    assert list(retriever.stream(query, **keywords)) == [expected]
    assert [chunk async for chunk in retriever.astream(query, **keywords)] == [expected]
    assert retriever.bind(**keywords).invoke(query) == expected
    events = [event async for event in retriever.astream_events(query, version="v2", **keywords)]
    (end,) = [event for event in events if event["event"] == "on_retriever_end"]
    assert end["data"]["output"] == expected
    pairs = retriever.similarity_search_with_score(query, **keywords)
    assert await retriever.asimilarity_search_with_score(query, **keywords) == pairs
    assert [document for document, _ in pairs] == expected
    scored = retriever.invoke(query, **keywords, score_key="score")
    assert [(document.id, score) for document, score in pairs] == [(d.id, d.metadata["score"]) for d in scored]
    return expected


class TestKeywords:
    @pytest.mark.slow
    async def test_k_and_filter(self, read_only_retriever: CollectionRetriever) -> None:
        found = await every_way(read_only_retriever, WIDE, k=2, filter={"쪽.처음": {"$gte": 4}})
        assert len(found) == 2
        assert all(document.metadata["쪽"]["처음"] >= 4 for document in found)
        assert await every_way(read_only_retriever, WIDE, k=0) == []

    @pytest.mark.slow
    async def test_score_threshold(self, read_only_retriever: CollectionRetriever) -> None:
        _, hits = read_only_retriever._search(WIDE, {"k": 8})
        limit = hits[1].relevance
        kept = [hit.id for hit in hits if hit.relevance >= limit]
        assert 0 < len(kept) < len(hits)
        assert ids(await every_way(read_only_retriever, WIDE, k=8, score_threshold=limit)) == kept
        strict = read_only_retriever.model_copy(update={"score_threshold": limit, "k": 8})
        assert ids(strict.invoke(WIDE)) == kept
        assert ids(strict.invoke(WIDE, score_threshold=0)) == [hit.id for hit in hits]
        assert ids(strict.invoke(WIDE, score_threshold=None)) == kept

    @pytest.mark.slow
    async def test_exact(
        self, read_only_retriever: CollectionRetriever, kind: Kind, papers: list[Document], search_calls: list[bool]
    ) -> None:
        expected = read_only_retriever.invoke(WIDE)
        assert (len(expected), search_calls) == (3, [True])
        search_calls.clear()
        assert await every_way(read_only_retriever, WIDE, exact=False) == expected  # so few are all looked at
        assert search_calls
        assert not any(search_calls)
        pruning = kind.make(papers, k=3, exact=False)
        search_calls.clear()
        for keywords in ({}, {"exact": True}, {"exact": None}):
            assert pruning.invoke(WIDE, **keywords) == expected
        assert search_calls == [False, True, False]

    @pytest.mark.slow
    def test_fields_do_what_keywords_do(self, read_only_retriever: CollectionRetriever) -> None:
        keywords: dict[str, Any] = {"k": 2, "filter": {"주제": {"$ne": "주거"}}, "score_threshold": 0.01}
        keywords["exact"] = False
        retriever = type(read_only_retriever)(collection=read_only_retriever.collection, **keywords)
        assert retriever.invoke(WIDE) == read_only_retriever.invoke(WIDE, **keywords)
        assert ids(retriever.invoke(WIDE, filter={}, k=1)) == ids(read_only_retriever.invoke(WIDE, k=1))
        for name, value in keywords.items():
            setattr(retriever, name, value)
            assert getattr(retriever, name) == value

    @pytest.mark.slow
    @pytest.mark.parametrize("key", ["score", "점수", "주제", None])
    def test_score_key(self, read_only_retriever: CollectionRetriever, papers: list[Document], key: str | None) -> None:
        (found,) = read_only_retriever.model_copy(update={"score_key": key}).invoke(QUERY, k=1)
        ((plain, score),) = read_only_retriever.similarity_search_with_score(QUERY, k=1)
        assert plain == papers[0]
        assert found.metadata == {**papers[0].metadata, **({} if key is None else {key: score})}

    async def test_of_the_hybrid_retriever(self, colbert: LateInteractionEncoder, papers: list[Document]) -> None:
        retriever = KoHybridRetriever.from_documents(papers, models=[colbert], k=8)
        for keywords in (
            {"weights": {"bm25": 3.0}, "k": 4},
            {"weights": [0.5, 2], "fusion": "weighted"},
            {"fusion": "weighted", "k": 3},
            {"fetch_k": 8, "k": 2},
        ):
            expected = await every_way(retriever, WIDE, **keywords)
            assert retriever.model_copy().invoke(WIDE, **keywords) == expected
            assert KoHybridRetriever(collection=retriever.collection, **{"k": 8, **keywords}).invoke(WIDE) == expected
        words = Collection.search(retriever.collection, WIDE, k=8, using="bm25")
        assert ids(retriever.invoke(WIDE, weights={"colbert": 0})) == [hit.id for hit in words]
        assert (retriever.fusion, ids(retriever.invoke(WIDE))) == (
            "auto", [hit.id for hit in retriever.collection.search(WIDE, k=8)],
        )  # fmt: skip
        # By rank, a leg of weight 0 says nothing of the order: BM25's own first, then what it did not find, scored 0.
        found = retriever.invoke(WIDE, weights={"colbert": 0}, fusion="rrf", score_key="score")
        assert ids(found)[: len(words)] == [hit.id for hit in words]
        assert [document.metadata["score"] for document in found[len(words) :]] == [0.0] * (8 - len(words))
        ranks, scores = (
            [document.metadata["score"] for document in retriever.invoke(WIDE, fusion=fusion, score_key="score")]
            for fusion in ("rrf", "weighted")
        )
        assert 1 / 61 < max(ranks) <= 2 / 61 < 1 <= max(scores) <= 2

    def test_fetch_k_bounds_each_legs_candidates(self, colbert: LateInteractionEncoder, papers: list[Document]) -> None:
        retriever = KoHybridRetriever.from_documents(papers, models=[colbert], fetch_k=1)
        best = {retriever.collection.search(WIDE, k=1, using=leg)[0].id for leg in ("colbert", "bm25")}
        assert set(ids(retriever.invoke(WIDE, k=1))) <= best
        assert len(retriever.invoke(WIDE, k=8)) == 8  # never fewer candidates than results


class TestResults:
    def test_the_right_document_comes_first(
        self, read_only_retriever: CollectionRetriever, papers: list[Document]
    ) -> None:
        found = read_only_retriever.invoke(QUERY, score_key="score")
        assert (found[0].id, found[0].page_content) == (papers[0].id, papers[0].page_content)
        scores = [document.metadata["score"] for document in found]
        assert all(type(score) is float for score in scores)
        assert scores == sorted(scores, reverse=True)

    @pytest.mark.slow
    def test_results_are_ones_own(self, read_only_retriever: CollectionRetriever) -> None:
        before = read_only_retriever.invoke(QUERY)
        changed = read_only_retriever.invoke(QUERY)[0]
        changed.metadata["쪽"]["태그"].append("바꿈")
        changed.page_content = "바꿈"
        assert read_only_retriever.invoke(QUERY) == before

    @pytest.mark.slow
    def test_arguments_are_not_changed(self, kind: Kind, papers: list[Document]) -> None:
        given, metadatas = copy.deepcopy(papers), [copy.deepcopy(paper.metadata) for paper in papers]
        filter_: dict[str, Any] = {"$or": [{"주제": "규정"}, {"쪽.처음": {"$in": [0, 1]}}]}
        frozen = copy.deepcopy(filter_)
        retriever = kind.make(given, filter=filter_)
        retriever.add_documents(given[:2])
        retriever.invoke(WIDE, filter=filter_)
        kind.make_of_texts([paper.page_content for paper in given], metadatas)
        assert given == papers
        assert metadatas == [paper.metadata for paper in papers]
        assert filter_ == frozen

    def test_weights_given_are_not_changed(self, colbert: LateInteractionEncoder, papers: list[Document]) -> None:
        weights = {"bm25": 2}
        retriever = KoHybridRetriever.from_documents(papers, models=[colbert], weights=weights)
        retriever.invoke(QUERY, weights=weights)
        assert weights == {"bm25": 2}
        assert type(weights["bm25"]) is int


class TestSharing:
    @pytest.mark.slow
    def test_configurable_fields_neither_load_nor_index(
        self, read_only_retriever: CollectionRetriever, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configurable = read_only_retriever.configurable_fields(
            k=ConfigurableField(id="k"),
            filter=ConfigurableField(id="filter"),
            score_key=ConfigurableField(id="key"),
            exact=ConfigurableField(id="exact"),
        )
        monkeypatch.setattr(local, "Database", lambda *_, **__: pytest.fail("opened again"))
        monkeypatch.setattr(Collection, "add", lambda *_, **__: pytest.fail("indexed again"))
        for encoder in read_only_retriever.collection.encoders.values():
            monkeypatch.setattr(type(encoder), "_load", lambda *_, **__: pytest.fail("loaded again"))
        config: Any = {"configurable": {"k": 1, "filter": {"주제": "규정"}, "key": "점수", "exact": False}}
        prepared, _ = configurable.prepare(config)  # type: ignore[attr-defined]
        assert prepared.collection is read_only_retriever.collection
        assert (prepared.exact, read_only_retriever.exact) == (False, True)
        assert type(prepared) is type(read_only_retriever)
        (found,) = configurable.invoke("규정", config)
        assert found.metadata.keys() == {"주제", "쪽", "점수"}
        assert configurable.with_config(config).invoke("규정") == [found]
        assert len(configurable.invoke(WIDE)) == read_only_retriever.k
        for wrong in ({"k": -1}, {"k": "3"}, {"filter": {"주제": {"$like": "x"}}}, {"exact": 0}):
            with pytest.raises(KoragError, match=next(iter(wrong))):
                configurable.invoke(QUERY, {"configurable": wrong})

    def test_configurable_weights(self, colbert: LateInteractionEncoder, papers: list[Document]) -> None:
        retriever = KoHybridRetriever.from_documents(papers, models=[colbert])
        configurable = retriever.configurable_fields(
            weights=ConfigurableField(id="weights"), fusion=ConfigurableField(id="fusion")
        )
        config: Any = {"configurable": {"weights": [1, 3], "fusion": "weighted"}}
        expected = retriever.invoke(WIDE, weights=[1, 3], fusion="weighted")
        assert configurable.invoke(WIDE, config) == expected
        assert configurable.invoke(WIDE) == retriever.invoke(WIDE)

    async def test_with_config(self, read_only_retriever: CollectionRetriever) -> None:
        named = read_only_retriever.with_config(tags=["법률"], run_name="찾기")
        assert named.bound is read_only_retriever  # type: ignore[attr-defined]
        events = [event async for event in named.astream_events(QUERY, version="v2")]
        (start,) = [event for event in events if event["event"] == "on_retriever_start"]
        assert (start["name"], start["tags"]) == ("찾기", ["법률"])

    @pytest.mark.slow
    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))])  # noqa: S301
    def test_deepcopy_and_pickle(
        self, writable_retriever: CollectionRetriever, duplicate: Callable[[Any], Any]
    ) -> None:
        given = writable_retriever.model_copy(update={"k": 2, "score_threshold": 0.01})
        expected = given.invoke(WIDE)
        copied = duplicate(given)
        assert type(copied) is type(given)
        assert (copied.k, copied.score_threshold) == (2, 0.01)
        assert ids(copied.invoke(WIDE)) == ids(expected)
        copied.delete(filter={})
        assert copied.invoke(WIDE) == []
        assert given.invoke(WIDE) == expected

    @pytest.mark.slow
    def test_pickle_of_a_folder_is_its_path(self, kind: Kind, papers: list[Document], tmp_path: Any) -> None:
        retriever = kind.make(papers, path=tmp_path / "law")
        pickled = pickle.dumps(retriever)
        assert len(pickled) < 10_000
        assert ids(pickle.loads(pickled).invoke(WIDE)) == ids(retriever.invoke(WIDE))  # noqa: S301

    def test_repr_and_serialised_form(self, read_only_retriever: CollectionRetriever) -> None:
        legs = list(read_only_retriever.collection.legs)
        assert repr(read_only_retriever) == f"{type(read_only_retriever).__name__}(legs={legs}, k=3)"
        dumped = json.dumps(dumpd(read_only_retriever), ensure_ascii=False) + read_only_retriever.model_dump_json()
        assert "보증금" not in dumped
        assert len(dumped) < 1_000

    def test_schemas(self, read_only_retriever: CollectionRetriever) -> None:
        fields = type(read_only_retriever).model_json_schema()["properties"]
        assert {"k", "filter", "score_threshold", "score_key", "exact"} <= set(fields)
        assert "collection" not in fields
        assert (fields["k"]["minimum"], fields["k"]["default"]) == (0, 4)
        assert read_only_retriever.get_input_schema().model_json_schema()["type"] == "string"
        assert read_only_retriever.get_output_schema().model_json_schema()["type"] == "array"

    def test_tracer_params(self, read_only_retriever: CollectionRetriever) -> None:
        names = {
            "KoColBERTRetriever": ("kocolbert", "mini-colbert"),
            "KoSpladeRetriever": ("kosplade", "mini-splade"),
            "KoBM25Retriever": ("kobm25", None),
            "KoHybridRetriever": ("kohybrid", "mini-colbert, mini-splade"),
        }
        name, model = names[type(read_only_retriever).__name__]
        expected = {"ls_retriever_name": name, "ls_vector_store_provider": "KoRAG"}
        if model:
            expected |= {"ls_embedding_provider": "KoRAG", "ls_embedding_model": model}
        assert read_only_retriever._get_ls_params() == expected


class TestAsync:
    @pytest.mark.slow
    async def test_64_at_once_equal_one_by_one(
        self, read_only_retriever: CollectionRetriever, documents: list[str]
    ) -> None:
        queries = [f"{text[: 5 + index % 9]} {index % 16}" for index, text in enumerate(documents * 8)]
        expected = [read_only_retriever.invoke(query) for query in queries]
        assert len(queries) == 64
        assert len({tuple(ids(found)) for found in expected}) > 4
        assert await asyncio.gather(*map(read_only_retriever.ainvoke, queries)) == expected
        assert await read_only_retriever.abatch(queries[:16], {"max_concurrency": 5}) == expected[:16]
        assert read_only_retriever.batch(queries[:16], {"max_concurrency": 8}) == expected[:16]

    @pytest.mark.parametrize(
        ("method", "call"),
        [
            ("search", lambda retriever: retriever.ainvoke(QUERY)),
            ("search", lambda retriever: retriever.asimilarity_search_with_score(QUERY)),
            ("add", lambda retriever: retriever.aadd_documents([Document(page_content="새 글")])),
            ("delete", lambda retriever: retriever.adelete(["문서-0"])),
        ],
    )
    async def test_the_event_loop_is_not_blocked(
        self, writable_retriever: CollectionRetriever, monkeypatch: pytest.MonkeyPatch, method: str, call: Any
    ) -> None:
        await assert_loop_stays_free(monkeypatch, Collection, method, lambda: call(writable_retriever))

    async def test_a_cancelled_search_leaves_nothing_broken(
        self, read_only_retriever: CollectionRetriever, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = read_only_retriever.invoke(QUERY)
        with monkeypatch.context() as patch:
            ended = await cancelled(patch, "search", lambda: read_only_retriever.ainvoke(QUERY))
        assert await asyncio.to_thread(ended.wait, 20)
        assert await read_only_retriever.ainvoke(QUERY) == expected

    async def test_a_cancelled_addition_is_whole(
        self, writable_retriever: CollectionRetriever, papers: list[Document], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            ended = await cancelled(patch, "add", lambda: writable_retriever.aadd_documents(papers[4:]))
        assert await asyncio.to_thread(ended.wait, 20)
        assert len(writable_retriever.collection) == 8  # a thread cannot be stopped halfway
        await writable_retriever.aadd_documents(papers[4:])
        assert len(writable_retriever.collection) == 8


async def cancelled(patch: pytest.MonkeyPatch, method: str, call: Callable[[], Any]) -> threading.Event:
    """Cancels a call inside ``Collection.method``; returns an event that is set when the thread is done."""
    original = getattr(Collection, method)
    inside, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def waiting(*args: Any, **kwargs: Any) -> Any:
        inside.set()
        assert gate.wait(20)
        try:
            return original(*args, **kwargs)
        finally:
            ended.set()

    patch.setattr(Collection, method, waiting)
    task = asyncio.ensure_future(call())
    assert await asyncio.to_thread(inside.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    return ended


def test_a_collection_without_the_leg_is_refused(kind: Kind, documents: list[str]) -> None:
    with Collection.in_memory(bm25=True) as words:
        if kind.cls.__name__ == "KoBM25Retriever":
            words.add(documents)
            assert kind.cls(collection=words).invoke(QUERY)
            return
        with pytest.raises(IndexStateError, match="leg") as raised:
            kind.cls(collection=words)
        assert kind.cls.__name__ in str(raised.value) or "models" in str(raised.value)
