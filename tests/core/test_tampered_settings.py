"""Settings of a checkpoint that somebody has tampered with: refused by name, before any library reads them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from assertions import assert_bilingual
from checkpoints import edit_json
from safetensors.torch import load_file, save_file

from korag import CrossEncoderReranker, load_encoder
from korag.checkpoints.patterns import is_harmless
from korag.checkpoints.rules import ACTIVATIONS, is_module
from korag.errors import CheckpointError, KoragError

Build = Callable[[str], Path]
TEXT = "보증금은 이사하는 날 돌려받는다."
CALLED = [
    "torch.utils.collect_env.main",
    "torch.distributed.run.main",
    "torch.nn.Transformer",
    "os.getcwd",
    "evil.Evil",
]


def refused(folder: Path, *named: str) -> CheckpointError:
    """Checks that a folder is refused without loading weights, in both languages, with some words."""
    kind: Any = CrossEncoderReranker if "cross_encoder" in folder.name else load_encoder
    with pytest.raises(CheckpointError) as caught:
        kind(folder)
    assert_bilingual(caught.value, *named)
    return caught.value


@pytest.fixture
def uncalled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.utils.collect_env.main", lambda: pytest.fail("called"))


class TestClasses:
    @pytest.mark.parametrize("name", CALLED)
    @pytest.mark.parametrize("place", ["config.json", "nested", "saved"])
    def test_a_cross_encoders_activation_is_one_of_a_list(
        self, copied: Build, name: str, place: str, uncalled: None
    ) -> None:
        folder = copied("saved_cross_encoder" if place == "saved" else "cross_encoder")
        if place == "saved":
            edit_json(folder / "config_sentence_transformers.json", activation_fn=name)
        elif place == "nested":
            edit_json(folder / "config.json", sentence_transformers={"activation_fn": name})
        else:
            edit_json(folder / "config.json", sbert_ce_default_activation_function=name)
        refused(folder, name, "trust_remote_code=True", "config")

    @pytest.mark.parametrize("name", CALLED)
    def test_and_so_is_a_projections(self, copied: Build, name: str, uncalled: None) -> None:
        folder = copied("pylate")
        edit_json(folder / "1_Dense/config.json", activation_function=name)
        refused(folder, name, "trust_remote_code=True", "1_Dense")

    def test_every_listed_activation_can_be_made(self) -> None:
        for name in ACTIVATIONS:
            module, _, made = name.rpartition(".")
            values = getattr(sys.modules[module], made)()(torch.linspace(-3, 3, 8))
            assert values.shape == (8,)
            assert torch.isfinite(values).all()

    @pytest.mark.parametrize("name", ["torch.nn.modules.activation.Softplus", "torch.nn.Tanh"])
    def test_a_listed_activation_is_used(self, copied: Build, name: str) -> None:
        folder = copied("cross_encoder")
        edit_json(folder / "config.json", sbert_ce_default_activation_function=name)
        reranker = CrossEncoderReranker(folder, dtype="float32")
        assert reranker.activation == name
        assert len(reranker.rerank("보증금", [TEXT])) == 1

    @pytest.mark.parametrize(
        "name",
        [
            "evil.Evil", "subprocess.Popen", "sentence_transformers.util.http_get", "pylate.evil.Dense",
            "sentence_transformers.models.WordEmbeddings", "sentence_transformers.models.CLIPModel",
            "sentence_transformers.evaluation.Pooling", "sentence_transformers.models.Pooling.load",
        ],
    )  # fmt: skip
    def test_modules_are_of_a_list(self, copied: Build, name: str) -> None:
        folder = copied("dense")
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        modules[1]["type"] = name
        (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
        refused(folder, name, "modules.json", "trust_remote_code=True")

    def test_the_modules_of_a_router_too(self, copied: Build) -> None:
        folder = copied("dense")
        (folder / "router_config.json").write_text('{"types": {"query": "evil.Evil"}}', encoding="utf-8")
        refused(folder, "router_config.json")

    def test_modules_of_every_release_are_known(self) -> None:
        for name in [
            "sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling",
            "sentence_transformers.base.modules.dense.Dense", "pylate.models.Dense.Dense",
            "sentence_transformers.sparse_encoder.models.SpladePooling", "sentence_transformers.models.Dense.Dense",
            "sentence_transformers.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask",
            "sentence_transformers.sparse_encoder.modules.sparse_auto_encoder.SparseAutoEncoder",
        ]:  # fmt: skip
            assert is_module(name), name

    @pytest.mark.parametrize("path", ["../..", "/etc", "1_Pooling/../..", "onnx", ".git", 7])
    def test_paths_of_modules_stay_inside(self, copied: Build, path: Any) -> None:
        folder = copied("dense")
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        modules[1]["path"] = path
        (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
        refused(folder, "modules.json", "path")


class TestKeys:
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("model_args", {"key_mapping": {"(a+)+$": "x"}}), ("model_args", {"offload_folder": "../other"}),
            ("model_kwargs", {"attn_implementation": "owner/kernel"}), ("model_args", {"trust_remote_code": True}),
            ("model_args", {"quantization_config": {"load_in_4bit": True}}), ("model_args", {"subfolder": "../.."}),
            ("tokenizer_name_or_path", "owner/model"), ("processor_kwargs", {"chat_template": "{{ 1 }}"}),
            ("tokenizer_args", {"cache_dir": "other"}), ("config_args", {"num_labels": 10**9}),
            ("modality_config", {"text": {"method": "push_to_hub", "method_output_name": None}}),
            ("processing_kwargs", {"text": {"pad_to_multiple_of": 10**9}}), ("max_seq_length", 10**18),
            ("max_seq_length", "128"), ("max_seq_length", -1), ("max_seq_length", True), ("backend", "onnx"),
            ("query_expansion", {"strategy": "fixed", "length": 10**9}), ("new", 1),
        ],
    )  # fmt: skip
    def test_of_the_transformer(self, copied: Build, key: str, value: object) -> None:
        folder = copied("roberta")
        edit_json(folder / "sentence_bert_config.json", **{key: value})
        refused(folder, key, "sentence_bert_config.json")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("attn_implementation", "owner/kernel"), ("_attn_implementation_internal", "owner/kernel"),
            ("quantization_config", {"quant_method": "gptq"}), ("num_hidden_layers", 10**9), ("vocab_size", 10**9),
            ("num_labels", 10**9), ("max_position_embeddings", 10**9), ("text_config", {"num_hidden_layers": 10**9}),
        ],
    )  # fmt: skip
    def test_of_the_backbone(self, copied: Build, key: str, value: object) -> None:
        folder = copied("roberta")
        edit_json(folder / "config.json", **{key: value})
        refused(folder, key, "config.json")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("target_modules", "((a|[a-z])+)+!"), ("rank_pattern", {"(.+)+!": 2}), ("peft_type", "XLORA"),
            ("modules_to_save", ["(.+)+!"]), ("megatron_config", {"x": 1}), ("megatron_core", "evil"), ("r", 10**9),
            ("layer_replication", [[0, 10**9]]), ("auto_mapping", {"parent_library": "evil"}),
            ("layers_pattern", "(.+)+"),
        ],
    )  # fmt: skip
    def test_of_an_adapter(self, copied: Build, key: str, value: object) -> None:
        folder = copied("lora")
        edit_json(folder / "adapter_config.json", **{key: value})
        refused(folder, key, "adapter_config.json")

    def test_divided_weights_stay_inside(self, copied: Build) -> None:
        folder = copied("dense")
        index = {"weight_map": {"a": "../other.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
        refused(folder, "weight_map")

    @pytest.mark.parametrize(
        "text", ["[" * 10_000, '{"a":' * 200 + "1" + "}" * 200, "null", "[]", "\ufeff{}", "9" * 10_000, ""]
    )
    def test_what_is_no_object(self, copied: Build, text: str) -> None:
        folder = copied("dense")
        (folder / "config.json").write_text(text, encoding="utf-8")
        refused(folder, "config.json")

    def test_sizes_of_files(self, copied: Build) -> None:
        folder = copied("dense")
        for name, size in (("config.json", 17 * 2**20), ("tokenizer.json", 2**30)):
            path = folder / name
            before = path.read_bytes()
            os.truncate(path, size)
            refused(folder, name, "limit")
            path.write_bytes(before)


class TestSpecialFiles:
    @pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors", "1_Pooling/config.json"])
    @pytest.mark.parametrize("kind", ["pipe", "device", "outside", "nowhere", "circle", "folder"])
    def test_in_the_place_of_a_file(self, copied: Build, name: str, kind: str) -> None:
        folder = copied("dense")
        path = folder / name
        data = path.read_bytes()
        path.unlink()
        outside = folder.with_name("other")
        outside.write_bytes(data)
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "folder":
            path.mkdir()
        else:
            targets = {"device": "/dev/zero", "outside": outside, "nowhere": "/없는/것", "circle": path}
            path.symlink_to(targets[kind])
        refused(folder, Path(name).name)

    def test_a_link_inside_is_followed(self, copied: Build) -> None:
        folder = copied("dense")
        (folder / "config.json").rename(folder / "설정")
        (folder / "config.json").symlink_to("설정")
        assert load_encoder(folder).dim == 32


class TestSizes:
    @pytest.mark.parametrize(
        "changes",
        [
            {"vocab_size": 2**26},
            {"hidden_size": 2**20},
            {"num_hidden_layers": 5_000},
            {"max_position_embeddings": 2**25},
        ],
    )
    def test_sizes_fit_the_weights(self, copied: Build, changes: dict[str, int]) -> None:
        folder = copied("roberta")
        edit_json(folder / "config.json", **changes)
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder, dtype="float32").encode_documents([TEXT])
        assert_bilingual(caught.value, str(folder), "config.json")

    def test_a_normalizer_does_not_multiply(self, copied: Build) -> None:
        folder = copied("dense")
        twice = {"type": "Replace", "pattern": {"String": "가"}, "content": "가가"}
        edit_json(folder / "tokenizer.json", normalizer={"type": "Sequence", "normalizers": [twice] * 60})
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder, dtype="float32").encode_documents(["가"])
        assert_bilingual(caught.value, "normalizer")

    def test_a_slow_pattern_of_a_tokenizer_is_an_error(self, copied: Build) -> None:
        folder = copied("dense")
        slow = {"type": "Split", "pattern": {"Regex": "((가+)+)+$"}, "behavior": "Isolated", "invert": False}
        edit_json(folder / "tokenizer.json", pre_tokenizer=slow)
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder, dtype="float32").encode_documents(["가" * 60 + "나"])
        assert_bilingual(caught.value, "retry-limit")


def test_patterns() -> None:
    for pattern in ("query", r".*\.(query|value)$", r"^(?!.*visual).*(?:q_proj|k_proj).*$", r"layer\.[0-5]\.(a|b)"):
        assert is_harmless(pattern), pattern
    for pattern in (
        "(a+)+$", "(a|a)*b", "(?:a|aa)+", "((a*)b)*", "(?P<x>a+){2,}", ".*" * 6, "(", "a**", "(?i:a+)+", 7, "a" * 2_000
    ):  # fmt: skip
        assert not is_harmless(pattern), pattern


def test_vectors_that_are_no_numbers(copied: Build) -> None:
    folder = copied("roberta")
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.LayerNorm.bias"].fill_(float("nan"))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError) as caught:
        load_encoder(folder, dtype="float32").encode_queries([TEXT])
    assert_bilingual(caught.value, "NaN")


@pytest.mark.parametrize("rows", [200, 12_000])
def test_a_tokenizer_of_another_model(copied: Build, rows: int) -> None:
    """Ids that the embeddings do not have show only where a text contains them."""
    folder = copied("roberta")
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"][:rows].clone()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    edit_json(folder / "config.json", vocab_size=rows)
    with pytest.raises(CheckpointError) as caught:
        load_encoder(folder, dtype="float32").encode_documents([chr(code) for code in range(ord("가"), ord("힣"), 9)])
    assert_bilingual(caught.value, str(folder), "IndexError")


@pytest.mark.parametrize("file", ["chat_template.jinja", "tokenizer_config.json"])
def test_a_chat_template_is_not_run(copied: Build, file: str) -> None:
    folder = copied("stanford")
    before = load_encoder(folder, dtype="float32").encode_documents([TEXT])[0]
    template = "{{ raise_exception('run') }}"
    if file.endswith(".json"):
        edit_json(folder / file, chat_template=template)
    else:
        (folder / file).write_text(template, encoding="utf-8")
    assert (load_encoder(folder, dtype="float32").encode_documents([TEXT])[0] == before).all()


class TestAdapters:
    def test_of_another_adapter(self, copied: Build) -> None:
        folder = copied("lora")
        base = folder.with_name("lora-base")
        edit_json(folder / "adapter_config.json", base_model_name_or_path=str(base))
        (base / "adapter_config.json").write_bytes((folder / "adapter_config.json").read_bytes())
        with pytest.raises(KoragError, match=r"merge_and_unload"):
            load_encoder(folder)

    def test_without_its_weights(self, copied: Build) -> None:
        folder = copied("lora")
        edit_json(folder / "adapter_config.json", base_model_name_or_path=str(folder.with_name("lora-base")))
        (folder / "adapter_model.safetensors").rename(folder / "other.safetensors")
        with pytest.raises(CheckpointError) as caught:
            load_encoder(folder, dtype="float32").encode_documents([TEXT])
        assert_bilingual(caught.value, "adapter_model.safetensors")
