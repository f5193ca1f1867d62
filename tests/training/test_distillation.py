"""Distillation: the losses against plain loops, teachers of every kind, and what is wrong said beforehand."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from checkpoints import BUILDERS, DIMS

from korag import load_encoder
from korag.checkpoints.matryoshka import read_heads
from korag.errors import IndexStateError, InvalidArgumentError, PairsError
from korag.training import RECIPES, Pair, check_pairs, finetune, read_pairs, split_pairs
from korag.training.distillation import kl_divergence, margin_mse
from korag.training.heads import attach_heads
from korag.training.losses import make_loss

pytestmark = pytest.mark.training

QUERIES = ["보증금은 언제 돌려받나요?", "도서관 쉬는 날", "환불 기간이 며칠인가요"]
COLUMNS = [
    QUERIES,
    ["임대차가 끝나면 보증금을 돌려준다.", "도서관은 월요일에 쉰다.", "결제하고 이레 안에 환불을 신청한다."],
    ["월세가 밀리면 계약을 해지한다.", "구내식당은 열두 시에 연다.", "교환은 상자를 뜯기 전까지 된다."],
    ["관리비는 달마다 낸다.", "주차장은 밤에 닫는다.", "배송은 이틀 걸린다."],
]
TAUGHT = [[0.9, 0.4, 0.1], [0.8, float("nan"), 0.3], [0.5, 0.45, 0.4]]
PAIRS = [
    Pair(query, positive, tuple(negatives), scores=(0.9, 0.2, 0.1))
    for query, positive, *negatives in zip(*COLUMNS, strict=True)
]


def _known(scores, taught):
    """Pairs of logits of the candidates that the teacher has scored, row by row."""
    return [
        [(float(s), float(t)) for s, t in zip(row, wanted, strict=True) if not math.isnan(t)]
        for row, wanted in zip(scores, taught, strict=True)
    ]


def _plain_kl(scores, taught):
    total = 0.0
    for row in _known(scores, taught):
        ours, theirs = (sum(math.exp(pair[side]) for pair in row) for side in (0, 1))
        for s, t in row:
            p, q = math.exp(t) / theirs, math.exp(s) / ours
            total += p * math.log(p / q)
    return total / len(scores)


def _plain_margins(scores, taught):
    errors = [((row[0][0] - s) - (row[0][1] - t)) ** 2 for row in _known(scores, taught) for s, t in row[1:]]
    return sum(errors) / len(errors)


def test_both_terms_equal_plain_loops_and_skip_what_has_no_score() -> None:
    scores = torch.randn(3, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    taught = torch.tensor(TAUGHT)
    for term, plain in ((kl_divergence, _plain_kl), (margin_mse, _plain_margins)):
        value = term(scores, taught)
        assert value.item() == pytest.approx(plain(scores.tolist(), TAUGHT), rel=1e-5)
        (gradient,) = torch.autograd.grad(value, scores)
        assert gradient.isfinite().all()
        assert gradient[1, 1] == 0  # not scored
        assert term(scores, torch.full((3, 3), float("nan"))).item() == 0
        assert term(taught.nan_to_num(), taught).item() == pytest.approx(0, abs=1e-6)  # learned
    lone = torch.tensor([[0.9, float("nan"), float("nan")]])
    assert kl_divergence(scores[:1], lone).item() == 0  # nothing to compare with


@pytest.mark.parametrize(("layout", "kind"), [
    ("matryoshka", "kl"), ("pylate", "margin-mse"), ("dense", "kl"), ("splade", "margin-mse"),
])  # fmt: skip
def test_every_familys_loss_is_the_weighted_sum_of_both_parts(tmp_path, layout, kind) -> None:
    BUILDERS[layout](tmp_path)
    encoder = load_encoder(tmp_path, device="cpu")
    model = encoder._load(tmp_path).eval()
    names = {1.0: "token_embeddings"}
    if layout == "matryoshka":
        attach_heads(model, read_heads(tmp_path / "matryoshka_heads.pt"))
        names = {dim: f"token_embeddings_{dim}" for dim in DIMS}
    recipe = {"late_interaction": "small-colbert", "sparse": "small-splade", "dense": "small-dense"}[encoder.family]
    chosen = replace(RECIPES[recipe], distill_loss=kind, distill_weight=0.3)
    tasks = ["query", "document", "document", "document"]
    features = [
        {**model.preprocess(texts, task=task), "task": task} for texts, task in zip(COLUMNS, tasks, strict=True)
    ]
    labels = torch.tensor(TAUGHT)
    with torch.no_grad():
        plain = make_loss(model, chosen, similarity=encoder.similarity)
        loss = make_loss(model, chosen, similarity=encoder.similarity, teacher_temperature=0.1)
        contrastive, value = plain(features, labels), loss(features, labels)
        if encoder.family == "late_interaction":
            outputs = [model(dict(each), task=each["task"], **({"all_dims": True} if layout == "matryoshka" else {}))
                       for each in features]  # fmt: skip
            scores = [[[_maxsim(outputs[0], outputs[1 + j], i, name) for j in range(3)] for i in range(3)]
                      for name in names.values()]  # fmt: skip
        else:
            vectors = [model(dict(each))["sentence_embedding"] for each in features]
            if encoder.similarity == "cosine" and encoder.family == "dense":
                vectors = [each / each.norm(dim=1, keepdim=True) for each in vectors]
            scores = [[[float(vectors[0][i] @ vectors[1 + j][i]) * chosen.scale for j in range(3)] for i in range(3)]]
    taught = [[score / 0.1 for score in row] for row in TAUGHT]
    term = _plain_kl if kind == "kl" else _plain_margins
    distilled = sum(term(each, taught) for each in scores) / len(scores)
    if encoder.family == "sparse":  # with FLOPS, which is not weighted
        assert set(value) == set(contrastive)
        assert value.keys() >= {"document_regularizer_loss", "query_regularizer_loss"}
        contrastive, value = contrastive["base_loss"], value["base_loss"]
    assert value.item() == pytest.approx(0.7 * contrastive.item() + 0.3 * distilled, rel=1e-4)


def _maxsim(query, document, row, name):
    def kept(output):
        vectors = output[name][row][output["attention_mask"][row].bool()].float()
        return vectors / vectors.norm(dim=1, keepdim=True)

    return sum(max(float(q @ d) for d in kept(document)) for q in kept(query))


def _run(folder, output, **changes):
    settings = {"max_steps": 12, "seed": 5, "device": "cpu", "show_progress": False, "held_out": 0}
    recipe = replace(RECIPES["small-dense"], learning_rate=3e-3, distill_weight=1.0, negatives=2)
    return finetune(folder, PAIRS, output, **({"recipe": recipe} | settings | changes))


def test_a_student_takes_over_any_teachers_order(tmp_path, monkeypatch) -> None:
    """A function and an encoder; the teacher is asked once, even if the run is interrupted."""
    asked = []

    def contrary(query, documents):
        asked.append(query)
        return [-float(len(asked)) if index == 0 else float(index) for index in range(len(documents))]

    def fail(*_args, **_kwargs):
        raise RuntimeError("disk full")

    monkeypatch.setattr("korag.training.finetuning.save_model", fail)
    with pytest.raises(RuntimeError, match="disk full"):
        _run("mini-dense", tmp_path / "out", distill=contrary)
    monkeypatch.undo()
    with pytest.raises(IndexStateError, match="differing: distill"):
        _run("mini-dense", tmp_path / "out", distill="scores")
    report = _run("mini-dense", tmp_path / "out", distill=contrary)
    assert sorted(asked) == sorted(QUERIES)  # once
    assert report.resumed_from == 12
    assert report.teacher.endswith("contrary")
    assert "contrary" in (tmp_path / "out/README.md").read_text()
    student = load_encoder(tmp_path / "out", device="cpu")
    for pair in PAIRS:
        scores = student.encode_documents([pair.positive, *pair.negatives]) @ student.encode_queries([pair.query])[0]
        assert np.argsort(scores).tolist() == [0, 1, 2]
    held_out = [("주차는 어디에 하나요?", "지하 주차장에 세운다.")]
    held = _run("mini-dense", tmp_path / "encoder", distill=student, held_out=held_out, max_steps=1)
    assert list(held.ndcg) == ["bm25", "before", "teacher", "after"]
    assert "the teacher" in held.to_markdown()


def test_scores_are_read_and_follow_their_negatives(tmp_path) -> None:
    rows = [
        {"query": pair.query, "positive": pair.positive, "negatives": list(pair.negatives), "점수": [3, 2.5, 1]}
        for pair in PAIRS
    ]
    file = tmp_path / "pairs.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    read = read_pairs(file, columns={"scores": "점수"})
    assert [pair.scores for pair in read] == [(3, 2.5, 1)] * 3
    assert read_pairs(file)[0].scores == ()  # another column, which is ignored
    held = Pair("월세가 밀리면?", PAIRS[0].negatives[0])
    split = split_pairs([*PAIRS, held], held_out=0.3, seed=next(
        seed for seed in range(99) if held in split_pairs([*PAIRS, held], held_out=0.3, seed=seed).held_out
    ))  # fmt: skip
    assert (split.train[0].negatives, split.train[0].scores) == (PAIRS[0].negatives[1:], (0.9, 0.1))
    with pytest.raises(PairsError, match="must be 3 finite numbers"):
        check_pairs([replace(PAIRS[0], scores=(0.5, 0.4))])
    rows[1]["점수"] = "0.9"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    with pytest.raises(PairsError, match=r"line 2: scores is no list"):
        read_pairs(file, columns={"scores": "점수"})


def test_what_is_wrong_is_said_before_anything_is_made(tmp_path) -> None:
    BUILDERS["dense"](tmp_path / "model")
    cases = [
        ({"distill": 3}, "cannot teach"),
        ({"distill": "scores", "recipe": replace(RECIPES["small-dense"], negatives=0)}, "only candidate"),
        ({"distill": "scores", "recipe": replace(RECIPES["bge-m3-ko"])}, "use loss='multiple-negatives'"),
        ({"distill": "scores", "recipe": replace(RECIPES["small-dense"], distill_weight=2)}, "distill_weight=2"),
        ({"distill": "scores", "recipe": replace(RECIPES["small-dense"], distill_loss="mse")}, "kl or margin-mse"),
        (
            {"distill": "scores", "recipe": replace(RECIPES["small-dense"], distill_temperature=0)},
            "distill_temperature=0",
        ),
        ({"distill": lambda *_: [1.0]}, "one finite number for each"),
    ]
    for changes, message in cases:
        with pytest.raises(InvalidArgumentError, match=message):
            _run(tmp_path / "model", tmp_path / "out", **changes)
    for pairs, message in (
        ([replace(pair, scores=()) for pair in PAIRS], "no pair has scores"),
        ([Pair(pair.query, pair.positive, scores=(1.0,)) for pair in PAIRS], "0 pairs have negatives"),
    ):
        with pytest.raises(InvalidArgumentError, match=message):
            finetune(tmp_path / "model", pairs, tmp_path / "out", distill="scores", held_out=0, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
