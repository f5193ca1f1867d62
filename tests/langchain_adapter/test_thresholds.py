"""One `score_threshold` rejects questions the documents cannot answer, with several legs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from answerable import ANSWERED, DOCUMENTS, UNANSWERED

from korag import Collection
from korag.collection.relevance import RECOMMENDED
from langchain_korag import KoHybridRetriever, KoVectorStore


@pytest.fixture(scope="module")
def collection() -> Iterator[Collection]:
    with Collection.in_memory(encoders=["mini-splade", "mini-dense"], bm25=True) as made:
        made.add(DOCUMENTS)
        yield made


def test_hybrid_retriever(collection: Collection) -> None:
    retriever = KoHybridRetriever(collection=collection, score_threshold=RECOMMENDED)
    assert sum(map(bool, retriever.batch(list(ANSWERED)))) >= len(ANSWERED) - 1
    assert not any(retriever.batch(list(UNANSWERED)))
    assert retriever.invoke(UNANSWERED[0], score_threshold=0.0)


def test_vector_store(collection: Collection) -> None:
    store = KoVectorStore(collection=collection)
    retriever = store.as_retriever(
        search_type="similarity_score_threshold", search_kwargs={"score_threshold": RECOMMENDED, "using": "hybrid"}
    )
    assert sum(map(bool, retriever.batch(list(ANSWERED)))) >= len(ANSWERED) - 1
    assert not any(retriever.batch(list(UNANSWERED)))
    for query in UNANSWERED:
        pairs = store.similarity_search_with_relevance_scores(query, using="hybrid")
        assert all(0 <= score < RECOMMENDED for _, score in pairs)
        assert store.similarity_search(query, using="hybrid", score_threshold=RECOMMENDED) == []
