"""A script that indexes the same documents in every run, with ids that LlamaIndex makes up anew each time."""

import os
import pickle
import subprocess
import sys
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import Document, SimpleDirectoryReader, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.node_parser import HierarchicalNodeParser, SentenceSplitter, get_leaf_nodes
from llama_index.core.retrievers import AutoMergingRetriever
from llama_index.core.schema import BaseNode, ImageNode, IndexNode, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.storage.storage_context import StorageContext

from korag import Collection
from korag.errors import InvalidArgumentError
from korag.testing.encoders import FakeMultiVectorEncoder
from llamaindex_korag import KoBM25Retriever, KoColBERTIndex, KoColBERTRetriever

RULES = [f"제{number}조. 도서는 {number}주 동안 빌린다. 늦으면 {number * 100}원을 낸다." for number in range(1, 9)]
PARKING = [f"{number}동 주차장은 {number}시에 연다. 방문 차량은 {number}시간까지 둔다." for number in range(1, 7)]
SPLIT = SentenceSplitter(chunk_size=96, chunk_overlap=0)


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


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of texts."""
    folder = tmp_path / "글"
    folder.mkdir()
    for name, lines in (("대출.txt", RULES), ("주차.txt", PARKING)):
        (folder / name).write_text("\n\n".join(lines), encoding="utf-8")
    return folder


class TestFiles:
    def read(self, files: Path) -> list[BaseNode]:
        return split(SimpleDirectoryReader(str(files)).load_data())

    def run(self, files: Path, path: Path, **options: Any) -> tuple[KoColBERTRetriever, int]:
        """One run of the script; returns how many texts it encoded."""
        encoder = FakeMultiVectorEncoder()
        retriever = KoColBERTRetriever.from_defaults(self.read(files), model_name=encoder, path=path, **options)
        return retriever, encoder.documents_encoded

    def test_nothing_is_doubled_or_encoded(self, files: Path, tmp_path: Path) -> None:
        first, encoded = self.run(files, tmp_path / "색인")
        assert encoded == len(first.collection) > 5
        before = {node.node_id: node.get_content() for node in first.get_nodes()}
        nodes = first.get_nodes()
        first.collection.close()
        again, encoded = self.run(files, tmp_path / "색인")
        assert encoded == 0
        assert {node.node_id: node.get_content() for node in again.get_nodes()} == before
        assert again.get_nodes() == nodes
        check_links(again)

    def test_dates_of_a_file_do_not_make_it_another(self, files: Path, tmp_path: Path) -> None:
        first, _ = self.run(files, tmp_path / "색인")
        before = {node.node_id for node in first.get_nodes()}
        first.collection.close()
        for file in files.iterdir():
            os.utime(file, (0, 86_400 * 3_650))
        again, encoded = self.run(files, tmp_path / "색인")
        assert encoded == 0
        assert {node.node_id for node in again.get_nodes()} == before
        assert {node.metadata["last_modified_date"] for node in again.get_nodes()} == {"1979-12-30"}

    def test_of_a_changed_file_only_what_changed_is_new(self, files: Path, tmp_path: Path) -> None:
        first, _ = self.run(files, tmp_path / "색인")
        before = {node.get_content(): node.node_id for node in first.get_nodes()}
        documents = {node.ref_doc_id for node in first.get_nodes()}
        first.collection.close()
        (files / "대출.txt").write_text("\n\n".join([*RULES[:-1], "제8조. 폐지한다."]), encoding="utf-8")
        again, encoded = self.run(files, tmp_path / "색인", sync=True)
        after = {node.get_content(): node.node_id for node in again.get_nodes()}
        new = {*after} - {*before}
        assert len(again.get_nodes()) == len(after)
        assert 0 < encoded == len(new) < 3
        assert all(after[text] == before[text] for text in {*after} & {*before})
        assert "\n".join(after).count("제8조") == 1
        assert {node.ref_doc_id for node in again.get_nodes()} == documents
        check_links(again)

    def test_without_sync_what_is_no_longer_given_stays(self, files: Path, tmp_path: Path) -> None:
        first, _ = self.run(files, tmp_path / "색인")
        count = len(first.collection)
        first.collection.close()
        (files / "주차.txt").unlink()
        kept, encoded = self.run(files, tmp_path / "색인")
        assert (len(kept.collection), encoded) == (count, 0)
        kept.collection.close()
        dropped, encoded = self.run(files, tmp_path / "색인", sync=True)
        assert (texts(dropped), encoded) == (sorted(node.get_content() for node in self.read(files)), 0)

    @pytest.mark.slow
    def test_in_another_process(self, files: Path, tmp_path: Path) -> None:
        code = f"""
import sys
sys.path[:0] = {sys.path!r}
from llama_index.core import SimpleDirectoryReader
from llama_index.core.node_parser import SentenceSplitter
from korag.testing.encoders import FakeMultiVectorEncoder
from llamaindex_korag import KoColBERTRetriever
nodes = SentenceSplitter(chunk_size=96, chunk_overlap=0)(SimpleDirectoryReader({str(files)!r}).load_data())
encoder = FakeMultiVectorEncoder()
retriever = KoColBERTRetriever.from_defaults(nodes, model_name=encoder, path={str(tmp_path / "색인")!r})
print("\\n", encoder.documents_encoded, *sorted(retriever.ids()))
"""
        runs = [
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            .stdout.splitlines()[-1]
            .split()
            for _ in range(2)
        ]
        assert int(runs[0][0]) == len(runs[0]) - 1
        assert runs[1] == ["0", *runs[0][1:]]

    def test_an_index_of_documents(self, files: Path, tmp_path: Path) -> None:
        def run() -> tuple[KoColBERTIndex, int]:
            encoder = FakeMultiVectorEncoder()
            documents = SimpleDirectoryReader(str(files)).load_data()
            index = KoColBERTIndex.from_documents(
                documents, model_name=encoder, path=tmp_path / "색인", transformations=[SPLIT]
            )
            return index, encoder.documents_encoded

        first, encoded = run()
        assert encoded > 0
        before = first.get_nodes()
        first.collection.close()
        again, encoded = run()
        assert encoded == 0
        assert again.get_nodes() == before
        assert {*again.ref_doc_info} == {node.ref_doc_id for node in before}

    def test_an_index_in_step_with_its_files(self, files: Path, tmp_path: Path) -> None:
        def run(**own_ids: bool) -> tuple[list[str], int]:
            encoder = FakeMultiVectorEncoder()
            documents = SimpleDirectoryReader(str(files), **own_ids).load_data()  # type: ignore[arg-type]
            index = KoColBERTIndex.from_documents(
                documents, model_name=encoder, path=tmp_path / "색인", transformations=[SPLIT], sync=True
            )
            found = texts(index)
            assert index.ids() == [node.node_id for node in index.get_nodes()]
            assert index.count() == len(found)
            index.collection.close()
            return found, encoder.documents_encoded

        everything, encoded = run()
        assert len(everything) == encoded
        assert run() == (everything, 0)
        (files / "주차.txt").unlink()
        lending = sorted(node.get_content() for node in self.read(files))
        assert run() == (lending, 0)
        assert run(filename_as_id=True) == (lending, len(lending))  # ids of one's own are others
        (files / "대출.txt").write_text("\n\n".join(RULES[:-1]), encoding="utf-8")
        fewer = sorted(node.get_content() for node in self.read(files))
        found, encoded = run(filename_as_id=True)
        assert found == fewer
        assert encoded < 3

    def test_an_index_without_anything_to_keep(self, files: Path, tmp_path: Path) -> None:
        documents = SimpleDirectoryReader(str(files)).load_data()
        with pytest.raises(InvalidArgumentError, match=r"sync=True.*path="):
            KoColBERTIndex.from_documents(documents, model_name=FakeMultiVectorEncoder(), sync=True)
        index = KoColBERTIndex.from_documents(documents, model_name=FakeMultiVectorEncoder())
        for nothing in ([], [Document(text=" ")]):
            with pytest.raises(InvalidArgumentError, match="would remove everything"):
                KoColBERTIndex.from_documents(nothing, collection=index.collection, sync=True)
        assert index.count() == 2


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

    def test_contracts_with_the_same_clauses_are_several(self) -> None:
        def contract(name: str) -> Document:
            return Document(text="\n\n".join([*RULES, f"계약자는 {name}이다. 아래에 이름을 쓰고 도장을 찍는다."]))

        retriever = bm25(split([contract("김가람")]))
        for name in ("박나래", "이다솜"):
            retriever.add_nodes(split([contract(name)]))
        assert len({node.ref_doc_id for node in retriever.get_nodes()}) == 3
        before = retriever.ids()
        for name in ("박나래", "김가람", "이다솜"):
            retriever.add_nodes(split([contract(name)]))
        assert retriever.ids() == before

    def test_a_part_leaves_the_whole_to_the_whole(self) -> None:
        whole, part = "\n\n".join(RULES), RULES[0]
        retriever = bm25(split([Document(text=whole)]))
        retriever.add_nodes(split([Document(text=part), Document(text=whole)]))
        before = retriever.ids()
        assert len({node.ref_doc_id for node in retriever.get_nodes()}) == 2
        for order in ([part, whole], [whole, part]):
            retriever.add_nodes(split([Document(text=text) for text in order]))
            assert retriever.ids() == before

    def test_in_batches_that_cut_documents(self) -> None:
        def nodes() -> list[BaseNode]:
            return split([Document(text="\n\n".join(lines)) for lines in (RULES, PARKING)])

        retriever = bm25(nodes())
        before = [(node.node_id, node.ref_doc_id) for node in retriever.get_nodes()]
        given = nodes()
        for first in range(0, len(given), 3):
            retriever.add_nodes(given[first : first + 3])
        assert [(node.node_id, node.ref_doc_id) for node in retriever.get_nodes()] == before

    def test_an_index_keeps_a_uuid_of_the_callers(self) -> None:
        """Keys of a database are often random UUIDs, as those that LlamaIndex makes up."""
        mine, yours = str(uuid.uuid4()), str(uuid.uuid4())
        encoder = FakeMultiVectorEncoder()

        def make(id_: str | None) -> Document:
            own = {} if id_ is None else {"id_": id_}
            return Document(text="\n\n".join(RULES), **own)

        index = KoColBERTIndex(collection=Collection.in_memory(encoders=[encoder]), transformations=[SPLIT])
        for id_ in (mine, yours, None):
            index.insert(make(id_))
        assert {mine, yours} < {*index.ref_doc_info}
        assert len(index.ref_doc_info) == 3
        encoded, ids = encoder.documents_encoded, index.ids()
        assert index.refresh_ref_docs([make(mine), make(yours)]) == [False, False]
        index.insert(make(None))
        index.update_ref_doc(make(yours))
        assert (encoder.documents_encoded, index.ids()) == (encoded, ids)
        index.delete_ref_doc(mine)
        assert texts(index) == sorted(2 * [node.get_content() for node in split([make(yours)])])

    def test_whole_documents_and_ids_made_of_a_made_up_one(self) -> None:
        whole = bm25([Document(text=rule) for rule in RULES])
        whole.add_nodes([Document(text=rule) for rule in RULES])
        assert texts(whole) == sorted(RULES)
        assert all(one.metadata["_korag_node"]["ref_doc_id"] == one.id for one in whole.collection.get())
        numbered = SentenceSplitter(
            chunk_size=96, chunk_overlap=0, id_func=lambda number, document: f"{document.node_id}#{number}"
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

    def test_update_ref_doc_encodes_what_changed(self) -> None:
        encoder = FakeMultiVectorEncoder()
        document = Document(text="\n\n".join(RULES), doc_id="규정")
        retriever = KoColBERTRetriever.from_defaults(split([document]), model_name=encoder)
        before = encoder.documents_encoded
        new = Document(text="\n\n".join([*RULES[:-1], "제8조. 폐지한다."]), doc_id="규정")
        retriever.update_ref_doc(new, nodes=split([new]))
        assert 0 < encoder.documents_encoded - before < 3
        assert texts(retriever) == sorted(node.get_content() for node in split([new]))
        check_links(retriever)

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
            parser = HierarchicalNodeParser.from_defaults(chunk_sizes=[512, 96], chunk_overlap=0)
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


def test_sync_needs_a_folder_and_nodes(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"sync=True.*path="):
        bm25([TextNode(text="글")], sync=True)
    with pytest.raises(InvalidArgumentError, match="sync='yes'"):
        bm25([TextNode(text="글")], sync="yes")
    with pytest.raises(InvalidArgumentError, match="would remove everything"):
        bm25([], path=tmp_path / "색인", sync=True)
    assert not (tmp_path / "색인").exists()
