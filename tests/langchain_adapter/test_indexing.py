"""LangChain's indexing API straight into the retrievers and the store, with its own record managers."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.indexes import SQLRecordManager
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, RecordManager, aindex, index
from langchain_core.indexing.base import DocumentIndex
from langchain_tests.integration_tests.indexer import AsyncDocumentIndexTestSuite, DocumentIndexerTestSuite

from korag import Collection
from korag.errors import InvalidArgumentError
from korag.testing.encoders import FakeDenseEncoder
from langchain_korag import KoBM25Retriever, KoHybridRetriever, KoVectorStore

PAGES = [
    Document(page_content="보증금은 이사한 날 돌려줍니다.", metadata={"source": "계약.md", "쪽": 1}),
    Document(page_content="월세는 매달 말일에 냅니다.", metadata={"source": "계약.md", "쪽": 2}),
    Document(page_content="휴가는 사흘 전에 신청합니다.", metadata={"source": "규정.md", "쪽": 1}),
]
CHANGED = [Document(page_content="보증금은 열쇠를 받은 날 돌려줍니다.", metadata={"source": "계약.md", "쪽": 1})]


class TestStandard(DocumentIndexerTestSuite):
    """LangChain's own tests of a document index."""

    @pytest.fixture
    def index(self) -> DocumentIndex:  # type: ignore[override]
        return KoBM25Retriever(collection=Collection.in_memory(bm25=True))


class TestStandardAsync(AsyncDocumentIndexTestSuite):
    @pytest.fixture
    async def index(self) -> Any:  # type: ignore[override]
        return KoBM25Retriever(collection=Collection.in_memory(bm25=True))


@pytest.fixture(params=["memory", "sql"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> RecordManager:
    if request.param == "memory":
        made: RecordManager = InMemoryRecordManager("korag")
    else:
        made = SQLRecordManager("korag", db_url=f"sqlite:///{tmp_path}/records.sqlite3")
    made.create_schema()
    return made


def retriever(encoder: FakeDenseEncoder) -> KoHybridRetriever:
    return KoHybridRetriever(collection=Collection.in_memory(encoders=[encoder], bm25=True))


def store(encoder: FakeDenseEncoder) -> KoVectorStore:
    return KoVectorStore([encoder], bm25=True)


def pages_of(target: KoHybridRetriever | KoVectorStore) -> list[str]:
    return sorted(document.text for document in target.collection.get())


@pytest.mark.parametrize("make", [retriever, store])
@pytest.mark.parametrize("cleanup", [None, "incremental", "full", "scoped_full"])
def test_cleaning_up(records: RecordManager, make: Callable[[FakeDenseEncoder], Any], cleanup: Any) -> None:
    encoder = FakeDenseEncoder()
    target = make(encoder)
    settings = {"cleanup": cleanup, "source_id_key": "source", "key_encoder": "sha256"}

    first = index(PAGES, records, target, **settings)
    assert first == {"num_added": 3, "num_updated": 0, "num_skipped": 0, "num_deleted": 0}
    encoded = encoder.documents_encoded

    again = index(PAGES, records, target, **settings)
    assert again == {"num_added": 0, "num_updated": 0, "num_skipped": 3, "num_deleted": 0}
    assert encoder.documents_encoded == encoded

    changed = index(CHANGED, records, target, **settings)
    kept = {None: PAGES, "incremental": PAGES[2:], "full": [], "scoped_full": PAGES[2:]}[cleanup]
    assert changed["num_deleted"] == len(PAGES) - len(kept)
    assert pages_of(target) == sorted(page.page_content for page in [*kept, *CHANGED])
    assert encoder.documents_encoded == encoded + 1

    emptied = index([], records, target, **settings)
    assert emptied["num_deleted"] == (len(kept) + 1 if cleanup == "full" else 0)


@pytest.mark.parametrize("make", [retriever, store])
async def test_async(make: Callable[[FakeDenseEncoder], Any]) -> None:
    target, records = make(FakeDenseEncoder()), InMemoryRecordManager("korag")
    records.create_schema()
    for pages, deleted in ((PAGES, 0), (CHANGED, 3), ([], 1)):
        done = await aindex(pages, records, target, cleanup="full", key_encoder="sha256")
        assert done["num_deleted"] == deleted
    assert pages_of(target) == []


@pytest.mark.parametrize("make", [retriever, store])
def test_documents_keep_their_ids(records: RecordManager, make: Callable[[FakeDenseEncoder], Any]) -> None:
    encoder = FakeDenseEncoder()
    target = make(encoder)
    pages = [Document(id=f"쪽-{n}", page_content=page.page_content) for n, page in enumerate(PAGES)]
    settings: dict[str, Any] = {"key_encoder": lambda page: page.id, "cleanup": "full"}
    index(pages, records, target, **settings)
    assert [document.id for document in target.collection.get()] == ["쪽-0", "쪽-1", "쪽-2"]
    encoded = encoder.documents_encoded
    done = index([*CHANGED_WITH_ID, *pages[1:]], records, target, force_update=True, **settings)
    assert done["num_updated"] == 3
    assert encoder.documents_encoded == encoded + 1
    assert target.collection.get(["쪽-0"])[0].text == CHANGED[0].page_content
    assert len(target.collection) == 3


CHANGED_WITH_ID = [Document(id="쪽-0", page_content=CHANGED[0].page_content)]


def test_each_retriever_is_an_index(read_only_retriever: DocumentIndex) -> None:
    assert isinstance(read_only_retriever, DocumentIndex)
    assert [document.id for document in read_only_retriever.get(["문서-1", "없음", "문서-0"])] == ["문서-1", "문서-0"]
    assert [d.id for d in read_only_retriever.get(["문서-1", "문서-0"], filter={"주제": "주거"})] == ["문서-0"]


def test_nobody_sees_langchain_s_beta_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = KoBM25Retriever.from_texts(["보증금 반환"])
        made.upsert([Document(id="가", page_content="월세")])
        made.delete(["가"])


def test_what_was_deleted() -> None:
    made = KoBM25Retriever.from_texts(["하나", "둘", "셋"], [{"쪽": 1}, {"쪽": 2}, {"쪽": 2}], ids=["가", "나", "다"])
    assert made.delete(["가", "없음", "가"]) == {"num_deleted": 1, "succeeded": ["가"], "num_failed": 0, "failed": []}
    assert made.delete(["나", "가"], filter={"쪽": 2})["succeeded"] == ["나"]
    assert made.delete(filter={})["num_deleted"] == 1


def test_wrong_keywords() -> None:
    made = KoBM25Retriever.from_texts(["하나"])
    with pytest.raises(InvalidArgumentError, match=r"takes no 'where'.* Did you mean filter"):
        made.delete(["가"], where={})
    with pytest.raises(InvalidArgumentError, match=r"takes no 'filters'.* Did you mean filter"):
        made.get(["가"], filters={})
    with pytest.raises(InvalidArgumentError, match="takes no 'ids'"):
        made.upsert([], ids=[])
