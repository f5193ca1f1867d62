"""KoEmbeddings: LangChain's own suites, the prompts, the settings of HuggingFaceEmbeddings, and vector stores."""

import asyncio
import copy
import json
import logging
import pickle
import random
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import BUILDERS
from event_loop import assert_loop_stays_free
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore, VectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests
from pydantic import SecretStr

from korag import DenseEncoder, LateInteractionEncoder, SparseEncoder, load_encoder
from korag.errors import CheckpointNotFoundError, InvalidArgumentError, InvalidTextError, KoragError, WrongFamilyError
from langchain_korag import KoEmbeddings

QUERY = "보증금은 언제 돌려받나요?"
TEXTS = ["임대차 계약이 끝나면 보증금을 돌려준다.", "도서관은 월요일에 쉰다!", "GPU 서버 3대"]


class TestUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return KoEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "mini-dense"}


class TestIntegration(EmbeddingsIntegrationTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return KoEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "mini-dense"}


@pytest.fixture(scope="module")
def embeddings(dense: DenseEncoder) -> KoEmbeddings:
    return KoEmbeddings(model=dense)


@pytest.fixture(scope="module")
def prompted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with the prompts "query: " and "passage: ", like KoE5."""
    folder = tmp_path_factory.mktemp("prompted")
    BUILDERS["dense"](folder)
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint without prompts or normalization, like ko-sroberta-multitask."""
    folder = tmp_path_factory.mktemp("bare")
    BUILDERS["roberta"](folder)
    return folder


class TestVectors:
    def test_python_floats_of_the_encoder(self, embeddings: KoEmbeddings, dense: DenseEncoder) -> None:
        found = embeddings.embed_documents(TEXTS)
        assert {type(value) for row in found for value in row} == {float}
        np.testing.assert_allclose(found, dense.encode_documents(TEXTS), atol=1e-6)
        np.testing.assert_allclose(embeddings.embed_query(QUERY), dense.encode_queries([QUERY])[0], atol=1e-6)

    def test_the_checkpoint_s_prompts_are_applied(self, prompted: Path) -> None:
        automatic = KoEmbeddings(model=prompted)
        without = KoEmbeddings(model=prompted, model_kwargs={"query_prompt": "", "document_prompt": ""})
        assert automatic.embed_query(QUERY) == pytest.approx(without.embed_query("query: " + QUERY), abs=1e-5)
        assert automatic.embed_documents([QUERY])[0] == pytest.approx(
            without.embed_query("passage: " + QUERY), abs=1e-5
        )
        assert automatic.embed_query(QUERY) != pytest.approx(without.embed_query(QUERY), abs=1e-2)
        assert automatic.embed_documents([QUERY])[0] != pytest.approx(automatic.embed_query(QUERY), abs=1e-2)

    @pytest.mark.slow
    def test_a_batch_is_its_texts_one_by_one(self, embeddings: KoEmbeddings, documents: list[str]) -> None:
        one_by_one = [embeddings.embed_documents([text])[0] for text in documents]
        np.testing.assert_allclose(embeddings.embed_documents(documents), one_by_one, atol=1e-5)
        np.testing.assert_allclose(embeddings.embed_documents(documents[::-1]), one_by_one[::-1], atol=1e-5)

    def test_nfd_is_nfc(self, embeddings: KoEmbeddings) -> None:
        decomposed = unicodedata.normalize("NFD", QUERY)
        assert decomposed != QUERY
        assert embeddings.embed_query(decomposed) == embeddings.embed_query(QUERY)
        assert embeddings.embed_documents([decomposed]) == embeddings.embed_documents([QUERY])

    def test_line_ends_are_not_replaced(self, prompted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[str] = []
        original = DenseEncoder.encode_documents

        def encode_documents(self: DenseEncoder, texts: list[str], **options: Any) -> Any:
            seen.extend(texts)
            return original(self, texts, **options)

        monkeypatch.setattr(DenseEncoder, "encode_documents", encode_documents)
        KoEmbeddings(model=prompted).embed_documents(["첫 줄\n둘째 줄"])
        assert seen == ["첫 줄\n둘째 줄"]

    def test_nothing(self) -> None:
        assert KoEmbeddings(model="mini-dense").embed_documents([]) == []

    def test_empty_texts_have_vectors_and_are_reported(
        self, embeddings: KoEmbeddings, dense: DenseEncoder, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING, "korag"):
            found = embeddings.embed_documents(["", TEXTS[0], " \n"])
        assert "2 of 3 texts are empty" in caplog.text
        assert [len(row) for row in found] == [dense.dim] * 3
        assert found[1] == pytest.approx(embeddings.embed_documents([TEXTS[0]])[0], abs=1e-5)
        assert len(embeddings.embed_query("")) == dense.dim

    @pytest.mark.parametrize("wrong", [None, 3, b"bytes", ["list"], "\ud800"])
    async def test_what_is_not_a_good_string(self, embeddings: KoEmbeddings, wrong: Any) -> None:
        with pytest.raises(InvalidTextError, match=r"texts\[1\]"):
            embeddings.embed_documents([QUERY, wrong])
        with pytest.raises(InvalidTextError, match=r"texts\[1\]"):
            await embeddings.aembed_documents([QUERY, wrong])
        with pytest.raises(InvalidTextError, match=r"(?m)^text[^s]"):
            embeddings.embed_query(wrong)
        with pytest.raises(InvalidTextError):
            await embeddings.aembed_query(wrong)

    def test_one_string_is_not_a_list(self, embeddings: KoEmbeddings) -> None:
        with pytest.raises(InvalidTextError, match="list of strings"):
            embeddings.embed_documents(QUERY)  # type: ignore[arg-type]

    @pytest.mark.slow
    def test_odd_texts(self, embeddings: KoEmbeddings, dense: DenseEncoder) -> None:
        for text in ("\0", "보증\0금", "가나 다" * 100_000, "\U0010ffff"):
            assert np.isfinite(embeddings.embed_query(text)).all()
            assert np.shape(embeddings.embed_documents([text])) == (1, dense.dim)

    def test_weights_are_loaded_at_the_first_use(self) -> None:
        embeddings = KoEmbeddings(model="mini-dense")
        assert embeddings.model._model is None  # type: ignore[union-attr]
        embeddings.embed_query(QUERY)
        assert embeddings.model._model is not None  # type: ignore[union-attr]


class TestAsync:
    @pytest.mark.slow
    async def test_64_at_once_are_as_64_in_a_row(self, embeddings: KoEmbeddings) -> None:
        chooser = random.Random(3)
        long = "임대차 계약이 끝나면 집주인은 보증금을 돌려주어야 한다. " * 9
        calls = [(chooser.random() < 0.5, f"{number} {long[: chooser.randrange(5, 200)]}") for number in range(64)]
        expected = [embeddings.embed_query(text) if query else embeddings.embed_documents([text])[0]
                    for query, text in calls]  # fmt: skip

        async def embed(query: bool, text: str) -> list[float]:
            return await embeddings.aembed_query(text) if query else (await embeddings.aembed_documents([text]))[0]

        found = await asyncio.gather(*(embed(*call) for call in calls))
        np.testing.assert_allclose(found, expected, atol=1e-5)

    @pytest.mark.parametrize("method", ["aembed_query", "aembed_documents"])
    async def test_the_event_loop_is_not_blocked(
        self, embeddings: KoEmbeddings, monkeypatch: pytest.MonkeyPatch, method: str
    ) -> None:
        query = method == "aembed_query"
        await assert_loop_stays_free(
            monkeypatch,
            DenseEncoder,
            "encode_queries" if query else "encode_documents",
            lambda: getattr(embeddings, method)(QUERY if query else [QUERY]),
        )


HUGGINGFACE: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"cache_folder": "/nowhere"}, {}),
    ({"model_kwargs": {"device": "cpu"}}, {"device": "cpu"}),
    ({"model_kwargs": {"device": "cpu", "trust_remote_code": True}}, {"device": "cpu", "trust_remote_code": True}),
    ({"model_kwargs": {"local_files_only": True, "token": True, "use_auth_token": "hf_x"}}, {}),
    ({"model_kwargs": {"backend": "torch", "revision": None}}, {}),
    ({"model_kwargs": {"model_kwargs": {"torch_dtype": "bfloat16"}}}, {"dtype": "bfloat16"}),
    ({"model_kwargs": {"model_kwargs": {"dtype": "torch.float16"}}}, {"dtype": "float16"}),
    ({"model_kwargs": {"truncate_dim": 32}}, {"dim": 32}),
    ({"model_kwargs": {"truncate_dim": 8}}, {"dim": 8}),
    ({"encode_kwargs": {"truncate_dim": 8}}, {"dim": 8}),
    (
        {"model_kwargs": {"prompts": {"query": "질문: ", "passage": "글: "}}},
        {"query_prompt": "질문: ", "document_prompt": "글: "},
    ),
    ({"model_kwargs": {"prompts": {"document": "글: "}}}, {"document_prompt": "글: "}),
    (
        {"model_kwargs": {"prompts": {"모두": "글: "}, "default_prompt_name": "모두"}},
        {"query_prompt": "글: ", "document_prompt": "글: "},
    ),
    ({"encode_kwargs": {"normalize_embeddings": True}}, {}),
    ({"encode_kwargs": {"convert_to_numpy": True, "convert_to_tensor": False, "precision": "float32"}}, {}),
    ({"encode_kwargs": {"batch_size": 32}}, {"batch_tokens": 4_096}),
    ({"encode_kwargs": {"batch_size": 8, "device": "cpu"}}, {"batch_tokens": 1_024, "device": "cpu"}),
    ({"encode_kwargs": {"prompt": "글: "}}, {"query_prompt": "글: ", "document_prompt": "글: "}),
    (
        {"encode_kwargs": {"prompt": "글: "}, "query_encode_kwargs": {"prompt": "질문: "}},
        {"query_prompt": "질문: ", "document_prompt": "글: "},
    ),
    ({"encode_kwargs": {"prompt": "글: "}, "query_encode_kwargs": {"batch_size": 1}}, {"document_prompt": "글: "}),
    ({"encode_kwargs": {"prompt_name": "passage"}, "query_encode_kwargs": {"prompt_name": "query"}}, {}),
    (
        {"model_kwargs": {"prompts": {"passage": "글: "}}, "encode_kwargs": {"prompt_name": "passage"}},
        {"document_prompt": "글: "},
    ),
    ({"model_kwargs": {"max_length": 20, "query_prompt": "q "}}, {"max_length": 20, "query_prompt": "q "}),
    ({"show_progress": False, "multi_process": False}, {}),
]
"""Arguments of HuggingFaceEmbeddings, and the equivalent arguments of `korag.load_encoder`."""

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"model_kwargs": {"config_kwargs": {}}}, "config_kwargs"),
    ({"model_kwargs": {"tokenizer_kwargs": {}}}, "tokenizer_kwargs"),
    ({"model_kwargs": {"cache_folder": "x"}}, "cache_folder"),
    ({"model_kwargs": {"model_kwargs": {"attn_implementation": "sdpa"}}}, "attn_implementation"),
    ({"model_kwargs": {"prompts": {"classification": "x"}}}, "classification"),
    ({"model_kwargs": {"default_prompt_name": "query"}}, "default_prompt_name"),
    ({"model_kwargs": {"truncate_dim": 64}}, "dim=64"),
    ({"model_kwargs": {"dim": 32, "truncate_dim": 16}}, "dim"),
    ({"model_kwargs": {"device": "cpu"}, "encode_kwargs": {"device": "cuda"}}, "device"),
    ({"model_kwargs": {"token": 3}}, "token"),
    ({"encode_kwargs": {"output_value": "token_embeddings"}}, "output_value"),
    ({"encode_kwargs": {"precision": "int8"}}, "precision"),
    ({"encode_kwargs": {"normalize_embeddings": "yes"}}, "normalize_embeddings"),
    ({"encode_kwargs": {"batch_size": 0}}, "batch_size"),
    ({"encode_kwargs": {"show_progress_bar": True}}, "show_progress=True"),
    ({"encode_kwargs": {"chunk_size": 4}}, "chunk_size"),
    ({"encode_kwargs": {"prompt_name": "query"}}, "prompt_name"),
    ({"query_encode_kwargs": {"prompt_name": "passage"}}, "prompt_name"),
    ({"model_kwargs": {"document_prompt": "a"}, "encode_kwargs": {"prompt": "b"}}, "document_prompt"),
    ({"multi_process": True}, "multi_process"),
]


class TestSettings:
    """Every field of HuggingFaceEmbeddings is supported or an error."""

    @pytest.mark.parametrize(("given", "expected"), HUGGINGFACE, ids=[str(given) for given, _ in HUGGINGFACE])
    def test_each_is_mapped(self, prompted: Path, given: dict[str, Any], expected: dict[str, Any]) -> None:
        before = copy.deepcopy(given)
        embeddings, reference = KoEmbeddings(model_name=str(prompted), **given), load_encoder(prompted, **expected)  # type: ignore[call-arg]
        assert isinstance(embeddings.model, DenseEncoder)
        assert embeddings.model.fingerprint == reference.fingerprint
        assert embeddings.model.options == reference.options
        assert given == before

    @pytest.mark.parametrize(("given", "named"), WRONG, ids=[str(given) for given, _ in WRONG])
    def test_the_others_are_errors(self, prompted: Path, given: dict[str, Any], named: str) -> None:
        with pytest.raises(KoragError, match=f"(?s)[가-힣].*\n.*{named}"):
            KoEmbeddings(model=prompted, **given)

    def test_truncated_vectors_are_the_reference_s_at_unit_length(self, prompted: Path) -> None:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(str(prompted), device="cpu", local_files_only=True)
        embeddings = KoEmbeddings(model=prompted, encode_kwargs={"truncate_dim": 8})  # type: ignore[arg-type]
        expected = model.encode("passage: 보증금 반환", truncate_dim=8, normalize_embeddings=True)
        np.testing.assert_allclose(embeddings.embed_documents(["보증금 반환"])[0], expected, atol=1e-5)

    def test_normalize_embeddings(self, bare: Path) -> None:
        plain = KoEmbeddings(model=bare)
        unit = KoEmbeddings(model=bare, encode_kwargs={"normalize_embeddings": True})
        documents_only = KoEmbeddings(
            model=bare,
            encode_kwargs={"normalize_embeddings": True},
            query_encode_kwargs={"normalize_embeddings": False},
        )
        norm = np.linalg.norm
        assert abs(norm(plain.embed_query(QUERY)) - 1) > 0.1
        assert norm(unit.embed_query(QUERY)) == pytest.approx(1)
        assert norm(unit.embed_documents(TEXTS), axis=1) == pytest.approx(1)
        assert np.cross(plain.embed_query(QUERY)[:3], unit.embed_query(QUERY)[:3]) == pytest.approx(0, abs=1e-5)
        assert documents_only.embed_query(QUERY) == plain.embed_query(QUERY)
        assert documents_only.embed_documents(TEXTS) == unit.embed_documents(TEXTS)
        assert len({each.cache_namespace for each in (plain, unit, documents_only)}) == 3

    def test_a_loaded_encoder_must_agree(self, dense: DenseEncoder) -> None:
        assert KoEmbeddings(model=dense, model_kwargs={"query_prompt": "[Q] "}).model is dense
        for wrong in ({"query_prompt": "x"}, {"device": "cuda"}, {"token": "hf_x"}):
            with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
                KoEmbeddings(model=dense, model_kwargs=wrong)
        with pytest.raises(InvalidArgumentError, match="cache_folder"):
            KoEmbeddings(model=dense, cache_folder="x")

    def test_misspelt_and_frozen_fields(self, embeddings: KoEmbeddings) -> None:
        for wrong in ({"modle": "mini-dense"}, {"show_progress": "sometimes"}, {"model": "a", "model_name": "b"}):
            with pytest.raises(InvalidArgumentError):
                KoEmbeddings(**wrong)  # type: ignore[arg-type]
        for name in ("model", "model_kwargs", "encode_kwargs", "cache_folder"):
            with pytest.raises(InvalidArgumentError, match="frozen"):
                setattr(embeddings.model_copy(), name, getattr(embeddings, name))
        changed = embeddings.model_copy()
        changed.show_progress = True
        assert changed.model is embeddings.model

    @pytest.mark.parametrize(("model", "named"), [("mini-colbert", "KoColBERTRetriever"),
                                                  ("mini-splade", "KoSparseEmbeddings")])  # fmt: skip
    def test_a_model_of_another_family(
        self, model: str, named: str, colbert: LateInteractionEncoder, splade: SparseEncoder
    ) -> None:
        for wrong in (model, colbert if model == "mini-colbert" else splade):
            with pytest.raises(WrongFamilyError, match=named):
                KoEmbeddings(model=wrong)  # type: ignore[arg-type]

    def test_a_cross_encoder(self, tmp_path: Path) -> None:
        BUILDERS["cross_encoder"](tmp_path)
        with pytest.raises(WrongFamilyError, match="cross-encoder"):
            KoEmbeddings(model=tmp_path)

    def test_no_such_model(self) -> None:
        with pytest.raises(CheckpointNotFoundError, match="없는 모델"):
            KoEmbeddings(model="없는 모델")
        with pytest.raises(InvalidArgumentError):
            KoEmbeddings(model=3)  # type: ignore[arg-type]


class TestForm:
    def test_secrets_are_shown_and_kept_nowhere(self) -> None:
        embeddings = KoEmbeddings(model="mini-dense", model_kwargs={"token": "hf_SECRET", "device": "cpu"})
        assert isinstance(embeddings.model_kwargs["token"], SecretStr)
        for shown in (repr(embeddings), str(embeddings), str(embeddings.model_dump()), embeddings.model_dump_json()):
            assert "SECRET" not in shown
        assert b"SECRET" not in pickle.dumps(embeddings)
        assert "token" in embeddings.model_kwargs  # pickling took it from the pickle only
        assert KoEmbeddings(model="mini-dense", model_kwargs=embeddings.model_kwargs).model_kwargs["device"] == "cpu"
        with pytest.raises(InvalidArgumentError) as caught:
            KoEmbeddings(model="mini-dense", model_kwargs={"token": "hf_SECRET", "nonsense": 1})
        assert "SECRET" not in str(caught.value)

    def test_pickle_and_copies(self, bare: Path) -> None:
        embeddings = KoEmbeddings(
            model=bare, model_kwargs={"device": "cpu", "max_length": 16}, encode_kwargs={"normalize_embeddings": True}
        )
        expected = embeddings.embed_documents(TEXTS)
        pickled = pickle.dumps(embeddings)
        assert len(pickled) < 4_000
        again = pickle.loads(pickled)  # noqa: S301
        assert again.model._model is None
        assert again.cache_namespace == embeddings.cache_namespace
        for copied in (again, copy.deepcopy(embeddings), copy.copy(embeddings), embeddings.model_copy()):
            assert copied.embed_documents(TEXTS) == expected
            assert copied.model_kwargs == embeddings.model_kwargs
        assert copy.deepcopy(embeddings).model is embeddings.model

    def test_repr_dump_and_schema(self, embeddings: KoEmbeddings) -> None:
        fields = {"model_kwargs", "encode_kwargs", "query_encode_kwargs", "cache_folder", "show_progress",
                  "multi_process"}  # fmt: skip
        assert set(json.loads(embeddings.model_dump_json())) == fields
        properties = KoEmbeddings.model_json_schema()["properties"]
        assert set(properties) == {"model", *fields}
        assert properties["model"]["type"] == "string"
        assert properties["model"]["default"] == "dragonkue/BGE-m3-ko"
        assert embeddings.model_name == "mini-dense"

    def test_cache_namespace(self, embeddings: KoEmbeddings, prompted: Path) -> None:
        same = KoEmbeddings(model="mini-dense", model_kwargs={"device": "cpu", "batch_tokens": 9})
        assert same.cache_namespace == embeddings.cache_namespace
        others = [
            KoEmbeddings(model="mini-dense", model_kwargs={"document_prompt": ""}),
            KoEmbeddings(model="mini-dense", model_kwargs={"max_length": 100}),
            KoEmbeddings(model=prompted),
        ]
        assert len({embeddings.cache_namespace, *(each.cache_namespace for each in others)}) == 4
        unit = KoEmbeddings(model="mini-dense", encode_kwargs={"normalize_embeddings": True})
        assert unit.cache_namespace == embeddings.cache_namespace  # its vectors have unit length anyway


@pytest.fixture
def laws() -> list[Document]:
    return [Document(id=str(index), page_content=text, metadata={"쪽": index}) for index, text in enumerate(TEXTS)]


class TestStores:
    def test_cache_backed(self, embeddings: KoEmbeddings, monkeypatch: pytest.MonkeyPatch) -> None:
        documents, queries = InMemoryByteStore(), InMemoryByteStore()

        def cached(underlying: KoEmbeddings) -> CacheBackedEmbeddings:
            return CacheBackedEmbeddings.from_bytes_store(
                underlying,
                documents,
                namespace=underlying.cache_namespace,
                query_embedding_cache=queries,
                key_encoder="sha256",
            )

        first = cached(embeddings)
        expected, query = first.embed_documents(TEXTS), first.embed_query(TEXTS[0])
        assert query != expected[0]
        monkeypatch.setattr(DenseEncoder, "_encode", lambda *_: pytest.fail("encoded again"))
        assert cached(embeddings.model_copy()).embed_documents(TEXTS) == expected
        assert first.embed_query(TEXTS[0]) == query
        monkeypatch.undo()
        other = cached(KoEmbeddings(model="mini-dense", model_kwargs={"document_prompt": ""}))
        assert other.embed_documents(TEXTS) != expected

    def _check(self, store: VectorStore, laws: list[Document]) -> None:
        for law in laws:
            (found,) = store.similarity_search(law.page_content, k=1)
            assert (found.page_content, found.metadata["쪽"]) == (law.page_content, law.metadata["쪽"])
        assert len(store.as_retriever(search_kwargs={"k": 2}).invoke(QUERY)) == 2

    async def test_in_memory(self, embeddings: KoEmbeddings, laws: list[Document]) -> None:
        self._check(InMemoryVectorStore.from_documents(laws, embeddings), laws)
        store = await InMemoryVectorStore.afrom_documents(laws, embeddings)
        assert [each.id for each in await store.asimilarity_search(TEXTS[1], k=1)] == ["1"]

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore::DeprecationWarning")  # langchain-community says of itself that it ends
    def test_faiss(self, embeddings: KoEmbeddings, laws: list[Document], tmp_path: Path) -> None:
        from langchain_community.vectorstores import FAISS

        store = FAISS.from_documents(laws, embeddings)
        self._check(store, laws)
        store.save_local(str(tmp_path / "faiss"))
        again = FAISS.load_local(str(tmp_path / "faiss"), embeddings, allow_dangerous_deserialization=True)
        self._check(again, laws)

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore::DeprecationWarning:chromadb.*")
    def test_chroma(self, embeddings: KoEmbeddings, laws: list[Document]) -> None:
        import chromadb
        from langchain_chroma import Chroma

        client = chromadb.EphemeralClient(chromadb.Settings(anonymized_telemetry=False))
        store = Chroma.from_documents(laws, embeddings, client=client, collection_name="korag-embeddings")
        self._check(store, laws)
