"""Encoders and rerankers on servers in the classes of LangChain and LlamaIndex, wherever these take a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from model_servers import ModelServer, plain, serve, tei, vllm_tokens

from korag import CrossEncoderReranker, ServerOptions, load_encoder, load_reranker
from langchain_korag import KoColBERTRetriever, KoCrossEncoderReranker, KoEmbeddings, KoSparseEmbeddings, KoVectorStore
from llamaindex_korag import KoColBERTRetriever as LlamaColBERT
from llamaindex_korag import KoCrossEncoderRerank, KoEmbedding, KoSparseEmbedding

TEXTS = ["보증금은 이사하는 날 돌려받습니다.", "도서관은 월요일에 쉽니다.", "자전거는 차도로 다닙니다."]
QUERY = "책을 빌리는 곳은 언제 쉬나요?"


@pytest.fixture
def dense() -> Iterator[ModelServer]:
    with serve(tei(plain(load_encoder("mini-dense")))) as server:
        yield server


async def test_langchain_embeddings(dense: ModelServer) -> None:
    local = KoEmbeddings(model="mini-dense")
    by_name = KoEmbeddings(
        model=dense.url + "/embed", model_kwargs={"like": "mini-dense", "server": ServerOptions(timeout=9)}
    )
    for remote in (by_name, KoEmbeddings(model=load_encoder(dense.url + "/embed", like="mini-dense"))):
        assert np.allclose(remote.embed_documents(TEXTS), local.embed_documents(TEXTS), atol=1e-6)
        assert np.allclose(await remote.aembed_query(QUERY), local.embed_query(QUERY), atol=1e-6)
        assert np.allclose(await remote.aembed_documents(TEXTS), local.embed_documents(TEXTS), atol=1e-6)
        assert remote.cache_namespace == local.cache_namespace


def test_langchain_hides_the_key(dense: ModelServer) -> None:
    dense.key = "geheim"
    embeddings = KoEmbeddings(
        model=dense.url + "/embed", model_kwargs={"like": "mini-dense", "server": ServerOptions(api_key="geheim")}
    )
    assert "geheim" not in repr(embeddings)
    assert "geheim" not in str(embeddings.model_dump())


def test_langchain_stores_and_retrievers(dense: ModelServer) -> None:
    store = KoVectorStore.from_texts(TEXTS, KoEmbeddings(model=load_encoder(dense.url + "/embed", like="mini-dense")))
    assert store.similarity_search(QUERY, k=1)[0].page_content == (
        KoVectorStore.from_texts(TEXTS, KoEmbeddings(model="mini-dense")).similarity_search(QUERY, k=1)[0].page_content
    )
    colbert = load_encoder("mini-colbert")
    with serve(vllm_tokens(colbert.load(), masks=4)) as server:
        remote = load_encoder(server.url + "/pooling", like="mini-colbert")
        documents = [Document(text) for text in TEXTS]
        found = KoColBERTRetriever.from_documents(documents, model=remote).invoke(QUERY)
        own = KoColBERTRetriever.from_documents(documents, model=colbert).invoke(QUERY)
    assert [each.page_content for each in found] == [each.page_content for each in own]


def test_sparse_embeddings_of_both() -> None:
    local = load_encoder("mini-splade")
    with serve(tei(plain(local))) as server:
        remote = load_encoder(server.url + "/embed_sparse", like="mini-splade")
        ours, theirs = KoSparseEmbeddings(model=remote), KoSparseEmbeddings(model=local)
        assert ours.embed_query(QUERY).indices == theirs.embed_query(QUERY).indices
        assert KoSparseEmbedding(remote).get_text_embedding(TEXTS[0]) == pytest.approx(
            KoSparseEmbedding(local).get_text_embedding(TEXTS[0])
        )


async def test_llamaindex_embedding(dense: ModelServer) -> None:
    remote, local = KoEmbedding(load_encoder(dense.url + "/embed", like="mini-dense")), KoEmbedding("mini-dense")
    assert np.allclose(remote.get_query_embedding(QUERY), local.get_query_embedding(QUERY), atol=1e-6)
    assert np.allclose(await remote.aget_query_embedding(QUERY), local.get_query_embedding(QUERY), atol=1e-6)
    assert np.allclose(await remote.aget_text_embedding_batch(TEXTS), local.get_text_embedding_batch(TEXTS), atol=1e-6)
    assert remote.to_dict() == local.to_dict()  # loads the local model


def test_llamaindex_retriever() -> None:
    colbert = load_encoder("mini-colbert")
    nodes = [TextNode(text=text) for text in TEXTS]
    with serve(vllm_tokens(colbert.load(), masks=4)) as server:
        remote = load_encoder(server.url + "/pooling", like="mini-colbert")
        found = LlamaColBERT.from_defaults(nodes=nodes, model=remote).retrieve(QUERY)
    own = LlamaColBERT.from_defaults(nodes=nodes, model=colbert).retrieve(QUERY)
    assert [each.text for each in found] == [each.text for each in own]


def test_rerankers_of_both(cross_encoder: CrossEncoderReranker) -> None:
    def answer(path: str, body: dict[str, Any]) -> Any:
        scores = cross_encoder._predict(body["query"], body["documents"], False)
        return {"results": [{"index": i, "relevance_score": float(score)} for i, score in enumerate(scores)]}

    with serve(answer) as server:
        remote = load_reranker(server.url + "/v2/rerank", like=cross_encoder)
        documents = [Document(text) for text in TEXTS]
        found = KoCrossEncoderReranker(model=remote).compress_documents(documents, QUERY)
        own = KoCrossEncoderReranker(model=cross_encoder).compress_documents(documents, QUERY)
        assert [each.page_content for each in found] == [each.page_content for each in own]
        nodes = [NodeWithScore(node=TextNode(text=text), score=1.0) for text in TEXTS]
        ranked = KoCrossEncoderRerank(remote).postprocess_nodes(nodes, query_str=QUERY)
        local = KoCrossEncoderRerank(cross_encoder).postprocess_nodes(nodes, query_str=QUERY)
        assert [each.text for each in ranked] == [each.text for each in local]
