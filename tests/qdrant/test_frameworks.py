"""Every class of both frameworks that makes a collection makes one on a server, too."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from edge_server import EdgeServer
from langchain_core.documents import Document
from llama_index.core.schema import Document as LlamaDocument
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery
from sentences import DOCUMENTS

import langchain_korag as lc
import llamaindex_korag as li
from korag import Collection, QdrantCollection
from korag.errors import IndexStateError, InvalidArgumentError, KoragError, ServerError
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder

FAKES = {"colbert": FakeMultiVectorEncoder(), "sparse": FakeSparseEncoder(), "dense": FakeDenseEncoder()}
DOCS = [Document(id=f"{n}", page_content=text, metadata={"번호": n}) for n, text in enumerate(DOCUMENTS)]
NODES = [TextNode(id_=f"{n}", text=text, metadata={"번호": n}) for n, text in enumerate(DOCUMENTS)]
LANGCHAIN: dict[str, Any] = {
    "colbert": (lc.KoColBERTRetriever, {"model": FAKES["colbert"], "pool_factor": 1}),
    "splade": (lc.KoSpladeRetriever, {"model": FAKES["sparse"]}),
    "bm25": (lc.KoBM25Retriever, {}),
    "hybrid": (lc.KoHybridRetriever, {"models": [*FAKES.values()], "bm25": True}),
}
LLAMAINDEX: dict[str, Any] = {
    "colbert": (li.KoColBERTRetriever, {"model_name": FAKES["colbert"]}),
    "splade": (li.KoSpladeRetriever, {"model_name": FAKES["sparse"]}),
    "bm25": (li.KoBM25Retriever, {}),
    "hybrid": (li.KoHybridRetriever, {"models": [*FAKES.values()], "bm25": True}),
}


@pytest.mark.parametrize("kind", LANGCHAIN)
def test_langchain_retrievers(server: EdgeServer, kind: str) -> None:
    cls, arguments = LANGCHAIN[kind]
    where = {"url": server.url, "collection_name": f"lc-{kind}"}
    local = cls.from_documents(DOCS, **arguments, k=3)
    remote = cls.from_documents(DOCS, **arguments, **where, k=3)
    assert isinstance(remote.collection, QdrantCollection)
    for query in DOCUMENTS[:4]:
        assert remote.invoke(query) == local.invoke(query)
        assert remote.invoke(query, filter={"번호": {"$gte": 2}}) == local.invoke(query, filter={"번호": {"$gte": 2}})
    again = cls.from_documents(DOCS[:5], **arguments, **where, sync=True)
    assert len(again.collection) == len(remote.collection) == 5


def test_the_langchain_store(server: EdgeServer, tmp_path: Path) -> None:
    where: dict[str, Any] = {"url": server.url, "collection_name": "lc-store"}
    store = lc.KoVectorStore.from_documents(DOCS, encoders=[*FAKES.values()], bm25=True, **where)
    assert store.similarity_search(DOCUMENTS[2], k=1) == [DOCS[2]]
    again = lc.KoVectorStore([*FAKES.values()], **where)  # it keeps its legs, BM25 too
    assert again.collection.legs == store.collection.legs
    again.delete(["2"])
    assert store.count() == len(DOCS) - 1
    assert store.save_local(tmp_path / "사본") == tmp_path / "사본"
    with pytest.raises(InvalidArgumentError, match="overwrite=True"):
        store.save_local(tmp_path / "사본")
    store.save_local(tmp_path / "사본", overwrite=True)
    with Collection.open(tmp_path / "사본", encoders=[*FAKES.values()]) as copied:
        assert copied.get() == store.collection.get()


@pytest.mark.parametrize("kind", LLAMAINDEX)
def test_llamaindex_retrievers(server: EdgeServer, kind: str) -> None:
    cls, arguments = LLAMAINDEX[kind]
    where = {"url": server.url, "collection_name": f"li-{kind}"}
    local = cls.from_defaults(NODES, **arguments, similarity_top_k=3)
    remote = cls.from_defaults(NODES, **arguments, **where, similarity_top_k=3)
    assert isinstance(remote.collection, QdrantCollection)
    for query in DOCUMENTS[:4]:
        found, expected = remote.retrieve(query), local.retrieve(query)
        assert [one.node for one in found] == [one.node for one in expected]
        assert [one.score for one in found] == pytest.approx([one.score for one in expected], rel=2e-3, abs=5e-4)
    again = cls.from_defaults(NODES[:5], **arguments, **where, sync=True)
    assert len(again.collection) == 5


def test_the_llamaindex_store_and_index(server: EdgeServer) -> None:
    where: dict[str, Any] = {"url": server.url, "collection_name": "li-store"}
    store = li.KoVectorStore([*FAKES.values()], bm25=True, **where)
    store.add(NODES)
    assert store.query(VectorStoreQuery(query_str=DOCUMENTS[3], similarity_top_k=1)).ids == ["3"]
    assert (store.path, store.url, store.collection_name) == (None, server.url, "li-store")
    again = li.KoVectorStore.from_dict(store.to_dict(), encoders=[*FAKES.values()])
    assert len(again.collection) == len(NODES)
    documents = [LlamaDocument(doc_id=f"{n}", text=text) for n, text in enumerate(DOCUMENTS)]
    arguments: dict[str, Any] = {"model_name": FAKES["colbert"], "url": server.url, "collection_name": "li-index"}
    li.KoColBERTIndex.from_documents(documents, **arguments)
    index = li.KoColBERTIndex.from_documents(documents[:4], **arguments, sync=True)
    assert len(index.collection) == 4
    assert index.as_retriever(similarity_top_k=1).retrieve(DOCUMENTS[1])[0].text == DOCUMENTS[1]


MAKERS: dict[str, Any] = {
    "LangChain store": lambda **given: lc.KoVectorStore(bm25=True, **given),
    "LangChain retriever": lambda **given: lc.KoBM25Retriever.from_documents(DOCS, **given),
    "LangChain ColBERT": lambda **given: lc.KoColBERTRetriever.from_documents(DOCS, model=FAKES["colbert"], **given),
    "LlamaIndex store": lambda **given: li.KoVectorStore(bm25=True, **given),
    "LlamaIndex retriever": lambda **given: li.KoBM25Retriever.from_defaults(NODES, **given),
    "LlamaIndex index": lambda **given: li.KoColBERTIndex(NODES, model_name=FAKES["colbert"], **given),
}


@pytest.mark.parametrize("maker", MAKERS)
def test_wrong_places_are_errors_before_any_work(server: EdgeServer, tmp_path: Path, maker: str) -> None:
    make, before = MAKERS[maker], server.answer("GET", "/collections", None)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"url": server.url}, "collection_name="), ({"collection_name": "a"}, "url="), ({"api_key": "키"}, "url="),
        ({"url": server.url, "collection_name": "a", "path": tmp_path}, "path="),
        ({"url": "localhost:6333", "collection_name": "a"}, "url="),
        ({"url": server.url, "collection_name": "a/b"}, "name"),
    ]  # fmt: skip
    for given, named in cases:
        with pytest.raises(KoragError, match=named) as caught:
            make(**given)
        assert "키" not in str(caught.value).replace("API 키", "").replace("키=", "")
    assert server.answer("GET", "/collections", None) == before
    server.key = "열쇠".encode().hex()
    with pytest.raises(ServerError, match="api_key="):
        make(url=server.url, collection_name="잠긴")


@pytest.mark.parametrize(("name", "value"), [("window", 64), ("codec", "int8"), ("keep_vectors", True)])
def test_settings_of_folders_do_not_go_with_a_server(server: EdgeServer, name: str, value: Any) -> None:
    given: dict[str, Any] = {"url": server.url, "collection_name": "설정", name: value}
    with pytest.raises(InvalidArgumentError, match=f"{name}=.*leave {name} out"):
        lc.KoColBERTRetriever.from_documents(DOCS, model=FAKES["colbert"], **given)
    with pytest.raises(InvalidArgumentError, match=f"{name}=.*leave {name} out"):
        li.KoVectorStore([FAKES["colbert"]], **given)


def test_a_store_on_a_server_is_not_pickled(server: EdgeServer) -> None:
    store = lc.KoVectorStore(bm25=True, url=server.url, collection_name="피클")
    with pytest.raises(IndexStateError, match="cannot be pickled"):
        pickle.dumps(store.collection)
