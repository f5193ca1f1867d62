"""KoEmbedding: its vectors, serialised form, caches, events, and its place in LlamaIndex's indexes and pipelines."""

import asyncio
import copy
import json
import logging
import pickle
import unicodedata
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import BUILDERS
from event_loop import assert_loop_stays_free
from llama_index.core import Document, StorageContext, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.indices.query.query_transform import HyDEQueryTransform
from llama_index.core.ingestion import DocstoreStrategy, IngestionCache, IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent, EmbeddingStartEvent
from llama_index.core.llms import MockLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import TransformQueryEngine
from llama_index.core.schema import QueryBundle, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from korag import DenseEncoder, LateInteractionEncoder, SparseEncoder, load_encoder
from korag.errors import CheckpointNotFoundError, InvalidArgumentError, InvalidTextError, WrongFamilyError
from llamaindex_korag import KoEmbedding

QUERY = "보증금은 언제 돌려받나요?"
NODE_IDS = [str(uuid.UUID(int=number)) for number in range(8)]


@pytest.fixture(scope="module")
def embedding(dense: DenseEncoder) -> KoEmbedding:
    return KoEmbedding(dense)


@pytest.fixture
def nodes(documents: list[str]) -> list[TextNode]:
    """Nodes with UUIDs as ids, which Qdrant requires."""
    return [TextNode(id_=NODE_IDS[index], text=text, metadata={"쪽": index}) for index, text in enumerate(documents)]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts encoded so far in a test."""
    texts: list[str] = []
    original = DenseEncoder._encode

    def encode(self: DenseEncoder, given: list[str], *options: Any) -> Any:
        texts.extend(given)
        return original(self, given, *options)

    monkeypatch.setattr(DenseEncoder, "_encode", encode)
    return texts


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """The embedding events of a test, in order."""
    seen: list[Any] = []

    class Handler(BaseEventHandler):
        def handle(self, event: Any, **_: Any) -> None:
            if isinstance(event, EmbeddingStartEvent | EmbeddingEndEvent):
                seen.append(event)

    handler = Handler()
    dispatcher = get_dispatcher()
    dispatcher.add_event_handler(handler)
    yield seen
    dispatcher.event_handlers.remove(handler)


class TestVectors:
    async def test_every_way_gives_the_encoder_s_vectors(
        self, embedding: KoEmbedding, dense: DenseEncoder, documents: list[str]
    ) -> None:
        rows = dense.encode_documents(documents)
        query = dense.encode_queries([QUERY])[0]
        close = {"atol": 1e-5, "rtol": 0}
        np.testing.assert_allclose(embedding.get_text_embedding_batch(documents), rows, **close)
        np.testing.assert_allclose(await embedding.aget_text_embedding_batch(documents), rows, **close)
        np.testing.assert_allclose(embedding.get_text_embedding(documents[2]), rows[2], **close)
        np.testing.assert_allclose(await embedding.aget_text_embedding(documents[2]), rows[2], **close)
        np.testing.assert_allclose(embedding.get_query_embedding(QUERY), query, **close)
        np.testing.assert_allclose(await embedding.aget_query_embedding(QUERY), query, **close)
        assert {type(value) for value in embedding.get_query_embedding(QUERY)} == {float}
        assert embedding.get_text_embedding_batch([]) == await embedding.aget_text_embedding_batch([]) == []

    def test_prompts_are_applied(self, tmp_path: Path) -> None:
        BUILDERS["dense"](tmp_path)
        automatic, without = KoEmbedding(tmp_path), KoEmbedding(tmp_path, query_prompt="", document_prompt="")
        expected = without.get_text_embedding("query: " + QUERY)
        assert automatic.get_query_embedding(QUERY) == pytest.approx(expected, abs=1e-5)
        expected = without.get_text_embedding("passage: " + QUERY)
        assert automatic.get_text_embedding(QUERY) == pytest.approx(expected, abs=1e-5)
        assert automatic.get_query_embedding(QUERY) != pytest.approx(without.get_query_embedding(QUERY), abs=1e-2)

    def test_nfd_is_nfc(self, embedding: KoEmbedding) -> None:
        assert embedding.get_query_embedding(unicodedata.normalize("NFD", QUERY)) == embedding.get_query_embedding(
            QUERY
        )

    async def test_aggregated_queries(self, embedding: KoEmbedding) -> None:
        queries = [QUERY, "보증금 반환 시기"]
        expected = np.mean([embedding.get_query_embedding(query) for query in queries], axis=0)
        assert embedding.get_agg_embedding_from_queries(queries) == pytest.approx(expected, abs=1e-6)
        assert await embedding.aget_agg_embedding_from_queries(queries) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize("wrong", [None, 3, ["list"], "\ud800"])
    async def test_what_is_not_a_good_string(self, embedding: KoEmbedding, wrong: Any) -> None:
        with pytest.raises(InvalidTextError, match="query"):
            embedding.get_query_embedding(wrong)
        with pytest.raises(InvalidTextError, match="query"):
            await embedding.aget_query_embedding(wrong)
        with pytest.raises(InvalidTextError, match="text"):
            embedding.get_text_embedding(wrong)
        with pytest.raises(InvalidTextError, match=r"texts\[1\]"):
            embedding.get_text_embedding_batch([QUERY, wrong])
        with pytest.raises(InvalidTextError, match=r"texts\[1\]"):
            await embedding.aget_text_embedding_batch([QUERY, wrong])

    @pytest.mark.slow
    def test_odd_texts(self, embedding: KoEmbedding, dense: DenseEncoder, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "korag"):
            vectors = embedding.get_text_embedding_batch(["", "보증\0금", "가나 다" * 100_000])
        assert np.shape(vectors) == (3, dense.dim)
        assert np.isfinite(vectors).all()
        assert "1 of 3 texts are empty" in caplog.text
        assert "truncated" in caplog.text

    @pytest.mark.slow
    async def test_64_at_once_are_as_64_in_a_row(self, embedding: KoEmbedding) -> None:
        texts = [f"{number}월 보증금 안내 {'도서관 ' * (number % 5)}" for number in range(64)]
        expected = [
            embedding.get_query_embedding(text) if number % 2 else embedding.get_text_embedding(text)
            for number, text in enumerate(texts)
        ]
        found = await asyncio.gather(
            *(
                embedding.aget_query_embedding(text) if number % 2 else embedding.aget_text_embedding(text)
                for number, text in enumerate(texts)
            )
        )
        np.testing.assert_allclose(found, expected, atol=1e-5)

    @pytest.mark.parametrize("method", ["aget_query_embedding", "aget_text_embedding", "aget_text_embedding_batch"])
    async def test_the_event_loop_is_not_blocked(
        self, embedding: KoEmbedding, monkeypatch: pytest.MonkeyPatch, method: str
    ) -> None:
        given: Any = [QUERY] if method.endswith("batch") else QUERY
        for embed in (embedding, KoEmbedding(embedding._encoder, embeddings_cache=SimpleKVStore())):
            await assert_loop_stays_free(
                monkeypatch, DenseEncoder, "_encode", lambda e=embed: getattr(e, method)(given)
            )
            monkeypatch.undo()

    async def test_batches_and_workers(self, dense: DenseEncoder, documents: list[str], events: list[Any]) -> None:
        embedding = KoEmbedding(dense, embed_batch_size=3, num_workers=2)
        expected = embedding.get_text_embedding_batch(documents)
        assert [len(event.chunks) for event in events[1::2]] == [3, 3, 2]
        np.testing.assert_allclose(await embedding.aget_text_embedding_batch(documents), expected, atol=1e-5)
        assert sorted(len(event.chunks) for event in events[6:] if isinstance(event, EmbeddingEndEvent)) == [2, 3, 3]


class TestEvents:
    async def test_every_start_has_its_end(self, dense: DenseEncoder, documents: list[str], events: list[Any]) -> None:
        debug = LlamaDebugHandler(print_trace_on_end=False)
        embedding = KoEmbedding(dense, callback_manager=CallbackManager([debug]))
        embedding.get_query_embedding(QUERY)
        await embedding.aget_query_embedding(QUERY)
        embedding.get_text_embedding(QUERY)
        await embedding.aget_text_embedding(QUERY)
        embedding.get_text_embedding_batch(documents)
        await embedding.aget_text_embedding_batch(documents)
        assert [type(event) for event in events] == [EmbeddingStartEvent, EmbeddingEndEvent] * 6
        assert events[0].model_dict == {
            "class_name": "KoEmbedding",
            "model_name": "mini-dense",
            "embed_batch_size": 128,
        }
        assert events[1].chunks == [QUERY]
        assert np.shape(events[-1].embeddings) == (len(documents), dense.dim)
        pairs = debug.get_event_pairs(CBEventType.EMBEDDING)
        assert len(pairs) == 6
        for start, end in pairs:
            assert start.id_ == end.id_
            assert len((end.payload or {})[EventPayload.EMBEDDINGS]) in (1, len(documents))


class TestEmbeddingsCache:
    async def test_a_query_and_a_text_do_not_share_an_entry(self, dense: DenseEncoder, encoded: list[str]) -> None:
        store = SimpleKVStore()
        embedding, plain = KoEmbedding(dense, embeddings_cache=store), KoEmbedding(dense)
        query, text = plain.get_query_embedding(QUERY), plain.get_text_embedding(QUERY)
        assert query != text
        encoded.clear()
        for _ in range(2):
            assert embedding.get_query_embedding(QUERY) == query
            assert await embedding.aget_query_embedding(QUERY) == query
            assert embedding.get_text_embedding(QUERY) == text
            assert await embedding.aget_text_embedding(QUERY) == text
            assert embedding.get_text_embedding_batch([QUERY]) == [text]
            assert await embedding.aget_text_embedding_batch([QUERY]) == [text]
        assert encoded == [QUERY, QUERY]  # once as each
        assert len(store.get_all("embeddings")) == 2

    async def test_only_new_texts_are_encoded(
        self, dense: DenseEncoder, documents: list[str], encoded: list[str]
    ) -> None:
        embedding = KoEmbedding(dense, embeddings_cache=SimpleKVStore())
        expected = KoEmbedding(dense).get_text_embedding_batch(documents)
        encoded.clear()
        mixed = [documents[3], documents[0], documents[3]]
        assert np.shape(embedding.get_text_embedding_batch(mixed)) == (3, dense.dim)
        assert encoded == [documents[3], documents[0]]
        np.testing.assert_allclose(await embedding.aget_text_embedding_batch(documents), expected, atol=1e-5)
        assert sorted(encoded) == sorted(documents)

    def test_two_models_can_share_a_store(self, dense: DenseEncoder) -> None:
        store = SimpleKVStore()
        other = load_encoder("mini-dense", query_prompt="")
        expected = [KoEmbedding(encoder).get_query_embedding(QUERY) for encoder in (dense, other)]  # type: ignore[arg-type]
        found = [KoEmbedding(encoder, embeddings_cache=store).get_query_embedding(QUERY) for encoder in (dense, other)]  # type: ignore[arg-type]
        assert found == expected
        assert found[0] != found[1]

    def test_a_cache_assigned_later(self, dense: DenseEncoder, encoded: list[str]) -> None:
        embedding = KoEmbedding(dense)
        embedding.embeddings_cache = SimpleKVStore()
        assert embedding.get_query_embedding(QUERY) != embedding.get_text_embedding(QUERY)


class TestFields:
    def test_what_changes_vectors_is_serialised(self) -> None:
        """Fields that 0.1.0 did not have are left out where they are not set, since they are part of cache keys."""
        assert KoEmbedding("mini-dense", embed_batch_size=7, num_workers=3).to_dict() == {
            "model_name": "mini-dense",
            "revision": None,
            "dim": 192,
            "query_prompt": "[Q] ",
            "document_prompt": "[D] ",
            "max_length": 512,
            "adapter": None,
            "class_name": "KoEmbedding",
        }
        assert KoEmbedding("mini-dense", query_length=9).to_dict()["query_length"] == 9

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "settings",
        [{}, {"query_prompt": ""}, {"document_prompt": "글: "}, {"max_length": 9}, {"query_length": 9}, {"dim": 64}],
        ids=str,
    )
    def test_round_trip_gives_the_same_vectors(self, settings: dict[str, Any]) -> None:
        encoder = load_encoder("mini-dense", **settings)
        assert isinstance(encoder, DenseEncoder)
        embedding = KoEmbedding(encoder, embed_batch_size=5)
        expected = embedding.get_query_embedding(QUERY), embedding.get_text_embedding(QUERY)
        data = embedding.to_dict()
        before = dict(data)
        for again in (
            KoEmbedding.from_dict(data),
            KoEmbedding.from_json(embedding.to_json()),
            KoEmbedding.model_validate({k: v for k, v in data.items() if k != "class_name"}),
            KoEmbedding("mini-dense", **settings),
            pickle.loads(pickle.dumps(embedding)),  # noqa: S301
            copy.deepcopy(embedding),
            embedding.model_copy(),
        ):
            assert again.to_dict() == data
            assert (again.get_query_embedding(QUERY), again.get_text_embedding(QUERY)) == expected
        assert data == before
        assert KoEmbedding.from_dict(data, embed_batch_size=2).embed_batch_size == 2

    @pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's
    def test_an_adapter_is_serialised(self, tmp_path: Path) -> None:
        pytest.importorskip("peft")
        folder = tmp_path / "lora"
        BUILDERS["lora"](folder)
        embedding = KoEmbedding(folder)
        assert embedding.adapter == str(folder)
        data = embedding.to_dict()
        assert data["model_name"] != str(folder)
        assert KoEmbedding.from_dict(data).to_dict() == data
        assert KoEmbedding.from_dict(data)._encoder.fingerprint == embedding._encoder.fingerprint

    def test_the_ingestion_hash(self, nodes: list[TextNode], tmp_path: Path) -> None:
        BUILDERS["dense"](tmp_path)

        def hashed(**settings: Any) -> str:
            return get_transformation_hash(nodes, KoEmbedding(load_encoder(**{"model": "mini-dense", **settings})))  # type: ignore[arg-type]

        first = hashed()
        for other in ({"device": "cpu"}, {"dtype": "bfloat16"}, {"batch_tokens": 64}, {"local_files_only": True}):
            assert hashed(**other) == first
        for more in ({"embed_batch_size": 3}, {"num_workers": 2}, {"embeddings_cache": SimpleKVStore()}):
            assert get_transformation_hash(nodes, KoEmbedding("mini-dense", **more)) == first  # type: ignore[arg-type]
        changed = [
            hashed(query_prompt=""), hashed(document_prompt="글: "), hashed(max_length=100), hashed(model=tmp_path)
        ]  # fmt: skip
        assert len({first, *changed}) == 5

    @pytest.mark.slow
    def test_pickle_is_small_and_keeps_how_the_model_is_run(self) -> None:
        encoder = load_encoder("mini-dense", device="cpu", dtype="bfloat16", batch_tokens=64, token="hf_SECRET")  # noqa: S106
        assert isinstance(encoder, DenseEncoder)

        class Stubborn(LlamaDebugHandler):
            def __reduce__(self) -> Any:
                raise TypeError("cannot be pickled")

        manager = CallbackManager([Stubborn(print_trace_on_end=False)])
        embedding = KoEmbedding(encoder, embed_batch_size=5, callback_manager=manager, embeddings_cache=SimpleKVStore())
        expected = embedding.get_query_embedding(QUERY)
        pickled = pickle.dumps(embedding)
        assert len(pickled) < 2_000
        assert b"SECRET" not in pickled
        assert "SECRET" not in repr(embedding)
        assert embedding.callback_manager is manager
        assert embedding.embeddings_cache is not None
        again = pickle.loads(pickled)  # noqa: S301
        assert again._encoder._model is None
        assert (again._encoder.options, again.embed_batch_size) == (encoder.options, 5)
        assert again.callback_manager.handlers == []
        assert again.get_query_embedding(QUERY) == expected

    def test_copies_share_the_model(self, embedding: KoEmbedding, dense: DenseEncoder) -> None:
        for copied in (embedding.model_copy(), copy.copy(embedding), copy.deepcopy(embedding)):
            assert copied._encoder is dense

    def test_wrong_settings(self, dense: DenseEncoder) -> None:
        assert KoEmbedding(dense, query_prompt="[Q] ")._encoder is dense
        for settings in (
            {"query_prompt": ""},
            {"dim": 3},
            {"max_length": 5},
            {"query_length": 5},
            {"pooling": "cls"},
            {"revision": "a"},
            {"adapter": "b"},
        ):
            with pytest.raises(InvalidArgumentError, match=next(iter(settings))):
                KoEmbedding(dense, **settings)  # type: ignore[arg-type]
        for unknown in ({"device": "cpu"}, {"normalize": True}):
            with pytest.raises(InvalidArgumentError, match=next(iter(unknown))):
                KoEmbedding(dense, **unknown)
        with pytest.raises(InvalidArgumentError, match="Did you mean model_name"):
            KoEmbedding(encoder="mini-dense")  # not an error about the default model, which may not be there
        for wrong in ({"embed_batch_size": 0}, {"num_workers": "many"}):
            with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
                KoEmbedding(dense, **wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="embeddings_cache"):
            KoEmbedding(dense, embeddings_cache={})  # type: ignore[arg-type]
        embedding = KoEmbedding(dense)
        for name in (
            "model_name",
            "revision",
            "dim",
            "query_prompt",
            "document_prompt",
            "max_length",
            "query_length",
            "pooling",
            "adapter",
        ):
            with pytest.raises(InvalidArgumentError, match="frozen"):
                setattr(embedding, name, getattr(embedding, name))
        embedding.embed_batch_size = 4

    def test_a_model_of_another_family(
        self, colbert: LateInteractionEncoder, splade: SparseEncoder, tmp_path: Path
    ) -> None:
        for wrong, named in (
            ("mini-splade", "KoSparseEmbedding"),
            (splade, "KoSparseEmbedding"),
            ("mini-colbert", "KoColBERTRerank"),
            (colbert, "KoColBERTRerank"),
        ):
            with pytest.raises(WrongFamilyError, match=named):
                KoEmbedding(wrong)  # type: ignore[arg-type]
        BUILDERS["cross_encoder"](tmp_path)
        with pytest.raises(WrongFamilyError, match="cross-encoder"):
            KoEmbedding(tmp_path)
        with pytest.raises(CheckpointNotFoundError):
            KoEmbedding("없는 모델")

    def test_schema_and_names(self) -> None:
        schema = KoEmbedding.model_json_schema()
        assert schema["properties"]["class_name"]["default"] == KoEmbedding.class_name() == "KoEmbedding"
        assert schema["properties"]["model_name"]["default"] == "dragonkue/BGE-m3-ko"
        assert json.dumps(schema)


class TestIndex:
    async def test_the_simple_store(self, embedding: KoEmbedding, nodes: list[TextNode]) -> None:
        index = VectorStoreIndex(nodes, embed_model=embedding)
        retriever = index.as_retriever(similarity_top_k=3)
        found = retriever.retrieve(QUERY)
        assert [node.score for node in found] == sorted((node.score for node in found), reverse=True)  # type: ignore[type-var]
        assert found[0].node.node_id == NODE_IDS[0]
        assert [node.node_id for node in await retriever.aretrieve(QUERY)] == [node.node_id for node in found]
        assert len(index.as_retriever(similarity_top_k=100).retrieve(QUERY)) == len(nodes)

    async def test_a_query_engine(self, embedding: KoEmbedding, nodes: list[TextNode], documents: list[str]) -> None:
        engine = VectorStoreIndex(nodes, embed_model=embedding).as_query_engine(llm=MockLLM(), similarity_top_k=1)
        for response in (engine.query(QUERY), await engine.aquery(QUERY)):
            assert [node.node.node_id for node in response.source_nodes] == [NODE_IDS[0]]
            assert documents[0] in str(response)  # MockLLM answers with its prompt

    async def test_hyde_s_several_strings(self, embedding: KoEmbedding, nodes: list[TextNode]) -> None:
        index = VectorStoreIndex(nodes, embed_model=embedding)
        bundle = QueryBundle(QUERY, custom_embedding_strs=["보증금 반환", "임대차 계약의 끝"])
        assert index.as_retriever(similarity_top_k=1).retrieve(bundle)[0].node.node_id == NODE_IDS[0]
        engine = TransformQueryEngine(
            index.as_query_engine(llm=MockLLM(), similarity_top_k=2),
            HyDEQueryTransform(llm=MockLLM(), include_original=True),
        )
        assert len(engine.query(QUERY).source_nodes) == 2  # type: ignore[union-attr]

    async def test_qdrant(self, embedding: KoEmbedding, nodes: list[TextNode]) -> None:
        client = QdrantClient(":memory:")
        store = QdrantVectorStore("nodes", client, index_doc_id=False)  # in process, an index of ids is a warning
        index = VectorStoreIndex(
            nodes, embed_model=embedding, storage_context=StorageContext.from_defaults(vector_store=store)
        )
        found = index.as_retriever(similarity_top_k=2).retrieve(QUERY)
        assert (found[0].node.node_id, found[0].node.metadata["쪽"]) == (NODE_IDS[0], 0)
        client.close()

    async def test_qdrant_s_async_client(self, embedding: KoEmbedding, nodes: list[TextNode]) -> None:
        client = AsyncQdrantClient(":memory:")
        store = QdrantVectorStore("nodes", aclient=client, index_doc_id=False)
        for node in nodes:
            node.embedding = await embedding.aget_text_embedding(node.get_content())
        await store.async_add(nodes)
        index = VectorStoreIndex.from_vector_store(store, embed_model=embedding)
        found = await index.as_retriever(similarity_top_k=2).aretrieve(QUERY)
        assert found[0].node.node_id == NODE_IDS[0]
        await client.close()


class TestIngestion:
    def _documents(self, documents: list[str]) -> list[Document]:
        return [Document(id_=f"글-{index}", text=text) for index, text in enumerate(documents)]

    def test_the_cache_holds_while_the_vectors_would_be_the_same(
        self, documents: list[str], encoded: list[str]
    ) -> None:
        cache = IngestionCache()

        def run(**settings: Any) -> list[Any]:
            embed = KoEmbedding(load_encoder("mini-dense", **settings))  # type: ignore[arg-type]
            pipeline = IngestionPipeline(transformations=[SentenceSplitter(), embed], cache=cache)
            return [node.embedding for node in pipeline.run(documents=self._documents(documents))]

        expected = run()
        assert len(encoded) == len(documents)
        assert run(device="cpu", batch_tokens=100) == expected
        assert len(encoded) == len(documents)  # nothing was encoded again
        changed = run(document_prompt="글: ")
        assert len(encoded) == 2 * len(documents)
        assert changed != expected

    @pytest.mark.slow
    def test_two_workers(self, documents: list[str]) -> None:
        """Without a splitter: the default one, once unpickled in a worker, fetches its tokenizer from the network."""
        given = self._documents(documents)
        embed = KoEmbedding(load_encoder("mini-dense", dtype="float32"))  # a worker chooses "auto" for itself
        expected = embed.get_text_embedding_batch(documents)
        found = IngestionPipeline(transformations=[embed]).run(documents=given, num_workers=2)
        assert [node.get_content() for node in found] == documents
        np.testing.assert_allclose([node.embedding or [] for node in found], expected, atol=1e-5)

    async def test_upserts(self, documents: list[str], dense: DenseEncoder, encoded: list[str]) -> None:
        pipeline = IngestionPipeline(
            transformations=[KoEmbedding(dense)],
            docstore=SimpleDocumentStore(),
            vector_store=SimpleVectorStore(),
            docstore_strategy=DocstoreStrategy.UPSERTS,
        )
        given = self._documents(documents)
        assert len(pipeline.run(documents=given)) == len(documents)
        assert len(await pipeline.arun(documents=given)) == 0
        assert len(encoded) == len(documents)
        changed = [Document(id_="글-1", text="시립 도서관은 이제 쉬지 않는다."), *given[2:]]
        assert [node.get_content() for node in pipeline.run(documents=changed)] == [changed[0].text]
        assert encoded[len(documents) :] == [changed[0].text]
