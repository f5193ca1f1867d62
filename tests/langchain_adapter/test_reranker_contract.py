"""The contract of all rerankers with LangChain, and the tests of KoCrossEncoderReranker.

LangChain has no suite for document compressors. Elsewhere scores were zipped to documents in another order, ids were
dropped, the caller's metadata was written to, scores were left out, and ties were broken by chance.
"""

import asyncio
import copy
import json
import pickle
import random
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import identity_cross_encoder
from event_loop import assert_loop_stays_free
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_classic.retrievers.document_compressors import DocumentCompressorPipeline
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentTransformer, Document

from korag import CrossEncoderReranker, LateInteractionEncoder, load_encoder
from korag.errors import (
    CheckpointError,
    CheckpointNotFoundError,
    InvalidArgumentError,
    InvalidTextError,
    WrongFamilyError,
)
from korag.reranking.base import TextReranker
from langchain_korag import KoColBERTReranker, KoColBERTRetriever, KoCrossEncoderReranker
from langchain_korag.rerankers import DocumentReranker

QUERY = "보증금은 언제 돌려받나요?"


@pytest.fixture(scope="module", params=["colbert", "cross_encoder"])
def reranker(
    request: pytest.FixtureRequest, colbert: LateInteractionEncoder, cross_encoder: CrossEncoderReranker
) -> Any:
    if request.param == "colbert":
        return KoColBERTReranker(model=colbert, top_n=None, score_key="relevance_score")
    return KoCrossEncoderReranker(model=cross_encoder, top_n=None, score_key="relevance_score")


@pytest.fixture(scope="module")
def expected(reranker: DocumentReranker, documents: list[str]) -> dict[str, float]:
    """The score of each text."""
    return {documents[index]: score for index, score in reranker._text_reranker().rerank(QUERY, documents)}


@pytest.fixture
def passages(documents: list[str]) -> list[Document]:
    return [
        Document(
            id=f"문서-{index}", page_content=text, metadata={"쪽": index, "표": [index], "relevance_score": "옛것"}
        )
        for index, text in enumerate(documents)
    ]


def _scores(documents: list[Document]) -> list[float]:
    return [document.metadata["relevance_score"] for document in documents]


class TestEveryReranker:
    @pytest.mark.slow
    @given(data=st.data())
    @settings(max_examples=12, deadline=None)
    def test_each_score_is_its_own_documents_under_any_permutation(
        self, reranker: DocumentReranker, expected: dict[str, float], data: st.DataObject
    ) -> None:
        texts = data.draw(st.permutations(list(expected)))
        repeated = data.draw(st.lists(st.sampled_from(texts), max_size=4))
        given_ = [Document(id=str(number), page_content=text) for number, text in enumerate([*texts, *repeated])]
        found = reranker.compress_documents(given_, QUERY)
        wanted = sorted(given_, key=lambda document: (-expected[document.page_content], int(document.id or "")))
        assert [(document.id, document.page_content) for document in found] == [
            (document.id, document.page_content) for document in wanted
        ]
        assert _scores(found) == [expected[document.page_content] for document in found]

    def test_copies_keep_ids_and_metadata_and_nothing_of_the_callers_changes(
        self, reranker: DocumentReranker, passages: list[Document]
    ) -> None:
        before, given_ = copy.deepcopy(passages), list(passages)
        found = reranker.compress_documents(passages, QUERY)
        assert passages == given_ == before
        by_id = {document.id: document for document in passages}
        for document in found:
            original = by_id[document.id]
            assert document is not original
            assert document.metadata is not original.metadata
            assert type(document.metadata["relevance_score"]) is float
            assert document.metadata | {"relevance_score": "옛것"} == original.metadata
            assert document.page_content == original.page_content

    @pytest.mark.slow
    @pytest.mark.parametrize(("top_n", "count"), [(None, 8), (0, 0), (1, 1), (7, 7), (8, 8), (10**9, 8)])
    def test_top_n_is_the_head_of_all(
        self, reranker: DocumentReranker, passages: list[Document], top_n: int | None, count: int
    ) -> None:
        fewer = reranker.model_copy(update={"top_n": top_n})
        assert fewer.compress_documents(passages, QUERY) == reranker.compress_documents(passages, QUERY)[:count]

    def test_ties_and_duplicates_keep_their_order(self, reranker: DocumentReranker, documents: list[str]) -> None:
        """Equal texts are separate documents with their own ids, and their scores are equal to the last bit."""
        padded = [documents[0], *documents, documents[0] * 3, documents[0]]
        given_ = [Document(id=str(number), page_content=text) for number, text in enumerate(padded)]
        found = reranker.compress_documents(given_, QUERY)
        same = [document for document in found if document.page_content == documents[0]]
        assert [document.id for document in same] == ["0", "1", "10"]
        assert len(set(_scores(same))) == 1

    def test_empty_documents_empty_queries_and_nothing_at_all(
        self, reranker: DocumentReranker, passages: list[Document]
    ) -> None:
        mixed = [Document(page_content=" \n"), passages[0], Document(page_content="\u200b", id="빈"), passages[1]]
        assert {document.id for document in reranker.compress_documents(mixed, QUERY)} == {"문서-0", "문서-1"}
        assert reranker.compress_documents([], QUERY) == []
        assert reranker.compress_documents(passages, "") == []

    @pytest.mark.slow
    def test_threshold(self, reranker: DocumentReranker, passages: list[Document]) -> None:
        everything = reranker.compress_documents(passages, QUERY)
        assert reranker.model_copy(update={"score_threshold": 0.0}).compress_documents(passages, QUERY) == everything
        assert reranker.model_copy(update={"score_threshold": 1.0}).compress_documents(passages, QUERY) == []
        counts = []
        for step in range(41):
            kept = reranker.model_copy(update={"score_threshold": step / 40}).compress_documents(passages, QUERY)
            assert kept == everything[: len(kept)]
            counts.append(len(kept))
        assert counts == sorted(counts, reverse=True)
        assert set(counts) - {0, len(everything)}  # some threshold keeps a part
        for wrong in (-0.1, 1.1, "viel", 30):
            with pytest.raises(InvalidArgumentError):
                type(reranker)(model=reranker.model, score_threshold=wrong)  # type: ignore[attr-defined]
        assigned = reranker.model_copy()
        with pytest.raises(InvalidArgumentError):
            assigned.score_threshold = 2

    def test_normalization_forms_score_alike_and_come_back_as_given(
        self, reranker: DocumentReranker, passages: list[Document]
    ) -> None:
        decomposed = [
            document.model_copy(update={"page_content": unicodedata.normalize("NFD", document.page_content)})
            for document in passages
        ]
        found = reranker.compress_documents(decomposed, unicodedata.normalize("NFD", QUERY))
        expected = reranker.compress_documents(passages, QUERY)
        assert [(d.id, d.metadata) for d in found] == [(d.id, d.metadata) for d in expected]
        assert all(unicodedata.is_normalized("NFD", document.page_content) for document in found)

    async def test_bad_input_is_a_clear_error(self, reranker: DocumentReranker, passages: list[Document]) -> None:
        wrong: list[tuple[Any, Any, str]] = [
            (passages, None, "query"),
            (passages, ["보증금"], "query"),
            (passages, "\ud800", "query"),
            ([passages[0], "문자열"], QUERY, r"documents\[1\]"),
            (passages[0], QUERY, "documents"),
            ([passages[0], Document(page_content="앞\udcffx")], QUERY, r"texts\[1\]"),
        ]
        before = copy.deepcopy(passages)
        for given_, query, place in wrong:
            with pytest.raises(InvalidTextError, match=place):
                reranker.compress_documents(given_, query)
            with pytest.raises(InvalidTextError, match=place):
                await reranker.acompress_documents(given_, query)
        assert passages == before

    @pytest.mark.slow
    def test_odd_texts_are_scored(self, reranker: DocumentReranker, passages: list[Document]) -> None:
        odd = [
            Document(id="NUL", page_content="보증금\0반환"),
            Document(id="큰 것", page_content="보증금 반환 " * 65_000),
        ]
        assert len(odd[1].page_content.encode()) > 10**6
        found = reranker.compress_documents([*odd, passages[0]], QUERY)
        assert {document.id for document in found} == {"NUL", "큰 것", "문서-0"}

    def test_fields(self, reranker: DocumentReranker) -> None:
        made: Any = type(reranker)
        for wrong in ({"topn": 3}, {"top_n": -1}, {"top_n": "viel"}, {"score_key": 1}, {"callbacks": None}):
            with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
                made(model=reranker.model, **wrong)  # type: ignore[attr-defined]
        assert made(model=reranker.model).top_n == 3  # type: ignore[attr-defined]

    async def test_async_gives_the_same(self, reranker: DocumentReranker, passages: list[Document]) -> None:
        expected = reranker.compress_documents(passages, QUERY)
        assert await reranker.acompress_documents(passages, QUERY) == expected
        assert await reranker.acompress_documents(documents=passages, query=QUERY, callbacks=None) == expected

    @pytest.mark.slow
    async def test_64_at_once_are_64_one_by_one(self, reranker: DocumentReranker, passages: list[Document]) -> None:
        chooser = random.Random(11)
        queries = [
            f"{word} {'안내 ' * (number % 5)}" for number, word in enumerate(["보증금", "휴관일", "환불", "연차"])
        ]
        calls = [(chooser.sample(passages, 5), chooser.choice(queries)) for _ in range(64)]
        one_by_one = [reranker.compress_documents(*call) for call in calls]
        together = await asyncio.gather(*(reranker.acompress_documents(*call) for call in calls))
        with ThreadPoolExecutor(8) as pool:
            threads = list(pool.map(lambda call: reranker.compress_documents(*call), calls))
        assert list(together) == threads == one_by_one

    async def test_the_event_loop_stays_free(
        self, reranker: DocumentReranker, passages: list[Document], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await assert_loop_stays_free(
            monkeypatch, TextReranker, "rerank", lambda: reranker.acompress_documents(passages, QUERY)
        )

    async def test_a_cancelled_call_leaves_nothing_broken(
        self, reranker: DocumentReranker, passages: list[Document]
    ) -> None:
        expected = reranker.compress_documents(passages, QUERY)
        calls = [asyncio.ensure_future(reranker.acompress_documents(passages, QUERY)) for _ in range(8)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [result for result in results if not isinstance(result, asyncio.CancelledError)] == [expected] * 4
        assert await reranker.acompress_documents(passages, QUERY) == expected

    @pytest.mark.slow
    def test_pickle_and_deepcopy(self, reranker: DocumentReranker, passages: list[Document]) -> None:
        expected = reranker.compress_documents(passages, QUERY)
        pickled = pickle.dumps(reranker)
        assert len(pickled) < 3_000
        for copied in (pickle.loads(pickled), copy.deepcopy(reranker), copy.copy(reranker)):  # noqa: S301
            assert copied.compress_documents(passages, QUERY) == expected
        assert copy.deepcopy(reranker).model is reranker.model  # type: ignore[attr-defined]

    async def test_in_a_contextual_compression_retriever(
        self, reranker: DocumentReranker, colbert: LateInteractionEncoder, passages: list[Document]
    ) -> None:
        base = KoColBERTRetriever.from_documents(passages, model=colbert, k=8)
        retriever = ContextualCompressionRetriever(base_retriever=base, base_compressor=reranker)
        expected = reranker.compress_documents(base.invoke(QUERY), QUERY)
        assert retriever.invoke(QUERY) == expected
        assert await retriever.ainvoke(QUERY) == expected
        assert await retriever.abatch([QUERY] * 5, {"max_concurrency": 2}) == [expected] * 5

    async def test_in_a_compressor_pipeline(self, reranker: DocumentReranker, passages: list[Document]) -> None:
        class Odd(BaseDocumentTransformer):
            def transform_documents(self, documents: Any, **_: Any) -> Any:
                return documents[1::2]

        pipeline = DocumentCompressorPipeline(transformers=[Odd(), reranker, reranker.model_copy(update={"top_n": 2})])
        found = pipeline.compress_documents(passages, QUERY)
        assert found == reranker.compress_documents(passages[1::2], QUERY)[:2]
        assert await pipeline.acompress_documents(passages, QUERY) == found


class TestKoColBERTReranker:
    def test_a_second_query_over_100_passages_costs_its_own_encoding_only(
        self, colbert: LateInteractionEncoder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoded: dict[str, list[str]] = {"documents": [], "queries": []}
        for task in encoded:
            original = getattr(LateInteractionEncoder, f"encode_{task}")

            def encode(self: Any, texts: Any, original: Any = original, task: str = task, **options: Any) -> Any:
                encoded[task].extend(texts)
                return original(self, texts, **options)

            monkeypatch.setattr(LateInteractionEncoder, f"encode_{task}", encode)
        passages = [Document(page_content=f"제{number}조 보증금은 {number}일 안에 돌려준다.") for number in range(100)]
        reranker = KoColBERTReranker(model=colbert)
        assert len(reranker.compress_documents(passages, QUERY)) == 3
        assert sorted(encoded["documents"]) == sorted(passage.page_content for passage in passages)
        reranker.compress_documents(passages[::-1], "도서관 휴관일")
        assert len(encoded["documents"]) == 100
        assert encoded["queries"] == [QUERY, "도서관 휴관일"]


class TestKoCrossEncoderReranker:
    @pytest.mark.slow
    def test_models_by_path_and_object(
        self, cross_encoder: CrossEncoderReranker, cross_encoder_folder: Path, passages: list[Document]
    ) -> None:
        assert KoCrossEncoderReranker(model=cross_encoder).model is cross_encoder
        expected = KoCrossEncoderReranker(model=cross_encoder).compress_documents(passages, QUERY)
        for path in (cross_encoder_folder, str(cross_encoder_folder)):
            loaded = KoCrossEncoderReranker(model=path)
            assert isinstance(loaded.model, CrossEncoderReranker)
            assert loaded.compress_documents(passages, QUERY) == expected
        assigned = KoCrossEncoderReranker(model=cross_encoder)
        assigned.model = cross_encoder_folder
        assert assigned.compress_documents(passages, QUERY) == expected

    @pytest.mark.parametrize("name", ["mini-dense", "mini-splade", "mini-colbert"])
    def test_a_model_of_another_family(self, name: str, cross_encoder: CrossEncoderReranker) -> None:
        for wrong in (name, load_encoder(name)):
            with pytest.raises(WrongFamilyError, match="Use instead: korag"):
                KoCrossEncoderReranker(model=wrong)  # type: ignore[arg-type]
            with pytest.raises(WrongFamilyError):
                KoCrossEncoderReranker(model=cross_encoder).model = wrong  # type: ignore[assignment]

    def test_a_cross_encoder_in_another_slot(
        self, cross_encoder: CrossEncoderReranker, cross_encoder_folder: Path, passages: list[Document]
    ) -> None:
        for model in (cross_encoder, cross_encoder_folder):
            with pytest.raises(WrongFamilyError, match="KoCrossEncoderReranker"):
                KoColBERTReranker(model=model)  # type: ignore[arg-type]
            with pytest.raises(WrongFamilyError, match="KoCrossEncoderReranker"):
                KoColBERTRetriever.from_documents(passages, model=model)

    def test_missing_models_raise_at_once(self) -> None:
        with pytest.raises(CheckpointNotFoundError):
            KoCrossEncoderReranker(model="없는 모델")
        with pytest.raises(InvalidArgumentError, match="model=3"):
            KoCrossEncoderReranker(model=3)  # type: ignore[arg-type]

    def test_a_threshold_needs_a_sigmoid(self, tmp_path: Path) -> None:
        identity_cross_encoder(tmp_path / "identity")
        assert KoCrossEncoderReranker(model=tmp_path / "identity").score_threshold is None
        with pytest.raises(InvalidArgumentError, match="Identity"):
            KoCrossEncoderReranker(model=tmp_path / "identity", score_threshold=0.5)

    async def test_a_model_that_answers_yes_or_no(
        self, chat_cross_encoder_folder: Path, passages: list[Document]
    ) -> None:
        """Documents, metadata and scores end to end: those of sentence-transformers, best first."""
        from sentence_transformers import CrossEncoder

        pairs = [(QUERY, document.page_content) for document in passages]
        expected = CrossEncoder(str(chat_cross_encoder_folder), device="cpu").predict(pairs).tolist()
        reranker = KoCrossEncoderReranker(model=chat_cross_encoder_folder, top_n=3, score_key="점수")
        found = reranker.compress_documents(passages, QUERY)
        assert [document.metadata["점수"] for document in found] == pytest.approx(
            sorted(expected, reverse=True)[:3], abs=1e-5
        )
        assert found[0].id == passages[int(np.argmax(expected))].id
        assert await reranker.acompress_documents(passages, QUERY) == found
        assert pickle.loads(pickle.dumps(reranker)).compress_documents(passages, QUERY) == found  # noqa: S301
        with pytest.raises(InvalidArgumentError, match="Identity"):
            KoCrossEncoderReranker(model=chat_cross_encoder_folder, score_threshold=0.5)

    def test_repr_dump_and_schema(self, cross_encoder_folder: Path) -> None:
        model = CrossEncoderReranker(cross_encoder_folder, token="hf_SECRET")  # noqa: S106
        reranker = KoCrossEncoderReranker(model=model)
        assert "SECRET" not in repr(reranker) + str(reranker.model_dump()) + str(pickle.dumps(reranker))
        assert json.loads(reranker.model_dump_json()) == {
            "top_n": 3,
            "score_key": None,
            "score_threshold": None,
            "fuse_weight": None,
            "first_score_key": "score",
        }
        properties = KoCrossEncoderReranker.model_json_schema()["properties"]
        assert properties["model"]["type"] == "string"


class ByLength(BaseCrossEncoder):
    """A third-party cross-encoder that prefers longer texts."""

    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return [float(len(text)) for _, text in text_pairs]


class TestLangChainsOwnCrossEncoders:
    async def test_any_base_cross_encoder(self, passages: list[Document]) -> None:
        reranker = KoCrossEncoderReranker(model=ByLength(), top_n=None, score_key="relevance_score")
        found = reranker.compress_documents([Document(page_content=" "), *passages], QUERY)
        assert found == await reranker.acompress_documents(passages, QUERY)
        assert [document.metadata["relevance_score"] for document in found] == sorted(
            (float(len(passage.page_content)) for passage in passages), reverse=True
        )
        for copied in (pickle.loads(pickle.dumps(reranker)), copy.deepcopy(reranker)):  # noqa: S301
            assert copied.compress_documents(passages, QUERY) == found

    @pytest.mark.parametrize("convert", [np.array, lambda scores: np.array(scores, np.float16), tuple])
    def test_whatever_numbers_it_returns(self, passages: list[Document], convert: Any) -> None:
        class Other(ByLength):
            def score(self, text_pairs: list[tuple[str, str]]) -> Any:
                return convert(super().score(text_pairs))

        found = KoCrossEncoderReranker(model=Other(), score_key="relevance_score").compress_documents(passages, QUERY)
        assert found == KoCrossEncoderReranker(model=ByLength(), score_key="relevance_score").compress_documents(
            passages, QUERY
        )
        assert type(found[0].metadata["relevance_score"]) is float

    @pytest.mark.parametrize("scores", [[1.0], [[1.0, 2.0]] * 8, [float("nan")] * 8])
    def test_wrong_scores_are_an_error(self, passages: list[Document], scores: Any) -> None:
        class Wrong(BaseCrossEncoder):
            def score(self, text_pairs: list[tuple[str, str]]) -> Any:
                return scores

        with pytest.raises(CheckpointError):
            KoCrossEncoderReranker(model=Wrong()).compress_documents(passages, QUERY)

    def test_a_threshold_is_an_error(self) -> None:
        with pytest.raises(InvalidArgumentError, match="ByLength does not declare"):
            KoCrossEncoderReranker(model=ByLength(), score_threshold=0.5)


class TestFusing:
    """`fuse_weight`: the score the documents were found by is fused with the model's."""

    FIRST = (9.0, 8.0, 7.0, 3.0, 2.0, 1.5, 1.0, 0.5)

    def _found(self, passages: list[Document], key: str = "score") -> list[Document]:
        return [
            document.model_copy(update={"metadata": {**document.metadata, key: score}})
            for document, score in zip(passages, self.FIRST, strict=True)
        ]

    def _expected(self, reranker: DocumentReranker, passages: list[Document], **settings: Any) -> list[Any]:
        texts = [passage.page_content for passage in passages]
        ranked = reranker._text_reranker().rerank(QUERY, texts, **settings)
        return [(f"문서-{index}", score) for index, score in ranked]

    def _ranked(self, reranker: DocumentReranker, found: list[Document]) -> list[Any]:
        return [(d.id, d.metadata["relevance_score"]) for d in reranker.compress_documents(found, QUERY)]

    def test_scores_of_the_retriever(self, reranker: DocumentReranker, passages: list[Document]) -> None:
        fusing = reranker.model_copy(update={"fuse_weight": 0.3})
        expected = self._expected(reranker, passages, first_stage_scores=list(self.FIRST), fuse_weight=0.3)
        assert self._ranked(fusing, self._found(passages)) == expected
        own_key = fusing.model_copy(update={"first_score_key": "점수"})
        assert self._ranked(own_key, self._found(passages, "점수")) == expected
        assert all(0 <= score <= 1 for _, score in expected)

    def test_the_default_is_the_models_and_needs_scores_of_a_ranked_list(
        self, reranker: DocumentReranker, passages: list[Document]
    ) -> None:
        found = self._found(passages)
        expected = self._expected(reranker, passages, first_stage_scores=list(self.FIRST))
        assert self._ranked(reranker, found) == expected
        alone = self._expected(reranker, passages)
        ratings = [d.model_copy(update={"metadata": {"score": 5 - abs(i - 3)}}) for i, d in enumerate(passages)]
        for without in (passages, ratings, [*found[:7], passages[7]]):
            assert self._ranked(reranker, without) == alone
        assert self._ranked(reranker.model_copy(update={"first_score_key": None}), found) == alone

    def test_the_order_of_documents_without_scores(self, reranker: DocumentReranker, passages: list[Document]) -> None:
        fusing = reranker.model_copy(update={"fuse_weight": 0.2})
        assert self._ranked(fusing, passages) == self._expected(reranker, passages, fuse_weight=0.2)

    def test_wrong_weights_and_serialised_ones(self, reranker: DocumentReranker) -> None:
        made: Any = type(reranker)
        for wrong in (-0.1, 1.5, "viel", True):
            with pytest.raises(InvalidArgumentError, match=r"fuse_weight=.*재순위 점수만(.|\n)*between 0 and 1"):
                made(model=reranker.model, fuse_weight=wrong)  # type: ignore[attr-defined]
            with pytest.raises(InvalidArgumentError, match="fuse_weight="):
                reranker.model_copy().fuse_weight = wrong
        fusing = made(model=reranker.model, fuse_weight=0.3)  # type: ignore[attr-defined]
        assert json.loads(fusing.model_dump_json())["fuse_weight"] == 0.3
        assert pickle.loads(pickle.dumps(fusing)).fuse_weight == 0.3  # noqa: S301
