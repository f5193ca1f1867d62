"""KoRerankRetriever asks its base for scores by itself; a document given twice counts once."""

import unicodedata
from collections.abc import Sequence
from typing import Any

import pytest
from assertions import assert_bilingual
from langchain_classic.retrievers import EnsembleRetriever, MergerRetriever
from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.runnables import ConfigurableField, Runnable, RunnableLambda
from retriever_kinds import ids

from korag import CrossEncoderReranker, LateInteractionEncoder
from korag.errors import InvalidArgumentError
from langchain_korag import (
    KoBM25Retriever,
    KoColBERTReranker,
    KoColBERTRetriever,
    KoCrossEncoderReranker,
    KoRerankRetriever,
    KoVectorStore,
)

QUERY = "보증금은 언제 돌려받나요?"
TYPED = "qhwmdrmadms djswp ehffuqkeskdy?"
FUSED = {"fetch_k": 14, "k": 6}


@pytest.fixture(scope="module")
def notes(papers: list[Document]) -> list[Document]:
    """Enough documents for the default fusion. Their metadata has the keys that scores and queries have elsewhere."""
    own = {"score": "좋음", "span": [0, 1], "rewritten_query": "직접 쓴 값", "relevance_score": "높음"}
    more = [f"보증금 안내 {index}: 언제 돌려받나요 " + "문의 " * (index % 5) for index in range(8)]
    return [
        *(Document(id=paper.id, page_content=paper.page_content, metadata=dict(own)) for paper in papers),
        *(Document(id=f"더-{index}", page_content=text, metadata=dict(own)) for index, text in enumerate(more)),
    ]


@pytest.fixture(scope="module")
def store(notes: list[Document], colbert: LateInteractionEncoder) -> KoVectorStore:
    store = KoVectorStore([colbert], bm25=True)
    store.add_documents(notes)
    return store


@pytest.fixture(scope="module")
def words(store: KoVectorStore) -> KoBM25Retriever:
    return KoBM25Retriever(collection=store.collection)


@pytest.fixture(scope="module")
def reranker(colbert: LateInteractionEncoder) -> KoColBERTReranker:
    return KoColBERTReranker(model=colbert)


def _shown(documents: Sequence[Document], key: str) -> list[tuple[str | None, float]]:
    return [(document.id, document.metadata[key]) for document in documents]


class TestAsking:
    """The base is asked for its scores, whatever it is wrapped in, and the results do not show it."""

    def _bases(self, words: KoBM25Retriever, store: KoVectorStore) -> dict[str, Any]:
        def as_retriever(**given: Any) -> Any:
            return store.as_retriever(search_kwargs={"using": "bm25"}, **given)

        colbert = KoColBERTRetriever(collection=store.collection)
        alternatives = colbert.configurable_alternatives(ConfigurableField(id="base"), words=words)
        return {
            "plain": words,
            "with a key of its own": words.model_copy(update={"score_key": "내 점수"}),
            "tags": words.with_config(tags=["가"]),
            "bound": words.bind(filter={}),
            "fields": words.configurable_fields(k=ConfigurableField(id="k")).with_config(configurable={"k": 2}),
            "alternatives": alternatives.with_config(configurable={"base": "words"}),
            "bound alternatives": alternatives.bind(filter={}).with_config(configurable={"base": "words"}),
            "retried": words.with_retry(),
            "store": as_retriever(),
            "store, configured": as_retriever().with_config(run_name="저장소"),
        }

    async def test_wrapped_bases_are_fused_alike(
        self, words: KoBM25Retriever, store: KoVectorStore, reranker: KoColBERTReranker
    ) -> None:
        scored = words.invoke(QUERY, k=14, score_key="점수")
        given = reranker.model_copy(update={"first_score_key": "점수", "top_n": 6, "score_key": "재"})
        scored = [note.model_copy(update={"metadata": {"점수": note.metadata["점수"]}}) for note in scored]
        expected = _shown(given.compress_documents(scored, QUERY), "재")
        alone = given.model_copy(update={"fuse_weight": 1.0})
        assert expected != _shown(alone.compress_documents(scored, QUERY), "재")  # it matters
        for name, base in self._bases(words, store).items():
            retriever = KoRerankRetriever(base_retriever=base, reranker=reranker, **FUSED)
            assert _shown(retriever.invoke(QUERY, score_key="재"), "재") == expected, name
            assert _shown(await retriever.ainvoke(QUERY, score_key="재"), "재") == expected, name

    async def test_what_is_configured_for_a_call_holds_for_the_base(
        self, words: KoBM25Retriever, reranker: KoColBERTReranker, notes: list[Document]
    ) -> None:
        only = [{"configurable": {"filter": {"번호": number}}} for number in (0, 1)]
        numbered = KoBM25Retriever.from_documents(
            [note.model_copy(update={"metadata": {"번호": index % 2}}) for index, note in enumerate(notes)]
        )
        base = numbered.configurable_fields(filter=ConfigurableField(id="filter"))
        retriever = KoRerankRetriever(base_retriever=base, reranker=reranker, **FUSED)
        for number, config in enumerate(only):
            for found in (
                retriever.invoke(QUERY, config),
                await retriever.ainvoke(QUERY, config),
                retriever.with_config(config).invoke(QUERY),
                next(retriever.stream(QUERY, config)),
                (RunnableLambda(str.strip) | retriever).invoke(QUERY, config),
            ):
                assert {document.metadata["번호"] for document in found} == {number}
        for all_found in (retriever.batch([QUERY, QUERY], only), await retriever.abatch([QUERY, QUERY], only)):
            assert [{document.metadata["번호"] for document in found} for found in all_found] == [{0}, {1}]
        assert {document.metadata["번호"] for document in retriever.invoke(QUERY)} == {0, 1}  # nothing is left behind

    async def test_results_are_the_documents_that_were_added(
        self, words: KoBM25Retriever, store: KoVectorStore, reranker: KoColBERTReranker, notes: list[Document]
    ) -> None:
        for name, base in self._bases(words, store).items():
            retriever = KoRerankRetriever(base_retriever=base, reranker=reranker, **FUSED)
            for query in (QUERY, TYPED):
                for found in (retriever.invoke(query), await retriever.ainvoke(query)):
                    assert len(found) == 6
                    if name == "with a key of its own":  # asked for by the user, and so kept
                        assert all(document.metadata["내 점수"] > 0 for document in found)
                        continue
                    assert all(document in notes for document in found), name

    @pytest.mark.parametrize("search_type", ["similarity", "similarity_score_threshold", "mmr"])
    def test_every_search_type_of_the_store(
        self, store: KoVectorStore, reranker: KoColBERTReranker, notes: list[Document], search_type: str
    ) -> None:
        keywords = {"using": "colbert", **({"score_threshold": 0.1} if "threshold" in search_type else {})}
        base = store.as_retriever(search_type=search_type, search_kwargs=keywords)
        found = KoRerankRetriever(base_retriever=base, reranker=reranker, **FUSED).invoke(TYPED)
        assert len(found) == 6
        assert all(document in notes for document in found)
        repaired = KoRerankRetriever(base_retriever=base, reranker=reranker, **FUSED).invoke(TYPED, score_key="재")
        assert {document.metadata["rewritten_query"] for document in repaired} == {QUERY}

    def test_a_repaired_query_is_the_one_scored_by(
        self, words: KoBM25Retriever, store: KoVectorStore, reranker: KoColBERTReranker
    ) -> None:
        for name, base in self._bases(words, store).items():
            retriever = KoRerankRetriever(base_retriever=base, reranker=reranker, score_key="재", **FUSED)
            assert _shown(retriever.invoke(TYPED), "재") == _shown(retriever.invoke(QUERY), "재"), name

    def test_a_first_stage_of_another_kind_is_taken_as_it_is(
        self, words: KoBM25Retriever, reranker: KoColBERTReranker
    ) -> None:
        scored = words.invoke(QUERY, k=14, score_key="score")
        expected = reranker.model_copy(update={"top_n": 6}).compress_documents(scored, QUERY)
        chain: Runnable[str, list[Document]] = RunnableLambda(lambda _: scored)
        assert KoRerankRetriever(base_retriever=chain, reranker=reranker, **FUSED).invoke(QUERY) == expected

    def test_no_first_score_key_takes_the_order(self, words: KoBM25Retriever, reranker: KoColBERTReranker) -> None:
        by_order = reranker.model_copy(update={"first_score_key": None, "fuse_weight": 0.3})
        expected = by_order.model_copy(update={"top_n": 6}).compress_documents(words.invoke(QUERY, k=14), QUERY)
        assert KoRerankRetriever(base_retriever=words, reranker=by_order, **FUSED).invoke(QUERY) == expected

    def test_a_compressor_of_others_sees_clean_documents(self, words: KoBM25Retriever, notes: list[Document]) -> None:
        retriever = KoRerankRetriever(base_retriever=words, reranker=Watching(), **FUSED)
        assert all(document in notes for document in retriever.invoke(TYPED))
        assert [query for query, _ in Watching.seen] == [QUERY]
        assert all(document in notes for _, documents in Watching.seen for document in documents)

    def test_one_in_another(self, words: KoBM25Retriever, reranker: KoColBERTReranker, notes: list[Document]) -> None:
        inner = KoRerankRetriever(base_retriever=words, reranker=reranker, **FUSED)
        outer = KoRerankRetriever(base_retriever=inner, reranker=reranker, **FUSED)
        assert all(document in notes for document in outer.invoke(TYPED))
        scored = outer.invoke(TYPED, score_key="재")
        assert {document.metadata["rewritten_query"] for document in scored} == {QUERY}


class Watching(BaseDocumentCompressor):
    """A compressor of others that remembers what it was given."""

    seen: list[Any] = []  # noqa: RUF012 (shared on purpose)

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> Sequence[Document]:
        type(self).seen.append((query, [document.model_copy(deep=True) for document in documents]))
        return documents


Watching.seen = []


class TestKeys:
    async def test_the_field_the_call_and_the_rerankers_own(
        self, words: KoBM25Retriever, reranker: KoColBERTReranker
    ) -> None:
        parts: Any = {"base_retriever": words, **FUSED}
        of_call = KoRerankRetriever(reranker=reranker, **parts).invoke(QUERY, score_key="재", id_key="번호")
        assert all(document.metadata["번호"] == document.id for document in of_call)
        field = KoRerankRetriever(reranker=reranker, score_key="재", id_key="번호", **parts)
        assert field.invoke(QUERY) == await field.ainvoke(QUERY) == of_call
        own = reranker.model_copy(update={"score_key": "재"})
        assert KoRerankRetriever(reranker=own, id_key="번호", **parts).invoke(QUERY) == of_call
        renamed = KoRerankRetriever(reranker=own, score_key="다른", **parts).invoke(QUERY)
        assert _shown(renamed, "다른") == _shown(of_call, "재")
        assert all("재" not in document.metadata for document in renamed)

    def test_scores_of_an_unknown_compressor(self, words: KoBM25Retriever) -> None:
        for call in (
            lambda: KoRerankRetriever(base_retriever=words, reranker=Watching(), score_key="s"),
            lambda: KoRerankRetriever(base_retriever=words, reranker=Watching()).invoke(QUERY, score_key="s"),
        ):
            with pytest.raises(InvalidArgumentError, match="Watching is not one of KoRAG's rerankers") as raised:
                call()
            assert_bilingual(raised.value, "score_key='s'", "Watching")
        named = KoRerankRetriever(base_retriever=words, reranker=Watching(), id_key="번호").invoke(QUERY)
        assert all(document.metadata["번호"] == document.id for document in named)


class TestOnce:
    """A document given twice counts once, in its best place and with its best score."""

    def _rerankers(self, reranker: KoColBERTReranker, cross_encoder: CrossEncoderReranker) -> list[Any]:
        both = [reranker, KoCrossEncoderReranker(model=cross_encoder)]
        return [one.model_copy(update={"top_n": None, "score_key": "재"}) for one in both]

    def test_by_id(
        self, notes: list[Document], reranker: KoColBERTReranker, cross_encoder: CrossEncoderReranker
    ) -> None:
        twice = [*notes, *notes[::-1], *notes[:3]]
        for each in self._rerankers(reranker, cross_encoder):
            expected = each.compress_documents(notes, QUERY)
            assert each.compress_documents(twice, QUERY) == expected
            top = each.model_copy(update={"top_n": 3})
            assert top.compress_documents(twice, QUERY) == expected[:3]

    def test_ids_in_another_normalization_form_are_the_same(self, reranker: KoColBERTReranker) -> None:
        forms = [unicodedata.normalize(form, "가-1") for form in ("NFC", "NFD")]
        assert forms[0] != forms[1]
        found = reranker.compress_documents([Document(id=id_, page_content="보증금 반환") for id_ in forms], QUERY)
        assert ids(found) == forms[:1]

    def test_without_ids_only_wholly_equal_documents_are_one(self, reranker: KoColBERTReranker) -> None:
        import numpy as np

        one = Document(page_content="보증금 반환", metadata={"쪽": 1})
        other = Document(page_content="보증금 반환", metadata={"쪽": 2})
        arrays = [Document(page_content="보증금 반환", metadata={"벡터": np.ones(2)}) for _ in range(2)]
        named = Document(id="가", page_content="보증금 반환", metadata={"쪽": 1})
        given = [one, other, one.model_copy(deep=True), *arrays, named]
        found = reranker.model_copy(update={"top_n": None}).compress_documents(given, QUERY)
        assert [found.index(one), found.index(other), len(found)] == [0, 1, 5]

    def test_the_best_score_of_a_repeated_document_is_fused(
        self, notes: list[Document], reranker: KoColBERTReranker
    ) -> None:
        scored = [note.model_copy(update={"metadata": {"점수": 20.0 - rank}}) for rank, note in enumerate(notes)]
        lower = [note.model_copy(update={"metadata": {"점수": 0.5}}) for note in notes[::3]]
        fusing = reranker.model_copy(update={"first_score_key": "점수", "fuse_weight": 0.3, "top_n": None})
        assert fusing.compress_documents([*scored, *lower], QUERY) == fusing.compress_documents(scored, QUERY)

    async def test_of_merged_and_fused_bases(
        self, words: KoBM25Retriever, store: KoVectorStore, reranker: KoColBERTReranker, notes: list[Document]
    ) -> None:
        both = [words.model_copy(update={"k": 16}), KoColBERTRetriever(collection=store.collection, k=16)]
        merged = MergerRetriever(retrievers=both)
        assert len(merged.invoke(QUERY)) > len(notes)
        for base in (merged, EnsembleRetriever(retrievers=both)):
            retriever = KoRerankRetriever(base_retriever=base, reranker=reranker, fetch_k=20, k=20)
            for found in (retriever.invoke(QUERY), await retriever.ainvoke(QUERY)):
                assert len(found) == len(set(ids(found))) == len(notes)

    def test_fetch_k_counts_documents_and_not_repetitions(self, notes: list[Document]) -> None:
        Watching.seen.clear()
        repeated = [notes[0], notes[0], notes[1], notes[0], notes[2]]
        chain: Runnable[str, list[Document]] = RunnableLambda(lambda _: repeated)
        found = KoRerankRetriever(base_retriever=chain, reranker=Watching(), fetch_k=3, k=3).invoke(QUERY)
        assert found == notes[:3]
        assert [len(documents) for _, documents in Watching.seen] == [3]
