"""`fusion` was called `method`; the old name works for one release, with a warning."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.runnables import ConfigurableField

from korag import LateInteractionEncoder
from korag.errors import InvalidArgumentError
from langchain_korag import KoColBERTReranker, KoHybridRetriever, KoRerankRetriever, KoVectorStore

QUERY = "보증금 계약, 도서관 휴관일, 연차 휴가 신청과 환불 규정"


@pytest.fixture(scope="module")
def hybrid(papers: list[Document], colbert: LateInteractionEncoder) -> KoHybridRetriever:
    return KoHybridRetriever.from_documents(papers, models=[colbert], fusion="weighted")


def warned(call: Callable[[], Any]) -> Any:
    """Calls, and checks that there is one warning, in Korean and English, that points at this file."""
    with pytest.warns(DeprecationWarning, match="새 이름은 fusion=입니다.*method= is now fusion=") as record:
        result = call()
    assert [warning.filename for warning in record] == [__file__]
    return result


def test_constructors(
    hybrid: KoHybridRetriever, papers: list[Document], colbert: LateInteractionEncoder, tmp_path: Path
) -> None:
    made = [
        warned(lambda: KoHybridRetriever(collection=hybrid.collection, method="weighted")),  # type: ignore[call-arg]
        warned(
            lambda: KoHybridRetriever.from_documents(papers, models=[colbert], method="weighted", path=tmp_path / "x")
        ),
        warned(lambda: KoHybridRetriever.from_texts(["글"], models=[colbert], method="weighted")),
        warned(lambda: KoHybridRetriever.load_local(tmp_path / "x", models=[colbert], method="weighted")),
    ]
    assert [retriever.fusion for retriever in made] == ["weighted"] * 4


def test_attribute(hybrid: KoHybridRetriever) -> None:
    copied = hybrid.model_copy()
    assert warned(lambda: copied.method) == "weighted"
    warned(lambda: setattr(copied, "method", "rrf"))
    assert copied.fusion == "rrf"
    with pytest.warns(DeprecationWarning, match="fusion="), pytest.raises(InvalidArgumentError, match="fusion='sum'"):
        copied.method = "sum"


@pytest.mark.slow
def test_overrides(hybrid: KoHybridRetriever, colbert: LateInteractionEncoder) -> None:
    expected = hybrid.invoke(QUERY, fusion="rrf")
    assert hybrid.invoke(QUERY, fusion="rrf", score_key="s") != hybrid.invoke(QUERY, score_key="s")
    assert warned(lambda: hybrid.invoke(QUERY, method="rrf")) == expected
    pairs = warned(lambda: hybrid.similarity_search_with_score(QUERY, method="rrf"))
    assert [document.id for document, _ in pairs] == [document.id for document in expected]
    reranked = KoRerankRetriever(base_retriever=hybrid, reranker=KoColBERTReranker(model=colbert), fetch_k=4)
    assert warned(lambda: reranked.invoke(QUERY, method="rrf")) == reranked.invoke(QUERY, fusion="rrf")
    configurable = warned(lambda: hybrid.configurable_fields(method=ConfigurableField(id="m")))
    assert configurable.invoke(QUERY, config={"configurable": {"m": "rrf"}}) == expected


def test_vector_store(hybrid: KoHybridRetriever) -> None:
    store = KoVectorStore(collection=hybrid.collection)
    expected = store.similarity_search_with_score(QUERY, fusion="weighted")
    assert warned(lambda: store.similarity_search_with_score(QUERY, method="weighted")) == expected
    retriever = warned(lambda: store.as_retriever(search_kwargs={"method": "weighted"}))
    assert retriever.invoke(QUERY) == [document for document, _ in expected]
    diverse = store.max_marginal_relevance_search(QUERY, fusion="weighted")
    assert warned(lambda: store.max_marginal_relevance_search(QUERY, method="weighted")) == diverse


def test_both_names(hybrid: KoHybridRetriever, colbert: LateInteractionEncoder) -> None:
    both: dict[str, Any] = {"fusion": "rrf", "method": "rrf"}
    store = KoVectorStore(collection=hybrid.collection)
    for call in (
        lambda: hybrid.invoke(QUERY, **both),
        lambda: KoHybridRetriever.from_texts(["글"], models=[colbert], **both),
        lambda: KoHybridRetriever.load_local("x", **both),
        lambda: store.similarity_search(QUERY, **both),
        lambda: store.max_marginal_relevance_search(QUERY, **both),
    ):
        with pytest.raises(InvalidArgumentError, match="Both fusion and its old name method"):
            call()
    with pytest.raises(InvalidArgumentError, match="Both fusion and its old name method"):
        KoHybridRetriever(collection=hybrid.collection, **both)
