"""KoContextPruner in LangChain: documents, ids, metadata and order are kept, the caller's documents are not touched."""

import asyncio
import copy

import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document

from korag import LateInteractionEncoder
from korag.errors import InvalidArgumentError, InvalidTextError, WrongFamilyError
from langchain_korag import KoBM25Retriever, KoContextPruner

QUERY = "보증금은 언제 돌려받나요?"
DEPOSIT = "보증금은 계약이 끝난 날부터 열흘 안에 돌려받는다."
DOCUMENTS = [
    Document(id="도서관", page_content="도서관은 월요일에 문을 닫는다. 강아지는 들어올 수 없다."),
    Document(id="창고", page_content=f"열쇠는 사무실에서 받는다. {DEPOSIT}", metadata={"쪽": 3, "표": [1]}),
    Document(page_content=""),
    Document(page_content=DEPOSIT, metadata={"source": "정산.md"}),
]


@pytest.fixture(scope="module")
def pruner(colbert: LateInteractionEncoder) -> KoContextPruner:
    return KoContextPruner(model=colbert, threshold=0.7)


def test_documents_are_pruned_copies(pruner: KoContextPruner) -> None:
    before = copy.deepcopy(DOCUMENTS)
    found = pruner.compress_documents(DOCUMENTS, QUERY)
    assert [(one.id, one.page_content, one.metadata) for one in found] == [
        ("창고", DEPOSIT, {"쪽": 3, "표": [1], "kept_spans": [[15, 15 + len(DEPOSIT)]]}),
        (None, "", {"kept_spans": []}),
        (None, DEPOSIT, {"source": "정산.md", "kept_spans": [[0, len(DEPOSIT)]]}),
    ]
    assert before == DOCUMENTS
    assert found == asyncio.run(pruner.acompress_documents(DOCUMENTS, QUERY))
    every = pruner.model_copy(update={"when_empty": "best", "spans_key": None})
    kept = every.compress_documents(DOCUMENTS, QUERY)
    assert [(one.id, one.metadata) for one in kept] == [(one.id, one.metadata) for one in DOCUMENTS]
    assert kept[0].page_content in DOCUMENTS[0].page_content
    assert len(kept[0].page_content) < len(DOCUMENTS[0].page_content)
    repaired = [Document(page_content=one.page_content, metadata={"rewritten_query": QUERY}) for one in DOCUMENTS]
    assert [one.page_content for one in pruner.compress_documents(repaired, "qhwmdrmadms")] == [DEPOSIT, "", DEPOSIT]


def test_behind_a_retriever(pruner: KoContextPruner) -> None:
    retriever = ContextualCompressionRetriever(
        base_compressor=pruner, base_retriever=KoBM25Retriever.from_documents([DOCUMENTS[0], DOCUMENTS[1]])
    )
    assert [(one.id, one.page_content) for one in retriever.invoke(QUERY)] == [("창고", DEPOSIT)]


def test_bad_input(pruner: KoContextPruner) -> None:
    for field, value in (
        ("threshold", 2),
        ("threshold", "0.5"),
        ("when_empty", 3),
        ("sentences", "kss"),
        ("spans_key", ""),
    ):
        with pytest.raises(InvalidArgumentError, match=field):
            KoContextPruner(**{"model": pruner.model, field: value})
    with pytest.raises(InvalidArgumentError, match="threshold"):
        KoContextPruner(**{"model": pruner.model, "score_threshold": 0.5})
    with pytest.raises(WrongFamilyError):
        KoContextPruner(model="mini-dense")
    with pytest.raises(InvalidTextError, match="documents"):
        pruner.compress_documents([DEPOSIT], QUERY)  # type: ignore[list-item]
