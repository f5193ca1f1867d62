"""Long documents through LangChain: whole documents come back, with the place of the window that was found."""

import pytest
from langchain_core.documents import Document

from korag.errors import InvalidArgumentError
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder
from langchain_korag import KoColBERTRetriever, KoHybridRetriever, KoSpladeRetriever, KoVectorStore

FILLER = "운영 위원회는 새 강당의 의자 배열과 조명 밝기를 두고 한참 의논했지만 이날은 아무것도 정하지 못하고 헤어졌다. "
ANSWER = "강당 음향실 비밀번호는 칠판 뒤에 적혀 있다."
QUESTION = "강당 음향실 비밀번호는 어디에 적혀 있나요?"
DOCUMENTS = [
    Document(id="긴 글", page_content=FILLER * 30 + ANSWER, metadata={"분류": "시설"}),
    Document(id="짧은 글", page_content="음향 장비는 미리 예약해야 쓸 수 있다.", metadata={"분류": "시설"}),
]
WINDOWS = {"window": 16, "stride": 12}
MAKERS = {
    "colbert": lambda **given: KoColBERTRetriever.from_documents(DOCUMENTS, model=FakeMultiVectorEncoder(), **given),
    "sparse": lambda **given: KoSpladeRetriever.from_documents(DOCUMENTS, model=FakeSparseEncoder(), **given),
    "hybrid": lambda **given: KoHybridRetriever.from_documents(
        DOCUMENTS, models=[FakeDenseEncoder(), FakeMultiVectorEncoder()], **given
    ),
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("on_disk", [False, True])
def test_the_answer_at_the_end_of_a_long_document(kind, on_disk, tmp_path):
    retriever = MAKERS[kind](**WINDOWS, **({"path": tmp_path / "folder"} if on_disk else {}))
    found = {document.id: document for document in retriever.invoke(QUESTION, score_key="score")}
    long, short = found["긴 글"], found.get("짧은 글")
    assert long.page_content == FILLER * 30 + ANSWER
    begin, end = long.metadata["span"]
    assert long.page_content[begin:end].endswith(ANSWER)
    assert short is None or "span" not in short.metadata
    (document, _), *_ = retriever.similarity_search_with_score(QUESTION, k=1)
    assert document.metadata == {"분류": "시설"}


def test_a_vector_store_splits_too_and_keeps_metadata(tmp_path):
    store = KoVectorStore.from_documents(DOCUMENTS, encoders=[FakeDenseEncoder()], path=tmp_path / "a", **WINDOWS)
    assert store.similarity_search(QUESTION, k=1)[0] == DOCUMENTS[0]
    assert store.collection.search(QUESTION, k=1)[0].passage.endswith(ANSWER)
    for given in ({"window": None}, {"stride": 4}):
        with pytest.raises(InvalidArgumentError, match="window, stride"):
            KoVectorStore(collection=store.collection, **given)
