"""Running sentence-transformers' trainers with a recipe: arguments, precision, resumable checkpoints."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korag._optional import check, require
from korag.checkpoints.matryoshka import read_heads
from korag.encoders.inputs import tasks_of
from korag.encoders.precision import cpu_has_bfloat16
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.releases import check_newest
from korag.errors import InvalidArgumentError
from korag.logs import logger
from korag.training.adapters import add_adapter, has_adapter, load_adapter_checkpoint
from korag.training.columns import LABEL
from korag.training.recipes import Recipe
from korag.training.resuming import is_finished, last_checkpoint, step_of
from korag.training.saving import quietly

_MIN_SAVE_STEPS, _MAX_SAVE_STEPS = 10, 500
"""Bounds of the steps between checkpoints."""


@dataclass(frozen=True)
class TrainResult:
    """Result of `train`.

    Attributes:
        steps: Total optimizer steps.
        resumed_from: The step training resumed from; None if it started from scratch.
    """

    steps: int
    resumed_from: int | None


def check_installed(recipe: Recipe) -> None:
    """Checks for missing packages before any data or weights are read.

    Raises:
        MissingDependencyError: If a package of the extra ``train`` is missing, or this is an environment of PyLate.
    """
    check_newest("학습에는", "Training needs")
    check("datasets", "accelerate", "ir_measures", *(("peft",) if recipe.lora else ()), extra="train")


def load_trainable(encoder: PretrainedEncoder[Any], recipe: Recipe) -> Any:
    """Loads an encoder's sentence-transformers model with the heads or the adapter that the recipe trains.

    Args:
        encoder: The encoder; it is not changed.
        recipe: The recipe.

    Raises:
        InvalidArgumentError: If the recipe's dims are not those of the model's heads, its adapter would be added to an
            adapter, or the model does not begin with a Transformer for queries and documents.
    """
    checkpoint = encoder.checkpoint
    if recipe.lora is not None and checkpoint.base is not None:
        raise InvalidArgumentError(
            f"'{encoder.model_name}'은(는) 이미 LoRA 어댑터입니다. "
            "merge_adapter로 병합한 폴더에서 시작하거나 lora=None인 레시피를 쓰세요.",
            f"'{encoder.model_name}' is already a LoRA adapter; start from a folder made by merge_adapter, or use a "
            "recipe with lora=None.",
        )
    model = encoder.load_copy()
    if len(tasks_of(model)) > 1 or not hasattr(model[0], "model"):
        raise InvalidArgumentError(
            f"'{encoder.model_name}'은(는) 질문과 문서를 다르게 처리하거나(Router) 트랜스포머로 시작하지 않는 "
            "모델이라서 KoRAG로 학습할 수 없습니다. sentence-transformers로 학습한 폴더는 그대로 불러올 수 있습니다.",
            f"'{encoder.model_name}' treats queries and documents differently (a Router), or does not begin with a "
            "transformer, so KoRAG cannot train it. A folder trained with sentence-transformers loads as it is.",
        )
    if recipe.family == "late_interaction":
        from korag.training.heads import attach_heads

        if checkpoint.heads is not None:
            if recipe.dims and recipe.dims != checkpoint.dims:
                raise InvalidArgumentError(
                    f"레시피의 dims={recipe.dims}이(가) 모델의 헤드 {checkpoint.dims}와(과) 다릅니다. "
                    "dims를 비우면 모델의 차원을 씁니다.",
                    f"The recipe's dims={recipe.dims} differ from the model's heads {checkpoint.dims}; leave dims "
                    "empty to use the model's.",
                )
            heads = encoder.weights_folder() / checkpoint.heads.name
            attach_heads(model, read_heads(heads, model[0].get_embedding_dimension()))
        elif recipe.dims:
            attach_heads(model, dims=recipe.dims)
    if recipe.lora is not None:
        add_adapter(model, recipe.lora)
    return model


def precision_flags(recipe: Recipe, device: str) -> dict[str, bool]:
    """Returns the autocast settings for a device: the recipe's on a GPU; on a CPU, bf16 if it is native."""
    import torch

    if recipe.precision == "fp32":
        return {"bf16": False, "fp16": False}
    if device.startswith("cuda"):
        bf16 = recipe.precision == "bf16" or (recipe.precision == "auto" and torch.cuda.is_bf16_supported())
        return {"bf16": bf16, "fp16": not bf16}
    return {"bf16": device == "cpu" and cpu_has_bfloat16(), "fp16": False}


def train(
    model: Any,
    loss: Any,
    columns: Mapping[str, list[str]],
    recipe: Recipe,
    *,
    folder: Path,
    prompts: dict[str, str],
    seed: int,
    device: str,
    taught: Sequence[Sequence[float]] | None = None,
    max_steps: int | None = None,
    show_progress: bool | None = None,
) -> TrainResult:
    """Trains a model in place; resumes from the last complete checkpoint in `folder`, if any.

    Args:
        model: From `load_trainable`.
        loss: From `korag.training.losses.make_loss`.
        columns: The training pairs, from `korag.training.columns.to_columns`.
        recipe: The recipe.
        folder: Folder of the checkpoints; the last two are kept.
        prompts: ``{"query": …, "document": …}``.
        seed: Seed of the order and dropout.
        device: The device to train on.
        taught: A teacher's scores of the candidates of each pair, for a loss that distills them.
        max_steps: Stop after this many optimizer steps; None for the recipe's epochs.
        show_progress: Show a progress bar; None shows one in a terminal.
    """
    from transformers import PrinterCallback

    from korag.training.sampler import PairBatchSampler

    shown = sys.stderr.isatty() if show_progress is None else show_progress
    trainer_class, arguments_class = _classes(recipe)
    steps = max_steps or math.ceil(recipe.epochs * math.ceil(len(columns["query"]) / recipe.batch_size))
    save_steps = max(_MIN_SAVE_STEPS, min(_MAX_SAVE_STEPS, steps // 10))
    arguments = arguments_class(
        output_dir=str(folder),
        num_train_epochs=recipe.epochs,
        max_steps=max_steps or -1,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        batch_sampler=PairBatchSampler,
        prompts={name: prompts["query" if name == "query" else "document"] for name in columns},
        use_cpu=device == "cpu",
        seed=seed,
        data_seed=seed,
        save_steps=save_steps,
        save_total_limit=2,  # a kill may leave the last one incomplete
        logging_steps=max(1, min(50, steps // 10)),
        report_to="none",
        disable_tqdm=not shown,
        dataloader_pin_memory=device != "cpu",
        **precision_flags(recipe, device),
        **_checkpointing(arguments_class, recipe),
    )
    # Checkpoints need no model card; making one would query the Hub about the base.
    model._create_model_card = lambda *_, **__: None
    overrides: dict[str, Any] = {"add_model_card_callback": lambda *_: None}
    if has_adapter(model):
        overrides["_load_from_checkpoint"] = lambda _, path: load_adapter_checkpoint(model, Path(path))
    plain = type(trainer_class.__name__, (trainer_class,), overrides)
    dataset = require("datasets", extra="train").Dataset.from_dict(
        dict(columns) | ({} if taught is None else {LABEL: taught})
    )
    trainer = plain(model=model, args=arguments, train_dataset=dataset, loss=loss)
    trainer.remove_callback(PrinterCallback)
    checkpoint = last_checkpoint(folder)
    resumed = None if checkpoint is None else step_of(checkpoint)
    if resumed is not None:
        logger.info("%d스텝부터 이어서 학습합니다. / Resuming at step %d.", resumed, resumed)
    if checkpoint is not None and is_finished(checkpoint):  # the trainer would take another step
        with quietly():
            trainer._load_from_checkpoint(str(checkpoint))
        return TrainResult(step_of(checkpoint), resumed)
    with quietly(), _kept_token_ids(model):
        result = trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if not math.isfinite(result.training_loss):
        raise InvalidArgumentError(
            f"손실이 {result.training_loss}이(가) 되어 중단합니다. learning_rate를 낮추거나 precision='fp32'를 쓰세요.",
            f"The loss became {result.training_loss}; lower learning_rate, or use precision='fp32'.",
        )
    return TrainResult(int(trainer.state.global_step), resumed)


@contextlib.contextmanager
def _kept_token_ids(model: Any) -> Iterator[None]:
    """Restores the model's special tokens after the trainer has set them to the tokenizer's.

    The tokenizer of a ColBERT checkpoint pads queries with [MASK], which is not the model's padding token.
    """
    config = model.transformers_model.config
    names = [name for name in ("pad_token_id", "bos_token_id", "eos_token_id") if hasattr(config, name)]
    before = {name: getattr(config, name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


def _checkpointing(arguments_class: Any, recipe: Recipe) -> dict[str, bool]:
    """Returns the argument for gradient checkpointing, whose name depends on the version of transformers."""
    names = [field.name for field in dataclasses.fields(arguments_class)]
    name = "activation_checkpointing" if "activation_checkpointing" in names else "gradient_checkpointing"
    return {name: True} if recipe.gradient_checkpointing else {}


def _classes(recipe: Recipe) -> tuple[Any, Any]:
    import sentence_transformers as st

    if recipe.family == "late_interaction":
        return st.MultiVectorEncoderTrainer, st.MultiVectorEncoderTrainingArguments
    if recipe.family == "sparse":
        return st.SparseEncoderTrainer, st.SparseEncoderTrainingArguments
    return st.SentenceTransformerTrainer, st.SentenceTransformerTrainingArguments
