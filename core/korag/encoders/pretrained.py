"""Encoders that run a pretrained checkpoint: the common base of all model families."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from abc import abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from korag.checkpoints.checkpoint import Checkpoint, check_trainable
from korag.checkpoints.fingerprint import Fingerprint, digest_folders, digest_settings
from korag.checks import check_count
from korag.encoders.base import Encoder, Task, Vectors
from korag.encoders.batching import batched
from korag.encoders.inputs import input_tokenizer, tasks_of
from korag.encoders.lazy import LazyModel
from korag.encoders.options import LoadOptions, PoolingMode
from korag.encoders.pipeline import Pipeline, TaskSettings
from korag.encoders.progress import progress_bar
from korag.encoders.query_cache import QueryCache
from korag.encoders.reports import TruncationReport
from korag.encoders.saving import save_checkpoint, write_prompts
from korag.encoders.shared import SharedModel, identify_file
from korag.encoders.vocabulary import readable
from korag.encoders.worker_pool import WorkerPool, check_devices
from korag.errors import InvalidArgumentError
from korag.forking import Lock
from korag.html.objects import object_html
from korag.text import check_text, check_texts, normalize
from korag.tracing import span


class PretrainedEncoder(LazyModel[Checkpoint], Encoder[Vectors]):
    """An encoder loaded by `korag.load_encoder`. Safe to use from many threads.

    The weights are loaded on first use; encoders of the same files with the same settings share them, and so do copies.
    `unload` lets go of them. Pickles contain name and settings, but neither weights nor Hub token, and load again on
    first use.

    Args:
        checkpoint: Description of the model folder.
        dim: Vector size to use; None for the only one, where just the weights show it.
        query_prompt: Prepended to every query.
        document_prompt: Prepended to every document.
        max_length: Longest document in tokens; None for no limit.
        query_length: Longest query in tokens; None for the checkpoint's own.
        options: Device, precision, backend and batching.
        pooling: Pooling of a dense model none of whose files says it; None for sentence-transformers' choice.
    """

    default_batch_tokens: ClassVar[int] = 4_096

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        dim: int | None,
        query_prompt: str,
        document_prompt: str,
        max_length: int | None,
        query_length: int | None = None,
        options: LoadOptions,
        pooling: PoolingMode | None = None,
    ) -> None:
        self._dim = dim
        self._pooling: PoolingMode | None = pooling
        self._prompts: dict[Task, str] = {"query": query_prompt, "document": document_prompt}
        self._max_length, self._query_length = max_length, query_length
        self._fingerprint: Fingerprint | None = None
        super().__init__(checkpoint, options)

    def _reset(self) -> None:
        super()._reset()
        self._pool: WorkerPool | None = None
        self._pool_lock = Lock()
        self._query_cache = QueryCache(self._options.query_cache)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        del state["_pool"], state["_pool_lock"], state["_query_cache"]
        return state

    def _forget(self) -> None:
        super()._forget()
        self._fingerprint = None  # the next weights may be others, if the folder has been written again
        self._query_cache = QueryCache(self._options.query_cache)

    def load_copy(self) -> Any:
        """Loads a second, unshared copy of the model as saved, in float32 on torch: for training and merging."""
        check_trainable(self._checkpoint)
        model = super().load_copy()
        model.prompts.update(self.prompts)  # a shared model gets them with every text
        return model

    @property
    def is_light(self) -> bool | None:
        """True if KoRAG's own forward pass runs the model, without sentence-transformers; None before it is loaded.

        It does where the model's layout is plain, as that of the bundled ones is, on the CPU, with ``backend="torch"``
        or ``"auto"``.
        """
        if (model := self._model) is None:
            return None
        return type(model).__module__.startswith("korag.")

    def _load_light(self) -> Any:
        from korag.encoders.devices import find_device
        from korag.encoders.light.load import load_light

        if self._options.backend not in ("torch", "auto") or find_device(self._options) != "cpu":
            return None
        lengths: dict[Task, int | None] = {"query": self.query_length, "document": self.max_length}
        return load_light(self._checkpoint, self.weights_folder(), dim=self._dim, lengths=lengths)

    def use_folder(self, folder: Path) -> None:
        """Makes the weights come from a folder, so that the Hub is not contacted again."""
        self._folder = folder

    def _load_settings(self) -> Hashable:
        head = self._checkpoint.head
        identity = None if head is None else identify_file(self.weights_folder() / head)
        return self._dim, self._max_length, self.query_length, identity

    @property
    def dim(self) -> int:
        """Vector size; for sparse encoders, the vocabulary size. Loads the weights if only they show it."""
        if self._dim is None:
            from korag.encoders.precision import found_dim

            return found_dim(self.load())
        return self._dim

    @property
    def prompts(self) -> dict[str, str]:
        """Texts prepended to every query and every document."""
        return {"query": self._prompts["query"], "document": self._prompts["document"]}

    @property
    def query_length(self) -> int | None:
        """Longest query in tokens, prompt and special tokens included."""
        saved = self._checkpoint.query_length
        if self._query_length is None and saved == self._checkpoint.document_length:
            return self._max_length
        return self._query_length or saved

    @property
    def max_length(self) -> int | None:
        """Longest document in tokens, prompt and special tokens included."""
        return self._max_length

    @property
    def pooling(self) -> str | None:
        """Pooling of a dense model none of whose files says it; None for other models."""
        return self._pooling or self._checkpoint.bare_pooling

    @property
    def similarity(self) -> str:
        """The similarity of vectors: ``"cosine"`` or ``"dot"``."""
        return self._checkpoint.similarity

    @property
    def fills_queries(self) -> bool:
        """True if shorter queries are filled up to `query_length` with mask tokens."""
        return self._checkpoint.fills_queries

    @property
    def fingerprint(self) -> Fingerprint:
        """Everything that changes the vectors, and nothing else. Downloads the weights, but does not load them."""
        if (fingerprint := self._fingerprint) is None:  # `unload` may forget it meanwhile
            self._fingerprint = fingerprint = Fingerprint(
                model=self.model_name,
                revision=self._checkpoint.source.revision,
                family=self.family,
                weights=digest_settings(
                    digest_folders(*self.weight_folders(), head=self._checkpoint.head), **self._other_settings()
                ),
                dim=self.dim,
                query_prompt=self._prompts["query"],
                document_prompt=self._prompts["document"],
                query_length=self.query_length,
                document_length=self.max_length,
                normalized=self._checkpoint.normalizes(self.dim),
            )
        return fingerprint

    @property
    def load_arguments(self) -> dict[str, Any]:
        """Keywords of `korag.load_encoder` that load an encoder with the same fingerprint; JSON values."""
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
        if self._query_length is not None:
            arguments["query_length"] = self._query_length
        if self._pooling is not None:
            arguments["pooling"] = self._pooling
        return arguments | ({"adapter": adapter.portable_name} if adapter else {})

    def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = False) -> Vectors:
        """Encodes queries with the query prompt and length.

        Args:
            texts: Queries, in any Unicode normalization form.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            One entry per query, in order; see the class for the type.

        Raises:
            InvalidTextError: If an entry is not a string; the message gives its position.
        """
        if not self._options.query_cache:
            return self._encode(texts, "query", show_progress)
        queries = [normalize(text) for text in check_texts(texts)]
        return self._collate(
            self._query_cache.rows(queries, lambda missing: self._encode_rows(missing, "query", show_progress))
        )

    def encode_documents(self, texts: Iterable[str], *, show_progress: bool | None = None) -> Vectors:
        """Encodes documents with the document prompt and length.

        Args:
            texts: Documents, in any Unicode normalization form.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            One entry per document, in order; see the class for the type.

        Raises:
            InvalidTextError: If an entry is not a string; the message gives its position.
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
        """Encodes any number of documents block by block, in bounded memory.

        The iterable is consumed lazily. To resume after an interruption, skip as many texts as were yielded: vectors do
        not depend on previously encoded texts.

        Args:
            texts: Documents, in any Unicode normalization form; may be a generator.
            block: Documents per block; larger blocks need less padding.
            total: Number of documents, for the remaining time on the progress bar; None if unknown.
            show_progress: Show a progress bar; None shows one in a terminal.

        Yields:
            The result of `encode_documents` for each block, in order; all but the last have `block` entries.

        Raises:
            InvalidTextError: If an entry is not a string; the message gives its position. Preceding blocks have been
                yielded by then.
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
        report = self._report("document")
        done = 0
        try:
            with progress_bar(f"Encoding ({self.family})", total, show=show_progress) as bar:
                for chunk in batched(texts, block):
                    checked = [normalize(check_text(text, f"texts[{done + i}]")) for i, text in enumerate(chunk)]
                    yield self._collate(self._encode_block(checked, "document", report, bar, log=False))
                    done += len(checked)
        finally:
            report.log()

    @contextlib.contextmanager
    def processes(self, devices: Sequence[str]) -> Iterator[Self]:
        """Encodes in several processes inside the ``with`` block, on several GPUs or on the CPU.

            with encoder.processes(["cuda:0", "cuda:1"]):
                collection.add(texts)

        Calls of more than one batch are distributed; smaller ones, such as a query, stay in this process. Every process
        loads the model, which takes seconds, so this pays off for large corpora. As always in Python, a script that
        starts processes needs ``if __name__ == "__main__":``.

        Args:
            devices: Device of each process; may contain duplicates.

        Raises:
            InvalidArgumentError: If `devices` is not a list of names, or this encoder already uses processes.
            WorkerError: While encoding, if a process died.
        """
        checked = check_devices(devices, backend=self._options.backend)
        with self._pool_lock:
            if self._pool is not None:
                raise InvalidArgumentError(
                    "이 인코더는 이미 여러 프로세스로 실행 중입니다. with 블록을 중첩하지 마세요.",
                    "This encoder already uses several processes; do not nest the with blocks.",
                )
            pool = self._pool = WorkerPool(self, self.weights_folder(), checked)
        try:
            yield self
        finally:
            self._pool = None
            pool.close()

    def on_device(self, device: str, *, folder: Path) -> Self:
        """Returns an encoder of the same model on another device.

        Args:
            device: The device.
            folder: Folder with the weights, so that the Hub is not contacted again.
        """
        encoder = self.with_options(device=device)
        encoder.use_folder(folder)
        return encoder

    def with_options(self, **options: Any) -> Self:
        """Returns an encoder of the same model with some other load options.

        Args:
            options: Fields of `LoadOptions`.
        """
        encoder = type(self).__new__(type(self))
        encoder.__setstate__(self.__getstate__() | {"_options": dataclasses.replace(self._options, **options)})
        return encoder

    def without_prompts(self) -> Self:
        """Returns an encoder of the same model for texts that have their prompts already, as those sent to a server."""
        encoder = type(self).__new__(type(self))
        encoder.__setstate__(self.__getstate__() | {"_prompts": {"query": "", "document": ""}, "_fingerprint": None})
        return encoder

    def encode_batch(self, texts: Sequence[str], task: Task) -> list[Any]:
        """Encodes prepared texts as a single batch.

        Args:
            texts: Texts from `Pipeline.cut`.
            task: Queries or documents.

        Returns:
            One row per text; `encode_documents` joins them into vectors.
        """
        pipeline = self._pipeline()
        with self.running():
            return pipeline.compute(pipeline.tokenize(texts, task), task)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """As `Encoder.count_tokens`, by the model's tokenizer."""
        pipeline = self._pipeline()
        with self.running():
            prepared = pipeline.prepare([normalize(text) for text in texts], "document")
            return pipeline.count_tokens(pipeline.cut(prepared, "document"), "document") if prepared else []

    def token_ids(self, text: str, task: Task = "document") -> list[int]:
        """Returns the vocabulary ids of a text: without prompt, special tokens or truncation.

        Args:
            text: The text, in any Unicode normalization form.
            task: Queries or documents, which a few models tokenize differently.
        """
        shared = self.shared()
        with self.running(), shared.tokenizer_lock:
            encoded = input_tokenizer(shared.model, task)(
                normalize(text), add_special_tokens=False, truncation=False, verbose=False
            )
        return list(encoded["input_ids"])

    def token_texts(self, ids: Iterable[int]) -> list[str]:
        """Returns vocabulary entries in readable form (see `korag.encoders.vocabulary.readable`).

        Args:
            ids: Vocabulary ids.
        """
        tokenizer = input_tokenizer(self.load(), "document")
        return [readable(tokenizer, int(token)) for token in ids]

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Copies the whole checkpoint into a new folder, for a machine without network access.

        Loading the copy gives an encoder with the same fingerprint if `load_encoder` gets the same ``dim``,
        ``max_length``, ``query_length`` and ``pooling`` (and, for late interaction, prompts). Matryoshka heads are
        written as safetensors, whatever their original format; the base of an adapter is included.

        Args:
            folder: Target; must not exist.

        Returns:
            The target folder.

        Raises:
            InvalidArgumentError: If the folder exists.
        """
        weights, *base = self.weight_folders()
        return save_checkpoint(
            folder, weights=weights, base_weights=base[0] if base else None, complete=self._complete_copy
        )

    def weight_folders(self) -> list[Path]:
        """Returns the folders of all weights: the model's own, and its base's if it is an adapter."""
        base = self._checkpoint.base
        if base is None:
            return [self.weights_folder()]
        remote_code = self._options.trust_remote_code
        return [self.weights_folder(), base.source.fetch_weights(remote_code=remote_code).folder]

    def _other_settings(self) -> dict[str, Any]:
        """Settings that change vectors and have no field in `Fingerprint`; None for what the files say."""
        return {"pooling": None if self.pooling == self._checkpoint.bare_pooling else self.pooling}

    def _complete_copy(self, folder: Path) -> None:
        """Adds to a copy of the checkpoint what the original lacks: prompts that its files do not give."""
        write_prompts(self._checkpoint, folder, self.prompts)

    def _encode(self, texts: Iterable[str], task: Task, show_progress: bool | None) -> Vectors:  # noqa: FBT001
        return self._collate(self._encode_rows([normalize(text) for text in check_texts(texts)], task, show_progress))

    def _encode_rows(self, texts: list[str], task: Task, show_progress: bool | None) -> list[Any]:  # noqa: FBT001
        if not texts:
            return []
        report = self._report(task)
        with progress_bar(f"Encoding ({self.family})", len(texts), show=show_progress) as bar:
            return self._encode_block(texts, task, report, bar, log=True)

    def _encode_block(
        self, texts: list[str], task: Task, report: TruncationReport, bar: Any, *, log: bool
    ) -> list[Any]:
        with span("CreateEmbeddings", "EMBEDDING", self._span_attributes(task, len(texts))):
            return self._encode_pipeline(texts, task, report, bar, log=log)

    def _encode_pipeline(
        self, texts: list[str], task: Task, report: TruncationReport, bar: Any, *, log: bool
    ) -> list[Any]:
        pipeline = self._pipeline()
        pool = self._pool if self._pool is not None and self._pool.is_here else None
        with self.running():
            cut, lengths, tokens = self._measure(pipeline, texts, task, report, log=log)
            return pipeline.encode(cut, task, lengths=lengths, tokens=tokens, pool=pool, on_batch=bar.update)

    @staticmethod
    def _measure(
        pipeline: Pipeline, texts: list[str], task: Task, report: TruncationReport, *, log: bool
    ) -> tuple[list[str], list[int], list[NDArray[np.int32]] | None]:
        """Returns the texts as they are tokenized, their numbers of tokens, and of a light model the tokens."""
        prepared = pipeline.prepare(texts, task)
        cut = pipeline.cut(prepared, task)
        lengths, tokens = pipeline.measure(cut, task)
        report.count(texts, lengths, cut=cut != prepared, unread=lambda index: pipeline.unread(cut[index], task))
        if log:
            report.log()
        return cut, lengths, tokens

    def _span_attributes(self, task: Task, count: int) -> dict[str, Any]:
        return {
            "embedding.model_name": self.model_name,
            "korag.family": self.family,
            "korag.task": task,
            "korag.texts": count,
        }

    def _pipeline(self) -> Pipeline:
        shared = self.shared()
        return Pipeline(shared.model, **self._pipeline_arguments(shared))

    def _pipeline_arguments(self, shared: SharedModel) -> dict[str, Any]:
        model = shared.model
        tasks: tuple[Task, ...] = ("query", "document")
        is_torch = shared.runtime is None or shared.runtime.backend == "torch"
        return {
            "tasks": {
                task: TaskSettings(
                    prompt=prompt,
                    stripped_prompt=stripped,
                    max_length=self._length_limit(task),
                    min_length=self._min_length(model, task),
                )
                for task, (prompt, stripped) in zip(tasks, map(self._split_prompt, tasks), strict=True)
            },
            "batch_tokens": self._options.batch_tokens or self.default_batch_tokens,
            "to_rows": self._to_rows,
            "tokenizer_lock": shared.tokenizer_lock,
            "batch_per_core": model.device.type == "cpu" and is_torch,
            "limit_every_call": self._checkpoint.head is not None,
        }

    def _split_prompt(self, task: Task) -> tuple[str, str | None]:
        """Returns the prompt, and the part of it that is stripped together with the text; None if nothing is."""
        prompt, marks = self._prompts[task], self._checkpoint.marks
        if marks is None:
            return prompt, None
        mark = marks[0 if task == "query" else 1]
        return (mark, prompt.removeprefix(mark)) if prompt.startswith(mark) else ("", prompt)

    def _report(self, task: Task) -> TruncationReport:
        own = self._checkpoint
        most = own.query_positions if task == "query" else own.max_positions
        return TruncationReport(task, self._length_limit(task), most=most, model=self.model_name)

    def _length_limit(self, task: Task) -> int | None:
        return self.query_length if task == "query" else self.max_length

    def _min_length(self, model: Any, task: Task) -> int:
        """Tokens to which shorter texts are padded."""
        return 0

    def _find_mismatch(self, model: Any) -> str | None:
        return self._compare_dims(model, self._dim)

    def _compare_dims(self, model: Any, saved: int | None) -> str | None:
        """Describes how the size of a loaded model's vectors contradicts its settings; None if it does not.

        Args:
            model: The model; it has been run.
            saved: The size in its settings; None if they do not show it.
        """
        from korag.encoders.precision import found_dim

        dims = [found_dim(model, task) for task in tasks_of(model)]
        if len(set(dims)) > 1:
            return f"its queries have {dims[0]} dimensions, its documents {dims[1]}"
        if saved not in (None, dims[0]):
            return f"its settings say {saved} dimensions, its weights {dims[0]}"
        return None

    @abstractmethod
    def _to_rows(self, features: dict[str, Any]) -> list[Any]:
        """Splits the model's output into one float32 row per text, on the CPU."""

    @abstractmethod
    def _collate(self, rows: list[Any]) -> Vectors:
        """Joins rows into the return type of ``encode_*``; `[]` gives an empty result of that type."""

    def _backend_label(self) -> str:
        """As `LazyModel._backend_label` and, once loaded, whether the model is a light one."""
        label = super()._backend_label()
        if not self.is_light:
            return label
        return f"{label[:-1]}, light)" if label.endswith(")") else f"{label} (light)"

    def _repr_html_(self) -> str:
        options = self._options
        return object_html(
            f"{type(self).__name__}({self.model_name!r})",
            [
                ("종류", self.family),
                ("차원", self.dim if self._dim is not None or self._model is not None else None),
                ("문서 길이(토큰)", self.max_length),
                ("질문 길이(토큰)", self.query_length),
                *((f"프롬프트({task})", repr(prompt)) for task, prompt in self.prompts.items() if prompt),
                ("유사도", self.similarity),
                ("장치", options.device or "auto"),
                ("정밀도", self._dtype_label()),
                ("실행 방식", self._backend_label()),
            ],
        )

    def __repr__(self) -> str:
        options = self._options
        dim = self.dim if self._dim is not None or self._model is not None else None
        return (
            f"{type(self).__name__}({self.model_name!r}, dim={dim}, max_length={self.max_length}, "
            f"prompts={self.prompts}, device={options.device or 'auto'!r}, dtype={self._dtype_label()!r}, "
            f"backend={self._backend_label()!r})"
        )
