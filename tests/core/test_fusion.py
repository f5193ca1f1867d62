"""Fusion, compared with values calculated by hand."""

from __future__ import annotations

import itertools
import json
import math
import unicodedata
from typing import Any

import numpy as np
import pytest

from korag.errors import InvalidArgumentError
from korag.fusion import (
    DEFAULT_METHOD,
    LEAST_WEIGHT,
    Fusion,
    anchored_fusion,
    reciprocal_rank_fusion,
    weighted_fusion,
)


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


@pytest.mark.parametrize("fuse", [weighted_fusion, anchored_fusion])
def test_an_id_twice_in_a_leg_counts_once_with_its_better_score(fuse: Any) -> None:
    others = [("c", 2.0), ("a", 1.0)]
    twice = {"bm25": [("a", 3.0), ("b", 2.0), ("a", 9.0), ("d", 1.0), ("b", 0.5)], "dense": others}
    assert fuse(twice) == fuse({"bm25": [("a", 9.0), ("b", 2.0), ("d", 1.0)], "dense": others})


@pytest.mark.parametrize("fuse", [reciprocal_rank_fusion, weighted_fusion, anchored_fusion])
def test_an_id_in_two_unicode_forms_counts_once_as_it_was_first_seen(fuse: Any) -> None:
    """File names of macOS are decomposed, those of other systems are not."""
    name = "계약서.pdf"
    apart = unicodedata.normalize("NFD", name)
    legs: dict[str, Any] = {"bm25": [(name, 3.0), ("b", 2.0), ("c", 1.0)], "dense": [("b", 5.0), (apart, 4.0)]}
    same = legs | {"dense": [("b", 5.0), (name, 4.0)]}
    if fuse is reciprocal_rank_fusion:
        legs, same = ({leg: [id_ for id_, _ in run] for leg, run in given.items()} for given in (legs, same))
    assert fuse(legs) == fuse(same)


@pytest.mark.parametrize("fuse", [weighted_fusion, anchored_fusion])
@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 10**400, None, "0.5"])
def test_a_score_that_is_no_finite_number_is_named(fuse: Any, score: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"runs\['dense'\]\[1\].*유한한 수"):
        fuse({"bm25": [("a", 1.0)], "dense": [("a", 1.0), ("b", score)]})


@pytest.mark.parametrize("fuse", [weighted_fusion, anchored_fusion])
def test_ids_without_scores_are_named(fuse: Any) -> None:
    with pytest.raises(InvalidArgumentError, match=r"runs\['bm25'\]\[0\]='ab'"):
        fuse({"bm25": ["ab", "cd"]})


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


@pytest.mark.parametrize("fuse", [reciprocal_rank_fusion, weighted_fusion, anchored_fusion])
def test_nothing_in_nothing_out(fuse: Any) -> None:
    assert fuse({}) == []
    assert fuse({"x": [], "y": []}) == []


@pytest.mark.parametrize("fuse", [reciprocal_rank_fusion, weighted_fusion, anchored_fusion])
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


@pytest.mark.parametrize("fuse", [reciprocal_rank_fusion, weighted_fusion, anchored_fusion])
def test_weights_of_all_kinds_of_numbers(fuse: Any) -> None:
    assert fuse({"x": []}, weights={"x": np.float32(0.5)}) == fuse({"x": []}, weights={"x": 1}) == []


@pytest.mark.parametrize("c", [-1, math.nan])
def test_a_constant_that_would_divide_by_zero(c: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="c="):
        reciprocal_rank_fusion({"x": ["a"]}, c=c)


def test_anchored_by_hand() -> None:
    """BM25 found fewer, so that what it did not find has 0: scores 12, 2, 0 and 0 against .5, .2, 0 and 0."""
    runs = {"dense": [("a", 0.9), ("b", 0.6), ("c", 0.4)], "bm25": [("c", 12.0), ("d", 2.0)]}
    bm25, dense = np.array([0, 0, 12, 2.0]), np.array([0.5, 0.2, 0, 0])  # a b c d
    bm25, dense = bm25 / bm25.std(), dense / dense.std()
    most = bm25.max() + LEAST_WEIGHT * dense.max()  # their correlation is below it
    expected = dict(zip("abcd", (bm25 + LEAST_WEIGHT * dense) / most, strict=True))
    fused = anchored_fusion(runs)
    assert dict(fused) == pytest.approx(expected)
    assert [id_ for id_, _ in fused] == ["c", "a", "d", "b"]


def test_anchored_weighs_a_leg_by_its_correlation_with_the_lexical_one() -> None:
    bm25 = {"a": 9.0, "b": 5.0, "c": 2.0, "d": 1.0}
    agrees = {"b": 0.9, "a": 0.8, "c": 0.3, "d": 0.1}
    one, other = (np.array([run[id_] - min(run.values()) for id_ in "abcd"]) for run in (bm25, agrees))
    weight = np.corrcoef(one, other)[0, 1]
    assert weight > LEAST_WEIGHT
    scaled, leaning = one / one.std(), other / other.std()
    expected = (scaled + weight * leaning) / (scaled.max() + weight * leaning.max())
    runs = {"bm25": list(bm25.items()), "dense": list(agrees.items())}
    assert dict(anchored_fusion(runs)) == pytest.approx(dict(zip("abcd", expected, strict=True)))


def test_anchored_without_a_lexical_leg_that_found_something_counts_all_legs_alike() -> None:
    dense, sparse = [("a", 0.9), ("b", 0.1)], [("b", 7.0), ("a", 1.0)]
    assert dict(anchored_fusion({"dense": dense, "sparse": sparse})) == pytest.approx({"a": 0.5, "b": 0.5})
    assert dict(anchored_fusion({"dense": dense, "sparse": sparse, "bm25": []})) == pytest.approx({"a": 0.5, "b": 0.5})


def test_lexical_legs_share_one_weight() -> None:
    words = [("a", 9.0), ("b", 5.0), ("c", 1.0)]
    dense = [("c", 0.9), ("d", 0.5), ("e", 0.1)]
    one = anchored_fusion({"bm25": words, "dense": dense})
    two = anchored_fusion({"bm25": words, "bm25_kiwi": words, "dense": dense}, lexical=("bm25", "bm25_kiwi"))
    assert dict(two) == pytest.approx(dict(one))


def _random_runs(seed: int, legs: tuple[str, ...] = ("dense", "bm25", "sparse")) -> dict[str, list[tuple[str, float]]]:
    """Runs of 30 of 60 documents, those of a leg around those of the others."""
    random = np.random.default_rng(seed)
    shared = random.gamma(1.0, 1.0, 60)
    runs = {}
    for leg in legs:
        scores = shared + random.gamma(1.0, 1.0, 60)
        best = np.argsort(-scores)[: random.integers(20, 31)]
        runs[leg] = [(f"d{index}", float(scores[index])) for index in best]
    return runs


@pytest.mark.parametrize("seed", range(20))
class TestAnchoredProperties:
    def test_the_order_of_legs_does_not_matter(self, seed: int) -> None:
        runs = _random_runs(seed)
        expected = dict(anchored_fusion(runs))
        for order in itertools.permutations(runs):
            fused = anchored_fusion({leg: runs[leg] for leg in order})
            assert dict(fused) == expected

    def test_scores_of_another_scale_are_the_same(self, seed: int) -> None:
        runs = _random_runs(seed)
        expected = anchored_fusion(runs)
        scaled = {leg: [(id_, 8.0 * score) for id_, score in run] for leg, run in runs.items()}
        assert dict(anchored_fusion(scaled)) == pytest.approx(dict(expected))
        shifted = runs | {"dense": [(id_, score - 5.0) for id_, score in runs["dense"]]}  # negative ones among them
        assert dict(anchored_fusion(shifted)) == pytest.approx(dict(expected))

    def test_scores_are_fractions_of_the_best_of_every_leg(self, seed: int) -> None:
        runs = _random_runs(seed)
        scores = [score for _, score in anchored_fusion(runs)]
        assert scores == sorted(scores, reverse=True)
        assert 0 <= scores[-1] <= scores[0] <= 1
        same = dict.fromkeys(runs, runs["dense"])
        assert anchored_fusion(same)[0] == (runs["dense"][0][0], pytest.approx(1.0))
        assert [id_ for id_, _ in anchored_fusion(same)] == [id_ for id_, _ in runs["dense"]]

    def test_a_leg_that_found_nothing_changes_nothing(self, seed: int) -> None:
        runs = _random_runs(seed)
        assert anchored_fusion(runs | {"colbert": []}) == anchored_fusion(runs)

    def test_a_leg_of_weight_0_is_left_out(self, seed: int) -> None:
        runs = _random_runs(seed)
        for leg in runs:
            rest = {other: run for other, run in runs.items() if other != leg}
            assert anchored_fusion(runs, weights={leg: 0}) == anchored_fusion(rest)

    def test_equal_weights_are_no_weights(self, seed: int) -> None:
        runs = _random_runs(seed)
        doubled = anchored_fusion(runs, weights=dict.fromkeys(runs, 2.0))
        assert dict(doubled) == pytest.approx(dict(anchored_fusion(runs)))

    def test_a_leg_whose_scores_are_all_equal_keeps_the_order_of_the_others(self, seed: int) -> None:
        runs = _random_runs(seed, ("dense", "bm25"))
        found = [id_ for id_, _ in anchored_fusion(runs)]
        fused = anchored_fusion(runs | {"sparse": [(id_, 0.1) for id_ in found]}, depth=max(map(len, runs.values())))
        assert [id_ for id_, _ in fused] == found

    def test_one_leg_keeps_its_order(self, seed: int) -> None:
        for leg, run in _random_runs(seed).items():
            assert [id_ for id_, _ in anchored_fusion({leg: run})] == [id_ for id_, _ in run]

    def test_a_leg_that_knows_nothing_does_not_displace_what_bm25_is_sure_of(self, seed: int) -> None:
        """Even where all legs rank all documents, so that it finds what BM25 found."""
        random = np.random.default_rng(seed)
        ids = [f"d{index}" for index in range(40)]
        words = [("d0", 12.0), ("d1", 8.0), *((id_, 3.0 - index / 20) for index, id_ in enumerate(ids[2:]))]
        guesses = sorted(zip(ids, random.normal(size=40).tolist(), strict=True), key=lambda item: -item[1])
        fused = anchored_fusion({"dense": guesses, "bm25": words})
        assert [id_ for id_, _ in fused[:2]] == ["d0", "d1"]


def test_a_single_hit_of_a_lexical_leg_is_not_lost() -> None:
    """A product code in one document, while the other leg is not sure of anything."""
    dense = [(f"d{index}", 0.5 - index / 1000) for index in range(100)]
    assert anchored_fusion({"dense": dense, "bm25": [("d70", 9.0)]})[0][0] == "d70"
    assert anchored_fusion({"dense": dense, "bm25": [("elsewhere", 9.0)]})[0][0] == "elsewhere"
    fused = anchored_fusion({"dense": dense, "bm25": [("d70", 9.0), ("d80", 8.0)]})
    assert [id_ for id_, _ in fused[:2]] == ["d70", "d80"]


def test_confidence_is_a_factor_on_the_weight_of_the_anchored_fusion_alone() -> None:
    runs = _random_runs(0)
    fused, most = Fusion("anchored", {"bm25": 2.0})(runs, confidences={"bm25": 3.0, "dense": 0.5})
    assert (fused, most) == (anchored_fusion(runs, weights={"bm25": 6.0, "dense": 0.5}), 1.0)
    for method in ("rrf", "weighted"):
        assert Fusion(method)(runs, confidences={"bm25": 3.0}) == Fusion(method)(runs)


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
