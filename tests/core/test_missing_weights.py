"""A checkpoint whose files lack weights is an error that names them, never a model with random ones."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from assertions import assert_bilingual
from checkpoints import backbone, edit_json, write_json
from layouts import references
from layouts.case import QUERIES
from layouts.known import QWEN3, projected, qwen3
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from korag import CrossEncoderReranker, load_encoder
from korag.encoders.sentence_transformers import _model_kwargs
from korag.errors import CheckpointError

TEXTS = ["임차인은 보증금을 돌려받는다", "도서관은 아홉 시에 연다"]
Tensors = dict[str, torch.Tensor]
LAYOUTS = ["dense", "splade", "pylate", "native"]


@pytest.fixture
def changed(built: Callable[[str], Path], tmp_path: Path) -> Callable[[str, Callable[[Tensors], Tensors]], Path]:
    """Copies a checkpoint with other tensors in its backbone's file."""

    def change(layout: str, how: Callable[[Tensors], Tensors]) -> Path:
        folder = tmp_path / layout
        shutil.copytree(built(layout), folder)
        (file,) = [path for path in folder.rglob("model*.safetensors") if not path.parent.name.endswith("_Dense")]
        save_file(how(load_file(file)), file, metadata={"format": "pt"})
        return folder

    return change


def vectors(folder: Path) -> list[np.ndarray]:
    made = load_encoder(folder, dtype="float32").encode_documents(TEXTS)
    return [row.toarray() if hasattr(row, "toarray") else np.asarray(row) for row in made]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("part", ["layer", "embeddings"])
def test_a_part_that_is_missing(layout: str, part: str, changed) -> None:
    def without(tensors: Tensors) -> Tensors:
        return {name: tensor for name, tensor in tensors.items() if part not in name}

    encoder = load_encoder(changed(layout, without))
    with pytest.raises(CheckpointError, match=part) as caught:
        encoder.encode_documents(TEXTS)
    assert_bilingual(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_training_begins_with_no_random_weights_either(layout: str, changed) -> None:
    folder = changed(layout, lambda tensors: {name: one for name, one in tensors.items() if "layer" not in name})
    with pytest.raises(CheckpointError, match="layer"):
        load_encoder(folder).load_copy()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module.", "0.auto_model.", "0.model.", "model.", "module._orig_mod.", "module.model."]
)
def test_a_prefix_of_a_tool_is_stripped(layout: str, prefix: str, built, changed) -> None:
    folder = changed(layout, lambda tensors: {prefix + name: one for name, one in tensors.items()})
    for got, expected in zip(vectors(folder), vectors(built(layout)), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_a_prefix_that_nobody_knows_is_an_error(changed) -> None:
    folder = changed("dense", lambda tensors: {f"student.{name}": one for name, one in tensors.items()})
    with pytest.raises(CheckpointError, match="lack"):
        load_encoder(folder).encode_queries(TEXTS)


def test_a_pooler_that_is_missing_and_unused_changes_nothing(built, changed) -> None:
    folder = changed("dense", lambda tensors: {name: one for name, one in tensors.items() if "pooler" not in name})
    for got, expected in zip(vectors(folder), vectors(built("dense")), strict=True):
        np.testing.assert_array_equal(got, expected)
    copy = load_encoder(folder).load_copy()
    assert all(torch.isfinite(parameter).all() for parameter in copy.parameters())


def test_a_projection_that_is_missing(built, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(built("pylate"), folder)
    file = next((folder / "1_Dense").glob("*.safetensors"))
    save_file({"other": torch.zeros(1)}, file)
    with pytest.raises(CheckpointError):
        load_encoder(folder).encode_documents(TEXTS)


def test_a_cross_encoder_without_its_layers(cross_encoder_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(cross_encoder_folder, folder)
    file = folder / "model.safetensors"
    tensors = {name: one for name, one in load_file(file).items() if "layer" not in name}
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="layer"):
        CrossEncoderReranker(folder).rerank("보증금", TEXTS)


def test_a_masked_language_model_s_head_that_is_missing(changed) -> None:
    folder = changed(
        "splade", lambda tensors: {name: one for name, one in tensors.items() if not name.startswith("head.")}
    )
    with pytest.raises(CheckpointError, match=r"head\.dense"):
        load_encoder(folder).encode_documents(TEXTS)


def test_a_cross_encoder_s_prefix_is_stripped(cross_encoder_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(cross_encoder_folder, folder)
    file = folder / "model.safetensors"
    save_file({f"module.{name}": one for name, one in load_file(file).items()}, file, metadata={"format": "pt"})
    scores = [
        [hit[1] for hit in CrossEncoderReranker(place, dtype="float32").rerank("보증금", TEXTS)]
        for place in (folder, cross_encoder_folder)
    ]
    assert scores[0] == scores[1]


SINGLE = [
    ("dense", "encoder.layer.1.output.LayerNorm.weight"),
    ("dense", "encoder.layer.0.attention.self.query.bias"),
    ("roberta", "embeddings.LayerNorm.bias"),
    ("splade", "decoder.bias"),
    ("splade", "head.norm.weight"),
    ("splade", "model.final_norm.weight"),
    ("pylate", "layers.1.attn_norm.weight"),
    ("native", "final_norm.weight"),
    ("stanford", "bert.encoder.layer.0.output.LayerNorm.bias"),
    ("stanford", "linear.weight"),
]


@pytest.mark.parametrize(("layout", "name"), SINGLE)
def test_a_parameter_that_begins_as_zeros_or_ones_and_is_missing_alone(layout: str, name: str, changed) -> None:
    def without(tensors: Tensors) -> Tensors:
        assert name in tensors
        return {other: tensor for other, tensor in tensors.items() if other != name}

    with pytest.raises(CheckpointError, match=re.escape(name.removeprefix("bert."))) as caught:
        load_encoder(changed(layout, without)).encode_documents(TEXTS)
    assert_bilingual(caught.value)


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_prefix_in_files_of_torch(prefix: str, parts: int, built, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(built("dense"), folder)
    tensors = {f"{prefix}{name}": one for name, one in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    if parts == 1:
        torch.save(tensors, folder / "pytorch_model.bin")
    else:
        files = {name: f"pytorch_model-0000{index % 2 + 1}-of-00002.bin" for index, name in enumerate(tensors)}
        for file in set(files.values()):
            torch.save({name: one for name, one in tensors.items() if files[name] == file}, folder / file)
        write_json(folder / "pytorch_model.bin.index.json", {"metadata": {}, "weight_map": files})
    for got, expected in zip(vectors(folder), vectors(built("dense")), strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize("prefix", ["", "model.", "model.model.", "module.model."])
def test_an_architecture_whose_own_names_begin_with_a_prefix(prefix: str, tmp_path: Path) -> None:
    """A causal Qwen3 calls its backbone ``model``; tied to its embeddings, its head has no name in the file."""
    folder = tmp_path / "model"
    qwen3(folder)
    reference = references.dense(folder)[0]
    add_prefix(folder, prefix)
    encoder = load_encoder(folder, device="cpu", dtype="float32")
    np.testing.assert_allclose(encoder.encode_queries(QUERIES), reference, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "model.", "module."])
def test_a_causal_model_keeps_its_backbone(prefix: str, tmp_path: Path) -> None:
    backbone(tmp_path, "qwen3", auto=AutoModelForCausalLM, **QWEN3)
    expected = AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    add_prefix(tmp_path, prefix)
    got = AutoModelForCausalLM.from_pretrained(tmp_path, **_model_kwargs(tmp_path)).state_dict()
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())


def add_prefix(folder: Path, prefix: str) -> None:
    file = folder / "model.safetensors"
    save_file({f"{prefix}{name}": one for name, one in load_file(file).items()}, file, metadata={"format": "pt"})


@pytest.mark.parametrize("name", ["classifier.out_proj.bias", "roberta.encoder.layer.1.output.LayerNorm.weight"])
def test_a_cross_encoder_without_a_parameter(name: str, cross_encoder_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(cross_encoder_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=re.escape(name)):
        CrossEncoderReranker(folder).rerank("보증금", TEXTS)


@pytest.mark.parametrize("name", ["linear.bias", "linear.weight"])
def test_a_dense_module_without_a_parameter(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    projected(folder)
    tensors = load_file(folder / "2_Dense/model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "2_Dense/model.safetensors")
    with pytest.raises(CheckpointError, match=re.escape(name)):
        load_encoder(folder).encode_documents(TEXTS)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("matrix", ["lora_A", "lora_B"])
def test_an_adapter_without_a_matrix(matrix: str, copied: Callable[[str], Path]) -> None:
    """The second matrix begins as zeros: without it, the adapter would change nothing in its layer."""
    folder = copied("bare_lora")
    tensors = load_file(folder / "adapter_model.safetensors")
    name = next(name for name in tensors if f"layer.1.attention.self.query.{matrix}" in name)
    del tensors[name]
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"query.{matrix}") as caught:
        load_encoder(folder).encode_documents(TEXTS)
    assert_bilingual(caught.value)
    with pytest.raises(CheckpointError, match=f"query.{matrix}"):
        load_encoder(folder).load_copy()


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_an_adapter_whose_names_mean_nothing_to_its_base(copied: Callable[[str], Path]) -> None:
    folder = copied("bare_lora")
    tensors = load_file(folder / "adapter_model.safetensors")
    renamed = {name.replace("layer.1.", "layer.7."): one.clone() for name, one in tensors.items()}
    save_file(tensors | renamed, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"layer\.7"):
        load_encoder(folder).encode_documents(TEXTS)


@pytest.mark.parametrize("layout", [*LAYOUTS, "cross_encoder"])
def test_layers_that_the_settings_leave_out_are_a_warning(
    layout: str, copied, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copied(layout)
    (config,) = [path for path in folder.rglob("config.json") if "num_hidden_layers" in path.read_text()]
    edit_json(config, num_hidden_layers=1, layer_types=None)
    model = CrossEncoderReranker(folder) if layout == "cross_encoder" else load_encoder(folder)
    caplog.clear()
    model.load()
    (message,) = [record.getMessage() for record in caplog.records if record.name == "korag"]
    for part in ("층이 2개", "앞의 1개만", "have 2 layers", "use the first 1"):
        assert part in message


@pytest.mark.parametrize("layout", [*LAYOUTS, "lora", "cross_encoder"])
def test_whole_models_are_no_warning(layout: str, built, caplog: pytest.LogCaptureFixture) -> None:
    model = CrossEncoderReranker(built(layout)) if layout == "cross_encoder" else load_encoder(built(layout))
    model.load()
    assert [record.getMessage() for record in caplog.records if record.name == "korag"] == []
