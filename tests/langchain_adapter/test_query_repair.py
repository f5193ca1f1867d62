"""Repaired queries in LangChain's retrievers, vector store and rerankers."""

from typing import Any

import pytest
from langchain_core.documents import Document
from retriever_kinds import Kind

from korag import LateInteractionEncoder
from korag.errors import InvalidArgumentError
from langchain_korag import KoColBERTReranker, KoColBERTRetriever, KoRerankRetriever, KoVectorStore

MEANT, TYPED = "보증금은 언제 돌려받나요?", "qhwmdrmadms djswp ehffuqkeskdy?"


def shown(documents: list[Document]) -> list[Any]:
    return [(d.id, d.metadata["score"], d.metadata.get("rewritten_query")) for d in documents]


async def test_retrievers_search_for_what_was_meant(kind: Kind, papers: list[Document]) -> None:
    retriever = kind.make(papers, k=3, score_key="score")
    expected = [(id_, score, MEANT) for id_, score, _ in shown(retriever.invoke(MEANT))]
    assert shown(retriever.invoke(TYPED)) == expected
    assert shown(await retriever.ainvoke(TYPED)) == expected
    (scored, *_) = retriever.similarity_search_with_score(TYPED)
    assert scored[0].metadata["rewritten_query"] == MEANT
    assert all("rewritten_query" not in d.metadata for d in retriever.invoke(MEANT))
    assert all("rewritten_query" not in d.metadata for d in retriever.invoke(TYPED, repair_query=False))
    plain = retriever.model_copy(update={"score_key": None})
    assert plain.invoke(TYPED) == plain.invoke(MEANT)
    off = kind.make(papers, k=3, repair_query=False, score_key="score")
    assert shown(off.invoke(TYPED)) != expected
    assert shown(off.invoke(TYPED, repair_query=True)) == expected
    assert off.model_dump()["repair_query"] is False
    with pytest.raises(InvalidArgumentError, match="repair_query='no'"):
        retriever.invoke(TYPED, repair_query="no")
    with pytest.raises(InvalidArgumentError, match="repair_query=1"):
        kind.make(papers, repair_query=1)


def test_vector_store(papers: list[Document], colbert: LateInteractionEncoder) -> None:
    store = KoVectorStore([colbert], bm25=True)
    store.add_documents(papers)
    found = store.similarity_search(TYPED, k=2)
    assert found == store.similarity_search(MEANT, k=2)
    scored, expected = (store.similarity_search(query, k=2, score_key="score") for query in (TYPED, MEANT))
    assert {d.metadata.pop("rewritten_query") for d in scored} == {MEANT}
    assert scored == expected
    assert store.get_by_ids([str(found[0].id)])[0].metadata == found[0].metadata
    as_given = store.similarity_search(TYPED, k=2, repair_query=False, score_key="score")
    assert all("rewritten_query" not in d.metadata for d in as_given)


async def test_rerankers_score_by_the_repaired_query(papers: list[Document], colbert: LateInteractionEncoder) -> None:
    reranker = KoColBERTReranker(model=colbert, score_key="relevance_score")
    base = KoColBERTRetriever.from_documents(papers, model=colbert)
    scoring = base.model_copy(update={"score_key": "score"})
    retriever = KoRerankRetriever(base_retriever=base, reranker=reranker, fetch_k=5, k=3)
    expected = [(d.id, d.metadata["relevance_score"]) for d in retriever.invoke(MEANT)]
    for found in (
        retriever.invoke(TYPED),
        await retriever.ainvoke(TYPED),
        reranker.compress_documents(scoring.invoke(TYPED, k=5), TYPED),
    ):
        assert [(d.id, d.metadata["relevance_score"]) for d in found] == expected
        assert {d.metadata["rewritten_query"] for d in found} == {MEANT}
    mixed = [*scoring.invoke(TYPED, k=2), *scoring.invoke("연차 휴가", k=1)]  # found by different queries
    scored = reranker.compress_documents(mixed, MEANT)
    plain = [Document(d.page_content, id=d.id) for d in mixed]
    assert [d.metadata["relevance_score"] for d in scored] == [
        d.metadata["relevance_score"] for d in reranker.compress_documents(plain, MEANT)
    ]
