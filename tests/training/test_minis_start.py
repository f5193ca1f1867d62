"""From exported mini models to the weights that a run with a teacher starts from, and back."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from korag.checkpoints.bundled import shipped_models

pytestmark = pytest.mark.training
NAMES = ("mini-colbert", "mini-dense", "mini-splade")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    shutil.copy(shipped_models()["mini-dense"] / "tokenizer.json", tmp_path)
    return tmp_path


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Copies of the shipped models, in one folder."""
    for name in NAMES:
        shutil.copytree(shipped_models()[name], tmp_path / "start" / name)
    return tmp_path / "start"


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All weights of a model, by file and name."""
    return {
        f"{file.relative_to(folder)} {name}": tensor
        for file in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_what_is_exported_is_what_was_read(minis, work, start, name) -> None:
    minis.start.write_start(start, name, work, work / f"{name}.pt")
    minis.train.average_phases(work, (name, name), work / "mean.pt")
    folders = minis.config.Folders(data=work, work=work, out=work / "out")
    minis.export.export_models(folders, {name: "mean"}, query_length=64, expanded=False)
    before, after = tensors(start / name), tensors(work / "out" / name)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    for file in (start / name).rglob("*.json"):
        assert json.loads((work / "out" / name / file.relative_to(start / name)).read_text()) == json.loads(
            file.read_text()
        )


def test_terms_that_splade_is_not_to_use_are_never_active(minis, work, start) -> None:
    rare = torch.zeros(minis.config.VOCAB_SIZE, dtype=torch.bool)
    rare[1_000:1_100] = True
    minis.start.write_start(start, "mini-splade", work, work / "own.pt", rare=rare)
    bias = minis.model.read_weights(work, "own")["language_model.decoder.bias"]
    assert bool((bias[rare] == minis.model.JUNK_TERM_BIAS).all())
    assert bool((bias[~rare] > minis.model.JUNK_TERM_BIAS).any())


@pytest.mark.parametrize(
    ("name", "lost"), [("mini-colbert", "projections."), ("mini-splade", "head.norm.weight"), ("mini-dense", "norm")]
)
def test_a_model_without_a_tensor_is_refused(minis, work, start, name, lost) -> None:
    if name == "mini-colbert":
        (start / name / "matryoshka_heads.safetensors").unlink()
    else:
        weights = load_file(start / name / "model.safetensors")
        save_file({key: value for key, value in weights.items() if lost not in key}, start / name / "model.safetensors")
    with pytest.raises(ValueError, match=f"lacks tensors of {name}: .*{lost}"):
        minis.start.write_start(start, name, work, work / "own.pt")
    assert not (work / "own.pt").exists()


def test_a_run_goes_on_with_the_weights_that_it_was_started_from(minis, work, start) -> None:
    minis.start.check_same_start(start, "mini-dense", work)
    minis.start.check_same_start(start, "mini-dense", work)
    weights = load_file(start / "mini-dense" / "model.safetensors")
    weights["final_norm.weight"] += 1
    save_file(weights, start / "mini-dense" / "model.safetensors")
    with pytest.raises(ValueError, match="other weights"):
        minis.start.check_same_start(start, "mini-dense", work)


def test_a_run_with_other_phases_exports_their_weights(minis, work, start, monkeypatch) -> None:
    """The mean of an earlier run does not stand for another one's."""
    for stage in ("candidates.parquet", "lessons.npz"):
        (work / stage).touch()
    folders = minis.config.Folders(data=work, work=work, out=work / "out")
    found = []
    for number in (1, 2):
        phase = replace(minis.taught.TAUGHT_PHASES["mini-dense"][0], name=f"own-{number}")
        monkeypatch.setitem(minis.run.TAUGHT_PHASES, "mini-dense", (phase,))

        def train(phase, work, threads, number=number):
            weights = minis.model.read_weights(work, "mini-dense")
            torch.save({name: tensor + number for name, tensor in weights.items()}, work / f"{phase.name}.pt")

        monkeypatch.setattr(minis.run, "train_phase", train)
        minis.run.run_taught(folders, start, ["mini-dense"], 1)
        found.append(tensors(work / "out" / "mini-dense")["model.safetensors final_norm.weight"])
    original = tensors(start / "mini-dense")["model.safetensors final_norm.weight"]
    share = minis.taught.LAST_SHARES["mini-dense"]
    for number, weights in enumerate(found, 1):
        torch.testing.assert_close(weights.float(), original.float() + number * share, atol=2e-3, rtol=0)
