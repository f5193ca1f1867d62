"""KoColBERTReranker: the order, the copies it returns, its cache, and its place in a compression retriever."""

import asyncio
import copy
import json
import pickle
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from event_loop import assert_loop_stays_free
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.documents import Document
from langchain_core.documents.compressor import BaseDocumentCompressor

from korag import LateInteractionEncoder, Reranker, load_encoder, maxsim
from korag.errors import CheckpointNotFoundError, InvalidArgumentError, InvalidTextError, WrongFamilyError
from korag.reranking.colbert import TokenCache
from langchain_korag import KoColBERTReranker, KoColBERTRetriever

QUERY = "보증금은 언제 돌려받나요?"
SUBJECTS = ["보증금", "도서관", "환불", "연차", "문서 보존", "서버 점검", "김치찌개", "계약"]
ENDINGS = ["을 돌려받는 날", "의 휴관일 안내", "을 신청하는 방법", "에 관한 규정", " 기간"]
SENTENCES = [f"제{index}조 {subject}{ending}." for subject in SUBJECTS for index, ending in enumerate(ENDINGS)]


@pytest.fixture(scope="module")
def reranker(colbert: LateInteractionEncoder) -> KoColBERTReranker:
    return KoColBERTReranker(model=colbert, top_n=None, score_key="relevance_score")


@pytest.fixture(scope="module")
def sentence_scores(reranker: KoColBERTReranker) -> dict[int, float]:
    return dict(Reranker(reranker.model, cache=reranker.cache).rerank(QUERY, SENTENCES))


@pytest.fixture
def passages(documents: list[str]) -> list[Document]:
    return [
        Document(id=f"문서-{index}", page_content=text, metadata={"쪽": index, "표": [index]})
        for index, text in enumerate(documents)
    ]


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The documents encoded so far in a test."""
    texts: list[str] = []
    original = LateInteractionEncoder.encode_documents

    def encode_documents(self: LateInteractionEncoder, given: list[str], **options: Any) -> Any:
        texts.extend(given)
        return original(self, given, **options)

    monkeypatch.setattr(LateInteractionEncoder, "encode_documents", encode_documents)
    return texts


def _scores(documents: Sequence[Document]) -> dict[str | None, float]:
    """Score by id. Compare approximately: last bits depend on which texts were encoded in one batch."""
    return {document.id: document.metadata["relevance_score"] for document in documents}


class TestResults:
    def test_order_and_scores_are_those_of_maxsim(
        self, colbert: LateInteractionEncoder, passages: list[Document]
    ) -> None:
        vectors = [tokens.astype(np.float16) for tokens in colbert.encode_documents([p.page_content for p in passages])]
        scores = maxsim(colbert.encode_queries([QUERY])[0], vectors)
        found = KoColBERTReranker(model=colbert, top_n=None, score_key="relevance_score").compress_documents(
            passages, QUERY
        )
        assert [document.metadata["쪽"] for document in found] == list(np.argsort(-scores, kind="stable"))
        for document in found:
            assert document.metadata["relevance_score"] == float(scores[document.metadata["쪽"]])
        assert found[0].id == "문서-0"

    def test_ids_and_metadata_stay_with_their_text(self, reranker: KoColBERTReranker, passages: list[Document]) -> None:
        before = copy.deepcopy(passages)
        by_id = {passage.id: passage for passage in before}
        found = reranker.compress_documents(passages, QUERY)
        assert passages == before
        assert len(found) == len(passages)
        for document in found:
            score = document.metadata.pop("relevance_score")
            assert type(score) is float
            assert document == by_id[document.id]
        assert passages == before  # the pop above was on copies

    def test_the_reranker_scores_as_the_retriever(
        self, reranker: KoColBERTReranker, colbert: LateInteractionEncoder, passages: list[Document]
    ) -> None:
        retriever = KoColBERTRetriever.from_documents(passages, model=colbert, k=len(passages))
        alone = reranker.model_copy(update={"fuse_weight": 1.0})
        for document in alone.compress_documents(retriever.invoke(QUERY, score_key="score"), QUERY):
            assert document.metadata["relevance_score"] == pytest.approx(document.metadata["score"], abs=1e-2)

    @pytest.mark.slow
    @given(order=st.permutations(range(len(SENTENCES))), size=st.integers(0, len(SENTENCES)))
    @settings(max_examples=30, deadline=None)
    def test_permuting_the_input_permutes_consistently(
        self, reranker: KoColBERTReranker, sentence_scores: dict[int, float], order: list[int], size: int
    ) -> None:
        chosen = order[:size]
        documents = [Document(id=str(index), page_content=SENTENCES[index]) for index in chosen]
        found = reranker.compress_documents(documents, QUERY)
        assert sorted(int(document.id or "") for document in found) == sorted(chosen)
        expected = sorted(chosen, key=lambda index: (-sentence_scores[index], chosen.index(index)))
        assert [int(document.id or "") for document in found] == expected
        for document in found:
            assert document.metadata["relevance_score"] == sentence_scores[int(document.id or "")]
            assert document.page_content == SENTENCES[int(document.id or "")]

    @pytest.mark.parametrize(("top_n", "count"), [(None, 8), (0, 0), (1, 1), (8, 8), (10_000, 8)])
    def test_top_n(self, reranker: KoColBERTReranker, passages: list[Document], top_n: int | None, count: int) -> None:
        found = reranker.model_copy(update={"top_n": top_n}).compress_documents(passages, QUERY)
        assert found == reranker.compress_documents(passages, QUERY)[:count]

    def test_top_n_is_three_by_default(self, colbert: LateInteractionEncoder, passages: list[Document]) -> None:
        assert len(KoColBERTReranker(model=colbert).compress_documents(passages, QUERY)) == 3

    @pytest.mark.parametrize("key", [None, "점수"])
    def test_score_key(self, reranker: KoColBERTReranker, passages: list[Document], key: str | None) -> None:
        found = reranker.model_copy(update={"score_key": key}).compress_documents(passages, QUERY)[0]
        assert set(found.metadata) - set(passages[0].metadata) == (set() if key is None else {key})
        assert found is not passages[0]
        assert found.metadata is not passages[0].metadata

    def test_ties_keep_their_order(self, reranker: KoColBERTReranker, documents: list[str]) -> None:
        same = [Document(id=str(index), page_content=documents[index % 2]) for index in range(8)]
        assert [d.id for d in reranker.compress_documents(same, QUERY)] == ["0", "2", "4", "6", "1", "3", "5", "7"]

    def test_empty_documents_are_left_out(self, reranker: KoColBERTReranker, passages: list[Document]) -> None:
        mixed = [Document(page_content=""), passages[1], Document(page_content=" \n"), passages[0]]
        assert [document.id for document in reranker.compress_documents(mixed, QUERY)] == ["문서-0", "문서-1"]

    def test_nothing_in_nothing_out(self, reranker: KoColBERTReranker, passages: list[Document]) -> None:
        assert reranker.compress_documents([], QUERY) == []
        assert reranker.compress_documents(passages, "") == []

    def test_documents_without_ids_and_subclasses(self, reranker: KoColBERTReranker) -> None:
        class Page(Document):
            number: int

        bare, page = reranker.compress_documents(
            [Page(page_content="휴관일", number=7), Document(page_content="보증금")], QUERY
        )
        assert bare.id is None
        assert isinstance(page, Page)
        assert page.number == 7

    @pytest.mark.parametrize("query", [None, 3, ["보증금"]])
    async def test_a_query_that_is_not_a_string(
        self, reranker: KoColBERTReranker, passages: list[Document], query: Any
    ) -> None:
        with pytest.raises(InvalidTextError, match="query"):
            reranker.compress_documents(passages, query)
        with pytest.raises(InvalidTextError, match="query"):
            await reranker.acompress_documents(passages, query)

    def test_what_is_not_a_document(self, reranker: KoColBERTReranker, passages: list[Document]) -> None:
        wrong: Any = [passages[0], "문자열"]
        with pytest.raises(InvalidTextError, match=r"documents\[1\] is a str"):
            reranker.compress_documents(wrong, QUERY)


class TestCache:
    def test_the_same_passages_are_encoded_once(
        self, colbert: LateInteractionEncoder, passages: list[Document], encoded: list[str]
    ) -> None:
        reranker = KoColBERTReranker(model=colbert)
        reranker.compress_documents(passages, QUERY)
        assert sorted(encoded) == sorted(passage.page_content for passage in passages)
        reranker.compress_documents(passages[::-1], "도서관 휴관일")
        reranker.model_copy(update={"top_n": 1}).compress_documents(passages, "환불")
        copy.copy(reranker).compress_documents(passages, "연차")
        assert len(encoded) == len(passages)
        KoColBERTReranker(model=colbert, cache=reranker.cache).compress_documents(passages, QUERY)
        assert len(encoded) == len(passages)

    def test_two_rerankers_do_not_share_by_default(self, colbert: LateInteractionEncoder) -> None:
        assert KoColBERTReranker(model=colbert).cache is not KoColBERTReranker(model=colbert).cache

    @pytest.mark.parametrize("max_bytes", [0, 10_000])
    def test_the_bound_is_honoured_and_changes_no_score(
        self, colbert: LateInteractionEncoder, reranker: KoColBERTReranker, passages: list[Document], max_bytes: int
    ) -> None:
        cache = TokenCache(max_bytes)
        bounded = KoColBERTReranker(model=colbert, cache=cache, top_n=None, score_key="relevance_score")
        expected = _scores(reranker.compress_documents(passages, QUERY))
        for _ in range(2):
            assert _scores(bounded.compress_documents(passages, QUERY)) == pytest.approx(expected, abs=1e-2)
            assert sum(entry.nbytes for entry in cache._entries.values()) <= max_bytes

    def test_another_model_in_a_copy_scores_with_that_model(
        self, reranker: KoColBERTReranker, passages: list[Document]
    ) -> None:
        other = load_encoder("mini-colbert", dim=32)
        expected = KoColBERTReranker(model=other, top_n=None, score_key="relevance_score").compress_documents(
            passages, QUERY
        )
        assert expected != reranker.compress_documents(passages, QUERY)
        assert reranker.model_copy(update={"model": other}).compress_documents(passages, QUERY) == expected
        assigned = reranker.model_copy()
        assigned.model = other
        assert assigned.compress_documents(passages, QUERY) == expected


class TestPlace:
    """Use in LangChain: behind a retriever, in threads, pickled."""

    async def test_contextual_compression(
        self, colbert: LateInteractionEncoder, passages: list[Document], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[str] = []

        class Handler(BaseCallbackHandler):
            def on_retriever_start(self, serialized: Any, query: str, **kwargs: Any) -> None:
                seen.append(kwargs["name"])

        base = KoColBERTRetriever.from_documents(passages, model=colbert, k=6)
        compressor: BaseDocumentCompressor = KoColBERTReranker(model=colbert, top_n=2)
        retriever = ContextualCompressionRetriever(base_retriever=base, base_compressor=compressor)
        found = retriever.invoke(QUERY, {"callbacks": [Handler()]})
        assert [document.id for document in found] == [document.id for document in base.invoke(QUERY)[:2]]
        assert seen == ["ContextualCompressionRetriever", "KoColBERTRetriever"]
        assert await retriever.ainvoke(QUERY) == found
        only = retriever.invoke(QUERY, filter={"쪽": {"$in": [3, 4]}})
        assert {document.id for document in only} == {"문서-3", "문서-4"}

    async def test_async_gives_the_same(self, reranker: KoColBERTReranker, passages: list[Document]) -> None:
        expected = reranker.compress_documents(passages, QUERY)
        assert await reranker.acompress_documents(passages, QUERY) == expected
        assert await reranker.acompress_documents(documents=passages, query=QUERY, callbacks=None) == expected

    @pytest.mark.slow
    async def test_64_at_once(self, colbert: LateInteractionEncoder, passages: list[Document]) -> None:
        chooser = random.Random(5)
        queries = [f"{subject} 안내" for subject in SUBJECTS]
        warm = KoColBERTReranker(model=colbert, top_n=None, score_key="relevance_score")
        expected = {query: _scores(warm.compress_documents(passages, query)) for query in queries}
        calls = [(chooser.sample(passages, 5), chooser.choice(queries)) for _ in range(64)]
        cold = KoColBERTReranker(model=colbert, top_n=None, score_key="relevance_score")
        results = await asyncio.gather(*(cold.acompress_documents(*call) for call in calls))
        for found, (given_, query) in zip(results, calls, strict=True):
            wanted = {passage.id: expected[query][passage.id] for passage in given_}
            assert _scores(found) == pytest.approx(wanted, abs=1e-2)
            assert list(_scores(found).values()) == sorted(_scores(found).values(), reverse=True)

    async def test_the_event_loop_is_not_blocked(
        self, reranker: KoColBERTReranker, passages: list[Document], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await assert_loop_stays_free(
            monkeypatch, Reranker, "rerank", lambda: reranker.acompress_documents(passages, QUERY)
        )

    def test_fields_are_checked(self, colbert: LateInteractionEncoder) -> None:
        for wrong in ({"topn": 3}, {"top_n": -1}, {"top_n": "many"}, {"cache": {}}, {"score_key": 1}):
            with pytest.raises(InvalidArgumentError):
                KoColBERTReranker(model=colbert, **wrong)  # type: ignore[arg-type]
        reranker = KoColBERTReranker(model=colbert)
        with pytest.raises(InvalidArgumentError):
            reranker.top_n = -1

    @pytest.mark.parametrize("model", ["mini-dense", "mini-splade"])
    def test_a_model_of_another_family(self, model: str, reranker: KoColBERTReranker) -> None:
        for wrong in (model, load_encoder(model)):
            with pytest.raises(WrongFamilyError, match=r"korag\.(Dense|Sparse)Encoder"):
                KoColBERTReranker(model=wrong)  # type: ignore[arg-type]
            with pytest.raises(WrongFamilyError):
                reranker.model_copy().model = wrong  # type: ignore[assignment]

    def test_models_by_name_path_and_object(self, colbert: LateInteractionEncoder, tmp_path: Any) -> None:
        assert KoColBERTReranker(model=colbert).model is colbert
        by_name = KoColBERTReranker(model="mini-colbert").model
        assert isinstance(by_name, LateInteractionEncoder)
        assert by_name.fingerprint == colbert.fingerprint
        by_path = KoColBERTReranker(model=colbert.save(tmp_path / "model")).model
        assert isinstance(by_path, LateInteractionEncoder)
        with pytest.raises(CheckpointNotFoundError):
            KoColBERTReranker(model="없는 모델")
        with pytest.raises(InvalidArgumentError, match="model=3"):
            KoColBERTReranker(model=3)  # type: ignore[arg-type]

    @pytest.mark.slow
    def test_pickle_and_deepcopy(self, colbert: LateInteractionEncoder, passages: list[Document]) -> None:
        reranker = KoColBERTReranker(model=load_encoder("mini-colbert", dim=64, token="hf_SECRET"), top_n=2)  # noqa: S106
        expected = reranker.compress_documents(passages, QUERY)
        pickled = pickle.dumps(reranker)
        assert len(pickled) < 3_000
        assert b"SECRET" not in pickled
        for copied in (pickle.loads(pickled), copy.deepcopy(reranker)):  # noqa: S301
            assert copied.compress_documents(passages, QUERY) == expected
        assert copy.deepcopy(reranker).model is reranker.model

    def test_repr_dump_and_schema(self, colbert: LateInteractionEncoder) -> None:
        reranker = KoColBERTReranker(model=load_encoder("mini-colbert", token="hf_SECRET"))  # noqa: S106
        assert repr(reranker) == "KoColBERTReranker(model='mini-colbert')"
        assert json.loads(reranker.model_dump_json()) == {
            "top_n": 3,
            "score_key": None,
            "score_threshold": None,
            "fuse_weight": None,
            "first_score_key": "score",
        }
        properties = KoColBERTReranker.model_json_schema()["properties"]
        assert properties["model"]["type"] == "string"
        assert set(properties) == {
            "model", "query_length", "top_n", "score_key", "score_threshold", "fuse_weight", "first_score_key",
        }  # fmt: skip
