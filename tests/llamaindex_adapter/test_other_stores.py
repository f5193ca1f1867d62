"""Every class that takes a collection takes one of any store."""

from pathlib import Path

import pytest
from llama_index.core import Document
from llama_index.core.schema import TextNode
from other_store import OtherStore

from korag import Collection, LateInteractionEncoder, SparseEncoder
from korag.collection.base import SearchOptions
from korag.errors import IndexStateError, InvalidArgumentError
from llamaindex_korag import KoBM25Retriever, KoColBERTIndex, KoColBERTRetriever, KoHybridRetriever, KoSpladeRetriever
from llamaindex_korag.collection_retriever import CollectionRetriever

QUERY = "보증금은 언제 돌려받나요?"
RETRIEVERS = {
    KoColBERTRetriever: SearchOptions(k=2, using="colbert", min_relevance=0.01),
    KoSpladeRetriever: SearchOptions(k=2, using="sparse", min_relevance=0.01),
    KoBM25Retriever: SearchOptions(k=2, using="bm25", min_relevance=0.01),
    KoHybridRetriever: SearchOptions(k=2, using="hybrid", min_relevance=0.01, fusion="anchored"),
}


@pytest.fixture
def store(splade: SparseEncoder, colbert: LateInteractionEncoder) -> OtherStore:
    return OtherStore(Collection.in_memory(encoders=[splade, colbert], bm25=True))


@pytest.mark.parametrize(("cls", "options"), RETRIEVERS.items())
async def test_retrievers(
    cls: type[CollectionRetriever], options: SearchOptions, store: OtherStore, documents: list[str], tmp_path: Path
) -> None:
    nodes = [TextNode(id_=f"노드-{index}", text=text) for index, text in enumerate(documents)]
    retriever = cls(store, similarity_top_k=2, min_relevance=0.01)
    retriever.add_nodes(nodes)
    found = retriever.retrieve(QUERY)
    assert found[0].node == nodes[0]
    assert [scored.node for scored in await retriever.aretrieve(QUERY)] == [scored.node for scored in found]
    assert store.searches == [options, options]
    assert retriever.delete_nodes([nodes[0].node_id]) == 1
    assert retriever.get_nodes() == nodes[1:]
    with pytest.raises(InvalidArgumentError, match="OtherStore cannot be saved"):
        retriever.persist(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_missing_leg(colbert: LateInteractionEncoder) -> None:
    store = OtherStore(Collection.in_memory(encoders=[colbert]))
    for cls in (KoSpladeRetriever, KoHybridRetriever):
        with pytest.raises(IndexStateError, match="OtherStore"):
            cls(store)


def test_index(store: OtherStore, documents: list[str]) -> None:
    index = KoColBERTIndex.from_documents(
        [Document(id_=f"글-{number}", text=text) for number, text in enumerate(documents)], collection=store
    )
    retriever = index.as_retriever(similarity_top_k=1)
    assert [scored.node.ref_doc_id for scored in retriever.retrieve(QUERY)] == ["글-0"]
    assert store.searches == [SearchOptions(k=1, using="colbert")]
    index.insert(Document(id_="글-0", text="시립 도서관은 월요일에 쉽니다."))
    assert len(index.ref_doc_info) == len(documents)
    assert [stored.text for stored in store.get() if "보증금" in stored.text] == []
    index.delete_ref_doc("글-0")
    assert len(store) == len(documents) - 1
