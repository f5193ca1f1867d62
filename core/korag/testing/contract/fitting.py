"""The fusion fitted to a collection, and what it is fitted to."""

from __future__ import annotations

import pytest

from korag.collection.base import Collection
from korag.collection.ranking import fuse_runs
from korag.errors import IndexStateError
from korag.fusion import Fusion
from korag.testing.contract.fixtures import ContractFixtures
from korag.testing.contract.samples import DOCUMENTS, IDS

QUERIES = ["보증금을 돌려받는 법", "도서관 휴관일"]
FETCH = 5


class FittingTests(ContractFixtures):
    """A fitted fusion is kept and used, or refused."""

    def test_a_fitted_fusion_is_used_by_default(self, small: Collection) -> None:
        assert small.fitted_fusion is None
        small.add(DOCUMENTS, ids=IDS)
        default = small.search(QUERIES[0])
        fitted = Fusion("weighted", {"bm25": 3.0, "dense": 0.5})
        try:
            small.store_fusion(fitted)
        except IndexStateError:  # this store keeps none
            assert small.fitted_fusion is None
            return
        assert small.fitted_fusion == fitted
        expected = small.search(QUERIES[0], fusion="weighted", weights=fitted.weights)
        assert small.search(QUERIES[0]) == small.search(QUERIES[0], fusion="auto") == expected
        small.store_fusion(None)
        assert small.fitted_fusion is None
        assert small.search(QUERIES[0]) == default

    @pytest.mark.parametrize("fusion", [Fusion().resolved(), Fusion("rrf"), Fusion("weighted", {"bm25": 2.0})])
    def test_fusing_what_the_legs_found_is_searching(self, filled: Collection, fusion: Fusion) -> None:
        found = filled._leg_runs(QUERIES, filled.legs, FETCH)
        for query, runs in zip(QUERIES, found, strict=True):
            assert set(runs.runs) == set(filled.legs)
            for leg, run in runs.runs.items():
                hits = filled.search(query, using=leg, k=FETCH)
                assert [runs.ids[key] for key, _ in run] == [hit.id for hit in hits]
            fused = fuse_runs(runs, fusion)
            hits = filled.search(query, k=FETCH, fetch_k=FETCH, fusion=fusion.method, weights=fusion.weights)
            scores = [score for _, score in fused[:FETCH]]
            # legs score in float32, whose last digits depend on what is scored together
            assert scores == pytest.approx([hit.score for hit in hits], rel=1e-6, abs=1e-6)
