"""A wrong keyword of a function is KoRAG's error, in both languages, and names the right one."""

from collections.abc import Callable
from typing import Any

import pytest
from assertions import assert_bilingual

import korag
from korag.errors import InvalidArgumentError, WrongFamilyError
from korag.splitting import split
from korag.training import finetune, merge_adapter


@pytest.mark.parametrize(
    ("function", "wrong", "meant"),
    [
        (korag.load_encoder, "query_lenght", "query_length"),
        (korag.load_reranker, "query_lenght", "query_length"),
        (korag.fit_fusion, "question", "questions"),
        (korag.Reranker, "query_lenght", "query_length"),
        (korag.CrossEncoderReranker, "max_len", "max_length"),
    ],
)
def test_a_wrong_keyword_is_named(function: Callable[..., Any], wrong: str, meant: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        function("mini-colbert", **{wrong: 1})
    place = function.__name__
    korean, english = str(caught.value).split("\n")[:2]
    assert korean.startswith(f"{place}에는 '{wrong}' 인수가 없습니다. 혹시 {meant}인가요?")
    assert english.startswith(f"{place} takes no '{wrong}'. Did you mean {meant}?")


@pytest.mark.parametrize(
    ("function", "missing"),
    [
        (korag.load_encoder, "model"),
        (korag.load_reranker, "model"),
        (split, "text, encoder"),
        (finetune, "model, pairs, output"),
        (merge_adapter, "folder, output"),
    ],
)
def test_a_missing_argument_is_named(function: Callable[..., Any], missing: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        function(dim=64)
    korean, english = str(caught.value).split("\n")
    assert korean.startswith(f"{function.__name__}에 {missing}")
    assert english.startswith(f"{function.__name__} lacks {missing}.")


def test_rerank_names_top_n() -> None:
    with pytest.raises(InvalidArgumentError, match="혹시 top_n인가요") as caught:
        korag.load_reranker("mini-colbert").rerank("환불", ["환불 안내"], k=1)  # type: ignore[call-arg]
    assert_bilingual(caught.value, "'k'", "top_n")


def test_a_collection_is_called_what_its_user_calls_it() -> None:
    collection = korag.Collection.in_memory(bm25=True)
    with pytest.raises(InvalidArgumentError, match=r"^Collection에는 'top_k' 인수가 없습니다\. 혹시 k인가요"):
        collection.search("환불", top_k=1)  # type: ignore[call-arg]


def test_a_model_of_another_family_says_which_is_needed() -> None:
    with pytest.raises(WrongFamilyError) as caught:
        korag.Reranker("mini-dense")
    assert str(caught.value).startswith(
        "여기에는 ColBERT(late_interaction) 모델이 필요한데 'mini-dense'는 dense 모델입니다."
    )
    with pytest.raises(WrongFamilyError, match="KoColBERTRetriever, KoColBERTIndex, KoColBERTRerank"):
        korag.load_encoder("mini-colbert", family="dense")
