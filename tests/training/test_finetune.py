"""Fine-tuning: every family ends in a folder for `load_encoder`; errors leave no files; a killed run resumes."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoints import BUILDERS, DIMS
from safetensors.numpy import load_file

from korag import load_encoder
from korag.checkpoints.matryoshka import read_heads
from korag.cli import main
from korag.errors import IndexStateError, InvalidArgumentError, MissingDependencyError, WrongFamilyError
from korag.training import RECIPES, LoRA, Pair, finetune, merge_adapter, mine_negatives
from korag.training.resuming import last_checkpoint_step

pytestmark = pytest.mark.training

TOPICS = ["주차", "택배", "소음", "승강기", "관리비", "재활용", "수도", "난방", "경비", "체육관", "놀이터", "정원"]
PAIRS = [
    Pair(f"{topic} 문의는 어디에 하나요?", f"{topic} 업무는 관리사무소 {number}번 창구에서 봅니다.", line=number)
    for number, topic in enumerate(TOPICS, 1)
]
RECIPE = {"late_interaction": "small-colbert", "sparse": "small-splade", "dense": "small-dense"}


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")

    def build(layout: str) -> Path:
        if not (root / layout).exists():
            BUILDERS[layout](root / layout)
        return root / layout

    return build


def _run(model, output, **changes):
    settings = {"max_steps": 3, "seed": 5, "device": "cpu", "show_progress": False, "held_out": 0.25}
    return finetune(model, PAIRS, output, **(settings | changes))


@pytest.mark.parametrize(
    ("layout", "changes"),
    [
        ("matryoshka", {}),
        ("pylate", {}),
        ("pylate", {"dims": (4, 16)}),
        ("residual", {}),
        ("native", {}),
        ("splade", {}),
        ("dense", {}),
        ("roberta", {"loss": "cached-multiple-negatives", "mini_batch_size": 4, "gradient_checkpointing": False}),
        ("dense", {"gradient_checkpointing": True}),
    ],
)
def test_every_family_is_saved_so_that_it_loads(built, tmp_path, layout, changes) -> None:
    before = load_encoder(built(layout), device="cpu")
    recipe = replace(RECIPES[RECIPE[before.family]], learning_rate=1e-2, warmup=0.0, **changes)
    report = _run(built(layout), tmp_path / "out", recipe=recipe)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]  # no unfinished folder
    after = load_encoder(tmp_path / "out", device="cpu")
    assert (after.family, after.prompts, after.max_length, after.query_length) == (
        before.family, before.prompts, before.max_length, before.query_length,
    )  # fmt: skip
    assert after.fingerprint != before.fingerprint
    old, new = before.encode_documents([PAIRS[0].positive]), after.encode_documents([PAIRS[0].positive])
    if before.family == "sparse":
        old, new = old.toarray(), new.toarray()
    assert old[0].shape == new[0].shape
    assert not np.allclose(old[0], new[0], atol=1e-3)
    assert set(report.ndcg) == {"bm25", "before", "after"}
    assert (report.train_pairs, report.held_out_pairs, report.documents, report.steps) == (9, 3, 12, 3)
    stored = json.loads((tmp_path / "out/korag_training.json").read_text())
    assert stored["ndcg"] == report.ndcg
    assert stored["recipe"]["learning_rate"] == 1e-2
    assert "BM25" in (tmp_path / "out/README.md").read_text()


@pytest.mark.parametrize("layout", ["pylate", "dense"])
def test_a_query_length_is_saved_with_the_model(built, tmp_path, layout) -> None:
    _run(built(layout), tmp_path / "out", query_length=40)
    after = load_encoder(tmp_path / "out", device="cpu")
    assert after.query_length == 40
    assert after.max_length == load_encoder(built(layout)).max_length


def test_all_heads_learn_and_are_kept_in_step(built, tmp_path) -> None:
    source = built("matryoshka")
    _run(source, tmp_path / "out", recipe=replace(RECIPES["small-colbert"], learning_rate=1e-2))
    before = read_heads(source / "matryoshka_heads.pt")
    after = read_heads(tmp_path / "out/matryoshka_heads.safetensors")
    assert list(before) == list(after) == list(DIMS)
    assert not any(torch.allclose(before[dim], after[dim], atol=1e-4) for dim in DIMS)
    config = [json.loads((folder / "config.json").read_text()) for folder in (source, tmp_path / "out")]
    assert config[0]["pad_token_id"] == config[1]["pad_token_id"]  # not the tokenizer's [MASK]
    dense = load_file(tmp_path / "out/1_Dense/model.safetensors")["linear.weight"]
    assert np.array_equal(dense, after[max(DIMS)].numpy())
    for dim in DIMS:
        assert load_encoder(tmp_path / "out", dim=dim, device="cpu").encode_queries(["주차"])[0].shape[1] == dim


def test_lora_is_an_adapter_and_its_merge_gives_the_same_vectors(built, tmp_path, capsys) -> None:
    recipe = replace(RECIPES["legal-lora"], batch_size=8, learning_rate=1e-2, lora=LoRA(rank=4, alpha=8))
    _run(built("roberta"), tmp_path / "adapter", recipe=recipe, query_prompt="검색: ", document_prompt="문서: ")
    settings = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(built("roberta"))
    assert not (tmp_path / "adapter/model.safetensors").exists()
    adapter = load_encoder(tmp_path / "adapter", device="cpu")
    assert adapter.prompts == {"query": "검색: ", "document": "문서: "}
    assert main(["merge", str(tmp_path / "adapter"), str(tmp_path / "merged"), "--json"]) == 0
    merged = load_encoder(json.loads(capsys.readouterr().out.splitlines()[-1])["folder"], device="cpu")
    assert not (tmp_path / "merged/adapter_config.json").exists()
    texts = [pair.positive for pair in PAIRS]
    assert np.allclose(merged.encode_documents(texts), adapter.encode_documents(texts), atol=1e-6)
    assert np.allclose(merged.encode_queries(texts), adapter.encode_queries(texts), atol=1e-6)
    base = load_encoder(built("roberta"), query_prompt="검색: ", document_prompt="문서: ", device="cpu")
    assert not np.allclose(base.encode_documents(texts), adapter.encode_documents(texts), atol=1e-3)
    with pytest.raises(InvalidArgumentError, match="is not an adapter"):
        merge_adapter(tmp_path / "merged", tmp_path / "again")
    with pytest.raises(InvalidArgumentError, match="exists"):
        merge_adapter(tmp_path / "adapter", tmp_path / "merged")
    with pytest.raises(InvalidArgumentError, match="already a LoRA adapter"):
        _run(tmp_path / "adapter", tmp_path / "twice", recipe=recipe)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "merged"]


def test_training_helps_on_documents_it_has_not_seen(tmp_path) -> None:
    """Staff call two systems by nicknames that no document has; half of each one's documents are held out."""
    names = {"도장방": "전자결재 시스템", "곳간": "문서 보관소"}
    topics = ["비밀번호 초기화", "알림 설정", "인쇄 오류", "설치 방법", "접속 장애", "권한 신청", "휴지통", "휴대폰"]
    rows = [
        (f"{nickname} {topic}", f"{name}의 {topic} 안내입니다.") for topic in topics for nickname, name in names.items()
    ]
    train = [row for row in rows if row[0].split(" ", 1)[1] not in topics[5:]]
    held = [row for row in rows if row not in train]
    recipe = replace(RECIPES["mini-dense"], negatives=0)
    report = finetune(
        "mini-dense", train, tmp_path / "out", held_out=held, recipe=recipe, max_steps=25, device="cpu",
        show_progress=False,
    )  # fmt: skip
    assert report.ndcg["after"] > report.ndcg["before"] + 0.05, report.ndcg


@pytest.mark.kill
def test_a_killed_run_goes_on_and_ends_with_the_same_model(built, tmp_path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    rows = [{"query": pair.query, "positive": pair.positive} for pair in PAIRS]
    pairs.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    steps = 25
    script = Path(__file__).parents[1] / "kill_training.py"
    # sys.path goes along: the tests also run against an installed wheel
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    arguments = [sys.executable, str(script), str(built("matryoshka")), str(pairs)]
    killed = subprocess.Popen([*arguments, str(tmp_path / "out"), str(steps)], env=environment)
    unfinished = tmp_path / "out.unfinished"
    deadline = time.monotonic() + 120
    while last_checkpoint_step(unfinished / "checkpoints") < 10 and killed.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    newest = max(unfinished.glob("checkpoints/checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    torn = newest.with_name("checkpoint-24")  # killed while writing a checkpoint
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"\0")

    settings = {"held_out": 0.25, "max_steps": steps, "seed": 5, "device": "cpu", "show_progress": False}
    with pytest.raises(IndexStateError, match=r"another unfinished run .differing: pairs, held_out, seed"):
        finetune(built("matryoshka"), pairs, tmp_path / "out", **(settings | {"seed": 6}))
    resumed = finetune(built("matryoshka"), pairs, tmp_path / "out", **settings)
    through = finetune(built("matryoshka"), pairs, tmp_path / "through", **settings)
    assert resumed.resumed_from is not None
    assert 10 <= resumed.resumed_from < steps
    assert through.resumed_from is None
    assert resumed.steps == through.steps == steps
    assert resumed.ndcg == through.ndcg
    for name in ("model.safetensors", "matryoshka_heads.safetensors"):
        one, other = load_file(tmp_path / "out" / name), load_file(tmp_path / "through" / name)
        assert all(np.allclose(one[key], other[key], atol=1e-6) for key in one), name
    assert not unfinished.exists()


def test_a_lora_run_resumes_too(built, tmp_path, monkeypatch) -> None:
    recipe = replace(RECIPES["legal-lora"], batch_size=8, learning_rate=1e-2, lora=LoRA(rank=4, alpha=8))
    monkeypatch.setattr("korag.training.finetuning.save_model", _fail)
    with pytest.raises(RuntimeError, match="disk full"):
        _run(built("roberta"), tmp_path / "out", recipe=recipe)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.unfinished"]
    monkeypatch.undo()
    report = _run(built("roberta"), tmp_path / "out", recipe=recipe)
    assert report.resumed_from == report.steps == 3  # nothing was left to train
    through = _run(built("roberta"), tmp_path / "through", recipe=recipe)
    one, other = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("out", "through"))
    assert all(np.allclose(one[key], other[key], atol=1e-6) for key in one)
    assert report.ndcg == through.ndcg


def test_a_lora_run_resumes_in_the_middle(built, tmp_path, monkeypatch) -> None:
    recipe = replace(RECIPES["legal-lora"], batch_size=8, learning_rate=1e-2, lora=LoRA(rank=4, alpha=8, dropout=0.1))
    monkeypatch.setattr("korag.training.finetuning.save_model", _fail)
    with pytest.raises(RuntimeError, match="disk full"):
        _run(built("roberta"), tmp_path / "out", recipe=recipe, max_steps=12)
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "out.unfinished/checkpoints/checkpoint-12")
    report = _run(built("roberta"), tmp_path / "out", recipe=recipe, max_steps=12)
    assert (report.resumed_from, report.steps) == (10, 12)
    _run(built("roberta"), tmp_path / "through", recipe=recipe, max_steps=12)
    one, other = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("out", "through"))
    assert list(one) == list(other)
    assert all(np.allclose(one[key], other[key], atol=1e-6) for key in one)


def test_an_adapter_is_saved_as_peft_writes_it(built, tmp_path) -> None:
    recipe = replace(RECIPES["legal-lora"], batch_size=8, lora=LoRA(rank=4, alpha=8, targets=("query", "value")))
    _run(built("roberta"), tmp_path / "out", recipe=recipe)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "1_Pooling", "README.md", "adapter_config.json", "adapter_model.safetensors",
        "config_sentence_transformers.json", "korag_training.json", "modules.json", "sentence_bert_config.json",
        "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    names = load_file(tmp_path / "out/adapter_model.safetensors")
    assert {name.rpartition(".encoder.layer.")[0] for name in names} == {"base_model.model"}
    assert {name.split(".attention.self.")[1] for name in names} == {
        f"{target}.lora_{side}.weight" for target in ("query", "value") for side in "AB"
    }
    assert "BM25" in (tmp_path / "out/README.md").read_text()


def _fail(*_args, **_kwargs):
    raise RuntimeError("disk full")


def test_an_error_before_the_first_checkpoint_leaves_nothing(built, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("korag.training.finetuning.train", _fail)
    with pytest.raises(RuntimeError, match="disk full"):
        _run(built("dense"), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_is_said_before_anything_is_made(built, tmp_path, monkeypatch) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(InvalidArgumentError, match="exists and is not overwritten"):
        _run(built("dense"), tmp_path / "there")
    with pytest.raises(WrongFamilyError):
        _run(built("dense"), tmp_path / "out", recipe="small-colbert")
    with pytest.raises(InvalidArgumentError, match="Did you mean 'small-dense'"):
        _run(built("dense"), tmp_path / "out", recipe="smal-dense")
    with pytest.raises(InvalidArgumentError, match="differ from the model's heads"):
        _run(built("matryoshka"), tmp_path / "out", recipe=replace(RECIPES["small-colbert"], dims=(4, 8)))
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises((MissingDependencyError, ValueError)):
        _run(built("dense"), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.parametrize("layout", [None, "matryoshka", "splade", "dense"])
def test_mined_negatives_are_no_answers(built, layout) -> None:
    pairs = [*PAIRS, Pair(PAIRS[0].query, PAIRS[1].positive)]  # a second answer
    mined = mine_negatives(pairs, layout and built(layout), n=4, corpus=["정문 공사 안내입니다."])
    assert [(pair.query, pair.positive) for pair in mined] == [(pair.query, pair.positive) for pair in pairs]
    for pair in mined:
        answers = {other.positive for other in pairs if other.query == pair.query}
        assert answers.isdisjoint(pair.negatives)
        assert len(set(pair.negatives)) == len(pair.negatives) <= 4
    assert any(pair.negatives for pair in mined)
    given = [replace(pair, negatives=("처음부터 있던 오답",)) for pair in PAIRS]
    assert all(pair.negatives[0] == "처음부터 있던 오답" for pair in mine_negatives(given, n=2))


def test_the_margin_leaves_out_what_scores_like_an_answer(dense) -> None:
    pairs = [Pair("주차 등록은 어디서 하나요?", "차량 등록은 관리사무소에서 합니다.")]
    corpus = ["주차 등록은 어디서 하나요? 관리사무소입니다.", "화단의 물은 아침에 준다.", "택배는 경비실에 있다."]
    scores = dense.encode_documents([pairs[0].positive, *corpus]) @ dense.encode_queries([pairs[0].query])[0]
    assert scores[1] > scores[0]  # an unlabelled answer
    (with_margin,) = mine_negatives(pairs, dense, corpus=corpus, n=3)
    (without,) = mine_negatives(pairs, dense, corpus=corpus, n=3, relative_margin=None)
    assert corpus[0] in without.negatives
    assert corpus[0] not in with_margin.negatives
    limit = scores[0] - 0.2
    (absolute,) = mine_negatives(pairs, dense, corpus=corpus, n=3, relative_margin=None, absolute_margin=0.2)
    assert set(absolute.negatives) == {text for text, score in zip(corpus, scores[1:], strict=True) if score <= limit}
    with pytest.raises(InvalidArgumentError, match="neither an encoder nor bm25"):
        mine_negatives(pairs, bm25=False)
