"""Documents read out of the stores and retrievers that people have."""

import pickle
import warnings
from typing import Any

import chromadb
import pytest
from langchain_chroma import Chroma
from langchain_classic.retrievers import ContextualCompressionRetriever, EnsembleRetriever, MergerRetriever
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore

from korag import Collection
from korag.errors import InvalidArgumentError
from langchain_korag import KoBM25Retriever, KoColBERTReranker, KoRerankRetriever, KoVectorStore, read_documents

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of the whole package, which is what people come from
    from langchain_community.docstore.in_memory import InMemoryDocstore
    from langchain_community.retrievers import BM25Retriever
    from langchain_community.vectorstores import FAISS

EMBEDDINGS = DeterministicFakeEmbedding(size=4)
NAMED = [
    Document(id=f"문서-{n}", page_content=text, metadata={"쪽": n, "분류": "주거"})
    for n, text in enumerate(
        ["보증금은 이사한 날 돌려줍니다.", "월세는 매달 말일에 냅니다.", "열쇠는 관리실에 맡깁니다."]
    )
]
NAMELESS = [Document(page_content=document.page_content, metadata=document.metadata) for document in NAMED]


def bm25(documents: list[Document]) -> BM25Retriever:
    """As `BM25Retriever.from_documents` makes it, which drops the ids; `rank_bm25` is not needed to read it."""
    kept = [Document(page_content=document.page_content, metadata=document.metadata) for document in documents]
    return BM25Retriever(vectorizer=None, docs=kept)


@pytest.fixture
def faiss() -> FAISS:
    return FAISS.from_documents(NAMED, EMBEDDINGS)


def test_faiss_in_the_order_of_the_index(faiss: FAISS) -> None:
    faiss.delete(["문서-1"])
    faiss.add_documents(NAMED[1:2])
    assert read_documents(faiss) == [NAMED[0], NAMED[2], NAMED[1]]
    assert read_documents(faiss.as_retriever(search_kwargs={"k": 1})) == [NAMED[0], NAMED[2], NAMED[1]]


def test_keys_of_the_docstore_where_documents_have_no_ids(faiss: FAISS) -> None:
    old = FAISS(
        EMBEDDINGS, faiss.index, InMemoryDocstore(dict(zip("가나다", NAMELESS, strict=True))), dict(enumerate("가나다"))
    )
    assert [(document.id, document.page_content) for document in read_documents(old)] == [
        (key, document.page_content) for key, document in zip("가나다", NAMELESS, strict=True)
    ]
    assert [document.id for document in NAMELESS] == [None] * 3
    incomplete = FAISS(EMBEDDINGS, faiss.index, InMemoryDocstore({}), {0: "없음"})
    with pytest.raises(InvalidArgumentError, match="'없음' of the index is not in the docstore"):
        read_documents(incomplete)


def test_lists() -> None:
    assert read_documents(bm25(NAMED)) == NAMELESS


@pytest.mark.filterwarnings("ignore::DeprecationWarning:chromadb.*")
def test_memory_and_chroma() -> None:
    memory = InMemoryVectorStore.from_documents(NAMED, EMBEDDINGS)
    assert read_documents(memory) == NAMED
    client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))
    chroma = Chroma.from_documents(NAMED, EMBEDDINGS, client=client, collection_name="read_documents")
    assert sorted(read_documents(chroma), key=str) == sorted(NAMED, key=str)
    assert sorted(read_documents(chroma._collection), key=str) == sorted(NAMED, key=str)
    chroma._collection.add(ids=["벡터"], embeddings=[[0.0] * 4])
    with pytest.raises(InvalidArgumentError, match="without their text"):
        read_documents(chroma)
    chroma.delete_collection()


def test_our_own() -> None:
    store = KoVectorStore.from_documents(NAMED, bm25=True)
    reranked = KoRerankRetriever(
        base_retriever=KoBM25Retriever(collection=store.collection), reranker=KoColBERTReranker(model="mini-colbert")
    )
    for source in (store, store.collection, store.as_retriever(), reranked, reranked.with_config(tags=["가"])):
        assert read_documents(source) == NAMED


def test_an_ensemble_has_each_document_once(faiss: FAISS) -> None:
    for retrievers in ([faiss.as_retriever(), bm25(NAMED)], [bm25(NAMED), faiss.as_retriever()]):
        ensemble = EnsembleRetriever(retrievers=retrievers, weights=[0.5, 0.5])
        compressed = ContextualCompressionRetriever(
            base_compressor=KoColBERTReranker(model="mini-colbert"), base_retriever=ensemble
        )
        for source in (ensemble, MergerRetriever(retrievers=retrievers), compressed):
            assert read_documents(source) == NAMED


def test_what_differs_stays(faiss: FAISS) -> None:
    other = [Document(page_content=NAMED[0].page_content, metadata={"쪽": 9}), NAMELESS[1], NAMELESS[1]]
    joined = read_documents(EnsembleRetriever(retrievers=[faiss.as_retriever(), bm25(other)], weights=[1, 1]))
    assert joined == [*NAMED, other[0]]
    twice = read_documents(EnsembleRetriever(retrievers=[bm25(other), bm25(NAMED)], weights=[1, 1]))
    assert twice == [*other, NAMELESS[0], NAMELESS[2]]  # one list has what it has, even twice
    clash = InMemoryVectorStore.from_documents([Document(id="문서-0", page_content="다른 글")], EMBEDDINGS)
    with pytest.raises(InvalidArgumentError, match="Two different documents have the id '문서-0'"):
        read_documents(MergerRetriever(retrievers=[faiss.as_retriever(), clash.as_retriever()]))


def test_copies_that_go_straight_into_ours(faiss: FAISS, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle, "loads", lambda *_, **__: pytest.fail("unpickled"))
    monkeypatch.setattr(pickle, "load", lambda *_, **__: pytest.fail("unpickled"))
    read = read_documents(faiss)
    read[0].metadata["쪽"] = 100
    assert read_documents(faiss) == NAMED
    retriever = KoBM25Retriever.from_documents(read_documents(faiss))
    assert retriever.collection.ids() == [document.id for document in NAMED]


@pytest.mark.parametrize("source", [None, {}, [], NAMED, "law_faiss", EMBEDDINGS, Collection])
def test_anything_else(source: Any) -> None:
    match = f"cannot be read from a {type(source).__name__}; they can from: FAISS"
    with pytest.raises(InvalidArgumentError, match=match):
        read_documents(source)
