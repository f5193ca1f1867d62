"""Copies checkpoints into self-contained folders."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from korag.checkpoints.checkpoint import Checkpoint, read_checkpoint
from korag.checkpoints.matryoshka import find_heads, read_heads, write_heads
from korag.checkpoints.prompts import other_prompts
from korag.checkpoints.settings import find_adapter, read_json
from korag.paths import check_new_folder
from korag.storage import atomic_folder, copy_folder, write_text

_BASE = "base"
"""Subfolder with the base model of an adapter."""


def save_checkpoint(
    folder: str | os.PathLike[str],
    *,
    weights: Path,
    base_weights: Path | None,
    complete: Callable[[Path], None],
) -> Path:
    """Copies a checkpoint into a new folder: completely or not at all.

    Args:
        folder: Target; must not exist.
        weights: Folder with its weights.
        base_weights: Folder with the weights of its base, if it is an adapter.
        complete: Adds to the copied folder whatever the original lacks.

    Returns:
        The target folder.

    Raises:
        InvalidArgumentError: If the target exists.
        StorageFullError: If there is not enough space; nothing is left behind.
        ReadOnlyError: If the target may not be written.
    """
    target = check_new_folder("folder", folder)
    with atomic_folder(target) as unfinished:
        copy_folder(weights, unfinished)
        if base_weights is not None:
            copy_folder(base_weights, unfinished / _BASE)
            adapter = find_adapter(unfinished) or unfinished
            update_json(adapter / "adapter_config.json", base_model_name_or_path=_BASE, revision=None)
        complete(unfinished)
    return target


def write_prompts(checkpoint: Checkpoint, folder: Path, prompts: dict[str, str]) -> None:
    """Writes prompts into a copy of a checkpoint unless its files give the same ones.

    Args:
        checkpoint: The original.
        folder: The copy.
        prompts: ``{"query": …, "document": …}``.
    """
    copy = dataclasses.replace(checkpoint.source, name=str(folder), folder=folder, revision=None)
    saved = read_checkpoint(copy, family=checkpoint.family, base=checkpoint.base)
    if prompts != {"query": saved.query_prompt, "document": saved.document_prompt}:
        path = folder / "config_sentence_transformers.json"
        # those for retrieval are dropped, since one under another name would come before an empty one
        others = other_prompts(read_json(path).get("prompts") or {})
        update_json(path, prompts={**others, **prompts})


def convert_heads(folder: Path) -> None:
    """Rewrites the Matryoshka heads in a folder as safetensors."""
    heads = find_heads(folder)
    if heads is not None and heads.suffix != ".safetensors":
        write_heads(read_heads(heads), folder)
        heads.unlink()


def update_json(path: Path, **changes: Any) -> None:
    """Changes entries of a JSON file."""
    write_text(path, json.dumps(read_json(path) | changes, ensure_ascii=False, indent=2))
