"""KoTextSplitter is LangChain's text splitter, over the core's splitters."""

import copy

import pytest
from langchain_core.documents import Document
from langchain_text_splitters import TextSplitter

from korag.errors import InvalidArgumentError
from langchain_korag import KoBM25Retriever, KoTextSplitter, KoVectorStore

RULES = """제1장 총칙
제1조(목적) 이 규정은 창고를 빌려주는 절차를 정한다.
제2조(보증금) 빌리는 사람은 열쇠를 받기 전에 석 달 치 요금을 맡긴다.
제2장 정산
제3조(지체) 맡긴 돈을 늦게 돌려주면 이자를 붙인다. 제2조를 준용한다.
"""


def papers(**metadata):
    return [Document(id="규정", page_content=RULES, metadata={"source": "규정.txt", "이름": "창고 규정", **metadata})]


@pytest.fixture
def splitter():
    return KoTextSplitter(length_function=len, chunk_size=200, title_key="이름")


def test_documents_are_split_with_their_metadata_ids_and_places(splitter):
    given = papers(쪽=[1])
    before = copy.deepcopy(given)
    chunks = splitter.split_documents(given)
    assert given == before
    assert isinstance(splitter, TextSplitter)
    assert [chunk.id for chunk in chunks] == ["규정#0", "규정#1", "규정#2"]
    assert [chunk.metadata["article"] for chunk in chunks] == ["제1조", "제2조", "제3조"]
    second = chunks[1].metadata
    assert second["headings"] == ["창고 규정", "제1장 총칙", "제2조(보증금)"]
    assert RULES[second["start_index"] : second["end_index"]] == chunks[1].page_content
    assert (second["source"], second["쪽"]) == ("규정.txt", [1])
    second["쪽"].append(2)
    assert chunks[2].metadata["쪽"] == [1]
    assert splitter.transform_documents(given) == splitter.split_documents(given)


def test_texts_are_split_alike(splitter):
    texts = splitter.split_text(RULES)
    assert texts == [chunk.page_content for chunk in splitter.create_documents([RULES])]
    assert [one.id for one in splitter.create_documents([RULES], [{"가": 1}])] == [None] * 3
    plain = KoTextSplitter(length_function=len, chunk_size=200, add_start_index=False).create_documents([RULES])[0]
    assert "start_index" not in plain.metadata


def test_retrievers_search_by_headings_and_follow_citations(splitter):
    chunks = splitter.split_documents(papers())
    retriever = KoBM25Retriever.from_documents(chunks, k=1)
    assert retriever.invoke("총칙 보증금") == [chunks[1]]  # the chapter is searched, and not part of what is returned
    assert "총칙" not in retriever.invoke("총칙 보증금")[0].page_content
    found = retriever.invoke("늦게 돌려주면", expand="citations", score_key="점수")
    assert [(one.id, one.metadata.get("cited_by")) for one in found] == [("규정#2", None), ("규정#1", "규정#2")]
    following = KoBM25Retriever.from_documents(chunks, k=1, expand="citations")
    assert following.invoke("늦게 돌려주면") == [chunks[2], chunks[1]]
    store = KoVectorStore.from_documents(chunks, bm25=True)
    assert store.as_retriever(search_kwargs={"k": 1, "expand": "citations"}).invoke("늦게 돌려주면") == [
        chunks[2],
        chunks[1],
    ]
    with pytest.raises(InvalidArgumentError, match="expand"):
        store.as_retriever(search_type="mmr", search_kwargs={"expand": "citations"})


def test_chunks_are_measured_by_the_model():
    splitter = KoTextSplitter(model="mini-colbert", chunk_size=48)
    chunks = splitter.split_documents([Document(page_content="창고 열쇠는 관리인이 맡아 둔다. " * 40)])
    assert len(chunks) > 3
    assert all(splitter._length_function(chunk.page_content) <= 48 for chunk in chunks)


@pytest.mark.parametrize(
    "keywords",
    [
        {"model": "mini-colbert", "length_function": len}, {"length_function": len, "chunk_size": 0},
        {"length_function": len, "splitter": "법"}, {"length_function": len, "chunk_overlap": 3},
        {"length_function": 3}, {"length_function": len, "add_start_index": 1},
    ],
)  # fmt: skip
def test_wrong_arguments_are_errors(keywords):
    with pytest.raises(InvalidArgumentError):
        KoTextSplitter(**keywords)
    with pytest.raises(InvalidArgumentError, match="expand"):
        KoBM25Retriever.from_documents(papers(), expand="links")
