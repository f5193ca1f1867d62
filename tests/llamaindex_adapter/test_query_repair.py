"""Repaired queries in LlamaIndex's retrievers, index and postprocessors."""

import copy
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode

from korag import LateInteractionEncoder
from korag.errors import InvalidArgumentError
from llamaindex_korag import KoBM25Retriever, KoColBERTIndex, KoColBERTRerank, KoColBERTRetriever, KoHybridRetriever

MEANT, TYPED = "보증금은 언제 돌려받나요?", "qhwmdrmadms djswp ehffuqkeskdy?"


@pytest.fixture(scope="module")
def nodes(documents: list[str]) -> list[TextNode]:
    return [TextNode(id_=f"노드-{index}", text=text, metadata={"쪽": index}) for index, text in enumerate(documents)]


def scores(found: list[NodeWithScore]) -> list[Any]:
    return [(node.node_id, node.score) for node in found]


def rewritten(found: list[Any]) -> set[str | None]:
    return {one.rewritten_query for one in found}


@pytest.mark.parametrize("name", ["bm25", "colbert", "hybrid"])
async def test_retrievers_search_for_what_was_meant(
    name: str, nodes: list[TextNode], colbert: LateInteractionEncoder, tmp_path: Path
) -> None:
    def make(**options: Any) -> Any:
        if name == "bm25":
            return KoBM25Retriever.from_defaults(nodes, similarity_top_k=3, **options)
        if name == "colbert":
            return KoColBERTRetriever.from_defaults(nodes, model_name=colbert, similarity_top_k=3, **options)
        return KoHybridRetriever.from_defaults(nodes, models=[colbert], bm25=True, similarity_top_k=3, **options)

    retriever = make()
    found, expected = retriever.retrieve(TYPED), retriever.retrieve(MEANT)
    assert scores(found) == scores(expected) == scores(await retriever.aretrieve(TYPED))
    assert rewritten(found) == {MEANT}
    assert rewritten(expected) == {None}
    assert [one.node for one in found] == [one.node for one in expected]
    off = make(repair_query=False)
    assert rewritten(off.retrieve(TYPED)) <= {None}
    assert copy.deepcopy(off).repair_query is False
    with pytest.raises(InvalidArgumentError, match="repair_query='no'"):
        make(repair_query="no")


def test_index_and_postprocessor(nodes: list[TextNode], colbert: LateInteractionEncoder) -> None:
    index = KoColBERTIndex(nodes, model_name=colbert)
    found = index.as_retriever(similarity_top_k=5).retrieve(TYPED)
    off = index.as_retriever(similarity_top_k=5, repair_query=False).retrieve(TYPED)
    assert (rewritten(found), rewritten(off)) == ({MEANT}, {None})
    rerank = KoColBERTRerank(model_name=colbert, top_n=3)
    expected = rerank.postprocess_nodes(index.as_retriever(similarity_top_k=5).retrieve(MEANT), QueryBundle(MEANT))
    assert scores(rerank.postprocess_nodes(found, QueryBundle(TYPED))) == scores(expected)
