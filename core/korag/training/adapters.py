"""LoRA adapters in training, through PEFT's own functions.

transformers' ``add_adapter`` and ``load_adapter`` demand the PEFT release of their own day, which need not be out yet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from korag._optional import require
from korag.checkpoints.settings import find_adapter, read_modules
from korag.training.recipes import LoRA
from korag.training.saving import quietly


def add_adapter(model: Any, lora: LoRA) -> None:
    """Wraps the model's backbone with a new LoRA adapter; of the backbone, only the adapter is trained.

    Args:
        model: A sentence-transformers model; changed in place.
        lora: Rank, scale, dropout and the layers that are adapted.
    """
    peft = require("peft", extra="train")
    targets = list(lora.targets)
    config = peft.LoraConfig(
        task_type=peft.TaskType.FEATURE_EXTRACTION, r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout,
        target_modules="all-linear" if targets == ["all-linear"] else targets,
    )  # fmt: skip
    with quietly():
        model[0].model = peft.get_peft_model(model[0].model, config)


def has_adapter(model: Any) -> bool:
    """Returns whether `add_adapter` wrapped the model's backbone."""
    return hasattr(model[0].model, "peft_config")


def load_adapter_checkpoint(model: Any, folder: Path) -> None:
    """Loads a training checkpoint: the adapter into the wrapped backbone, and every module after the backbone.

    Args:
        model: A model with an adapter; changed in place.
        folder: The checkpoint, as the trainer wrote it.
    """
    peft = require("peft", extra="train")
    weights = peft.load_peft_weights(str(find_adapter(folder)), device="cpu")
    peft.set_peft_model_state_dict(model[0].model, weights)
    for module, entry in zip(list(model)[1:], read_modules(folder)[1:], strict=True):
        saved = type(module).load(str(folder), subfolder=entry["path"], local_files_only=True)
        module.load_state_dict(saved.state_dict())
