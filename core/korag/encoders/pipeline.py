"""From texts to vectors: tokenization, batching and the forward pass of a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.encoders.base import Task
from korag.encoders.batching import even_budget, prefetch, token_budget_batches
from korag.encoders.cutting import cut_texts
from korag.encoders.inputs import adds_special_tokens, input_tokenizer
from korag.encoders.tensors import forward
from korag.encoders.worker_pool import WorkerPool
from korag.workers import cores, run_all

_SPARE_ON_CPU, _SPARE_ON_GPU = 16, 1_024
"""Padding tokens that cost less than one more batch."""


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """Settings that differ between queries and documents.

    Attributes:
        prompt: Prepended to every text.
        stripped_prompt: Prepended to every text before `prompt` is; both are stripped of outer whitespace. None to take
            texts as they are.
        max_length: Tokens after which texts are truncated, prompt and special tokens included; None for no limit.
        min_length: Tokens to which shorter texts are padded.
    """

    prompt: str
    stripped_prompt: str | None = None
    max_length: int | None
    min_length: int = 0


class Pipeline:
    """Runs normalized texts through a loaded model. Safe to use from many threads.

    Args:
        model: A sentence-transformers model.
        tasks: Settings per task.
        batch_tokens: Maximum tokens per padded batch.
        to_rows: Splits the model's output into one row per text.
        tokenizer_lock: Held during tokenization.
        batch_per_core: Compute batches side by side, one per core.
        limit_every_call: Tell the model with every call where to truncate, since it is shared with other families.
    """

    def __init__(
        self,
        model: Any,
        *,
        tasks: Mapping[Task, TaskSettings],
        batch_tokens: int,
        to_rows: Callable[[dict[str, Any]], list[Any]],
        tokenizer_lock: AbstractContextManager[Any],
        batch_per_core: bool,
        limit_every_call: bool = False,
    ) -> None:
        self._model, self._tasks, self._to_rows = model, tasks, to_rows
        self._batch_tokens, self._tokenizer_lock = batch_tokens, tokenizer_lock
        self._batch_per_core, self._limit_every_call = batch_per_core, limit_every_call

    @property
    def model(self) -> Any:
        """The loaded model, shared with others; not to be changed."""
        return self._model

    def prepare(self, texts: Sequence[str], task: Task) -> list[str]:
        """Returns the texts in the form that follows the prompt."""
        inner = self._tasks[task].stripped_prompt
        return list(texts) if inner is None else [(inner + text).strip() for text in texts]

    def cut(self, texts: Sequence[str], task: Task) -> list[str]:
        """Returns the texts, from `prepare`, very long ones without most of what is truncated anyway."""
        settings = self._tasks[task]
        limit = None if settings.max_length is None else max(settings.max_length, settings.min_length)
        with self._tokenizer_lock:
            return cut_texts(input_tokenizer(self._model, task), texts, limit, prompt=settings.prompt)

    def count_tokens(self, texts: Sequence[str], task: Task) -> list[int]:
        """Returns the number of tokens per text before truncation, prompt and special tokens included."""
        prompt = self._tasks[task].prompt
        with self._tokenizer_lock:
            encoded = input_tokenizer(self._model, task)(
                [prompt + text for text in texts],
                add_special_tokens=adds_special_tokens(self._model, task),
                truncation=False,
                padding=False,
                return_attention_mask=False,
                verbose=False,
            )
        return [len(ids) for ids in encoded["input_ids"]]

    def measure(self, texts: Sequence[str], task: Task) -> tuple[list[int], list[NDArray[np.int32]] | None]:
        """Returns what `count_tokens` does, and the truncated tokens of each text, which `encode` need not make again.

        Only light models start from tokens; for others, the tokens are None.
        """
        from korag.encoders.light.modules import LightModel

        if not isinstance(self._model, LightModel):
            return self.count_tokens(texts, task), None
        with self._tokenizer_lock:
            rows, lengths = self._model.token_rows(texts, self._tasks[task].prompt, task)
        return lengths, rows

    def offsets(self, text: str, task: Task) -> tuple[list[int], list[tuple[int, int] | None]]:
        """Returns the tokens that the tokenizer makes of a text, from `cut`, prompt and special tokens included.

        And where they are in prompt and text together: (0, 0) for special tokens; None for each if it cannot tell.
        """
        tokenizer, settings = input_tokenizer(self._model, task), self._tasks[task]
        with self._tokenizer_lock:
            encoded = tokenizer(
                settings.prompt + text,
                add_special_tokens=adds_special_tokens(self._model, task),
                return_offsets_mapping=tokenizer.is_fast,
                truncation=settings.max_length is not None,
                max_length=settings.max_length,
                verbose=False,
            )
        ids = list(encoded["input_ids"])
        return ids, list(encoded["offset_mapping"]) if tokenizer.is_fast else [None] * len(ids)

    def characters_before(self, text: str, task: Task) -> int:
        """Returns how many characters precede a text in what is tokenized; fewer where it begins with stripped ones."""
        settings = self._tasks[task]
        if (inner := settings.stripped_prompt) is None:
            return len(settings.prompt)
        return len(settings.prompt) + len((inner + text).lstrip()) - len(text)

    def unread(self, text: str, task: Task) -> str:
        """Returns the part of a text, from `cut`, that is truncated; nothing if the tokenizer cannot tell."""
        tokenizer, settings = input_tokenizer(self._model, task), self._tasks[task]
        if settings.max_length is None or not tokenizer.is_fast or tokenizer.truncation_side != "right":
            return ""
        whole = settings.prompt + text
        with self._tokenizer_lock:
            encoded = tokenizer(
                whole,
                add_special_tokens=adds_special_tokens(self._model, task),
                truncation=True,
                max_length=settings.max_length,
                return_offsets_mapping=True,
                verbose=False,
            )
        return whole[max(len(settings.prompt), *(end for _, end in encoded["offset_mapping"])) :]

    def encode(
        self,
        texts: Sequence[str],
        task: Task,
        *,
        lengths: Sequence[int],
        tokens: Sequence[NDArray[np.int32]] | None = None,
        pool: WorkerPool | None = None,
        on_batch: Callable[[int], object] = lambda _: None,
    ) -> list[Any]:
        """Encodes texts in batches of similar length.

        Args:
            texts: The texts, from `cut`.
            task: Queries or documents.
            lengths: From `count_tokens` or `measure`.
            tokens: From `measure`; None to tokenize each batch. Worker processes do that themselves.
            pool: Worker processes to compute in; None for this process. A single batch is always computed here.
            on_batch: Called after every batch with its number of texts, possibly from several threads.

        Returns:
            One row per text, in order.
        """
        rows: list[Any] = [None] * len(texts)

        def store(batch: list[int], encoded: list[Any]) -> None:
            for index, row in zip(batch, encoded, strict=True):
                rows[index] = row
            on_batch(len(batch))

        def tokenize(batch: list[int]) -> dict[str, Any]:
            if tokens is not None:
                features: dict[str, Any] = self._model.collate([tokens[index] for index in batch], task)
                return features
            return self.tokenize([texts[index] for index in batch], task)

        batch_per_core = self._batch_per_core and pool is None
        batches = self._batches(lengths, task, even=batch_per_core)
        if pool is not None and len(batches) > 1:
            encoded = pool.encode([[texts[index] for index in batch] for batch in batches], task)
            for batch, batch_rows in zip(batches, encoded, strict=True):
                store(batch, batch_rows)
        elif batch_per_core:
            # torch's own way, one product split over all cores, leaves cores waiting for each other.
            run_all(lambda batch: store(batch, self.compute(tokenize(batch), task)), batches)
        else:
            for batch, features in prefetch(batches, tokenize):
                store(batch, self.compute(features, task))
        return rows

    def _batches(self, lengths: Sequence[int], task: Task, *, even: bool) -> list[list[int]]:
        settings = self._tasks[task]
        padded = [max(min(length, settings.max_length or length), settings.min_length) for length in lengths]
        spare = _SPARE_ON_CPU if self._model.device.type == "cpu" else _SPARE_ON_GPU
        budget = even_budget(padded, self._batch_tokens, cores()) if even else self._batch_tokens
        return list(token_budget_batches(padded, budget, spare=spare))

    def tokenize(self, texts: Sequence[str], task: Task) -> dict[str, Any]:
        """Tokenizes one batch."""
        settings = self._tasks[task]
        limit = {"max_length": settings.max_length} if self._limit_every_call else {}
        with self._tokenizer_lock:
            features: dict[str, Any] = self._model.preprocess(
                list(texts), prompt=settings.prompt or None, task=task, **limit
            )
            return features

    def forward(self, features: dict[str, Any], task: Task) -> dict[str, Any]:
        """Runs the model on a tokenized batch."""
        return forward(self._model, features, task=task)

    def compute(self, features: dict[str, Any], task: Task) -> list[Any]:
        """Runs the model on a tokenized batch; one row per text."""
        return self._to_rows(self.forward(features, task))
