"""`bm25=` of LangChain's classes: settings, and several lexical legs."""

from pathlib import Path

import pytest
from langchain_core.documents import Document

from korag import BM25
from korag.errors import InvalidArgumentError
from langchain_korag import KoBM25Retriever, KoHybridRetriever, KoVectorStore

DOCUMENTS = [
    Document("질권은 물건을 맡긴 사람의 채무를 담보한다.", id="질권"),
    Document("계약의 내용은 무엇인가를 당사자가 정한다.", id="계약"),
    Document("법률행위의 내용은 무엇인가에 따라 효력이 정해진다.", id="행위"),
]
QUERY = "질권의 내용은 무엇인가?"


def words(text: str) -> list[str]:
    return [word[:2] for word in text.split()]


def test_a_hybrid_of_lexical_legs(tmp_path: Path) -> None:
    both = ["bigram", words]
    made = KoHybridRetriever.from_documents(DOCUMENTS, models=[], bm25=both, path=tmp_path / "색인", weights=[1, 2])
    assert made.collection.legs == ("bm25", "bm25_custom")
    found = made.invoke(QUERY, k=1)
    assert [document.id for document in found] == ["질권"]
    assert KoHybridRetriever.load_local(tmp_path / "색인", bm25=both, k=1, weights=[1, 2]).invoke(QUERY) == found


def test_a_bm25_retriever_with_settings(tmp_path: Path) -> None:
    settings = BM25(trim_questions=False)
    whole = KoBM25Retriever.from_documents(DOCUMENTS, bm25=settings, path=tmp_path / "색인", k=1)
    assert whole.invoke(QUERY)[0].id != "질권"
    assert KoBM25Retriever.load_local(tmp_path / "색인", k=1).invoke(QUERY)[0].id != "질권"
    assert KoBM25Retriever.load_local(tmp_path / "색인", bm25=BM25(), k=1).invoke(QUERY)[0].id == "질권"
    assert KoBM25Retriever.from_documents(DOCUMENTS, k=1).invoke(QUERY)[0].id == "질권"
    for bm25 in (["bigram", "kiwi"], False, None):
        with pytest.raises(InvalidArgumentError, match="a BM25 retriever searches a single leg"):
            KoBM25Retriever.from_documents(DOCUMENTS, bm25=bm25)


def test_a_store_with_two_lexical_legs(tmp_path: Path) -> None:
    store = KoVectorStore([], bm25=["bigram", words], path=tmp_path / "색인")
    store.add_documents(DOCUMENTS)
    for using in ("bm25", "bm25_custom", "hybrid"):
        assert store.similarity_search(QUERY, k=1, using=using)[0].id == "질권"
    with pytest.raises(InvalidArgumentError, match="'mecab'"):
        KoVectorStore([], bm25="mecab")
    reopened = KoVectorStore.load_local(tmp_path / "색인", bm25=["bigram", words])
    assert reopened.collection.legs == ("bm25", "bm25_custom")
