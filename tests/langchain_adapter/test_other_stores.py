"""Every class that takes a collection takes one of any store."""

from pathlib import Path

import pytest
from langchain_core.documents import Document
from other_store import OtherStore

from korag import Collection, DenseEncoder, LateInteractionEncoder, SparseEncoder
from korag.collection.base import SearchOptions
from korag.errors import IndexStateError, InvalidArgumentError
from langchain_korag import (
    KoBM25Retriever,
    KoColBERTReranker,
    KoColBERTRetriever,
    KoHybridRetriever,
    KoRerankRetriever,
    KoSpladeRetriever,
    KoVectorStore,
)
from langchain_korag.collection_retriever import CollectionRetriever

QUERY = "보증금은 언제 돌려받나요?"
RETRIEVERS = {
    KoColBERTRetriever: SearchOptions(k=2, using="colbert", min_relevance=0.01),
    KoSpladeRetriever: SearchOptions(k=2, using="sparse", min_relevance=0.01),
    KoBM25Retriever: SearchOptions(k=2, using="bm25", min_relevance=0.01),
    KoHybridRetriever: SearchOptions(k=2, using="hybrid", min_relevance=0.01, fusion="anchored"),
}


@pytest.fixture
def store(dense: DenseEncoder, splade: SparseEncoder, colbert: LateInteractionEncoder) -> OtherStore:
    return OtherStore(Collection.in_memory(encoders=[dense, splade, colbert], bm25=True))


@pytest.mark.parametrize(("cls", "options"), RETRIEVERS.items())
async def test_retrievers(
    cls: type[CollectionRetriever], options: SearchOptions, store: OtherStore, papers: list[Document], tmp_path: Path
) -> None:
    retriever = cls(collection=store, k=2, score_threshold=0.01)
    retriever.add_documents(papers)
    found = retriever.invoke(QUERY)
    assert found[0] == papers[0]
    assert await retriever.ainvoke(QUERY) == found
    assert store.searches == [options, options]
    assert retriever.delete([found[0].id or ""])["num_deleted"] == 1
    assert len(store) == len(papers) - 1
    with pytest.raises(InvalidArgumentError, match="OtherStore cannot be saved"):
        retriever.save_local(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_missing_leg(colbert: LateInteractionEncoder) -> None:
    store = OtherStore(Collection.in_memory(encoders=[colbert]))
    for cls in (KoSpladeRetriever, KoHybridRetriever):
        with pytest.raises(IndexStateError, match="OtherStore"):
            cls(collection=store)


def test_reranked(store: OtherStore, papers: list[Document], colbert: LateInteractionEncoder) -> None:
    base = KoBM25Retriever(collection=store)
    base.add_documents(papers)
    retriever = KoRerankRetriever(base_retriever=base, reranker=KoColBERTReranker(model=colbert), k=1, fetch_k=3)
    assert [document.id for document in retriever.invoke(QUERY)] == [papers[0].id]
    assert store.searches == [SearchOptions(k=3, using="bm25")]


def test_vector_store(store: OtherStore, papers: list[Document], dense: DenseEncoder, tmp_path: Path) -> None:
    vector_store = KoVectorStore(collection=store)
    vector_store.add_documents(papers)
    assert vector_store.similarity_search(QUERY, k=1, using="colbert") == papers[:1]
    assert store.searches == [SearchOptions(k=1, using="colbert")]
    vector = dense.encode_queries([QUERY])[0].tolist()
    assert vector_store.similarity_search_by_vector(vector, k=1) == papers[:1]
    assert len(vector_store.max_marginal_relevance_search(QUERY, k=3, using="dense")) == 3
    assert vector_store.get_by_ids([papers[1].id or ""]) == papers[1:2]
    assert vector_store.embeddings is not None
    assert vector_store.delete([papers[1].id or ""])
    with pytest.raises(InvalidArgumentError, match="OtherStore cannot be saved"):
        vector_store.save_local(tmp_path)
