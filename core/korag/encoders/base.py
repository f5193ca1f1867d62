"""What all encoders share: lazy loading, one lock around the tokenizer, batching, and honest reports."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar

from korag.checkpoints.fingerprint import Fingerprint, digest_folders
from korag.checkpoints.layouts import Checkpoint, find_adapter, read_checkpoint, read_json
from korag.checkpoints.presets import Family
from korag.checks import check_count, check_new_folder
from korag.encoders.batching import batched, even_budget, prefetch, token_budget_batches
from korag.encoders.lazy import LazyModel, LoadOptions
from korag.encoders.processes import WorkerPool, check_devices
from korag.encoders.query_cache import QueryCache
from korag.encoders.reports import TruncationReport
from korag.encoders.vocabulary import readable
from korag.errors import InvalidArgumentError
from korag.text import check_text, check_texts, normalize
from korag.workers import cores, run_all

if TYPE_CHECKING:
    import numpy as np

Task = Literal["query", "document"]
Vectors = TypeVar("Vectors")
_BASE = "base"
"""Where `Encoder.save` puts the base of an adapter, inside the adapter's folder."""
PROGRESS_FROM = 1_000
"""Texts from which a progress bar is shown in a terminal."""
_SPARE_ON_CPU, _SPARE_ON_GPU = 16, 1_024
"""Padding tokens that cost less than one more batch."""


class Encoder(LazyModel, Generic[Vectors]):
    """Turns queries and documents into vectors of one family. Safe to use from many threads.

    Made by `korag.load_encoder`. The weights are loaded at the first encoding. Copies share the model;
    pickles hold its name and settings only, no weights and no token, and load again at first use.
    """

    family: ClassVar[Family]
    default_batch_tokens: ClassVar[int] = 4_096

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        dim: int,
        query_prompt: str,
        document_prompt: str,
        max_length: int | None,
        options: LoadOptions,
    ) -> None:
        self._checkpoint: Checkpoint = checkpoint
        self._dim = dim
        self._prompts: dict[str, str] = {"query": query_prompt, "document": document_prompt}
        self._max_length = max_length
        self._options = options
        self._fingerprint: Fingerprint | None = None
        self._reset()

    def _reset(self) -> None:
        super()._reset()
        self._processes: WorkerPool | None = None
        self._query_cache = QueryCache()

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["_processes"], state["_query_cache"]
        return state

    @property
    def dim(self) -> int:
        """Size of a vector; for sparse encoders, of the vocabulary."""
        return self._dim

    @property
    def prompts(self) -> dict[str, str]:
        """The texts put before every query and every document."""
        return dict(self._prompts)

    @property
    def query_length(self) -> int | None:
        """Longest query in tokens, prompt and special tokens included."""
        return self._max_length

    @property
    def max_length(self) -> int | None:
        """Longest document in tokens, prompt and special tokens included."""
        return self._max_length

    @property
    def similarity(self) -> str:
        """How two vectors are compared: ``"cosine"`` or ``"dot"``."""
        return self._checkpoint.similarity

    @property
    def fingerprint(self) -> Fingerprint:
        """What changes the vectors and nothing else. Fetches the weights, but does not load them."""
        if self._fingerprint is None:
            folders = [self._weights_folder()]
            if self._checkpoint.base is not None:
                folders.append(self._checkpoint.base.source.fetch_weights(remote_code=False).folder)
            self._fingerprint = Fingerprint(
                model=self.model_name,
                revision=self._checkpoint.source.revision,
                family=self.family,
                weights=digest_folders(*folders),
                dim=self.dim,
                query_prompt=self._prompts["query"],
                document_prompt=self._prompts["document"],
                query_length=self.query_length,
                document_length=self.max_length,
                normalized=self._checkpoint.normalized,
            )
        return self._fingerprint

    @property
    def load_arguments(self) -> dict[str, Any]:
        """Keywords with which `korag.load_encoder` makes an encoder of the same fingerprint; JSON values."""
        source, base = self._checkpoint.source, self._checkpoint.base
        main, adapter = (source, None) if base is None else (base.source, source)
        arguments: dict[str, Any] = {
            "model": main.portable_name,
            "family": self.family,
            "revision": main.revision,
            "dim": self.dim,
            "query_prompt": self._prompts["query"],
            "document_prompt": self._prompts["document"],
            "max_length": self.max_length,
        }
        return arguments | ({"adapter": adapter.portable_name} if adapter else {})

    def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = False) -> Vectors:
        """Encodes queries, with the query prompt and length.

        Args:
            texts: Queries, in any Unicode normalization form.
            show_progress: Show a progress bar; None decides by number and terminal.

        Returns:
            One entry a query, in order; the class says of which shape.

        Raises:
            InvalidTextError: If an entry is not a string; the message names its position.
        """
        size = self._options.query_cache
        if not size:
            return self._encode(texts, "query", show_progress)
        checked = [normalize(text) for text in check_texts(texts)]
        return self._collate(
            self._query_cache.rows(checked, size, lambda new: self._encode_rows(new, "query", show_progress))
        )

    def encode_documents(self, texts: Iterable[str], *, show_progress: bool | None = None) -> Vectors:
        """Encodes documents, with the document prompt and length.

        Args:
            texts: Documents, in any Unicode normalization form.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            One entry a document, in order; the class says of which shape.

        Raises:
            InvalidTextError: If an entry is not a string; the message names its position.
        """
        return self._encode(texts, "document", show_progress)

    def stream_documents(
        self,
        texts: Iterable[str],
        *,
        block: int = 2_048,
        total: int | None = None,
        show_progress: bool | None = None,
    ) -> Iterator[Vectors]:
        """Encodes any number of documents, a block at a time, in memory that does not grow.

        Texts are taken from the iterable as they are needed. To go on after an interruption, leave out as many texts as
        were yielded: vectors do not depend on what was encoded before.

        Args:
            texts: Documents, in any Unicode normalization form; a generator will do.
            block: Documents a block; the larger, the less padding.
            total: How many there are, for the progress bar's estimate of the time left; None if not known.
            show_progress: Show a progress bar; None shows one in a terminal.

        Yields:
            For each block what `encode_documents` returns, in order; `block` entries in each but the last.

        Raises:
            InvalidTextError: If an entry is not a string; the message names its position. What came before
                was yielded.
            InvalidArgumentError: If `block` is not positive.
        """
        if isinstance(texts, str | bytes):
            check_texts(texts)  # raises
        check_count("block", block, at_least=1)
        return self._stream(texts, block, total, show_progress)

    def _stream(
        self,
        texts: Iterable[str],
        block: int,
        total: int | None,
        show_progress: bool | None,  # noqa: FBT001
    ) -> Iterator[Vectors]:
        report = TruncationReport("document", self.max_length)
        done = 0
        try:
            with _progress(self.family, total, show_progress) as bar:
                for some in batched(texts, block):
                    checked = [normalize(check_text(text, f"texts[{done + i}]")) for i, text in enumerate(some)]
                    yield self._collate(self._encode_block(checked, "document", report, bar, log=False))
                    done += len(checked)
        finally:
            report.log()

    @contextlib.contextmanager
    def processes(self, devices: Sequence[str]) -> Iterator[Self]:
        """Encodes in several processes inside the ``with`` block: with several GPUs, or one process a core.

            with encoder.processes(["cuda:0", "cuda:1"]):
                collection.add(texts)

        Calls that fill more than one batch are divided; smaller ones, like a query, stay in this process. Every process
        loads the model, which takes seconds, so this is for large corpora. As always in Python, a script that starts
        processes must have ``if __name__ == "__main__":``.

        Args:
            devices: The device of each process; one may come more than once.

        Raises:
            InvalidArgumentError: If `devices` is not a list of names, or processes were started already.
            WorkerError: While encoding, if a process ended.
        """
        checked = check_devices(devices, backend=self._options.backend)
        with self._load_lock:
            if self._processes is not None:
                raise InvalidArgumentError(
                    "이 인코더는 이미 여러 프로세스로 돌고 있습니다. with 블록을 겹치지 마세요.",
                    "This encoder runs in several processes already; do not nest the with blocks.",
                )
            processes = self._processes = WorkerPool(self, self._weights_folder(), checked)
        try:
            yield self
        finally:
            self._processes = None
            processes.close()

    def token_ids(self, text: str) -> list[int]:
        """Returns the vocabulary ids of a text's own tokens: no prompt, no special tokens, nothing cut off.

        Args:
            text: The text, in any Unicode normalization form.
        """
        model = self._loaded()
        with self._tokenizer_lock:
            encoded = model.tokenizer(normalize(text), add_special_tokens=False, truncation=False, verbose=False)
        return list(encoded["input_ids"])

    def token_texts(self, ids: Iterable[int]) -> list[str]:
        """Returns entries of the vocabulary as they read (see `korag.encoders.vocabulary`).

        Args:
            ids: Their places in the vocabulary.
        """
        tokenizer = self._loaded().tokenizer
        return [readable(tokenizer, int(token)) for token in ids]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Copies the whole checkpoint into a new folder, for a machine without a connection.

        Loading the copy gives an encoder of the same fingerprint, if `load_encoder` is given the same ``dim``
        and ``max_length`` (and, for late interaction, prompts) as here. Matryoshka heads are written as
        safetensors, whatever they were read from; the base of an adapter is copied with it.

        Args:
            folder: Where to; must not exist.

        Returns:
            The folder.

        Raises:
            InvalidArgumentError: If the folder exists.
        """
        target = check_new_folder(folder)
        unfinished = target.with_name(target.name + ".tmp")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(self._weights_folder(), unfinished)
        if (base := self._checkpoint.base) is not None:
            shutil.copytree(
                base.source.fetch_weights(remote_code=self._options.trust_remote_code).folder,
                unfinished / _BASE,
            )
            adapter = find_adapter(unfinished) or unfinished
            _update_json(adapter / "adapter_config.json", base_model_name_or_path=_BASE, revision=None)
        self._finish_save(unfinished)
        return unfinished.replace(target)

    def _finish_save(self, folder: Path) -> None:
        """Writes what the copy of a checkpoint lacks: here, the prompts where the files give others."""
        copy = dataclasses.replace(self._checkpoint.source, name=str(folder), folder=folder, revision=None)
        saved = read_checkpoint(copy, family=self.family, base=self._checkpoint.base)
        if self._prompts != {"query": saved.query_prompt, "document": saved.document_prompt}:
            path = folder / "config_sentence_transformers.json"
            _update_json(path, prompts={**read_json(path).get("prompts", {}), **self._prompts})

    def _encode(self, texts: Iterable[str], task: Task, show_progress: bool | None) -> Vectors:  # noqa: FBT001
        return self._collate(self._encode_rows([normalize(text) for text in check_texts(texts)], task, show_progress))

    def _encode_rows(self, texts: list[str], task: Task, show_progress: bool | None) -> list[Any]:  # noqa: FBT001
        if not texts:
            return []
        report = TruncationReport(task, self._limit(task))
        with _progress(self.family, len(texts), show_progress) as bar:
            return self._encode_block(texts, task, report, bar, log=True)

    def _encode_block(
        self, texts: list[str], task: Task, report: TruncationReport, bar: Any, *, log: bool
    ) -> list[Any]:
        model = self._loaded()
        lengths = self._count_tokens(model, texts, task)
        report.count(texts, lengths)
        if log:
            report.log()
        limit, least = self._limit(task), self._padded_length(model, task)
        padded = [max(min(length, limit or length), least) for length in lengths]
        budget = self._options.batch_tokens or self.default_batch_tokens
        spare = _SPARE_ON_CPU if model.device.type == "cpu" else _SPARE_ON_GPU
        if self._computes_a_batch_a_core(model):
            budget = even_budget(padded, budget, cores())
        batches = list(token_budget_batches(padded, budget, spare=spare))
        rows: list[Any] = [None] * len(texts)

        def put(batch: list[int], encoded: list[Any]) -> None:
            for index, row in zip(batch, encoded, strict=True):
                rows[index] = row
            bar.update(len(batch))

        self._encode_batches(model, batches, texts, task, put)
        return rows

    def _encode_batches(
        self,
        model: Any,
        batches: list[list[int]],
        texts: list[str],
        task: Task,
        put: Callable[[list[int], list[Any]], None],
    ) -> None:
        def tokenize(batch: list[int]) -> dict[str, Any]:
            return self._tokenize(model, [texts[index] for index in batch], task)

        if (processes := self._processes) is not None and len(batches) > 1:
            found = processes.encode([[texts[index] for index in batch] for batch in batches], task)
            for batch, encoded in zip(batches, found, strict=True):
                put(batch, encoded)
        elif self._computes_a_batch_a_core(model):
            # A batch a core: torch's own way, a product over all cores, leaves them waiting for each other.
            run_all(lambda batch: put(batch, self._compute(model, tokenize(batch), task)), batches)
        else:
            for batch, features in prefetch(batches, tokenize):
                put(batch, self._compute(model, features, task))

    def _computes_a_batch_a_core(self, model: Any) -> bool:
        return model.device.type == "cpu" and self._options.backend == "torch" and self._processes is None

    def _tokenize(self, model: Any, texts: list[str], task: Task) -> dict[str, Any]:
        with self._tokenizer_lock:
            features: dict[str, Any] = model.preprocess(texts, prompt=self._prompts[task] or None, task=task)
            return features

    def _compute(self, model: Any, features: dict[str, Any], task: Task) -> list[Any]:
        return self._rows(self._forward(model, features, task))

    def _forward(self, model: Any, features: dict[str, Any], task: Task) -> dict[str, Any]:
        import torch
        from sentence_transformers.util import batch_to_device

        with torch.inference_mode():
            output: dict[str, Any] = model(batch_to_device(features, model.device), task=task)
            return output

    def _limit(self, task: Task) -> int | None:
        return self.query_length if task == "query" else self.max_length

    def _count_tokens(self, model: Any, texts: list[str], task: Task) -> list[int]:
        """Tokens of each text before any truncation, prompt and special tokens included."""
        prompted = [self._prompts[task] + text for text in texts]
        with self._tokenizer_lock:
            encoded = model.tokenizer(
                prompted, truncation=False, padding=False, return_attention_mask=False, verbose=False
            )
        return [len(ids) for ids in encoded["input_ids"]]

    def _padded_length(self, model: Any, task: Task) -> int:
        """Tokens to which every text is padded, however short."""
        return 0

    def _differs(self, model: Any) -> str | None:
        if (dim := model.get_embedding_dimension()) not in (None, self.dim):
            return f"its settings say {self.dim} dimensions, its weights {dim}"
        return None

    @abstractmethod
    def _rows(self, features: dict[str, Any]) -> list[Any]:
        """Takes one entry a text out of the model's output, in float32 on the CPU."""

    @abstractmethod
    def _collate(self, rows: list[Any]) -> Vectors:
        """Puts entries in order together; `[]` gives an empty result of the same type."""

    def __repr__(self) -> str:
        options = self._options
        return (
            f"{type(self).__name__}({self.model_name!r}, dim={self.dim}, max_length={self.max_length}, "
            f"prompts={self._prompts}, device={options.device or 'auto'!r}, dtype={self._shown_dtype()!r}, "
            f"backend={options.backend!r})"
        )


def _progress(family: str, total: int | None, show: bool | None) -> Any:  # noqa: FBT001 (private)
    from tqdm.auto import tqdm

    if show is None:
        show = (total is None or total > PROGRESS_FROM) and sys.stderr.isatty()
    return tqdm(total=total, desc=f"Encoding ({family})", disable=not show)


def _update_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(read_json(path) | changes, ensure_ascii=False, indent=2), encoding="utf-8")


def as_float32(tensor: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Copies a tensor, inference tensors included, to a float32 numpy array on the CPU."""
    array: np.ndarray[Any, np.dtype[np.float32]] = tensor.float().cpu().numpy().copy()
    return array
