"""Documents of every retriever: adding, replacing, removing, persistence, and unusual texts."""

import logging
import unicodedata
from pathlib import Path

import pytest
from langchain_core.documents import Document
from retriever_kinds import QUERY, WIDE, Kind, ids

from korag import LateInteractionEncoder, SparseEncoder
from korag.errors import InvalidArgumentError
from langchain_korag import KoBM25Retriever, KoColBERTRetriever, KoHybridRetriever, KoSpladeRetriever
from langchain_korag.collection_retriever import CollectionRetriever


class TestDocuments:
    async def test_added_replaced_and_removed(
        self, writable_retriever: CollectionRetriever, papers: list[Document]
    ) -> None:
        assert writable_retriever.add_documents(papers[4:5]) == ["문서-4"]
        assert await writable_retriever.aadd_documents(iter(papers[5:7]), ids=["가", "나"]) == ["가", "나"]
        assert len(writable_retriever.collection) == 7
        new = Document(id="문서-0", page_content="자전거 보관소는 지하에 있다.", metadata={"판": 2})
        await writable_retriever.aadd_documents([new])
        assert len(writable_retriever.collection) == 7
        ((found, _),) = writable_retriever.similarity_search_with_score("자전거 보관소", k=1)
        assert found == new
        assert (await writable_retriever.adelete(["문서-0", "없음"]))["num_deleted"] == 1
        assert "문서-0" not in ids(writable_retriever.invoke("자전거 보관소", k=10))
        assert writable_retriever.delete(["가", "나"], filter={"쪽.처음": 5})["num_deleted"] == 1
        assert (await writable_retriever.adelete(filter={"주제": {"$ne": "규정"}}))["num_deleted"] == 4
        assert writable_retriever.delete(filter={})["num_deleted"] == 1
        assert writable_retriever.invoke(WIDE) == []

    async def test_delete_wants_to_be_told_what(self, writable_retriever: CollectionRetriever) -> None:
        with pytest.raises(InvalidArgumentError, match=r"pass filter=\{\}"):
            writable_retriever.delete()
        with pytest.raises(InvalidArgumentError, match=r"pass filter=\{\}"):
            await writable_retriever.adelete()
        assert len(writable_retriever.collection) == 4

    @pytest.mark.slow
    def test_from_texts(self, kind: Kind, documents: list[str]) -> None:
        names = [str(index) for index in range(len(documents))]
        retriever = kind.make_of_texts(documents, [{"쪽": int(n)} for n in names], ids=names, k=1)
        assert retriever.invoke(QUERY) == [Document(id="0", page_content=documents[0], metadata={"쪽": 0})]
        made = kind.make_of_texts(iter(documents[:3]))
        assert len(set(ids(made.invoke(QUERY, k=3)))) == len(made.invoke(QUERY, k=3)) > 0

    @pytest.mark.slow
    def test_documents_without_text_are_kept_never_found_and_reported(
        self, kind: Kind, caplog: pytest.LogCaptureFixture
    ) -> None:
        empty = Document(id="빈", page_content=" \u200b\n", metadata={"쪽": 3})
        with caplog.at_level(logging.WARNING, logger="korag"):
            retriever = kind.make([empty, Document(id="글", page_content="보증금"), Document(page_content="")])
        assert "3개 가운데 2개" in caplog.text
        assert "2 of 3 texts are empty" in caplog.text
        assert ids(retriever.invoke("보증금", k=10)) == ["글"]
        assert len(retriever.collection) == 3
        assert retriever.collection.get(["빈"])[0].text == empty.page_content
        retriever.add_documents([Document(id="빈", page_content="보증금 반환")])  # filled in later
        assert set(ids(retriever.invoke("보증금", k=10))) == {"글", "빈"}

    @pytest.mark.slow
    def test_an_empty_corpus_and_k_beyond_it(self, kind: Kind, read_only_retriever: CollectionRetriever) -> None:
        retriever = kind.make([])
        assert retriever.invoke(QUERY) == []
        assert read_only_retriever.invoke("") == []
        found = read_only_retriever.invoke(WIDE, k=10_000)
        assert 4 <= len(found) <= 8
        assert len(set(ids(found))) == len(found)

    @pytest.mark.slow
    def test_equal_scores_keep_the_order_of_addition(self, kind: Kind) -> None:
        names = list("사과나무숲속")
        retriever = kind.make_of_texts(["보증금 반환"], ids=names[:1], k=6)
        for name in names[1:]:  # one by one: in batches of other sizes, the last bits of a vector differ
            retriever.add_documents([Document(id=name, page_content="보증금 반환")])
        assert ids(retriever.invoke("보증금")) == names
        retriever.add_documents([Document(id="과", page_content="보증금 반환")])  # unchanged: it keeps its place
        assert ids(retriever.invoke("보증금")) == names
        retriever.add_documents([Document(id="과", page_content="도서관")])
        retriever.add_documents([Document(id="과", page_content="보증금 반환")])  # counts as newly added
        assert ids(retriever.invoke("보증금")) == list("사나무숲속과")


class TestFolders:
    @pytest.mark.slow
    def test_written_and_read_again(self, kind: Kind, papers: list[Document], tmp_path: Path) -> None:
        built = kind.make(papers, path=tmp_path / "law", k=2)
        expected = built.invoke(WIDE)
        assert kind.load(tmp_path / "law", k=2).invoke(WIDE) == expected
        bare = kind.cls.load_local(str(tmp_path / "law"), k=1)  # type: ignore[attr-defined]
        assert bare.invoke(QUERY) == papers[:1]
        built.add_documents([Document(id="새", page_content="자전거 보관소")])
        assert ids(kind.load(tmp_path / "law", k=1).invoke("자전거 보관소")) == ["새"]

    @pytest.mark.slow
    def test_the_same_program_again_adds_nothing(self, kind: Kind, documents: list[str], tmp_path: Path) -> None:
        texts, metadatas = [*documents[:2], documents[0]], [{"쪽": 1}, {"쪽": 2}, {"쪽": 1}]
        first = kind.make_of_texts(texts, metadatas, path=tmp_path, k=5)
        expected = ids(first.invoke(WIDE))
        second = kind.make_of_texts(texts, metadatas, path=tmp_path, k=5)
        assert len(second.collection) == 3  # the third is another document, though it says the same
        assert ids(second.invoke(WIDE)) == expected
        kind.make_of_texts([documents[0]], [{"쪽": 9}], path=tmp_path)
        assert len(first.collection) == 4

    def test_saved_copies(self, writable_retriever: CollectionRetriever, kind: Kind, tmp_path: Path) -> None:
        expected = writable_retriever.invoke(WIDE)
        assert writable_retriever.save_local(str(tmp_path / "사본")) == tmp_path / "사본"
        writable_retriever.delete(["문서-0"])
        assert kind.load(tmp_path / "사본").invoke(WIDE) == expected
        with pytest.raises(InvalidArgumentError, match="overwrite=True"):
            writable_retriever.save_local(tmp_path / "사본")
        assert len(kind.load(tmp_path / "사본").collection) == 4
        writable_retriever.save_local(tmp_path / "사본", overwrite=True)
        assert len(kind.load(tmp_path / "사본").collection) == 3
        assert [path.name for path in tmp_path.iterdir()] == ["사본"]

    def test_one_folder_serves_several_classes(
        self, colbert: LateInteractionEncoder, papers: list[Document], tmp_path: Path
    ) -> None:
        KoHybridRetriever.from_documents(papers, models=[colbert], path=tmp_path)
        words = KoBM25Retriever.load_local(tmp_path, k=2)
        assert words.invoke(WIDE) == KoBM25Retriever.from_documents(papers, k=2).invoke(WIDE)
        new = Document(id="새", page_content="자전거 보관소")
        KoColBERTRetriever.from_documents([new], model=colbert, path=tmp_path)  # asks for no BM25, and leaves it be
        assert ids(words.invoke("자전거 보관소", k=1)) == ["새"]


class TestTexts:
    @pytest.mark.slow
    def test_decomposed_hangul(
        self, kind: Kind, read_only_retriever: CollectionRetriever, papers: list[Document]
    ) -> None:
        query = unicodedata.normalize("NFD", QUERY)
        assert query != QUERY
        assert read_only_retriever.invoke(query) == read_only_retriever.invoke(QUERY)
        texts = [unicodedata.normalize("NFD", paper.page_content) for paper in papers]
        decomposed = kind.make_of_texts(texts, ids=ids(papers))
        composed = read_only_retriever.invoke(QUERY, k=4, score_key="score")
        found = decomposed.invoke(QUERY, k=4, score_key="score")
        assert [(d.id, d.metadata["score"]) for d in found] == [(d.id, d.metadata["score"]) for d in composed]
        assert found[0].page_content == texts[0] != papers[0].page_content  # returned as it was given

    @pytest.mark.slow
    def test_nul_characters(self, kind: Kind) -> None:
        texts = ["보증금\0반환", "도서관"]
        retriever = kind.make_of_texts(texts, k=1)
        assert retriever.invoke("보증금")[0].page_content == "보증금\0반환"
        assert retriever.invoke("보증금\0")[0].page_content == "보증금\0반환"

    @pytest.mark.slow
    def test_a_megabyte_of_text(self, colbert: LateInteractionEncoder, splade: SparseEncoder) -> None:
        long = "도서관 휴관일 " * 50_000  # 20 bytes each
        assert len(long.encode()) >= 1_000_000
        hybrid = KoHybridRetriever.from_texts([long, "보증금 반환"], ids=["긴", "짧은"], models=[colbert, splade])
        for cls in (KoColBERTRetriever, KoSpladeRetriever, KoBM25Retriever):
            retriever = cls(collection=hybrid.collection, k=1)
            ((found, _),) = retriever.similarity_search_with_score("도서관")
            assert (found.id, found.page_content) == ("긴", long)
            assert ids(retriever.invoke("보증금")) == ["짧은"]

    @pytest.mark.slow
    def test_tokenizers(self, documents: list[str], tmp_path: Path) -> None:
        pytest.importorskip("kiwipiepy")
        kiwi = KoBM25Retriever.from_texts(documents, tokenizer="kiwi", k=1, path=tmp_path / "kiwi")
        assert kiwi.invoke("돌려받은 보증금")[0].page_content == documents[0]
        assert KoBM25Retriever.load_local(tmp_path / "kiwi", k=1).invoke("보증금") == kiwi.invoke("보증금")
        own = KoBM25Retriever.from_texts(documents, tokenizer=str.split, path=tmp_path / "own")
        assert own.invoke("보증금") == []  # to this one, 보증금을 is another word
        assert own.invoke("보증금을")[0].page_content == documents[0]
        again = KoBM25Retriever.load_local(tmp_path / "own", tokenizer=str.split)
        assert again.invoke("보증금을") == own.invoke("보증금을")
