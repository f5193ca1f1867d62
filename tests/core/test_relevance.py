"""Relevance of hybrid hits: one threshold for all combinations of legs and all fusions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any, get_args

import pytest
from answerable import ANSWERED, DOCUMENTS, UNANSWERED
from hypothesis import given
from hypothesis import strategies as st

from korag.checks import FusionMethod
from korag.collection import LocalCollection
from korag.collection.base import SearchOptions
from korag.collection.documents import StoredDocument
from korag.collection.ranking import rank_hits
from korag.collection.relevance import RECOMMENDED, even_relevance, hybrid_relevance

LEGS = ("bm25", "colbert", "dense", "sparse")
FUSIONS = get_args(FusionMethod)
COMBINATIONS = [some for count in (2, 3, 4) for some in combinations(LEGS, count)]
fractions = st.floats(0, 1)


@pytest.fixture(scope="module")
def collection() -> Iterator[LocalCollection]:
    with LocalCollection.in_memory(encoders=["mini-colbert", "mini-splade", "mini-dense"], bm25=True) as made:
        made.add(DOCUMENTS)
        yield made


class TestThreshold:
    @pytest.mark.parametrize("legs", COMBINATIONS, ids="+".join)
    def test_rejects_junk_and_keeps_answers_for_any_legs(
        self, collection: LocalCollection, legs: tuple[str, ...]
    ) -> None:
        weights = {leg: float(leg in legs) for leg in collection.legs}
        options = SearchOptions(k=3, weights=weights, min_relevance=RECOMMENDED)
        assert sum(map(bool, collection.search_many(ANSWERED, options=options))) >= len(ANSWERED) - 1
        assert not any(collection.search_many(UNANSWERED, options=options))

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_the_same_for_every_fusion(self, collection: LocalCollection, fusion: Any) -> None:
        found = collection.search_many(ANSWERED, fusion=fusion, min_relevance=RECOMMENDED)
        best = [hits[0].relevance for hits in collection.search_many(ANSWERED, k=1)]
        assert [bool(hits) for hits in found] == [relevance >= RECOMMENDED for relevance in best]
        assert sum(map(bool, found)) >= len(ANSWERED) - 1
        assert not any(collection.search_many(UNANSWERED, fusion=fusion, min_relevance=RECOMMENDED))

    def test_junk_alone_among_documents_of_a_filter_is_rejected(self) -> None:
        with LocalCollection.in_memory(encoders=["mini-dense"], bm25=True) as made:
            made.add(DOCUMENTS, metadata=[{"번호": number} for number in range(len(DOCUMENTS))])
            one = made.search_many(ANSWERED[:1], where={"번호": 2}, min_relevance=RECOMMENDED)
            assert [hit.text for hit in one[0]] == [DOCUMENTS[2]]
            assert not any(made.search_many(UNANSWERED, where={"번호": 2}, min_relevance=RECOMMENDED))


class TestFormula:
    @given(st.dictionaries(st.sampled_from(LEGS), fractions, min_size=1), st.lists(fractions, min_size=1))
    def test_in_0_to_1_and_falling_with_the_score(self, tops: dict[str, float], scores: list[float]) -> None:
        ranked = sorted(scores, reverse=True)
        relevance = hybrid_relevance(tops, greatest=ranked[0])
        found = [relevance(score) for score in ranked]
        assert all(0 <= value <= 1 for value in found)
        assert found == sorted(found, reverse=True)
        assert found.count(found[0]) >= ranked.count(ranked[0])  # ties stay ties

    @given(st.sampled_from(LEGS), fractions, fractions)
    def test_grows_with_the_relevance_of_every_leg(self, leg: str, one: float, other: float) -> None:
        least, most = sorted((one, other))
        rest = dict.fromkeys(LEGS, 0.3)
        assert hybrid_relevance(rest | {leg: least}, greatest=1)(1) <= hybrid_relevance(rest | {leg: most}, greatest=1)(
            1
        )

    @pytest.mark.parametrize("legs", COMBINATIONS, ids="+".join)
    def test_half_where_every_leg_is_undecided_and_1_for_perfect_matches(self, legs: tuple[str, ...]) -> None:
        undecided = {leg: even_relevance(leg) for leg in legs}
        assert hybrid_relevance(undecided, greatest=2.0)(2.0) == pytest.approx(RECOMMENDED)
        assert hybrid_relevance(dict.fromkeys(legs, 1.0), greatest=2.0)(2.0) == 1

    def test_weights(self) -> None:
        tops = {"dense": 1.0, "bm25": 0.0}
        assert hybrid_relevance(tops, greatest=1, weights={"dense": 3})(1) == pytest.approx(0.75)
        assert hybrid_relevance(tops, greatest=1, weights={"dense": 0})(1) == 0
        assert hybrid_relevance(tops, greatest=1, weights={"dense": 0, "bm25": 0})(1) == 0

    def test_scores_of_0_and_unknown_legs(self) -> None:
        assert hybrid_relevance({"dense": 0.5}, greatest=0.0)(0.0) == hybrid_relevance({"dense": 0.5}, greatest=1)(1)
        assert hybrid_relevance({"dense": 0.5}, greatest=0.0)(-1.0) == 0
        assert hybrid_relevance({}, greatest=0.0)(0.0) == 0
        assert even_relevance("mine") == even_relevance("bm25")


class TestRuns:
    """`rank_hits`, as third-party stores call it."""

    @staticmethod
    def hits(runs: dict[str, list[tuple[int, float]]], **settings: Any) -> list[Any]:
        def documents(keys: Any) -> dict[int, StoredDocument]:
            return {key: StoredDocument(str(key), "글", {}) for key in keys}

        return rank_hits(runs, {"dense": 1.0, "bm25": 10.0}, documents, SearchOptions(**settings))

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_a_leg_without_hits_counts_as_0(self, fusion: Any) -> None:
        both = self.hits({"dense": [(1, 0.9), (2, 0.5)], "bm25": [(1, 5.0)]}, fusion=fusion)[0]
        one = self.hits({"dense": [(1, 0.9), (2, 0.5)], "bm25": []}, fusion=fusion)[0]
        alone = hybrid_relevance({"dense": 0.9}, greatest=1)(1)
        assert one.relevance == pytest.approx(alone / 2)
        assert both.relevance > one.relevance

    @pytest.mark.parametrize("fusion", FUSIONS)
    def test_nothing_found(self, fusion: Any) -> None:
        assert self.hits({"dense": [], "bm25": []}, fusion=fusion) == []

    def test_negative_scores(self) -> None:
        found = self.hits({"dense": [(1, -0.2), (2, -0.5)], "bm25": []})
        assert [hit.relevance for hit in found] == [0, 0]

    def test_one_leg_keeps_its_own_relevance(self) -> None:
        assert [hit.relevance for hit in self.hits({"bm25": [(1, 5.0), (2, 2.0)]})] == [0.5, 0.2]
