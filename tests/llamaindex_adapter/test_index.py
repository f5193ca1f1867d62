"""KoColBERTIndex: answers, updates, persistence, and separation from other indexes."""

import copy
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from event_loop import assert_loop_stays_free
from llama_index.core import Document, StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.indices.base import BaseIndex
from llama_index.core.llms import MockLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import IndexNode, NodeRelationship, TextNode, TransformComponent
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from korag import Collection, LateInteractionEncoder, load_encoder
from korag.errors import FingerprintError, ForeignFolderError, InvalidArgumentError, InvalidTextError, WrongFamilyError
from korag.testing.encoders import FakeMultiVectorEncoder
from llamaindex_korag import KoBM25Retriever, KoColBERTIndex, KoColBERTRetriever

QUERY = "보증금은 언제 돌려받나요?"


class Whole(TransformComponent):
    """Documents as they are."""

    def __call__(self, nodes: Any, **_: Any) -> Any:
        return nodes


@pytest.fixture(scope="module")
def notices(documents: list[str]) -> list[Document]:
    """One node per sentence; no test may change them."""
    return [
        Document(doc_id=f"문서-{index}", text=text, metadata={"쪽": index}, excluded_embed_metadata_keys=["쪽"])
        for index, text in enumerate(documents)
    ]


@pytest.fixture(scope="module")
def shared(notices: list[Document], colbert: LateInteractionEncoder) -> KoColBERTIndex:
    """A read-only index."""
    return KoColBERTIndex.from_documents(notices, model_name=colbert)


@pytest.fixture
def fresh(notices: list[Document], colbert: LateInteractionEncoder) -> KoColBERTIndex:
    """A writable index."""
    return KoColBERTIndex.from_documents(notices[:3], model_name=colbert)


class Lines(TransformComponent):
    """A node for each line."""

    def __call__(self, nodes: Any, **_: Any) -> Any:
        return [
            TextNode(text=line, relationships={NodeRelationship.SOURCE: document.as_related_node_info()})
            for document in nodes
            for line in document.text.splitlines()
        ]


class StopsAt(FakeMultiVectorEncoder):
    """An encoder that fails at a text."""

    text: str | None = None

    def _encode(self, texts: list[str]) -> Any:
        if self.text in texts:
            raise KeyboardInterrupt
        return super()._encode(texts)


def _sources(index: KoColBERTIndex) -> list[str | None]:
    return [node.ref_doc_id for node in index.get_nodes()]


class TestSearching:
    def test_retriever(self, shared: KoColBERTIndex, notices: list[Document]) -> None:
        assert isinstance(shared, BaseIndex)
        retriever = shared.as_retriever(similarity_top_k=2)
        assert isinstance(retriever, KoColBERTRetriever)
        found = retriever.retrieve(QUERY)
        assert len(found) == 2
        assert (found[0].node.ref_doc_id, found[0].node.metadata) == ("문서-0", {"쪽": 0})
        filters = MetadataFilters(filters=[MetadataFilter(key="쪽", value=3)])
        assert [one.node.ref_doc_id for one in shared.as_retriever(filters=filters).retrieve(QUERY)] == ["문서-3"]

    async def test_query_engine(self, shared: KoColBERTIndex, notices: list[Document]) -> None:
        engine = shared.as_query_engine(llm=MockLLM(), similarity_top_k=1, response_mode="compact", verbose=False)
        response = engine.query(QUERY)
        assert notices[0].text in str(response)
        assert [one.node.ref_doc_id for one in response.source_nodes] == ["문서-0"]
        assert str(await engine.aquery(QUERY)) == str(response)

    async def test_exact(self, shared: KoColBERTIndex, search_calls: list[bool]) -> None:
        expected = shared.as_retriever().retrieve(QUERY)
        assert shared.as_retriever(exact=False).retrieve(QUERY) == expected  # so few are all looked at
        engine = shared.as_query_engine(llm=MockLLM(), exact=False)
        assert engine.query(QUERY).source_nodes == expected
        assert (await engine.aquery(QUERY)).source_nodes == expected
        assert search_calls == [True, False, False, False]
        with pytest.raises(InvalidArgumentError, match="exact='yes'"):
            shared.as_retriever(exact="yes")

    @pytest.mark.parametrize("mode", [ChatMode.BEST, ChatMode.CONTEXT, ChatMode.CONDENSE_QUESTION])
    def test_chat_engines(self, shared: KoColBERTIndex, mode: ChatMode) -> None:
        memory = ChatMemoryBuffer.from_defaults(token_limit=3_000)  # the default one leaves a connection open
        chat = shared.as_chat_engine(mode, llm=MockLLM(), similarity_top_k=1, memory=memory)
        assert [one.node.ref_doc_id for one in chat.chat(QUERY).source_nodes] == ["문서-0"]

    def test_keywords_of_engines_pass_and_misspelt_ones_do_not(self, shared: KoColBERTIndex) -> None:
        memory = ChatMemoryBuffer.from_defaults(token_limit=3_000)
        shared.as_chat_engine(ChatMode.CONTEXT, llm=MockLLM(), memory=memory, system_prompt="한국어로 답한다.")
        for attempt in (shared.as_retriever, lambda **options: shared.as_query_engine(llm=MockLLM(), **options)):
            with pytest.raises(InvalidArgumentError, match="Did you mean similarity_top_k"):
                attempt(similarity_topk=3)
            with pytest.raises(InvalidArgumentError, match="similarity_top_k=-1"):
                attempt(similarity_top_k=-1)
        with pytest.raises(InvalidArgumentError, match="Did you mean model_name"):
            KoColBERTIndex.from_documents([], model_nam="mini-colbert")

    def test_a_retriever_sees_what_is_inserted_later(self, fresh: KoColBERTIndex, notices: list[Document]) -> None:
        retriever = fresh.as_retriever(similarity_top_k=1)
        fresh.insert(notices[3])
        assert retriever.retrieve(notices[3].text)[0].node.ref_doc_id == "문서-3"
        target = TextNode(id_="안", text="환불 절차")
        inner = KoBM25Retriever.from_defaults([target])
        fresh.insert_nodes([IndexNode(text="GPU 점검 안내", index_id="점검", obj=inner)])
        assert fresh.as_retriever(similarity_top_k=1).retrieve("GPU 점검 안내 환불")[0].node == target
        assert retriever.retrieve("GPU 점검 안내 환불")[0].node == target

    def test_as_the_source_of_another_retriever(self, shared: KoColBERTIndex) -> None:
        assert KoBM25Retriever.from_defaults(index=shared).get_nodes() == shared.get_nodes()


class TestNodesAndDocuments:
    def test_from_nodes(self, colbert: LateInteractionEncoder) -> None:
        nodes = [TextNode(id_="가", text="보증금"), TextNode(id_="나", text="도서관")]
        before = copy.deepcopy(nodes)
        pointer = IndexNode(id_="다", text="점검", index_id="점검", obj=KoBM25Retriever.from_defaults([]))
        index = KoColBERTIndex(nodes, model_name=colbert, objects=[pointer])
        assert [node.node_id for node in index.get_nodes()] == ["가", "나", "다"]
        assert index.get_nodes(["나"]) == [nodes[1]]
        assert nodes == before
        assert pointer.obj is not None
        assert KoColBERTIndex(model_name=colbert).as_retriever().retrieve(QUERY) == []
        assert KoColBERTIndex.from_documents([], model_name=colbert).get_nodes() == []

    def test_documents_are_split_and_blank_pages_left_out(
        self, colbert: LateInteractionEncoder, documents: list[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        long = Document(doc_id="책", text=" ".join(documents))
        blank = Document(doc_id="빈 쪽", text=" \n", metadata={"쪽": 2})
        splitter = SentenceSplitter(chunk_size=64, chunk_overlap=0)
        index = KoColBERTIndex.from_documents([long, blank], model_name=colbert, transformations=[splitter])
        assert len(index.get_nodes()) > 2
        assert set(_sources(index)) == {"책"}
        assert list(index.ref_doc_info) == ["책"]
        assert index.ref_doc_info["책"].node_ids == [node.node_id for node in index.get_nodes()]
        with caplog.at_level("WARNING", logger="korag"):  # a splitter leaves them out itself, others do not
            index = KoColBERTIndex.from_documents([long, blank], model_name=colbert, transformations=[Whole()])
        assert "1 of 2 nodes have no text and were left out" in caplog.text
        assert index.get_nodes() == [long]
        index.update_ref_doc(Document(doc_id="책", text=""))
        assert index.get_nodes() == []

    def test_insert_replaces_the_document(self, fresh: KoColBERTIndex) -> None:
        fresh.insert(Document(doc_id="문서-1", text="도서관은 화요일에 쉰다."))
        assert _sources(fresh) == ["문서-0", "문서-2", "문서-1"]
        assert fresh.get_nodes()[-1].get_content() == "도서관은 화요일에 쉰다."

    def test_update_and_delete_a_document(self, fresh: KoColBERTIndex) -> None:
        fresh.update_ref_doc(Document(doc_id="문서-0", text="보증금은 이사하는 날 돌려받는다."))
        assert fresh.as_retriever(similarity_top_k=1).retrieve(QUERY)[0].text == "보증금은 이사하는 날 돌려받는다."
        fresh.delete_ref_doc("문서-0", delete_from_docstore=True)
        fresh.delete_ref_doc("없는 문서")
        assert _sources(fresh) == ["문서-1", "문서-2"]
        fresh.delete_nodes([fresh.get_nodes()[0].node_id, "없는 노드"])
        assert _sources(fresh) == ["문서-2"]

    def test_refresh_indexes_what_has_changed(
        self, fresh: KoColBERTIndex, notices: list[Document], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = {node.node_id for node in fresh.get_nodes()}
        changed = Document(doc_id="문서-1", text="도서관은 화요일에 쉰다.")
        assert fresh.refresh_ref_docs([notices[0], changed, notices[4]]) == [False, True, True]
        assert sorted(filter(None, _sources(fresh))) == ["문서-0", "문서-1", "문서-2", "문서-4"]
        assert len(before & {node.node_id for node in fresh.get_nodes()}) == 2
        monkeypatch.setattr(LateInteractionEncoder, "encode_documents", lambda *_, **__: pytest.fail("encoded again"))
        assert fresh.refresh_ref_docs([changed, notices[0]]) == [False, False]

    def test_refresh_knows_a_document_by_its_id_in_another_form(self, fresh: KoColBERTIndex) -> None:
        text = "도서관은 수요일에 쉰다."
        assert fresh.refresh_ref_docs([Document(doc_id=unicodedata.normalize("NFD", "휴관"), text=text)]) == [True]
        assert fresh.refresh_ref_docs([Document(doc_id="휴관", text=text)]) == [False]

    async def test_async(self, fresh: KoColBERTIndex, notices: list[Document], monkeypatch: pytest.MonkeyPatch) -> None:
        await assert_loop_stays_free(monkeypatch, Collection, "add", lambda: fresh.ainsert(notices[3]))
        await fresh.ainsert_nodes([TextNode(id_="홀로", text="글")])
        await fresh.aupdate_ref_doc(Document(doc_id="문서-0", text="새 글"))
        assert await fresh.arefresh_ref_docs(notices[1:3]) == [False, False]
        await fresh.adelete_ref_doc("문서-1")
        await fresh.adelete_nodes(["홀로"])
        assert _sources(fresh) == ["문서-2", "문서-3", "문서-0"]

    @pytest.mark.parametrize("wrong", [["글"], [TextNode(text="x")], "글", Document(text="x"), 3])
    def test_something_that_is_no_document(self, fresh: KoColBERTIndex, wrong: Any) -> None:
        for attempt in (fresh.refresh_ref_docs, lambda given: [fresh.insert(one) for one in given]):
            if attempt is not fresh.refresh_ref_docs and not isinstance(wrong, list):
                continue
            with pytest.raises(InvalidTextError, match=r"Document"):
                attempt(wrong)
        assert len(fresh.get_nodes()) == 3


class TestFolder:
    @pytest.mark.slow
    def test_persisted_and_loaded(self, shared: KoColBERTIndex, tmp_path: Path) -> None:
        shared.persist(tmp_path / "저장")
        for load in (KoColBERTIndex.load_from_disk, KoColBERTIndex.from_persist_dir):
            loaded = load(tmp_path / "저장")
            assert loaded.get_nodes() == shared.get_nodes()
            assert loaded.as_retriever().retrieve(QUERY) == shared.as_retriever().retrieve(QUERY)
            assert loaded.ref_doc_info == shared.ref_doc_info
        assert KoColBERTRetriever.from_persist_dir(tmp_path / "저장").get_nodes() == shared.get_nodes()

    def test_the_same_program_again_adds_nothing_twice(
        self, notices: list[Document], colbert: LateInteractionEncoder, tmp_path: Path
    ) -> None:
        first = KoColBERTIndex.from_documents(notices[:3], model_name=colbert, path=tmp_path)
        nodes = first.get_nodes()
        again = KoColBERTIndex.from_documents(notices[:3], model_name=colbert, path=tmp_path)
        assert again.get_nodes() == nodes
        changed = Document(doc_id="문서-2", text="김치전은 신김치로 부친다.")
        KoColBERTIndex.from_documents([changed, notices[3]], model_name=colbert, path=tmp_path)
        loaded = KoColBERTIndex.load_from_disk(tmp_path)
        assert _sources(loaded) == ["문서-0", "문서-1", "문서-2", "문서-3"]
        assert loaded.refresh_ref_docs([changed, *notices[:2]]) == [False] * 3

    def test_another_model_or_a_foreign_folder_is_refused(
        self, shared: KoColBERTIndex, notices: list[Document], tmp_path: Path
    ) -> None:
        shared.persist(tmp_path / "저장")
        with pytest.raises(FingerprintError, match="dim"):
            KoColBERTIndex.load_from_disk(tmp_path / "저장", model_name=load_encoder("mini-colbert", dim=64))
        with pytest.raises(WrongFamilyError):
            KoColBERTIndex.from_documents(notices, model_name="mini-dense", path=tmp_path / "새 폴더")
        assert not (tmp_path / "새 폴더").exists()
        VectorStoreIndex([], embed_model=MockEmbedding(embed_dim=2)).storage_context.persist(str(tmp_path / "남의"))
        with pytest.raises(ForeignFolderError):
            KoColBERTIndex.load_from_disk(tmp_path / "남의")

    def test_no_other_index_is_made_of_its_storage_context(self, shared: KoColBERTIndex, tmp_path: Path) -> None:
        shared.storage_context.persist(str(tmp_path))
        for context in (shared.storage_context, StorageContext.from_defaults(persist_dir=str(tmp_path))):
            with pytest.raises(KeyError, match=r"KoColBERTIndex\.load_from_disk\(path\)"):
                load_index_from_storage(context)

    def test_two_indexes_in_one_storage_context(self, colbert: LateInteractionEncoder) -> None:
        context = StorageContext.from_defaults()
        other = VectorStoreIndex([], storage_context=context, embed_model=MockEmbedding(embed_dim=2))
        KoColBERTIndex([TextNode(text="글")], model_name=colbert, storage_context=context)
        assert context.docstore.docs == {}
        loaded = load_index_from_storage(context, index_id=other.index_id, embed_model=MockEmbedding(embed_dim=2))
        assert isinstance(loaded, VectorStoreIndex)


def test_metadata_and_the_names_of_the_model(documents: list[str]) -> None:
    encoder = FakeMultiVectorEncoder()
    nodes = [TextNode(id_=f"{number}", text=text) for number, text in enumerate(documents)]
    index = KoColBERTIndex(nodes, model=encoder)
    assert index.update_metadata(["1"], {"주제": "생활"}) == ["1"]
    assert encoder.documents_encoded == len(documents) + 1
    topic = MetadataFilters(filters=[MetadataFilter(key="주제", value="생활")])
    assert (index.count(topic), index.ids(filters=topic), index.count()) == (1, ["1"], len(documents))
    with pytest.raises(InvalidArgumentError, match="same argument"):
        KoColBERTIndex(nodes, model=encoder, model_name=encoder)
    with pytest.raises(InvalidArgumentError, match=r"model_name=korag.load_encoder\(.*device="):
        KoColBERTIndex(nodes, device="cpu")
    with pytest.raises(InvalidArgumentError, match="Did you mean path"):
        KoColBERTIndex.from_documents([], persist_dir="x")
    with pytest.raises(InvalidArgumentError, match="Did you mean documents"):
        KoColBERTIndex.from_documents(nodes=nodes)
    with pytest.raises(InvalidArgumentError, match="lacks path"):
        KoColBERTIndex.load_from_disk()


@pytest.mark.parametrize("ids", [["가", "나", "다"], [None, None, None]])
def test_an_interrupted_script_completes_its_documents(tmp_path: Path, ids: list[str | None]) -> None:
    """A document of which some nodes are stored would count as unchanged in the next run."""
    encoder = StopsAt(dim=4)

    def run() -> KoColBERTIndex:
        documents = [
            Document(text="\n".join(f"{year}년 {line}번째" for line in range(900)), **({"id_": id_} if id_ else {}))
            for year, id_ in enumerate(ids)
        ]
        return KoColBERTIndex.from_documents(
            documents, model_name=encoder, path=tmp_path / "색인", transformations=[Lines()], sync=True
        )

    encoder.text = "2년 899번째"
    with pytest.raises(KeyboardInterrupt):
        run()
    encoder.text = None
    before = encoder.documents_encoded
    index = run()
    assert index.count() == 2_700
    assert len(index.ref_doc_info) == 3
    assert encoder.documents_encoded - before == 900
