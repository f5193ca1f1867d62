"""Wrong values and names of fields in every LangChain class: one of KoRAG's errors, in two languages."""

import re
from typing import Any

import pytest
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document

from korag import Collection
from korag.errors import InvalidArgumentError, KoragError
from korag.testing.encoders import FakeDenseEncoder
from langchain_korag import (
    KoBM25Retriever,
    KoColBERTReranker,
    KoColBERTRetriever,
    KoCrossEncoderReranker,
    KoEmbeddings,
    KoHybridRetriever,
    KoRerankRetriever,
    KoSparseEmbeddings,
    KoSpladeRetriever,
    KoStructuredQueryTranslator,
    KoVectorStore,
)

SECRET = "hf_" + "SECRET"
DOCUMENTS = [Document(page_content="보증금은 이사한 날 돌려줍니다.")]


def words() -> dict[str, Any]:
    return {"collection": Collection.in_memory(bm25=True)}


def both() -> dict[str, Any]:
    return {"collection": Collection.in_memory(encoders=[FakeDenseEncoder()], bm25=True)}


def reranking() -> dict[str, Any]:
    return {"base_retriever": KoBM25Retriever(**words()), "reranker": KoColBERTReranker(model="mini-colbert")}


class Lengths(BaseCrossEncoder):
    def score(self, text_pairs: Any) -> list[float]:
        return [float(len(text)) for _, text in text_pairs]


COUNTS = (-1, "3", True, 2.5)
FRACTIONS = (2, -0.1, "0.5", True)
STRINGS = (3, ["score"])
RETRIEVER: dict[str, tuple[Any, ...]] = {
    "collection": (None, "law_index", 3),
    "k": (*COUNTS, None),
    "filter": ("주제", ["주제"], {"주제": {"$like": "규"}}),
    "score_threshold": FRACTIONS,
    "exact": (1, "yes", None),
    "repair_query": (1, "no", None),
    "score_key": STRINGS,
    "tags": ("가", 3),
    "metadata": ("가", [1]),
    "name": (3,),
}
RERANKER = {
    "top_n": COUNTS,
    "score_threshold": FRACTIONS,
    "fuse_weight": FRACTIONS,
    "score_key": STRINGS,
    "first_score_key": STRINGS,
    "model": (None, 3, ["mini-colbert"]),
}
EMBEDDINGS = {
    "model": (None, 3, ["mini-dense"]),
    "model_kwargs": (SECRET, [SECRET], None, {3: SECRET}),
    "cache_folder": (3,),
    "show_progress": (1, "yes", None),
}
CLASSES: list[tuple[type[Any], Any, dict[str, tuple[Any, ...]]]] = [
    (KoBM25Retriever, words, RETRIEVER),
    (KoHybridRetriever, both, {
        **RETRIEVER, "fetch_k": COUNTS, "fusion": ("sum", 3, None), "weights": ([1], "bm25", 3)
    }),
    (KoRerankRetriever, reranking, {
        "base_retriever": (None, "retriever", 3), "reranker": (None, "mini-colbert", 3, {"top_n": 3}),
        "fetch_k": (*COUNTS, None), "k": (*COUNTS, None), "fuse_weight": FRACTIONS, "tags": ("가",),
        "metadata": ("가",),
    }),
    (KoColBERTReranker, lambda: {"model": "mini-colbert"}, {**RERANKER, "query_length": (0, "32"), "cache": (None, 3)}),
    (KoCrossEncoderReranker, lambda: {"model": Lengths()}, RERANKER),
    (KoEmbeddings, lambda: {"model": "mini-dense"}, {
        **EMBEDDINGS, "encode_kwargs": ("가", None), "query_encode_kwargs": (3,), "multi_process": (1, None, True)
    }),
    (KoSparseEmbeddings, lambda: {"model": "mini-splade"}, EMBEDDINGS),
]  # fmt: skip
CASES = [(cls, given, field, value) for cls, given, fields in CLASSES for field in fields for value in fields[field]]


def assert_plain(error: BaseException, field: str) -> None:
    text = str(error)
    korean, _, english = text.partition("\n")
    assert isinstance(error, KoragError)
    assert re.search("[가-힣]", korean), text
    assert re.search("[a-z]+ [a-z]+", english), text
    assert field in korean, text
    assert field in english, text
    assert not re.search("pydantic|validation error|Input |<class|valid ", text), text
    assert SECRET not in text
    assert error.__suppress_context__ or error.__context__ is None


@pytest.mark.parametrize(
    ("cls", "given", "field", "value"),
    CASES,
    ids=[f"{cls.__name__}-{field}={value!r}" for cls, _, field, value in CASES],
)
def test_wrong_values(cls: type[Any], given: Any, field: str, value: Any) -> None:
    with pytest.raises(KoragError) as raised:
        cls(**{**given(), field: value})
    if field == "filter":  # its own words say where in it the mistake is
        assert_plain(raised.value, "")
        assert re.search(r"^메타데이터 필터\(filter=\)의 .*\nMetadata filter \(filter=\), ", str(raised.value))
        assert "where" not in str(raised.value)
    else:
        assert_plain(raised.value, field)
    simple = isinstance(value, int | float | str) and "kwargs" not in field
    assert not simple or repr(value) in str(raised.value)


@pytest.mark.parametrize(("cls", "given"), [(cls, given) for cls, given, _ in CLASSES])
def test_assignment(cls: type[Any], given: Any) -> None:
    made = cls(**given())
    field = {KoEmbeddings: "show_progress", KoSparseEmbeddings: "show_progress"}.get(cls, "k")
    field = "top_n" if "Reranker" in cls.__name__ else field
    with pytest.raises(KoragError) as raised:
        setattr(made, field, "많이")
    assert_plain(raised.value, field)
    with pytest.raises(InvalidArgumentError, match="takes no 'topk'"):
        made.topk = 3


def test_a_frozen_field() -> None:
    with pytest.raises(InvalidArgumentError, match="model of KoEmbeddings is frozen") as raised:
        KoEmbeddings(model="mini-dense").model = "mini-dense"
    assert_plain(raised.value, "model")


def test_what_is_missing() -> None:
    with pytest.raises(InvalidArgumentError, match="KoRerankRetriever lacks base_retriever") as raised:
        KoRerankRetriever()  # type: ignore[call-arg]
    assert_plain(raised.value, "base_retriever")
    with pytest.raises(InvalidArgumentError, match="lacks reranker"):
        KoRerankRetriever(base_retriever=KoBM25Retriever(**words()))  # type: ignore[call-arg]


def test_values_without_names() -> None:
    for cls in (KoEmbeddings, KoColBERTReranker, KoCrossEncoderReranker, KoBM25Retriever):
        with pytest.raises(InvalidArgumentError, match="takes keywords only") as raised:
            cls("mini-dense")
        assert_plain(raised.value, "model" if cls is not KoBM25Retriever else "collection")


NAMES: list[tuple[Any, dict[str, Any], str]] = [
    (KoCrossEncoderReranker, {"device": "cpu"}, "takes no 'device'.* It takes: .*model"),
    (KoCrossEncoderReranker, {"k": 3}, "Did you mean top_n"),
    (KoColBERTReranker, {"top_k": 3}, "Did you mean top_n"),
    (KoColBERTReranker, {"encoder": "mini-colbert"}, "Did you mean model"),
    (KoRerankRetriever, {"base_compressor": None}, "Did you mean reranker"),
    (KoRerankRetriever, {"compressor": None}, "Did you mean reranker"),
    (KoRerankRetriever, {"retriever": None}, "Did you mean base_retriever"),
    (KoRerankRetriever, {"top_n": 3}, "Did you mean k"),
    (KoRerankRetriever, {"num_candidates": 3}, "Did you mean fetch_k"),
    (KoEmbeddings, {"modle": "mini-dense"}, "Did you mean model"),
    (KoEmbeddings, {"show_progress_bar": True}, "Did you mean show_progress"),
    (KoEmbeddings, {"cache_dir": "x"}, "Did you mean cache_folder"),
    (KoBM25Retriever, {**words(), "similarity_top_k": 3}, "Did you mean k"),
    (KoBM25Retriever, {"vectorstore": None}, "Did you mean collection"),
    (KoBM25Retriever, {**words(), "similarity_cutoff": 0.5}, "Did you mean score_threshold"),
    (KoBM25Retriever.from_documents, {"docs": DOCUMENTS}, "Did you mean documents.* tokenizer"),
    (KoBM25Retriever.from_documents, {"nodes": DOCUMENTS}, "Did you mean documents"),
    (KoBM25Retriever.from_documents, {}, "KoBM25Retriever.from_documents lacks documents. It takes: documents, "),
    (KoBM25Retriever.from_documents, {"documents": DOCUMENTS, "preprocess_func": str.split}, "Did you mean tokenizer"),
    (KoBM25Retriever.from_documents, {"documents": DOCUMENTS, "top_k": 3}, "Did you mean k"),
    (KoBM25Retriever.from_texts, {"documents": ["글"]}, "Did you mean texts"),
    (KoColBERTRetriever.from_documents, {"documents": DOCUMENTS, "persist_directory": "x"}, "Did you mean path"),
    (KoColBERTRetriever.from_documents, {"documents": DOCUMENTS, "embedding": None}, "Did you mean model"),
    (KoColBERTRetriever.load_local, {}, "lacks path"),
    (KoColBERTRetriever.load_local, {"folder_path": "x"}, "Did you mean path"),
    (KoHybridRetriever.from_documents, {"documents": DOCUMENTS, "model_name": "mini-dense"}, "Did you mean models"),
    (KoHybridRetriever.from_documents, {"documents": DOCUMENTS, "retrievers": []}, "Did you mean models"),
    (KoVectorStore, {"embedding": None}, "Did you mean encoders"),
    (KoVectorStore, {"embedding_function": None}, "Did you mean encoders"),
    (KoVectorStore, {"index": None}, "Did you mean collection"),
    (KoVectorStore, {"docstore": None}, "Did you mean collection"),
    (KoVectorStore, {"persist_directory": "x"}, "Did you mean path"),
    (KoVectorStore.from_documents, {"documents": DOCUMENTS, "model": "mini-dense"}, "Did you mean encoders"),
    (KoVectorStore.from_documents, {"documents": DOCUMENTS, "embeddings": None}, "Did you mean embedding.* takes: emb"),
    (KoVectorStore.from_texts, {"texts": ["글"], "embedding_function": None}, "Did you mean embedding"),
    (KoVectorStore.from_texts, {"documents": DOCUMENTS}, "Did you mean texts"),
    (KoVectorStore(bm25=True).add_texts, {"texts": ["글"], "metadata": [{}]}, "Did you mean metadatas"),
    (KoVectorStore.load_local, {"path": "x", "embeddings": None}, "Did you mean encoders"),
    (KoVectorStore.load_local, {"folder_path": "x"}, "Did you mean path"),
]


@pytest.mark.parametrize(("call", "keywords", "match"), NAMES)
def test_other_names(call: Any, keywords: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"(?s){match}") as raised:
        call(**keywords)
    assert_plain(raised.value, "쓸 수 있는 것" if match == "" else "")


@pytest.mark.parametrize(
    ("call", "values", "match"),
    [
        (KoBM25Retriever.from_documents, (DOCUMENTS, None), "it takes documents so, and the rest by name: bm25=, "),
        (KoColBERTRetriever.from_documents, (DOCUMENTS, "mini-colbert"), "given 2 arguments without a name.* model="),
        (KoHybridRetriever.load_local, ("x", ["mini-colbert"]), "it takes path so.* models="),
        (KoVectorStore, (["mini-dense"], "x"), "KoVectorStore was given 2 .* it takes encoders so.* path="),
        (KoVectorStore.from_documents, (DOCUMENTS, None, "x"), "it takes documents, embedding so"),
        (KoStructuredQueryTranslator, ({"분류": "주거"},), "takes arguments by name only: filter="),
    ],
)
def test_too_many_values_without_a_name(call: Any, values: tuple[Any, ...], match: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"(?s){match}") as raised:
        call(*values)
    assert_plain(raised.value, "")


def test_model_and_model_name(colbert: Any, splade: Any, dense: Any) -> None:
    for cls, model in (
        (KoEmbeddings, dense),
        (KoSparseEmbeddings, splade),
        (KoColBERTReranker, colbert),
    ):
        assert cls(model_name=model).model is model
        with pytest.raises(InvalidArgumentError, match="model_name and model are the same argument"):
            cls(model_name=model, model=model)
    for retriever, model in ((KoColBERTRetriever, colbert), (KoSpladeRetriever, splade)):
        made = retriever.from_documents(DOCUMENTS, model_name=model)  # type: ignore[attr-defined]
        assert list(made.collection.encoders.values()) == [model]
        with pytest.raises(InvalidArgumentError, match="same argument"):
            retriever.from_documents(DOCUMENTS, model_name=model, model=model)  # type: ignore[attr-defined]
    with pytest.raises(KoragError, match="없는 모델"):
        KoCrossEncoderReranker(model_name="없는 모델")  # type: ignore[call-arg]
    with pytest.raises(KoragError, match="없는 모델"):
        KoColBERTRetriever.load_local("x", model_name="없는 모델")  # type: ignore[call-arg]
