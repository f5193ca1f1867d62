"""KoVectorStore: LangChain's suite with three sets of legs, and other features of a store."""

import asyncio
import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from event_loop import assert_loop_stays_free
from langchain_core.documents import Document
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import VectorStoreIntegrationTests
from retriever_kinds import QUERY, WIDE, ids

from korag import Collection, DenseEncoder, LateInteractionEncoder, SparseEncoder
from korag.errors import InvalidArgumentError
from langchain_korag import KoEmbeddings, KoVectorStore


class TestStandardDense(VectorStoreIntegrationTests):
    """The whole suite, with a dense model."""

    @pytest.fixture
    def vectorstore(self, dense: DenseEncoder) -> VectorStore:
        return KoVectorStore([dense])


class TestStandardColBERT(VectorStoreIntegrationTests):
    """The whole suite, with a ColBERT model in a folder."""

    @pytest.fixture
    def vectorstore(self, colbert: LateInteractionEncoder, tmp_path: Any) -> VectorStore:
        return KoVectorStore([colbert], path=tmp_path / "store")


class TestStandardHybrid(VectorStoreIntegrationTests):
    """The whole suite, with a SPLADE model and BM25."""

    @pytest.fixture
    def vectorstore(self, splade: SparseEncoder) -> VectorStore:
        return KoVectorStore([splade], bm25=True)


@pytest.fixture(scope="module")
def store(
    dense: DenseEncoder, colbert: LateInteractionEncoder, splade: SparseEncoder, papers: list[Document]
) -> KoVectorStore:
    """All four legs, for the tests that only read."""
    return KoVectorStore.from_documents(papers, encoders=[dense, colbert, splade], bm25=True)


@pytest.fixture
def writable_retriever(dense: DenseEncoder, papers: list[Document]) -> KoVectorStore:
    """A writable store with the first four documents."""
    return KoVectorStore.from_documents(papers[:4], KoEmbeddings(model=dense), bm25=True)


class TestSearch:
    @pytest.mark.slow
    def test_results_are_what_was_added(self, store: KoVectorStore, papers: list[Document]) -> None:
        for using in ("dense", "colbert", "sparse", "bm25", "hybrid", None):
            assert store.similarity_search(QUERY, k=1, using=using) == papers[:1]

    @pytest.mark.slow
    def test_keywords_are_the_collections(self, store: KoVectorStore) -> None:
        for given, own in (
            ({"k": 3}, {"k": 3}),
            ({"using": "colbert", "filter": {"주제": "규정"}}, {"k": 4, "using": "colbert", "where": {"주제": "규정"}}),
            ({"fusion": "weighted", "weights": {"bm25": 2}}, {"k": 4, "fusion": "weighted", "weights": {"bm25": 2}}),
            ({"k": 2, "fetch_k": 2}, {"k": 2, "fetch_k": 2}),
            ({"score_threshold": 0.01, "using": "dense"}, {"k": 4, "using": "dense", "min_relevance": 0.01}),
            ({"exact": False, "using": "colbert"}, {"k": 4, "using": "colbert", "exact": False}),
        ):
            hits = store.collection.search(WIDE, **own)  # type: ignore[arg-type]
            assert hits
            pairs = store.similarity_search_with_score(WIDE, **given)  # type: ignore[arg-type]
            assert [(document.id, score) for document, score in pairs] == [(hit.id, hit.score) for hit in hits]

    def test_exact_reaches_the_collection(self, store: KoVectorStore) -> None:
        with pytest.raises(InvalidArgumentError, match="exact="):
            store.similarity_search(QUERY, exact="yes")

    async def test_sync_and_async_find_the_same(self, store: KoVectorStore, dense: DenseEncoder) -> None:
        keywords: dict[str, Any] = {"k": 3, "filter": {"쪽.처음": {"$lt": 6}}}
        vector = dense.encode_queries([QUERY])[0].tolist()
        for name, query, more in (
            ("similarity_search", WIDE, {"using": "bm25"}),
            ("similarity_search_with_score", WIDE, {"fusion": "weighted"}),
            ("similarity_search_with_relevance_scores", WIDE, {"using": "dense"}),
            ("similarity_search_by_vector", vector, {}),
            ("max_marginal_relevance_search", WIDE, {"lambda_mult": 0.3, "using": "colbert"}),
            ("max_marginal_relevance_search_by_vector", vector, {"fetch_k": 5}),
        ):
            found = getattr(store, name)(query, **keywords, **more)
            assert len(found) == 3
            assert await getattr(store, f"a{name}")(query, **keywords, **more) == found

    @pytest.mark.slow
    def test_relevance_is_in_0_to_1_and_its_threshold_holds(self, store: KoVectorStore) -> None:
        for using in ("dense", "colbert", "sparse", "bm25", "hybrid"):
            pairs = store.similarity_search_with_relevance_scores(WIDE, k=8, using=using)
            scores = [score for _, score in pairs]
            assert all(0 <= score <= 1 for score in scores)
            assert scores == sorted(scores, reverse=True)
            kept = store.similarity_search_with_relevance_scores(WIDE, k=8, using=using, score_threshold=scores[1])
            assert kept == [pair for pair in pairs if pair[1] >= scores[1]]
            assert store.similarity_search(WIDE, k=8, using=using, score_threshold=scores[1]) == [d for d, _ in kept]

    def test_by_vector_is_the_dense_leg(self, store: KoVectorStore) -> None:
        assert store.embeddings is not None
        vector = store.embeddings.embed_query(QUERY)
        assert store.similarity_search_by_vector(vector, k=8) == store.similarity_search(QUERY, k=8, using="dense")

    def test_mmr(self, store: KoVectorStore, dense: DenseEncoder) -> None:
        texts = ["보증금 반환", "보증금 반환", "보증금 반환 기한", "도서관 휴관일"]
        alike = KoVectorStore.from_texts(texts, encoders=[dense])
        nearest = alike.similarity_search("보증금", k=2)
        assert [document.page_content for document in nearest] == ["보증금 반환"] * 2
        varied = alike.max_marginal_relevance_search("보증금", k=2, lambda_mult=0.2)
        assert varied[0] == nearest[0]
        assert varied[1].page_content != "보증금 반환"
        assert alike.max_marginal_relevance_search("보증금", k=2, lambda_mult=1) == nearest
        assert alike.max_marginal_relevance_search("보증금", k=2, fetch_k=0, lambda_mult=0.2) == nearest
        assert len(alike.max_marginal_relevance_search("보증금", k=9)) == 4
        assert alike.max_marginal_relevance_search("보증금", k=0) == []
        only = store.max_marginal_relevance_search(WIDE, k=2, filter={"주제": "규정"}, using="sparse")
        assert {document.metadata["주제"] for document in only} == {"규정"}

    @pytest.mark.slow
    def test_as_retriever_three_ways(self, store: KoVectorStore, papers: list[Document]) -> None:
        similar = store.as_retriever(search_kwargs={"k": 2, "using": "colbert"})
        assert similar.invoke(WIDE) == store.similarity_search(WIDE, k=2, using="colbert")
        assert similar.invoke(WIDE, k=1) == store.similarity_search(WIDE, k=1, using="colbert")
        diverse = store.as_retriever(search_type="mmr", search_kwargs={"k": 3, "fetch_k": 6, "lambda_mult": 0.2})
        assert diverse.invoke(WIDE) == store.max_marginal_relevance_search(WIDE, k=3, fetch_k=6, lambda_mult=0.2)
        pairs = store.similarity_search_with_relevance_scores(WIDE, k=8, using="dense")
        limit = pairs[2][1]
        good = store.as_retriever(
            search_type="similarity_score_threshold",
            search_kwargs={"k": 8, "using": "dense", "score_threshold": limit},
        )
        assert good.invoke(WIDE) == [document for document, score in pairs if score >= limit]
        assert good._get_ls_params()["ls_vector_store_provider"] == "KoVectorStore"
        assert good._get_ls_params()["ls_embedding_provider"] == "KoEmbeddings"

    async def test_as_retriever_async(self, store: KoVectorStore) -> None:
        for search_type, keywords in (
            ("similarity", {"k": 2}),
            ("mmr", {"k": 2, "fetch_k": 4}),
            ("similarity_score_threshold", {"k": 8, "score_threshold": 0.01}),
        ):
            retriever = store.as_retriever(search_type=search_type, search_kwargs=keywords)
            found = retriever.invoke(WIDE)
            assert found
            assert await retriever.ainvoke(WIDE) == found
            assert await store.asearch(WIDE, search_type, **keywords) == found
            assert store.search(WIDE, search_type, **keywords) == found

    def test_an_empty_store(self, dense: DenseEncoder) -> None:
        empty = KoVectorStore([dense], bm25=True)
        assert len(empty) == 0
        assert empty.similarity_search(QUERY) == []
        assert empty.max_marginal_relevance_search(QUERY) == []
        assert KoVectorStore.from_documents([], encoders=[dense]).similarity_search(QUERY) == []

    def test_k_beyond_the_store(self, store: KoVectorStore) -> None:
        assert len(store.similarity_search(WIDE, k=1_000)) == 8


class TestDocuments:
    def test_ids_given_own_and_new(self, writable_retriever: KoVectorStore) -> None:
        own = Document(id="자기", page_content="하나")
        assert writable_retriever.add_documents([own, Document(page_content="둘")], ids=["가", "나"]) == ["가", "나"]
        first, second = writable_retriever.add_documents([own, Document(page_content="둘")])
        assert first == "자기"
        assert second not in {"가", "나", "자기"}
        assert writable_retriever.get_by_ids(["나", "자기", "없음", "나"]) == [
            Document(id="나", page_content="둘"),
            own,
            Document(id="나", page_content="둘"),
        ]

    async def test_texts_and_async(self, writable_retriever: KoVectorStore) -> None:
        assert writable_retriever.add_texts(["하나"], [{"쪽": 1}], ids=["1"]) == ["1"]
        assert await writable_retriever.aadd_texts(["둘"], [{"쪽": 2}], ids=["2"]) == ["2"]
        assert await writable_retriever.aadd_documents([Document(id="3", page_content="셋")]) == ["3"]
        found = await writable_retriever.aget_by_ids(["3", "2", "1"])
        assert [(d.id, d.page_content, d.metadata) for d in found] == [
            ("3", "셋", {}),
            ("2", "둘", {"쪽": 2}),
            ("1", "하나", {"쪽": 1}),
        ]
        assert await writable_retriever.adelete(["1", "없음"]) is True
        assert writable_retriever.get_by_ids(["1"]) == []
        assert len(writable_retriever) == 6

    def test_delete_by_filter(self, writable_retriever: KoVectorStore) -> None:
        assert writable_retriever.delete(filter={"주제": {"$in": ["주거", "음식"]}}) is True
        assert ids(writable_retriever.get_by_ids([f"문서-{index}" for index in range(4)])) == ["문서-1", "문서-3"]
        writable_retriever.delete(["문서-1", "문서-3"], filter={"주제": "생활"})
        assert ids(writable_retriever.get_by_ids(["문서-1", "문서-3"])) == ["문서-3"]
        with pytest.raises(InvalidArgumentError, match=r"filter=\{\}"):
            writable_retriever.delete()
        writable_retriever.delete(filter={})
        assert len(writable_retriever) == 0

    def test_an_update_replaces_text_and_metadata(self, writable_retriever: KoVectorStore) -> None:
        writable_retriever.add_documents([Document(id="문서-0", page_content="사과와 배", metadata={"판": 2})])
        (found,) = writable_retriever.similarity_search("사과", k=1, using="bm25")
        assert found == Document(id="문서-0", page_content="사과와 배", metadata={"판": 2})
        assert writable_retriever.similarity_search("보증금", using="bm25") == []
        assert len(writable_retriever) == 4


class TestMaking:
    def test_from_texts_with_an_embedding(self, dense: DenseEncoder, documents: list[str]) -> None:
        embedding = KoEmbeddings(model=dense)
        store = KoVectorStore.from_texts(
            documents, embedding, [{"쪽": i} for i in range(8)], ids=list("가나다라마바사아")
        )
        assert store.collection.legs == ("dense",)
        assert store.embeddings is not None
        assert store.embeddings.embed_query(QUERY) == embedding.embed_query(QUERY)
        (found,) = store.similarity_search(QUERY, k=1)
        assert found == Document(id="가", page_content=documents[0], metadata={"쪽": 0})

    async def test_async(self, colbert: LateInteractionEncoder, papers: list[Document]) -> None:
        texts = [paper.page_content for paper in papers]
        made = await KoVectorStore.afrom_documents(papers, encoders=[colbert])
        also = await KoVectorStore.afrom_texts(texts, None, ids=[str(i) for i in range(8)], encoders=[colbert])
        assert made.similarity_search(QUERY, k=1) == papers[:1]
        assert ids(also.similarity_search(QUERY, k=1)) == ["0"]
        assert made.embeddings is None

    @pytest.mark.slow
    def test_a_folder(self, dense: DenseEncoder, papers: list[Document], tmp_path: Any) -> None:
        for _ in range(2):
            store = KoVectorStore.from_documents(papers, encoders=[dense], bm25=True, path=tmp_path / "store")
            assert len(store) == 8
        for again in (
            KoVectorStore.load_local(tmp_path / "store"),
            KoVectorStore.load_local(str(tmp_path / "store"), encoders=["mini-dense"]),
            KoVectorStore(path=tmp_path / "store"),
            KoVectorStore([dense], path=tmp_path / "store"),
            KoVectorStore(collection=store.collection),
        ):
            assert again.collection.legs == ("dense", "bm25")
            assert again.similarity_search(WIDE) == store.similarity_search(WIDE)

    def test_documents_without_ids_are_not_added_twice_to_a_folder(self, dense: DenseEncoder, tmp_path: Any) -> None:
        texts, metadatas = ["가나", "다라", "가나"], [{"쪽": 1}, {"쪽": 2}, {"쪽": 1}]
        for _ in range(2):
            store = KoVectorStore.from_texts(texts, None, metadatas, encoders=[dense], path=tmp_path)
            assert len(store) == 3

    def test_saved_copies(self, writable_retriever: KoVectorStore, papers: list[Document], tmp_path: Any) -> None:
        assert writable_retriever.save_local(tmp_path / "copy") == tmp_path / "copy"
        expected = writable_retriever.similarity_search(WIDE)
        writable_retriever.add_documents(papers[4:])
        assert KoVectorStore.load_local(tmp_path / "copy").similarity_search(WIDE) == expected
        with pytest.raises(InvalidArgumentError, match="overwrite=True"):
            writable_retriever.save_local(tmp_path / "copy")
        writable_retriever.save_local(tmp_path / "copy", overwrite=True)
        assert len(KoVectorStore.load_local(tmp_path / "copy")) == 8

    @pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda given: pickle.loads(pickle.dumps(given))])  # noqa: S301
    def test_deepcopy_and_pickle(self, writable_retriever: KoVectorStore, duplicate: Callable[[Any], Any]) -> None:
        expected = writable_retriever.similarity_search(WIDE)
        copied = duplicate(writable_retriever)
        assert copied.similarity_search(WIDE) == expected
        copied.delete(filter={})
        assert writable_retriever.similarity_search(WIDE) == expected

    def test_repr(self, writable_retriever: KoVectorStore) -> None:
        assert repr(writable_retriever) == "KoVectorStore(Collection(in memory, documents=4, legs=['dense', 'bm25']))"


class TestAsync:
    @pytest.mark.slow
    async def test_many_at_once_equal_one_by_one(self, store: KoVectorStore, documents: list[str]) -> None:
        queries = [text[: 5 + index] for index, text in enumerate(documents * 2)]
        expected = [store.similarity_search(query, k=3) for query in queries]
        assert await asyncio.gather(*(store.asimilarity_search(query, k=3) for query in queries)) == expected

    @pytest.mark.parametrize(
        ("method", "call"),
        [
            ("search", lambda store: store.asimilarity_search(QUERY)),
            ("search", lambda store: store.amax_marginal_relevance_search(QUERY)),
            ("search", lambda store: store.asimilarity_search_with_relevance_scores(QUERY)),
            ("add", lambda store: store.aadd_texts(["새 글"])),
            ("add", lambda store: KoVectorStore.afrom_texts(["새 글"], None, bm25=True)),
            ("delete", lambda store: store.adelete(["문서-0"])),
            ("get", lambda store: store.aget_by_ids(["문서-0"])),
        ],
    )
    async def test_the_event_loop_is_not_blocked(
        self, writable_retriever: KoVectorStore, monkeypatch: pytest.MonkeyPatch, method: str, call: Any
    ) -> None:
        await assert_loop_stays_free(monkeypatch, Collection, method, lambda: call(writable_retriever))
