"""`docs/migration.md`: its KoRAG code runs, and handles the cases that fail silently elsewhere."""

import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.retrievers import EnsembleRetriever
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import Document
from retriever_kinds import QUERY, WIDE, ids

from korag import DenseEncoder
from korag.checks import reject_unknown
from korag.errors import InvalidArgumentError
from langchain_korag import KoBM25Retriever, KoCrossEncoderReranker, KoEmbeddings, KoHybridRetriever, KoVectorStore

PAGE = Path(__file__).parents[2] / "docs/migration.md"
OURS = re.compile(r"```python\n(# KoRAG.*?)```", re.DOTALL)
THEIRS = re.compile(r"```python\n(# 지금.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def laws() -> list[Document]:
    topics = ["주거", "생활", "회사", "주거", "생활"]
    texts = [
        "임대차 계약이 끝나면 집주인은 세입자에게 보증금을 돌려주어야 한다.",
        "시립 도서관은 매주 월요일과 공휴일에 문을 닫는다.",
        "연차 휴가는 사용하기 사흘 전까지 팀장에게 신청한다.",
        "전세 계약을 갱신하려면 두 달 전까지 집주인에게 알린다.",
        "보증금은 이용증을 반납할 때 돌려받는다.",
    ]
    return [
        Document(id=f"법-{index}", page_content=text, metadata={"분류": topic})
        for index, (text, topic) in enumerate(zip(texts, topics, strict=True))
    ]


@pytest.fixture(scope="module")
def page(laws: list[Document], cross_encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The variables of the page's KoRAG code blocks, run in order with small models."""
    pytest.importorskip("kiwipiepy")
    small = {
        "dragonkue/BGE-m3-ko": "mini-dense",
        "dragonkue/bge-reranker-v2-m3-ko": cross_encoder_folder.as_posix(),
    }
    names: dict[str, Any] = {"documents": laws}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("migration"))
        for code in OURS.findall(PAGE.read_text(encoding="utf-8")):
            for large, model in small.items():
                code = code.replace(f'"{large}"', repr(model))
            exec(compile(code, PAGE.name, "exec"), names)  # noqa: S102 (our own page)
    return names


def test_every_line_of_today_has_one_of_ours() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert (len(THEIRS.findall(text)), len(OURS.findall(text))) == (5, 11)
    for code in THEIRS.findall(text):
        compile(code, PAGE.name, "exec")
    korean, english = text.split("## In English")
    rows = [re.findall(r"^\| `.*", part, re.MULTILINE) for part in (korean, english)]
    assert len(rows[0]) == len(rows[1]) == 6
    assert [row.split("|")[1] for row in rows[0]] == [row.split("|")[1] for row in rows[1]]


def test_the_table_of_names_is_what_errors_say() -> None:
    rows = re.findall(r"^\| .* · .* \| `(\w+)` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) == 17
    for ours, elsewhere in rows:
        for theirs in re.findall(r"`(\w+)`", elsewhere):
            with pytest.raises(InvalidArgumentError, match=f"Did you mean {ours}\\?"):
                reject_unknown(KoVectorStore, [theirs], [ours])


@pytest.mark.slow
def test_our_code_finds_what_it_should(page: dict[str, Any], laws: list[Document]) -> None:
    known = {document.id: document for document in laws}
    assert len(page["embeddings"].embed_query(QUERY)) == 192
    assert ids(page["dense"].invoke(QUERY)) == ids(page["store"].similarity_search(QUERY, filter={"분류": "주거"}))
    assert {document.metadata["분류"] for document in page["dense"].invoke(WIDE)} == {"주거"}
    for name in ("words", "hybrid", "ensemble"):
        found = page[name].invoke(QUERY)
        assert "법-0" in ids(found)[:2]
        for document in found:
            assert document.page_content == known[document.id].page_content
            assert document.metadata.items() >= known[document.id].metadata.items()
    assert len(page["found"]) == 2
    assert set(ids(page["found"])) == {"법-0", "법-3"}
    assert all(document == known[document.id] for document in page["found"])
    assert all(document.metadata["score"] > 0 for document in page["scored"])
    assert [document.id for document, _ in page["pairs"]] == ids(page["hybrid"].invoke(QUERY, k=2))
    assert len(page["compressed"].invoke(QUERY)) == 3
    assert page["hybrid"].weights == {"dense": 0.6, "bm25": 0.4}
    assert [document.id for document in page["moved"].collection.get()] == ids(laws)
    assert page["indexed"].count() == len(laws)
    assert page["small"].top_n == 3


@pytest.mark.slow
def test_words_keep_ids_honour_k_and_know_no_particles(laws: list[Document]) -> None:
    pytest.importorskip("kiwipiepy")
    words = KoBM25Retriever.from_documents(laws, tokenizer="kiwi")
    assert len(words.invoke("집주인과 계약", k=1)) == 1
    assert set(ids(words.invoke("집주인과 계약"))) == {"법-0", "법-3"}
    assert words.invoke("은 는 이 가 을 를") == []
    decomposed = unicodedata.normalize("NFD", "집주인과 계약")
    assert words.invoke(decomposed) == words.invoke("집주인과 계약")


def test_documents_of_equal_text_stay_two(dense: DenseEncoder) -> None:
    twins = [Document(id="가", page_content="보증금 반환"), Document(id="나", page_content="보증금 반환")]
    store = KoVectorStore.from_documents(twins, encoders=[dense])
    theirs = EnsembleRetriever(retrievers=[store.as_retriever(), store.as_retriever()], weights=[0.5, 0.5])
    assert ids(theirs.invoke("보증금")) == ["가"]  # what the page says of it
    ours = KoHybridRetriever.from_documents(twins, models=[dense])
    found = ours.invoke("보증금", score_key="점수")
    assert ids(found) == ["가", "나"]
    assert all(document.metadata["점수"] > 0 for document in found)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # langchain-community says of itself that it ends
def test_filters_fill_k(dense: DenseEncoder) -> None:
    from langchain_community.vectorstores import FAISS

    documents = [Document(page_content=f"보증금 반환 {index}", metadata={"분류": "주거"}) for index in range(30)]
    documents += [Document(page_content=f"도서관 휴관일 {index}", metadata={"분류": "생활"}) for index in range(4)]
    embeddings = KoEmbeddings(model=dense)
    asked: Any = {"k": 4, "filter": {"분류": "생활"}}
    theirs = FAISS.from_documents(documents, embeddings)
    assert len(theirs.similarity_search("보증금 반환", **asked)) < 4  # what the page says of it
    ours = KoVectorStore.from_documents(documents, embeddings)
    assert len(ours.similarity_search("보증금 반환", **asked)) == 4


class _ByLength(BaseCrossEncoder):
    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return [float(len(text)) for _, text in text_pairs]


def test_reranking_keeps_the_order_and_the_scores(laws: list[Document]) -> None:
    theirs = CrossEncoderReranker(model=_ByLength(), top_n=3).compress_documents(laws, QUERY)
    ours = KoCrossEncoderReranker(model=_ByLength(), top_n=3, score_key="relevance_score").compress_documents(
        laws, QUERY
    )
    assert ids(ours) == ids(theirs)
    assert all("relevance_score" not in document.metadata for document in theirs)  # what the page says of it
    assert [document.metadata["relevance_score"] for document in ours] == [len(d.page_content) for d in theirs]
    assert all("relevance_score" not in document.metadata for document in laws)
