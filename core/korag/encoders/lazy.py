"""A model whose weights are loaded at its first use: once, whole, with one lock around the tokenizer."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from korag.checkpoints.hub import ModelFiles
from korag.errors import CheckpointError, KoragError

if TYPE_CHECKING:
    from korag.encoders.backends import RuntimeInfo
    from korag.encoders.precision import Deviation


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is run; nothing here is part of its fingerprint.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` …; None for the best there is.
        dtype: Precision of the computation; ``"auto"`` is the fastest on the device that keeps the vectors.
        backend: ``"torch"``; ``"onnx"`` or ``"openvino"``, which run on the CPU.
        trust_remote_code: Run Python files that come with the checkpoint.
        batch_tokens: Most tokens of a padded batch; None for the family's default.
        query_cache: Queries whose vectors are kept; 0 for none.
    """

    device: str | None = None
    dtype: str = "auto"
    backend: Literal["torch", "onnx", "openvino"] = "torch"
    trust_remote_code: bool = False
    batch_tokens: int | None = None
    query_cache: int = 0


class CheckpointLike(Protocol):
    """A description of a model folder, as `korag.checkpoints.layouts` makes it."""

    @property
    def source(self) -> ModelFiles:
        """Where the files are."""
        ...

    def without_token(self) -> Any:
        """The same without the Hub token, to be pickled."""
        ...


class LazyModel(ABC):
    """Loads at the first use, in whichever thread comes first.

    Copies share the model; pickles hold its name and settings only, no weights and no token, and load again at
    first use.
    """

    _checkpoint: Any  # a `CheckpointLike`; each subclass says which
    _options: LoadOptions

    def _reset(self) -> None:
        self._model: Any = None
        self._running: RuntimeInfo | None = None
        self._snapshot: Path | None = None
        self._load_lock = threading.Lock()
        # A fast tokenizer keeps its truncation and padding as state, so two threads encoding queries and
        # documents at once would silently cut documents at query length. The lock covers tokenizing only.
        self._tokenizer_lock = threading.Lock()

    @property
    def model_name(self) -> str:
        """The name or path the model was loaded by."""
        name: str = self._checkpoint.source.name
        return name

    @property
    def options(self) -> LoadOptions:
        """How the model is run: device, precision, backend, batches."""
        return self._options

    @property
    def dtype(self) -> str | None:
        """The precision it is computed in; with ``dtype="auto"``, None until the weights are loaded."""
        if self._running is not None:
            return self._running.dtype
        return None if self._options.dtype == "auto" else self._options.dtype

    @property
    def deviation(self) -> Deviation | None:
        """How far its vectors are from those by torch in float32, measured when the weights were loaded.

        None until then, and where they are those.
        """
        return self._running.deviation if self._running is not None else None

    def _shown_dtype(self) -> str:
        """What was asked for and, once loaded, what "auto" picked."""
        asked = self._options.dtype
        return f"auto ({self.dtype})" if asked == "auto" and self.dtype else asked

    def _loaded(self) -> Any:
        with self._load_lock:
            if self._model is None:
                from korag.encoders.backends import apply_runtime
                from korag.encoders.precision import check_dtype

                check_dtype(self._options)
                model = self._load_checked()
                self._running = apply_runtime(model, self._options, name=self.model_name)
                self._model = model
            return self._model

    def _load_checked(self) -> Any:
        folder = self._weights_folder()
        try:
            model = self._load(folder).eval()
        except KoragError:
            raise
        except Exception as error:  # whatever damaged files or a missing device lead the libraries below to
            raise self._not_loaded(f"{type(error).__name__}: {error}") from error
        if difference := self._differs(model):
            raise self._not_loaded(difference)
        return model

    @abstractmethod
    def _load(self, folder: Path) -> Any:
        """Loads the sentence-transformers model in a folder."""

    @abstractmethod
    def _differs(self, model: Any) -> str | None:
        """Says how a loaded model is not what its settings said; None if it is."""

    def _not_loaded(self, reason: str) -> CheckpointError:
        reason = " ".join(reason.split())
        code = "trust_remote_code" in reason
        return CheckpointError(
            f"'{self.model_name}' 모델을 불러오지 못했습니다({reason}). "
            + (
                "코드를 믿을 수 있을 때만 trust_remote_code=True를 넣으세요."
                if code
                else "파일이 상했다면 다시 받으세요."
            ),
            f"The model '{self.model_name}' could not be loaded ({reason}). "
            + (
                "Pass trust_remote_code=True only if you trust its code."
                if code
                else "If a file is damaged, fetch it again."
            ),
        )

    def _weights_folder(self) -> Path:
        """The folder with the weights. The Hub is asked once: without a connection each try waits for its time-out."""
        if self._snapshot is not None:
            return self._snapshot
        options = self._options
        source: ModelFiles = self._checkpoint.source
        folder = source.fetch_weights(remote_code=options.trust_remote_code).folder
        if source.revision is not None:  # a local folder is looked at each time: it may be gone
            self._snapshot = folder
        return folder

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        for name in ("_model", "_running", "_snapshot", "_load_lock", "_tokenizer_lock"):
            del state[name]
        state["_checkpoint"] = self._checkpoint.without_token()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._reset()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # never changes once made, and a second copy of the weights would help nobody
