"""Settings files as published models have them: none is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from assertions import assert_bilingual
from checkpoints import edit_json, write_json

from korag import CrossEncoderReranker, load_encoder
from korag.errors import CheckpointError

_ST = "sentence_transformers.models."
_LORA: dict[str, Any] = {
    "alora_invocation_tokens": None, "alpha_pattern": {}, "arrow_config": None, "auto_mapping": None, "bias": "none",
    "corda_config": None, "ensure_weight_tying": False, "eva_config": None, "exclude_modules": None,
    "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True, "layer_replication": None,
    "layers_pattern": None, "layers_to_transform": None, "loftq_config": {}, "lora_alpha": 32, "lora_bias": False,
    "lora_dropout": 0.05, "megatron_config": None, "megatron_core": "megatron.core", "modules_to_save": None,
    "peft_type": "LORA", "peft_version": "0.18.1", "qalora_group_size": 16, "r": 16, "rank_pattern": {},
    "revision": None, "target_modules": ["query", "value"], "target_parameters": None,
    "task_type": "FEATURE_EXTRACTION", "trainable_token_indices": None, "use_bdlora": None, "use_dora": False,
    "use_qalora": False, "use_rslora": False,
}  # fmt: skip
_UNSLOTH_TARGETS = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?"
    r"(?:k_proj|v_proj|q_proj|out_proj|fc1|fc2|o_proj|gate_proj|up_proj|down_proj).*?)|"
    r"(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)\."
    r"(?:(?:k_proj|v_proj|q_proj|out_proj|fc1|fc2|o_proj|gate_proj|up_proj|down_proj)))"
)
_BACKBONES: dict[str, dict[str, Any]] = {
    "XLM-RoBERTa (BGE-m3, KURE, KoE5)": {
        "architectures": ["XLMRobertaModel"], "bos_token_id": 0, "eos_token_id": 2, "hidden_size": 1024,
        "max_position_embeddings": 8194, "model_type": "xlm-roberta", "num_attention_heads": 16,
        "num_hidden_layers": 24, "output_past": True, "pad_token_id": 1, "position_embedding_type": "absolute",
        "torch_dtype": "float32", "vocab_size": 250002, "_name_or_path": "BAAI/bge-m3", "classifier_dropout": None,
    },
    "Qwen3 (Qwen3-Embedding)": {
        "architectures": ["Qwen3ForCausalLM"], "bos_token_id": 151643, "eos_token_id": 151643, "head_dim": 128,
        "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 40960, "max_window_layers": 28,
        "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28, "num_key_value_heads": 8,
        "rope_scaling": None, "rope_theta": 1000000, "sliding_window": None, "vocab_size": 151669,
        "unsloth_fixed": True,
    },
    "Qwen2 (gte-Qwen2)": {
        "architectures": ["Qwen2Model"], "bos_token_id": 151643, "eos_token_id": 151645, "hidden_size": 1536,
        "max_position_embeddings": 131072, "model_type": "qwen2", "num_hidden_layers": 28, "sliding_window": 131072,
        "rope_theta": 1000000.0, "vocab_size": 151646,
    },
    "LFM2 (LFM2-ColBERT)": {
        "architectures": ["Lfm2Model"], "block_auto_adjust_ff_dim": True, "bos_token_id": 1, "conv_L_cache": 3,
        "eos_token_id": 7, "full_attn_idxs": [2, 5, 8, 10, 12, 14], "hidden_size": 1024, "num_heads": 16,
        "layer_types": ["conv", "conv", "full_attention"], "max_position_embeddings": 128000, "model_type": "lfm2",
        "num_hidden_layers": 16, "rope_theta": 1000000.0, "vocab_size": 64402,
    },
    "Llama 3 (llama-embed-nemotron)": {
        "architectures": ["LlamaModel"], "bos_token_id": 128000, "eos_token_id": [128001, 128008, 128009],
        "hidden_size": 4096, "max_position_embeddings": 131072, "model_type": "llama", "num_hidden_layers": 32,
        "rope_scaling": {"factor": 8.0, "original_max_position_embeddings": 8192, "rope_type": "llama3"},
        "rope_theta": 500000.0, "vocab_size": 128256,
    },
    "EXAONE 4": {
        "architectures": ["Exaone4ForCausalLM"], "bos_token_id": 1, "eos_token_id": 361, "hidden_size": 2048,
        "max_position_embeddings": 131072, "model_type": "exaone4", "num_hidden_layers": 30, "rope_theta": 1000000,
        "sliding_window_pattern": "LLLG", "vocab_size": 102400,
    },
    "Gemma 3 (EmbeddingGemma)": {
        "architectures": ["Gemma3TextModel"], "_sliding_window_pattern": 6, "bos_token_id": 2, "eos_token_id": 1,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 768, "max_position_embeddings": 2048,
        "layer_types": ["sliding_attention", "full_attention"], "model_type": "gemma3_text", "num_hidden_layers": 24,
        "query_pre_attn_scalar": 256, "rope_local_base_freq": 10000.0, "rope_theta": 1000000.0, "vocab_size": 262144,
        "use_bidirectional_attention": True, "dtype": "float32",
    },
    "ModernBERT (GTE-ModernColBERT, A.X-Encoder)": {
        "architectures": ["ModernBertModel"], "bos_token_id": 50281, "cls_token_id": 50281, "hidden_size": 768,
        "classifier_activation": "gelu", "deterministic_flash_attn": False, "global_rope_theta": 160000.0,
        "hidden_activation": "gelu", "local_attention": 128, "max_position_embeddings": 16384,
        "model_type": "modernbert", "num_hidden_layers": 22, "position_embedding_type": "absolute",
        "repad_logits_with_grad": False, "sparse_pred_ignore_index": -100, "vocab_size": 50370,
        "rope_parameters": {"full_attention": {"rope_theta": 160000.0, "rope_type": "default"}},
    },
    "Qwen3-VL (text and images)": {
        "architectures": ["Qwen3VLForConditionalGeneration"], "image_token_id": 151655, "model_type": "qwen3_vl",
        "vision_start_token_id": 151652, "hidden_size": 2048,
        "text_config": {"bos_token_id": 151643, "max_position_embeddings": 262144, "num_hidden_layers": 28},
        "vision_config": {"deepstack_visual_indexes": [5, 11, 17], "num_position_embeddings": 2304},
    },
}  # fmt: skip


def _dense(folder: Path, config: dict[str, Any]) -> Path:
    write_json(folder / "config.json", config)
    names = ("Transformer", "Pooling", "Normalize")
    modules = [
        {"idx": index, "name": str(index), "path": f"{index}_{name}" if index else "", "type": _ST + name}
        for index, name in enumerate(names)
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": 1024, "pooling_mode_cls_token": True})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 8192, "do_lower_case": False})
    settings = {
        "__version__": {"sentence_transformers": "5.1.0", "transformers": "4.56.2", "pytorch": "2.8.0+cu128"},
        "prompts": {"query": "Instruct: 질문에 맞는 문단을 찾으세요\nQuery:", "document": ""},
        "default_prompt_name": None, "similarity_fn_name": "cosine",
    }  # fmt: skip
    write_json(folder / "config_sentence_transformers.json", settings)
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 1000000000000000019884624838656,
        "max_length": 8192, "stride": 0, "pad_to_multiple_of": None, "truncation_side": "right", "bos_token": "<s>",
    }  # fmt: skip
    write_json(folder / "tokenizer_config.json", tokenizer)
    (folder / "model.safetensors").touch()  # read at the first encoding
    return folder


@pytest.mark.parametrize("name", _BACKBONES)
def test_backbones(tmp_path: Path, name: str) -> None:
    assert load_encoder(_dense(tmp_path / "model", _BACKBONES[name])).family == "dense"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"target_modules": "all-linear"},
        {"target_modules": _UNSLOTH_TARGETS, "lora_dropout": 0},
        {"auto_mapping": {
            "base_model_class": "XLMRobertaModel",
            "parent_library": "transformers.models.xlm_roberta.modeling_xlm_roberta",
        }},
        {"auto_mapping": {
            "base_model_class": "Qwen3Model", "parent_library": "transformers.models.qwen3.modeling_qwen3",
            "unsloth_fixed": True,
        }},
        {"modules_to_save": ["classifier", "score"], "rank_pattern": {"layer.0.query": 8}, "use_rslora": True},
        {"peft_version": "0.18.0@UNKNOWN", "lora_alpha": 16.0, "exclude_modules": ["lm_head"], "use_dora": True},
    ],
)  # fmt: skip
def test_adapters(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = _dense(tmp_path / "model", _BACKBONES["XLM-RoBERTa (BGE-m3, KURE, KoE5)"])
    adapter = tmp_path / "adapter"
    write_json(adapter / "adapter_config.json", _LORA | {"base_model_name_or_path": str(folder)} | changes)
    (adapter / "adapter_model.safetensors").touch()
    assert load_encoder(adapter).family == "dense"


@pytest.mark.parametrize(
    "more",
    [
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "4.1.0"}},
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        {"problem_type": "regression", "_attn_implementation_autoset": True},
        {},
    ],
)
def test_rerankers(tmp_path: Path, more: dict[str, Any]) -> None:
    config = _BACKBONES["XLM-RoBERTa (BGE-m3, KURE, KoE5)"] | {
        "architectures": ["XLMRobertaForSequenceClassification"], "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    }  # fmt: skip
    write_json(tmp_path / "config.json", config | more)
    (tmp_path / "model.safetensors").touch()
    assert CrossEncoderReranker(tmp_path).max_length == 8192


@pytest.mark.parametrize(
    ("answers", "options", "activation"),
    [
        ({"true_token_id": 9693, "false_token_id": 2152}, {}, None),  # Qwen3-Reranker
        ({"true_token_id": 9454, "false_token_id": None}, {"add_generation_prompt": True}, "Identity"),  # zerank-2
    ],
)
def test_generative_rerankers(
    tmp_path: Path, answers: dict[str, Any], options: dict[str, bool], activation: str | None
) -> None:
    from chat_checkpoints import TEMPLATE

    write_json(tmp_path / "config.json", _BACKBONES["Qwen3 (Qwen3-Embedding)"])
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
        {
            "idx": 1, "name": "1", "path": "1_LogitScore",
            "type": "sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
        },
    ]  # fmt: skip
    write_json(tmp_path / "modules.json", modules)
    write_json(tmp_path / "1_LogitScore/config.json", answers)
    logits = {"method": "forward", "method_output_name": "logits"}
    settings = {
        "transformer_task": "text-generation", "module_output_name": "causal_logits",
        "modality_config": {"text": logits, "message": {**logits, "format": "flat"}},
    }  # fmt: skip
    more = {"processing_kwargs": {"chat_template": options}} if options else {}
    write_json(tmp_path / "sentence_bert_config.json", settings | more)
    whole = {
        "__version__": {"sentence_transformers": "5.4.0"}, "default_prompt_name": None, "model_type": "CrossEncoder",
        "prompts": {}, "activation_fn": activation and f"torch.nn.modules.linear.{activation}",
    }  # fmt: skip
    write_json(tmp_path / "config_sentence_transformers.json", whole)
    write_json(tmp_path / "tokenizer_config.json", {"model_max_length": 131072, "chat_template": TEMPLATE})
    (tmp_path / "model.safetensors").touch()
    reranker = CrossEncoderReranker(tmp_path)
    assert (reranker.max_length, reranker.normalized) == (40_960, activation is None)


def test_pylate(tmp_path: Path) -> None:
    config = _BACKBONES["ModernBERT (GTE-ModernColBERT, A.X-Encoder)"]
    folder = _dense(tmp_path / "model", config)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": _ST + "Transformer"},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
    ]
    write_json(folder / "modules.json", modules)
    head = {
        "in_features": 768, "out_features": 128, "bias": False, "use_residual": False,
        "activation_function": "torch.nn.modules.linear.Identity",
    }  # fmt: skip
    write_json(folder / "1_Dense/config.json", head)
    settings = {
        "prompts": {}, "default_prompt_name": None, "similarity_fn_name": "MaxSim", "query_prefix": "[Q] ",
        "document_prefix": "[D] ", "query_length": 32, "document_length": 300, "do_query_expansion": True,
        "attend_to_expansion_tokens": False, "skiplist_words": ["!", "\"", ".", "。"],
    }  # fmt: skip
    write_json(folder / "config_sentence_transformers.json", settings)
    assert load_encoder(folder).dim == 128


@pytest.mark.parametrize("release", ["sparse_encoder.models", "sparse_encoder.modules", "models"])
def test_splade(tmp_path: Path, release: str) -> None:
    config = _BACKBONES["ModernBERT (GTE-ModernColBERT, A.X-Encoder)"] | {"architectures": ["ModernBertForMaskedLM"]}
    folder = _dense(tmp_path / "model", config)
    kinds = [("", "MLMTransformer"), ("1_SpladePooling", "SpladePooling")]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.{release}.{kind}"}
        for index, (path, kind) in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    pooling = {"pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": 50370}
    write_json(folder / "1_SpladePooling/config.json", pooling)
    write_json(folder / "config_sentence_transformers.json", {"model_type": "SparseEncoder", "prompts": {}})
    assert load_encoder(folder).family == "sparse"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a permission there")
def test_a_folder_of_links_to_the_hubs_cache(tmp_path: Path) -> None:
    """As ``huggingface-cli download --local-dir`` made it before huggingface_hub 0.23."""
    folder = _dense(tmp_path / "model", _BACKBONES["XLM-RoBERTa (BGE-m3, KURE, KoE5)"])
    blobs = tmp_path / "cache" / "models--owner--name" / "blobs"
    blobs.mkdir(parents=True)
    for number, path in enumerate([path for path in folder.rglob("*") if path.is_file()]):
        path.rename(blobs / f"{number:064x}")
        path.symlink_to(blobs / f"{number:064x}")
    assert load_encoder(folder).family == "dense"


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("sentence_bert_config.json", {"model_args": {"trust_remote_code": True}}),
        ("sentence_bert_config.json", {"processing_kwargs": {"chat_template": {"chat_template": "own"}}}),
        ("config.json", {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}),
    ],
)
def test_what_needs_the_callers_trust_says_so(tmp_path: Path, file: str, changes: dict[str, Any]) -> None:
    folder = _dense(tmp_path, _BACKBONES["XLM-RoBERTa (BGE-m3, KURE, KoE5)"])
    edit_json(folder / file, **changes)
    with pytest.raises(CheckpointError) as caught:
        load_encoder(folder)
    assert_bilingual(caught.value, next(iter(changes)), "trust_remote_code=True")
    assert load_encoder(folder, trust_remote_code=True).family == "dense"
