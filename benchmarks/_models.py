"""Models to measure: the shipped ones, and larger shapes with random weights, for cost does not depend on them.

A shape is a shipped model's folder (tokenizer, modules, settings) with another ``config.json`` and new weights.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

Family = Literal["dense", "sparse", "late_interaction"]

MINIS: dict[Family, str] = {"dense": "mini-dense", "sparse": "mini-splade", "late_interaction": "mini-colbert"}
SHAPES: dict[str, dict[str, Any]] = {
    # skt/A.X-Encoder-base, which colbert-ko and splade-ko are made of: ModernBERT-base with 50,000 words
    "149M": {
        "model_type": "modernbert", "vocab_size": 50_000, "hidden_size": 768, "intermediate_size": 1_152,
        "num_hidden_layers": 22, "num_attention_heads": 12, "max_position_embeddings": 8_192, "layer_types": None,
    },
    # BAAI/bge-m3 and what is made of it, such as BGE-m3-ko
    "XLM-R-large": {
        "model_type": "xlm-roberta", "vocab_size": 250_002, "hidden_size": 1_024, "intermediate_size": 4_096,
        "num_hidden_layers": 24, "num_attention_heads": 16, "max_position_embeddings": 8_194, "type_vocab_size": 1,
        "hidden_act": "gelu", "pad_token_id": 1,
    },
}  # fmt: skip
ACTIVE = 780
"""Terms with a weight in a document of splade-ko-v1, by its card; random weights alone give half of all terms."""


def build(folder: Path, shape: str, family: Family) -> Path:
    """Makes a checkpoint that korag and its peers load alike.

    Args:
        folder: Where to; if it is there, it is taken as it is.
        shape: ``"mini"`` or a key of `SHAPES`.
        family: Its kind.

    Returns:
        The folder.
    """
    from korag.checkpoints.bundled import shipped_models

    if folder.exists():
        return folder
    unfinished = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(shipped_models()[MINIS[family]], unfinished)
    if shape != "mini":
        _replace_weights(unfinished, SHAPES[shape], family)
    elif family == "late_interaction":
        _head_for_everyone(unfinished)
    return unfinished.replace(folder)


def flops(model: Any, lengths: list[int]) -> float:
    """Counts the floating-point operations of a forward pass over texts without any padding.

    2 × weights × tokens for the linear layers, and 4 × hidden × keys for each token and layer of attention
    (Kaplan et al., https://arxiv.org/abs/2001.08361, table 1); a sliding window has at most so many keys.

    Args:
        model: A sentence-transformers model.
        lengths: Tokens of each text.
    """
    import torch

    weights = sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "pooler" not in name
    )
    config = model[0].model.config
    windows: list[int | None] = [None] * config.num_hidden_layers
    if kinds := getattr(config, "layer_types", None):
        windows = [config.local_attention + 1 if kind == "sliding_attention" else None for kind in kinds]
    attention = sum(4 * config.hidden_size * n * min(n, window or n) for n in lengths for window in windows)
    return 2 * weights * sum(lengths) + attention


def _replace_weights(folder: Path, settings: Mapping[str, Any], family: Family) -> None:
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

    kind = settings["model_type"]
    old = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kept = {name: old[name] for name in old if name.endswith("_token_id")}
    given = {name: value for name, value in settings.items() if name != "model_type"}
    config = AutoConfig.for_model(kind, **(kept | given))
    for file in folder.glob("*.safetensors"):
        file.unlink()
    torch.manual_seed(7)
    model = (AutoModelForMaskedLM if family == "sparse" else AutoModel).from_config(config).eval()
    if family == "sparse":
        _make_sparse(model)
        _edit(folder / "1_SpladePooling" / "config.json", word_embedding_dimension=config.vocab_size)
    elif family == "dense":
        modes = {"pooling_mode_mean_tokens": kind == "modernbert", "pooling_mode_cls_token": kind != "modernbert"}
        _edit(folder / "1_Pooling" / "config.json", word_embedding_dimension=config.hidden_size, **modes)
        _edit(folder / "config_sentence_transformers.json", prompts={"query": "", "document": ""})
    else:
        from safetensors.torch import save_file

        _edit(folder / "1_Dense" / "config.json", in_features=config.hidden_size)
        save_file({"linear.weight": torch.randn(128, config.hidden_size)}, folder / "1_Dense" / "model.safetensors")
    model.save_pretrained(folder)


def _make_sparse(model: Any) -> None:
    """Lowers every logit, so that as many terms are active as in a trained model's documents."""
    import torch

    with torch.inference_mode():
        logits = model(input_ids=torch.randint(10, 12_000, (4, 128))).logits.amax(1)
        bias = -torch.quantile(logits.flatten()[:: max(1, logits.numel() // 100_000)], 1 - ACTIVE / logits.shape[1])
    model.decoder.bias.data.fill_(float(bias))


def _head_for_everyone(folder: Path) -> None:
    """Puts the largest Matryoshka head into ``1_Dense``: sentence-transformers reads nothing else."""
    from safetensors.torch import load_file, save_file

    heads = folder / "matryoshka_heads.safetensors"
    largest = max(load_file(heads).values(), key=len)
    save_file({"linear.weight": largest.contiguous()}, folder / "1_Dense" / "model.safetensors")
    heads.unlink()


def _edit(path: Path, **changes: Any) -> None:
    value = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
