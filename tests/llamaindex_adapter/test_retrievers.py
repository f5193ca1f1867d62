"""The retrievers: results, documents, and use within LlamaIndex."""

import asyncio
import copy
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from event_loop import assert_loop_stays_free
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.chat_engine import ContextChatEngine
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent, RetrievalStartEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms import MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.node_parser import HierarchicalNodeParser, SentenceSplitter, get_leaf_nodes
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import AutoMergingRetriever, BaseRetriever, QueryFusionRetriever, RouterRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import IndexNode, NodeRelationship, QueryBundle, RelatedNodeInfo, TextNode
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.tools import QueryEngineTool, RetrieverTool
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step

from korag import Collection, DenseEncoder, LateInteractionEncoder, SparseEncoder, load_encoder, reciprocal_rank_fusion
from korag.errors import (
    FingerprintError,
    ForeignFolderError,
    IndexStateError,
    InvalidArgumentError,
    InvalidTextError,
    ReadOnlyError,
    WrongFamilyError,
)
from korag.testing.encoders import FakeDenseEncoder, FakeSparseEncoder
from llamaindex_korag import KoBM25Retriever, KoColBERTRetriever, KoHybridRetriever, KoSpladeRetriever

QUERY = "보증금은 언제 돌려받나요?"
TOPICS = ["주거", "생활", "음식", "쇼핑", "회사", "규정", "규정", "기술"]
Make = Callable[..., Any]


def _ids(found: list[Any]) -> list[str]:
    return [one.node.node_id for one in found]


def _topic(value: str) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key="주제", value=value)])


EVERYTHING = MetadataFilters(filters=[])


@pytest.fixture(scope="module")
def nodes(documents: list[str]) -> list[TextNode]:
    """One node per sentence, two per document; no test may change them."""
    return [
        TextNode(
            id_=f"노드-{index}",
            text=text,
            metadata={"주제": topic},
            excluded_embed_metadata_keys=["주제"],
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"문서-{index // 2}")},
        )
        for index, (text, topic) in enumerate(zip(documents, TOPICS, strict=True))
    ]


@pytest.fixture(scope="module", params=["colbert", "splade", "bm25", "hybrid"])
def make(
    request: pytest.FixtureRequest, colbert: LateInteractionEncoder, splade: SparseEncoder, dense: DenseEncoder
) -> Make:
    """``from_defaults`` of each class, with its model."""
    makers: dict[str, Make] = {
        "colbert": lambda *args, **options: KoColBERTRetriever.from_defaults(*args, model_name=colbert, **options),
        "splade": lambda *args, **options: KoSpladeRetriever.from_defaults(*args, model_name=splade, **options),
        "bm25": KoBM25Retriever.from_defaults,
        "hybrid": lambda *args, **options: KoHybridRetriever.from_defaults(
            *args, models=[colbert, splade, dense], **options
        ),
    }
    return makers[request.param]


@pytest.fixture(scope="module")
def any_kind(make: Make, nodes: list[TextNode]) -> Any:
    """A read-only retriever of each class."""
    return make(nodes)


@pytest.fixture(scope="module")
def shared(nodes: list[TextNode], colbert: LateInteractionEncoder) -> KoColBERTRetriever:
    """A read-only retriever."""
    return KoColBERTRetriever.from_defaults(nodes, model_name=colbert, similarity_top_k=3)


@pytest.fixture
def fresh(nodes: list[TextNode], colbert: LateInteractionEncoder) -> KoColBERTRetriever:
    """A writable retriever."""
    return KoColBERTRetriever.from_defaults(nodes[:4], model_name=colbert)


class TestEveryClass:
    @pytest.mark.slow
    def test_finds_new_nodes_that_equal_those_put_in(self, any_kind: Any, nodes: list[TextNode]) -> None:
        before = copy.deepcopy(nodes)
        found = any_kind.retrieve(QUERY)
        assert found[0].node == nodes[0]
        assert found[0].node is not nodes[0]
        assert any_kind.retrieve(QUERY)[0].node is not found[0].node
        assert all(type(one.score) is float for one in found)
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        found[0].node.metadata["주제"] = "바꿈"
        assert any_kind.retrieve(QUERY)[0].node == nodes[0]
        assert nodes == before

    @pytest.mark.slow
    def test_is_what_the_collection_finds(self, any_kind: Any) -> None:
        for query in (QUERY, "제6조의2는 전자 문서에도 적용되나요?"):
            hits = any_kind.collection.search(query)
            assert [(one.node.node_id, one.score) for one in any_kind.retrieve(query)] == [
                (hit.id, hit.score) for hit in hits
            ]

    @pytest.mark.slow
    def test_top_k(self, make: Make, nodes: list[TextNode]) -> None:
        retriever = make(nodes, similarity_top_k=1_000)
        everything = retriever.retrieve(QUERY)
        assert 0 < len(everything) <= len(nodes)
        for k in (0, 1, 2):
            retriever.similarity_top_k = k
            assert retriever.retrieve(QUERY) == everything[:k]

    @pytest.mark.slow
    async def test_exact(
        self, make: Make, any_kind: Any, nodes: list[TextNode], tmp_path: Path, search_calls: list[bool]
    ) -> None:
        pruning = make(nodes, exact=False)
        pruning.persist(tmp_path / "저장")
        opened = type(pruning).from_persist_dir(tmp_path / "저장", exact=False)
        expected = any_kind.retrieve(QUERY)
        assert search_calls == [True]
        assert pruning.retrieve(QUERY) == expected  # so few are all looked at
        assert await pruning.aretrieve(QUERY) == expected
        assert opened.retrieve(QUERY) == expected
        bundle = QueryBundle(QUERY, custom_embedding_strs=[QUERY, "도서관은 언제 쉬나요?"])
        assert pruning.retrieve(bundle) == any_kind.retrieve(bundle)
        assert search_calls[1:] == [False] * 4 + [True]
        pruning.exact = True
        assert pruning.retrieve(QUERY) == expected
        assert search_calls[-1] is True

    def test_nothing_to_find(self, make: Make, any_kind: Any) -> None:
        assert make([]).retrieve(QUERY) == []
        for query in ("", " \n", "\0"):
            assert any_kind.retrieve(query) == []

    @pytest.mark.slow
    def test_filters_before_top_k(self, make: Make, nodes: list[TextNode]) -> None:
        retriever = make(nodes, similarity_top_k=1, filters=_topic("규정"))
        assert retriever.retrieve("규정 보증금")[0].node.metadata["주제"] == "규정"
        retriever.filters = None
        assert _ids(retriever.retrieve(QUERY)) == ["노드-0"]

    @pytest.mark.slow
    def test_upsert_and_delete(self, make: Make, nodes: list[TextNode]) -> None:
        retriever = make(nodes[:3])
        new = TextNode(id_="노드-0", text="보증금은 이사하는 날 돌려받는다.", metadata={"판": 2})
        assert retriever.add_nodes([new, *nodes[3:4]]) == ["노드-0", "노드-3"]
        assert len(retriever.collection) == 4
        assert retriever.retrieve(QUERY)[0].node == new
        assert retriever.delete_nodes(["노드-0", "없는 것"]) == 1
        assert "노드-0" not in _ids(retriever.retrieve(QUERY))
        retriever.add_nodes(nodes[:1])  # deleted and added again: found once
        assert _ids(retriever.retrieve(QUERY)).count("노드-0") == 1
        assert retriever.delete_nodes(filters=EVERYTHING) == 4
        assert retriever.retrieve(QUERY) == []

    async def test_async_finds_the_same(self, any_kind: Any) -> None:
        assert await any_kind.aretrieve(QUERY) == any_kind.retrieve(QUERY)
        assert await any_kind.aretrieve(QueryBundle(QUERY)) == any_kind.retrieve(QueryBundle(QUERY))

    @pytest.mark.slow
    def test_persisted_and_opened(self, make: Make, any_kind: Any, tmp_path: Path) -> None:
        expected = any_kind.retrieve(QUERY)
        assert any_kind.persist(tmp_path / "저장") == tmp_path / "저장"
        opened = type(any_kind).from_persist_dir(tmp_path / "저장", similarity_top_k=2)
        assert opened.retrieve(QUERY) == expected[:2]
        opened.delete_nodes(["노드-0"])
        assert any_kind.retrieve(QUERY) == expected

    @pytest.mark.slow
    def test_pickle_and_deepcopy(self, any_kind: Any) -> None:
        expected = any_kind.retrieve(QUERY)
        for copied in (pickle.loads(pickle.dumps(any_kind)), copy.deepcopy(any_kind)):  # noqa: S301
            assert copied.collection is not any_kind.collection
            assert copied.retrieve(QUERY) == expected
            copied.delete_nodes(filters=EVERYTHING)
        assert any_kind.retrieve(QUERY) == expected

    @pytest.mark.slow
    def test_long_and_odd_texts(self, make: Make) -> None:
        long = "보증금 반환 " * 6_000
        retriever = make([TextNode(id_="긴 글", text=long), TextNode(id_="널", text="도서관\0 휴관")])
        assert retriever.retrieve("보증금")[0].node.text == long
        assert {*_ids(retriever.retrieve(long))} >= {"긴 글"}
        assert retriever.retrieve("도서관")[0].node.text == "도서관\0 휴관"

    @pytest.mark.parametrize("query", [3, None, ["질의"], b"x"])
    async def test_a_query_that_is_no_string(self, any_kind: Any, query: Any) -> None:
        for wrong in (query, QueryBundle(query)):
            with pytest.raises(InvalidTextError, match="must be a string"):
                any_kind.retrieve(wrong)
            with pytest.raises(InvalidTextError, match="must be a string"):
                await any_kind.aretrieve(wrong)
        with pytest.raises(InvalidTextError, match="surrogate"):
            any_kind.retrieve("\ud800")

    def test_misspelt_and_wrong_options(self, make: Make, nodes: list[TextNode], tmp_path: Path) -> None:
        for options, message in [
            ({"similarty_top_k": 3}, "Did you mean similarity_top_k"),
            ({"top_k": 3}, r"takes no 'top_k'. Did you mean similarity_top_k\?.* load_stored_models, similarity_top_k"),
            ({"similarity_top_k": -1}, "similarity_top_k=-1"),
            ({"similarity_top_k": True}, "similarity_top_k=True"),
            ({"similarity_top_k": "3"}, "similarity_top_k='3'"),
            ({"min_relevance": 7}, "min_relevance=7"),
            ({"metadata_mode": "some"}, "metadata_mode='some'"),
            ({"exact": "yes"}, "exact='yes': .*\nexact='yes' is invalid"),
            ({"exact": 0}, "exact=0"),
        ]:
            with pytest.raises(InvalidArgumentError, match=message):
                make(nodes, path=tmp_path / "폴더", **options)
        assert not (tmp_path / "폴더").exists()
        retriever = make(nodes[:1])
        retriever.similarity_top_k = -1
        with pytest.raises(InvalidArgumentError, match="similarity_top_k=-1"):
            retriever.retrieve(QUERY)
        retriever.similarity_top_k, retriever.exact = 1, None
        with pytest.raises(InvalidArgumentError, match="exact=None"):
            retriever.retrieve(QUERY)
        with pytest.raises(InvalidArgumentError, match="Did you mean filters"):
            type(retriever)(retriever.collection, filter=None)

    def test_wrong_ids_leave_no_folder(self, nodes: list[TextNode], tmp_path: Path) -> None:
        for wrong in ({"node_ids": "글"}, {"doc_ids": "글"}, {"node_ids": [1]}):
            with pytest.raises(InvalidTextError, match="_ids"):
                KoBM25Retriever.from_defaults(nodes, path=tmp_path / "폴더", **wrong)
            assert not (tmp_path / "폴더").exists()

    def test_a_tokenizer_without_bm25(self, nodes: list[TextNode], tmp_path: Path) -> None:
        """The same error whether the folder is new, or has a BM25 leg that this retriever is not to search."""
        encoders = [FakeDenseEncoder(), FakeSparseEncoder()]
        for _ in range(2):
            with pytest.raises(InvalidArgumentError, match="add bm25=True"):
                KoHybridRetriever.from_defaults(
                    nodes, models=encoders, bm25=False, tokenizer="bigram", path=tmp_path / "폴더"
                )
            Collection.open(tmp_path / "폴더", encoders=encoders, bm25=True).close()

    def test_one_source_of_nodes(self, make: Make, nodes: list[TextNode]) -> None:
        docstore = SimpleDocumentStore()
        docstore.add_documents(nodes)
        index = VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=2))
        for source in ({"docstore": docstore}, {"index": index}):
            assert {node.node_id for node in make(**source).get_nodes()} == {node.node_id for node in nodes}
        for wrong in ({}, {"nodes": nodes, "docstore": docstore}):
            with pytest.raises(InvalidArgumentError, match="one of nodes, index and docstore"):
                make(**wrong)


class TestNodes:
    def test_get_nodes(self, shared: KoColBERTRetriever, nodes: list[TextNode]) -> None:
        assert shared.get_nodes() == nodes
        assert shared.get_nodes(["노드-3", "없는 것", "노드-1"]) == [nodes[3], nodes[1]]
        assert shared.get_nodes(filters=_topic("규정")) == nodes[5:7]
        assert shared.get_nodes(["노드-0", "노드-5"], filters=_topic("규정")) == [nodes[5]]

    def test_delete_by_filters_and_among_ids(self, fresh: KoColBERTRetriever) -> None:
        assert fresh.delete_nodes(["노드-0", "노드-1"], filters=_topic("생활")) == 1
        assert fresh.delete_nodes(filters=_topic("음식")) == 1
        assert [node.node_id for node in fresh.get_nodes()] == ["노드-0", "노드-3"]
        assert fresh.delete_nodes([]) == 0
        with pytest.raises(InvalidArgumentError, match=r"MetadataFilters\(filters=\[\]\)"):
            fresh.delete_nodes()

    def test_delete_ref_doc(self, fresh: KoColBERTRetriever) -> None:
        assert fresh.delete_ref_doc("문서-0") == 2
        assert fresh.delete_ref_doc("없는 문서") == 0
        assert [node.node_id for node in fresh.get_nodes()] == ["노드-2", "노드-3"]
        fresh.add_nodes([Document(doc_id="통째", text="보증금 안내")])
        assert fresh.delete_ref_doc("통째") == 1

    def test_update_ref_doc(self, fresh: KoColBERTRetriever) -> None:
        version = Document(doc_id="문서-0", text="보증금은 이사하는 날 돌려받는다.")
        (added,) = fresh.update_ref_doc(version)
        assert [node.node_id for node in fresh.get_nodes()] == ["노드-2", "노드-3", added]
        (found,) = fresh.get_nodes([added])
        assert found.ref_doc_id == "문서-0"
        parts = SentenceSplitter().get_nodes_from_documents([version])
        assert fresh.update_ref_doc(version, nodes=parts) == [added]  # by its content
        assert len(fresh.get_nodes()) == 3
        with pytest.raises(InvalidArgumentError, match="comes from the document '문서-1'"):
            fresh.update_ref_doc(version, nodes=[*parts, fresh.get_nodes()[0]])
        wrong: Any = "문서-0"
        with pytest.raises(InvalidTextError, match="LlamaIndex Document"):
            fresh.update_ref_doc(wrong)

    def test_update_a_document_that_was_indexed_whole(self, colbert: LateInteractionEncoder) -> None:
        old = Document(doc_id="공고", text="도서관은 월요일에 쉰다.")
        retriever = KoColBERTRetriever.from_defaults([old], model_name=colbert)
        new = Document(doc_id="공고", text="도서관은 화요일에 쉰다.")
        assert retriever.update_ref_doc(new) == ["공고"]
        assert retriever.get_nodes() == [new]

    async def test_async_writes(
        self, fresh: KoColBERTRetriever, nodes: list[TextNode], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await assert_loop_stays_free(monkeypatch, Collection, "add", lambda: fresh.aadd_nodes(nodes[4:6]))
        assert await fresh.adelete_nodes(filters=_topic("음식")) == 1
        assert await fresh.adelete_ref_doc("문서-0") == 2
        await fresh.aupdate_ref_doc(Document(doc_id="문서-1", text="새 글"))
        assert [node.get_content() for node in fresh.get_nodes()] == [nodes[4].text, nodes[5].text, "새 글"]

    def test_nodes_of_an_ingestion_pipeline(self, colbert: LateInteractionEncoder) -> None:
        pipeline = IngestionPipeline(transformations=[SentenceSplitter(), MockEmbedding(embed_dim=2)])
        made = pipeline.run(documents=[Document(doc_id="공고", text="보증금 안내", metadata={"쪽": 1})])
        assert made[0].embedding is not None
        retriever = KoColBERTRetriever.from_defaults(made, model_name=colbert)
        (found,) = retriever.retrieve("보증금")
        assert found.node == made[0].model_copy(update={"embedding": None})
        assert found.node.ref_doc_id == "공고"
        assert made[0].embedding is not None

    def test_langchain_documents_both_ways(
        self, colbert: LateInteractionEncoder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        langchain = pytest.importorskip("langchain_core.documents")
        # LlamaIndex's bridge imports all of langchain; for this it takes one class, which langchain-core has.
        monkeypatch.setitem(sys.modules, "llama_index.core.bridge.langchain", langchain)
        given = langchain.Document(id="공고", page_content="보증금 안내", metadata={"쪽": 1})
        retriever = KoColBERTRetriever.from_defaults([Document.from_langchain_format(given)], model_name=colbert)
        found = retriever.retrieve("보증금")[0].node
        assert isinstance(found, Document)
        assert found.to_langchain_format() == given


class TestQueries:
    def test_several_strings_are_fused_by_rank(self, shared: KoColBERTRetriever) -> None:
        strings = ["도서관은 언제 쉬나요?", "돼지고기와 묵은지", QUERY]
        found = shared.retrieve(QueryBundle("무시되는 질의", custom_embedding_strs=strings))
        rankings = {text: [hit.id for hit in shared.collection.search(text, k=100)] for text in strings}
        expected = reciprocal_rank_fusion(rankings)[:3]
        assert [(one.node.node_id, one.score) for one in found] == expected

    def test_one_string_takes_the_place_of_the_query(self, shared: KoColBERTRetriever) -> None:
        bundle = QueryBundle("도서관은 언제 쉬나요?", custom_embedding_strs=[QUERY])
        assert shared.retrieve(bundle) == shared.retrieve(QUERY)
        assert shared.retrieve(QueryBundle(QUERY, custom_embedding_strs=[])) == shared.retrieve(QUERY)
        assert shared.retrieve(QueryBundle(QUERY, custom_embedding_strs=[QUERY, ""]))[0].node.node_id == "노드-0"
        wrong: Any = ["x", 3]
        with pytest.raises(InvalidTextError, match=r"custom_embedding_strs\[1\]"):
            shared.retrieve(QueryBundle(QUERY, custom_embedding_strs=wrong))

    def test_bm25_searches_the_words_of_the_query_itself(self, nodes: list[TextNode]) -> None:
        retriever = KoBM25Retriever.from_defaults(nodes)
        bundle = QueryBundle("도서관", custom_embedding_strs=["보증금"])
        assert retriever.retrieve(bundle) == retriever.retrieve("도서관")

    def test_min_relevance(self, shared: KoColBERTRetriever) -> None:
        relevance = [hit.relevance for hit in shared.collection.search(QUERY)]
        strict = KoColBERTRetriever(shared.collection, min_relevance=relevance[1])
        assert len(strict.retrieve(QUERY)) == 2


class TestBM25:
    def test_tokenizers(self, nodes: list[TextNode], tmp_path: Path) -> None:
        retriever = KoBM25Retriever.from_defaults(nodes, tokenizer=str.split, path=tmp_path)
        assert _ids(retriever.retrieve("도서관은")) == ["노드-1"]
        assert retriever.retrieve("도서관") == []
        assert _ids(KoBM25Retriever.from_defaults(nodes).retrieve("도서관")) == ["노드-1"]
        with pytest.raises(FingerprintError, match="custom"):
            KoBM25Retriever.from_persist_dir(tmp_path)
        opened = KoBM25Retriever.from_persist_dir(tmp_path, tokenizer=str.split)
        assert _ids(opened.retrieve("도서관은")) == ["노드-1"]

    def test_scores_order_and_what_shares_no_word(self) -> None:
        """As in LlamaIndex's BM25 retriever: more query words rank higher, and documents without any are not found."""
        texts = ["바다 산", "바다 바다 강", "하늘"]
        retriever = KoBM25Retriever.from_defaults([TextNode(id_=text, text=text) for text in texts], similarity_top_k=2)
        assert _ids(retriever.retrieve("바다 강")) == ["바다 바다 강", "바다 산"]
        assert _ids(retriever.retrieve("하늘")) == ["하늘"]
        assert retriever.retrieve("구름") == []


class TestHybrid:
    def test_weights_and_methods(
        self, nodes: list[TextNode], colbert: LateInteractionEncoder, dense: DenseEncoder
    ) -> None:
        retriever = KoHybridRetriever.from_defaults(nodes, models=[colbert, dense])
        assert retriever.collection.legs == ("colbert", "dense", "bm25")
        words = retriever.collection.search("제6조의2", using="bm25")
        assert [(node.node_id, node.score) for node in retriever.retrieve(QUERY)] == [
            (hit.id, hit.score) for hit in retriever.collection.search(QUERY, k=retriever.similarity_top_k)
        ]
        retriever.weights = [0, 0, 1]
        assert _ids(retriever.retrieve("제6조의2"))[: len(words)] == [hit.id for hit in words]
        retriever.weights = {"colbert": 0, "dense": 0}
        assert _ids(retriever.retrieve("제6조의2"))[: len(words)] == [hit.id for hit in words]
        retriever.fusion, retriever.fetch_k = "weighted", 5
        expected = retriever.collection.search(
            QUERY, weights={"colbert": 0, "dense": 0}, fusion="weighted", fetch_k=5, k=10
        )
        assert [one.score for one in retriever.retrieve(QUERY)] == [hit.score for hit in expected]

    def test_bad_settings(self, nodes: list[TextNode], colbert: LateInteractionEncoder, dense: DenseEncoder) -> None:
        for options, message in [
            ({"weights": [1]}, "1 weights for 2 legs"),
            ({"weights": {"sparse": 1}}, "'sparse'"),
            ({"weights": {"bm25": -1}}, "at least 0"),
            ({"fusion": "mean"}, "fusion='mean'"),
            ({"fetch_k": -1}, "fetch_k=-1"),
            ({"models": "mini-colbert"}, "must be a list"),
            ({"models": [colbert, colbert]}, "two late_interaction models"),
        ]:
            with pytest.raises(InvalidArgumentError, match=message):
                KoHybridRetriever.from_defaults(nodes, **{"models": [colbert], **options})
        with pytest.raises(IndexStateError, match="bm25=True"):
            KoHybridRetriever.from_defaults(nodes, models=[colbert], bm25=False)


class TestFolder:
    def test_every_change_is_on_disk(
        self, nodes: list[TextNode], colbert: LateInteractionEncoder, tmp_path: Path
    ) -> None:
        for _ in range(2):  # the same program twice
            retriever = KoColBERTRetriever.from_defaults(nodes[:3], model_name=colbert, path=tmp_path)
        retriever.delete_nodes(["노드-1"])
        retriever.add_nodes(nodes[3:4])
        opened = KoColBERTRetriever.from_persist_dir(str(tmp_path))
        assert opened.get_nodes() == [nodes[0], nodes[2], nodes[3]]
        assert opened.retrieve(QUERY) == retriever.retrieve(QUERY)
        assert retriever.persist(tmp_path) == tmp_path

    def test_persist_again_replaces_what_it_wrote(self, fresh: KoColBERTRetriever, tmp_path: Path) -> None:
        fresh.persist(tmp_path / "저장")
        fresh.delete_nodes(["노드-0"])
        with pytest.raises(InvalidArgumentError, match="overwrite=True"):
            fresh.persist(tmp_path / "저장", overwrite=False)
        fresh.persist(tmp_path / "저장")
        assert KoColBERTRetriever.from_persist_dir(tmp_path / "저장").get_nodes() == fresh.get_nodes()
        assert [path.name for path in tmp_path.iterdir()] == ["저장"]

    def test_another_model_is_refused(self, fresh: KoColBERTRetriever, nodes: list[TextNode], tmp_path: Path) -> None:
        fresh.persist(tmp_path / "저장")
        other = load_encoder("mini-colbert", dim=64)
        with pytest.raises(FingerprintError, match="dim was 128 and is now 64"):
            KoColBERTRetriever.from_persist_dir(tmp_path / "저장", model_name=other)
        with pytest.raises(FingerprintError):
            KoColBERTRetriever.from_defaults(nodes, model_name=other, path=tmp_path / "저장")
        with pytest.raises(WrongFamilyError, match=r"korag\.SparseEncoder"):
            KoColBERTRetriever.from_defaults(nodes, model_name="mini-splade")
        for kind in (KoBM25Retriever, KoSpladeRetriever):
            with pytest.raises(IndexStateError, match="from_defaults"):
                kind.from_persist_dir(tmp_path / "저장")

    def test_a_foreign_folder_is_refused_and_left_alone(
        self, fresh: KoColBERTRetriever, nodes: list[TextNode], tmp_path: Path
    ) -> None:
        VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=2)).storage_context.persist(str(tmp_path / "남의"))
        before = sorted(path.name for path in (tmp_path / "남의").iterdir())
        for attempt in (
            lambda: KoColBERTRetriever.from_persist_dir(tmp_path / "남의"),
            lambda: KoBM25Retriever.from_defaults(nodes, path=tmp_path / "남의"),
            lambda: fresh.persist(tmp_path / "남의"),
        ):
            with pytest.raises(ForeignFolderError):
                attempt()
        assert sorted(path.name for path in (tmp_path / "남의").iterdir()) == before
        with pytest.raises(IndexStateError, match=r"KoColBERTRetriever\.from_defaults"):
            KoColBERTRetriever.from_persist_dir(tmp_path / "없음")

    def test_a_read_only_folder(self, nodes: list[TextNode], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        KoBM25Retriever.from_defaults(nodes, path=tmp_path / "저장").collection.close()
        for path in ((tmp_path / "저장").rglob("*"), [tmp_path / "저장"]):
            for each in path:
                each.chmod(0o555 if each.is_dir() else 0o444)
        monkeypatch.setattr("os.access", lambda _path, mode, **_options: not mode & os.W_OK)  # root may write anywhere
        retriever = KoBM25Retriever.from_persist_dir(tmp_path / "저장")
        assert _ids(retriever.retrieve("도서관")) == ["노드-1"]
        assert retriever.add_nodes(nodes[:1]) == ["노드-0"]  # there is nothing to write
        new = TextNode(text="새 글")
        for write in (lambda: retriever.add_nodes([new]), lambda: retriever.delete_nodes(["노드-0"])):
            with pytest.raises(ReadOnlyError):
                write()
        assert len(retriever.get_nodes()) == len(nodes)
        (tmp_path / "저장").chmod(0o755)


class TestObjects:
    def test_index_nodes_lead_on(self, nodes: list[TextNode], colbert: LateInteractionEncoder) -> None:
        inner = KoBM25Retriever.from_defaults(nodes)
        pointers = [
            IndexNode(id_="요약-1", text="보증금 안내", index_id="보증금"),
            IndexNode(id_="요약-2", text="도서관 안내", index_id="도서관", obj=TextNode(id_="안", text="쉬는 날")),
        ]
        before = copy.deepcopy(pointers)
        retriever = KoColBERTRetriever.from_defaults(
            pointers, model_name=colbert, similarity_top_k=1, object_map={"보증금": inner}
        )
        assert pointers == before
        assert _ids(retriever.retrieve("보증금")) == _ids(inner.retrieve("보증금"))
        assert _ids(retriever.retrieve("도서관")) == ["안"]

    async def test_objects_and_their_query_engines(self, nodes: list[TextNode], tmp_path: Path) -> None:
        engine = RetrieverQueryEngine.from_args(KoBM25Retriever.from_defaults(nodes), llm=MockLLM())
        pointer = IndexNode(id_="요약", text="도서관 안내", index_id="도서관", obj=engine)
        retriever = KoBM25Retriever.from_defaults([pointer], path=tmp_path)
        assert pointer.obj is engine
        (answer,) = await retriever.aretrieve("도서관")
        assert "도서관" in answer.node.get_content()
        opened = KoBM25Retriever.from_persist_dir(tmp_path)
        assert _ids(opened.retrieve("도서관")) == ["요약"]
        given = KoBM25Retriever.from_persist_dir(tmp_path, objects=[pointer])
        assert "도서관" in given.retrieve("도서관")[0].node.get_content()


@pytest.fixture
def events() -> Iterator[list[Any]]:
    seen: list[Any] = []

    class Handler(BaseEventHandler):
        def handle(self, event: Any, **_: Any) -> None:
            if isinstance(event, RetrievalStartEvent | RetrievalEndEvent):
                seen.append(event)

    dispatcher, handler = get_dispatcher(), Handler()
    dispatcher.add_event_handler(handler)
    yield seen
    dispatcher.event_handlers.remove(handler)


class TestEvents:
    async def test_each_start_has_its_end(self, shared: KoColBERTRetriever, events: list[Any]) -> None:
        debug = LlamaDebugHandler(print_trace_on_end=False)
        watched = KoColBERTRetriever(shared.collection, callback_manager=CallbackManager([debug]))
        found = [watched.retrieve(QUERY), await watched.aretrieve(QUERY)]
        assert [type(event) for event in events] == [RetrievalStartEvent, RetrievalEndEvent] * 2
        assert [event.nodes for event in events[1::2]] == found
        assert len(debug.get_event_pairs(CBEventType.RETRIEVE)) == 2

    async def test_one_span_a_retrieval(self, shared: KoColBERTRetriever) -> None:
        spans: Any = SimpleSpanHandler()
        dispatcher = get_dispatcher()
        dispatcher.add_span_handler(spans)
        try:
            shared.retrieve(QUERY)
            await shared.aretrieve(QUERY)
        finally:
            dispatcher.span_handlers.remove(spans)
        names = [span.id_.partition("-")[0].rpartition(".")[2] for span in spans.completed_spans]
        assert sorted(names) == ["_retrieve", "_retrieve", "aretrieve", "retrieve"]
        assert not spans.open_spans


class TestAsync:
    @pytest.mark.slow
    async def test_64_at_once_equal_one_by_one(self, shared: KoColBERTRetriever, documents: list[str]) -> None:
        queries = [f"{text[: 5 + index % 9]} {index % 16}" for index, text in enumerate(documents * 8)]
        assert len(queries) == 64
        expected = [shared.retrieve(query) for query in queries]
        assert await asyncio.gather(*map(shared.aretrieve, queries)) == expected

    async def test_the_event_loop_is_not_blocked(
        self, shared: KoColBERTRetriever, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await assert_loop_stays_free(monkeypatch, Collection, "search_many", lambda: shared.aretrieve(QUERY))

    async def test_a_cancelled_call_leaves_nothing_broken(
        self, shared: KoColBERTRetriever, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        expected = shared.retrieve(QUERY)
        inside, gate, original = threading.Event(), threading.Event(), Collection.search_many

        def waiting(*args: Any, **options: Any) -> Any:
            inside.set()
            assert gate.wait(20)
            return original(*args, **options)

        with monkeypatch.context() as patched:
            patched.setattr(Collection, "search_many", waiting)
            task = asyncio.create_task(shared.aretrieve(QUERY))
            await asyncio.to_thread(inside.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            gate.set()
        assert await shared.aretrieve(QUERY) == expected


class TestInLlamaIndex:
    async def test_query_engine(self, shared: KoColBERTRetriever, nodes: list[TextNode]) -> None:
        engine = RetrieverQueryEngine.from_args(shared, llm=MockLLM())
        response = engine.query(QUERY)
        assert nodes[0].text in str(response)
        assert response.source_nodes == shared.retrieve(QUERY)
        assert (await engine.aquery(QUERY)).source_nodes == response.source_nodes

    async def test_chat_engine(self, shared: KoColBERTRetriever, nodes: list[TextNode]) -> None:
        memory = ChatMemoryBuffer.from_defaults(token_limit=3_000)  # the default one leaves a connection open
        chat = ContextChatEngine.from_defaults(retriever=shared, llm=MockLLM(), memory=memory)
        assert nodes[0].text in str(chat.chat(QUERY))
        assert (await chat.achat(QUERY)).source_nodes == shared.retrieve(QUERY)

    def test_router(self, shared: KoColBERTRetriever, nodes: list[TextNode]) -> None:
        class Choosing(MockLLM):
            def predict(self, *_: Any, **__: Any) -> str:
                return '[{"choice": 2, "reason": "words"}]'

        words = KoBM25Retriever.from_defaults(nodes)
        tools = [RetrieverTool.from_defaults(one, description=text) for one, text in ((shared, "뜻"), (words, "낱말"))]
        router = RouterRetriever(LLMSingleSelector.from_defaults(llm=Choosing()), tools, llm=MockLLM())
        assert _ids(router.retrieve("도서관")) == _ids(words.retrieve("도서관"))

    @pytest.mark.slow
    @pytest.mark.parametrize("mode", FUSION_MODES)
    async def test_fusion_of_queries_and_retrievers(
        self, shared: KoColBERTRetriever, nodes: list[TextNode], mode: FUSION_MODES
    ) -> None:
        """It identifies nodes by hash, so the same node from two retrievers must have the same hash."""
        words = KoBM25Retriever.from_defaults(nodes)
        fused = QueryFusionRetriever(
            [shared, words], llm=MockLLM(), num_queries=1, mode=mode, use_async=False, similarity_top_k=8
        )
        found = fused.retrieve(QUERY)
        assert len(set(_ids(found))) == len(found)
        assert _ids(found)[0] == "노드-0"
        assert set(_ids(found)) == {*_ids(shared.retrieve(QUERY)), *_ids(words.retrieve(QUERY))}
        assert _ids(await fused.aretrieve(QUERY)) == _ids(found)

    def test_auto_merging(self, colbert: LateInteractionEncoder, documents: list[str]) -> None:
        document = Document(doc_id="책", text=" ".join(documents))
        parser = HierarchicalNodeParser.from_defaults(chunk_sizes=[512, 64], chunk_overlap=0)
        tree = parser.get_nodes_from_documents([document])
        context = StorageContext.from_defaults()
        context.docstore.add_documents(tree)
        leaves = get_leaf_nodes(tree)
        assert len(leaves) > 2
        inner: Any = KoColBERTRetriever.from_defaults(leaves, model_name=colbert, similarity_top_k=len(leaves))
        merged = AutoMergingRetriever(inner, context).retrieve(QUERY)
        assert len(merged) < len(leaves)
        assert {node.node.node_id for node in merged} & {n.node_id for n in tree if n not in leaves}

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of LlamaIndex's use of pydantic
    async def test_an_agents_tool(self, shared: KoColBERTRetriever, nodes: list[TextNode]) -> None:
        engine = RetrieverQueryEngine.from_args(shared, llm=MockLLM())
        tool = QueryEngineTool.from_defaults(engine, name="law", description="규정을 찾는다")
        assert nodes[0].text in str((await tool.acall(QUERY)).content)
        agent = FunctionAgent(tools=[tool], llm=MockFunctionCallingLLM())
        assert str(await agent.run(user_msg=QUERY, memory=ChatMemoryBuffer.from_defaults(token_limit=3_000)))

    async def test_a_workflow(self, shared: KoColBERTRetriever) -> None:
        class Search(Workflow):
            @step
            async def search(self, event: StartEvent) -> StopEvent:
                return StopEvent(result=await shared.aretrieve(event.get("query")))

        found: Any = await Search().run(query=QUERY)
        assert found == shared.retrieve(QUERY)

    def test_is_a_retriever_whose_repr_tells_what_it_searches(self, shared: KoColBERTRetriever) -> None:
        assert isinstance(shared, BaseRetriever)
        assert repr(shared) == (
            "KoColBERTRetriever(Collection(in memory, documents=8, legs=['colbert']), similarity_top_k=3)"
        )
