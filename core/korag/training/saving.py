"""Saving a trained model whole, in the layout `korag.load_encoder` reads; merging a LoRA adapter into its base."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korag.checkpoints.layouts import find_adapter, read_json
from korag.checkpoints.matryoshka import write_heads
from korag.checks import check_new_folder
from korag.encoders.base import Encoder
from korag.encoders.load import load_encoder
from korag.encoders.pretrained import PretrainedEncoder
from korag.errors import CheckpointError, InvalidArgumentError


def check_new(output: str | os.PathLike[str]) -> Path:
    """Returns the folder to be made, absolute.

    Raises:
        InvalidArgumentError: If it exists.
    """
    return check_new_folder(Path(output).expanduser().absolute())


@contextlib.contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `target` when all went well and vanishes when not."""
    unfinished = target.with_name(target.name + ".tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        for path in unfinished.rglob("*"):
            if path.is_file():
                _flush(path)
        unfinished.replace(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keeps transformers' bars for reading and writing weights off the terminal; the trainer's own stays.

    Also its deprecation of the name by which sentence-transformers turns gradient checkpointing on.
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
    """Writes a trained model: sentence-transformers' layout, and for Matryoshka heads every one of them.

    ``1_Dense`` gets the largest head, so that a reader that knows no heads has the model's best.

    Args:
        model: The trained sentence-transformers model; its heads are replaced by a plain ``1_Dense``.
        folder: An empty folder.
        encoder: What it was trained from: prompts, lengths and dims must come out the same.

    Raises:
        CheckpointError: If they do not.
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
        path = adapter / "adapter_config.json"
        base = encoder.load_arguments
        changes = {"base_model_name_or_path": base["model"], "revision": base["revision"]}
        path.write_text(json.dumps(read_json(path) | changes, ensure_ascii=False, indent=2), encoding="utf-8")
    check_saved(folder, encoder)


def check_saved(folder: Path, encoder: Encoder[Any]) -> None:
    """Sees that a saved model is loaded with the settings it was trained with.

    Raises:
        CheckpointError: If prompts, lengths, dimension or similarity differ.
    """
    saved = load_encoder(folder, device="cpu")
    for name in ("family", "dim", "prompts", "query_length", "max_length", "similarity"):
        expected, found = getattr(encoder, name), getattr(saved, name)
        if expected != found:
            raise CheckpointError(
                f"저장한 모델의 {name}이(가) {found!r}로, 학습할 때의 {expected!r}와 다릅니다. 저장을 취소했습니다.",
                f"The saved model's {name} is {found!r}, not {expected!r} as in training; it was not kept.",
            )


def merge_adapter(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    base: str | os.PathLike[str] | None = None,
    **options: Any,
) -> Path:
    """Merges a LoRA (PEFT) adapter into its base and saves a plain model, which needs neither peft nor the base.

    ``W ← W + alpha / rank · B · A`` for every adapted matrix (https://arxiv.org/abs/2106.09685, section 4.1); the
    vectors stay the same to rounding.

    Args:
        folder: The adapter's folder or Hub id.
        output: Where to; must not exist. Written whole or not at all.
        base: The base; None for the one its ``adapter_config.json`` names.
        options: Of `korag.load_encoder`: ``query_prompt``, ``document_prompt``, ``local_files_only`` …

    Returns:
        The output folder.

    Raises:
        InvalidArgumentError: If `output` exists, or `folder` holds no adapter.
        MissingBaseError: If the base cannot be found.
    """
    target = check_new(output)
    encoder: PretrainedEncoder[Any] = (
        load_encoder(folder, **options) if base is None else load_encoder(base, adapter=folder, **options)
    )
    if encoder.checkpoint.base is None:
        raise InvalidArgumentError(
            f"'{os.fspath(folder)}'은(는) 어댑터가 아닙니다(adapter_config.json 없음). 그대로 쓸 수 있습니다.",
            f"'{os.fspath(folder)}' is no adapter (no adapter_config.json); it can be used as it is.",
        )
    model = encoder.load_copy()  # the loader merges: an adapter is never run as one
    with atomic_folder(target) as unfinished, quietly():
        model.save_pretrained(str(unfinished), create_model_card=False)
        check_saved(unfinished, encoder)
    return target


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
