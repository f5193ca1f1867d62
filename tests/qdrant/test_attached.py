"""Collections of langchain-qdrant and of LlamaIndex's Qdrant store, opened for searching."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

import pytest
from edge_server import EdgeServer
from langchain_core.documents import Document
from langchain_qdrant import QdrantVectorStore, RetrievalMode
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.schema import TextNode
from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaQdrantVectorStore
from qdrant_client import QdrantClient
from qdrant_client import models as m
from sentences import DOCUMENTS

from korag import Collection, QdrantCollection
from korag.errors import FingerprintError, IndexStateError, InvalidArgumentError, KoragError
from langchain_korag import KoEmbeddings, KoHybridRetriever, KoSparseEmbeddings, KoVectorStore
from llamaindex_korag import KoEmbedding, KoSparseEmbedding

IDS = [str(uuid.UUID(int=number + 1)) for number in range(len(DOCUMENTS))]
METADATA: list[dict[str, Any]] = [
    {"number": number, "부서": "법무팀" if number % 3 else "총무팀"} for number in range(len(IDS))
]


@pytest.fixture
def client(server: EdgeServer) -> Any:
    with contextlib.closing(QdrantClient(url=server.url, check_compatibility=False)) as client:
        yield client


@pytest.fixture
def local(dense: Any, splade: Any) -> Collection:
    collection = Collection.in_memory(encoders=[dense, splade], window=None)
    collection.add(DOCUMENTS, ids=IDS, metadata=METADATA)
    return collection


def assert_alike(attached: Any, local: Any, **settings: Any) -> None:
    for query in [*DOCUMENTS[:4], "보증금을 돌려받는 법"]:
        found, expected = attached.search(query, **settings), local.search(query, **settings)
        assert [hit.id for hit in found] == [hit.id for hit in expected]
        assert [hit.relevance for hit in found] == pytest.approx([hit.relevance for hit in expected], abs=1e-4)
        assert [hit.text for hit in found] == [hit.text for hit in expected]


def test_a_collection_of_langchain(server: EdgeServer, client: Any, local: Collection) -> None:
    documents = [Document(page_content=text, metadata=own) for text, own in zip(DOCUMENTS, METADATA, strict=True)]
    QdrantVectorStore.from_documents(
        documents, KoEmbeddings(model="mini-dense"), ids=IDS, url=server.url, collection_name="lc",
        sparse_embedding=KoSparseEmbeddings(model="mini-splade"), retrieval_mode=RetrievalMode.HYBRID,
        prefer_grpc=False, check_compatibility=False,
    )  # fmt: skip
    before = client.get_collection("lc")
    with QdrantCollection.attach("lc", url=server.url, encoders=["mini-dense", "mini-splade"]) as attached:
        assert (attached.legs, len(attached)) == (("dense", "sparse"), len(DOCUMENTS))
        for using in ("dense", "sparse", "hybrid"):
            assert_alike(attached, local, using=using, k=4)
            for where in ({"number": {"$gte": 3}}, {"부서": "법무팀"}, {"$not": {"number": 2}}, {"없음": None}):
                assert_alike(attached, local, using=using, where=where, k=3, fusion="rrf")
        assert {d.id for d in attached.get(where={"부서": "총무팀"})} == set(local.ids({"부서": "총무팀"}))
        assert attached.get([*IDS[:2], "없는 것", "7", str(uuid.UUID(int=99))]) == local.get(IDS[:2])
        assert attached.count({"number": {"$lt": 2}}) == 2
        hits = attached.search(DOCUMENTS[0], k=5)
        assert len(attached.diversify(hits, k=2)) == 2
        vector = local.encoders["dense"].encode_queries([DOCUMENTS[1]])[0].tolist()
        assert attached.search_by_vector(vector, k=1)[0].id == local.search_by_vector(vector, k=1)[0].id
        retriever = KoHybridRetriever(collection=attached, k=2)
        assert retriever.invoke(DOCUMENTS[2])[0].page_content == DOCUMENTS[2]
        assert KoVectorStore(collection=attached).similarity_search(DOCUMENTS[4], k=1)[0].id == IDS[4]
        for change in (
            lambda: attached.add(["글"]), lambda: attached.delete(IDS), lambda: attached.keep_only([]),
            lambda: attached.update_metadata(IDS[:1], {"x": 1}), lambda: attached.add_stream([("a", "글")]),
            lambda: attached.add_encoded([], {}, fingerprints={}),
        ):  # fmt: skip
            with pytest.raises(IndexStateError):
                change()
    assert client.get_collection("lc") == before


def test_a_collection_of_llamaindex(server: EdgeServer, client: Any, local: Collection, splade: Any) -> None:
    nodes = [
        TextNode(id_=id_, text=text, metadata=own, excluded_embed_metadata_keys=["number", "부서"])
        for id_, text, own in zip(IDS, DOCUMENTS, METADATA, strict=True)
    ]
    documents_fn, queries_fn = KoSparseEmbedding("mini-splade").as_qdrant_fns()
    store = LlamaQdrantVectorStore(
        "li", client=client, enable_hybrid=True, sparse_doc_fn=documents_fn, sparse_query_fn=queries_fn
    )
    context = StorageContext.from_defaults(vector_store=store)
    VectorStoreIndex(nodes, storage_context=context, embed_model=KoEmbedding("mini-dense"))
    with QdrantCollection.attach("li", client=client, encoders=["mini-dense", splade]) as attached:
        for using in ("dense", "sparse"):
            assert_alike(attached, local, using=using, k=4)
            assert_alike(attached, local, using=using, where={"number": {"$in": [1, 4]}})
            assert_alike(attached, local, using=using, where={"부서": {"$contains": "법"}})
        assert attached.get(IDS[:1])[0].metadata == METADATA[0]


def test_vectors_of_texts_with_metadata(client: Any, dense: Any) -> None:
    """LlamaIndex's default: the searched text of a node has its metadata in it."""
    store = LlamaQdrantVectorStore("li-metadata", client=client)
    nodes = [
        TextNode(id_=id_, text=text, metadata=own) for id_, text, own in zip(IDS, DOCUMENTS, METADATA, strict=True)
    ]
    context = StorageContext.from_defaults(vector_store=store)
    VectorStoreIndex(nodes, storage_context=context, embed_model=KoEmbedding("mini-dense"))
    with QdrantCollection.attach("li-metadata", client=client, encoders=[dense]) as attached:
        assert attached.search(DOCUMENTS[3], k=1)[0].text == DOCUMENTS[3]


def test_vectors_of_another_model_are_refused(server: EdgeServer, client: Any) -> None:
    documents = [Document(page_content=text) for text in DOCUMENTS]
    embedding = KoEmbeddings(model="mini-dense", encode_kwargs={"prompt": "[Q] "})
    QdrantVectorStore.from_documents(documents, embedding, ids=IDS, url=server.url, collection_name="다른",
                                     prefer_grpc=False, check_compatibility=False)  # fmt: skip
    with pytest.raises(FingerprintError, match="Lowest cosine"):
        QdrantCollection.attach("다른", client=client, encoders=["mini-dense"])
    with pytest.raises(FingerprintError, match="no sparse vectors"):
        QdrantCollection.attach("다른", client=client, encoders=["mini-splade"])
    with pytest.raises(InvalidArgumentError, match="late_interaction"):
        QdrantCollection.attach("다른", client=client, encoders=["mini-colbert"])


def test_a_vector_that_nothing_is_compared_with_is_not_taken(client: Any, dense: Any) -> None:
    params = m.VectorParams(size=dense.dim, distance=m.Distance.COSINE)
    client.create_collection("빈 벡터", vectors_config={"a": params, "b": params})
    vectors = dense.encode_documents(DOCUMENTS)

    def fill(name: str, first: int, sign: float) -> None:
        points = [
            m.PointStruct(id=first + row, vector={name: (sign * own).tolist()}, payload={"page_content": text})
            for row, (text, own) in enumerate(zip(DOCUMENTS, vectors, strict=True))
        ]
        client.upsert("빈 벡터", points, wait=True)

    fill("b", 0, 1.0)
    with QdrantCollection.attach("빈 벡터", client=client, encoders=[dense]) as attached:
        assert attached.search(DOCUMENTS[2], k=1)[0].text == DOCUMENTS[2]
    fill("b", 0, -1.0)
    with pytest.raises(FingerprintError, match=r"b: -1\.000"):
        QdrantCollection.attach("빈 벡터", client=client, encoders=[dense])


def test_lengths_of_vectors_are_compared_where_they_count(client: Any, dense: Any, splade: Any) -> None:
    texts = DOCUMENTS[:6]
    client.create_collection("길이", vectors_config=m.VectorParams(size=dense.dim, distance=m.Distance.DOT),
                             sparse_vectors_config={"s": m.SparseVectorParams()})  # fmt: skip
    rows, sparse = dense.encode_documents(texts), splade.encode_documents(texts)

    def fill(longer: float, heavier: float) -> None:
        points = []
        for row, text in enumerate(texts):
            terms = sparse[[row]].tocoo()
            weights = m.SparseVector(indices=terms.col.tolist(), values=(heavier * terms.data).tolist())
            vector: Any = {"": (longer * rows[row]).tolist(), "s": weights}
            points.append(m.PointStruct(id=row, vector=vector, payload={"page_content": text}))
        client.upsert("길이", points, wait=True)

    fill(1.0, 1.0)
    QdrantCollection.attach("길이", client=client, encoders=[dense, splade]).close()
    fill(3.0, 1.0)
    with pytest.raises(FingerprintError, match="length"):
        QdrantCollection.attach("길이", client=client, encoders=[dense])
    fill(1.0, 0.5)
    with pytest.raises(FingerprintError, match="length"):
        QdrantCollection.attach("길이", client=client, encoders=[splade])


def test_other_payloads_are_named(client: Any, dense: Any) -> None:
    client.create_collection("내것", vectors_config={"v": m.VectorParams(size=dense.dim, distance=m.Distance.COSINE)})
    with QdrantCollection.attach("내것", client=client, encoders=[dense]) as empty:
        assert empty.search("글") == []
    vectors = dense.encode_documents(DOCUMENTS)
    points = [
        m.PointStruct(id=number, vector={"v": vectors[number].tolist()}, payload={"본문": text, "정보": {"n": number}})
        for number, text in enumerate(DOCUMENTS)
    ]
    client.upsert("내것", points, wait=True)
    with pytest.raises(IndexStateError, match="text_field="):
        QdrantCollection.attach("내것", client=client, encoders=[dense])
    given: dict[str, Any] = {"text_field": "본문", "metadata_field": "정보"}
    with QdrantCollection.attach("내것", client=client, encoders=[dense], **given) as attached:
        assert attached.search(DOCUMENTS[2], k=1)[0].metadata == {"n": 2}
        assert attached.get(["2"])[0].text == DOCUMENTS[2]
        assert attached.get(["02", "9" * 5_000, "18446744073709551616", "+2", "²"]) == []
        assert [hit.id for hit in attached.search(DOCUMENTS[2], where={"n": {"$gt": 5}}, k=9)].count("2") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        {"encoders": []},
        {"encoders": None},
        {"text_field": ""},
        {"text_field": 'a"b'},
        {"metadata_field": 5},
        {"name": ""},
    ],
)
def test_bad_arguments(server: EdgeServer, dense: Any, arguments: Any) -> None:
    given = {"name": "없음", "url": server.url, "encoders": [dense], **arguments}
    with pytest.raises(KoragError):
        QdrantCollection.attach(given.pop("name"), **given)
    with pytest.raises(IndexStateError, match="not on the server"):
        QdrantCollection.attach("없음", url=server.url, encoders=[dense])
