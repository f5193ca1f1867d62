"""A store made from an embeddings object: each of its settings holds for the dense leg, or the object is refused."""

from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
from assertions import assert_bilingual
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import InMemoryVectorStore
from retriever_kinds import QUERY, ids

from korag import load_encoder
from korag.errors import FingerprintError, InvalidArgumentError
from langchain_korag import KoEmbeddings, KoSparseEmbeddings, KoVectorStore

QUERIES = [QUERY, "도서관 휴관일", "연차 휴가 신청", "환불 규정"]
SETTINGS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "normalized": {"encode_kwargs": {"normalize_embeddings": True}},
    "not normalized": {"encode_kwargs": {"normalize_embeddings": False}},
    "queries normalized": {"query_encode_kwargs": {"normalize_embeddings": True}},
    "one prompt": {"encode_kwargs": {"prompt": "글: "}},
    "prompts of each": {"encode_kwargs": {"prompt": "문서: "}, "query_encode_kwargs": {"prompt": "질문: "}},
    "prompts of the model": {"model_kwargs": {"prompts": {"query": "물음 ", "passage": "답 "}}},
    "prompts of ours": {"model_kwargs": {"query_prompt": "물음 ", "document_prompt": ""}},
    "truncate_dim": {"model_kwargs": {"truncate_dim": 16}},
    "truncate_dim of encode": {"encode_kwargs": {"truncate_dim": 8, "normalize_embeddings": True}},
    "dim": {"model_kwargs": {"dim": 24}},
    "query_length": {"model_kwargs": {"query_length": 6}},
    "max_length": {"model_kwargs": {"max_length": 12, "query_length": 8}},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint that normalizes, and one that does not."""
    made = {name: tmp_path_factory.mktemp("models") / name for name in ("dense", "roberta")}
    for name, folder in made.items():
        getattr(checkpoints, name)(folder)
    return made


def _ranking(embeddings: KoEmbeddings, papers: list[Document], query: str) -> list[tuple[str | None, float]]:
    """By cosines of the object's own vectors, as LangChain's store ranks."""
    theirs = InMemoryVectorStore(embeddings)
    theirs.add_documents(papers)
    return [(document.id, score) for document, score in theirs.similarity_search_with_score(query, k=8)]


@pytest.mark.parametrize("model", ["dense", "roberta"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_each_setting_holds(
    model: str, settings: dict[str, Any], folders: dict[str, Path], papers: list[Document], tmp_path: Path
) -> None:
    embeddings = KoEmbeddings(model=folders[model], **settings)
    path = tmp_path / "store"
    stores = [
        KoVectorStore.from_documents(papers, embeddings, window=None),
        KoVectorStore.from_documents(papers, embeddings, window=None, path=path),
        KoVectorStore.load_local(path, load_stored_models=True),
    ]
    for query in QUERIES:
        expected = _ranking(embeddings, papers, query)
        for store in stores:
            found = store.similarity_search_with_score(query, k=8)
            assert [document.id for document, _ in found] == [id_ for id_, _ in expected]
            assert [score for _, score in found] == pytest.approx([score for _, score in expected], abs=1e-5)
            by_vector = store.similarity_search_by_vector(embeddings.embed_query(query), k=8)
            assert ids(by_vector) == [id_ for id_, _ in expected]
    for store in stores[:2]:
        assert store.embeddings is embeddings


def test_the_settings_matter(folders: dict[str, Path]) -> None:
    """Each of them gives other vectors than the model's own, so that the test above would see it dropped."""
    plain = KoEmbeddings(model=folders["roberta"])
    for name, settings in SETTINGS.items():
        if name not in ("nothing", "not normalized"):
            given = KoEmbeddings(model=folders["roberta"], **settings)
            one, other = (np.array(each.embed_query(QUERY * 3)) for each in (plain, given))
            same = one.shape == other.shape and np.allclose(one, other)
            one, other = (np.array(each.embed_documents([QUERY * 3])) for each in (plain, given))
            assert not (same and one.shape == other.shape and np.allclose(one, other)), name


def test_a_folder_made_with_other_settings_is_refused(
    folders: dict[str, Path], papers: list[Document], tmp_path: Path
) -> None:
    KoVectorStore.from_documents(papers, KoEmbeddings(model=folders["dense"]), path=tmp_path / "store")
    for settings in ({"model_kwargs": {"dim": 24}}, {"encode_kwargs": {"prompt": "글: "}}):
        with pytest.raises(FingerprintError):
            KoVectorStore.from_documents(
                papers, KoEmbeddings(model=folders["dense"], **settings), path=tmp_path / "store"
            )


def test_a_revision_of_the_hub_holds(
    folders: dict[str, Path], papers: list[Document], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = checkpoints.hub_cache(folders["dense"], tmp_path / "cache", "korag/ours")
    embeddings = KoEmbeddings(
        model="korag/ours", model_kwargs={"revision": commit}, cache_folder=str(tmp_path / "cache")
    )
    store = KoVectorStore.from_documents(papers, embeddings, path=tmp_path / "store")
    encoder: Any = store.collection.encoders["dense"]
    assert encoder.fingerprint.revision == encoder.load_arguments["revision"] == commit
    assert store.similarity_search_with_score(QUERY, k=1)[0][1] == pytest.approx(
        _ranking(embeddings, papers, QUERY)[0][1], abs=1e-5
    )


def test_unit_vectors_of_a_model_of_dot_products(
    folders: dict[str, Path], papers: list[Document], tmp_path: Path
) -> None:
    checkpoints.roberta(tmp_path / "dot")
    settings = tmp_path / "dot/config_sentence_transformers.json"
    checkpoints.write_json(settings, {"__version__": {}, "prompts": {}, "similarity_fn_name": "dot"})
    assert load_encoder(tmp_path / "dot").similarity == "dot"
    for given in (
        {"encode_kwargs": {"normalize_embeddings": True}},
        {"query_encode_kwargs": {"normalize_embeddings": True}},
    ):
        embeddings = KoEmbeddings(model=tmp_path / "dot", **given)
        with pytest.raises(InvalidArgumentError, match=r"by dot product(.|\n)*InMemoryVectorStore") as raised:
            KoVectorStore.from_documents(papers, embeddings, path=tmp_path / "store")
        assert_bilingual(raised.value)
        assert not (tmp_path / "store").exists()
    plain = KoEmbeddings(model=tmp_path / "dot")
    store = KoVectorStore.from_documents(papers, plain)
    expected = np.array(plain.embed_documents([paper.page_content for paper in papers])) @ plain.embed_query(QUERY)
    found = store.similarity_search_with_score(QUERY, k=8)
    assert [document.id for document, _ in found] == [
        papers[index].id for index in np.argsort(-expected, kind="stable")
    ]
    assert [score for _, score in found] == pytest.approx(sorted(expected, reverse=True), rel=1e-5)


def test_embeddings_in_another_place_are_refused(papers: list[Document]) -> None:
    embeddings = KoEmbeddings(model="mini-dense", model_kwargs={"dim": 64})
    wrong: list[Any] = [
        lambda: KoVectorStore(embeddings),  # type: ignore[arg-type]
        lambda: KoVectorStore([embeddings]),  # type: ignore[list-item]
        lambda: KoVectorStore.from_documents(papers, encoders=[KoSparseEmbeddings(model="mini-splade")]),
        lambda: KoVectorStore.from_documents(papers, DeterministicFakeEmbedding(size=8)),
        lambda: KoVectorStore.from_documents(papers, embeddings, collection=KoVectorStore(["mini-dense"]).collection),
        lambda: KoVectorStore.from_documents(papers, embeddings, encoders=["mini-dense"]),
    ]
    for call in wrong:
        with pytest.raises(InvalidArgumentError, match=r"embedding|encoders") as raised:
            call()
        assert_bilingual(raised.value)
