"""Wrong values and names of arguments in every LlamaIndex class: one of KoRAG's errors, in two languages."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import TextNode

from korag import Collection, CrossEncoderReranker, DenseEncoder, LateInteractionEncoder, SparseEncoder, load_encoder
from korag.errors import InvalidArgumentError, KoragError
from korag.testing.encoders import FakeDenseEncoder
from llamaindex_korag import (
    KoBM25Retriever,
    KoColBERTRerank,
    KoColBERTRetriever,
    KoCrossEncoderRerank,
    KoEmbedding,
    KoHybridRetriever,
    KoSparseEmbedding,
    KoSpladeRetriever,
)

NODES = [TextNode(id_="이사", text="보증금은 이사한 날 돌려줍니다.")]
COUNTS = (-1, "3", True, 2.5, None)
FRACTIONS = (2, -0.1, "0.5", True)
ANY = (3, "가")
RETRIEVER: dict[str, tuple[Any, ...]] = {
    "collection": (None, "law_index", NODES),
    "similarity_top_k": COUNTS,
    "filters": ({"주제": "규정"}, "주제"),
    "node_ids": ("가", [3]),
    "doc_ids": ("가", [3]),
    "min_relevance": FRACTIONS,
    "exact": (1, "yes", None),
    "repair_query": (1, "no", None),
    "metadata_mode": ("some", 3, None),
    "callback_manager": ANY,
    "object_map": ANY,
    "objects": (*ANY, [3]),
    "verbose": (1, "yes", None),
}
RERANKER = {
    "top_n": COUNTS,
    "metadata_mode": ("some", 3, None),
    "keep_retrieval_score": (1, "yes", None),
    "score_threshold": FRACTIONS,
    "fuse_weight": FRACTIONS,
    "callback_manager": ANY,
}
EMBEDDING = {"embed_batch_size": (0, *COUNTS, 3_000), "num_workers": (0, "3", True)}


def words() -> dict[str, Any]:
    return {"collection": Collection.in_memory(bm25=True)}


def both() -> dict[str, Any]:
    return {"collection": Collection.in_memory(encoders=[FakeDenseEncoder()], bm25=True)}


CLASSES: list[tuple[type[Any], Any, dict[str, tuple[Any, ...]]]] = [
    (KoBM25Retriever, words, RETRIEVER),
    (KoHybridRetriever, both, {
        **RETRIEVER, "fetch_k": COUNTS[:-1], "fusion": ("sum", 3, None), "weights": ([1], "bm25", 3)
    }),
    (KoColBERTRerank, dict, RERANKER),
    (KoCrossEncoderRerank, dict, RERANKER),
    (KoEmbedding, dict, {**EMBEDDING, "callback_manager": ANY, "embeddings_cache": (3, {}), "rate_limiter": ANY}),
    (KoSparseEmbedding, dict, EMBEDDING),
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
    assert "pydantic" not in text
    assert "validation error" not in text


@pytest.mark.parametrize(
    ("cls", "given", "field", "value"),
    CASES,
    ids=[f"{cls.__name__}-{field}={value!r:.20}" for cls, _, field, value in CASES],
)
def test_wrong_values(cls: type[Any], given: Any, field: str, value: Any) -> None:
    """Without the default models, which may have to be downloaded: values are looked at first."""
    with pytest.raises(KoragError) as raised:
        cls(**{**given(), field: value})
    assert_plain(raised.value, field)


def test_a_bound_is_said() -> None:
    with pytest.raises(InvalidArgumentError, match=r"2048 이하\.\n.* it must be at most 2048\."):
        KoEmbedding(model_name="mini-dense", embed_batch_size=3_000)


@pytest.mark.parametrize("value", [3, None])
def test_sources_of_nodes(value: Any) -> None:
    for source in ("index", "docstore"):
        with pytest.raises(InvalidArgumentError, match="docstore" if value is None else source):
            KoBM25Retriever.from_defaults(**{source: value})


def test_assignment(colbert: LateInteractionEncoder, splade: SparseEncoder) -> None:
    for made, field in ((KoColBERTRerank(colbert), "top_n"), (KoSparseEmbedding(splade), "embed_batch_size")):
        with pytest.raises(KoragError) as raised:
            setattr(made, field, "많이")
        assert_plain(raised.value, field)
        with pytest.raises(KoragError, match="is frozen") as raised:
            made.model_name = "mini-dense"  # type: ignore[attr-defined]
        assert_plain(raised.value, "model_name")
        with pytest.raises(InvalidArgumentError, match=rf"takes no '{field[:-1]}'. Did you mean {field}"):
            setattr(made, field[:-1], 3)


KEYWORDS: list[tuple[Any, dict[str, Any], str]] = [
    (KoBM25Retriever.from_defaults, {"documents": NODES}, "mean nodes.* nodes, index, docstore, bm25, tokenizer"),
    (KoBM25Retriever.from_defaults, {"nodes": NODES, "k": 3}, "Did you mean similarity_top_k"),
    (KoBM25Retriever.from_defaults, {"nodes": NODES, "filter": {}}, "Did you mean filters"),
    (KoBM25Retriever.from_defaults, {"nodes": NODES, "score_threshold": 0.5}, "Did you mean min_relevance"),
    (KoBM25Retriever.from_defaults, {"nodes": NODES, "stemmer": None}, "Did you mean tokenizer"),
    (KoBM25Retriever.from_defaults, {"nodes": NODES, "persist_dir": "x"}, "Did you mean path"),
    (KoBM25Retriever.from_defaults, {"nodes": NODES, "device": "cpu"}, "takes no 'device'. It takes"),
    (KoColBERTRetriever.from_defaults, {"nodes": NODES, "embed_model": "x"}, "Did you mean model_name"),
    (KoColBERTRetriever.from_defaults, {"nodes": NODES, "device": "cpu"}, r"model_name=korag.load_encoder\(.*device="),
    (KoSpladeRetriever.from_defaults, {"nodes": NODES, "dim": 64}, r"model_name=korag.load_encoder\(.*dim="),
    (KoHybridRetriever.from_defaults, {"nodes": NODES, "device": "cpu"}, r"models=\[korag.load_encoder\(.*device="),
    (KoHybridRetriever.from_defaults, {"nodes": NODES, "model_name": "mini-dense"}, "Did you mean models"),
    (KoHybridRetriever.from_defaults, {"nodes": NODES, "mode": "rrf"}, "Did you mean fusion"),
    (KoColBERTRetriever.from_persist_dir, {}, "KoColBERTRetriever.from_persist_dir lacks path"),
    (KoColBERTRetriever.from_persist_dir, {"persist_dir": "x"}, "Did you mean path"),
    (KoColBERTRetriever.from_persist_dir, {"path": "x", "dim": 64}, "load_encoder"),
    (KoBM25Retriever, {}, "KoBM25Retriever lacks collection"),
    (KoBM25Retriever, {"nodes": NODES}, r"KoBM25Retriever.from_defaults\(nodes, ...\)"),
    (KoBM25Retriever, {"documents": NODES}, r"from_defaults\(nodes, ...\), which takes: nodes, index, docstore"),
    (KoColBERTRetriever, {"model": "mini-colbert"}, "takes no 'model'.*from_defaults"),
    (KoHybridRetriever, {**both(), "models": []}, "takes no 'models'.*from_defaults"),
    (KoBM25Retriever, {**words(), "top_k": 3}, "Did you mean similarity_top_k"),
    (KoBM25Retriever(**words()).add_nodes, {"documents": NODES}, "Did you mean nodes"),
    (KoBM25Retriever(**words()).delete_nodes, {"ids": []}, "Did you mean node_ids"),
    (KoBM25Retriever(**words()).delete_nodes, {"filter": []}, "Did you mean filters"),
    (KoBM25Retriever(**words()).count, {"where": {}}, "Did you mean filters"),
    (KoBM25Retriever(**words()).persist, {"persist_dir": "x"}, "Did you mean path"),
    (KoEmbedding, {"device": "cpu"}, r"model_name=korag.load_encoder\(.*device="),
    (KoEmbedding, {"batch_size": 3}, "Did you mean embed_batch_size"),
    (KoEmbedding, {"query_instruction": ""}, "Did you mean query_prompt"),
    (KoEmbedding, {"text_instruction": ""}, "Did you mean document_prompt"),
    (KoColBERTRerank, {"k": 3}, "Did you mean top_n"),
    (KoColBERTRerank, {"device": "cpu"}, r"model_name=korag.load_encoder\(.*device="),
    (KoCrossEncoderRerank, {"device": "cpu"}, r"model_name=korag.CrossEncoderReranker\(.*device="),
    (KoCrossEncoderRerank, {"dim": 64}, "takes no 'dim'. It takes"),
    (KoCrossEncoderRerank, {"similarity_cutoff": 0.5}, "Did you mean score_threshold"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "keywords", "match"), KEYWORDS)
def test_other_names(call: Any, keywords: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"(?s){match}") as raised:
        call(**keywords)
    assert_plain(raised.value, "")


def test_model_and_model_name(
    colbert: LateInteractionEncoder, splade: SparseEncoder, dense: DenseEncoder, cross_encoder: CrossEncoderReranker,
    tmp_path: Path,
) -> None:  # fmt: skip
    made: list[tuple[Any, Any]] = [
        (KoEmbedding, dense), (KoSparseEmbedding, splade), (KoColBERTRerank, colbert),
        (KoCrossEncoderRerank, cross_encoder),
    ]  # fmt: skip
    for cls, model in made:
        assert cls(model=model).model_name == cls(model).model_name
        assert "model_name" in inspect.signature(cls).parameters
        with pytest.raises(InvalidArgumentError, match="same argument"):
            cls(model=model, model_name=model)
        with pytest.raises(InvalidArgumentError, match="model_name is given twice"):
            cls(model, model=model)
    retrievers: list[tuple[Any, Any]] = [(KoColBERTRetriever, colbert), (KoSpladeRetriever, splade)]
    for cls, model in retrievers:
        path = tmp_path / cls.__name__
        retriever = cls.from_defaults(NODES, model=model, path=path)
        assert list(retriever.collection.encoders.values()) == [model]
        retriever.collection.close()
        assert list(cls.from_persist_dir(path, model=model).collection.encoders.values()) == [model]
        for method, first in ((cls.from_defaults, NODES), (cls.from_persist_dir, path)):
            with pytest.raises(InvalidArgumentError, match="same argument"):
                method(first, model_name=model, model=model)


def test_every_setting_of_a_model_is_referred_to_what_loads_it() -> None:
    for cls, loader in ((KoColBERTRetriever.from_defaults, load_encoder), (KoCrossEncoderRerank, CrossEncoderReranker)):
        own = inspect.signature(cls).parameters
        for name in inspect.signature(loader).parameters:
            if name not in (*own, "model"):
                with pytest.raises(InvalidArgumentError, match=rf"korag.{loader.__name__}\('…', {name}=…\)"):
                    cls(**{name: "x"})
