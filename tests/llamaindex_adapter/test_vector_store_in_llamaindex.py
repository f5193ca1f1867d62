"""KoVectorStore inside LlamaIndex: ingestion pipelines, VectorStoreIndex, its retrievers and engines, storage."""

import json
import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.indices.vector_store.retrievers import VectorIndexAutoRetriever, VectorIndexRetriever
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.base import BaseEvent
from llama_index.core.llms import CompletionResponse, CustomLLM, LLMMetadata, MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.node_parser import SemanticSplitterNodeParser, SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import BaseNode, IndexNode, MetadataMode, NodeWithScore, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import FilterCondition, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import MetadataInfo, VectorStoreInfo

from korag import DenseEncoder, LateInteractionEncoder
from korag.errors import InvalidArgumentError
from llamaindex_korag import KoBM25Retriever, KoColBERTIndex, KoVectorStore

QUERY = "보증금은 언제 돌려받나요?"
TOPICS = ["주거", "생활", "음식", "쇼핑", "직장", "규정", "규정", "직장"]


@pytest.fixture
def notices(documents: list[str]) -> list[Document]:
    return [
        Document(id_=f"글-{index}", text=text, metadata={"주제": topic})
        for index, (text, topic) in enumerate(zip(documents, TOPICS, strict=True))
    ]


@pytest.fixture
def store(dense: DenseEncoder) -> KoVectorStore:
    return KoVectorStore([dense], bm25=True)


@pytest.fixture
def index(store: KoVectorStore, notices: list[Document]) -> VectorStoreIndex:
    return _index_of(store, notices)


def _index_of(store: KoVectorStore, documents: Sequence[Document], **options: Any) -> VectorStoreIndex:
    context = StorageContext.from_defaults(vector_store=store)
    return VectorStoreIndex.from_documents(documents, storage_context=context, embed_model=store.embed_model, **options)


def _sources(found: Sequence[NodeWithScore] | Sequence[BaseNode]) -> list[str | None]:
    return [getattr(one, "node", one).ref_doc_id for one in found]


def _pipeline(store: KoVectorStore, strategy: str = "upserts", **options: Any) -> IngestionPipeline:
    return IngestionPipeline(
        transformations=[SentenceSplitter(chunk_size=128, chunk_overlap=0), store.embed_model],
        vector_store=store,
        docstore=SimpleDocumentStore(),
        docstore_strategy=DocstoreStrategy(strategy),
        **options,
    )


def _changed(notices: list[Document]) -> list[Document]:
    return [Document(id_="글-0", text="보증금은 이사한 날에 돌려받는다.", metadata={"주제": "주거"}), *notices[1:]]


class TestPipelines:
    @pytest.mark.parametrize("strategy", ["upserts", "duplicates_only", "upserts_and_delete"])
    def test_unchanged_documents_cost_nothing(
        self, store: KoVectorStore, notices: list[Document], strategy: str
    ) -> None:
        pipeline = _pipeline(store, strategy)
        assert len(pipeline.run(documents=notices)) == 8
        before = store.get_nodes()
        assert _sources(before) == [f"글-{index}" for index in range(8)]
        assert pipeline.run(documents=notices) == []
        assert store.get_nodes() == before

    def test_upserts(self, store: KoVectorStore, notices: list[Document]) -> None:
        pipeline = _pipeline(store)
        pipeline.run(documents=notices)
        changed = _changed(notices)
        assert _sources(pipeline.run(documents=changed[:7])) == ["글-0"]
        assert sorted(_sources(store.get_nodes())) == [f"글-{index}" for index in range(8)]
        assert [node.get_content() for node in store.get_nodes() if node.ref_doc_id == "글-0"] == [changed[0].text]

    def test_upserts_and_delete(self, store: KoVectorStore, notices: list[Document]) -> None:
        pipeline = _pipeline(store, "upserts_and_delete")
        pipeline.run(documents=notices)
        pipeline.run(documents=_changed(notices)[:6])
        assert sorted(_sources(store.get_nodes())) == [f"글-{index}" for index in range(6)]
        assert "이사한 날" in store.get_nodes()[-1].get_content()

    def test_duplicates_only(self, store: KoVectorStore, notices: list[Document]) -> None:
        pipeline = _pipeline(store, "duplicates_only")
        pipeline.run(documents=notices)
        renamed = [
            Document(id_=f"새 글-{number}", text=one.text, metadata=one.metadata) for number, one in enumerate(notices)
        ]
        assert pipeline.run(documents=renamed) == []
        pipeline.run(documents=_changed(notices))
        assert len(store.get_nodes()) == 9

    def test_after_a_restart(self, dense: DenseEncoder, notices: list[Document], tmp_path: Path) -> None:
        made = KoVectorStore([dense], bm25=True, path=tmp_path / "store")
        pipeline = _pipeline(made)
        pipeline.run(documents=notices)
        pipeline.persist(str(tmp_path / "pipeline"))
        opened = KoVectorStore(path=tmp_path / "store")
        again = _pipeline(opened, "upserts_and_delete")
        again.load(str(tmp_path / "pipeline"))
        assert _sources(again.run(documents=_changed(notices)[:5])) == ["글-0"]
        assert sorted(_sources(opened.get_nodes())) == [f"글-{index}" for index in range(5)]

    def test_without_a_docstore_the_cache_keeps_the_ids(self, store: KoVectorStore, notices: list[Document]) -> None:
        pipeline = IngestionPipeline(transformations=[SentenceSplitter(), store.embed_model], vector_store=store)
        for _ in range(2):
            assert len(pipeline.run(documents=notices)) == 8
        assert len(store.get_nodes()) == 8

    async def test_async(self, store: KoVectorStore, notices: list[Document]) -> None:
        pipeline = _pipeline(store, "upserts_and_delete")
        assert len(await pipeline.arun(documents=notices)) == 8
        assert await pipeline.arun(documents=notices) == []
        assert _sources(await pipeline.arun(documents=_changed(notices)[:4])) == ["글-0"]
        assert sorted(_sources(store.get_nodes())) == [f"글-{index}" for index in range(4)]

    def test_blank_pages(self, store: KoVectorStore, notices: list[Document], caplog: pytest.LogCaptureFixture) -> None:
        blank = Document(id_="빈 쪽", text=" \n", metadata={"쪽": 2})
        pipeline = IngestionPipeline(transformations=[store.embed_model], vector_store=store)
        pipeline.run(documents=[*notices[:2], blank])
        assert [node.node_id for node in store.get_nodes()] == ["글-0", "글-1"]
        assert "1 of 3 nodes have no text" in caplog.text

    def test_its_parts_can_go_to_other_processes(self, store: KoVectorStore) -> None:
        copied = pickle.loads(pickle.dumps([SentenceSplitter(), store.embed_model]))  # noqa: S301
        assert copied[1].to_dict() == store.embed_model.to_dict()

    def test_its_embedding_model_is_no_use_to_a_semantic_splitter(
        self, store: KoVectorStore, notices: list[Document]
    ) -> None:
        splitter = SemanticSplitterNodeParser(
            embed_model=store.embed_model, sentence_splitter=lambda text: text.split()
        )
        with pytest.raises(InvalidArgumentError, match="makes no vectors"):
            splitter(notices[:1])


class TestIndex:
    def test_from_documents(self, index: VectorStoreIndex, store: KoVectorStore, notices: list[Document]) -> None:
        assert _sources(store.get_nodes()) == [f"글-{number}" for number in range(8)]
        (found,) = index.as_retriever(similarity_top_k=1).retrieve(QUERY)
        assert (found.node.ref_doc_id, found.node.get_content()) == ("글-0", notices[0].text)
        assert found.node == store.get_nodes([found.node_id])[0]
        assert found.score == store.collection.search(QUERY, k=1)[0].score
        assert index.docstore.docs == {}

    def test_use_async(self, store: KoVectorStore, notices: list[Document]) -> None:
        _index_of(store, notices, use_async=True)
        assert len(store.get_nodes()) == 8

    async def test_from_vector_store(self, index: VectorStoreIndex, store: KoVectorStore) -> None:
        opened = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
        found = opened.as_retriever(similarity_top_k=3).retrieve(QUERY)
        assert found == index.as_retriever(similarity_top_k=3).retrieve(QUERY)
        assert await opened.as_retriever(similarity_top_k=3).aretrieve(QUERY) == found

    @pytest.mark.parametrize("mode", ["default", "hybrid", "sparse", "text_search", "mmr"])
    async def test_modes(self, index: VectorStoreIndex, mode: str) -> None:
        retriever = index.as_retriever(similarity_top_k=2, vector_store_query_mode=mode)
        found = retriever.retrieve(QUERY)
        assert found[0].node.ref_doc_id == "글-0"
        assert await retriever.aretrieve(QUERY) == found

    def test_settings_of_a_retriever(self, index: VectorStoreIndex, store: KoVectorStore) -> None:
        own = {"weights": {"dense": 0.4, "bm25": 1.6}, "fetch_k": 5}
        hits = store.collection.search(QUERY, k=3, **own)  # type: ignore[arg-type]
        retriever = index.as_retriever(
            similarity_top_k=8, vector_store_query_mode="hybrid", alpha=0.2, sparse_top_k=5, hybrid_top_k=3
        )
        assert [one.node_id for one in retriever.retrieve(QUERY)] == [hit.id for hit in hits]
        given = {"using": "dense", "min_relevance": 0.2}
        hits = store.collection.search(QUERY, k=8, **given)  # type: ignore[arg-type]
        retriever = index.as_retriever(similarity_top_k=8, vector_store_kwargs=given)
        assert [one.node_id for one in retriever.retrieve(QUERY)] == [hit.id for hit in hits]
        diverse = index.as_retriever(
            similarity_top_k=2,
            vector_store_query_mode="mmr",
            vector_store_kwargs={"mmr_threshold": 0.1, "mmr_prefetch_factor": 4},
        )
        assert len(diverse.retrieve(QUERY)) == 2

    def test_filters(self, index: VectorStoreIndex) -> None:
        either = MetadataFilters(
            filters=[
                MetadataFilter(key="주제", value="규정"),
                MetadataFilters(filters=[MetadataFilter(key="doc_id", value="글-4")]),
            ],
            condition=FilterCondition.OR,
        )
        found = index.as_retriever(similarity_top_k=8, filters=either).retrieve(QUERY)
        assert set(_sources(found)) == {"글-4", "글-5", "글-6"}
        assert _sources(index.as_retriever(similarity_top_k=8, doc_ids=["글-3"]).retrieve(QUERY)) == ["글-3"]

    async def test_engines(self, index: VectorStoreIndex, notices: list[Document]) -> None:
        engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=1, vector_store_query_mode="hybrid")
        response = engine.query(QUERY)
        assert notices[0].text in str(response)
        assert _sources(response.source_nodes) == ["글-0"]
        assert str(await engine.aquery(QUERY)) == str(response)
        streaming = index.as_query_engine(llm=MockLLM(), similarity_top_k=1, streaming=True)
        assert notices[0].text in "".join(streaming.query(QUERY).response_gen)  # type: ignore[union-attr]
        made = RetrieverQueryEngine.from_args(index.as_retriever(similarity_top_k=1), llm=MockLLM())
        assert _sources(made.query(QUERY).source_nodes) == ["글-0"]
        memory = ChatMemoryBuffer.from_defaults(token_limit=3_000)
        chat = index.as_chat_engine(ChatMode.CONTEXT, llm=MockLLM(), similarity_top_k=1, memory=memory)
        assert _sources(chat.chat(QUERY).source_nodes) == ["글-0"]

    def test_fused_with_another_retriever(self, index: VectorStoreIndex) -> None:
        parts = [index.as_retriever(similarity_top_k=4, vector_store_query_mode=mode) for mode in ("default", "sparse")]
        fused = QueryFusionRetriever(parts, llm=MockLLM(), similarity_top_k=8, num_queries=1, use_async=False)
        found = fused.retrieve(QUERY)
        assert len({one.node_id for one in found}) == len(found)
        assert found[0].node.ref_doc_id == "글-0"

    def test_an_embedding_model_of_someone_else(
        self, store: KoVectorStore, notices: list[Document], caplog: pytest.LogCaptureFixture
    ) -> None:
        other = MockEmbedding(embed_dim=3)
        context = StorageContext.from_defaults(vector_store=store)
        made = VectorStoreIndex.from_documents(notices, storage_context=context, embed_model=other)
        assert caplog.text.count("embeddings of another model") == 1
        assert _sources(made.as_retriever(similarity_top_k=1).retrieve(QUERY)) == ["글-0"]

    def test_no_query_is_embedded(self, index: VectorStoreIndex) -> None:
        seen: list[str] = []

        class Watch(BaseEventHandler):
            @classmethod
            def class_name(cls) -> str:
                return "Watch"

            def handle(self, event: BaseEvent, **kwargs: Any) -> None:
                seen.append(event.class_name())

        root = get_dispatcher()
        handlers = root.event_handlers
        root.event_handlers = [*handlers, Watch()]
        try:
            index.as_query_engine(llm=MockLLM()).query(QUERY)
        finally:
            root.event_handlers = handlers
        assert {"RetrievalStartEvent", "RetrievalEndEvent", "QueryEndEvent"} <= set(seen)
        assert not [name for name in seen if "Embedding" in name]


class TestChanges:
    def test_insert_delete_update(self, index: VectorStoreIndex, store: KoVectorStore, notices: list[Document]) -> None:
        index.insert(Document(id_="새", text="주차장은 주말에 무료로 연다."))
        assert _sources(index.as_retriever(similarity_top_k=1).retrieve("주차장")) == ["새"]
        index.delete_ref_doc("새", delete_from_docstore=True)
        assert "새" not in _sources(store.get_nodes())
        index.update_ref_doc(_changed(notices)[0])
        assert sorted(_sources(store.get_nodes())) == [f"글-{number}" for number in range(8)]
        assert _sources(index.as_retriever(similarity_top_k=1).retrieve("이사한 날")) == ["글-0"]
        index.insert_nodes([TextNode(id_="가", text="정수기 필터 교체 안내")])
        index.delete_nodes(["가"])
        assert store.get_nodes(["가"]) == []

    async def test_async(self, index: VectorStoreIndex, store: KoVectorStore) -> None:
        await index.ainsert(Document(id_="새", text="주차장은 주말에 무료로 연다."))
        assert "새" in _sources(store.get_nodes())
        await index.adelete_ref_doc("새")
        assert len(store.get_nodes()) == 8
        await index.ainsert_nodes([TextNode(id_="가", text="정수기 필터 교체 안내")])
        await index.adelete_nodes(["가"])
        assert len(store.get_nodes()) == 8

    def test_refresh(self, index: VectorStoreIndex, store: KoVectorStore, notices: list[Document]) -> None:
        assert index.refresh_ref_docs(notices) == [False] * 8
        assert index.refresh_ref_docs(_changed(notices)) == [True] + [False] * 7
        assert sorted(_sources(store.get_nodes())) == [f"글-{number}" for number in range(8)]

    def test_storage_context(self, index: VectorStoreIndex, notices: list[Document], tmp_path: Path) -> None:
        expected = index.as_retriever(similarity_top_k=3).retrieve(QUERY)
        for _ in range(2):
            index.storage_context.persist(tmp_path / "storage")
        opened = KoVectorStore.from_persist_dir(tmp_path / "storage")
        context = StorageContext.from_defaults(vector_store=opened, persist_dir=str(tmp_path / "storage"))
        loaded = load_index_from_storage(context, embed_model=opened.embed_model)
        assert loaded.as_retriever(similarity_top_k=3).retrieve(QUERY) == expected
        assert loaded.refresh_ref_docs(_changed(notices)) == [True] + [False] * 7
        assert len(opened.get_nodes()) == 8


class TestPointers:
    def test_index_nodes(self, dense: DenseEncoder) -> None:
        store = KoVectorStore([dense])
        inner = KoBM25Retriever.from_defaults([TextNode(id_="안", text="이레 안에 환불을 신청한다.")])
        pointers = [
            IndexNode(text="환불 안내", index_id="환불", obj=inner),
            IndexNode(text="휴관 안내", index_id="휴관", obj=TextNode(id_="쪽", text="월요일에 쉰다.")),
        ]
        context = StorageContext.from_defaults(vector_store=store)
        index = VectorStoreIndex(objects=pointers, storage_context=context, embed_model=store.embed_model)
        retriever = index.as_retriever(similarity_top_k=1)
        assert [one.node_id for one in retriever.retrieve("환불 안내")] == ["안"]
        assert [one.node_id for one in retriever.retrieve("휴관 안내")] == ["쪽"]

    def test_beside_other_nodes(self, index: VectorStoreIndex, caplog: pytest.LogCaptureFixture) -> None:
        """LlamaIndex then looks among index nodes only, with any store of texts; ours says so, and how not to."""
        index.insert_nodes([IndexNode(text="환불 안내", index_id="환불", obj=TextNode(text="이레 안에 신청한다."))])
        assert len(index.as_retriever(similarity_top_k=8).retrieve(QUERY)) == 1
        assert "VectorIndexRetriever" in caplog.text
        assert len(VectorIndexRetriever(index, similarity_top_k=8).retrieve(QUERY)) == 8


class Scripted(CustomLLM):
    """Says the same whatever it is asked."""

    answer: str

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return CompletionResponse(text=self.answer)

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Iterator[CompletionResponse]:
        yield self.complete(prompt)


class TestAutoRetriever:
    @pytest.mark.parametrize(
        ("spec", "sources"),
        [
            ({"query": QUERY, "filters": [{"key": "주제", "value": "규정", "operator": "=="}]}, {"글-5", "글-6"}),
            (
                {"query": QUERY, "filters": [{"key": "주제", "value": ["규정", "음식"], "operator": "in"}], "top_k": 3},
                {"글-2", "글-5", "글-6"},
            ),
            ({"query": "", "filters": [{"key": "주제", "value": "직장", "operator": "=="}]}, {"글-4", "글-7"}),
        ],
    )
    async def test_filters_are_applied(self, index: VectorStoreIndex, spec: dict[str, Any], sources: set[str]) -> None:
        info = VectorStoreInfo(
            content_info="안내문", metadata_info=[MetadataInfo(name="주제", type="str", description="글의 주제")]
        )
        retriever = VectorIndexAutoRetriever(
            index, vector_store_info=info, llm=Scripted(answer=json.dumps(spec)), similarity_top_k=8
        )
        assert set(_sources(retriever.retrieve("규정을 알려 주세요"))) == sources
        assert set(_sources(await retriever.aretrieve("규정을 알려 주세요"))) == sources


def test_a_pipeline_into_a_colbert_index(colbert: LateInteractionEncoder, notices: list[Document]) -> None:
    index = KoColBERTIndex(model_name=colbert)
    pipeline = _pipeline(index.vector_store)
    pipeline.run(documents=notices)
    assert _sources(index.as_retriever(similarity_top_k=1).retrieve(QUERY)) == ["글-0"]
    pipeline.run(documents=_changed(notices))
    assert sorted(index.ref_doc_info) == [f"글-{number}" for number in range(8)]
    assert index.vector_store.metadata_mode is MetadataMode.EMBED


def test_colbert_alone(colbert: LateInteractionEncoder, notices: list[Document]) -> None:
    store = KoVectorStore([colbert])
    index = _index_of(store, notices)
    assert _sources(index.as_retriever(similarity_top_k=1).retrieve(QUERY)) == ["글-0"]
    assert len(index.as_retriever(similarity_top_k=3, vector_store_query_mode="mmr").retrieve(QUERY)) == 3
