"""Models to measure: the bundled ones, and larger shapes with random weights, which do not affect speed.

A shape is the folder of a bundled model (tokenizer, modules, settings) with another ``config.json`` and new weights.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

Family = Literal["dense", "sparse", "late_interaction"]

MINIS: dict[Family, str] = {"dense": "mini-dense", "sparse": "mini-splade", "late_interaction": "mini-colbert"}
SHAPES: dict[str, dict[str, Any]] = {
    # skt/A.X-Encoder-base, the base of colbert-ko and splade-ko: ModernBERT-base with a vocabulary of 50,000
    "149M": {
        "model_type": "modernbert", "vocab_size": 50_000, "hidden_size": 768, "intermediate_size": 1_152,
        "num_hidden_layers": 22, "num_attention_heads": 12, "max_position_embeddings": 8_192, "layer_types": None,
    },
    # BAAI/bge-m3 and models derived from it, such as BGE-m3-ko
    "XLM-R-large": {
        "model_type": "xlm-roberta", "vocab_size": 250_002, "hidden_size": 1_024, "intermediate_size": 4_096,
        "num_hidden_layers": 24, "num_attention_heads": 16, "max_position_embeddings": 8_194, "type_vocab_size": 1,
        "hidden_act": "gelu", "pad_token_id": 1,
    },
}  # fmt: skip
ACTIVE = 780
"""Active terms per document of splade-ko-v1, from its card; random weights would activate half of the vocabulary."""


def build(folder: Path, shape: str, family: Family) -> Path:
    """Creates a checkpoint that korag and its peers can load.

    Args:
        folder: Folder to create; reused if it exists.
        shape: ``"mini"`` or a key of `SHAPES`.
        family: The model family.

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
        _write_largest_head(unfinished)
    return unfinished.replace(folder)


def build_all(
    shapes: Iterable[str], families: Iterable[Family], folder: Path
) -> Iterator[tuple[str, str, Family, Path]]:
    """Creates the models of all shapes and families; XLM-R-large only dense, like the Korean models of that shape.

    Args:
        shapes: ``"mini"`` or keys of `SHAPES`.
        families: The model families.
        folder: Folder of the checkpoints.

    Yields:
        Name, shape, family and checkpoint of each model.
    """
    for shape in shapes:
        for family in families:
            if shape == "XLM-R-large" and family != "dense":
                continue
            name = MINIS[family] if shape == "mini" else f"{shape} {family.replace('_', ' ')}"
            yield name, shape, family, build(folder / f"{shape}-{family}", shape, family)


def flops(model: Any, lengths: list[int]) -> float:
    """Computes the floating-point operations of a forward pass without padding.

    2 × weights × tokens for the linear layers, and 4 × hidden × keys for each token and layer of attention
    (Kaplan et al., https://arxiv.org/abs/2001.08361, table 1); with a sliding window, keys are limited to its size.

    Args:
        model: A sentence-transformers model.
        lengths: Tokens of each text.
    """
    import torch

    weights: int = sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and "pooler" not in name
    )
    config = model[0].model.config
    windows: list[int | None] = [None] * config.num_hidden_layers
    if kinds := getattr(config, "layer_types", None):
        windows = [config.local_attention + 1 if kind == "sliding_attention" else None for kind in kinds]
    attention: int = sum(4 * config.hidden_size * n * min(n, window or n) for n in lengths for window in windows)
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
    model = _from_config(AutoModelForMaskedLM if family == "sparse" else AutoModel, config)
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


def _from_config(model_class: Any, config: Any) -> Any:
    return model_class.from_config(config).eval()


def _make_sparse(model: Any) -> None:
    """Lowers all logits so that documents activate as many terms as with a trained model."""
    import torch

    with torch.inference_mode():
        logits = model(input_ids=torch.randint(10, 12_000, (4, 128))).logits.amax(1)
        bias = -torch.quantile(logits.flatten()[:: max(1, logits.numel() // 100_000)], 1 - ACTIVE / logits.shape[1])
    model.decoder.bias.data.fill_(float(bias))


def _write_largest_head(folder: Path) -> None:
    """Writes the largest Matryoshka head to ``1_Dense``, the only one sentence-transformers reads."""
    from safetensors.torch import load_file, save_file

    heads = folder / "matryoshka_heads.safetensors"
    largest = max(load_file(heads).values(), key=len)
    save_file({"linear.weight": largest.contiguous()}, folder / "1_Dense" / "model.safetensors")
    heads.unlink()


def _edit(path: Path, **changes: Any) -> None:
    value = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
