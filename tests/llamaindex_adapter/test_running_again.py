"""A script that indexes the same documents in every run, with ids that LlamaIndex makes up anew each time."""

import pickle
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.node_parser import HierarchicalNodeParser, SentenceSplitter, get_leaf_nodes
from llama_index.core.retrievers import AutoMergingRetriever
from llama_index.core.schema import BaseNode, ImageNode, IndexNode, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.storage_context import StorageContext

from korag import Collection
from llamaindex_korag import KoBM25Retriever

RULES = [f"제{number}조. 도서는 {number}주 동안 빌린다. 늦으면 {number * 100}원을 낸다." for number in range(1, 9)]
PARKING = [f"{number}동 주차장은 {number}시에 연다. 방문 차량은 {number}시간까지 둔다." for number in range(1, 7)]
SPLIT = SentenceSplitter(chunk_size=48, chunk_overlap=0)


def split(documents: Iterable[Document]) -> list[BaseNode]:
    return SPLIT.get_nodes_from_documents(list(documents))


def bm25(nodes: Iterable[BaseNode], **options: Any) -> KoBM25Retriever:
    return KoBM25Retriever.from_defaults(nodes, **options)


def texts(retriever: Any) -> list[str]:
    return sorted(node.get_content() for node in retriever.get_nodes())


def check_links(retriever: Any, *, and_back: bool = True) -> None:
    """Every link to another chunk leads to one, and back."""
    for node in retriever.get_nodes():
        for link, back in ((node.next_node, "prev_node"), (node.prev_node, "next_node")):
            if link is not None:
                (other,) = retriever.get_nodes([link.node_id])
                assert not and_back or getattr(other, back).node_id == node.node_id


class TestNodes:
    def test_without_ids(self, tmp_path: Path) -> None:
        for _ in range(2):
            retriever = bm25([TextNode(text=rule, metadata={"관": "중앙"}) for rule in RULES], path=tmp_path / "색인")
            assert texts(retriever) == sorted(RULES)
            retriever.collection.close()

    def test_in_memory_and_added_later(self) -> None:
        retriever = bm25([TextNode(text=RULES[0])])
        first = retriever.add_nodes([TextNode(text=RULES[0]), TextNode(text=RULES[1])])
        assert retriever.add_nodes([TextNode(text=rule) for rule in RULES[:2]]) == first
        assert texts(retriever) == sorted(RULES[:2])

    def test_another_metadata_mode_or_metadata(self) -> None:
        retriever = bm25([TextNode(text=RULES[0], metadata={"관": "중앙"})])
        retriever.metadata_mode = "none"  # type: ignore[assignment]
        retriever.add_nodes([TextNode(text=RULES[0], metadata={"관": "중앙"})])
        assert [stored.text for stored in retriever.collection.get()] == [RULES[0]]
        retriever.add_nodes([TextNode(text=RULES[0], metadata={"관": "분관"})])
        assert len(retriever.collection) == 2

    def test_as_often_as_given_at_once(self) -> None:
        twice = [TextNode(text=RULES[0]) for _ in range(2)]
        retriever = bm25(twice)
        assert len(retriever.collection) == 2
        ids = [node.node_id for node in twice]
        assert retriever.add_nodes([TextNode(text=RULES[0]) for _ in range(3)])[:2] == ids
        assert len(retriever.collection) == 3

    def test_own_ids_are_kept(self) -> None:
        own = [TextNode(id_=id_, text=RULES[0]) for id_ in ("가", str(uuid.uuid4()))]
        retriever = bm25(own[:1])
        assert retriever.add_nodes([own[1]]) == [own[1].node_id]
        made_up = TextNode(text=RULES[0])
        assert retriever.add_nodes([made_up]) == [made_up.node_id]
        assert len(retriever.collection) == 3
        assert retriever.add_nodes([TextNode(id_="나", text=RULES[0])]) == ["나"]

    def test_nodes_read_back_keep_their_ids(self) -> None:
        retriever = bm25([TextNode(text=rule) for rule in RULES])
        read = retriever.get_nodes()
        read[0].metadata["확인"] = True
        assert retriever.add_nodes(read) == [node.node_id for node in read]
        assert len(retriever.collection) == len(RULES)
        assert retriever.add_nodes([TextNode(text=RULES[1])]) == [read[1].node_id]
        assert retriever.add_nodes([pickle.loads(pickle.dumps(read[1]))]) == [read[1].node_id]  # noqa: S301

    def test_what_tells_nodes_apart_besides_text(self) -> None:
        nodes = [
            ImageNode(text="사진", image="aGVsbG8="),
            ImageNode(text="사진", image="Z3V0ZW4="),
            IndexNode(text="요약", index_id="대출"),
            IndexNode(text="요약", index_id="주차"),
            TextNode(text="요약"),
        ]
        retriever = bm25(nodes[::2])
        retriever.add_nodes(nodes[1::2])
        retriever.add_nodes([node.model_copy(update={}) for node in nodes])
        assert len(retriever.collection) == len(nodes)

    def test_collections_of_earlier_versions(self) -> None:
        nodes = split([Document(text="\n\n".join(RULES))])
        retriever = bm25(nodes)
        stored = retriever.collection.get()
        for one in stored:
            del one.metadata["_korag_node"]["content"]
        with Collection.in_memory(bm25=True) as old:
            old.add(
                [one.text for one in stored], ids=[one.id for one in stored], metadata=[one.metadata for one in stored]
            )
            again = KoBM25Retriever(old).add_nodes(split([Document(text="\n\n".join(RULES))]))
            assert again == [node.node_id for node in nodes]


class TestDocuments:
    def test_with_own_ids(self, tmp_path: Path) -> None:
        def make(name: str) -> Document:
            return Document(text="\n\n".join(RULES), doc_id=name)

        first = bm25(split([make("대출"), make("대출 사본")]), path=tmp_path / "색인")
        nodes = first.get_nodes()
        again = split([make("대출 사본"), make("대출")])
        assert {*first.add_nodes(again)} == {node.node_id for node in nodes}
        assert len(first.get_nodes()) == len(nodes)
        assert {node.node_id: node.ref_doc_id for node in first.get_nodes()} == {
            node.node_id: node.ref_doc_id for node in nodes
        }
        check_links(first)

    def test_two_with_an_equal_chunk(self) -> None:
        lending = lambda: Document(text="\n\n".join([*RULES, "문의는 안내 창구에서 받는다. 점심시간에는 닫는다."]))  # noqa: E731
        parking = lambda: Document(text="\n\n".join([*PARKING, "문의는 안내 창구에서 받는다. 점심시간에는 닫는다."]))  # noqa: E731
        together = bm25(split([lending(), parking()]))
        apart = bm25(split([lending()]))
        apart.add_nodes(split([parking()]))
        for retriever in (together, apart):
            before = {node.node_id: (node.get_content(), node.ref_doc_id) for node in retriever.get_nodes()}
            assert sum("안내 창구" in text for text, _ in before.values()) == 2
            for order in ([lending(), parking()], [parking(), lending()], [parking()], [lending()]):
                retriever.add_nodes(split(order))
                after = {node.node_id: (node.get_content(), node.ref_doc_id) for node in retriever.get_nodes()}
                assert after == before
                check_links(retriever)

    def test_whole_documents_and_ids_made_of_a_made_up_one(self) -> None:
        whole = bm25([Document(text=rule) for rule in RULES])
        whole.add_nodes([Document(text=rule) for rule in RULES])
        assert texts(whole) == sorted(RULES)
        assert all(one.metadata["_korag_node"]["ref_doc_id"] == one.id for one in whole.collection.get())
        numbered = SentenceSplitter(
            chunk_size=48, chunk_overlap=0, id_func=lambda number, document: f"{document.node_id}#{number}"
        )
        retriever = bm25(numbered([Document(text="\n\n".join(RULES))]))
        ids = {node.node_id for node in retriever.get_nodes()}
        retriever.add_nodes(numbered([Document(text="\n\n".join(RULES))]))
        assert {node.node_id for node in retriever.get_nodes()} == ids

    def test_a_document_of_the_callers_is_no_other_one(self) -> None:
        retriever = bm25(split([Document(text="\n\n".join(RULES), doc_id=name) for name in ("가", "나")]))
        count = len(retriever.collection)
        retriever.add_nodes(split([Document(text="\n\n".join(RULES), doc_id="다")]))
        retriever.add_nodes(split([Document(text="\n\n".join(RULES))]))
        assert len(retriever.collection) == 2 * count

    def test_index_and_docstore(self) -> None:
        def make() -> Any:
            return VectorStoreIndex(split([Document(text="\n\n".join(RULES))]), embed_model=MockEmbedding(embed_dim=4))

        with Collection.in_memory(bm25=True) as collection:
            retriever = KoBM25Retriever(collection)
            for index in (make(), make()):
                retriever.add_nodes(index.docstore.docs.values())
            assert len(collection) == len(make().docstore.docs)

    def test_parents_of_a_new_docstore(self) -> None:
        """Leaves keep their stored ids; their parents are those of the last run."""

        def run(retriever: KoBM25Retriever | None) -> tuple[KoBM25Retriever, SimpleDocumentStore]:
            parser = HierarchicalNodeParser.from_defaults(chunk_sizes=[512, 48], chunk_overlap=0)
            nodes = parser.get_nodes_from_documents([Document(text="\n\n".join(RULES))])
            docstore = SimpleDocumentStore()
            docstore.add_documents(nodes)
            if retriever is None:
                return bm25(get_leaf_nodes(nodes), similarity_top_k=6), docstore
            retriever.add_nodes(get_leaf_nodes(nodes))
            return retriever, docstore

        retriever, docstore = run(None)
        count = len(retriever.collection)
        retriever, docstore = run(retriever)
        assert len(retriever.collection) == count
        parents = {node.parent_node.node_id for node in retriever.get_nodes() if node.parent_node}
        assert parents <= {*docstore.docs}
        check_links(retriever, and_back=False)  # LlamaIndex links the leaves of neighbouring parents one way only
        merging = AutoMergingRetriever(
            retriever, StorageContext.from_defaults(docstore=docstore), simple_ratio_thresh=0.2
        )
        assert {node.node_id for node in merging.retrieve("도서는 빌린다")} & parents
