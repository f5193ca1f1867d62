"""Legs under other names, and settings of a model given to a collection: errors that say what was meant."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import TextNode

import langchain_korag
import llamaindex_korag
from korag import Collection
from korag.errors import InvalidArgumentError


@pytest.fixture(scope="module")
def collection(colbert: Any, dense: Any, splade: Any) -> Collection:
    return Collection.in_memory(encoders=[colbert, dense, splade], bm25=True)


@pytest.mark.parametrize(
    ("using", "meant"),
    [
        ("late_interaction", "colbert"), ("ColBERT", "colbert"), ("multi-vector", "colbert"), ("splade", "sparse"),
        ("Dense", "dense"), ("vector", "dense"), ("BM25", "bm25"), ("keyword", "bm25"), ("all", "hybrid"),
        ("hybird", "hybrid"), ("colbrt", "colbert"),
    ],
)  # fmt: skip
def test_the_leg_that_was_meant_is_named(collection: Collection, using: str, meant: str) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        collection.search("열쇠", using=using)
    assert f"혹시 {meant}인가요?" in str(raised.value)
    assert f"Did you mean {meant}?" in str(raised.value)
    if meant != "hybrid":
        with pytest.raises(InvalidArgumentError, match=f"혹시 {meant}인가요"):
            collection.search("열쇠", weights={using: 1.0})
        with pytest.raises(InvalidArgumentError, match=f"혹시 {meant}인가요"):
            Collection.in_memory(bm25=True, codecs={using: "float32"})


def test_what_is_like_no_leg_is_only_told_the_legs(collection: Collection) -> None:
    with pytest.raises(InvalidArgumentError, match=r"없습니다\. 쓸 수 있는 값: colbert, dense, sparse, bm25, hybrid\."):
        collection.search("열쇠", using="아무거나")


def test_a_leg_that_is_not_there_is_not_suggested() -> None:
    with pytest.raises(InvalidArgumentError, match=r"없습니다\. 쓸 수 있는 값: bm25\."):
        Collection.in_memory(bm25=True).search("열쇠", using="splade")


@pytest.mark.parametrize("setting", ["query_length", "max_length", "dim", "device"])
def test_a_setting_of_a_model_is_referred_to_load_encoder(tmp_path: Any, setting: str) -> None:
    models: Any = {"models": ["mini-colbert"], setting: 16}
    encoders: Any = {"encoders": ["mini-colbert"], setting: 16}
    for make in (
        lambda: Collection.in_memory(**encoders),
        lambda: Collection.open(tmp_path / "new", **encoders),
        lambda: langchain_korag.KoHybridRetriever.from_documents([Document("열쇠")], **models),
        lambda: llamaindex_korag.KoHybridRetriever.from_defaults(nodes=[TextNode(text="열쇠")], **models),
    ):
        with pytest.raises(InvalidArgumentError, match=rf"load_encoder\('…', {setting}=…\)"):
            make()
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("setting", ["max_length", "dim", "device"])
def test_it_is_where_one_model_is_given(setting: str) -> None:
    wrong: Any = {setting: 16}
    for make in (
        lambda: langchain_korag.KoColBERTRetriever.from_documents([Document("열쇠")], model="mini-colbert", **wrong),
        lambda: langchain_korag.KoSpladeRetriever.from_texts(["열쇠"], model="mini-splade", **wrong),
        lambda: langchain_korag.KoEmbeddings(model="mini-dense", **wrong),
        lambda: langchain_korag.KoSparseEmbeddings(model="mini-splade", **wrong),
    ):
        with pytest.raises(InvalidArgumentError, match=rf"model=korag\.load_encoder\('…', {setting}=…\)"):
            make()


def test_a_retriever_of_a_model_is_made_from_documents() -> None:
    wrong: Any = {"model": "mini-colbert"}
    with pytest.raises(InvalidArgumentError, match=r"KoColBERTRetriever\.from_documents\(documents, \.\.\.\)를 쓰세요"):
        langchain_korag.KoColBERTRetriever(**wrong)
