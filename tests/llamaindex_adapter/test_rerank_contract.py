"""The contract of both postprocessors, after the tests of llama-index's own rerankers; KoCrossEncoderRerank's own.

The TEI reranker's tests: the order of the scores, top_n, the text that is sent by metadata mode, a missing query. The
ColPali reranker's: keeping the retrieval score, the class and its fields.
"""

import asyncio
import copy
import json
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from event_loop import assert_loop_stays_free
from llama_index.core import MockEmbedding, VectorStoreIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import ImageNode, MetadataMode, NodeWithScore, QueryBundle, TextNode

from korag import CrossEncoderReranker, LateInteractionEncoder, load_encoder
from korag.errors import CheckpointNotFoundError, InvalidArgumentError, InvalidTextError, WrongFamilyError
from korag.reranking.base import TextReranker
from llamaindex_korag import KoColBERTRerank, KoCrossEncoderRerank

QUERY = "보증금은 언제 돌려받나요?"
Made = type[KoColBERTRerank] | type[KoCrossEncoderRerank]


@pytest.fixture(scope="module", params=[KoColBERTRerank, KoCrossEncoderRerank])
def made(request: pytest.FixtureRequest) -> Made:
    kind: Made = request.param
    return kind


@pytest.fixture(scope="module")
def model(made: Made, colbert: LateInteractionEncoder, cross_encoder: CrossEncoderReranker) -> Any:
    return colbert if made is KoColBERTRerank else cross_encoder


@pytest.fixture(scope="module")
def rerank(made: Made, model: Any) -> Any:
    return made(model, top_n=100)


@pytest.fixture
def nodes(documents: list[str]) -> list[NodeWithScore]:
    return [
        NodeWithScore(node=TextNode(id_=f"노드-{index}", text=text, metadata={"쪽": index}), score=index / 10)
        for index, text in enumerate(documents)
    ]


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


class TestBoth:
    def test_is_a_postprocessor(self, made: Made) -> None:
        assert issubclass(made, BaseNodePostprocessor)
        assert made.class_name() == made.__name__
        schema = made.model_json_schema()
        assert schema["properties"]["class_name"]["default"] == made.__name__
        assert json.dumps(schema)

    def test_order_and_scores_of_the_scored_text(self, rerank: Any, nodes: list[NodeWithScore]) -> None:
        texts = [node.node.get_content(MetadataMode.EMBED) for node in nodes]
        expected = rerank._reranker.rerank(QUERY, texts)
        found = rerank.postprocess_nodes(nodes, query_str=QUERY)
        assert [(node.node.metadata["쪽"], node.score) for node in found] == expected
        assert [score for _, score in expected] == sorted((score for _, score in expected), reverse=True)

    @pytest.mark.parametrize(("top_n", "count"), [(0, 0), (1, 1), (8, 8), (1_000, 8)])
    def test_top_n(self, rerank: Any, nodes: list[NodeWithScore], top_n: int, count: int) -> None:
        changed = rerank.model_copy()
        changed.top_n = top_n
        everything = rerank.postprocess_nodes(nodes, query_str=QUERY)
        assert changed.postprocess_nodes(nodes, query_str=QUERY) == everything[:count]

    def test_five_by_default(self, made: Made, model: Any, nodes: list[NodeWithScore]) -> None:
        assert len(made(model).postprocess_nodes(nodes, query_str=QUERY)) == 5

    def test_metadata_mode_is_the_text_that_is_scored(self, made: Made, model: Any) -> None:
        node = TextNode(text="삼십 일 안에 지급한다.", metadata={"제목": "보증금 반환", "비밀": "도서관"})
        node.excluded_embed_metadata_keys = ["비밀"]
        for mode in MetadataMode:
            rerank = made(model, metadata_mode=mode)
            (found,) = rerank.postprocess_nodes([NodeWithScore(node=node)], query_str=QUERY)
            ((_, expected),) = rerank._reranker.rerank(QUERY, [node.get_content(mode)])
            assert found.score == expected

    def test_the_retrieval_score_is_kept_if_asked_for(self, made: Made, model: Any, nodes: list[NodeWithScore]) -> None:
        before = copy.deepcopy(nodes)
        keeping = made(model, keep_retrieval_score=True, top_n=8)
        found = keeping.postprocess_nodes(nodes, query_str=QUERY)
        by_id = {node.node.node_id: node for node in before}
        for node in found:
            assert node.node.metadata["retrieval_score"] == by_id[node.node.node_id].score
            assert node.node.get_content(MetadataMode.EMBED) == by_id[node.node.node_id].node.get_content(
                MetadataMode.EMBED
            )
        assert nodes == before
        plain = made(model, top_n=8).postprocess_nodes(nodes, query_str=QUERY)
        assert _scores(plain) == _scores(found)
        assert not any("retrieval_score" in node.node.metadata for node in plain)

    def test_new_objects_ties_and_untouched_nodes(self, rerank: Any, documents: list[str]) -> None:
        given = [NodeWithScore(node=TextNode(id_=str(i), text=documents[i % 2]), score=i) for i in range(6)]
        before = copy.deepcopy(given)
        found = rerank.postprocess_nodes(given, query_str=QUERY)
        order = [node.node.node_id for node in found]
        assert order in (["0", "2", "4", "1", "3", "5"], ["1", "3", "5", "0", "2", "4"])
        assert given == before
        assert not {id(node) for node in found} & {id(node) for node in given}

    async def test_no_query_no_nodes_no_text(self, rerank: Any, nodes: list[NodeWithScore], events: list[Any]) -> None:
        with pytest.raises(ValueError, match="query_str="):
            rerank.postprocess_nodes(nodes)
        with pytest.raises(ValueError, match="query_str="):
            await rerank.apostprocess_nodes(nodes)
        assert events == []
        assert rerank.postprocess_nodes([], query_str=QUERY) == []
        assert rerank.postprocess_nodes(nodes, query_str=" ") == []
        bare = [NodeWithScore(node=ImageNode(image="aGk=")), NodeWithScore(node=TextNode(text=" \n")), nodes[0]]
        assert [node.node.node_id for node in rerank.postprocess_nodes(bare, query_str=QUERY)] == ["노드-0"]

    async def test_bad_texts_are_errors_and_events_stay_balanced(
        self, made: Made, model: Any, nodes: list[NodeWithScore], events: list[Any]
    ) -> None:
        debug = LlamaDebugHandler(print_trace_on_end=False)
        rerank = made(model, callback_manager=CallbackManager([debug]))
        nodes[1] = NodeWithScore(node=TextNode(text="\ud800"))
        with pytest.raises(InvalidTextError, match=r"texts\[1\]"):
            rerank.postprocess_nodes(nodes, query_str=QUERY)
        with pytest.raises(InvalidTextError, match=r"texts\[1\]"):
            await rerank.apostprocess_nodes(nodes, query_str=QUERY)
        assert [type(event) for event in events] == [ReRankStartEvent, ReRankEndEvent] * 2
        assert len(debug.get_event_pairs(CBEventType.RERANKING)) == 2

    async def test_events_say_what_was_done(self, rerank: Any, nodes: list[NodeWithScore], events: list[Any]) -> None:
        found = await rerank.apostprocess_nodes(nodes, query_str=QUERY)
        start, end = events
        assert (start.query.query_str, start.top_n, start.model_name) == (QUERY, 100, rerank.model_name)
        assert start.nodes == nodes
        assert end.nodes == found

    async def test_async_is_the_same(self, rerank: Any, nodes: list[NodeWithScore]) -> None:
        found = await rerank.apostprocess_nodes(nodes, QueryBundle(QUERY))
        assert found == rerank.postprocess_nodes(nodes, query_str=QUERY)

    async def test_its_span_is_inside_the_callers_in_async_too(self, rerank: Any) -> None:
        """The work runs in another thread; without the context it would become a separate span."""
        dispatcher, handler = get_dispatcher(), SimpleSpanHandler()

        @dispatcher.span
        async def outer() -> Any:
            return await rerank.apostprocess_nodes([], query_str=QUERY)

        dispatcher.add_span_handler(handler)
        try:
            await outer()
        finally:
            dispatcher.span_handlers.remove(handler)
        spans = {span.id_: span.parent_id for span in handler.completed_spans}
        (inner,) = [id_ for id_ in spans if "_postprocess_nodes" in id_]
        assert spans[inner] is not None
        assert "outer" in spans[inner]
        assert handler.open_spans == {}

    @pytest.mark.slow
    async def test_hundreds_at_once_score_as_one_by_one(self, rerank: Any, nodes: list[NodeWithScore]) -> None:
        chooser = random.Random(3)
        queries = [f"보증금 {number} {'도서관 ' * (number % 4)}" for number in range(8)]
        calls = [(chooser.sample(nodes, 3), chooser.choice(queries)) for _ in range(200)]
        expected = {
            (query, tuple(node.node.node_id for node in given)): rerank.postprocess_nodes(given, query_str=query)
            for given, query in calls
        }
        results = await asyncio.gather(*(rerank.apostprocess_nodes(given, query_str=query) for given, query in calls))
        for found, (given, query) in zip(results, calls, strict=True):
            assert found == expected[query, tuple(node.node.node_id for node in given)]

    async def test_the_event_loop_stays_free(
        self, rerank: Any, nodes: list[NodeWithScore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await assert_loop_stays_free(
            monkeypatch, TextReranker, "rerank", lambda: rerank.apostprocess_nodes(nodes, query_str=QUERY)
        )

    async def test_in_a_query_engine(self, made: Made, model: Any, documents: list[str]) -> None:
        index = VectorStoreIndex(
            [TextNode(id_=str(number), text=text) for number, text in enumerate(documents)],
            embed_model=MockEmbedding(embed_dim=4),
        )
        rerank = made(model, top_n=2)
        engine = index.as_query_engine(
            llm=MockLLM(), similarity_top_k=8, node_postprocessors=[rerank, SimilarityPostprocessor()]
        )
        expected = rerank.postprocess_nodes(index.as_retriever(similarity_top_k=8).retrieve(QUERY), query_str=QUERY)
        for response in (engine.query(QUERY), await engine.aquery(QUERY)):
            assert response.source_nodes == expected

    @pytest.mark.slow
    def test_serialised_fields_round_trip(self, made: Made, model: Any, nodes: list[NodeWithScore]) -> None:
        rerank = made(model, top_n=8, metadata_mode=MetadataMode.NONE, keep_retrieval_score=True)
        expected = rerank.postprocess_nodes(nodes, query_str=QUERY)
        data = json.loads(rerank.to_json())
        assert data["class_name"] == made.__name__
        before = dict(data)
        for again in (
            made.from_dict(data),
            made.from_json(rerank.to_json()),
            pickle.loads(pickle.dumps(rerank)),  # noqa: S301
            copy.deepcopy(rerank),
            rerank.model_copy(),
        ):
            assert again.to_dict() == rerank.to_dict()
            assert again.postprocess_nodes(nodes, query_str=QUERY) == expected
        assert data == before
        assert len(pickle.dumps(rerank)) < 2_000

    FIRST = (9.0, 8.0, 7.0, 3.0, 2.0, 1.5, 1.0, 0.5)

    def _found(self, nodes: list[NodeWithScore]) -> list[NodeWithScore]:
        return [NodeWithScore(node=node.node, score=score) for node, score in zip(nodes, self.FIRST, strict=True)]

    def _expected(self, rerank: Any, nodes: list[NodeWithScore], **settings: Any) -> list[Any]:
        texts = [node.node.get_content(MetadataMode.EMBED) for node in nodes]
        return [(f"노드-{index}", score) for index, score in rerank._reranker.rerank(QUERY, texts, **settings)]

    def _ranked(self, rerank: Any, nodes: list[NodeWithScore]) -> list[Any]:
        return [(node.node.node_id, node.score) for node in rerank.postprocess_nodes(nodes, query_str=QUERY)]

    def test_the_score_of_the_retriever_is_fused_by_weight(
        self, made: Made, model: Any, rerank: Any, nodes: list[NodeWithScore]
    ) -> None:
        fusing = made(model, fuse_weight=0.3, top_n=8)
        first = list(self.FIRST)
        expected = self._expected(rerank, nodes, first_stage_scores=first, fuse_weight=0.3)
        assert self._ranked(fusing, self._found(nodes)) == expected
        assert self._ranked(made.from_dict(fusing.to_dict()), self._found(nodes)) == expected
        assert self._ranked(fusing, nodes) == self._expected(rerank, nodes, fuse_weight=0.3)  # their scores rise
        default = self._expected(rerank, nodes, first_stage_scores=first)
        assert self._ranked(rerank, self._found(nodes)) == default
        assert self._ranked(rerank, nodes) == self._expected(rerank, nodes)

    def test_threshold(self, made: Made, model: Any, rerank: Any, nodes: list[NodeWithScore]) -> None:
        everything = self._ranked(rerank, nodes)
        counts = []
        for step in range(21):
            kept = self._ranked(made(model, top_n=8, score_threshold=step / 20), nodes)
            assert kept == everything[: len(kept)]
            counts.append(len(kept))
        assert counts == sorted(counts, reverse=True)
        assert counts[0] == 8
        assert counts[-1] == 0
        assert set(counts) - {0, 8}
        again = made.from_dict(made(model, score_threshold=0.4).to_dict())
        assert again.score_threshold == 0.4
        for wrong in (-0.1, 1.1, "viel", 30, True):
            with pytest.raises(InvalidArgumentError, match=r"score_threshold=.*0과 1 사이"):
                made(model, score_threshold=wrong)  # type: ignore[arg-type]
            with pytest.raises(InvalidArgumentError, match="score_threshold="):
                made(model).score_threshold = wrong  # type: ignore[assignment]
            with pytest.raises(InvalidArgumentError, match=r"fuse_weight=.*0과 1 사이"):
                made(model, fuse_weight=-1)

    def test_wrong_fields(self, made: Made, model: Any) -> None:
        wrong: list[dict[str, Any]] = [
            {"topn": 3}, {"device": "cpu"}, {"top_n": -1}, {"top_n": None}, {"metadata_mode": "some"}, {"reranker": 1}
        ]  # fmt: skip
        for fields in wrong:
            with pytest.raises(InvalidArgumentError, match=next(iter(fields))):
                made(model, **fields)
        rerank = made(model)
        for name in ("model_name", "revision", "max_length"):
            with pytest.raises(InvalidArgumentError, match="frozen"):
                setattr(rerank, name, getattr(rerank, name))


class TestKoCrossEncoderRerank:
    def test_what_changes_scores_is_serialised(self, cross_encoder_folder: Path) -> None:
        assert KoCrossEncoderRerank(cross_encoder_folder).to_dict() == {
            "model_name": str(cross_encoder_folder),
            "revision": None,
            "max_length": 512,
            "top_n": 5,
            "metadata_mode": "embed",
            "keep_retrieval_score": False,
            "score_threshold": None,
            "fuse_weight": None,
            "class_name": "KoCrossEncoderRerank",
        }

    async def test_a_model_that_answers_yes_or_no(
        self, chat_cross_encoder_folder: Path, nodes: list[NodeWithScore]
    ) -> None:
        """Nodes and scores end to end: those of sentence-transformers, best first."""
        from sentence_transformers import CrossEncoder

        rerank = KoCrossEncoderRerank(chat_cross_encoder_folder, top_n=3, metadata_mode=MetadataMode.NONE)
        found = rerank.postprocess_nodes(nodes, query_str=QUERY)
        pairs = [(QUERY, node.node.get_content(MetadataMode.NONE)) for node in nodes]
        expected = CrossEncoder(str(chat_cross_encoder_folder), device="cpu").predict(pairs).tolist()
        assert [node.score for node in found] == pytest.approx(sorted(expected, reverse=True)[:3], abs=1e-5)
        again = KoCrossEncoderRerank.from_dict(json.loads(json.dumps(rerank.to_dict())))
        assert _scores(again.postprocess_nodes(nodes, query_str=QUERY)) == _scores(found)
        assert _scores(await rerank.apostprocess_nodes(nodes, query_str=QUERY)) == _scores(found)

    def test_no_threshold_for_scores_without_a_range(self, chat_cross_encoder_folder: Path) -> None:
        with pytest.raises(InvalidArgumentError, match="Identity"):
            KoCrossEncoderRerank(chat_cross_encoder_folder, score_threshold=0.5)
        rerank = KoCrossEncoderRerank(chat_cross_encoder_folder)
        with pytest.raises(InvalidArgumentError, match="Identity"):
            rerank.score_threshold = 0.5

    def test_a_length_of_ones_own_survives(self, cross_encoder_folder: Path, nodes: list[NodeWithScore]) -> None:
        short = KoCrossEncoderRerank(cross_encoder_folder, max_length=16, top_n=8)
        expected = short.postprocess_nodes(nodes, query_str=QUERY)
        assert expected != KoCrossEncoderRerank(cross_encoder_folder, top_n=8).postprocess_nodes(nodes, query_str=QUERY)
        assert KoCrossEncoderRerank.from_dict(short.to_dict()).postprocess_nodes(nodes, query_str=QUERY) == expected

    def test_a_loaded_model_and_other_settings(self, cross_encoder: CrossEncoderReranker) -> None:
        assert KoCrossEncoderRerank(cross_encoder, max_length=512)._reranker is cross_encoder
        for settings in ({"max_length": 5}, {"revision": "a"}):
            with pytest.raises(InvalidArgumentError, match=next(iter(settings))):
                KoCrossEncoderRerank(cross_encoder, **settings)  # type: ignore[arg-type]

    def test_pickles_hold_no_token_and_keep_how_the_model_is_run(self, cross_encoder_folder: Path) -> None:
        model = CrossEncoderReranker(cross_encoder_folder, token="hf_SECRET", dtype="bfloat16", batch_tokens=64)  # noqa: S106
        pickled = pickle.dumps(KoCrossEncoderRerank(model))
        assert b"SECRET" not in pickled
        assert pickle.loads(pickled)._reranker.options == model.options  # noqa: S301

    @pytest.mark.parametrize("name", ["mini-colbert", "mini-dense", "mini-splade"])
    def test_a_model_of_another_family(self, name: str) -> None:
        for wrong in (name, load_encoder(name)):
            with pytest.raises(WrongFamilyError, match="Use instead: korag"):
                KoCrossEncoderRerank(wrong)  # type: ignore[arg-type]

    def test_a_cross_encoder_in_another_slot(
        self, cross_encoder: CrossEncoderReranker, cross_encoder_folder: Path
    ) -> None:
        for model in (cross_encoder, cross_encoder_folder):
            with pytest.raises(WrongFamilyError, match="KoCrossEncoderRerank "):
                KoColBERTRerank(model)  # type: ignore[arg-type]

    def test_a_missing_model(self) -> None:
        with pytest.raises(CheckpointNotFoundError):
            KoCrossEncoderRerank("없는 모델")
