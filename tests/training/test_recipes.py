"""Recipes, batches without false negatives, and the command line."""

import argparse
from dataclasses import replace

import pytest
from datasets import Dataset

from korag.cli import build_parser, main
from korag.errors import InvalidArgumentError
from korag.training import RECIPES, Pair, TrainingReport, check_recipe
from korag.training.columns import to_columns
from korag.training.recipes import default_recipe, find_recipe, override
from korag.training.sampler import PairBatchSampler
from korag.training.trainer import precision_flags


def test_the_cards_settings() -> None:
    colbert, splade, legal = RECIPES["colbert-ko-0.1b"], RECIPES["splade-ko-v1"], RECIPES["legal-lora"]
    assert (colbert.learning_rate, colbert.epochs, colbert.batch_size, colbert.warmup) == (1e-5, 2, 64, 0.1)
    assert (colbert.dims, colbert.dim_weights, colbert.temperature) == ((32, 64, 96, 128), (0.25,) * 4, 1.0)
    assert (colbert.negatives, colbert.precision, colbert.gradient_checkpointing) == (1, "fp16", True)
    assert (splade.learning_rate, splade.epochs, splade.precision, splade.negatives) == (2e-5, 2, "bf16", 6)
    assert splade.gather_across_devices
    assert (legal.batch_size, legal.epochs, legal.precision) == (4, 1, "fp16")
    assert legal.temperature == pytest.approx(0.05)  # the card's "scale 0.05"
    assert legal.lora is not None
    assert RECIPES["bge-m3-ko"].family == "dense"
    for family in ("dense", "sparse", "late_interaction"):
        assert default_recipe("mine/model", family).family == family
        assert default_recipe("mine/model", family).learning_rate < 1e-4  # a large model bears no more
    assert default_recipe("mini-dense", "dense").name == "mini-dense"
    for recipe in RECIPES.values():
        assert find_recipe(recipe) is recipe
        assert recipe.source


def test_warnings() -> None:
    legal = RECIPES["legal-lora"]
    assert [("scale" in text, "batch" in text) for text in check_recipe(legal)] == [(False, True)]  # 4 candidates
    (text,) = check_recipe(replace(legal, scale=0.05, batch_size=64))
    assert "scale=20" in text
    assert "온도" in text
    assert check_recipe(replace(legal, scale=0.05, batch_size=64), similarity="dot") == []
    assert check_recipe(replace(RECIPES["small-colbert"], scale=0.5)) == []  # MaxSim is a sum
    assert check_recipe(RECIPES["small-dense"], pairs=1)
    assert check_recipe(RECIPES["small-dense"], pairs=100) == []


@pytest.mark.parametrize(
    "changes",
    [{"scale": 0}, {"batch_size": 0}, {"learning_rate": -1}, {"warmup": 1}, {"negatives": -1}, {"loss": "x"},
     {"dim_weights": (1.0,)}, {"precision": "int8"}, {"lora": 3}],
)  # fmt: skip
def test_wrong_values(changes) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(changes))):
        find_recipe(replace(RECIPES["small-colbert"], **changes))


def test_override() -> None:
    assert override(RECIPES["small-dense"], epochs=3, batch_size=None).epochs == 3
    with pytest.raises(InvalidArgumentError, match="no field 'epoch'"):
        override(RECIPES["small-dense"], epoch=3)


def test_precision() -> None:
    recipe = RECIPES["small-dense"]
    assert precision_flags(replace(recipe, precision="fp32"), "cuda") == {"bf16": False, "fp16": False}
    assert precision_flags(replace(recipe, precision="fp16"), "cpu")["fp16"] is False
    assert precision_flags(replace(recipe, precision="bf16"), "cuda") == {"bf16": True, "fp16": False}
    assert precision_flags(replace(recipe, precision="fp16"), "cuda:1") == {"bf16": False, "fp16": True}


def test_columns_are_of_one_length_and_fill_with_no_answer() -> None:
    pairs = [Pair("가", "답 1", ("오답",)), Pair("나", "답 2"), Pair("가", "답 3", ("오답", "딴 오답", "셋째"))]
    columns = to_columns(pairs, 2, seed=1)
    assert list(columns) == ["query", "positive", "negative_1", "negative_2"]
    rows = list(zip(*columns.values(), strict=True))
    assert rows[2] == ("가", "답 3", "오답", "딴 오답")
    assert rows[0][2] == "오답"
    assert {"답 1", "답 3", "오답"}.isdisjoint({rows[0][3]})
    assert rows == list(zip(*to_columns(pairs, 2, seed=1).values(), strict=True))
    assert list(to_columns(pairs[1:2], 3, seed=1)) == ["query", "positive"]
    tiny = [Pair("가", "나", ("다",)), Pair("라", "마", ("다", "나"))]  # not enough documents for two each
    assert list(to_columns([*tiny, Pair("가", "마")], 2, seed=1)) == ["query", "positive", "negative_1"]


def _sampler(**changes):
    pairs = [Pair(f"질의 {i % 17}", f"문서 {i % 23}", (f"문서 {(i + 5) % 23}",)) for i in range(60)]
    pairs = [pair for pair in pairs if pair.negatives[0] not in {p.positive for p in pairs if p.query == pair.query}]
    data = Dataset.from_dict(to_columns(pairs, 1, seed=1))
    return pairs, PairBatchSampler(data, **({"batch_size": 8, "drop_last": False, "seed": 3} | changes))


def test_no_batch_has_a_false_negative() -> None:
    pairs, sampler = _sampler()
    answers: dict[str, set[str]] = {}
    for pair in pairs:
        answers.setdefault(pair.query, set()).add(pair.positive)
    batches = list(sampler)
    assert len(batches) == len(sampler)
    assert sorted(row for batch in batches for row in batch) == list(range(len(pairs)))
    for batch in batches:
        assert len({pairs[row].query for row in batch}) == len(batch) <= 8
        for row in batch:
            others = {t for o in batch if o != row for t in (pairs[o].positive, *pairs[o].negatives)}
            assert answers[pairs[row].query].isdisjoint(others | set(pairs[row].negatives))


def test_the_order_is_of_the_seed_and_the_epoch() -> None:
    one, other = _sampler()[1], _sampler()[1]
    assert list(one) == list(other)
    one.set_epoch(1)
    assert list(one) != list(other)
    assert list(_sampler(seed=4)[1]) != list(other)
    assert all(len(batch) == 8 for batch in _sampler(drop_last=True)[1])


def _parse(*arguments: str) -> argparse.Namespace:
    return build_parser().parse_args(arguments)


def test_the_command_passes_everything_on(tmp_path, monkeypatch, capsys) -> None:
    seen = {}

    def fake(model, pairs, output, **keywords):
        seen.update(keywords, model=model, pairs=pairs, output=output)
        return TrainingReport(
            output=tmp_path, model=model, recipe=keywords["recipe"], seed=1, train_pairs=8, held_out_pairs=2,
            documents=10, steps=3, seconds=1.0, ndcg={"bm25": 0.5, "before": 0.25, "after": 0.75},
        )  # fmt: skip

    monkeypatch.setattr("korag.training.finetuning.finetune", fake)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("한 줄\n\n두 줄\n", encoding="utf-8")
    status = main([
        "train", "mini-colbert", "p.jsonl", "out", "--set", "epochs=3", "--set", "dims=[32, 64]", "--held-out", "0.3",
        "--mine", "--distill", "teacher", "--column", "query=질문", "--corpus", str(corpus),
        "--lenient", "--seed", "7", "--device", "cpu",
    ])  # fmt: skip
    assert status == 0
    assert seen["recipe"] == replace(RECIPES["mini-colbert"], epochs=3, dims=(32, 64))
    assert (seen["held_out"], seen["mine"], seen["strict"], seen["seed"]) == (0.3, True, False, 7)
    assert seen["distill"] == "teacher"
    assert (seen["columns"], seen["corpus"], seen["device"]) == ({"query": "질문"}, ["한 줄", "두 줄"], "cpu")
    assert "| after training | 0.750 |" in capsys.readouterr().out
    for option in ("--set", "--column"):
        assert main(["train", "mini-dense", "p", "o", option, "epochs"]) == 2
        assert f"{option} 'epochs' must have the form NAME=VALUE" in capsys.readouterr().err


def test_help_lists_the_recipes(capsys) -> None:
    with pytest.raises(SystemExit):
        _parse("train", "--help")
    shown = capsys.readouterr().out
    assert all(name in shown for name in RECIPES)
    assert _parse("merge", "adapter", "out", "--base", "x").base == "x"
