"""Documents, and one retriever of each kind over them."""

import pytest
from langchain_core.documents import Document
from retriever_kinds import NAMES, Kind, kind_of

from korag import LateInteractionEncoder, SparseEncoder
from langchain_korag.collection_retriever import CollectionRetriever

TOPICS = ["주거", "생활", "음식", "쇼핑", "회사", "규정", "규정", "기술"]


@pytest.fixture(scope="session")
def papers(documents: list[str]) -> list[Document]:
    """Documents with ids and nested metadata; no test may change them."""
    return [
        Document(
            id=f"문서-{index}", page_content=text, metadata={"주제": topic, "쪽": {"처음": index, "태그": [topic]}}
        )
        for index, (text, topic) in enumerate(zip(documents, TOPICS, strict=True))
    ]


@pytest.fixture(scope="session", params=NAMES)
def kind(request: pytest.FixtureRequest, colbert: LateInteractionEncoder, splade: SparseEncoder) -> Kind:
    return kind_of(request.param, colbert, splade)


@pytest.fixture(scope="session")
def read_only_retriever(kind: Kind, papers: list[Document]) -> CollectionRetriever:
    """An index for the tests that only read."""
    return kind.make(papers, k=3)


@pytest.fixture
def writable_retriever(kind: Kind, papers: list[Document]) -> CollectionRetriever:
    """A writable index with the first four documents."""
    return kind.make(papers[:4])
