"""Ingest scripts that run again: nothing is doubled, nothing unchanged is encoded, and `sync` drops what is gone."""

from pathlib import Path
from typing import Any

import pytest
from assertions import assert_bilingual
from langchain_core.documents import Document
from retriever_kinds import Kind, ids

from korag import Collection, DenseEncoder, LateInteractionEncoder, SparseEncoder
from korag.errors import InvalidArgumentError
from langchain_korag import KoVectorStore

TEXTS = [
    "보증금은 한 달 안에 돌려준다.",
    "도서관은 월요일에 쉰다.",
    "연차는 사흘 전에 신청한다.",
    "보증금은 한 달 안에 돌려준다.",
]


def pages() -> list[Document]:
    """Documents without ids, as loaders and splitters make them; the first and the last are equal."""
    return [Document(page_content=text, metadata={"쪽": len(text)}) for text in TEXTS]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The documents encoded so far in a test, once for each model."""
    texts: list[str] = []
    for cls in (LateInteractionEncoder, SparseEncoder, DenseEncoder):
        original = cls._encode_rows

        def encode(self: Any, given: Any, task: str, *more: Any, original: Any = original, **options: Any) -> Any:
            given = list(given)
            if task == "document":
                texts.extend(given)
            return original(self, given, task, *more, **options)

        monkeypatch.setattr(cls, "_encode_rows", encode)
    return texts


async def test_adding_again_doubles_nothing(kind: Kind, tmp_path: Path) -> None:
    for where in ({}, {"path": tmp_path / "folder"}):
        retriever = kind.make(pages(), **where)
        first = [document.id for document in retriever.collection.get()]
        assert len(set(first)) == 4
        assert retriever.add_documents(pages()) == first
        assert await retriever.aadd_documents(pages()) == first
        assert len(retriever.collection) == 4
        retriever.add_documents([Document(page_content="새 글")])
        assert len(retriever.collection) == 5


async def test_adding_to_a_store_again_doubles_nothing(dense: DenseEncoder) -> None:
    store = KoVectorStore([dense])
    first = store.add_documents(pages())
    assert store.add_documents(pages()) == await store.aadd_documents(pages()) == first
    metadatas = [page.metadata for page in pages()]
    assert store.add_texts(TEXTS, metadatas) == await store.aadd_texts(TEXTS, metadatas) == first
    assert len(store) == 4


def test_making_a_folder_again_encodes_nothing(kind: Kind, tmp_path: Path, encoded: list[str]) -> None:
    expected = kind.make(pages(), path=tmp_path / "folder").collection.ids()
    assert bool(encoded) == bool(kind.models)
    encoded.clear()
    again = kind.make(pages(), path=tmp_path / "folder")
    assert (again.collection.ids(), encoded) == (expected, [])
    changed = [*pages()[:2], Document(page_content="새 글"), *pages()[3:]]
    synced = kind.make(changed, path=tmp_path / "folder", sync=True)
    assert set(encoded) <= {"새 글"}
    assert sorted(document.text for document in synced.collection.get()) == sorted(d.page_content for d in changed)


class TestSync:
    def test_of_retrievers(self, kind: Kind, tmp_path: Path, papers: list[Document]) -> None:
        path = tmp_path / "folder"
        kind.make(papers, path=path)
        kept = kind.make(papers[:3], path=path)
        assert len(kept.collection) == 8  # without sync, nothing is removed
        synced = kind.make(papers[2:5], path=path, sync=True)
        assert synced.collection.ids() == ids(papers[2:5])
        assert kind.load(path).collection.ids() == ids(papers[2:5])
        texts = kind.make_of_texts(["보증금"], ids=["가"], path=path, sync=True)
        assert texts.collection.ids() == ["가"]

    async def test_of_the_store(self, tmp_path: Path, papers: list[Document], dense: DenseEncoder) -> None:
        made: dict[str, Any] = {"encoders": [dense], "path": tmp_path / "folder"}
        KoVectorStore.from_documents(papers, **made)
        assert KoVectorStore.from_documents(papers[:6], sync=True, **made).collection.ids() == ids(papers[:6])
        store = await KoVectorStore.afrom_documents(papers[:5], sync=True, **made)
        assert store.collection.ids() == ids(papers[:5])
        KoVectorStore.from_texts(["글", "말"], ids=["가", "나"], sync=True, **made)
        store = await KoVectorStore.afrom_texts(["글"], ids=["가"], sync=True, **made)
        assert store.collection.ids() == KoVectorStore.load_local(tmp_path / "folder").collection.ids() == ["가"]
        with Collection.open(tmp_path / "folder", encoders=[dense]) as collection:
            KoVectorStore.from_texts(["말"], ids=["나"], collection=collection, sync=True)
            assert collection.ids() == ["나"]

    def test_ids_in_another_normalization_form_are_the_same(self, kind: Kind, tmp_path: Path) -> None:
        kind.make_of_texts(["글"], ids=["각"], path=tmp_path / "folder")
        again = kind.make_of_texts(["글"], ids=["\u1100\u1161\u11a8"], path=tmp_path / "folder", sync=True)
        assert len(again.collection) == 1

    @pytest.mark.parametrize(
        ("given", "reason"),
        [({"sync": True}, "without path="), ({"sync": "yes"}, "sync='yes'"), ({"sync": 1}, "sync=1")],
    )
    def test_without_a_folder_it_is_refused(
        self, kind: Kind, papers: list[Document], dense: DenseEncoder, given: dict[str, Any], reason: str
    ) -> None:
        for make in (
            kind.make,
            lambda documents, **more: KoVectorStore.from_documents(documents, encoders=[dense], **more),
        ):
            with pytest.raises(InvalidArgumentError, match=reason) as raised:
                make(papers, **given)
            assert_bilingual(raised.value)

    def test_without_documents_it_is_refused(self, kind: Kind, papers: list[Document], tmp_path: Path) -> None:
        kind.make(papers, path=tmp_path / "folder")
        with pytest.raises(InvalidArgumentError, match=r"delete\(filter=\{\}\)"):
            kind.make([], path=tmp_path / "folder", sync=True)
        assert len(kind.load(tmp_path / "folder").collection) == 8

    def test_a_wrong_document_removes_nothing(self, kind: Kind, papers: list[Document], tmp_path: Path) -> None:
        kind.make(papers, path=tmp_path / "folder")
        wrong = [papers[0], Document(page_content="글", metadata={"날": object()})]
        with pytest.raises(InvalidArgumentError):
            kind.make(wrong, path=tmp_path / "folder", sync=True)
        assert len(kind.load(tmp_path / "folder").collection) == 8
