"""KoColBERTRerank: behind LlamaIndex's retrievers and query engines, in its events and its serialised form."""

import asyncio
import copy
import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_loop import assert_loop_stays_free
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, EventPayload, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.schema import ImageNode, IndexNode, MetadataMode, NodeWithScore, QueryBundle, TextNode

from korag import DenseEncoder, LateInteractionEncoder, Reranker, load_encoder, maxsim
from korag.errors import InvalidArgumentError, InvalidTextError, UnknownDimError, WrongFamilyError
from llamaindex_korag import KoColBERTRerank, KoCrossEncoderRerank

QUERY = "보증금은 언제 돌려받나요?"


@pytest.fixture(scope="module")
def rerank(colbert: LateInteractionEncoder) -> KoColBERTRerank:
    return KoColBERTRerank(colbert, top_n=100)


@pytest.fixture
def nodes(documents: list[str]) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(id_=f"노드-{index}", text=text, metadata={"쪽": index}), score=index / 10)
        for index, text in enumerate(documents)
    ]


@pytest.fixture(scope="module")
def index(documents: list[str]) -> VectorStoreIndex:
    """A real index whose mock embedding scores all nodes alike."""
    nodes = [TextNode(id_=f"노드-{number}", text=text) for number, text in enumerate(documents)]
    return VectorStoreIndex(nodes, embed_model=MockEmbedding(embed_dim=4))


@pytest.fixture
def events() -> Iterator[list[Any]]:
    """The rerank events of a test, in order."""
    seen: list[Any] = []

    class Handler(BaseEventHandler):
        def handle(self, event: Any, **_: Any) -> None:
            if isinstance(event, ReRankStartEvent | ReRankEndEvent):
                seen.append(event)

    dispatcher, handler = get_dispatcher(), Handler()
    dispatcher.add_event_handler(handler)
    yield seen
    dispatcher.event_handlers.remove(handler)


def _scores(nodes: list[NodeWithScore]) -> dict[str, float]:
    return {node.node.node_id: node.score or 0.0 for node in nodes}


class TestResults:
    def test_order_and_scores_are_those_of_maxsim(
        self, colbert: LateInteractionEncoder, nodes: list[NodeWithScore], documents: list[str]
    ) -> None:
        vectors = [tokens.astype(np.float16) for tokens in colbert.encode_documents(documents)]
        scores = maxsim(colbert.encode_queries([QUERY])[0], vectors)
        rerank = KoColBERTRerank(colbert, top_n=8, metadata_mode=MetadataMode.NONE)
        found = rerank.postprocess_nodes(nodes, query_str=QUERY)
        assert [node.node.metadata["쪽"] for node in found] == list(np.argsort(-scores, kind="stable"))
        for node in found:
            assert type(node.score) is float
            assert node.score == float(scores[node.node.metadata["쪽"]])
        assert found[0].node.node_id == "노드-0"

    def test_new_objects_and_untouched_callers_nodes(self, rerank: KoColBERTRerank, nodes: list[NodeWithScore]) -> None:
        before, given = copy.deepcopy(nodes), list(nodes)
        found = rerank.postprocess_nodes(nodes, query_str=QUERY)
        assert nodes == given == before
        assert not {id(node) for node in found} & {id(node) for node in nodes}
        by_id = {node.node.node_id: node.node for node in before}
        assert all(node.node == by_id[node.node.node_id] for node in found)

    @pytest.mark.parametrize(("top_n", "count"), [(0, 0), (1, 1), (5, 5), (8, 8), (1_000, 8)])
    def test_top_n(self, rerank: KoColBERTRerank, nodes: list[NodeWithScore], top_n: int, count: int) -> None:
        changed = rerank.model_copy()
        changed.top_n = top_n
        all_of_them = rerank.postprocess_nodes(nodes, query_str=QUERY)
        assert changed.postprocess_nodes(nodes, query_str=QUERY) == all_of_them[:count]

    def test_top_n_is_five_by_default(self, colbert: LateInteractionEncoder, nodes: list[NodeWithScore]) -> None:
        assert len(KoColBERTRerank(colbert).postprocess_nodes(nodes, query_str=QUERY)) == 5

    def test_permuted_input(self, rerank: KoColBERTRerank, nodes: list[NodeWithScore]) -> None:
        expected = _scores(rerank.postprocess_nodes(nodes, query_str=QUERY))
        for seed in range(5):
            mixed = random.Random(seed).sample(nodes, 6)
            found = rerank.postprocess_nodes(mixed, query_str=QUERY)
            assert _scores(found) == {node.node.node_id: expected[node.node.node_id] for node in mixed}
            assert [n.score for n in found] == sorted((n.score for n in found), key=lambda score: -(score or 0))

    def test_ties_keep_their_order(self, rerank: KoColBERTRerank, documents: list[str]) -> None:
        same = [NodeWithScore(node=TextNode(id_=str(i), text=documents[i % 2]), score=i) for i in range(6)]
        found = rerank.postprocess_nodes(same, query_str=QUERY)
        assert [node.node.node_id for node in found] == ["0", "2", "4", "1", "3", "5"]

    def test_the_former_score_is_not_kept_unless_asked_for(
        self, rerank: KoColBERTRerank, colbert: LateInteractionEncoder, nodes: list[NodeWithScore]
    ) -> None:
        before = copy.deepcopy(nodes)
        assert "retrieval_score" not in rerank.postprocess_nodes(nodes, query_str=QUERY)[0].node.metadata
        keeping = KoColBERTRerank(colbert, keep_retrieval_score=True, top_n=8)
        nodes.append(NodeWithScore(node=TextNode(id_="점수 없음", text="보증금")))
        found = {n.node.node_id: n.node for n in keeping.postprocess_nodes(nodes, query_str=QUERY)}
        assert {id_: node.metadata["retrieval_score"] for id_, node in found.items() if id_ != "점수 없음"} == {
            node.node.node_id: node.score for node in before if node.node.node_id in found
        }
        assert found["점수 없음"].metadata == {}
        assert nodes[:-1] == before

    def test_the_kept_score_reaches_neither_prompts_nor_embeddings(
        self, colbert: LateInteractionEncoder, nodes: list[NodeWithScore]
    ) -> None:
        keeping = KoColBERTRerank(colbert, keep_retrieval_score=True, top_n=8, fuse_weight=1)
        once = keeping.postprocess_nodes(nodes, query_str=QUERY)
        for mode in (MetadataMode.EMBED, MetadataMode.LLM):
            contents = {n.node.node_id: n.node.get_content(mode) for n in nodes}
            assert all(n.node.get_content(mode) == contents[n.node.node_id] for n in once)
        twice = keeping.postprocess_nodes(once, query_str=QUERY)
        assert _scores(twice) == _scores(once)
        assert twice[0].node.metadata["retrieval_score"] == once[0].score

    @pytest.mark.slow
    def test_metadata_mode_is_the_text_that_is_scored(self, colbert: LateInteractionEncoder) -> None:
        node = TextNode(text="삼십 일 안에 지급한다.", metadata={"제목": "보증금 반환", "비밀": "도서관"})
        node.excluded_embed_metadata_keys = ["비밀"]
        for mode in MetadataMode:
            rerank = KoColBERTRerank(colbert, metadata_mode=mode)
            (found,) = rerank.postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
            ((_, expected),) = Reranker(colbert).rerank(QUERY, [node.get_content(mode)])
            assert found.score == expected
        assert node.get_content(MetadataMode.EMBED) == "제목: 보증금 반환\n\n삼십 일 안에 지급한다."
        embedded, bare = (
            KoColBERTRerank(colbert, metadata_mode=mode).postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
            for mode in (MetadataMode.EMBED, MetadataMode.NONE)
        )
        assert (embedded[0].score or 0) > (bare[0].score or 0)

    def test_nodes_without_text_are_left_out(self, rerank: KoColBERTRerank) -> None:
        picture = ImageNode(id_="그림", image="aGk=")
        titled = TextNode(id_="제목만", text="", metadata={"제목": "보증금"})
        pointer = IndexNode(id_="색인", text="보증금 반환", index_id="다른 색인")
        given = [NodeWithScore(node=node) for node in (picture, TextNode(text=" \n"), titled, pointer)]
        found = rerank.postprocess_nodes(given, query_str="보증금")
        assert {node.node.node_id for node in found} == {"제목만", "색인"}
        assert isinstance({n.node.node_id: n.node for n in found}["색인"], IndexNode)

    def test_nothing_in_nothing_out(self, rerank: KoColBERTRerank, nodes: list[NodeWithScore]) -> None:
        assert rerank.postprocess_nodes([], query_str=QUERY) == []
        assert rerank.postprocess_nodes(nodes, query_str="") == []

    async def test_a_missing_query_is_an_error(self, rerank: KoColBERTRerank, nodes: list[NodeWithScore]) -> None:
        with pytest.raises(InvalidArgumentError, match="query_str="):
            rerank.postprocess_nodes(nodes)
        with pytest.raises(InvalidArgumentError, match="query_str="):
            await rerank.apostprocess_nodes(nodes)
        with pytest.raises(ValueError, match="both"):
            rerank.postprocess_nodes(nodes, QueryBundle("a"), "b")

    def test_query_bundle_and_string_are_the_same(self, rerank: KoColBERTRerank, nodes: list[NodeWithScore]) -> None:
        by_string = rerank.postprocess_nodes(nodes, query_str=QUERY)
        assert rerank.postprocess_nodes(nodes, QueryBundle(QUERY)) == by_string


class TestPlace:
    async def test_behind_a_retriever(self, rerank: KoColBERTRerank, index: VectorStoreIndex) -> None:
        retriever = index.as_retriever(similarity_top_k=8)
        found = rerank.postprocess_nodes(retriever.retrieve(QUERY), query_str=QUERY)
        assert found[0].node.node_id == "노드-0"
        again = await rerank.apostprocess_nodes(await retriever.aretrieve(QUERY), query_bundle=QueryBundle(QUERY))
        assert again == found

    async def test_in_a_query_engine(
        self, colbert: LateInteractionEncoder, index: VectorStoreIndex, documents: list[str]
    ) -> None:
        rerank = KoColBERTRerank(colbert, top_n=2)
        engine = index.as_query_engine(llm=MockLLM(), similarity_top_k=8, node_postprocessors=[rerank])
        for response in (engine.query(QUERY), await engine.aquery(QUERY)):
            assert response.source_nodes[0].node.node_id == "노드-0"
            assert len(response.source_nodes) == 2
            assert documents[0] in str(response)  # MockLLM answers with its prompt
            assert documents[2] not in str(response)

    def test_with_another_postprocessor(self, colbert: LateInteractionEncoder, index: VectorStoreIndex) -> None:
        cut = SimilarityPostprocessor(similarity_cutoff=1e9)
        engine = index.as_query_engine(
            llm=MockLLM(), similarity_top_k=8, node_postprocessors=[KoColBERTRerank(colbert), cut]
        )
        assert engine.query(QUERY).source_nodes == []

    @pytest.mark.slow
    async def test_hundreds_at_once_score_as_one_by_one(
        self, colbert: LateInteractionEncoder, nodes: list[NodeWithScore]
    ) -> None:
        chooser = random.Random(7)
        queries = [f"보증금 {number} {'도서관 ' * (number % 3)}" for number in range(12)]
        reference = KoColBERTRerank(colbert, top_n=100)
        expected = {query: _scores(reference.postprocess_nodes(nodes, query_str=query)) for query in queries}
        calls = [(chooser.sample(nodes, 4), chooser.choice(queries)) for _ in range(200)]
        cold = KoColBERTRerank(colbert)
        results = await asyncio.gather(*(cold.apostprocess_nodes(given, query_str=query) for given, query in calls))
        for found, (given, query) in zip(results, calls, strict=True):
            wanted = {node.node.node_id: expected[query][node.node.node_id] for node in given}
            assert _scores(found) == pytest.approx(wanted, abs=1e-2)  # which texts share a batch changes last bits
            assert [node.score for node in found] == sorted((n.score for n in found), key=lambda s: -(s or 0))

    async def test_the_event_loop_is_not_blocked(
        self, rerank: KoColBERTRerank, nodes: list[NodeWithScore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await assert_loop_stays_free(
            monkeypatch, Reranker, "rerank", lambda: rerank.apostprocess_nodes(nodes, query_str=QUERY)
        )


class TestEvents:
    async def test_every_start_has_its_end(
        self, rerank: KoColBERTRerank, nodes: list[NodeWithScore], events: list[Any]
    ) -> None:
        found = rerank.postprocess_nodes(nodes, query_str=QUERY)
        start, end = events
        assert isinstance(start, ReRankStartEvent)
        assert isinstance(start.query, QueryBundle)
        assert (start.query.query_str, start.top_n, start.model_name) == (QUERY, 100, "mini-colbert")
        assert start.nodes == nodes
        assert isinstance(end, ReRankEndEvent)
        assert end.nodes == found
        await rerank.apostprocess_nodes(nodes, query_str=QUERY)
        rerank.postprocess_nodes([], query_str=QUERY)
        assert [type(event) for event in events] == [ReRankStartEvent, ReRankEndEvent] * 3

    def test_in_a_failure_too(
        self, colbert: LateInteractionEncoder, nodes: list[NodeWithScore], events: list[Any]
    ) -> None:
        debug = LlamaDebugHandler(print_trace_on_end=False)
        rerank = KoColBERTRerank(colbert, callback_manager=CallbackManager([debug]))
        nodes[1] = NodeWithScore(node=TextNode(text="\ud800"))
        with pytest.raises(InvalidTextError, match=r"texts\[1\]"):
            rerank.postprocess_nodes(nodes, query_str=QUERY)
        assert [type(event) for event in events] == [ReRankStartEvent, ReRankEndEvent]
        assert events[1].nodes == []
        ((start, end),) = debug.get_event_pairs(CBEventType.RERANKING)
        assert start.id_ == end.id_
        assert isinstance((end.payload or {})[EventPayload.EXCEPTION], InvalidTextError)

    def test_a_missing_query_starts_nothing(
        self, rerank: KoColBERTRerank, nodes: list[NodeWithScore], events: list[Any]
    ) -> None:
        with pytest.raises(InvalidArgumentError):
            rerank.postprocess_nodes(nodes)
        assert events == []

    async def test_callback_manager(self, colbert: LateInteractionEncoder, index: VectorStoreIndex) -> None:
        debug = LlamaDebugHandler(print_trace_on_end=False)
        rerank = KoColBERTRerank(colbert, top_n=2)
        retriever = index.as_retriever(similarity_top_k=8)
        retriever.callback_manager = CallbackManager([debug])
        from llama_index.core.query_engine import RetrieverQueryEngine

        # The engine puts its own callback manager into its postprocessors.
        engine = RetrieverQueryEngine.from_args(
            retriever, llm=MockLLM(), node_postprocessors=[rerank], callback_manager=retriever.callback_manager
        )
        engine.query(QUERY)
        await engine.aquery(QUERY)
        pairs = debug.get_event_pairs(CBEventType.RERANKING)
        assert len(pairs) == 2
        for start, end in pairs:
            payload = start.payload or {}
            assert payload[EventPayload.QUERY_STR] == QUERY
            assert payload[EventPayload.TOP_K] == 2
            assert payload[EventPayload.MODEL_NAME] == "mini-colbert"
            assert len(payload[EventPayload.NODES]) == 8
            assert len((end.payload or {})[EventPayload.NODES]) == 2


class TestFields:
    def test_what_changes_scores_is_serialised(self) -> None:
        assert KoColBERTRerank("mini-colbert").to_dict() == {
            "model_name": "mini-colbert",
            "revision": None,
            "dim": 128,
            "query_prompt": "[Q] ",
            "document_prompt": "[D] ",
            "max_length": 512,
            "query_length": None,
            "top_n": 5,
            "metadata_mode": "embed",
            "keep_retrieval_score": False,
            "score_threshold": None,
            "fuse_weight": None,
            "class_name": "KoColBERTRerank",
        }

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "settings",
        [{}, {"dim": 32}, {"query_prompt": ""}, {"document_prompt": "글: "}, {"max_length": 9}, {"query_length": 9}],
        ids=lambda settings: str(settings),
    )
    def test_round_trip_gives_the_same_scores(self, nodes: list[NodeWithScore], settings: dict[str, Any]) -> None:
        encoder = load_encoder("mini-colbert", **settings)
        assert isinstance(encoder, LateInteractionEncoder)
        rerank = KoColBERTRerank(encoder, top_n=8, metadata_mode=MetadataMode.NONE)
        expected = rerank.postprocess_nodes(nodes, query_str=QUERY)
        data = rerank.to_dict()
        before = dict(data)
        for again in (
            KoColBERTRerank.from_dict(data),
            KoColBERTRerank.from_json(rerank.to_json()),
            KoColBERTRerank.model_validate({k: v for k, v in data.items() if k != "class_name"}),
            KoColBERTRerank("mini-colbert", top_n=8, metadata_mode=MetadataMode.NONE, **settings),
            pickle.loads(pickle.dumps(rerank)),  # noqa: S301
            copy.deepcopy(rerank),
            rerank.model_copy(),
        ):
            assert again.to_dict() == data
            assert again.postprocess_nodes(nodes, query_str=QUERY) == expected
        assert data == before
        assert KoColBERTRerank.from_dict(data, top_n=1).top_n == 1

    def test_a_path_is_serialised_whole(
        self, colbert: LateInteractionEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        colbert.save(tmp_path / "model")
        monkeypatch.chdir(tmp_path)
        data = KoColBERTRerank(Path("model")).to_dict()
        assert data["model_name"] == str(tmp_path / "model")
        monkeypatch.chdir("/")
        assert KoColBERTRerank.from_dict(data).to_dict() == data

    @pytest.mark.slow
    def test_pickle_is_small_and_keeps_how_the_model_is_run(self, nodes: list[NodeWithScore]) -> None:
        encoder = load_encoder("mini-colbert", device="cpu", dtype="bfloat16", batch_tokens=64, token="hf_SECRET")  # noqa: S106
        assert isinstance(encoder, LateInteractionEncoder)

        class Stubborn(LlamaDebugHandler):
            def __reduce__(self) -> Any:
                raise TypeError("cannot be pickled")

        manager = CallbackManager([Stubborn(print_trace_on_end=False)])
        rerank = KoColBERTRerank(encoder, top_n=2, callback_manager=manager)
        expected = rerank.postprocess_nodes(nodes, query_str=QUERY)
        pickled = pickle.dumps(rerank)
        assert len(pickled) < 2_000
        assert b"SECRET" not in pickled
        assert rerank.callback_manager is manager  # LlamaIndex's own pickling would have removed it
        again = pickle.loads(pickled)  # noqa: S301
        assert again._reranker.encoder._options == encoder._options
        assert again.callback_manager.handlers == []
        assert again.postprocess_nodes(nodes, query_str=QUERY) == expected

    def test_copies_share_the_model(self, rerank: KoColBERTRerank, colbert: LateInteractionEncoder) -> None:
        for copied in (rerank.model_copy(), copy.copy(rerank), copy.deepcopy(rerank)):
            assert copied._reranker.encoder is colbert

    def test_a_loaded_encoder_and_other_settings(self, colbert: LateInteractionEncoder) -> None:
        assert KoColBERTRerank(colbert, dim=128, query_prompt="[Q] ").dim == 128
        for settings in (
            {"dim": 64},
            {"query_prompt": ""},
            {"document_prompt": "x"},
            {"max_length": 5},
            {"query_length": 5},
            {"revision": "a"},
        ):
            with pytest.raises(InvalidArgumentError, match=next(iter(settings))):
                KoColBERTRerank(colbert, **settings)  # type: ignore[arg-type]

    def test_an_extra_keyword_is_an_error(self, colbert: LateInteractionEncoder) -> None:
        for wrong in ({"topn": 3}, {"device": "cpu"}, {"model": "mini-colbert"}):
            with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
                KoColBERTRerank(colbert, **wrong)
        for cls in (KoColBERTRerank, KoCrossEncoderRerank):
            with pytest.raises(InvalidArgumentError, match="Did you mean model_name"):
                cls(encoder="mini-colbert")  # not an error about the default model, which may not be there
        with pytest.raises(InvalidArgumentError, match="topn"):
            KoColBERTRerank.from_dict({**KoColBERTRerank(colbert).to_dict(), "topn": 3})

    def test_wrong_values(self, colbert: LateInteractionEncoder) -> None:
        for wrong in ({"top_n": -1}, {"top_n": None}, {"metadata_mode": "some"}):
            with pytest.raises(InvalidArgumentError):
                KoColBERTRerank(colbert, **wrong)  # type: ignore[arg-type]
        with pytest.raises(UnknownDimError, match="32, 64, 96, 128"):
            KoColBERTRerank("mini-colbert", dim=100)

    def test_assignment(self, colbert: LateInteractionEncoder) -> None:
        rerank = KoColBERTRerank(colbert)
        rerank.top_n = 1
        rerank.metadata_mode = MetadataMode.NONE
        with pytest.raises(InvalidArgumentError):
            rerank.top_n = -1
        for name in ("model_name", "dim", "query_prompt", "document_prompt", "max_length", "query_length", "revision"):
            with pytest.raises(InvalidArgumentError, match="frozen"):
                setattr(rerank, name, getattr(rerank, name))

    def test_a_model_of_another_family(self, dense: DenseEncoder) -> None:
        for model in ("mini-dense", "mini-splade", dense):
            with pytest.raises(WrongFamilyError, match=r"korag\.(Dense|Sparse)Encoder"):
                KoColBERTRerank(model)  # type: ignore[arg-type]

    def test_schema_and_names(self) -> None:
        schema = KoColBERTRerank.model_json_schema()
        assert schema["properties"]["class_name"]["default"] == KoColBERTRerank.class_name() == "KoColBERTRerank"
        assert json.dumps(schema)
        assert schema["properties"].keys() >= {"model_name", "dim", "top_n", "metadata_mode"}
