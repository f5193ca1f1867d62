"""From texts to rows on a server: what it is sent, and what is made of its answers."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.encoders.base import Task
from korag.encoders.pipeline import Pipeline
from korag.encoders.worker_pool import WorkerPool
from korag.errors import ServedModelError
from korag.remote import loop
from korag.remote.requests import Requests

_STEPS_BACK = 16
"""Tokens by which a cut text may become shorter so that it has the same tokens as before."""


class RemotePipeline(Pipeline):
    """A `Pipeline` whose forward pass is a request.

    Args:
        model: The model without weights (`korag.remote.hollow`).
        requests: To the server.
        takes_ids: Requests are made of token ids; otherwise of texts.
        dims: Sizes of vectors that the server may return; empty for any, as for sparse ones.
        arguments: As for `Pipeline`.
    """

    def __init__(
        self, model: Any, *, requests: Requests, takes_ids: bool, dims: tuple[int, ...], **arguments: Any
    ) -> None:
        super().__init__(model, **arguments)
        self._requests, self._takes_ids, self._dims = requests, takes_ids, dims

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
        """As `Pipeline.encode`."""
        del tokens, pool
        inputs = self._inputs(texts, task, lengths)
        return self._finished(inputs, loop.run(self._ask(inputs, lengths, on_batch)), task)

    async def aencode(self, texts: Sequence[str], task: Task, *, lengths: Sequence[int]) -> list[Any]:
        """As `encode`, for coroutines; what takes time runs in threads, not in the caller's loop."""
        inputs = await asyncio.to_thread(self._inputs, texts, task, lengths)
        rows = await loop.arun(self._ask(inputs, lengths, lambda _: None))
        return await asyncio.to_thread(self._finished, inputs, rows, task)

    async def _ask(self, inputs: list[Any], lengths: Sequence[int], on_batch: Callable[[int], object]) -> list[Any]:
        order = sorted(range(len(inputs)), key=lambda index: lengths[index])
        return await self._requests.rows([_sent(each) for each in inputs], order, on_batch)

    def _finished(self, inputs: list[Any], rows: list[Any], task: Task) -> list[Any]:
        return [row for each, given in zip(inputs, rows, strict=True) for row in self._finish(each, given, task)]

    def _inputs(self, texts: Sequence[str], task: Task, lengths: Sequence[int]) -> list[Any]:
        """Returns what is sent for each text: the text itself, or features with its token ids."""
        if self._takes_ids:
            return [self.tokenize([text], task) for text in texts]
        settings = self._tasks[task]
        limit = settings.max_length
        return [
            settings.prompt + (text if limit is None or length <= limit else self._cut_exactly(text, task, limit))
            for text, length in zip(texts, lengths, strict=True)
        ]

    def _cut_exactly(self, text: str, task: Task, limit: int) -> str:
        """Returns the beginning of a text that the model reads; the server must not have to cut it."""
        unread = self.unread(text, task)
        kept = text[: len(text) - len(unread)] if unread else text
        for _ in range(_STEPS_BACK):
            if self.count_tokens([kept], task)[0] <= limit:
                break
            kept = kept[:-1]
        return kept

    def _finish(self, sent: Any, row: Any, task: Task) -> list[Any]:
        """Returns the row as the local model would make it, in a list of one."""
        import torch

        self._check(sent, row)
        if isinstance(row, tuple):
            vector = np.zeros(self._vocabulary(row), np.float32)
            vector[row[0]] = row[1]
            return self._to_rows({"sentence_embedding": torch.from_numpy(vector)[None]})
        if not self._takes_ids:
            return self._to_rows({"sentence_embedding": torch.from_numpy(row)[None]})
        features = {**sent, "token_embeddings": torch.from_numpy(row)[None]}
        with torch.inference_mode():
            return self._to_rows(_after_projection(self._model)(features, task=task))

    def _vocabulary(self, row: tuple[Any, Any]) -> int:
        (size,) = self._dims
        if len(row[0]) and int(row[0].max()) >= size:
            raise self._wrong_size(int(row[0].max()) + 1)
        return size

    def _check(self, sent: Any, row: Any) -> None:
        if isinstance(row, tuple):
            return
        if row.shape[-1] not in self._dims:
            raise self._wrong_size(row.shape[-1])
        if row.ndim == 2 and len(row) != (tokens := len(_sent(sent))):
            place = self._requests.transport.place
            raise ServedModelError(
                f"{place} 서버가 토큰 {tokens}개에 벡터 {len(row)}개를 돌려주었습니다. 토큰마다 벡터 하나를 돌려주는 "
                "ColBERT 모델(task=token_embed)인지 확인하세요.",
                f"The server {place} returned {len(row)} vectors for {tokens} tokens. It must serve a ColBERT model "
                "with a vector for every token (task token_embed).",
            )

    def _wrong_size(self, size: int) -> ServedModelError:
        place, dims = self._requests.transport.place, ", ".join(map(str, self._dims))
        return ServedModelError(
            f"{place} 서버의 벡터는 {size}차원인데 모델의 벡터는 {dims}차원입니다. 서버가 다른 모델을 제공하거나 "
            "차원을 줄이고 있습니다. ColBERT라면 서버가 투영(1_Dense)까지 하는지 확인하세요.",
            f"The vectors of the server {place} have {size} dimensions, those of the model {dims}. It serves another "
            "model or shortens vectors; of a ColBERT model, it must apply the projection (1_Dense) as well.",
        )


def _sent(given: Any) -> Any:
    return given if isinstance(given, str) else given["input_ids"][0].tolist()


def _after_projection(model: Any) -> Any:
    """Returns the part of a late-interaction model behind its projection: it has no weights."""
    from korag.encoders.releases import Dense, is_backbone

    part = copy.copy(model)
    part._modules = {
        name: module
        for name, module in model.named_children()
        if not (isinstance(module, Dense) or is_backbone(module))
    }
    return part
