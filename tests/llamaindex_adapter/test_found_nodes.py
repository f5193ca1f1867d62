"""Results of retrievers and rerankers: the nodes as they were added, with what is known about how they were found."""

import copy
import json
import pickle
from typing import Any

import pytest
from llama_index.core.llms import MockLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever, QueryFusionRetriever, RecursiveRetriever, RouterRetriever
from llama_index.core.retrievers.fusion_retriever import FUSION_MODES
from llama_index.core.schema import (
    Document,
    ImageNode,
    IndexNode,
    MetadataMode,
    NodeWithScore,
    QueryBundle,
    TextNode,
)
from llama_index.core.selectors import LLMSingleSelector
from llama_index.core.tools import RetrieverTool
from llama_index.core.workflow import Context, JsonSerializer, StartEvent, StopEvent, Workflow, step

from korag import LateInteractionEncoder
from llamaindex_korag import FoundNode, KoBM25Retriever, KoColBERTRerank, KoColBERTRetriever

MEANT, TYPED = "보증금은 언제 돌려받나요?", "qhwmdrmadms djswp ehffuqkeskdy?"


@pytest.fixture(scope="module")
def nodes(documents: list[str]) -> list[TextNode]:
    return [TextNode(id_=f"노드-{index}", text=text, metadata={"쪽": index}) for index, text in enumerate(documents)]


@pytest.fixture(scope="module")
def retriever(nodes: list[TextNode], colbert: LateInteractionEncoder) -> KoColBERTRetriever:
    return KoColBERTRetriever.from_defaults(nodes, model_name=colbert, similarity_top_k=4)


def ids(found: list[NodeWithScore]) -> list[str]:
    return [one.node_id for one in found]


def test_a_node_is_the_same_whatever_the_query(retriever: KoColBERTRetriever, nodes: list[TextNode]) -> None:
    typed, meant = retriever.retrieve(TYPED), retriever.retrieve(MEANT)
    hashes = {node.node_id: node.hash for node in nodes}
    for found in (typed, meant):
        assert all(one.node.hash == hashes[one.node_id] for one in found)
        assert all(type(one) is FoundNode for one in found)
    assert [one.node for one in typed] == [one.node for one in meant]
    assert {one.rewritten_query for one in typed if isinstance(one, FoundNode)} == {MEANT}
    assert {one.rewritten_query for one in meant if isinstance(one, FoundNode)} == {None}
    hits = retriever.collection.search(MEANT, k=4)
    assert [getattr(one, "relevance", None) for one in meant] == [hit.relevance for hit in hits]


@pytest.mark.parametrize("mode", list(FUSION_MODES))
async def test_fused_queries_list_a_node_once(
    retriever: KoColBERTRetriever, mode: FUSION_MODES, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused = QueryFusionRetriever([retriever], llm=MockLLM(), num_queries=3, similarity_top_k=20, mode=mode)
    monkeypatch.setattr(fused, "_get_queries", lambda _: [QueryBundle(MEANT), QueryBundle("보증금 반환")])
    found = fused.retrieve(TYPED)
    assert len(ids(found)) == len(set(ids(found)))
    assert {*ids(retriever.retrieve(MEANT))} <= {*ids(found)}


def test_routed_and_recursive_results(retriever: KoColBERTRetriever) -> None:
    tools = [RetrieverTool.from_defaults(retriever, description=str(number)) for number in (1, 2)]
    chosen: list[BaseRetriever] = [
        RouterRetriever(LLMSingleSelector.from_defaults(llm=_Choosing()), tools, llm=MockLLM()),
        RecursiveRetriever("뿌리", retriever_dict={"뿌리": retriever}),
    ]
    for outer in chosen:
        found = outer.retrieve(TYPED)
        assert ids(found) == ids(retriever.retrieve(MEANT))
        assert {getattr(one, "rewritten_query", None) for one in found} == {MEANT}


class _Choosing(MockFunctionCallingLLM):
    """Always chooses the first tool."""

    def predict(self, *_: Any, **__: Any) -> str:
        return '[{"choice": 1, "reason": "처음"}]'


def test_an_index_node_hands_on_what_its_retriever_found(retriever: KoColBERTRetriever) -> None:
    pointer = IndexNode(text="보증금 안내", index_id="안내", obj=retriever)
    found = KoBM25Retriever.from_defaults([pointer]).retrieve(TYPED)
    assert ids(found) == ids(retriever.retrieve(MEANT))
    assert all(isinstance(one, FoundNode) and one.rewritten_query == MEANT for one in found)


def test_prompts_are_those_of_the_repaired_query_typed_out(retriever: KoColBERTRetriever) -> None:
    engine = RetrieverQueryEngine.from_args(retriever, llm=MockLLM())
    typed, meant = engine.query(TYPED), engine.query(MEANT)
    assert str(typed).replace(TYPED, MEANT) == str(meant)
    assert all(isinstance(one, FoundNode) for one in typed.source_nodes)
    for mode in MetadataMode:
        assert [one.get_content(mode) for one in typed.source_nodes] == [
            one.get_content(mode) for one in meant.source_nodes
        ]


def test_a_cutoff_is_one_of_scores(retriever: KoColBERTRetriever) -> None:
    found = retriever.retrieve(MEANT)
    middle = (found[1].get_score() + found[2].get_score()) / 2
    assert SimilarityPostprocessor(similarity_cutoff=middle).postprocess_nodes(found) == found[:2]


@pytest.mark.parametrize(
    "node",
    [
        TextNode(text="글", metadata={"쪽": 1}),
        Document(text="문서", doc_id="문서"),
        ImageNode(text="그림 설명", image="aGVsbG8="),
        IndexNode(text="요약", index_id="절"),
    ],
)
def test_serialised_and_restored(node: Any) -> None:
    found = FoundNode(node=node, score=0.5, rewritten_query=MEANT, span=(0, 1), relevance=0.25)
    dumped = json.loads(json.dumps(found.to_dict()))
    assert dumped["class_name"] == "FoundNode"
    serializer = JsonSerializer()
    for restored in (
        FoundNode.from_dict(dumped),
        pickle.loads(pickle.dumps(found)),  # noqa: S301
        copy.deepcopy(found),
        serializer.deserialize(serializer.serialize([found]))[0],
    ):
        assert restored == found
        assert type(restored.node) is type(node)
        assert restored.node.hash == node.hash


async def test_in_a_workflow_context(retriever: KoColBERTRetriever) -> None:
    class Flow(Workflow):
        @step
        async def search(self, ctx: Context, event: StartEvent) -> StopEvent:
            await ctx.store.set("found", await retriever.aretrieve(event.query))
            return StopEvent(result="끝")

    flow = Flow()
    context = Context(flow)
    await flow.run(query=TYPED, ctx=context)
    restored = Context.from_dict(flow, json.loads(json.dumps(context.to_dict())))
    assert await restored.store.get("found") == retriever.retrieve(TYPED)


def test_the_span_is_a_place_in_the_nodes_own_text(colbert: LateInteractionEncoder) -> None:
    filler = "관리 사무소는 평일 오전 아홉 시에 문을 연다. " * 60
    text = f"{filler}보증금은 이사 나가는 날 돌려준다. {filler}"
    long = TextNode(text=text, metadata={"제목": "관리 규약 안내 " * 5})
    (found,) = KoColBERTRetriever.from_defaults([long], model_name=colbert, window=64).retrieve(MEANT)
    assert isinstance(found, FoundNode)
    assert found.span is not None
    assert found.passage == text[slice(*found.span)]
    assert "보증금은 이사 나가는 날" in found.passage
    assert len(found.passage) < len(text) / 4
    (short,) = KoBM25Retriever.from_defaults([TextNode(text="보증금 안내")]).retrieve("보증금")
    assert isinstance(short, FoundNode)
    assert (short.span, short.passage) == (None, "보증금 안내")


class TestReranked:
    def test_scored_by_the_repaired_query_and_still_known_as_such(
        self, retriever: KoColBERTRetriever, colbert: LateInteractionEncoder
    ) -> None:
        rerank = KoColBERTRerank(colbert, top_n=3)
        found = rerank.postprocess_nodes(retriever.retrieve(TYPED), query_str=TYPED)
        expected = rerank.postprocess_nodes(retriever.retrieve(MEANT), query_str=MEANT)
        assert [(one.node, one.score) for one in found] == [(one.node, one.score) for one in expected]
        first = {one.node_id: one for one in retriever.retrieve(TYPED)}
        for one in found:
            assert isinstance(one, FoundNode)
            assert one.rewritten_query == MEANT
            assert one.relevance == getattr(first[one.node_id], "relevance", None)

    def test_metadata_that_only_looks_like_ours_changes_nothing(
        self, colbert: LateInteractionEncoder, documents: list[str]
    ) -> None:
        rerank = KoColBERTRerank(colbert, metadata_mode=MetadataMode.NONE)
        plain = [NodeWithScore(node=TextNode(id_=text, text=text)) for text in documents]
        own = [
            NodeWithScore(node=TextNode(id_=text, text=text, metadata={"rewritten_query": "도서관"}))
            for text in documents
        ]
        assert [(one.node_id, one.score) for one in rerank.postprocess_nodes(own, query_str=MEANT)] == [
            (one.node_id, one.score) for one in rerank.postprocess_nodes(plain, query_str=MEANT)
        ]

    async def test_a_node_given_twice_counts_once(self, colbert: LateInteractionEncoder, nodes: list[TextNode]) -> None:
        rerank = KoColBERTRerank(colbert, top_n=100, fuse_weight=0.5, keep_retrieval_score=True)
        once = [NodeWithScore(node=node, score=1 - index / 10) for index, node in enumerate(nodes)]
        worse = [NodeWithScore(node=node, score=0.05) for node in nodes[:3]]
        given = [*once, *worse]
        before = copy.deepcopy(given)
        expected = rerank.postprocess_nodes(once, query_str=MEANT)
        assert rerank.postprocess_nodes(given, query_str=MEANT) == expected
        assert await rerank.apostprocess_nodes(given, query_str=MEANT) == expected
        assert given == before

    def test_the_best_score_of_several_is_the_one_that_counts(
        self, colbert: LateInteractionEncoder, nodes: list[TextNode]
    ) -> None:
        rerank = KoColBERTRerank(colbert, top_n=1, keep_retrieval_score=True)
        same = [NodeWithScore(node=nodes[0], score=score) for score in (None, 0.25, 0.75, 0.5)]
        (found,) = rerank.postprocess_nodes(same, query_str=MEANT)
        assert found.node.metadata["retrieval_score"] == 0.75

    def test_ids_are_the_same_in_either_form_of_unicode(self, colbert: LateInteractionEncoder) -> None:
        both = [NodeWithScore(node=TextNode(id_=id_, text="보증금 안내")) for id_ in ("가", "\u1100\u1161")]
        assert ids(KoColBERTRerank(colbert).postprocess_nodes(both, query_str=MEANT)) == ["가"]
