"""KoSparseEmbedding: its vectors, dot products, serialised form, and Qdrant's sparse and hybrid search."""

import asyncio
import copy
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import BUILDERS
from event_loop import assert_loop_stays_free
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import SparseEmbeddingEndEvent, SparseEmbeddingStartEvent
from llama_index.core.llms import MockLLM
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import QdrantClient

from korag import DenseEncoder, LateInteractionEncoder, SparseEncoder, load_encoder
from korag.errors import InvalidArgumentError, InvalidTextError, WrongFamilyError
from korag.explain import explain_terms
from llamaindex_korag import KoEmbedding, KoSparseEmbedding

QUERY = "보증금은 언제 돌려받나요?"


@pytest.fixture(scope="module")
def sparse(splade: SparseEncoder) -> KoSparseEmbedding:
    return KoSparseEmbedding(splade)


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """The sparse embedding events of a test, in order."""
    seen: list[Any] = []

    class Handler(BaseEventHandler):
        def handle(self, event: Any, **_: Any) -> None:
            if isinstance(event, SparseEmbeddingStartEvent | SparseEmbeddingEndEvent):
                seen.append(event)

    handler = Handler()
    dispatcher = get_dispatcher()
    dispatcher.add_event_handler(handler)
    yield seen
    dispatcher.event_handlers.remove(handler)


def _row(vector: dict[int, float], size: int) -> Any:
    row = np.zeros(size)
    row[list(vector)] = list(vector.values())
    return row


class TestVectors:
    async def test_every_way_gives_the_encoder_s_vectors(
        self, sparse: KoSparseEmbedding, splade: SparseEncoder, documents: list[str], events: list[Any]
    ) -> None:
        expected = splade.encode_documents(documents).toarray()
        query = splade.encode_queries([QUERY]).toarray()[0]
        for found in (sparse.get_text_embedding_batch(documents), await sparse.aget_text_embedding_batch(documents)):
            for vector, row in zip(found, expected, strict=True):
                np.testing.assert_allclose(_row(vector, splade.dim), row, atol=1e-4)
        for text in (sparse.get_text_embedding(documents[0]), await sparse.aget_text_embedding(documents[0])):
            np.testing.assert_allclose(_row(text, splade.dim), expected[0], atol=1e-4)
        for vector in (sparse.get_query_embedding(QUERY), await sparse.aget_query_embedding(QUERY)):
            np.testing.assert_allclose(_row(vector, splade.dim), query, atol=1e-4)
        assert {type(key) for key in vector} == {int}
        assert {type(value) for value in vector.values()} == {float}
        assert [type(event) for event in events] == [SparseEmbeddingStartEvent, SparseEmbeddingEndEvent] * 6
        assert sparse.get_text_embedding_batch([]) == []
        assert isinstance(sparse, BaseSparseEmbedding)

    def test_similarity_is_the_dot_product(self, sparse: KoSparseEmbedding, splade: SparseEncoder) -> None:
        query, text = sparse.get_query_embedding(QUERY), sparse.get_text_embedding("보증금을 돌려준다.")
        expected = (splade.encode_queries([QUERY]) @ splade.encode_documents(["보증금을 돌려준다."]).T).toarray()[0, 0]
        assert sparse.similarity(query, text) == pytest.approx(expected, rel=1e-4)
        assert sparse.similarity(query, text) == pytest.approx(sparse.similarity(text, query))
        assert sparse.similarity(query, {}) == sparse.similarity({}, {}) == 0.0
        assert sparse.similarity({1: 2.0, 5: 3.0}, {5: 4.0}) == 12.0

    def test_explain(self, sparse: KoSparseEmbedding, splade: SparseEncoder) -> None:
        assert sparse.explain(QUERY) == explain_terms(splade, QUERY, top=20)
        assert sparse.explain(QUERY, 3, task="document") == explain_terms(splade, QUERY, top=3, task="document")

    @pytest.mark.parametrize("wrong", [None, 3, ["list"], "\ud800"])
    async def test_what_is_not_a_good_string(self, sparse: KoSparseEmbedding, wrong: Any) -> None:
        with pytest.raises(InvalidTextError, match="query"):
            sparse.get_query_embedding(wrong)
        with pytest.raises(InvalidTextError, match="text"):
            await sparse.aget_text_embedding(wrong)
        with pytest.raises(InvalidTextError, match=r"texts\[1\]"):
            await sparse.aget_text_embedding_batch([QUERY, wrong])

    @pytest.mark.slow
    async def test_32_at_once_and_a_free_loop(
        self, sparse: KoSparseEmbedding, splade: SparseEncoder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts = [f"{number}월 보증금 안내 {'도서관 ' * (number % 5)}" for number in range(32)]
        expected = [sparse.get_query_embedding(text) for text in texts]
        for one, other in zip(await asyncio.gather(*map(sparse.aget_query_embedding, texts)), expected, strict=True):
            np.testing.assert_allclose(_row(one, splade.dim), _row(other, splade.dim), atol=1e-4)
        await assert_loop_stays_free(monkeypatch, SparseEncoder, "_encode", lambda: sparse.aget_query_embedding(QUERY))


class TestFields:
    @pytest.mark.slow
    def test_round_trip(self, sparse: KoSparseEmbedding) -> None:
        encoder = load_encoder("mini-splade", max_length=9, device="cpu", token="hf_SECRET")  # noqa: S106
        assert isinstance(encoder, SparseEncoder)
        embedding = KoSparseEmbedding(encoder, embed_batch_size=3)
        expected = embedding.get_text_embedding(QUERY)
        data = embedding.model_dump()
        assert data == {
            "model_name": "mini-splade", "revision": None, "dim": 12_288, "query_prompt": "[Q] ",
            "document_prompt": "[D] ", "max_length": 9, "query_length": None, "pooling": None,
            "adapter": None, "class_name": "KoSparseEmbedding",
        }  # fmt: skip
        pickled = pickle.dumps(embedding)
        assert len(pickled) < 2_000
        assert b"SECRET" not in pickled
        again = pickle.loads(pickled)  # noqa: S301
        assert again._encoder._model is None
        assert (again._encoder.options, again.embed_batch_size) == (encoder.options, 3)
        del data["class_name"]
        for copied in (again, KoSparseEmbedding(**data), copy.deepcopy(embedding), embedding.model_copy()):
            assert copied.model_dump() == embedding.model_dump()
            assert copied.get_text_embedding(QUERY) == expected
        assert copy.deepcopy(embedding)._encoder is encoder
        assert json.dumps(KoSparseEmbedding.model_json_schema())

    def test_wrong_settings(self, splade: SparseEncoder, tmp_path: Path) -> None:
        with pytest.raises(WrongFamilyError):
            KoSparseEmbedding("mini-splade", adapter=tmp_path)
        for settings in ({"query_prompt": ""}, {"dim": 3}, {"max_length": 5}, {"query_length": 5}, {"adapter": "x"}):
            with pytest.raises(InvalidArgumentError, match=next(iter(settings))):
                KoSparseEmbedding(splade, **settings)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="device"):
            KoSparseEmbedding(splade, device="cpu")
        with pytest.raises(InvalidArgumentError, match="embed_batch_size"):
            KoSparseEmbedding(splade, embed_batch_size=0)
        with pytest.raises(InvalidArgumentError, match="frozen"):
            KoSparseEmbedding(splade).max_length = 3

    def test_a_model_of_another_family(
        self, dense: DenseEncoder, colbert: LateInteractionEncoder, tmp_path: Path
    ) -> None:
        for wrong, named in ((dense, "KoEmbedding"), ("mini-dense", "KoEmbedding"), (colbert, "KoColBERTRerank")):
            with pytest.raises(WrongFamilyError, match=named):
                KoSparseEmbedding(wrong)  # type: ignore[arg-type]
        BUILDERS["cross_encoder"](tmp_path)
        with pytest.raises(WrongFamilyError, match="cross-encoder"):
            KoSparseEmbedding(tmp_path)


class TestQdrant:
    """QdrantVectorStore over Qdrant's in-process engine."""

    @pytest.fixture
    def index(self, dense: DenseEncoder, sparse: KoSparseEmbedding, documents: list[str]) -> Iterator[VectorStoreIndex]:
        client = QdrantClient(":memory:")
        sparse_doc_fn, sparse_query_fn = sparse.as_qdrant_fns()
        store = QdrantVectorStore(
            "nodes",
            client,
            enable_hybrid=True,
            sparse_doc_fn=sparse_doc_fn,
            sparse_query_fn=sparse_query_fn,
            index_doc_id=False,  # in process, an index of ids is a warning
        )
        nodes = [TextNode(text=text, metadata={"쪽": page}, excluded_embed_metadata_keys=["쪽"])
                 for page, text in enumerate(documents)]  # fmt: skip
        context = StorageContext.from_defaults(vector_store=store)
        yield VectorStoreIndex(nodes, embed_model=KoEmbedding(dense), storage_context=context)
        client.close()

    def test_sparse(self, index: VectorStoreIndex, splade: SparseEncoder, documents: list[str]) -> None:
        retriever = index.as_retriever(
            vector_store_query_mode=VectorStoreQueryMode.SPARSE, sparse_top_k=8, similarity_top_k=8
        )
        expected = (splade.encode_documents(documents) @ splade.encode_queries([QUERY]).T).toarray()[:, 0]
        found = retriever.retrieve(QUERY)
        assert found[0].node.metadata["쪽"] == expected.argmax()
        for node in found:
            assert node.score == pytest.approx(expected[node.node.metadata["쪽"]], rel=1e-3)

    @pytest.mark.slow
    @pytest.mark.parametrize("mode", [VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID])
    def test_dense_and_hybrid(self, index: VectorStoreIndex, documents: list[str], mode: VectorStoreQueryMode) -> None:
        options = {"vector_store_query_mode": mode, "sparse_top_k": 4, "similarity_top_k": 2}
        retriever = index.as_retriever(**options)
        for page, text in enumerate(documents):
            assert retriever.retrieve(text)[0].node.metadata["쪽"] == page
        engine = index.as_query_engine(llm=MockLLM(), **options)
        assert engine.query(QUERY).source_nodes[0].node.metadata["쪽"] == 0

    def test_the_functions(self, sparse: KoSparseEmbedding, documents: list[str]) -> None:
        document_fn, query_fn = sparse.as_qdrant_fns()
        indices, values = document_fn(documents)
        assert [dict(zip(*row, strict=True)) for row in zip(indices, values, strict=True)] == (
            sparse.get_text_embedding_batch(documents)
        )
        (row,), (weights,) = query_fn([QUERY])
        assert dict(zip(row, weights, strict=True)) == sparse.get_query_embedding(QUERY)
        assert document_fn([]) == ([], [])
