"""Searching: legs, fusion, filters, ties, Unicode forms."""

from __future__ import annotations

import math
import unicodedata
from typing import Any, Literal, cast, get_args

import pytest

from korag.checks import FusionMethod
from korag.collection.base import Collection, SearchSettings
from korag.fusion import DEFAULT_METHOD, Fusion
from korag.testing.contract.fixtures import ContractFixtures, Encoders, Make
from korag.testing.contract.samples import DOCUMENTS, IDS, LEGS, METADATA, ids_of

Form = Literal["NFC", "NFD"]
FUSIONS: tuple[FusionMethod, ...] = get_args(FusionMethod)


class SearchTests(ContractFixtures):
    """Search results."""

    @pytest.mark.parametrize("using", [*LEGS, "hybrid", None])
    def test_every_leg_finds_a_document_by_its_own_text(self, filled: Collection, using: str | None) -> None:
        for index, hits in enumerate(filled.search_many(DOCUMENTS, k=3, using=using)):
            assert (hits[0].id, hits[0].text, hits[0].metadata) == (IDS[index], DOCUMENTS[index], METADATA[index])

    @pytest.mark.parametrize("using", LEGS)
    def test_one_leg_reports_its_ranks_and_scores(self, filled: Collection, using: str) -> None:
        hits = filled.search(DOCUMENTS[0], using=using)
        assert [dict(hit.legs) for hit in hits] == [{using: (rank, hit.score)} for rank, hit in enumerate(hits, 1)]
        scores = [hit.score for hit in hits]
        assert scores == sorted(scores, reverse=True)
        assert all(isinstance(score, float) and math.isfinite(score) for score in scores)

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_hybrid_is_the_fusion_of_the_legs(self, filled: Collection, fusion: FusionMethod) -> None:
        query = "보증금을 돌려받는 법"
        alone = {leg: filled.search(query, k=100, using=leg) for leg in LEGS}
        hits = filled.search(query, k=100, using="hybrid", fusion=fusion)
        assert {hit.id for hit in hits} == {hit.id for run in alone.values() for hit in run}
        runs = {leg: [(hit.id, hit.score) for hit in run] for leg, run in alone.items()}
        expected = dict(Fusion(fusion)(runs, depth=100)[0])
        for hit in hits:
            legs = {leg: found.legs[leg] for leg, run in alone.items() for found in run if found.id == hit.id}
            assert {leg: rank for leg, (rank, _) in hit.legs.items()} == {leg: rank for leg, (rank, _) in legs.items()}
            assert [hit.legs[leg][1] for leg in legs] == pytest.approx([score for _, score in legs.values()])
            assert hit.score == pytest.approx(expected[hit.id], abs=1e-5)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)

    def test_an_explanation_is_of_the_score_that_was_found(self, filled: Collection) -> None:
        choices: tuple[SearchSettings, ...] = ({}, {"fusion": "rrf"}, {"using": "bm25"})
        for settings in choices:
            hit = filled.search("보증금을 돌려받는 법", **settings)[0]
            why = filled.explain("보증금을 돌려받는 법", hit, **settings)
            assert (why.id, why.text) == (hit.id, hit.text)
            assert why.score == pytest.approx(hit.score, abs=1e-5)
            if why.fusion is not None:
                assert {row.leg: row.rank for row in why.fusion.rows if row.rank} == {
                    leg: rank for leg, (rank, _) in hit.legs.items()
                }
                assert sum(row.contribution for row in why.fusion.rows) == pytest.approx(hit.score, abs=1e-5)
            for leg, own in why.legs.items():
                assert own.score is None or own.score == pytest.approx(hit.legs[leg][1], abs=2e-3)

    def test_reciprocal_rank_fusion_by_hand(self, filled: Collection) -> None:
        for hit in filled.search("보증금을 돌려받는 법", using="hybrid", fusion="rrf"):
            assert hit.score == pytest.approx(sum(1 / (60 + rank) for rank, _ in hit.legs.values()), abs=1e-12)

    def test_the_default_fusion_is_auto(self, filled: Collection) -> None:
        for query in DOCUMENTS:
            hits = filled.search(query, using="hybrid")
            assert hits == filled.search(query, using="hybrid", fusion="auto") == filled.search(query)
            fitted = filled.fitted_fusion
            if fitted is None:
                assert hits == filled.search(query, using="hybrid", fusion=DEFAULT_METHOD)

    def test_a_fitted_fusion_is_the_default(self, filled: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
        queries = ["보증금을 돌려받는 법", *DOCUMENTS]
        for fitted in (Fusion("weighted", {"bm25": 3.0, "dense": 0.0}), Fusion("anchored", {"colbert": 2.0})):
            monkeypatch.setattr(type(filled), "fitted_fusion", fitted)
            settings: dict[str, Any] = {"fusion": fitted.method, "weights": fitted.weights}
            assert filled.search_many(queries) == filled.search_many(queries, **settings)
            doubled = {"bm25": 1.0, **settings["weights"]}
            doubled["bm25"] *= 2.0
            found = filled.search_many(queries, weights={"bm25": 2.0})
            assert found == filled.search_many(queries, fusion=fitted.method, weights=doubled)
            assert filled.search_many(queries, fusion="rrf") != filled.search_many(queries)
            assert filled.search_many(queries, using="bm25") == filled.search_many(queries, using="bm25", fusion="rrf")

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_weights(self, filled: Collection, fusion: FusionMethod) -> None:
        query = "환불 신청"
        only = dict.fromkeys(filled.legs, 0.0) | {"bm25": 1.0}
        bm25 = ids_of(filled.search(query, using="bm25"))
        found = [hit.id for hit in filled.search(query, using="hybrid", fusion=fusion, weights=only) if hit.score > 0]
        assert found
        assert found == bm25[: len(found)]  # scaled to [0, 1], the score of the last may be 0
        plain = filled.search(query, using="hybrid", fusion=fusion)
        doubled = filled.search(query, using="hybrid", fusion=fusion, weights=dict.fromkeys(filled.legs, 2.0))
        assert ids_of(doubled) == ids_of(plain)
        assert [hit.relevance for hit in doubled] == pytest.approx([hit.relevance for hit in plain])

    def test_the_best_of_every_leg_has_the_highest_score_there_is(self, filled: Collection) -> None:
        for fusion, most in (("weighted", len(filled.legs)), ("anchored", 1.0)):
            top = filled.search(DOCUMENTS[2], using="hybrid", fusion=cast("FusionMethod", fusion))[0]
            assert top.id == IDS[2]
            assert top.score == pytest.approx(most)

    def test_fetch_k_limits_what_each_leg_gives(self, filled: Collection) -> None:
        hits = filled.search("규정", k=2, using="hybrid", fetch_k=2)
        assert len(hits) == 2
        for query in ("규정", *DOCUMENTS):
            for fetch_k in (3, 1):  # each leg gives k at least
                hits = filled.search(query, k=3, using="hybrid", fetch_k=fetch_k)
                assert len(hits) == 3
                assert all(rank <= 3 for hit in hits for rank, _ in hit.legs.values())

    @pytest.mark.parametrize("using", [*LEGS, "hybrid"])
    def test_filters_come_before_the_best_k(self, filled: Collection, using: str) -> None:
        query = " ".join(DOCUMENTS[:3])  # shares terms with documents 0, 1, 2
        how: dict[str, Any] = {"using": using}
        if using == "hybrid":
            how["fusion"] = "rrf"  # scaled scores depend on what else was found
        best = ids_of(filled.search(query, k=3, **how))
        others = {"번호": {"$nin": [IDS.index(id_) for id_ in best]}}
        hits = filled.search(query, k=3, **how, where=others)
        everything = [id_ for id_ in ids_of(filled.search(query, k=100, **how)) if id_ not in best]
        assert ids_of(hits) == everything[:3]
        if using != "hybrid":
            assert [hit.legs[using][0] for hit in hits] == [1, 2, 3]  # ranks among those the filter lets through
        assert filled.search(query, **how, where={"번호": -1}) == []
        assert ids_of(filled.search(query, **how, where={})) == ids_of(filled.search(query, **how))

    @pytest.mark.parametrize("using", ["dense", "bm25"])
    def test_k_results_although_the_best_k_are_all_filtered_out(self, small: Collection, using: str) -> None:
        small.add(["환불 규정"] * 30, metadata=[{"비밀": True}] * 30)
        open_ = small.add([f"환불 규정 {topic}" for topic in ("도서관", "김치찌개", "연차 휴가")], metadata=[{}] * 3)
        assert not set(ids_of(small.search("환불 규정", k=3, using=using))) & set(open_)
        hits = small.search("환불 규정", k=3, using=using, where={"비밀": {"$ne": True}})
        assert sorted(ids_of(hits)) == sorted(open_)

    @pytest.mark.parametrize("using", [*LEGS, "hybrid"])
    def test_equal_documents_keep_their_insertion_order(self, make: Make, encoders: Encoders, using: str) -> None:
        leg = "dense" if using == "hybrid" else using
        collection = make(encoders=[encoders[leg]] if leg in encoders else [], bm25=using in ("bm25", "hybrid"))
        texts = [DOCUMENTS[index % 3] for index in range(21)]
        ids = collection.add(texts)
        hits = collection.search(DOCUMENTS[1], k=7, using=using)
        assert ids_of(hits) == ids[1::3]
        if using != "hybrid":
            assert len({hit.score for hit in hits}) == 1
        assert ids_of(collection.search(DOCUMENTS[1], k=3, using=using)) == ids[1::3][:3]
        collection.add([texts[1]], ids=[ids[1]], metadata=[{"판": 2}])  # the same text: it keeps its place
        assert ids_of(collection.search(DOCUMENTS[1], k=7, using=using, where={})) == ids[1::3]
        collection.add(["바뀐 글"], ids=[ids[1]])
        collection.add([texts[1]], ids=[ids[1]])  # as newly inserted: now the last of its equals
        assert ids_of(collection.search(DOCUMENTS[1], k=7, using=using, where={})) == [*ids[4::3], ids[1]]

    def test_several_lexical_legs(self, make: Make) -> None:
        both = make(encoders=[], bm25=["bigram", ends_with_a_mark])
        assert both.legs == ("bm25", "bm25_custom")
        both.add(DOCUMENTS[:4], ids=IDS[:4])
        for leg, choice in (("bm25", "bigram"), ("bm25_custom", ends_with_a_mark)):
            alone = make(encoders=[], bm25=choice)
            alone.add(DOCUMENTS[:4], ids=IDS[:4])
            for query in DOCUMENTS[:4]:
                found = [(hit.id, hit.score) for hit in both.search(query, using=leg)]
                assert found == [(hit.id, hit.score) for hit in alone.search(query)]
                assert set(both.search(query, k=1)[0].legs) == {"bm25", "bm25_custom"}

    def test_k(self, filled: Collection) -> None:
        for using in (*LEGS, "hybrid"):
            assert filled.search("보증금", k=0, using=using) == []
            everything = ids_of(filled.search("보증금", k=10**6, using=using))
            assert len(everything) == len(set(everything)) <= len(DOCUMENTS)
            assert ids_of(filled.search("보증금", k=1, using=using)) == everything[:1]
        assert len(filled.search("보증금", k=10**6, using="dense")) == len(DOCUMENTS)
        assert len(filled.search("보증금", k=10**6, using="colbert")) == len(DOCUMENTS)

    def test_word_legs_find_only_documents_that_share_a_word(self, filled: Collection) -> None:
        assert ids_of(filled.search("묵은지", using="bm25")) == [IDS[2]]
        assert filled.search("쾳쾳쾳", using="bm25") == []
        assert {hit.id for hit in filled.search("제6조의2", using="bm25")} == {IDS[6]}

    def test_an_empty_collection_finds_nothing(self, make: Make, encoders: Encoders) -> None:
        collection = make(encoders=list(encoders.values()), bm25=True)
        assert len(collection) == 0
        assert collection.get() == []
        for using in (*LEGS, "hybrid", None):
            assert collection.search("보증금", using=using) == []
        assert collection.search("보증금", where={"번호": 1}) == []
        assert collection.search_many([]) == []
        assert collection.delete(["없는 것"]) == 0

    def test_an_empty_document_is_not_even_tokenized(self, make: Make) -> None:
        collection = make(encoders=[], bm25=True, tokenizer=ends_with_a_mark)
        collection.add(["", "도서관", " "], ids=["a", "b", "c"])
        assert ids_of(collection.search("보증금", using="bm25")) == ["b"]

    @pytest.mark.parametrize("query", ["", " ", "\u3000\n", "\u200b", "\0"])
    def test_an_empty_query_finds_nothing(self, filled: Collection, query: str) -> None:
        assert all(filled.search(query, using=using) == [] for using in (*LEGS, "hybrid", None))
        assert filled.search_many([query, query]) == [[], []]

    @pytest.mark.parametrize("stored", ["NFC", "NFD"])
    @pytest.mark.parametrize("asked", ["NFC", "NFD"])
    def test_unicode_forms_find_the_same(
        self, make: Make, encoders: Encoders, filled: Collection, stored: Form, asked: Form
    ) -> None:
        collection = make(encoders=[encoders["colbert"], encoders["sparse"]], bm25=True)
        texts = [unicodedata.normalize(stored, text) for text in DOCUMENTS]
        collection.add(texts, ids=IDS)
        for using in collection.legs:
            query = "보증금 돌려받기"
            expected = filled.search(query, k=5, using=using)
            hits = collection.search(unicodedata.normalize(asked, query), k=5, using=using)
            assert ids_of(hits) == ids_of(expected)
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], rel=1e-5)
            assert [hit.text for hit in hits] == [texts[IDS.index(hit.id)] for hit in hits]

    @pytest.mark.parametrize(
        "form", ["보증\u200b금 돌려\u00ad받기\u3164", "\ufeff보증금\u3000돌려받기", "보증금\u00a0돌려받기\u2060"]
    )
    def test_what_looks_the_same_scores_the_same(self, filled: Collection, form: str) -> None:
        for using in filled.legs:
            expected = filled.search("보증금 돌려받기", using=using)
            hits = filled.search(form, using=using)
            assert ids_of(hits) == ids_of(expected)
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in expected], rel=1e-5)

    def test_many_queries_are_many_searches(self, filled: Collection) -> None:
        queries = ["보증금", "", DOCUMENTS[5], "도서관 휴관일"]
        for using in (*LEGS, "hybrid"):
            many = filled.search_many(queries, k=4, using=using, where={"번호": {"$lt": 6}})
            alone = [filled.search(query, k=4, using=using, where={"번호": {"$lt": 6}}) for query in queries]
            assert len(many) == len(queries)
            for hits, expected in zip(many, alone, strict=True):
                assert ids_of(hits) == ids_of(expected)
                assert [h.score for h in hits] == pytest.approx([h.score for h in expected], rel=1e-5)
                assert [h.legs.keys() for h in hits] == [h.legs.keys() for h in expected]

    def test_hits_are_copies(self, filled: Collection) -> None:
        first, again = filled.search_many(["보증금", "보증금"], k=1)
        first[0].metadata["출처"]["파일"] = "고침"
        first[0].metadata.clear()
        assert again[0].metadata == METADATA[IDS.index(again[0].id)]
        assert filled.search("보증금", k=1)[0].metadata == METADATA[IDS.index(again[0].id)]

    def test_a_collection_names_its_legs(self, filled: Collection, small: Collection) -> None:
        assert sorted(filled.legs) == sorted((*LEGS, *self.extra_legs))
        assert sorted(small.legs) == sorted(("bm25", "dense", *self.extra_legs))
        assert str(len(filled)) in repr(filled)

    def test_one_leg_alone_is_what_is_searched_by_default(self, make: Make) -> None:
        collection = make(encoders=[], bm25=True)
        collection.add(["도서관"], ids=["가"])
        (hit,) = collection.search("도서관")
        assert list(hit.legs) == ["bm25"]

    def test_a_document_of_a_megabyte(self, make: Make) -> None:
        collection = make(encoders=[], bm25=True)  # encoders cut it, which costs seconds and shows nothing
        text = "도서관은 월요일에 쉰다. " * 45_000 + "특이한낱말"
        assert len(text.encode()) > 1_000_000
        collection.add([text, "환불"], ids=["긴", "짧은"])
        assert collection.get(["긴"])[0].text == text
        assert ids_of(collection.search("특이한낱말", using="bm25")) == ["긴"]
        assert collection.search(text, k=1)[0].id == "긴"


def ends_with_a_mark(text: str) -> list[str]:
    """A tokenizer that gives every text a token, even an empty one."""
    return [*text.split(), "<끝>"]
