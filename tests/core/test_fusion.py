"""Fusion, compared with values calculated by hand."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest

from korag.errors import InvalidArgumentError
from korag.fusion import DEFAULT_METHOD, Fusion, reciprocal_rank_fusion, weighted_fusion


def test_rrf_by_hand() -> None:
    fused = reciprocal_rank_fusion({"dense": ["a", "b", "c"], "bm25": ["c", "d"]})
    assert [id_ for id_, _ in fused] == ["c", "a", "b", "d"]
    assert dict(fused) == pytest.approx(
        {
            "a": 0.01639344262295082,  # 1/61: ranks begin at 1, c is 60
            "b": 0.016129032258064516,  # 1/62
            "c": 0.01639344262295082 + 0.015873015873015872,  # 1/61 + 1/63
            "d": 0.016129032258064516,  # 1/62; nothing for the leg that lacks it
        },
        abs=1e-15,
    )


def test_an_id_twice_in_a_leg_counts_once_at_its_better_rank() -> None:
    assert reciprocal_rank_fusion({"x": ["a", "b", "a", "c", "b"]}) == reciprocal_rank_fusion({"x": ["a", "b", "c"]})


def test_rrf_weights_and_constant() -> None:
    legs = {"x": ["a", "b"], "y": ["b"]}
    assert dict(reciprocal_rank_fusion(legs, weights={"x": 3})) == pytest.approx({"a": 3 / 61, "b": 3 / 62 + 1 / 61})
    assert dict(reciprocal_rank_fusion(legs, weights={"x": 0})) == pytest.approx({"a": 0, "b": 1 / 61})
    assert dict(reciprocal_rank_fusion(legs, c=0)) == {"a": 1, "b": 1.5}


def test_equal_scores_keep_the_order_in_which_they_were_seen() -> None:
    assert [id_ for id_, _ in reciprocal_rank_fusion({"x": ["b", "a"], "y": ["a", "b"]})] == ["b", "a"]
    assert [id_ for id_, _ in reciprocal_rank_fusion({"x": ["b"], "y": ["a"]})] == ["b", "a"]
    assert [id_ for id_, _ in weighted_fusion({"x": [("b", 1.0)], "y": [("a", 7.0)]})] == ["b", "a"]


@pytest.mark.parametrize("ranks", [(1, 2, 3), (1, 5, 9), (2, 3, 11), (1, 7, 30)])
def test_the_same_ranks_in_other_legs_tie(ranks: tuple[int, ...]) -> None:
    """Plain addition of 1/61 + 1/62 + 1/63 depends on the order in the last bit."""
    scores = set()
    for order in itertools.permutations(ranks):
        legs = {f"leg{n}": [f"other{n}.{i}" for i in range(rank - 1)] + ["a"] for n, rank in enumerate(order)}
        scores.add(dict(reciprocal_rank_fusion(legs))["a"])
    assert len(scores) == 1


def test_weighted_by_hand() -> None:
    runs = {"dense": [("a", 0.9), ("b", 0.6), ("c", 0.4)], "bm25": [("c", 12.0), ("d", 2.0)]}
    assert dict(weighted_fusion(runs)) == pytest.approx({"a": 1, "b": 0.4, "c": 1, "d": 0})
    weighted = weighted_fusion(runs, weights={"bm25": 0.5})
    assert weighted == [("a", 1.0), ("c", 0.5), ("b", pytest.approx(0.4)), ("d", 0.0)]


def test_weighted_with_one_score_or_equal_scores() -> None:
    assert weighted_fusion({"x": [("a", -3.0)]}) == [("a", 1.0)]
    assert weighted_fusion({"x": [("a", 0.0), ("b", 0.0)]}) == [("a", 1.0), ("b", 1.0)]
    assert weighted_fusion({"x": [("a", 1.0), ("b", 0.0), ("b", 2.0)]}) == [("b", 1.0), ("a", 0.0)]


@pytest.mark.parametrize("fuse", [reciprocal_rank_fusion, weighted_fusion])
def test_nothing_in_nothing_out(fuse: Any) -> None:
    assert fuse({}) == []
    assert fuse({"x": [], "y": []}) == []


@pytest.mark.parametrize("fuse", [reciprocal_rank_fusion, weighted_fusion])
@pytest.mark.parametrize(
    "weights",
    [
        {"z": 1.0},
        {"x": -1},
        {"x": math.nan},
        {"x": math.inf},
        {"x": "1"},
        {"x": None},
        [1.0],
        "x",
        0.5,
        {"x": 0, "y": 0},
    ],
)
def test_weights_that_make_no_sense(fuse: Any, weights: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="weights"):
        fuse({"x": [], "y": []}, weights=weights)


@pytest.mark.parametrize("fuse", [reciprocal_rank_fusion, weighted_fusion])
def test_weights_of_all_kinds_of_numbers(fuse: Any) -> None:
    assert fuse({"x": []}, weights={"x": np.float32(0.5)}) == fuse({"x": []}, weights={"x": 1}) == []


@pytest.mark.parametrize("c", [-1, math.nan])
def test_a_constant_that_would_divide_by_zero(c: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="c="):
        reciprocal_rank_fusion({"x": ["a"]}, c=c)


class TestFusion:
    @pytest.mark.parametrize("fusion", [Fusion(), Fusion("rrf"), Fusion("anchored", {"bm25": 2.0, "dense": 0.25})])
    def test_json_and_back(self, fusion: Fusion) -> None:
        assert Fusion.from_dict(json.loads(json.dumps(fusion.to_dict()))) == fusion

    @pytest.mark.parametrize(
        "recorded",
        [
            None,
            [],
            {},
            {"method": "rrf"},
            {"method": "sum", "weights": None},
            {"method": None, "weights": None},
            {"method": "rrf", "weights": None, "c": 60},
            {"method": "rrf", "weights": [1]},
            {"method": "rrf", "weights": {"bm25": -1}},
            {"method": "rrf", "weights": {"bm25": "1"}},
            {"method": "rrf", "weights": {"bm25": 0}},
        ],
    )
    def test_anything_else_is_not_read(self, recorded: Any) -> None:
        with pytest.raises(InvalidArgumentError):
            Fusion.from_dict(recorded)

    def test_auto_is_what_was_fitted_with_the_weights_on_top(self) -> None:
        fitted = Fusion("weighted", {"bm25": 2.0, "dense": 0.5})
        assert Fusion().resolved() == Fusion(DEFAULT_METHOD)
        assert Fusion("auto", {"bm25": 3.0}).resolved() == Fusion(DEFAULT_METHOD, {"bm25": 3.0})
        assert Fusion().resolved(fitted) == fitted
        assert Fusion("auto", {"bm25": 3.0}).resolved(fitted) == Fusion("weighted", {"bm25": 6.0, "dense": 0.5})
        assert Fusion("rrf", {"bm25": 3.0}).resolved(fitted) == Fusion("rrf", {"bm25": 3.0})
        assert Fusion().resolved(Fusion("auto", {"bm25": 3.0})) == Fusion(DEFAULT_METHOD, {"bm25": 3.0})
