"""KoVectorStore of LlamaIndex: nodes, queries and folders of the store itself."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from event_loop import assert_loop_stays_free
from fsspec import filesystem
from llama_index.core import Document
from llama_index.core.schema import ImageNode, IndexNode, MetadataMode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from llama_index.core.vector_stores.types import BasePydanticVectorStore, VectorStoreQuery, VectorStoreQueryMode
from other_store import OtherStore

from korag import Collection, DenseEncoder, LateInteractionEncoder, SparseEncoder
from korag.errors import FilterError, IndexStateError, InvalidArgumentError, InvalidTextError, KoragError
from llamaindex_korag import KoBM25Retriever, KoEmbedding, KoHybridRetriever, KoSparseEmbedding, KoVectorStore

QUERY = "보증금은 언제 돌려받나요?"
WIDE = "보증금 계약, 도서관 휴관일, 연차 휴가 신청과 환불 규정"
TOPICS = ["주거", "생활", "음식", "쇼핑", "직장", "규정", "규정", "직장"]


@pytest.fixture(scope="module")
def nodes(documents: list[str]) -> list[TextNode]:
    """No test may change them."""
    return [
        TextNode(
            id_=f"노드-{index}",
            text=text,
            metadata={"주제": topic, "쪽": index},
            excluded_embed_metadata_keys=["쪽"],
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"글-{index // 2}")},
        )
        for index, (text, topic) in enumerate(zip(documents, TOPICS, strict=True))
    ]


@pytest.fixture(scope="module")
def store(
    dense: DenseEncoder, colbert: LateInteractionEncoder, splade: SparseEncoder, nodes: list[TextNode]
) -> KoVectorStore:
    """All four legs, for the tests that only read."""
    made = KoVectorStore([dense, colbert, splade], bm25=True)
    made.add(nodes)
    return made


@pytest.fixture
def fresh(dense: DenseEncoder, nodes: list[TextNode]) -> KoVectorStore:
    """A writable store with the first four nodes."""
    made = KoVectorStore([dense], bm25=True)
    made.add(nodes[:4])
    return made


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch, fresh: KoVectorStore) -> list[str]:
    """The texts that a dense model encodes from now on."""
    seen: list[str] = []
    original = DenseEncoder.encode_documents

    def watched(self: DenseEncoder, texts: Any, **options: Any) -> Any:
        seen.extend(texts)
        return original(self, texts, **options)

    monkeypatch.setattr(DenseEncoder, "encode_documents", watched)
    return seen


def _query(text: str | None = WIDE, k: int = 4, mode: str = "default", **fields: Any) -> VectorStoreQuery:
    return VectorStoreQuery(query_str=text, similarity_top_k=k, mode=VectorStoreQueryMode(mode), **fields)


def _filters(*filters: MetadataFilter | MetadataFilters, condition: str = "and") -> MetadataFilters:
    return MetadataFilters(filters=list(filters), condition=FilterCondition(condition))


class TestNodes:
    def test_round_trip(self, store: KoVectorStore, nodes: list[TextNode]) -> None:
        assert isinstance(store, BasePydanticVectorStore)
        assert store.get_nodes() == nodes
        assert store.get_nodes(["노드-3", "없음", "노드-1"]) == [nodes[3], nodes[1]]
        assert [node.hash for node in store.get_nodes()] == [node.hash for node in nodes]
        assert store.client is store.collection

    def test_replacing_and_ids(self, fresh: KoVectorStore) -> None:
        assert fresh.add([TextNode(id_="노드-1", text="바뀐 글"), TextNode(id_="새", text="새 글")]) == ["노드-1", "새"]
        assert len(fresh.get_nodes()) == 5
        assert fresh.get_nodes(["노드-1"])[0].get_content() == "바뀐 글"
        assert fresh.add([]) == []

    def test_the_same_text_twice_is_two_nodes(self, fresh: KoVectorStore) -> None:
        """A docstore knows the ids, so they are kept strictly."""
        fresh.add([TextNode(text="같은 글"), TextNode(text="같은 글")])
        assert len(fresh.get_nodes()) == 6

    def test_get_and_delete_by_filters(self, fresh: KoVectorStore) -> None:
        housing = _filters(MetadataFilter(key="주제", value="주거"))
        assert [node.node_id for node in fresh.get_nodes(filters=housing)] == ["노드-0"]
        assert fresh.get_nodes(["노드-1"], filters=housing) == []
        fresh.delete_nodes(["노드-0", "노드-1"], filters=housing)
        assert [node.node_id for node in fresh.get_nodes()] == ["노드-1", "노드-2", "노드-3"]
        fresh.delete_nodes(filters=_filters(MetadataFilter(key="쪽", value=1, operator=FilterOperator.GT)))
        assert [node.node_id for node in fresh.get_nodes()] == ["노드-1"]
        fresh.delete_nodes([])
        fresh.delete_nodes(["노드-1", "없음"])
        assert fresh.get_nodes() == []
        with pytest.raises(InvalidArgumentError, match=r"clear\(\)"):
            fresh.delete_nodes()

    def test_delete_by_document_and_clear(self, fresh: KoVectorStore) -> None:
        fresh.add([Document(id_="통째", text="나누지 않은 글")])
        fresh.delete("글-0")
        assert [node.node_id for node in fresh.get_nodes()] == ["노드-2", "노드-3", "통째"]
        fresh.delete("통째")
        fresh.delete("없음")
        assert len(fresh.get_nodes()) == 2
        fresh.clear()
        assert fresh.get_nodes() == []
        assert fresh.collection.legs == ("dense", "bm25")

    def test_count(self, store: KoVectorStore) -> None:
        assert store.count() == 8
        assert store.count(_filters(MetadataFilter(key="주제", value="규정"))) == 2

    async def test_update_metadata(self, fresh: KoVectorStore, nodes: list[TextNode], encoded: list[str]) -> None:
        """The page is not searched, so nothing is encoded for it; the topic is, so its nodes are encoded again."""
        scores = fresh.query(_query()).similarities
        assert fresh.update_metadata(["노드-1", "노드-0"], {"쪽": 70}) == ["노드-1", "노드-0"]
        assert encoded == []
        assert fresh.query(_query()).similarities == scores
        assert [node.metadata for node in fresh.get_nodes()[:2]] == [
            {"주제": "주거", "쪽": 70},
            {"주제": "생활", "쪽": 70},
        ]
        await fresh.aupdate_metadata(["노드-0", "노드-1"], [{"주제": "소식지"}, {"쪽": 70}])
        assert encoded == ["주제: 소식지\n\n" + nodes[0].text]
        assert fresh.query(_query("소식지", mode="text_search")).ids == ["노드-0"]
        assert await fresh.acount(_filters(MetadataFilter(key="주제", value="소식지"))) == 1
        fresh.update_metadata(["노드-0"], {"쪽": 1}, replace=True)
        expected = nodes[0].model_copy(update={"metadata": {"쪽": 1}})
        assert fresh.get_nodes(["노드-0"]) == [expected]
        assert fresh.query(_query("소식지", mode="text_search")).ids == []
        fresh.delete("글-0")  # which nodes come from a document is not lost
        assert [node.node_id for node in fresh.get_nodes()] == ["노드-2", "노드-3"]

    def test_update_metadata_changes_all_or_nothing(self, fresh: KoVectorStore, nodes: list[TextNode]) -> None:
        for node_ids, metadata in (
            (["노드-0", "없음"], {"쪽": 1}),
            (["노드-0", "노드-0"], {"쪽": 1}),
            (["노드-0", "노드-1"], [{"쪽": 1}]),
            (["노드-0"], {"쪽": float("nan")}),
            (["노드-0"], {"_korag_node": {}}),
            ("노드-0", {"쪽": 1}),
        ):
            with pytest.raises(KoragError):
                fresh.update_metadata(node_ids, metadata)
        assert fresh.get_nodes() == nodes[:4]

    def test_update_metadata_keeps_to_the_mode_a_node_was_added_with(self, dense: DenseEncoder) -> None:
        first = KoVectorStore([dense], bm25=True, metadata_mode="none")
        first.add([TextNode(id_="가", text="글", metadata={"갈래": "소식지"})])
        second = KoVectorStore(collection=first.collection)
        second.update_metadata(["가"], {"갈래": "사용자 설명서"})
        assert second.query(_query("설명서", mode="text_search")).ids == []

    def test_update_metadata_of_documents_from_elsewhere(self, dense: DenseEncoder) -> None:
        collection = Collection.in_memory(encoders=[dense])
        collection.add(["글"], ids=["가"], metadata=[{"쪽": 1}])
        KoVectorStore(collection=collection).update_metadata(["가"], {"장": 2})
        assert [(one.text, one.metadata) for one in collection.get()] == [("글", {"쪽": 1, "장": 2})]

    def test_what_cannot_be_searched(self, fresh: KoVectorStore, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(InvalidArgumentError, match="has image but no text"):
            fresh.add([ImageNode(id_="그림", image_url="https://example.com/a.png")])
        with pytest.raises(InvalidTextError, match="is a str"):
            fresh.add(["글"])  # type: ignore[list-item]
        with pytest.raises(InvalidTextError, match="a single TextNode"):
            fresh.add(TextNode(text="글"))  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match=r"index_id '안쪽'.*object_map"):
            fresh.add([IndexNode(text="가리키는 글", index_id="안쪽", obj=KoBM25Retriever.from_defaults([]))])
        assert len(fresh.get_nodes()) == 4
        assert fresh.add([TextNode(id_="빈", text=" \n"), TextNode(id_="글", text="글")]) == ["빈", "글"]
        assert [node.node_id for node in fresh.get_nodes()][4:] == ["글"]
        assert "1 of 2 nodes have no text" in caplog.text

    def test_index_nodes_and_captioned_images(self, fresh: KoVectorStore) -> None:
        inside = IndexNode(id_="가", text="환불 안내", index_id="환불", obj=TextNode(id_="나", text="이레 안에 신청"))
        image = ImageNode(id_="다", text="점검 화면", image_url="https://example.com/a.png")
        fresh.add([inside, image])
        assert fresh.get_nodes(["가", "다"]) == [inside, image]
        assert fresh.query(_query("환불 안내", 1)).nodes == [inside]

    def test_metadata_mode(self) -> None:
        node = TextNode(
            id_="가", text="글", metadata={"갈래": "소식지", "쪽": "칠십"}, excluded_embed_metadata_keys=["쪽"]
        )
        for mode, words in ((MetadataMode.EMBED, ["소식지"]), ("all", ["소식지", "칠십"]), (MetadataMode.NONE, [])):
            store = KoVectorStore(bm25=True, metadata_mode=mode)
            store.add([node])
            assert [word for word in ("소식지", "칠십") if store.query(_query(word)).ids] == words
            assert store.get_nodes() == [node]
        with pytest.raises(InvalidArgumentError, match="metadata_mode='embedding'"):
            KoVectorStore(bm25=True, metadata_mode="embedding")
        with pytest.raises(InvalidArgumentError, match="metadata_mode of KoVectorStore is frozen"):
            store.metadata_mode = MetadataMode.ALL

    def test_unknown_keywords(self, fresh: KoVectorStore) -> None:
        for call in (
            lambda: fresh.add([], batch_size=3),
            lambda: fresh.delete("글-0", shard_identifier="가"),
            lambda: fresh.delete_nodes(["노드-0"], shard_identifier="가"),
            lambda: fresh.query(_query(), qdrant_filters={}),
        ):
            with pytest.raises(InvalidArgumentError, match="KoVectorStore takes no"):
                call()
        for field in ("stores_text", "is_embedding_query"):  # LlamaIndex's, and no settings
            with pytest.raises(InvalidArgumentError, match=f"takes no '{field}'.* load_stored_models\\.$"):
                KoVectorStore(bm25=True, **{field: True})
        assert len(fresh.get_nodes()) == 4


class TestEmbeddings:
    def test_another_models_embeddings_are_not_stored_and_said_so(
        self, fresh: KoVectorStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        given = TextNode(id_="새", text="새 글", embedding=[0.1, 0.2])
        for _ in range(2):
            fresh.add([given])
        assert caplog.text.count("embeddings of another model") == 1
        assert "store.embed_model" in caplog.text
        assert given.embedding == [0.1, 0.2]
        assert fresh.get_nodes(["새"])[0].embedding is None

    def test_its_own_are_empty_and_cost_nothing(
        self, fresh: KoVectorStore, nodes: list[TextNode], caplog: pytest.LogCaptureFixture
    ) -> None:
        model = fresh.embed_model
        marked = model([node.model_copy() for node in nodes])
        assert [node.embedding for node in marked] == [[]] * 8
        fresh.add(marked)  # type: ignore[arg-type]
        assert fresh.get_nodes() == nodes
        assert "embeddings" not in caplog.text
        again = type(model).from_dict(model.to_dict())
        assert again.to_dict() == model.to_dict()

    async def test_its_own_are_refused_where_vectors_are_needed(self, fresh: KoVectorStore) -> None:
        model = fresh.embed_model
        with pytest.raises(InvalidArgumentError, match="KoEmbedding"):
            model.get_query_embedding(QUERY)
        with pytest.raises(InvalidArgumentError, match="KoEmbedding"):
            await model.aget_query_embedding(QUERY)
        with pytest.raises(InvalidArgumentError, match="KoEmbedding"):
            model.similarity([], [])


class TestQueries:
    @pytest.mark.parametrize(
        ("mode", "own"),
        [
            ("default", {}),
            ("hybrid", {"using": "hybrid"}),
            ("sparse", {"using": "sparse"}),
            ("text_search", {"using": "bm25"}),
        ],
    )
    def test_modes(self, store: KoVectorStore, mode: str, own: dict[str, Any], nodes: list[TextNode]) -> None:
        hits = store.collection.search(WIDE, k=4, **own)
        found = store.query(_query(mode=mode))
        assert hits
        assert (found.ids, found.similarities) == ([hit.id for hit in hits], [hit.score for hit in hits])
        assert found.similarities == sorted(found.similarities or [], reverse=True)
        by_id = {node.node_id: node for node in nodes}
        assert found.nodes == [by_id[hit.id] for hit in hits]

    def test_sparse_is_bm25_without_splade(self, fresh: KoVectorStore) -> None:
        assert fresh.query(_query(mode="sparse")) == fresh.query(_query(mode="text_search"))

    def test_keywords_are_the_collections(self, store: KoVectorStore) -> None:
        for given in (
            {"using": "colbert", "exact": False},
            {"fusion": "weighted", "weights": {"bm25": 2.0}},
            {"fetch_k": 2},
            {"using": "dense", "min_relevance": 0.3},
            {"repair_query": False},
        ):
            hits = store.collection.search(WIDE, k=4, **given)  # type: ignore[arg-type]
            assert store.query(_query(), **given).ids == [hit.id for hit in hits]
        listed = store.query(_query(), weights=[1, 1, 1, 2])
        assert listed == store.query(_query(), weights={"bm25": 2})

    def test_alpha(self, store: KoVectorStore) -> None:
        usual = store.query(_query(mode="hybrid"))
        assert store.query(_query(mode="hybrid", alpha=0.5)) == usual
        words = store.collection.search(WIDE, k=4, weights={"dense": 0, "colbert": 0, "sparse": 2, "bm25": 2})
        assert store.query(_query(mode="hybrid", alpha=0)).ids == [hit.id for hit in words]
        vectors = store.collection.search(WIDE, k=4, weights={"dense": 2, "colbert": 2, "sparse": 0, "bm25": 0})
        assert store.query(_query(mode="hybrid", alpha=1.0)).ids == [hit.id for hit in vectors]
        for wrong in (1.5, -1, "반", True):
            with pytest.raises(InvalidArgumentError, match="alpha="):
                store.query(_query(mode="hybrid", alpha=wrong))

    def test_alpha_needs_both_kinds(self, dense: DenseEncoder, colbert: LateInteractionEncoder) -> None:
        with pytest.raises(InvalidArgumentError, match=r"alpha weighs .* only dense, colbert"):
            KoVectorStore([dense, colbert]).query(_query(mode="hybrid", alpha=0.3))

    def test_numbers_of_nodes(self, store: KoVectorStore) -> None:
        wide = store.query(_query(k=8, mode="hybrid"))
        assert len(wide.ids or []) == 8
        assert store.query(_query(k=8, mode="hybrid", hybrid_top_k=2)).ids == (wide.ids or [])[:2]
        few = store.collection.search(WIDE, k=2, using="hybrid", fetch_k=2)
        assert store.query(_query(k=2, mode="hybrid", sparse_top_k=2)).ids == [hit.id for hit in few]
        assert store.query(_query(k=1, mode="sparse", sparse_top_k=3)) == store.query(_query(k=3, mode="sparse"))
        assert store.query(_query(k=1, mode="text_search", sparse_top_k=3)) == store.query(
            _query(k=3, mode="text_search")
        )
        assert store.query(_query(k=0)).ids == []
        for fields in ({"k": -1}, {"mode": "hybrid", "hybrid_top_k": -1}, {"mode": "sparse", "sparse_top_k": 1.5}):
            with pytest.raises(InvalidArgumentError, match="_top_k="):
                store.query(_query(**fields))

    def test_mmr(self, dense: DenseEncoder) -> None:
        store = KoVectorStore([dense])
        texts = ["보증금 반환", "보증금 반환", "보증금 반환 기한", "도서관 휴관일"]
        store.add([TextNode(id_=str(index), text=text) for index, text in enumerate(texts)])
        nearest = store.query(_query("보증금", 2)).ids
        assert nearest == ["0", "1"]
        varied = store.query(_query("보증금", 2, "mmr"), mmr_threshold=0.2).ids or []
        assert varied[0] == "0"
        assert varied[1] in ("2", "3")
        assert store.query(_query("보증금", 2, "mmr", mmr_threshold=0.2)).ids == varied
        assert store.query(_query("보증금", 2, "mmr"), mmr_threshold=1).ids == nearest
        for few in ({"mmr_prefetch_factor": 1}, {"mmr_prefetch_k": 2}, {"mmr_prefetch_k": 0}):
            assert store.query(_query("보증금", 2, "mmr"), mmr_threshold=0.2, **few).ids == nearest
        assert len(store.query(_query("보증금", 9, "mmr")).ids or []) == 4
        vector = dense.encode_queries(["보증금"])[0].tolist()
        by_vector = store.query(_query(None, 2, "mmr", query_embedding=vector), mmr_threshold=0.2)
        assert by_vector.ids == varied
        for wrong in (
            {"mmr_threshold": 2},
            {"mmr_prefetch_factor": 0.5},
            {"mmr_prefetch_k": -1},
            {"mmr_prefetch_factor": 2, "mmr_prefetch_k": 9},
        ):
            with pytest.raises(InvalidArgumentError, match="mmr_"):
                store.query(_query("보증금", 2, "mmr"), **wrong)

    def test_modes_that_do_not_work_name_those_that_do(
        self, store: KoVectorStore, fresh: KoVectorStore, dense: DenseEncoder
    ) -> None:
        for mode in ("semantic_hybrid", "svm", "logistic_regression", "linear_regression"):
            with pytest.raises(InvalidArgumentError, match="default, mmr, hybrid, sparse, text_search"):
                store.query(_query(mode=mode))
        alone = KoVectorStore([dense])
        for mode, needs in (("sparse", "SPLADE model or BM25"), ("text_search", "BM25"), ("hybrid", "several legs")):
            with pytest.raises(InvalidArgumentError, match=rf"{needs}, but this store has only dense.* default, mmr\."):
                alone.query(_query(mode=mode))

    def test_settings_of_other_modes_are_not_ignored(self, store: KoVectorStore) -> None:
        for mode, fields in (
            ("default", {"alpha": 0.5}),
            ("text_search", {"hybrid_top_k": 3}),
            ("default", {"sparse_top_k": 3}),
            ("hybrid", {"mmr_threshold": 0.5}),
            ("sparse", {"alpha": 0.5}),
        ):
            with pytest.raises(InvalidArgumentError, match=f"{next(iter(fields))} has no effect"):
                store.query(_query(mode=mode, **fields))
        with pytest.raises(InvalidArgumentError, match="mmr_prefetch_k has no effect"):
            store.query(_query(), mmr_prefetch_k=3)
        for mode, given in (("hybrid", {"using": "dense"}), ("sparse", {"using": "bm25"})):
            with pytest.raises(InvalidArgumentError, match="using="):
                store.query(_query(mode=mode), **given)
        with pytest.raises(InvalidArgumentError, match="Both alpha and weights"):
            store.query(_query(mode="hybrid", alpha=0.5), weights={"bm25": 2})
        with pytest.raises(InvalidArgumentError, match="Both sparse_top_k and fetch_k"):
            store.query(_query(mode="hybrid", sparse_top_k=5), fetch_k=9)
        with pytest.raises(InvalidArgumentError, match="embedding_field"):
            store.query(_query(embedding_field="본문"))
        with pytest.raises(InvalidArgumentError, match="using='colbrt'"):
            store.query(_query(), using="colbrt")

    def test_by_vector(self, store: KoVectorStore, dense: DenseEncoder, splade: SparseEncoder) -> None:
        vector = dense.encode_queries([WIDE])[0].tolist()
        expected = store.query(_query(), using="dense")
        for text in (None, ""):
            assert store.query(_query(text, query_embedding=vector)).ids == expected.ids
        assert store.query(_query(None, query_embedding=vector), using="dense").ids == expected.ids
        assert store.query(_query(query_embedding=[1.0] * 3)) == store.query(_query())  # the text is searched
        with pytest.raises(InvalidArgumentError, match="3"):
            store.query(_query(None, query_embedding=[1.0] * 3))
        with pytest.raises(InvalidArgumentError, match="neither a query_str nor a query_embedding"):
            store.query(_query(None))
        for mode in ("hybrid", "sparse", "text_search"):
            with pytest.raises(InvalidArgumentError, match="needs a query_str"):
                store.query(_query(None, mode=mode, query_embedding=vector))
        with pytest.raises(InvalidArgumentError, match="takes no 'fusion'"):
            store.query(_query(None, query_embedding=vector), fusion="rrf")
        with pytest.raises(InvalidArgumentError, match="dense model"):
            KoVectorStore([splade]).query(_query(None, query_embedding=vector))

    def test_an_empty_query(self, store: KoVectorStore) -> None:
        assert store.query(_query("")).ids == []
        found = store.query(_query("", 1, filters=_filters(MetadataFilter(key="주제", value="규정"))))
        assert (found.ids, found.similarities) == (["노드-5"], None)


class TestFilters:
    @pytest.mark.parametrize("mode", ["default", "hybrid", "sparse", "text_search", "mmr"])
    def test_in_every_mode(self, store: KoVectorStore, mode: str) -> None:
        nested = _filters(
            _filters(
                MetadataFilter(key="주제", value=["주거", "생활", "직장"], operator=FilterOperator.IN),
                MetadataFilter(key="쪽", value=3),
                condition="or",
            ),
            _filters(MetadataFilter(key="쪽", value=7, operator=FilterOperator.GTE), condition="not"),
        )
        found = store.query(_query(k=8, mode=mode, filters=nested))
        assert found.ids
        assert set(found.ids) <= {"노드-0", "노드-1", "노드-3", "노드-4"}
        assert set(store.query(_query(k=8, mode=mode, doc_ids=["글-0"])).ids or []) <= {"노드-0", "노드-1"}
        assert store.query(_query(k=8, mode=mode, node_ids=["노드-4"])).ids == ["노드-4"]
        assert store.query(_query(k=8, mode=mode, node_ids=["노드-4"], doc_ids=["글-0"])).ids == []

    def test_empty_lists(self, store: KoVectorStore) -> None:
        """LlamaIndex's index passes ``node_ids=[]`` for all nodes; nobody may see other documents than ``doc_ids``."""
        assert store.query(_query(node_ids=[])) == store.query(_query())
        assert store.query(_query(doc_ids=[])).ids == []

    def test_by_vector(self, store: KoVectorStore, dense: DenseEncoder) -> None:
        vector = dense.encode_queries([WIDE])[0].tolist()
        rules = _filters(MetadataFilter(key="주제", value="규정"))
        found = store.query(_query(None, 8, query_embedding=vector, filters=rules))
        assert set(found.ids or []) == {"노드-5", "노드-6"}

    def test_wrong_ones(self, store: KoVectorStore) -> None:
        with pytest.raises(FilterError, match="pass MetadataFilters"):
            store.query(_query(filters={"주제": "규정"}))
        with pytest.raises(InvalidTextError, match="doc_ids"):
            store.query(_query(doc_ids="글-0"))

    def test_index_nodes_only_is_said(self, fresh: KoVectorStore, caplog: pytest.LogCaptureFixture) -> None:
        fresh.add([IndexNode(id_="가", text="환불 안내", index_id="환불")])
        fresh.query(_query(node_ids=["노드-0"]))
        assert "VectorIndexRetriever" not in caplog.text
        for _ in range(2):
            assert fresh.query(_query("환불 안내", node_ids=["가"])).ids == ["가"]
        assert caplog.text.count("VectorIndexRetriever(index, object_map=...)를") == 1


class TestMaking:
    def test_as_in_langchain(self, dense: DenseEncoder, store: KoVectorStore) -> None:
        assert store.collection.legs == ("dense", "colbert", "sparse", "bm25")
        assert KoVectorStore([dense], bm25=True).collection.legs == ("dense", "bm25")
        windows = KoVectorStore([dense], window=32, stride=16)
        long = TextNode(text="전기 요금은 매달 이십오 일까지 낸다. " * 20)
        windows.add([long])
        (hit,) = windows.collection.search("전기 요금")
        assert hit.span is not None
        assert repr(store) == str(store) == f"KoVectorStore({store.collection!r})"

    def test_embedding_objects_with_their_settings(self) -> None:
        store = KoVectorStore([KoEmbedding(model_name="mini-dense", dim=64), KoSparseEmbedding("mini-splade")])
        assert store.collection.legs == ("dense", "sparse")
        assert store.collection.encoders["dense"].load_arguments["dim"] == 64
        with pytest.raises(InvalidArgumentError, match="KoStoreEmbedding"):
            KoVectorStore([store.embed_model])  # type: ignore[list-item]

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("models", "encoders"),
            ("model", "encoders"),
            ("model_name", "encoders"),
            ("embed_model", "encoders"),
            ("embedding", "encoders"),
            ("persist_dir", "path"),
            ("persist_directory", "path"),
            ("uri", "path"),
            ("client", "collection"),
            ("enable_hybrid", "bm25"),
        ],
    )
    def test_names_of_other_stores(self, name: str, meant: str) -> None:
        with pytest.raises(
            InvalidArgumentError, match=f"takes no '{name}'. Did you mean {meant}\\? It takes: encoders"
        ):
            KoVectorStore(**{name: "mini-dense"})

    def test_wrong_arguments(self, dense: DenseEncoder) -> None:
        with pytest.raises(KoragError):
            KoVectorStore()
        with pytest.raises(InvalidArgumentError, match="encoders="):
            KoVectorStore("mini-dense")
        with pytest.raises(InvalidArgumentError, match="collection cannot be combined"):
            KoVectorStore([dense], collection=Collection.in_memory(bm25=True))
        with pytest.raises(InvalidArgumentError, match=r"not a korag\.Collection"):
            KoVectorStore(collection="폴더")  # type: ignore[arg-type]

    def test_a_collection_of_any_store(self, dense: DenseEncoder, nodes: list[TextNode], tmp_path: Path) -> None:
        other = OtherStore(Collection.in_memory(encoders=[dense], bm25=True))
        store = KoVectorStore(collection=other)
        store.add(nodes)
        assert store.query(_query(QUERY, 1)).nodes == [nodes[0]]
        with pytest.raises(InvalidArgumentError, match="OtherStore cannot be saved"):
            store.persist(tmp_path / "copy")

    def test_retrievers_over_its_collection(self, store: KoVectorStore) -> None:
        found = KoHybridRetriever(store.collection, similarity_top_k=4).retrieve(WIDE)
        assert [one.node_id for one in found] == store.query(_query()).ids


class TestFolders:
    def test_path(self, dense: DenseEncoder, nodes: list[TextNode], tmp_path: Path) -> None:
        store = KoVectorStore([dense], bm25=True, path=tmp_path / "store")
        store.add(nodes)
        for again in (
            KoVectorStore(path=tmp_path / "store"),
            KoVectorStore([dense], path=str(tmp_path / "store")),
            KoVectorStore.from_persist_dir(tmp_path / "store"),
            KoVectorStore.from_persist_path(tmp_path / "store", encoders=["mini-dense"]),
            KoVectorStore.from_dict(store.to_dict()),
            KoVectorStore.from_json(store.to_json()),
        ):
            assert again.get_nodes() == nodes
            assert again.query(_query()) == store.query(_query())
        assert store.class_name() == "KoVectorStore"
        assert store.to_dict() == {
            "path": str(tmp_path / "store"),
            "url": None,
            "collection_name": None,
            "metadata_mode": "embed",
            "class_name": "KoVectorStore",
        }

    def test_persist(self, fresh: KoVectorStore, nodes: list[TextNode], tmp_path: Path) -> None:
        fresh.persist(tmp_path / "copy")
        fresh.add(nodes[4:])
        assert len(KoVectorStore.from_persist_path(tmp_path / "copy").get_nodes()) == 4
        fresh.persist(str(tmp_path / "copy"), fs=filesystem("file"))
        opened = KoVectorStore.from_persist_dir(tmp_path / "copy", metadata_mode="all")
        assert opened.get_nodes() == nodes
        assert opened.metadata_mode is MetadataMode.ALL
        with pytest.raises(InvalidArgumentError, match="fs=MemoryFileSystem"):
            fresh.persist(tmp_path / "other", fs=filesystem("memory"))
        with pytest.raises(IndexStateError, match="no collection in"):
            KoVectorStore.from_persist_dir(tmp_path / "other")
        with pytest.raises(InvalidArgumentError, match="takes no 'encoder'"):
            KoVectorStore.from_persist_dir(tmp_path / "copy", encoder="mini-dense")
        with pytest.raises(InvalidArgumentError, match="from_persist_dir"):
            KoVectorStore.from_dict(fresh.to_dict())

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))])  # noqa: S301
    def test_deepcopy_and_pickle(self, fresh: KoVectorStore, duplicate: Callable[[Any], Any]) -> None:
        expected = fresh.query(_query())
        copied = duplicate(fresh)
        assert copied.query(_query()) == expected
        copied.clear()
        assert fresh.query(_query()) == expected


class TestAsync:
    async def test_the_same_as_sync(self, fresh: KoVectorStore, nodes: list[TextNode]) -> None:
        assert await fresh.async_add(nodes[4:]) == [node.node_id for node in nodes[4:]]
        assert await fresh.aget_nodes(["노드-5"]) == [nodes[5]]
        assert await fresh.aquery(_query(), using="bm25") == fresh.query(_query(), using="bm25")
        await fresh.adelete("글-0")
        await fresh.adelete_nodes(["노드-2"])
        assert await fresh.aget_nodes() == nodes[3:]
        await fresh.aclear()
        assert fresh.get_nodes() == []

    @pytest.mark.parametrize(
        ("method", "call"),
        [
            ("search", lambda store: store.aquery(_query())),
            ("add", lambda store: store.async_add([TextNode(text="새 글")])),
            ("get", lambda store: store.aget_nodes(["노드-0"])),
            ("delete", lambda store: store.adelete("글-0")),
            ("delete", lambda store: store.adelete_nodes(["노드-0"])),
            ("delete", lambda store: store.aclear()),
        ],
    )
    async def test_the_event_loop_is_not_blocked(
        self, fresh: KoVectorStore, monkeypatch: pytest.MonkeyPatch, method: str, call: Any
    ) -> None:
        await assert_loop_stays_free(monkeypatch, Collection, method, lambda: call(fresh))
