"""KoColBERTRetriever: LangChain's own suite, and use in chains, servers and tracers."""

import asyncio
import copy
import json
import pickle
import unicodedata
from typing import Any

import pytest
from event_loop import assert_loop_stays_free
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.language_models import FakeListChatModel
from langchain_core.load import dumpd
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, RunnableLambda, RunnablePassthrough
from langchain_core.tools import create_retriever_tool
from langchain_tests.integration_tests import RetrieversIntegrationTests

from korag import Collection, LateInteractionEncoder, load_encoder
from korag.collection.local import collection as local
from korag.errors import (
    FilterError,
    FingerprintError,
    ForeignFolderError,
    IndexStateError,
    InvalidArgumentError,
    InvalidTextError,
    KoragError,
    WrongFamilyError,
)
from langchain_korag import KoColBERTRetriever

QUERY = "보증금은 언제 돌려받나요?"
TOPICS = ["주거", "생활", "음식", "쇼핑", "회사", "규정", "규정", "기술"]


@pytest.fixture(scope="module")
def notices(documents: list[str]) -> list[Document]:
    """Documents with ids and nested metadata; no test may change them."""
    return [
        Document(
            id=f"문서-{index}", page_content=text, metadata={"주제": topic, "쪽": {"처음": index, "태그": [topic]}}
        )
        for index, (text, topic) in enumerate(zip(documents, TOPICS, strict=True))
    ]


@pytest.fixture(scope="module")
def shared(notices: list[Document], colbert: LateInteractionEncoder) -> KoColBERTRetriever:
    """One index for the tests that only read."""
    return KoColBERTRetriever.from_documents(notices, model=colbert, k=3)


@pytest.fixture
def fresh(notices: list[Document], colbert: LateInteractionEncoder) -> KoColBERTRetriever:
    """A writable index."""
    return KoColBERTRetriever.from_documents(notices[:4], model=colbert)


class TestStandard(RetrieversIntegrationTests):
    """LangChain's suite for retrievers: constructed with keywords only."""

    @pytest.fixture(autouse=True)
    def _index(self, shared: KoColBERTRetriever) -> None:
        self.collection = shared.collection

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return KoColBERTRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"collection": self.collection}

    @property
    def retriever_query_example(self) -> str:
        return QUERY


class TestResults:
    def test_the_right_document_comes_first_with_id_metadata_and_score(
        self, shared: KoColBERTRetriever, notices: list[Document]
    ) -> None:
        found = shared.invoke(QUERY, score_key="score")
        assert [type(document) for document in found] == [Document] * 3
        assert (found[0].id, found[0].page_content) == (notices[0].id, notices[0].page_content)
        assert found[0].metadata == {**notices[0].metadata, "score": found[0].metadata["score"]}
        scores = [document.metadata["score"] for document in found]
        assert all(type(score) is float for score in scores)
        assert scores == sorted(scores, reverse=True)

    def test_scores_are_those_of_the_collection(self, shared: KoColBERTRetriever) -> None:
        hits = shared.collection.search(QUERY, k=3, using="colbert")
        assert [(d.id, d.metadata["score"]) for d in shared.invoke(QUERY, score_key="score")] == [
            (hit.id, hit.score) for hit in hits
        ]

    @pytest.mark.parametrize("key", [None, "점수"])
    def test_score_key(self, shared: KoColBERTRetriever, notices: list[Document], key: str | None) -> None:
        (found,) = shared.model_copy(update={"score_key": key}).invoke(QUERY, k=1)
        assert set(found.metadata) - set(notices[0].metadata) == (set() if key is None else {key})
        if key is None:
            assert found == notices[0]

    def test_documents_are_not_mutated_and_results_are_ones_own(
        self, documents: list[str], colbert: LateInteractionEncoder
    ) -> None:
        given = [Document(id=str(i), page_content=text, metadata={"a": [i]}) for i, text in enumerate(documents)]
        before = copy.deepcopy(given)
        retriever = KoColBERTRetriever.from_documents(given, model=colbert)
        found = retriever.invoke(QUERY)
        found[0].metadata["a"].append("바꿈")
        found[0].page_content = "바꿈"
        assert given == before
        assert retriever.invoke(QUERY)[0].metadata["a"] == before[0].metadata["a"]

    def test_later_changes_of_the_callers_documents_do_not_reach_the_index(
        self, colbert: LateInteractionEncoder
    ) -> None:
        given = Document(page_content="보증금 반환", metadata={"표": {"쪽": 1}})
        retriever = KoColBERTRetriever.from_documents([given], model=colbert)
        given.metadata["표"]["쪽"] = 2
        assert retriever.invoke("보증금")[0].metadata["표"] == {"쪽": 1}

    def test_a_decomposed_query_finds_the_same(self, shared: KoColBERTRetriever) -> None:
        decomposed = unicodedata.normalize("NFD", QUERY)
        assert decomposed != QUERY
        assert shared.invoke(decomposed) == shared.invoke(QUERY)

    def test_a_decomposed_document_is_found_and_returned_as_it_was_given(
        self, colbert: LateInteractionEncoder, documents: list[str]
    ) -> None:
        text = unicodedata.normalize("NFD", documents[0])
        retriever = KoColBERTRetriever.from_texts([text, *documents[1:]], model=colbert, k=1)
        assert retriever.invoke(QUERY)[0].page_content == text

    @pytest.mark.parametrize("query", ["", "  \n", "\u200b"])
    def test_an_empty_query_finds_nothing(self, shared: KoColBERTRetriever, query: str) -> None:
        assert shared.invoke(query) == []

    def test_an_empty_index_finds_nothing(self, colbert: LateInteractionEncoder) -> None:
        assert KoColBERTRetriever.from_documents([], model=colbert).invoke(QUERY) == []

    @pytest.mark.parametrize("query", [None, 3, ["보증금"], b"x"])
    async def test_a_query_that_is_not_a_string_is_an_error(self, shared: KoColBERTRetriever, query: Any) -> None:
        with pytest.raises(InvalidTextError, match="query"):
            shared.invoke(query)
        with pytest.raises(InvalidTextError, match="query"):
            await shared.ainvoke(query)

    def test_equal_scores_keep_insertion_order(self, colbert: LateInteractionEncoder) -> None:
        retriever = KoColBERTRetriever.from_texts(["보증금 반환"] * 6, ids=list("사과나무숲속"), model=colbert, k=6)
        assert [document.id for document in retriever.invoke("보증금")] == list("사과나무숲속")


class TestKeywords:
    """All ways to call the retriever accept the same arguments as `invoke`, and no others."""

    async def test_k_and_filter_every_way(self, shared: KoColBERTRetriever) -> None:
        keywords: dict[str, Any] = {"k": 2, "filter": {"주제": "규정"}}
        expected = shared.invoke(QUERY, **keywords)
        assert [document.metadata["주제"] for document in expected] == ["규정", "규정"]
        assert await shared.ainvoke(QUERY, **keywords) == expected
        assert shared.batch([QUERY, QUERY], **keywords) == [expected] * 2
        assert await shared.abatch([QUERY, QUERY], {"max_concurrency": 1}, **keywords) == [expected] * 2
        assert list(shared.stream(QUERY, **keywords)) == [expected]
        assert [chunk async for chunk in shared.astream(QUERY, **keywords)] == [expected]
        assert shared.bind(**keywords).invoke(QUERY) == expected
        events = [event async for event in shared.astream_events(QUERY, version="v2", **keywords)]
        (end,) = [event for event in events if event["event"] == "on_retriever_end"]
        assert end["data"]["output"] == expected

    async def test_k_zero_and_k_beyond_the_corpus(self, shared: KoColBERTRetriever) -> None:
        assert shared.invoke(QUERY, k=0) == []
        assert len(shared.invoke(QUERY, k=10_000)) == len(TOPICS)

    @pytest.mark.parametrize("k", [-1, 2.5, "3", True])
    async def test_a_wrong_k_at_invoke(self, shared: KoColBERTRetriever, k: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="k="):
            shared.invoke(QUERY, k=k)
        with pytest.raises(InvalidArgumentError, match="k="):
            await shared.ainvoke(QUERY, k=k)

    async def test_a_misspelt_keyword_at_invoke(self, shared: KoColBERTRetriever) -> None:
        with pytest.raises(InvalidArgumentError, match="topk"):
            shared.invoke(QUERY, topk=3)
        with pytest.raises(InvalidArgumentError, match="topk"):
            await shared.ainvoke(QUERY, topk=3)
        with pytest.raises(InvalidArgumentError, match="filters"):
            shared.batch([QUERY], filters={})

    def test_a_wrong_field_costs_no_indexing(
        self, notices: list[Document], colbert: LateInteractionEncoder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(LateInteractionEncoder, "encode_documents", lambda *_, **__: pytest.fail("encoded"))
        for wrong in ({"top_k": 3}, {"k": -1}, {"filter": {"쪽": {"$gtt": 1}}}):
            with pytest.raises(KoragError, match=next(iter(wrong))):
                KoColBERTRetriever.from_documents(notices, model=colbert, **wrong)

    def test_a_misspelt_keyword_at_construction(self, shared: KoColBERTRetriever) -> None:
        with pytest.raises(InvalidArgumentError, match="scorekey"):
            KoColBERTRetriever(collection=shared.collection, scorekey="x")  # type: ignore[call-arg]

    def test_assignment_is_checked_too(self, shared: KoColBERTRetriever) -> None:
        retriever = shared.model_copy()
        retriever.k = 1
        assert len(retriever.invoke(QUERY)) == 1
        assert shared.k == 3
        with pytest.raises(InvalidArgumentError):
            retriever.k = -1
        with pytest.raises(ValueError, match="top_k"):
            retriever.top_k = 3  # type: ignore[attr-defined]

    def test_filter_field_and_what_replaces_it(self, shared: KoColBERTRetriever) -> None:
        retriever = KoColBERTRetriever(collection=shared.collection, k=8, filter={"쪽.처음": {"$gte": 2}})
        assert {document.metadata["쪽"]["처음"] for document in retriever.invoke(QUERY)} == set(range(2, 8))
        assert [d.metadata["주제"] for d in retriever.invoke(QUERY, filter={"주제": "주거"})] == ["주거"]
        assert len(retriever.invoke(QUERY, filter={})) == 8
        assert len(retriever.invoke(QUERY, filter=None)) == 6

    def test_filter_comes_before_the_k_best(self, shared: KoColBERTRetriever) -> None:
        last = shared.invoke(QUERY, k=8)[-1]
        (found,) = shared.invoke(QUERY, k=1, filter={"쪽.처음": last.metadata["쪽"]["처음"]})
        assert found == last

    async def test_a_wrong_filter_at_invoke(self, shared: KoColBERTRetriever) -> None:
        with pytest.raises(FilterError):
            shared.invoke(QUERY, filter={"주제": {"$like": "규"}})
        with pytest.raises(FilterError):
            await shared.ainvoke(QUERY, filter={"주제": {"$like": "규"}})


class TestChain:
    """Korean documents → retriever → prompt → model."""

    @pytest.fixture
    def chain(self, shared: KoColBERTRetriever) -> Any:
        prompt = ChatPromptTemplate.from_template("다음 글만 보고 답하세요.\n{context}\n질문: {question}")
        model = FakeListChatModel(responses=["계약이 끝나면 돌려받습니다."])
        context = shared | (lambda found: "\n".join(document.page_content for document in found))
        # Keeps the prompt with the answer, so that the test can check it.
        answer = RunnablePassthrough.assign(answer=RunnableLambda(lambda x: x["prompt"]) | model | StrOutputParser())
        return (
            {"context": context, "question": RunnablePassthrough()}
            | RunnableLambda(lambda values: {"prompt": prompt.invoke(values)})
            | answer
        )

    async def test_end_to_end(self, chain: Any, notices: list[Document]) -> None:
        for result in (chain.invoke(QUERY), await chain.ainvoke(QUERY), chain.batch([QUERY])[0]):
            assert result["answer"] == "계약이 끝나면 돌려받습니다."
            assert notices[0].page_content in result["prompt"].to_string()
            assert QUERY in result["prompt"].to_string()

    async def test_events_of_a_chain_name_the_retriever(self, chain: Any) -> None:
        events = [event async for event in chain.astream_events(QUERY, version="v2")]
        seen = [(event["event"], event["name"]) for event in events if "retriever" in event["event"]]
        assert seen == [("on_retriever_start", "KoColBERTRetriever"), ("on_retriever_end", "KoColBERTRetriever")]

    def test_schemas_and_graph(self, shared: KoColBERTRetriever) -> None:
        assert shared.get_input_schema().model_json_schema()["type"] == "string"
        assert shared.get_output_schema().model_json_schema()["type"] == "array"
        fields = KoColBERTRetriever.model_json_schema()["properties"]
        assert set(fields) >= {"k", "filter", "score_key"}
        assert "collection" not in fields
        assert "KoColBERTRetriever" in (shared | RunnableLambda(len)).get_graph().draw_mermaid()

    def test_as_a_tool(self, shared: KoColBERTRetriever, notices: list[Document]) -> None:
        tool = create_retriever_tool(shared, "law", "규정을 찾습니다.")
        assert notices[0].page_content in tool.invoke({"query": QUERY})

    def test_callbacks_tags_and_errors(self, shared: KoColBERTRetriever) -> None:
        seen: list[tuple[str, Any]] = []

        class Handler(BaseCallbackHandler):
            def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
                seen.append(("start", (query, kwargs["tags"], kwargs["metadata"])))

            def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
                seen.append(("end", len(documents)))

            def on_retriever_error(self, error: BaseException, **kwargs: Any) -> None:
                seen.append(("error", type(error)))

        retriever = KoColBERTRetriever(collection=shared.collection, k=2, tags=["법률"], metadata={"팀": "검색"})
        retriever.invoke(QUERY, {"callbacks": [Handler()]})
        with pytest.raises(InvalidArgumentError):
            retriever.invoke(QUERY, {"callbacks": [Handler()]}, k=-1)
        assert [name for name, _ in seen] == ["start", "end", "start", "error"]
        query, tags, metadata = seen[0][1]
        assert (query, tags, metadata["팀"]) == (QUERY, ["법률"], "검색")
        assert metadata["ls_embedding_model"] == "mini-colbert"

    def test_langsmith_params(self, shared: KoColBERTRetriever) -> None:
        assert shared._get_ls_params() == {
            "ls_retriever_name": "kocolbert",
            "ls_vector_store_provider": "KoRAG",
            "ls_embedding_provider": "KoRAG",
            "ls_embedding_model": "mini-colbert",
        }


class TestSharing:
    """Models are loaded once, even if LangChain copies the retriever."""

    def test_configurable_fields_share_the_collection(
        self, shared: KoColBERTRetriever, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configurable = shared.configurable_fields(
            k=ConfigurableField(id="k"), filter=ConfigurableField(id="filter"), score_key=ConfigurableField(id="key")
        )
        monkeypatch.setattr(local, "Database", lambda *_, **__: pytest.fail("opened again"))
        config: Any = {"configurable": {"k": 1, "filter": {"주제": "음식"}, "key": None}}
        prepared, _ = configurable.prepare(config)  # type: ignore[attr-defined]
        assert prepared is not shared
        assert prepared.collection is shared.collection
        (found,) = configurable.invoke(QUERY, config)
        assert found.metadata.keys() == {"주제", "쪽"}
        assert configurable.with_config(config).invoke(QUERY) == [found]
        assert len(configurable.invoke(QUERY)) == 3
        with pytest.raises(InvalidArgumentError):
            configurable.invoke(QUERY, {"configurable": {"k": -1}})

    def test_copies_share_the_collection(self, shared: KoColBERTRetriever) -> None:
        assert shared.model_copy(update={"k": 1}).collection is shared.collection
        assert copy.copy(shared).collection is shared.collection
        assert shared.with_config(tags=["x"]).bound.collection is shared.collection  # type: ignore[attr-defined]
        assert KoColBERTRetriever(collection=shared.collection).collection is shared.collection

    def test_deepcopy_is_independent_and_shares_the_model(
        self, fresh: KoColBERTRetriever, colbert: LateInteractionEncoder
    ) -> None:
        copied = copy.deepcopy(fresh)
        assert copied.collection is not fresh.collection
        assert copied.collection.encoders["colbert"] is colbert
        expected = fresh.invoke(QUERY)
        assert copied.invoke(QUERY) == expected
        copied.delete(filter={})
        assert fresh.invoke(QUERY) == expected

    def test_pickle(self, fresh: KoColBERTRetriever, shared: KoColBERTRetriever) -> None:
        copied = pickle.loads(pickle.dumps(fresh.model_copy(update={"k": 1, "score_key": "점수"})))  # noqa: S301
        assert (copied.k, copied.score_key) == (1, "점수")
        assert [document.id for document in copied.invoke(QUERY)] == [fresh.invoke(QUERY)[0].id]

    def test_pickle_of_a_folder_is_its_path(
        self, notices: list[Document], colbert: LateInteractionEncoder, tmp_path: Any
    ) -> None:
        retriever = KoColBERTRetriever.from_documents(notices, model=colbert, path=tmp_path / "law")
        pickled = pickle.dumps(retriever)
        assert len(pickled) < 5_000
        assert pickle.loads(pickled).invoke(QUERY) == retriever.invoke(QUERY)  # noqa: S301

    def test_repr_and_serialised_form_are_short_and_hold_no_secrets(self, documents: list[str]) -> None:
        encoder = load_encoder("mini-colbert", token="hf_SECRET")  # noqa: S106 (none)
        retriever = KoColBERTRetriever.from_texts(documents, model=encoder)
        dumped = json.dumps(dumpd(retriever), ensure_ascii=False) + retriever.model_dump_json()
        for text in (repr(retriever), str(retriever), dumped):
            assert len(text) < 600
            assert "SECRET" not in text
            assert "보증금" not in text
        assert b"SECRET" not in pickle.dumps(retriever)
        assert repr(retriever) == "KoColBERTRetriever(legs=['colbert'])"


class TestAsync:
    @pytest.mark.slow
    async def test_64_at_once_equal_one_by_one(self, shared: KoColBERTRetriever, documents: list[str]) -> None:
        queries = [f"{text[: 5 + index % 9]} {index % 16}" for index, text in enumerate(documents * 8)]
        expected = [shared.invoke(query) for query in queries]
        assert len(queries) == 64
        assert await asyncio.gather(*map(shared.ainvoke, queries)) == expected
        assert await shared.abatch(queries[:16], {"max_concurrency": 5}) == expected[:16]
        assert shared.batch(queries[:16], {"max_concurrency": 8}) == expected[:16]

    async def test_queries_during_additions(self, fresh: KoColBERTRetriever, notices: list[Document]) -> None:
        expected = fresh.invoke(QUERY, k=1)
        long = [Document(id=f"긴-{i}", page_content=f"{i} " + "도서관 휴관일 안내 " * 30) for i in range(24)]

        async def add(start: int) -> None:
            await asyncio.to_thread(fresh.add_documents, long[start : start + 4])

        results = await asyncio.gather(
            *(add(start) for start in range(0, 24, 4)), *(fresh.ainvoke(QUERY, k=1) for _ in range(24))
        )
        assert [found for found in results if found is not None] == [expected] * 24
        alone = KoColBERTRetriever.from_documents([*notices[:4], *long], model=fresh.collection.encoders["colbert"])
        together = {
            document.id: document.metadata["score"] for document in fresh.invoke("휴관일", k=28, score_key="score")
        }
        apart = {
            document.id: document.metadata["score"] for document in alone.invoke("휴관일", k=28, score_key="score")
        }
        assert together == pytest.approx(apart, abs=2e-2)  # float16; a document cut at query length is off by more

    async def test_the_event_loop_is_not_blocked(
        self, shared: KoColBERTRetriever, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await assert_loop_stays_free(monkeypatch, Collection, "search", lambda: shared.ainvoke(QUERY))


class TestDocuments:
    @pytest.mark.slow
    def test_ids_given_own_and_new(self, notices: list[Document], colbert: LateInteractionEncoder) -> None:
        given = KoColBERTRetriever.from_documents(notices[:2], ids=["가", "나"], model=colbert)
        assert {document.id for document in given.invoke(QUERY)} == {"가", "나"}
        own = KoColBERTRetriever.from_documents(notices[:2], model=colbert)
        assert {document.id for document in own.invoke(QUERY)} == {"문서-0", "문서-1"}
        bare = Document(page_content="보증금")
        made = KoColBERTRetriever.from_documents([bare, *notices[:1]], model=colbert).invoke(QUERY)
        assert bare.id is None
        assert len({document.id for document in made}) == 2
        assert all(document.id for document in made)

    def test_upsert(self, fresh: KoColBERTRetriever) -> None:
        new = Document(id="문서-0", page_content="보증금 반환은 이제 열흘 안에 합니다.", metadata={"판": 2})
        assert fresh.add_documents([new]) == ["문서-0"]
        assert len(fresh.collection) == 4
        found = fresh.invoke(QUERY)[0]
        assert (found.id, found.page_content, found.metadata["판"]) == ("문서-0", new.page_content, 2)
        assert "주제" not in found.metadata

    def test_add_returns_ids_in_order_and_takes_any_iterable(self, fresh: KoColBERTRetriever) -> None:
        added = fresh.add_documents((Document(page_content=text) for text in ("하나", "둘")), ids=["b", "a"])
        assert added == ["b", "a"]
        assert [document.text for document in fresh.collection.get(added)] == ["하나", "둘"]

    def test_delete(self, fresh: KoColBERTRetriever) -> None:
        assert fresh.delete(["문서-0", "없는 문서"])["num_deleted"] == 1
        assert "문서-0" not in {document.id for document in fresh.invoke(QUERY)}
        assert fresh.delete(filter={"주제": {"$in": ["생활", "음식"]}})["num_deleted"] == 2
        assert fresh.delete(["문서-3"], filter={"주제": "회사"})["num_deleted"] == 0
        with pytest.raises(InvalidArgumentError):
            fresh.delete()
        assert fresh.delete(filter={})["num_deleted"] == 1
        assert fresh.invoke(QUERY) == []

    @pytest.mark.parametrize("wrong", ["문자열", 3, None, {"page_content": "x"}])
    def test_something_that_is_not_a_document(
        self, fresh: KoColBERTRetriever, notices: list[Document], wrong: Any
    ) -> None:
        with pytest.raises(InvalidTextError, match=r"documents\[1\].*from_texts") as raised:
            fresh.add_documents([notices[5], wrong])
        assert type(wrong).__name__ in str(raised.value)
        assert len(fresh.collection) == 4

    @pytest.mark.parametrize(
        ("ids", "metadata"), [(["하나"], {}), (["같은", "같은"], {}), (None, {"날짜": object()}), (["", "a"], {})]
    )
    def test_nothing_is_added_by_a_failing_call(
        self, fresh: KoColBERTRetriever, ids: list[str] | None, metadata: dict[str, Any]
    ) -> None:
        with pytest.raises(InvalidArgumentError):
            fresh.add_documents([Document(page_content="x"), Document(page_content="y", metadata=metadata)], ids=ids)
        assert len(fresh.collection) == 4

    def test_from_texts(self, documents: list[str], colbert: LateInteractionEncoder) -> None:
        metadatas = [{"쪽": index} for index in range(len(documents))]
        ids = [str(index) for index in range(len(documents))]
        retriever = KoColBERTRetriever.from_texts(documents, metadatas, ids=ids, model=colbert, k=1)
        assert retriever.invoke(QUERY) == [Document(id="0", page_content=documents[0], metadata={"쪽": 0})]
        with pytest.raises(InvalidTextError):
            KoColBERTRetriever.from_texts("문자열 하나", model=colbert)

    def test_empty_documents_are_kept_and_never_found(self, colbert: LateInteractionEncoder) -> None:
        retriever = KoColBERTRetriever.from_texts(["", "보증금", " \n"], model=colbert)
        assert len(retriever.collection) == 3
        assert [document.page_content for document in retriever.invoke(QUERY)] == ["보증금"]


class TestFolder:
    @pytest.mark.slow
    def test_written_and_read_again(
        self, notices: list[Document], colbert: LateInteractionEncoder, tmp_path: Any
    ) -> None:
        built = KoColBERTRetriever.from_documents(notices, model=colbert, path=tmp_path / "law", k=2)
        expected = built.invoke(QUERY)
        built.collection.close()
        for model in (None, "mini-colbert", colbert):
            loaded = KoColBERTRetriever.load_local(tmp_path / "law", model=model, k=2)
            assert loaded.invoke(QUERY) == expected
        custom = KoColBERTRetriever.load_local(str(tmp_path / "law"), k=1, filter={"주제": "음식"})
        assert custom.invoke(QUERY) == [notices[2]]

    def test_from_documents_again_replaces_by_id(
        self, notices: list[Document], colbert: LateInteractionEncoder, tmp_path: Any
    ) -> None:
        for _ in range(2):
            retriever = KoColBERTRetriever.from_documents(notices, model=colbert, path=tmp_path / "law")
            assert len(retriever.collection) == len(notices)

    def test_a_loaded_model_of_other_settings_is_kept_with_the_folder(
        self, documents: list[str], tmp_path: Any
    ) -> None:
        encoder = load_encoder("mini-colbert", dim=32, query_prompt="", max_length=64)
        built = KoColBERTRetriever.from_texts(documents, model=encoder, path=tmp_path)
        loaded = KoColBERTRetriever.load_local(tmp_path)
        assert loaded.collection.encoders["colbert"].fingerprint == encoder.fingerprint
        assert loaded.invoke(QUERY) == built.invoke(QUERY)

    def test_another_model_is_refused(
        self, documents: list[str], colbert: LateInteractionEncoder, tmp_path: Any
    ) -> None:
        KoColBERTRetriever.from_texts(documents, model=colbert, path=tmp_path)
        other = load_encoder("mini-colbert", dim=64)
        with pytest.raises(FingerprintError, match="dim was 128 and is now 64"):
            KoColBERTRetriever.load_local(tmp_path, model=other)
        with pytest.raises(FingerprintError):
            KoColBERTRetriever.from_texts(documents, model=other, path=tmp_path)
        assert len(KoColBERTRetriever.load_local(tmp_path).collection) == len(documents)

    def test_a_folder_that_is_not_there_or_not_ours(self, tmp_path: Any) -> None:
        with pytest.raises(IndexStateError, match="from_documents"):
            KoColBERTRetriever.load_local(tmp_path / "없음")
        (tmp_path / "메모.txt").write_text("x")
        with pytest.raises(ForeignFolderError):
            KoColBERTRetriever.load_local(tmp_path, model="mini-colbert")
        assert [path.name for path in tmp_path.iterdir()] == ["메모.txt"]

    def test_a_collection_without_colbert_vectors(self, documents: list[str], tmp_path: Any) -> None:
        with Collection.open(tmp_path, bm25=True) as words:
            words.add(documents)
            with pytest.raises(IndexStateError, match="no 'colbert' leg"):
                KoColBERTRetriever(collection=words)
        with pytest.raises(IndexStateError, match="bm25"):
            KoColBERTRetriever.load_local(tmp_path)

    def test_a_collection_with_more_legs_serves(self, documents: list[str], colbert: LateInteractionEncoder) -> None:
        collection = Collection.in_memory(encoders=[colbert], bm25=True)
        collection.add(documents)
        found = KoColBERTRetriever(collection=collection, k=1).invoke(QUERY)
        assert found[0].page_content == documents[0]

    @pytest.mark.parametrize("model", ["mini-dense", "mini-splade"])
    def test_a_model_of_another_family_is_refused_naming_its_class(
        self, documents: list[str], model: str, tmp_path: Any
    ) -> None:
        for given in (model, load_encoder(model)):
            with pytest.raises(WrongFamilyError, match=r"korag\.(Dense|Sparse)Encoder"):
                KoColBERTRetriever.from_texts(documents, model=given, path=tmp_path / "x")
            with pytest.raises(WrongFamilyError, match=r"korag\.(Dense|Sparse)Encoder"):
                KoColBERTRetriever.load_local(tmp_path, model=given)
        assert not (tmp_path / "x").exists()
