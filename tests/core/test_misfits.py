"""Adapters and heads that belong to another model: an error that names both, early where headers tell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from assertions import assert_bilingual
from checkpoints import HIDDEN, edit_json, lora_base
from layouts import known, mistakes
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from korag import load_encoder
from korag.errors import CheckpointError

# peft's, where an adapter is made
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
QUERY = "encoder.layer.0.attention.self.query"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_size": 2 * HIDDEN}, (QUERY, f"{HIDDEN} × {HIDDEN}", f"{2 * HIDDEN} × {2 * HIDDEN}")),
        ({"num_hidden_layers": 1}, ("encoder.layer.1.attention.self.query",)),
    ],
)
def test_a_base_of_other_sizes(change: dict[str, int], named: tuple[str, ...], tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    mistakes.adapter_on(lambda base: mistakes.roberta(base, **change))(folder)
    with pytest.raises(CheckpointError) as caught:
        load_encoder(folder)
    assert_bilingual(caught.value, str(folder), str(lora_base(folder)), *named)


def test_a_base_given_by_the_caller(tmp_path: Path, copied: Callable[[str], Path]) -> None:
    known.dense(tmp_path / "other", kind="modernbert")
    with pytest.raises(CheckpointError, match=QUERY) as caught:
        load_encoder(tmp_path / "other", adapter=copied("bare_lora"))
    assert_bilingual(caught.value, str(tmp_path / "other"), str(tmp_path / "bare_lora"))


def test_a_base_without_headers_is_checked_when_it_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    mistakes.adapter_on(lambda base: mistakes.roberta(base, num_hidden_layers=1))(folder)
    weights = lora_base(folder) / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    encoder = load_encoder(folder)
    with pytest.raises(CheckpointError, match=r"layer\.1") as caught:
        encoder.encode_queries(["보증금"])
    assert_bilingual(caught.value, str(folder), str(lora_base(folder)))


def test_a_tokenizer_with_more_tokens_than_the_base_s_is_fine(copied: Callable[[str], Path]) -> None:
    folder = copied("lora")
    words = AutoTokenizer.from_pretrained(folder)
    words.add_tokens(["[법령]"])
    words.save_pretrained(folder)
    assert load_encoder(folder).encode_queries(["보증금"]).shape == (1, HIDDEN)


@pytest.mark.parametrize("modes", [["cls", "mean"], "mean"])
def test_a_dense_module_after_several_poolings(modes: list[str] | str, tmp_path: Path) -> None:
    from sentence_transformers.base.modules import Dense

    taken = HIDDEN * (len(modes) if isinstance(modes, list) else 1)
    known.dense(tmp_path, Dense(taken, 16), pooling=modes)
    assert load_encoder(tmp_path).encode_queries(["보증금"]).shape == (1, 16)
    edit_json(tmp_path / "2_Dense/config.json", in_features=taken + 1)
    save_file({"linear.weight": torch.zeros(16, taken + 1), "linear.bias": torch.zeros(16)},
              tmp_path / "2_Dense/model.safetensors")  # fmt: skip
    with pytest.raises(CheckpointError) as caught:
        load_encoder(tmp_path)
    assert_bilingual(caught.value, "2_Dense", f"{taken + 1}", f"{taken}")
