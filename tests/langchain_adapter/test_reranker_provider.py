"""init_reranker of langchain-reranker, with KoRAG as one of its providers."""

import sys
from pathlib import Path
from typing import Any

import pytest
from checkpoints import BUILDERS
from langchain_core.documents import Document
from langchain_reranker.rerankers import base, init_reranker

from korag.errors import InvalidArgumentError, KoragError, MissingDependencyError, WrongFamilyError
from langchain_korag import KoColBERTReranker, KoCrossEncoderReranker, register_reranker_provider

DOCUMENTS = [
    Document(id=str(number), page_content=text)
    for number, text in enumerate(
        ["도서관은 월요일에 쉽니다.", "보증금은 계약이 끝나면 받습니다.", "점심은 열두 시부터."]
    )
]


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The package's own table, without ours, which other tests may have registered."""
    providers = {name: entry for name, entry in base._BUILTIN_PROVIDERS.items() if name != "korag"}
    monkeypatch.setattr(base, "_BUILTIN_PROVIDERS", providers)
    base._get_reranker_class_creator.cache_clear()
    return providers


def test_a_colbert_model() -> None:
    with pytest.raises(ValueError, match="not supported"):
        init_reranker("korag:mini-colbert")
    for _ in range(2):
        register_reranker_provider()
    reranker = init_reranker("korag:mini-colbert", top_n=1, query_length=24)
    assert isinstance(reranker, KoColBERTReranker)
    assert (reranker.top_n, reranker.query_length) == (1, 24)
    (found,) = reranker.compress_documents(DOCUMENTS, "보증금은 언제 돌려받나요?")
    assert found.id == "1"
    assert isinstance(init_reranker("mini-colbert", provider="korag"), KoColBERTReranker)


def test_a_cross_encoder(tmp_path: Path) -> None:
    BUILDERS["cross_encoder"](tmp_path)
    register_reranker_provider()
    reranker = init_reranker(f"korag:{tmp_path}", top_n=2, device="cpu")
    assert isinstance(reranker, KoCrossEncoderReranker)
    assert len(reranker.compress_documents(DOCUMENTS, "보증금은 언제 돌려받나요?")) == 2


def test_scores_are_where_the_package_s_other_rerankers_have_them(tmp_path: Path) -> None:
    BUILDERS["cross_encoder"](tmp_path)
    register_reranker_provider()
    for model in ("mini-colbert", str(tmp_path)):
        found = init_reranker(f"korag:{model}", top_n=2).compress_documents(DOCUMENTS, "보증금은 언제 돌려받나요?")
        first, second = [document.metadata["relevance_score"] for document in found]
        assert first > second
        named = init_reranker(f"korag:{model}", score_key="점수").compress_documents(DOCUMENTS, "보증금")
        assert all(document.metadata.keys() == {"점수"} for document in named)
        without = init_reranker(f"korag:{model}", score_key=None).compress_documents(DOCUMENTS, "보증금")
        assert all(document in DOCUMENTS for document in without)


def test_the_others_stay(table: dict[str, Any]) -> None:
    before = dict(table)
    register_reranker_provider()
    assert {name: entry for name, entry in table.items() if name != "korag"} == before


def test_mistakes() -> None:
    register_reranker_provider()
    with pytest.raises(WrongFamilyError, match="cannot rerank"):
        init_reranker("korag:mini-dense")
    with pytest.raises(KoragError, match="없는-모델"):
        init_reranker("korag:없는-모델")
    with pytest.raises(InvalidArgumentError, match="Did you mean top_n"):
        init_reranker("korag:mini-colbert", top_k=3)
    with pytest.raises(InvalidArgumentError, match="top_n=-1"):
        init_reranker("korag:mini-colbert", top_n=-1)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "langchain_reranker"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match="pip install langchain-reranker"):
        register_reranker_provider()


@pytest.mark.parametrize("providers", [None, [], {"cohere": "langchain"}, {"cohere": ("langchain", "Rerank")}])
def test_another_shape(providers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_BUILTIN_PROVIDERS", providers)
    with pytest.raises(InvalidArgumentError, match=r"langchain-reranker \S+ is not that of 0\.1\.4"):
        register_reranker_provider()
