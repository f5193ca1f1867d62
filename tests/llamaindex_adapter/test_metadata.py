"""Metadata of stored nodes changed in place, and counts of nodes by it."""

from pathlib import Path
from typing import Any

import pytest
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import Document, MetadataMode, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters

from korag import Collection
from korag.errors import InvalidArgumentError
from korag.testing.encoders import FakeMultiVectorEncoder
from llamaindex_korag import KoBM25Retriever, KoColBERTIndex, KoColBERTRetriever
from llamaindex_korag.nodes import NODE

TEXTS = ["도서는 두 주 동안 빌린다.", "주차장은 아홉 시에 연다.", "보증금은 나갈 때 돌려준다."]


def make_nodes() -> list[TextNode]:
    return [
        TextNode(
            id_=f"노드-{index}",
            text=text,
            metadata={"제목": f"{index}장", "쪽": index},
            excluded_embed_metadata_keys=["쪽", "검토"],
        )
        for index, text in enumerate(TEXTS)
    ]


@pytest.fixture
def encoder() -> FakeMultiVectorEncoder:
    return FakeMultiVectorEncoder()


@pytest.fixture
def retriever(encoder: FakeMultiVectorEncoder) -> KoColBERTRetriever:
    return KoColBERTRetriever.from_defaults(make_nodes(), model_name=encoder)


def only(key: str, value: Any) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value)])


def test_excluded_keys_encode_nothing(retriever: KoColBERTRetriever, encoder: FakeMultiVectorEncoder) -> None:
    before = encoder.documents_encoded
    assert retriever.update_metadata(["노드-2", "노드-0"], {"검토": True}) == ["노드-2", "노드-0"]
    assert encoder.documents_encoded == before
    expected = make_nodes()
    for node in (expected[0], expected[2]):
        node.metadata["검토"] = True
    assert retriever.get_nodes() == expected
    assert retriever.retrieve(TEXTS[0])[0].node == expected[0]


def test_keys_in_the_searched_text_encode_just_these_nodes(
    retriever: KoColBERTRetriever, encoder: FakeMultiVectorEncoder
) -> None:
    before = encoder.documents_encoded
    retriever.update_metadata(["노드-0", "노드-1"], [{"제목": "대출"}, {"쪽": 7}])
    assert encoder.documents_encoded == before + 1
    (changed,) = retriever.collection.get(["노드-0"])
    assert changed.text == f"제목: 대출\n\n{TEXTS[0]}"
    first, second = retriever.get_nodes(["노드-0", "노드-1"])
    assert (first.metadata, first.get_content()) == ({"제목": "대출", "쪽": 0}, TEXTS[0])
    assert second.metadata == {"제목": "1장", "쪽": 7}
    retriever.similarity_top_k = 1
    assert retriever.retrieve("제목: 대출")[0].node_id == "노드-0"


async def test_replaced_metadata_leaves_the_node_whole(
    retriever: KoColBERTRetriever, encoder: FakeMultiVectorEncoder
) -> None:
    await retriever.aupdate_metadata(["노드-1"], {"쪽": 9}, replace=True)
    (node,) = retriever.get_nodes(["노드-1"])
    expected = make_nodes()[1]
    expected.metadata = {"쪽": 9}
    assert node == expected
    (stored,) = retriever.collection.get(["노드-1"])
    assert (stored.text, {*stored.metadata}) == (TEXTS[1], {"쪽", NODE})
    retriever.update_metadata(["노드-1"], {"제목": "주차"})
    assert retriever.get_nodes(["노드-1"])[0].get_content(MetadataMode.EMBED) == f"제목: 주차\n\n{TEXTS[1]}"


def test_the_mode_is_that_of_the_stored_text(retriever: KoColBERTRetriever, encoder: FakeMultiVectorEncoder) -> None:
    bare = KoColBERTRetriever(retriever.collection, metadata_mode=MetadataMode.NONE)
    bare.update_metadata(["노드-0"], {"제목": "대출"})
    assert retriever.collection.get(["노드-0"])[0].text == f"제목: 대출\n\n{TEXTS[0]}"
    bare.add_nodes([TextNode(id_="민낯", text="글", metadata={"가": 1})])
    before = encoder.documents_encoded
    retriever.update_metadata(["민낯"], {"나": 2})
    assert retriever.collection.get(["민낯"])[0].text == "글"
    assert encoder.documents_encoded == before


def test_documents_of_other_origin() -> None:
    with Collection.in_memory(bm25=True) as collection:
        collection.add(TEXTS[:1], ids=["가"], metadata=[{"쪽": 1}])
        KoBM25Retriever(collection).update_metadata(["가"], {"제목": "대출"})
        (stored,) = collection.get()
        assert (stored.text, stored.metadata) == (TEXTS[0], {"쪽": 1, "제목": "대출"})


def test_a_changed_node_is_still_recognised_and_its_document_unchanged(
    encoder: FakeMultiVectorEncoder, tmp_path: Path
) -> None:
    def document() -> Document:
        return Document(text=" ".join(TEXTS), doc_id="규약")

    index = KoColBERTIndex.from_documents([document()], model_name=encoder, path=tmp_path / "색인")
    (id_,) = (node.node_id for node in index.get_nodes())
    retriever = index.as_retriever()
    retriever.update_metadata([id_], {"검토": True})
    assert index.refresh_ref_docs([document()]) == [False]
    assert index.get_nodes()[0].metadata == {"검토": True}
    assert retriever.add_nodes(SentenceSplitter().get_nodes_from_documents([document()])) == [id_]
    assert index.get_nodes()[0].metadata == {}


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((["노드-0", "없음"], {"쪽": 1}), {}, "'없음'"),
        ((["노드-0", "노드-0"], {"쪽": 1}), {}, r"node_ids\[1\] and node_ids\[0\].*'노드-0'"),
        ((["노드-0"], [{"쪽": 1}, {"쪽": 2}]), {}, "1 node_ids and 2 metadata"),
        (([""], {"쪽": 1}), {}, r"node_ids\[0\]=''"),
        ((["노드-0"], {"쪽": {1}}), {}, "is a set"),
        ((["노드-0"], {NODE: {}}), {}, "metadata has the key.* another name"),
        ((["노드-0"], [{NODE: {}}]), {}, r"metadata\[0\] has the key.* another name"),
        ((["노드-0"], {"쪽": 1}), {"replace": "yes"}, "replace='yes'"),
    ],
)
def test_bad_changes_change_nothing(retriever: KoColBERTRetriever, arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        retriever.update_metadata(*arguments, **options)
    assert retriever.get_nodes() == make_nodes()


def test_ids_and_counts(retriever: KoColBERTRetriever) -> None:
    assert (retriever.count(), retriever.ids()) == (3, ["노드-0", "노드-1", "노드-2"])
    assert (retriever.count(only("쪽", 1)), retriever.ids(filters=only("쪽", 1))) == (1, ["노드-1"])
    assert retriever.count(only("쪽", 7)) == 0


def test_replacing_from_elsewhere_leaves_a_node_a_node(retriever: KoColBERTRetriever) -> None:
    """The collection's own method knows nothing of nodes; their class, links and hidden keys are no metadata."""
    retriever.collection.update_metadata(["노드-1"], {"검토": True}, replace=True)
    (node,) = retriever.get_nodes(["노드-1"])
    assert node.metadata == {"검토": True}
    assert node.excluded_embed_metadata_keys == ["쪽", "검토"]
    assert node.get_content() == TEXTS[1]
