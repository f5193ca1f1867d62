"""`korag.checks`: what passes, what does not, and what the message says."""

import numpy as np
import pytest
from assertions import assert_bilingual

from korag.checks import (
    check_choice,
    check_count,
    check_deletion,
    check_distinct,
    check_flag,
    check_fraction,
    check_fusion,
    check_lengths,
    check_list,
    name_weights,
    reject_unknown,
)
from korag.errors import InvalidArgumentError
from korag.paths import check_new_folder, check_path


def test_what_passes_is_returned(tmp_path):
    assert check_count("k", 0) == 0
    assert check_count("k", 3, at_least=3) == 3
    assert type(check_count("k", np.int64(3))) is int
    assert check_flag("exact", False) is False
    assert check_fraction("min_relevance", 1) == 1.0
    assert check_fraction("min_relevance", None) == 0.0
    assert check_choice("family", None, (None, "dense")) is None
    assert check_fusion("weighted") == "weighted"
    assert check_list("models", ("가", "나")) == ["가", "나"]
    assert check_list("models", (name for name in "ab")) == ["a", "b"]
    assert check_new_folder("output", tmp_path / "new") == tmp_path / "new"
    assert name_weights(["dense", "bm25"], [1, 2]) == {"dense": 1.0, "bm25": 2.0}
    check_lengths(texts=[1, 2], ids=[3, 4])
    check_distinct("ids", ["가", "나"])
    check_deletion("where={}", ids=[], where=None)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda path: check_count("k", True), ["k=True", "0"]),
        (lambda path: check_count("k", 1.0), ["k=1.0"]),
        (lambda path: check_count("batch", 0, at_least=1), ["batch=0", "1"]),
        (lambda path: check_flag("exact", 1), ["exact=1", "True", "False"]),
        (lambda path: check_fraction("score_threshold", 1.5), ["score_threshold=1.5"]),
        (lambda path: check_fraction("score_threshold", float("nan")), ["score_threshold=nan"]),
        (lambda path: check_choice("family", "denes", (None, "dense", "sparse")), ["'denes'", "'dense', 'sparse'"]),
        (lambda path: check_choice("family", np.zeros(2), ("dense",)), ["family=array"]),
        (lambda path: check_fusion("sum"), ["fusion='sum'", "'auto', 'anchored', 'rrf', 'weighted'"]),
        (lambda path: check_list("models", "mini-dense"), ["models=['mini-dense']"]),
        (lambda path: check_list("models", path), ["models=["]),
        (lambda path: check_list("models", {"a": 1}), ["models=[{'a': 1}]"]),
        (lambda path: check_list("models", None, example="['a']"), ["models=None", "models=['a']"]),
        (lambda path: check_new_folder("output", path), ["'"]),
        (lambda path: check_path("path", ""), ["path=''", "NUL"]),
        (lambda path: check_path("path", "na\0me"), ["path=", "NUL"]),
        (lambda path: check_path("path", 3), ["path=3", "str"]),
        (lambda path: check_path("path", "~nobody-here/x"), ["path=", "~nobody-here"]),
        (lambda path: check_lengths(texts=[1, 2], ids=[3]), ["2", "1", "texts", "ids"]),
        (lambda path: check_distinct("nodes", ["a", "b", "a"]), ["nodes[2]", "nodes[0]", "'a'"]),
        (lambda path: check_deletion("where={}", ids=None, where=None), ["ids", "where={}"]),
        (lambda path: name_weights(["dense", "bm25"], [1]), ["1", "2", "dense, bm25"]),
        (lambda path: name_weights(["dense", "bm25"], "ab"), ["weights='ab'"]),
        (lambda path: reject_unknown(dict, ["kk"], ("k", "where")), ["'kk'", "k", "k, where"]),
    ],
)
def test_what_does_not_pass_is_named(call, parts, tmp_path):
    with pytest.raises(InvalidArgumentError) as caught:
        call(tmp_path)
    assert_bilingual(caught.value, *parts)


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("kk", ("k", "where"), "k"),
        ("top_k", ("where", "k"), "k"),
        ("where", ("k", "filter"), "filter"),
        ("method", ("fusion", "k"), "fusion"),
        ("encoders", ("models", "node_ids"), "models"),
        ("model", ("model_name", "metadata_mode"), "model_name"),
    ],
)
def test_other_names_of_a_keyword_are_understood(name, known, meant):
    with pytest.raises(InvalidArgumentError) as caught:
        reject_unknown(dict, [name], known)
    assert f"혹시 {meant}인가요?" in caught.value.args[0]
    assert f"Did you mean {meant}?" in caught.value.args[1]


def test_no_guess_far_from_any_name():
    with pytest.raises(InvalidArgumentError) as caught:
        reject_unknown(dict, ["codecs"], ("objects", "k"))
    assert "혹시" not in str(caught.value)
