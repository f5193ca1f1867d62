"""Relevance and its threshold, searches by vector, and hits that differ from each other."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest

from korag.checks import FusionMethod
from korag.collection.base import Collection
from korag.collection.relevance import hybrid_relevance
from korag.errors import InvalidArgumentError
from korag.testing.contract.fixtures import ContractFixtures, Encoders, Make
from korag.testing.contract.samples import DOCUMENTS, LEGS, ids_of


class RelevanceTests(ContractFixtures):
    """Relevance and thresholds."""

    @pytest.mark.parametrize("using", [*LEGS, "hybrid"])
    def test_relevance_is_between_0_and_1_and_falls_with_the_score(self, filled: Collection, using: str) -> None:
        for query in (DOCUMENTS[2], "보증금은 언제 돌려받나요?", "제6조의2"):
            relevances = [hit.relevance for hit in filled.search(query, using=using)]
            assert all(0 <= relevance <= 1 for relevance in relevances)
            assert relevances == sorted(relevances, reverse=True)

    def test_relevance_of_each_leg(self, filled: Collection, encoders: Encoders) -> None:
        query = "보증금은 언제 돌려받나요?"
        first = filled.search(query, using="dense", k=1)[0]
        assert first.relevance == pytest.approx(first.score, abs=1e-6)
        first = filled.search(query, using="colbert", k=1)[0]
        assert first.relevance == pytest.approx(
            first.score / len(encoders["colbert"].encode_queries([query])[0]), abs=1e-6
        )

    def test_relevance_of_a_hybrid_hit_is_that_of_the_legs_whatever_the_fusion(self, filled: Collection) -> None:
        # Of queries without an identifier, for which a leg may count more than the others.
        for query in (DOCUMENTS[0], "보증금은 언제 돌려받나요?", "이자는 얼마인가요?"):
            tops = {
                leg: next((hit.relevance for hit in filled.search(query, using=leg, k=1)), 0.0) for leg in filled.legs
            }
            expected = hybrid_relevance(tops, greatest=1.0)(1.0)
            for fusion in get_args(FusionMethod):
                hits = filled.search(query, using="hybrid", fusion=fusion)
                assert hits[0].relevance == pytest.approx(expected, abs=1e-5)
                shares = [hit.score / hits[0].score for hit in hits]
                assert [hit.relevance for hit in hits] == pytest.approx(
                    [expected * math.sqrt(max(0.0, share)) for share in shares], abs=1e-5
                )
            alone = filled.search(
                query, using="hybrid", k=1, weights={leg: float(leg == "dense") for leg in filled.legs}
            )[0]
            assert alone.relevance == pytest.approx(
                hybrid_relevance({"dense": tops["dense"]}, greatest=1.0)(1.0), abs=1e-5
            )

    @pytest.mark.parametrize("using", [*LEGS, "hybrid"])
    def test_min_relevance_leaves_out_what_is_below(self, filled: Collection, using: str) -> None:
        query = "보증금은 언제 돌려받나요?"
        hits = filled.search(query, using=using)
        assert len(hits) > 1
        least = hits[1].relevance
        assert filled.search(query, using=using, min_relevance=least) == [h for h in hits if h.relevance >= least]
        assert len(filled.search(query, using=using, min_relevance=least)) < len(hits) or hits[-1].relevance == least

    @pytest.mark.parametrize("value", [-0.1, 1.5, math.nan, "0.5", True, [0.5]])
    def test_min_relevance_out_of_range(self, filled: Collection, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="min_relevance"):
            filled.search("질문", min_relevance=value)

    def test_search_by_vector_is_the_dense_search(self, filled: Collection, encoders: Encoders) -> None:
        query = "보증금은 언제 돌려받나요?"
        vector = encoders["dense"].encode_queries([query])[0]
        expected = filled.search(query, using="dense", k=3, where={"짝수": True})
        for given in (vector, (vector * 7).tolist()):  # cosine: the length does not matter
            found = filled.search_by_vector(given, k=3, where={"짝수": True})
            assert ids_of(found) == ids_of(expected)
            assert [h.score for h in found] == pytest.approx([h.score for h in expected], abs=1e-6)
        assert filled.search_by_vector(vector, k=0) == []
        least = expected[0].relevance - 1e-4
        assert ids_of(filled.search_by_vector(vector, where={"짝수": True}, min_relevance=least)) == [expected[0].id]

    def test_a_vector_of_another_model(self, filled: Collection, encoders: Encoders) -> None:
        dim = encoders["dense"].dim
        bad: list[Any] = [[], [1.0], [[0.0] * dim], ["가"] * dim, [math.nan] * dim]
        for vector in bad:
            with pytest.raises(InvalidArgumentError):
                filled.search_by_vector(vector)
            with pytest.raises(InvalidArgumentError):
                filled.search_by_vector(vector, k=0)
        with pytest.raises(InvalidArgumentError, match="k="):
            filled.search_by_vector([0.0] * dim, k=-1)

    def test_no_vector_search_without_a_dense_leg(self, make: Make) -> None:
        with pytest.raises(InvalidArgumentError, match="dense"):
            make(bm25=True).search_by_vector([0.0])

    @pytest.mark.parametrize("using", [*LEGS, "hybrid"])
    def test_diversify_skips_copies(self, make: Make, encoders: Encoders, using: str) -> None:
        collection = make(encoders=list(encoders.values()), bm25=True)
        same = "보증금은 계약이 끝나면 돌려받는다."
        collection.add([same, same, same, "보증금은 이사하는 날 돌려받나요?"], ids=["a", "b", "c", "d"])
        hits = collection.search("보증금은 언제 돌려받나요?", using=using, k=4)
        assert sorted(ids_of(hits)) == ["a", "b", "c", "d"]
        chosen = collection.diversify(hits, k=2, using=using)
        assert [hit.text for hit in chosen] == [hits[0].text, next(h.text for h in hits if h.text != hits[0].text)]
        assert collection.diversify(hits, k=4, lambda_mult=1.0, using=using) == hits
        assert collection.diversify([], k=4, using=using) == []
        assert collection.diversify(hits, k=0, using=using) == []
        collection.delete(["d"])
        assert "d" not in ids_of(collection.diversify(hits, k=4, using=using))

    def test_diversify_takes_hits_only(self, filled: Collection) -> None:
        wrong: Any = ["주거"]
        with pytest.raises(InvalidArgumentError, match=r"hits\[0\]"):
            filled.diversify(wrong)

    @pytest.mark.parametrize("value", [-0.1, 1.1, math.nan, "0.5", None, True])
    def test_lambda_out_of_range(self, filled: Collection, value: Any) -> None:
        with pytest.raises(InvalidArgumentError, match="lambda_mult"):
            filled.diversify(filled.search("보증금"), lambda_mult=value)
