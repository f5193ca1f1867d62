"""Exports trained phases as the bundled folders, in the layouts of PyLate and sentence-transformers."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from korag.checkpoints.matryoshka import write_heads
from training.minis.config import HEAD_DIMS, HIDDEN_SIZE, QUERY_LENGTH, SKIPPED_WORDS, VOCAB_SIZE, Folders
from training.minis.model import Mini, model_config

logger = logging.getLogger(__name__)

MODELS = {"mini-colbert": "heads", "mini-dense": "dense-taught", "mini-splade": "splade-long"}
"""Phase with the weights of each model."""
_MOST_BYTES = 8_000_000
_DOCUMENT_LENGTH = 512
_VERSIONS = {"sentence_transformers": "5.1.1", "transformers": "4.56.2", "pytorch": "2.13.0+cpu"}
"""Versions whose layouts are written; readers distinguish formats by them."""


def export_models(
    folders: Folders, models: Mapping[str, str] = MODELS, *, query_length: int = QUERY_LENGTH, expanded: bool = True
) -> None:
    """Writes the three model folders, without their cards.

    Args:
        folders: The folders.
        models: Phase with the weights of each model.
        query_length: Query length of ColBERT in tokens.
        expanded: ColBERT's queries are filled with mask tokens up to that length.

    Raises:
        ValueError: If a model is too large to be bundled.
    """
    for name, phase in models.items():
        model = Mini.load(folders.work, phase)
        folder = folders.out / name
        unfinished = folder.with_name(f"{name}.tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        shutil.copy(folders.work / "tokenizer.json", unfinished)
        writers: dict[str, Callable[[Mini, Path], None]] = {
            "mini-colbert": partial(_write_colbert, query_length=query_length, expanded=expanded),
            "mini-dense": _write_dense,
            "mini-splade": _write_splade,
        }
        writers[name](model, unfinished)
        if (folder / "README.md").exists():  # cards are written by hand
            shutil.copy(folder / "README.md", unfinished)
        size = sum(file.stat().st_size for file in unfinished.rglob("*") if file.is_file())
        if size > _MOST_BYTES:
            raise ValueError(f"{name} is {size:,} bytes, more than {_MOST_BYTES:,}")
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.replace(folder)
        logger.info("%s: %s bytes", name, f"{size:,}")


def _write_colbert(model: Mini, folder: Path, *, query_length: int, expanded: bool) -> None:
    # PyLate pads queries with the pad token, which therefore must be the mask token
    _write_backbone(folder, "ModernBertModel", pad_token="[MASK]", length=model_config().max_position_embeddings)  # noqa: S106
    _write_tensors(folder / "model.safetensors", model.language_model.model.state_dict())
    _write_modules(folder, ("", "sentence_transformers.models.Transformer"), ("1_Dense", "pylate.models.Dense.Dense"))
    heads = {dim: model.projection(dim).weight.detach() for dim in HEAD_DIMS}
    largest = max(HEAD_DIMS)
    _write_json(
        folder / "1_Dense/config.json",
        {
            "in_features": HIDDEN_SIZE,
            "out_features": largest,
            "bias": False,
            "activation_function": "torch.nn.modules.linear.Identity",
            "use_residual": False,
        },
    )
    _write_tensors(folder / "1_Dense/model.safetensors", {"linear.weight": heads[largest]})
    write_heads(heads, folder)
    _write_settings(
        folder,
        "ColBERT",
        similarity="MaxSim",
        prompts={"query": "", "document": ""},
        query_prefix="[Q] ",
        document_prefix="[D] ",
        query_length=query_length,
        document_length=_DOCUMENT_LENGTH,
        attend_to_expansion_tokens=False,
        skiplist_words=list(SKIPPED_WORDS),
        do_query_expansion=expanded,
    )


def _write_dense(model: Mini, folder: Path) -> None:
    _write_backbone(folder, "ModernBertModel", pad_token="[PAD]", length=_DOCUMENT_LENGTH)  # noqa: S106
    _write_tensors(folder / "model.safetensors", model.language_model.model.state_dict())
    _write_modules(
        folder,
        ("", "sentence_transformers.models.Transformer"),
        ("1_Pooling", "sentence_transformers.models.Pooling"),
        ("2_Normalize", "sentence_transformers.models.Normalize"),
    )
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    _write_json(
        folder / "1_Pooling/config.json",
        {
            "word_embedding_dimension": HIDDEN_SIZE,
            **{f"pooling_mode_{mode}": mode == "mean_tokens" for mode in modes},
            "include_prompt": True,
        },
    )
    _write_settings(folder, "SentenceTransformer", similarity="cosine", prompts={"query": "[Q] ", "document": "[D] "})


def _write_splade(model: Mini, folder: Path) -> None:
    _write_backbone(folder, "ModernBertForMaskedLM", pad_token="[PAD]", length=_DOCUMENT_LENGTH)  # noqa: S106
    tensors = dict(model.language_model.state_dict())
    del tensors["decoder.weight"]  # the embeddings, tied
    _write_tensors(folder / "model.safetensors", tensors | {"decoder.bias": model.term_bias().detach()})
    _write_modules(
        folder,
        ("", "sentence_transformers.sparse_encoder.models.MLMTransformer"),
        ("1_SpladePooling", "sentence_transformers.sparse_encoder.models.SpladePooling"),
    )
    _write_json(
        folder / "1_SpladePooling/config.json",
        {"pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": VOCAB_SIZE},
    )
    _write_settings(folder, "SparseEncoder", similarity="dot", prompts={"query": "[Q] ", "document": "[D] "})


def _write_backbone(folder: Path, architecture: str, *, pad_token: str, length: int) -> None:
    config = model_config().to_dict()  # type: ignore[no-untyped-call]
    config.pop("_attn_implementation", None)
    # the files contain float16, but with that in the config sentence-transformers would also compute in it
    _write_json(folder / "config.json", config | {"architectures": [architecture], "dtype": "float32"})
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": length,
            "pad_token": pad_token,
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
            "clean_up_tokenization_spaces": False,
        },
    )
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": length, "do_lower_case": False})


def _write_modules(folder: Path, *modules: tuple[str, str]) -> None:
    rows = [{"idx": i, "name": str(i), "path": path, "type": kind} for i, (path, kind) in enumerate(modules)]
    _write_json(folder / "modules.json", rows)


def _write_settings(folder: Path, kind: str, *, similarity: str, prompts: dict[str, str], **settings: Any) -> None:
    _write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": kind,
            "__version__": _VERSIONS,
            "prompts": prompts,
            "default_prompt_name": None,
            "similarity_fn_name": similarity,
            **settings,
        },
    )


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    path.parent.mkdir(exist_ok=True)
    halves = {name: tensor.detach().half().contiguous() for name, tensor in tensors.items()}
    # not `save_file`, whose files only their owner can read
    path.write_bytes(save(halves, metadata={"format": "pt"}))


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
