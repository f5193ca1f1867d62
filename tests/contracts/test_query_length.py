"""`query_length=` in every place that names a model: it arrives, is kept, and contradicts a loaded model loudly."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from assertions import assert_bilingual
from checkpoints import BUILDERS
from langchain_core.documents import Document
from llama_index.core.schema import TextNode

import langchain_korag as lc
import llamaindex_korag as li
from korag import Collection, Reranker, load_encoder
from korag.cli import main
from korag.errors import InvalidArgumentError
from korag.evaluation import evaluate
from korag.evaluation.dataset import Dataset

TEXTS = ["임대차 계약이 끝나면 보증금을 돌려준다.", "도서관은 월요일에 쉰다."]
NODES = [TextNode(text=text, id_=str(index)) for index, text in enumerate(TEXTS)]
DOCUMENTS = [Document(page_content=text, id=str(index)) for index, text in enumerate(TEXTS)]
LENGTH = 48

ENCODER_OF: dict[str, tuple[str, Callable[..., Any]]] = {
    "korag.Reranker": ("mini-colbert", lambda model, **more: Reranker(model, **more).encoder),
    "LangChain KoEmbeddings": (
        "mini-dense", lambda model, **more: lc.KoEmbeddings(model=model, model_kwargs=more).model
    ),
    "LangChain KoSparseEmbeddings": (
        "mini-splade", lambda model, **more: lc.KoSparseEmbeddings(model=model, model_kwargs=more).model
    ),
    "LangChain KoColBERTReranker": (
        "mini-colbert", lambda model, **more: lc.KoColBERTReranker(model=model, **more).model
    ),
    "LangChain KoColBERTRetriever": (
        "mini-colbert",
        lambda model, **more: _leg(lc.KoColBERTRetriever.from_documents(DOCUMENTS, model=model, **more).collection),
    ),
    "LangChain KoSpladeRetriever": (
        "mini-splade",
        lambda model, **more: _leg(lc.KoSpladeRetriever.from_texts(TEXTS, model=model, **more).collection),
    ),
    "LlamaIndex KoEmbedding": ("mini-dense", lambda model, **more: li.KoEmbedding(model, **more)._encoder),
    "LlamaIndex KoSparseEmbedding": ("mini-splade", lambda model, **more: li.KoSparseEmbedding(model, **more)._encoder),
    "LlamaIndex KoColBERTRerank": ("mini-colbert", lambda model, **more: li.KoColBERTRerank(model, **more)._model),
    "LlamaIndex KoColBERTRetriever": (
        "mini-colbert",
        lambda model, **more: _leg(li.KoColBERTRetriever.from_defaults(NODES, model_name=model, **more).collection),
    ),
    "LlamaIndex KoSpladeRetriever": (
        "mini-splade",
        lambda model, **more: _leg(li.KoSpladeRetriever.from_defaults(NODES, model_name=model, **more).collection),
    ),
    "LlamaIndex KoColBERTIndex": (
        "mini-colbert",
        lambda model, **more: _leg(li.KoColBERTIndex(NODES, model_name=model, **more)._retriever.collection),
    ),
}  # fmt: skip


def _leg(collection: Any) -> Any:
    (encoder,) = collection.encoders.values()
    return encoder


@pytest.fixture(params=ENCODER_OF)
def place(request: pytest.FixtureRequest) -> tuple[str, Callable[..., Any]]:
    return ENCODER_OF[request.param]


def test_it_arrives(place: tuple[str, Callable[..., Any]]) -> None:
    model, make = place
    assert make(model, query_length=LENGTH).query_length == LENGTH
    assert make(model).query_length == load_encoder(model).query_length


def test_a_loaded_model_must_have_it(place: tuple[str, Callable[..., Any]]) -> None:
    model, make = place
    encoder = load_encoder(model, query_length=LENGTH)
    assert make(encoder) is encoder
    assert make(encoder, query_length=LENGTH) is encoder
    with pytest.raises(ValueError, match=f"query_length={LENGTH + 1}.*\\n.*query_length={LENGTH + 1} was given"):
        make(encoder, query_length=LENGTH + 1)  # inside pydantic's own error in LangChain


def test_a_wrong_one_is_refused(place: tuple[str, Callable[..., Any]]) -> None:
    model, make = place
    for wrong in (0, 10**9):
        with pytest.raises(ValueError, match=f"query_length={wrong}"):
            make(model, query_length=wrong)


OPENERS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "Collection": (
        lambda path, **more: _filled(Collection.open(path, encoders=[load_encoder("mini-colbert", **more)])),
        lambda path, model=None, **more: Collection.open(
            path, encoders=None if model is None else [load_encoder(model, **more)]
        ),
    ),
    "LangChain": (
        lambda path, **more: lc.KoColBERTRetriever.from_documents(
            DOCUMENTS, path=path, model="mini-colbert", **more
        ).collection,
        lambda path, **more: lc.KoColBERTRetriever.load_local(path, **more).collection,
    ),
    "LlamaIndex retriever": (
        lambda path, **more: li.KoColBERTRetriever.from_defaults(
            NODES, path=path, model_name="mini-colbert", **more
        ).collection,
        lambda path, model=None, **more: li.KoColBERTRetriever.from_persist_dir(
            path, model_name=model, **more
        ).collection,
    ),
    "LlamaIndex index": (
        lambda path, **more: li.KoColBERTIndex(
            NODES, path=path, model_name="mini-colbert", **more
        )._retriever.collection,
        lambda path, model=None, **more: li.KoColBERTIndex.load_from_disk(
            path, model_name=model, **more
        )._retriever.collection,
    ),
}  # fmt: skip


def _filled(collection: Collection) -> Collection:
    collection.add(TEXTS)
    return collection


@pytest.mark.parametrize("kind", OPENERS)
def test_a_folder_keeps_it(kind: str, tmp_path: Path) -> None:
    make, reopen = OPENERS[kind]
    make(tmp_path / "c", query_length=LENGTH)
    assert _leg(reopen(tmp_path / "c")).query_length == LENGTH
    assert _leg(reopen(tmp_path / "c", model="mini-colbert", query_length=LENGTH)).query_length == LENGTH
    assert _leg(reopen(tmp_path / "c", model="mini-colbert")).query_length == 64  # which fills no query
    if kind != "Collection":
        with pytest.raises(InvalidArgumentError) as refused:
            reopen(tmp_path / "c", query_length=LENGTH)
        assert_bilingual(refused.value, "query_length=48")


def test_an_index_of_a_collection_takes_none() -> None:
    collection = Collection.in_memory(encoders=["mini-colbert"])
    with pytest.raises(InvalidArgumentError, match="query_length"):
        li.KoColBERTIndex(NODES, collection=collection, query_length=LENGTH)


def test_pickles_keep_it() -> None:
    for made in (
        lc.KoColBERTReranker(model="mini-colbert", query_length=LENGTH),
        lc.KoEmbeddings(model="mini-dense", model_kwargs={"query_length": LENGTH}),
    ):
        assert pickle.loads(pickle.dumps(made)).model.query_length == LENGTH  # noqa: S301
    rerank = pickle.loads(pickle.dumps(li.KoColBERTRerank("mini-colbert", query_length=LENGTH)))  # noqa: S301
    assert rerank._model.query_length == LENGTH


def test_pooling_arrives_with_the_dense_classes(tmp_path: Path) -> None:
    BUILDERS["bare_bert"](tmp_path / "model")
    folder = str(tmp_path / "model")
    expected = load_encoder(folder, family="dense", pooling="cls").fingerprint
    embedding = li.KoEmbedding(folder, pooling="cls")
    assert embedding._encoder.fingerprint == expected
    assert li.KoEmbedding.from_dict(embedding.to_dict())._encoder.fingerprint == expected
    assert lc.KoEmbeddings(model=folder, model_kwargs={"pooling": "cls"}).model.fingerprint == expected
    with pytest.raises(InvalidArgumentError, match="pooling"):
        li.KoSparseEmbedding("mini-splade", pooling="cls")


def test_evaluation_and_its_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = Dataset(name="시험", queries={"q": "보증금"}, documents=dict(enumerate_texts()), relevant={"q": {"0": 1}})
    report = evaluate(data, ["mini-colbert"], load_options={"query_length": LENGTH}, show_progress=False)
    assert len(report.rows) == 2
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("query,positive\n보증금,보증금을 돌려준다.\n휴관,월요일에 쉰다.\n", encoding="utf-8")
    command = ["eval", str(pairs), "--models", "mini-colbert", "--quiet"]
    assert main([*command, "--query-length", str(LENGTH)]) == 0
    assert main([*command, "--query-length", "2"]) == 2
    assert "query_length=2" in capsys.readouterr().err
    assert main([*command, "--pooling", "cls"]) == 2
    assert "pooling='cls'" in capsys.readouterr().err


def enumerate_texts() -> list[tuple[str, str]]:
    return [(str(index), text) for index, text in enumerate(TEXTS)]
