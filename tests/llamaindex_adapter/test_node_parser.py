"""KoNodeParser is LlamaIndex's node parser, over the core's splitters."""

import pickle
from dataclasses import replace

import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import NodeParser
from llama_index.core.schema import Document, MetadataMode, NodeRelationship, QueryBundle
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode

from korag import load_encoder
from korag.errors import InvalidArgumentError
from llamaindex_korag import FoundNode, KoBM25Retriever, KoNodeParser, KoVectorStore

RULES = """제1장 총칙
제1조(목적) 이 규정은 창고를 빌려주는 절차를 정한다.
제2조(보증금) 빌리는 사람은 열쇠를 받기 전에 석 달 치 요금을 맡긴다.
제2장 정산
제3조(지체) 맡긴 돈을 늦게 돌려주면 이자를 붙인다. 제2조를 준용한다.
"""


def paper(**metadata):
    return Document(id_="규정", text=RULES, metadata={"file_name": "규정.txt", "이름": "창고 규정", **metadata})


@pytest.fixture
def parser():
    return KoNodeParser(model="mini-colbert", title_key="이름", id_func=lambda number, node: f"{node.node_id}#{number}")


def test_nodes_have_ids_relationships_and_places(parser):
    nodes = parser.get_nodes_from_documents([paper()])
    assert isinstance(parser, NodeParser)
    assert [node.node_id for node in nodes] == ["규정#0", "규정#1", "규정#2"]
    assert {node.ref_doc_id for node in nodes} == {"규정"}
    assert nodes[1].relationships[NodeRelationship.PREVIOUS].node_id == "규정#0"
    assert nodes[1].relationships[NodeRelationship.NEXT].node_id == "규정#2"
    assert [RULES[node.start_char_idx : node.end_char_idx] for node in nodes] == [node.text for node in nodes]
    assert nodes[1].metadata["file_name"] == "규정.txt"
    assert nodes[2].metadata["cites"] == ["창고규정 제2조"]


def test_models_are_given_the_headings_alone(parser):
    node = parser.get_nodes_from_documents([paper()])[1]
    embedded = node.get_content(MetadataMode.EMBED)
    assert "headings: 창고 규정 > 제1장 총칙\n" in embedded
    assert "article" not in embedded
    assert "citation" not in node.get_content(MetadataMode.LLM)
    assert node.get_content(MetadataMode.NONE) == node.text


def test_embedded_metadata_counts():
    encoder = load_encoder("mini-colbert")
    text = "# 열쇠\n\n" + "창고 열쇠는 관리인이 맡아 둔다. " * 60
    document = Document(text=text, metadata={"file_name": "안내.md", "설명": "창고를 빌리는 사람이 읽는 안내문" * 2})
    nodes = KoNodeParser(model=encoder, max_tokens=90).get_nodes_from_documents([document])
    assert len(nodes) > 5
    counts = encoder.count_tokens([node.get_content(MetadataMode.EMBED) for node in nodes])
    assert max(counts) <= 90
    assert sorted(counts)[len(counts) // 2] > 70
    with pytest.raises(InvalidArgumentError, match="no room for text"):
        KoNodeParser(model=encoder, max_tokens=20).get_nodes_from_documents([document])


def test_equal_parts_have_their_own_places(parser):
    text = "# 가\n\n같은 글이다.\n\n# 나\n\n같은 글이다.\n"
    nodes = KoNodeParser(model="mini-colbert", splitter="markdown").get_nodes_from_documents([Document(text=text)])
    assert [text[node.start_char_idx : node.end_char_idx] for node in nodes] == [node.text for node in nodes]


def test_retrievers_follow_citations(parser):
    nodes = parser.get_nodes_from_documents([paper()])
    retriever = KoBM25Retriever.from_defaults(nodes=nodes, similarity_top_k=1, expand="citations")
    found = retriever.retrieve("늦게 돌려주면")
    assert [(one.node.node_id, one.cited_by) for one in found] == [("규정#2", None), ("규정#1", "규정#2")]
    assert found[1].node.text == nodes[1].text
    assert FoundNode.from_dict(found[1].to_dict()).cited_by == "규정#2"
    retriever.expand = None
    assert [one.node.node_id for one in retriever.retrieve(QueryBundle("늦게 돌려주면"))] == ["규정#2"]
    with pytest.raises(InvalidArgumentError, match="expand"):
        KoBM25Retriever.from_defaults(nodes=nodes, expand="links")


def test_the_vector_store_follows_citations(parser):
    store = KoVectorStore(bm25=True)
    store.add(nodes := parser.get_nodes_from_documents([paper()]))
    query = VectorStoreQuery(query_str="늦게 돌려주면", similarity_top_k=1)
    assert store.query(query).ids == ["규정#2"]
    found = store.query(query, expand="citations")
    assert found.ids == ["규정#2", "규정#1"]
    assert found.nodes[1].text == nodes[1].text
    with pytest.raises(InvalidArgumentError, match="expand"):
        store.query(replace(query, mode=VectorStoreQueryMode.MMR), expand="citations")


def test_it_works_in_pipelines_and_survives_pickling(parser):
    made = KoNodeParser(model="mini-colbert")
    nodes = IngestionPipeline(transformations=[made]).run(documents=[paper()])
    assert [node.text for node in nodes] == [node.text for node in parser([paper()])]
    again = pickle.loads(pickle.dumps(made))  # noqa: S301 (our own)
    assert [node.text for node in again([paper()])] == [node.text for node in nodes]
    assert KoNodeParser(**{**made.to_dict(), "id_func": None}).to_dict() == made.to_dict()


@pytest.mark.parametrize("keywords", [{"max_tokens": 0}, {"splitter": "법"}, {"chunk_size": 3}, {"sentences": "kss"}])
def test_wrong_arguments_are_errors(keywords):
    with pytest.raises(InvalidArgumentError):
        KoNodeParser(model="mini-colbert", **keywords)
