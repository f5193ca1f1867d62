"""Saving a trained model atomically; merging a LoRA adapter into its base."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korag.checkpoints.matryoshka import write_heads
from korag.checkpoints.settings import find_adapter
from korag.encoders.base import Encoder
from korag.encoders.load import load_encoder
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.saving import update_json
from korag.errors import CheckpointError, InvalidArgumentError
from korag.keywords import checks_call
from korag.paths import check_new_folder
from korag.storage import atomic_folder


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Hides transformers' progress bars for reading and writing weights; the trainer's own bar stays.

    Also hides its deprecation warning about sentence-transformers' argument for gradient checkpointing.
    """
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "(?s).*checkpointing", FutureWarning)
            yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def save_model(model: Any, folder: Path, encoder: Encoder[Any]) -> None:
    """Saves a trained model in sentence-transformers' layout, with all Matryoshka heads.

    ``1_Dense`` contains the largest head, for readers that do not support Matryoshka heads.

    Args:
        model: The trained sentence-transformers model; its heads are replaced by a plain `Dense`.
        folder: An empty folder.
        encoder: The original encoder, whose prompts, lengths and dims the saved model must have.

    Raises:
        CheckpointError: If they differ.
    """
    heads = None
    if encoder.family == "late_interaction":
        from korag.training.heads import detach_heads, find_matryoshka

        if find_matryoshka(model) is not None:
            heads = detach_heads(model)
    with quietly():
        model.save_pretrained(str(folder), create_model_card=False)
    if heads is not None:
        write_heads(heads, folder)
    if (adapter := find_adapter(folder)) is not None:
        (adapter / "README.md").unlink(missing_ok=True)  # PEFT's model card, a form with nothing filled in
        base = encoder.load_arguments
        update_json(adapter / "adapter_config.json", base_model_name_or_path=base["model"], revision=base["revision"])
    check_saved(folder, encoder)


def check_saved(folder: Path, encoder: Encoder[Any]) -> None:
    """Checks that a saved model loads with the settings it was trained with.

    Raises:
        CheckpointError: If prompts, lengths, dimension or similarity differ.
    """
    saved = load_encoder(folder, device="cpu")
    for name in ("family", "dim", "prompts", "query_length", "max_length", "similarity"):
        expected, found = getattr(encoder, name), getattr(saved, name)
        if expected != found:
            raise CheckpointError(
                f"저장한 모델의 {name} 값 {found!r}이(가) 학습할 때의 값 {expected!r}과(와) 달라 저장을 취소했습니다.",
                f"The saved model's {name} is {found!r} instead of {expected!r} as in training; it was discarded.",
            )


@checks_call
def merge_adapter(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    base: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Path:
    """Merges a LoRA (PEFT) adapter into its base and saves a plain model, which needs neither PEFT nor the base.

    ``W ← W + alpha / rank · B · A`` for every adapted matrix (https://arxiv.org/abs/2106.09685, section 4.1); the
    vectors are equal up to rounding.

    Args:
        folder: The adapter's folder or Hub id.
        output: Folder to create, atomically; must not exist.
        base: The base model; None for the one named in ``adapter_config.json``.
        options: Keywords of `korag.load_encoder`: ``query_prompt``, ``document_prompt``, ``local_files_only`` …

    Returns:
        The output folder.

    Raises:
        InvalidArgumentError: If `output` exists, or `folder` is not an adapter.
        MissingBaseError: If the base cannot be found.
    """
    target = check_new_folder("output", output)
    encoder: PretrainedEncoder[Any] = (
        load_encoder(folder, **options) if base is None else load_encoder(base, adapter=folder, **options)
    )
    if encoder.checkpoint.base is None:
        raise InvalidArgumentError(
            f"'{os.fspath(folder)}'은(는) 어댑터가 아닙니다(adapter_config.json 없음). 그대로 쓸 수 있습니다.",
            f"'{os.fspath(folder)}' is not an adapter (no adapter_config.json); it can be used as it is.",
        )
    model = encoder.load_copy()  # the loader merges adapters
    with atomic_folder(target) as unfinished, quietly():
        model.save_pretrained(str(unfinished), create_model_card=False)
        check_saved(unfinished, encoder)
    return target
