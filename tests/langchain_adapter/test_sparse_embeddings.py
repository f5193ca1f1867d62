"""KoSparseEmbeddings: the vectors, the interface with and without langchain_qdrant, and Qdrant's three modes."""

import asyncio
import copy
import importlib.util
import json
import pickle
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import BUILDERS
from event_loop import assert_loop_stays_free
from langchain_core.documents import Document
from langchain_qdrant import QdrantVectorStore, RetrievalMode
from langchain_qdrant.sparse_embeddings import SparseEmbeddings, SparseVector
from qdrant_client import QdrantClient, models

from korag import DenseEncoder, LateInteractionEncoder, SparseEncoder, load_encoder
from korag.errors import CheckpointNotFoundError, InvalidArgumentError, InvalidTextError, WrongFamilyError
from korag.explain import explain_terms
from langchain_korag import KoEmbeddings, KoSparseEmbeddings, _qdrant_compat

QUERY = "보증금은 언제 돌려받나요?"


@pytest.fixture(scope="module")
def sparse(splade: SparseEncoder) -> KoSparseEmbeddings:
    return KoSparseEmbeddings(model=splade)


def _row(vector: SparseVector, size: int) -> Any:
    row = np.zeros(size)
    row[vector.indices] = vector.values
    return row


class TestVectors:
    async def test_they_are_the_encoder_s(
        self, sparse: KoSparseEmbeddings, splade: SparseEncoder, documents: list[str]
    ) -> None:
        found = sparse.embed_documents(documents)
        expected = splade.encode_documents(documents).toarray()
        for vector, row in zip(found, expected, strict=True):
            assert isinstance(vector, SparseVector)
            assert vector.indices == sorted(set(vector.indices))
            assert 0.0 not in vector.values
            np.testing.assert_allclose(_row(vector, splade.dim), row, atol=1e-5)
        query = sparse.embed_query(QUERY)
        np.testing.assert_allclose(_row(query, splade.dim), splade.encode_queries([QUERY]).toarray()[0], atol=1e-5)
        assert await sparse.aembed_query(QUERY) == query
        assert await sparse.aembed_documents(documents) == found
        assert sparse.embed_documents([]) == []
        assert sparse.embed_documents([QUERY])[0] != query  # each has its own prompt

    @pytest.mark.slow
    def test_prompts_are_applied(self, tmp_path: Path) -> None:
        BUILDERS["splade"](tmp_path)
        prompts = {"query_prompt": "질문: ", "document_prompt": "글: "}
        plain, prompted = KoSparseEmbeddings(model=tmp_path), KoSparseEmbeddings(model=tmp_path, model_kwargs=prompts)
        size = load_encoder(tmp_path).dim
        for own, other in (
            (prompted.embed_query("가"), plain.embed_query("질문: 가")),
            (prompted.embed_documents(["가"])[0], plain.embed_documents(["글: 가"])[0]),
        ):
            np.testing.assert_allclose(_row(own, size), _row(other, size), atol=1e-4)
        assert prompted.embed_query("가") != plain.embed_query("가")

    @pytest.mark.slow
    def test_nfd_and_odd_texts(self, sparse: KoSparseEmbeddings) -> None:
        assert sparse.embed_query(unicodedata.normalize("NFD", QUERY)) == sparse.embed_query(QUERY)
        for text in ("", "\0", "보증\0금", "가나 다" * 100_000):
            assert np.isfinite(sparse.embed_query(text).values).all()

    @pytest.mark.parametrize("wrong", [None, 3, ["list"], "\ud800"])
    def test_what_is_not_a_good_string(self, sparse: KoSparseEmbeddings, wrong: Any) -> None:
        with pytest.raises(InvalidTextError, match=r"texts\[1\]"):
            sparse.embed_documents([QUERY, wrong])
        with pytest.raises(InvalidTextError, match=r"(?m)^text[^s]"):
            sparse.embed_query(wrong)

    @pytest.mark.slow
    async def test_64_at_once_are_as_64_in_a_row(self, sparse: KoSparseEmbeddings, splade: SparseEncoder) -> None:
        texts = [f"{number}월 보증금 안내 {'도서관 ' * (number % 5)}" for number in range(64)]
        expected = [sparse.embed_query(text) for text in texts]
        found = await asyncio.gather(*map(sparse.aembed_query, texts))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(_row(one, splade.dim), _row(other, splade.dim), atol=1e-4)

    async def test_the_event_loop_is_not_blocked(
        self, sparse: KoSparseEmbeddings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await assert_loop_stays_free(monkeypatch, SparseEncoder, "encode_queries", lambda: sparse.aembed_query(QUERY))

    @pytest.mark.slow
    def test_explain(self, sparse: KoSparseEmbeddings, splade: SparseEncoder) -> None:
        assert sparse.explain(QUERY) == explain_terms(splade, QUERY, top=20)
        assert sparse.explain(QUERY, 3, task="document") == explain_terms(splade, QUERY, top=3, task="document")
        assert "보증금" in [term for term, _ in sparse.explain(QUERY, top=10)]
        with pytest.raises(InvalidArgumentError, match="top"):
            sparse.explain(QUERY, top=-1)


class TestForm:
    def test_settings(self) -> None:
        sparse = KoSparseEmbeddings(model="mini-splade", model_kwargs={"device": "cpu", "max_length": 9})
        assert isinstance(sparse.model, SparseEncoder)
        assert (sparse.model.options.device, sparse.model.max_length) == ("cpu", 9)
        assert KoSparseEmbeddings(model_name="mini-splade").model_name == "mini-splade"  # type: ignore[call-arg]
        for wrong in ({"batch_size": 3}, {"model_kwargs": {"nonsense": 1}}, {"show_progress": "x"}, {"model": 3}):
            with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
                KoSparseEmbeddings(**{"model": "mini-splade", **wrong})  # type: ignore[arg-type]
        with pytest.raises(InvalidArgumentError, match="frozen"):
            sparse.model = "mini-splade"

    def test_a_model_of_another_family(
        self, dense: DenseEncoder, colbert: LateInteractionEncoder, tmp_path: Path
    ) -> None:
        for wrong, named in (
            (dense, "KoEmbeddings"),
            ("mini-dense", "KoEmbeddings"),
            (colbert, "KoColBERTRetriever"),
            ("mini-colbert", "KoColBERTRetriever"),
        ):
            with pytest.raises(WrongFamilyError, match=named):
                KoSparseEmbeddings(model=wrong)  # type: ignore[arg-type]
        BUILDERS["cross_encoder"](tmp_path)
        with pytest.raises(WrongFamilyError, match="cross-encoder"):
            KoSparseEmbeddings(model=tmp_path)
        with pytest.raises(CheckpointNotFoundError):
            KoSparseEmbeddings(model="없는 모델")

    @pytest.mark.slow
    def test_pickle_copies_and_secrets(self) -> None:
        sparse = KoSparseEmbeddings(model="mini-splade", model_kwargs={"token": "hf_SECRET", "max_length": 8})
        expected = sparse.embed_query(QUERY)
        pickled = pickle.dumps(sparse)
        assert len(pickled) < 4_000
        for shown in (repr(sparse), sparse.model_dump_json(), str(pickled)):
            assert "SECRET" not in shown
        again = pickle.loads(pickled)  # noqa: S301
        assert again.model._model is None
        for copied in (again, copy.deepcopy(sparse), copy.copy(sparse), sparse.model_copy()):
            assert copied.embed_query(QUERY) == expected
        assert copy.deepcopy(sparse).model is sparse.model

    def test_dump_and_schema(self, sparse: KoSparseEmbeddings) -> None:
        fields = {"model_kwargs", "cache_folder", "show_progress"}
        assert set(json.loads(sparse.model_dump_json())) == fields
        properties = KoSparseEmbeddings.model_json_schema()["properties"]
        assert set(properties) == {"model", *fields}
        assert properties["model"]["default"] == "yjoonjang/splade-ko-v1"


class TestInterface:
    def test_it_is_langchain_qdrant_s(self, sparse: KoSparseEmbeddings) -> None:
        assert isinstance(sparse, SparseEmbeddings)

    async def test_without_langchain_qdrant(
        self, sparse: KoSparseEmbeddings, splade: SparseEncoder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A module imported without the package has the same methods and returns the same numbers."""
        import langchain_korag.sparse_embeddings as original

        monkeypatch.setitem(sys.modules, "langchain_qdrant", None)
        spec = importlib.util.spec_from_file_location("without_qdrant", original.__file__)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "without_qdrant", module)
        spec.loader.exec_module(module)
        alike = module.KoSparseEmbeddings(model=splade)
        assert not isinstance(alike, SparseEmbeddings)
        assert isinstance(alike, _qdrant_compat.SparseEmbeddings)
        query, document = sparse.embed_query(QUERY), sparse.embed_documents([QUERY])[0]
        found = [alike.embed_query(QUERY), await alike.aembed_query(QUERY)]
        found += [*alike.embed_documents([QUERY]), *await alike.aembed_documents([QUERY])]
        for vector, expected in zip(found, [query, query, document, document], strict=True):
            assert type(vector) is _qdrant_compat.SparseVector
            assert vector.model_dump() == expected.model_dump()

    @pytest.mark.parametrize("name", ["SparseEmbeddings", "SparseVector"])
    def test_the_stand_in_has_what_langchain_qdrant_s_has(self, name: str) -> None:
        theirs, own = globals()[name], getattr(_qdrant_compat, name)
        assert {each for each in vars(theirs) if each.startswith(("embed", "aembed"))} <= set(vars(own))
        assert getattr(theirs, "model_fields", {}).keys() == getattr(own, "model_fields", {}).keys()
        assert getattr(theirs, "__abstractmethods__", None) == getattr(own, "__abstractmethods__", None)


class TestQdrant:
    """QdrantVectorStore over Qdrant's in-process engine."""

    @pytest.fixture
    def notices(self, documents: list[str]) -> list[Document]:
        return [Document(page_content=text, metadata={"쪽": page}) for page, text in enumerate(documents)]

    @pytest.mark.slow
    @pytest.mark.parametrize("mode", list(RetrievalMode))
    async def test_each_mode(
        self, dense: DenseEncoder, sparse: KoSparseEmbeddings, notices: list[Document], mode: RetrievalMode
    ) -> None:
        client = QdrantClient(":memory:")
        vectors = {"": models.VectorParams(size=dense.dim, distance=models.Distance.COSINE)}
        client.create_collection(
            "notices",
            vectors_config={} if mode == RetrievalMode.SPARSE else vectors,
            sparse_vectors_config={"langchain-sparse": models.SparseVectorParams()},
        )
        store = QdrantVectorStore(
            client,
            "notices",
            embedding=None if mode == RetrievalMode.SPARSE else KoEmbeddings(model=dense),
            sparse_embedding=None if mode == RetrievalMode.DENSE else sparse,
            retrieval_mode=mode,
        )
        ids = store.add_documents(notices)
        assert len(set(ids)) == len(notices)
        for notice in notices:
            (found,) = store.similarity_search(notice.page_content, k=1)
            assert found.page_content == notice.page_content
            assert found.metadata["쪽"] == notice.metadata["쪽"]
        (found,) = await store.as_retriever(search_kwargs={"k": 1}).ainvoke("도서관은 언제 문을 닫나요?")
        assert found.metadata["쪽"] == 1
        only = models.Filter(must=[models.FieldCondition(key="metadata.쪽", match=models.MatchValue(value=3))])
        assert [each.metadata["쪽"] for each in store.similarity_search(QUERY, filter=only)] == [3]
        client.close()

    def test_sparse_scores_are_dot_products(
        self, sparse: KoSparseEmbeddings, splade: SparseEncoder, notices: list[Document]
    ) -> None:
        store = QdrantVectorStore.from_documents(
            notices, None, sparse_embedding=sparse, retrieval_mode=RetrievalMode.SPARSE, location=":memory:"
        )
        rows = splade.encode_documents([notice.page_content for notice in notices])
        expected = (rows @ splade.encode_queries([QUERY]).T).toarray()[:, 0]
        found = store.similarity_search_with_score(QUERY, k=len(notices))
        assert found
        for document, score in found:
            assert score == pytest.approx(expected[document.metadata["쪽"]], rel=1e-3)
        store.client.close()
