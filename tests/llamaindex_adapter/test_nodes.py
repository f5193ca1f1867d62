"""Nodes stored in a collection come back complete, as copies, and filterable from both frameworks."""

import copy
from typing import Any

import pytest
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    NodeWithScore,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)

from korag import Collection
from korag.errors import IndexStateError, InvalidArgumentError, InvalidTextError
from llamaindex_korag import KoBM25Retriever
from llamaindex_korag.nodes import NODE

PNG = b"\x89PNG\r\n\x1a\n0123"


class Article(TextNode):
    """A user-defined class without a class name of its own."""

    number: int = 1


def _full_node() -> TextNode:
    return TextNode(
        id_="조문",
        text="제6조의2(적용 범위)\0 이 규정은 전자 문서에도 적용한다.",
        embedding=[0.5, 0.25],
        metadata={"쪽": 3, "태그": ["규정", None, 1.5], "기관": {"이름": "총무과"}, "공개": True},
        excluded_embed_metadata_keys=["쪽", "태그", "공개"],
        excluded_llm_metadata_keys=["기관"],
        metadata_template="<{key}={value}>",
        metadata_separator=" / ",
        text_template="{content} ({metadata_str})",
        mimetype="text/markdown",
        start_char_idx=10,
        end_char_idx=42,
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(
                node_id="규정집", node_type=ObjectType.DOCUMENT, metadata={"판": 2}, hash="해시"
            ),
            NodeRelationship.PREVIOUS: RelatedNodeInfo(node_id="앞"),
            NodeRelationship.CHILD: [RelatedNodeInfo(node_id="가"), RelatedNodeInfo(node_id="나")],
        },
    )


NODES: list[BaseNode] = [
    _full_node(),
    TextNode(text="  앞뒤에 공백이 있는 글 \n"),
    TextNode(text="메타데이터가 있는 글", metadata={"제목": "안내"}),
    Document(text="문서 하나", metadata={"제목": "공고"}, doc_id="문서"),
    Document(text="그림이 있는 문서", image_resource=MediaResource(data=PNG)),
    Node(text_resource=MediaResource(text="소리를 받아 적은 글"), audio_resource=MediaResource(path="/음성.mp3")),
    ImageNode(text="그림 설명", image="aGVsbG8=", image_mimetype="image/png"),
    ImageDocument(text="사진 설명", image=PNG),
    IndexNode(text="요약", index_id="요약-1"),
    IndexNode(text="요약", index_id="요약-2", obj=TextNode(text="본문", metadata={"쪽": 1})),
    IndexNode(text="요약", index_id="요약-3", obj=Document(text="본문", image_resource=MediaResource(data=PNG))),
    Article(text="제1조", number=7),
]


@pytest.mark.parametrize("mode", [MetadataMode.EMBED, MetadataMode.NONE])
def test_every_node_comes_back_whole(mode: MetadataMode) -> None:
    before = copy.deepcopy(NODES)
    retriever = KoBM25Retriever.from_defaults(NODES, metadata_mode=mode)
    assert before == NODES
    for node, found in zip(NODES, retriever.get_nodes(), strict=True):
        assert type(found) is type(node)
        assert found == node.model_copy(update={"embedding": None})  # the collection has vectors of its own
        assert found.hash == node.hash
        assert found.metadata is not node.metadata
        assert (found.relationships, found.get_content(MetadataMode.LLM)) == (
            node.relationships, node.get_content(MetadataMode.LLM),
        )  # fmt: skip


def test_media_that_a_dump_leaves_out_comes_back() -> None:
    retriever = KoBM25Retriever.from_defaults([Document(text="사진", image_resource=MediaResource(data=PNG))])
    (found,) = retriever.get_nodes()
    assert isinstance(found, Document)
    assert found.image_resource is not None
    assert found.image_resource.data == MediaResource(data=PNG).data


def test_the_searched_text_is_that_of_the_metadata_mode() -> None:
    node = TextNode(
        text="신청 방법", metadata={"부서": "총무과", "비밀": "인사과"}, excluded_embed_metadata_keys=["비밀"]
    )

    def finds(query: str, **options: Any) -> bool:
        return bool(KoBM25Retriever.from_defaults([node], **options).retrieve(query))

    assert finds("총무과")
    assert not finds("인사과")
    assert finds("인사과", metadata_mode=MetadataMode.ALL)
    assert not finds("총무과", metadata_mode="none")
    (found,) = KoBM25Retriever.from_defaults([node]).retrieve("총무과")
    assert found.node == node


def test_metadata_lies_open_in_the_collection() -> None:
    retriever = KoBM25Retriever.from_defaults([_full_node()])
    (stored,) = retriever.collection.get()
    assert {key: value for key, value in stored.metadata.items() if key != NODE} == _full_node().metadata
    assert len(retriever.collection.search("규정", where={"기관.이름": "총무과"})) == 1


def test_documents_no_llamaindex_class_has_stored() -> None:
    with Collection.in_memory(bm25=True) as collection:
        collection.add(["보증금은 돌려준다."], ids=["a"], metadata=[{"쪽": 1}])
        (found,) = KoBM25Retriever(collection).retrieve("보증금")
        assert found.node == TextNode(id_="a", text="보증금은 돌려준다.", metadata={"쪽": 1})


def test_a_class_that_is_not_imported_is_named() -> None:
    retriever = KoBM25Retriever.from_defaults([Article(text="제1조")])
    (stored,) = retriever.collection.get()
    stored.metadata[NODE]["class"] = "os.Nothing"
    retriever.collection.add([stored.text], ids=[stored.id], metadata=[stored.metadata])
    with pytest.raises(IndexStateError, match=r"os\.Nothing.*import"):
        retriever.retrieve("제1조")


class _Opaque:
    """An object that neither JSON nor pydantic can serialize."""


@pytest.mark.parametrize(
    ("nodes", "error", "message"),
    [
        ([TextNode(text="x"), "문자열"], InvalidTextError, r"nodes\[1\] is a str.*TextNode\(text"),
        ([None], InvalidTextError, r"nodes\[0\] is a NoneType"),
        ([NodeWithScore(node=TextNode(text="x"))], InvalidTextError, r"nodes\[0\] is a NodeWithScore.*node\.node"),
        ("문자열", InvalidTextError, "a single str"),
        (TextNode(text="x"), InvalidTextError, "a single TextNode"),
        (3, InvalidTextError, "a single int"),
        ([TextNode(text="x"), TextNode(text=" \n")], InvalidArgumentError, r"nodes\[1\].*has no text"),
        ([TextNode(text="", metadata={"제목": "빈 쪽"})], InvalidArgumentError, r"nodes\[0\].*has no text"),
        ([ImageNode(image="aGVsbG8=")], InvalidArgumentError, r"nodes\[0\].*image but no text"),
        ([Node(audio_resource=MediaResource(path="/a.mp3"))], InvalidArgumentError, "audio but no text"),
        ([TextNode(id_="가", text="x"), TextNode(id_="가", text="y")], InvalidArgumentError, r"nodes\[1\].*'가'"),
        ([TextNode(text="글\ud800")], InvalidTextError, r"nodes\[0\] contains the lone surrogate"),
        ([TextNode(id_="", text="x")], InvalidArgumentError, "non-empty"),
        ([TextNode(text="x", metadata={"a": _Opaque()})], InvalidArgumentError, "is not a JSON value"),
        ([TextNode(text="x", metadata={"a": float("nan")})], InvalidArgumentError, r"NaN"),
        ([TextNode(text="x", metadata={NODE: 1})], InvalidArgumentError, "another name"),
    ],
)
def test_bad_nodes_are_errors_before_any_work(nodes: Any, error: type[Exception], message: str, tmp_path: Any) -> None:
    with pytest.raises(error, match=message) as raised:
        KoBM25Retriever.from_defaults(nodes, path=tmp_path / "폴더")
    assert any("가" <= character <= "힣" for character in str(raised.value).split("\n")[0])
    assert not (tmp_path / "폴더").exists()
    retriever = KoBM25Retriever.from_defaults([TextNode(id_="있던 것", text="글")])
    with pytest.raises(error):
        retriever.add_nodes(nodes)
    assert [node.node_id for node in retriever.get_nodes()] == ["있던 것"]


def test_an_index_node_points_to_what_the_retriever_keeps() -> None:
    target = KoBM25Retriever.from_defaults([TextNode(id_="안", text="보증금 반환 절차")])
    pointer = IndexNode(id_="밖", text="보증금 안내", index_id="절차", obj=target)
    retriever = KoBM25Retriever.from_defaults([pointer])
    assert pointer.obj is target
    assert [found.node.node_id for found in retriever.retrieve("보증금")] == ["안"]
    (kept,) = retriever.get_nodes()
    assert isinstance(kept, IndexNode)
    assert kept.obj is None
