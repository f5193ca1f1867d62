"""A model that loads its weights on first use, once for all threads and for all that use the same one."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from korag.checkpoints.hub import ModelFiles
from korag.checkpoints.missing_files import find_missing_file
from korag.encoders.base import Encoder
from korag.encoders.options import LoadOptions
from korag.encoders.running import explained, find_growth
from korag.encoders.shared import Loaded, SharedModel, identify_files, release_memory, shared_model
from korag.errors import CheckpointError
from korag.logs import logger

if TYPE_CHECKING:
    from korag.encoders.backends import RuntimeInfo
    from korag.encoders.precision import Deviation


class CheckpointLike(Protocol):
    """Description of a model folder, as read by `korag.checkpoints`."""

    @property
    def source(self) -> ModelFiles:
        """Location of the files."""
        ...

    def without_token(self) -> Self:
        """Returns a copy without the Hub token, for pickling."""
        ...


CheckpointT = TypeVar("CheckpointT", bound=CheckpointLike)


class LazyModel(ABC, Generic[CheckpointT]):
    """A model loaded on first use, by whichever thread gets there first.

    All that are loaded from the same files with the same settings share the weights (see `korag.encoders.shared`), and
    so do copies. Pickles contain name and settings, but neither weights nor Hub token; an unpickled model loads again
    on first use.

    Args:
        checkpoint: Description of the model folder.
        options: Device, precision and backend.
    """

    def __init__(self, checkpoint: CheckpointT, options: LoadOptions) -> None:
        self._checkpoint = checkpoint
        self._options = options
        self._reset()

    def _reset(self) -> None:
        """Creates the state that pickles leave out."""
        self._shared: SharedModel | None = None
        self._folder: Path | None = None

    @property
    def _model(self) -> Any:
        """The loaded model; None before that."""
        return None if (shared := self._shared) is None else shared.model

    @property
    def runtime(self) -> RuntimeInfo | None:
        """Backend and precision of the model, and the reason for them; None until the weights are loaded."""
        return None if (shared := self._shared) is None else shared.runtime

    @property
    def checkpoint(self) -> CheckpointT:
        """Description of the model folder."""
        return self._checkpoint

    @property
    def model_name(self) -> str:
        """Name or path the model was loaded by."""
        return self._checkpoint.source.name

    @property
    def options(self) -> LoadOptions:
        """Device, precision, backend and batching."""
        return self._options

    @property
    def dtype(self) -> str | None:
        """Compute precision; with ``dtype="auto"``, None until the weights are loaded; ``"unknown"`` on a server."""
        if (runtime := self.runtime) is not None:
            return runtime.dtype
        return None if self._options.dtype == "auto" else self._options.dtype

    @property
    def deviation(self) -> Deviation | None:
        """Deviation of the vectors from torch in float32, measured while loading.

        None before that, and for torch in float32 itself.
        """
        return None if (runtime := self.runtime) is None else runtime.deviation

    def load(self) -> Any:
        """Loads the weights if they are not loaded yet.

        Returns:
            The sentence-transformers model in the precision and on the backend of `options`, or the light model that
            stands for it; shared, so do not change it.

        Raises:
            CheckpointError: If the files are damaged or do not match their settings.
            HubUnreachableError: If the weights are not cached and the Hub cannot be reached.
            InvalidArgumentError: If the device cannot compute in the requested precision.
        """
        return self.shared().model

    def unload(self) -> None:
        """Lets go of the weights; the next use loads them again.

        Their memory is free once nothing else uses them: another encoder or reranker of the same model with the same
        settings keeps them, and so does a thread that is just encoding, until it has finished.
        """
        if self._shared is not None:
            self._forget()
            release_memory()

    def _forget(self) -> None:
        """Drops the weights, and whatever was made with them."""
        self._shared = None

    def shared(self) -> SharedModel:
        """Loads the weights if they are not loaded yet.

        Returns:
            The model with its lock. A caller that keeps the result can use both, whatever `unload` does meanwhile.

        Raises:
            KoragError: As `load`.
        """
        shared = self._shared
        if shared is None:
            shared = shared_model(self._load_key())
            if not shared.load(self._load_ready) and (mismatch := self._find_mismatch(shared.model)):
                raise self._load_error(mismatch)
            self._shared = shared
        return shared

    def _load_ready(self) -> Loaded:
        from korag.encoders.backends import apply_runtime

        reason = None
        if self._options.backend == "auto":
            found = self._try_engine()
            if isinstance(found, Loaded):
                return found
            reason = found
        model, exact = self._load_checked()
        runtime = apply_runtime(model, self._options, name=self.model_name, exact=exact)
        if reason is not None:
            runtime = dataclasses.replace(runtime, reason=reason)
            logger.info("%s: backend='auto': torch, %s; %s", self.model_name, runtime.dtype, reason)
        return Loaded(model, runtime)

    def _try_engine(self) -> Loaded | str:
        """Loads the model on OpenVINO, as ``backend="auto"`` does on some machines; or says why it does not."""
        from korag.encoders.automatic import find_missing_package, find_obstacle, find_obstacle_of, try_engine

        reason = find_obstacle(self._options) or self._find_obstacle()
        if reason is None:
            with explained(self._load_error):
                reason = find_obstacle_of(self.weights_folder(), self._load_light)
        reason = reason or find_missing_package()
        if reason is not None:
            return reason
        model, exact = self._load_checked(light=False)
        found = try_engine(model, name=self.model_name, exact=exact)
        if isinstance(found, str):
            return found
        logger.info("%s: backend='auto': %s, %s, %s", self.model_name, found.backend, found.dtype, found.deviation)
        return Loaded(model, found)

    def _find_obstacle(self) -> str | None:
        """Says in Korean and English why only torch can compute the model; None if others can."""
        return None

    def _load_key(self) -> Hashable:
        """Everything that the loaded model depends on: its files and all settings."""
        from korag.encoders.devices import find_device
        from korag.encoders.precision import candidates, check_dtype

        options = self._options
        check_dtype(options)
        device = find_device(options)
        return (
            type(self),
            identify_files(self.weight_folders()),
            device,
            candidates(options, device.partition(":")[0]),
            options.backend,
            options.trust_remote_code,
            self._load_settings(),
        )

    @abstractmethod
    def _load_settings(self) -> Hashable:
        """The settings that `_load` applies to the model, besides `options`: models that differ in one are not shared.

        Leave out what is passed with every call, such as a dense model's prompts.
        """

    def load_copy(self) -> Any:
        """Loads a second, unshared copy of the model as saved, in float32 on torch: for training and merging."""
        return self._load_limited()

    def weights_folder(self) -> Path:
        """Returns the folder with the weights, after downloading them if necessary."""
        if self._folder is not None:
            return self._folder
        source = self._checkpoint.source
        folder = source.fetch_weights(remote_code=self._options.trust_remote_code).folder
        if source.revision is not None:
            # Contact the Hub once: offline, every attempt waits for a timeout. A local folder is checked on every call,
            # since it may have been deleted.
            self._folder = folder
        return folder

    def weight_folders(self) -> list[Path]:
        """Returns the folders of all weights: the model's own, and its base's if it is an adapter."""
        return [self.weights_folder()]

    def running(self) -> AbstractContextManager[None]:
        """Turns what the libraries raise while the loaded model runs into an error that names it."""
        return explained(self._run_error)

    def _load_light(self) -> Any:
        """Loads the model without sentence-transformers (see `korag.encoders.light`); None if it is none of those."""
        return None

    def _load_limited(self) -> Any:
        from korag.encoders.budget import limited_to
        from korag.encoders.missing import noting_missing_weights
        from korag.encoders.unread import warn_of_unread_layers

        folders = self.weight_folders()
        with explained(self._explain_load(folders)), limited_to(*folders), noting_missing_weights() as noted:
            model = self._load(folders[0])
        if missing := noted.find(model):
            self._check_unused(model, missing)
        warn_of_unread_layers(self.model_name, model, folders)
        return model

    def _explain_load(self, folders: list[Path]) -> Callable[[str], CheckpointError]:
        """Returns what makes an error of the reason that the libraries give."""

        def explain(reason: str) -> CheckpointError:
            missing = find_missing_file(folders[0]) if len(folders) == 1 else None  # adapters have files in two folders
            return self._load_error(missing or reason)

        return explain

    def _check_unused(self, model: Any, missing: dict[str, Any]) -> None:
        """Raises for weights that are missing and needed; others, such as a pooler's, become zero.

        Args:
            model: Loaded; what is missing is NaN.
            missing: Parameters by name.
        """
        from korag.encoders.precision import probe

        training = model.training
        with explained(self._load_error):
            used = not np.isfinite(probe(model.eval())).all()
        if used:
            names = ", ".join(sorted(missing)[:3]) + (f", … ({len(missing)})" if len(missing) > 3 else "")
            raise self._load_error(f"its weight files lack {names}")
        model.train(training)
        for parameter in missing.values():
            parameter.data.zero_()

    def _load_checked(self, *, light: bool = True) -> tuple[Any, NDArray[np.float32]]:
        """Loads the model and runs it once, since some damage only shows then; also returns its output.

        Args:
            light: Without sentence-transformers, if it can be.
        """
        from korag.encoders.precision import probe

        with explained(self._load_error):
            model = self._load_light() if light else None
        if model is None:
            model = self._load_limited().eval()
        with explained(self._load_error):
            mismatch = self._find_growth(model)
            if mismatch is None:
                exact = probe(model)
                mismatch = self._find_mismatch(model)  # after a run: only that tells a SPLADE pooling its size
                if mismatch is None and np.isfinite(exact).all():
                    return model, exact
                mismatch = mismatch or "its vectors hold NaN or infinity"
        raise self._load_error(mismatch)

    def _find_growth(self, model: Any) -> str | None:
        """Describes rules of the model's tokenizers that make texts longer without bound; None if there are none."""
        from korag.encoders.inputs import TASKS, input_tokenizer

        return next((found for task in TASKS if (found := find_growth(input_tokenizer(model, task)))), None)

    @abstractmethod
    def _load(self, folder: Path) -> Any:
        """Loads the sentence-transformers model in a folder."""

    @abstractmethod
    def _find_mismatch(self, model: Any) -> str | None:
        """Describes how a loaded model contradicts its settings; None if it does not."""

    def _load_error(self, reason: str) -> CheckpointError:
        reason = " ".join(reason.split())
        device = self._options.device
        if "trust_remote_code" in reason:
            loader = "load_encoder" if isinstance(self, Encoder) else "CrossEncoderReranker"
            korean = f"코드를 믿을 수 있을 때만 {loader}(…, trust_remote_code=True)로 불러오세요."
            english = f"Only if you trust its code, load it with {loader}(…, trust_remote_code=True)."
        else:
            korean = "파일이 손상되었다면 다시 다운로드하세요."
            english = "If a file is damaged, download it again."
        if device not in (None, "cpu"):
            korean += f" 이 컴퓨터의 PyTorch가 device={device!r}을(를) 쓸 수 있는지도 확인하세요."
            english += f" Also check that PyTorch can use device={device!r} on this machine."
        return CheckpointError(
            f"'{self.model_name}' 모델을 불러오지 못했습니다({reason}). {korean}",
            f"The model '{self.model_name}' could not be loaded ({reason}). {english}",
        )

    def _run_error(self, reason: str) -> CheckpointError:
        return CheckpointError(
            f"'{self.model_name}' 모델로 텍스트를 처리하지 못했습니다({reason}). 토크나이저와 가중치가 서로 맞지 "
            "않거나 파일이 손상되었을 수 있습니다. 모델을 다시 다운로드하세요.",
            f"The model '{self.model_name}' could not process a text ({reason}). Its tokenizer and weights may not "
            "belong together, or a file is damaged: download the model again.",
        )

    def _backend_label(self) -> str:
        """The requested backend and, once loaded, the one chosen by ``"auto"``."""
        requested = self._options.backend
        return f"auto ({runtime.backend})" if requested == "auto" and (runtime := self.runtime) else requested

    def _dtype_label(self) -> str:
        """The requested precision and, once loaded, the one chosen by ``"auto"``."""
        requested = self._options.dtype
        return f"auto ({self.dtype})" if requested == "auto" and self.dtype else requested

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_shared"], state["_folder"]
        state["_checkpoint"] = self._checkpoint.without_token()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        checkpoint = state["_checkpoint"]
        if vars(checkpoint).keys() != {each.name for each in dataclasses.fields(checkpoint)}:
            raise _other_version(checkpoint.source.name)
        vars(self).update(state)
        self._reset()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # immutable, and a second copy of the weights would only waste memory


def _other_version(name: str) -> CheckpointError:
    return CheckpointError(
        f"'{name}' 모델의 피클은 다른 버전의 KoRAG로 만든 것이어서 이 버전이 모델에서 읽는 설정이 들어 있지 않습니다. "
        "모델을 이름이나 경로로 다시 불러오세요.",
        f"The pickle of the model '{name}' was made by another version of KoRAG and lacks settings that this one reads "
        "from the model; load the model by its name or path again.",
    )
