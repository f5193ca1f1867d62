"""KoVectorStore.as_retriever: every keyword is checked when the retriever is made."""

from typing import Any

import pytest
from langchain_core.documents import Document

from korag.errors import FilterError, InvalidArgumentError
from korag.testing.encoders import FakeDenseEncoder
from langchain_korag import KoVectorStore

QUERY = "보증금은 언제 돌려받나요?"


@pytest.fixture(scope="module")
def store(papers: list[Document]) -> KoVectorStore:
    return KoVectorStore.from_documents(papers, encoders=[FakeDenseEncoder()], bm25=True)


RIGHT: list[dict[str, Any]] = [
    {},
    {"search_kwargs": {"k": 2, "filter": {"주제": "주거"}, "using": "bm25", "score_threshold": 0.1, "exact": False}},
    {"search_kwargs": {"weights": {"bm25": 2.0}, "fusion": "rrf", "fetch_k": 9, "score_key": "점수", "id_key": "번호"}},
    {"search_type": "mmr", "search_kwargs": {"k": 2, "fetch_k": 5, "lambda_mult": 0.2, "repair_query": False}},
    {"search_type": "similarity_score_threshold", "search_kwargs": {"score_threshold": 0}},
    {"search_type": "similarity_score_threshold", "search_kwargs": {"score_threshold": 1, "k": 2}},
    {"tags": ["가"], "metadata": {"나": 1}, "name": "검색", "search_kwargs": {}},
]


@pytest.mark.parametrize("keywords", RIGHT)
async def test_what_is_right(store: KoVectorStore, keywords: dict[str, Any]) -> None:
    retriever = store.as_retriever(**keywords)
    found = retriever.invoke(QUERY)
    assert await retriever.ainvoke(QUERY) == found
    expected = keywords.get("search_kwargs", {})
    assert retriever.search_kwargs == expected
    assert len(found) <= expected.get("k", 4)
    assert retriever.tags == keywords.get("tags", ["KoVectorStore"])


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"k": 4}, r"as_retriever\(search_kwargs={'k': …}\)"),
    ({"filter": {"주제": "주거"}}, r"as_retriever\(search_kwargs={'filter': …}\)"),
    ({"score_threshold": 0.5}, r"as_retriever\(search_kwargs={'score_threshold': …}\)"),
    ({"search_kwarg": {"k": 4}}, "Did you mean search_kwargs"),
    ({"searchtype": "mmr"}, "Did you mean search_type"),
    ({"top_k": 4}, r"top_k is .*as_retriever\(search_kwargs={'k': …}\)"),
    ({"filters": {}}, r"as_retriever\(search_kwargs={'filter': …}\)"),
    ({"unheard_of": 4}, "takes no 'unheard_of'.* It takes: search_type, search_kwargs"),
    ({"search_kwargs": {1: 4}}, "takes no '1'"),
    ({"search_type": "hybrid"}, "search_type='hybrid'.*'similarity', 'similarity_score_threshold', 'mmr'"),
    ({"search_type": "similarity_score_threshold"}, "needs a threshold"),
    ({"search_type": "similarity_score_threshold", "search_kwargs": {"score_threshold": 2}}, "score_threshold=2"),
    ({"search_kwargs": ["k"]}, r"search_kwargs=\['k'\] must be a dict"),
    ({"search_kwargs": None}, "search_kwargs=None must be a dict"),
    ({"search_kwargs": {"topk": 4}}, "takes no 'topk'.* Did you mean k"),
    ({"search_kwargs": {"filters": {}}}, "Did you mean filter"),
    ({"search_kwargs": {"where": {}}}, "Did you mean filter"),
    ({"search_kwargs": {"lambda_mult": 0.5}}, "takes no 'lambda_mult'"),
    ({"search_kwargs": {"k": "4"}}, "k='4'"),
    ({"search_kwargs": {"score_threshold": 1.5}}, "score_threshold=1.5"),
    ({"search_kwargs": {"using": "sparse"}}, "using='sparse'"),
    ({"search_kwargs": {"weights": {"colbert": 1}}}, "'colbert', which is not a leg"),
    ({"search_kwargs": {"fusion": "sum"}}, "fusion='sum'"),
    ({"search_kwargs": {"score_key": 3}}, "score_key=3"),
    ({"search_type": "mmr", "search_kwargs": {"lambda_mult": 3}}, "lambda_mult=3"),
    ({"search_type": "mmr", "search_kwargs": {"fetch_k": -1}}, "fetch_k=-1"),
    ({"tags": "가"}, "tags='가'.*a list"),
]


@pytest.mark.parametrize(("keywords", "match"), WRONG)
def test_what_is_wrong(store: KoVectorStore, keywords: dict[str, Any], match: str) -> None:
    with pytest.raises(InvalidArgumentError, match=match):
        store.as_retriever(**keywords)


def test_a_wrong_filter(store: KoVectorStore) -> None:
    with pytest.raises(FilterError, match=r"\$like"):
        store.as_retriever(search_kwargs={"filter": {"주제": {"$like": "주"}}})
