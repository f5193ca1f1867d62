"""Loaded models, each once: whoever asks for the same files with the same settings gets the same one."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from korag.checkpoints.files import model_files
from korag.checkpoints.linear_heads import HEAD_FILES
from korag.forking import Lock

if TYPE_CHECKING:
    from korag.encoders.backends import RuntimeInfo


class Loaded(NamedTuple):
    """A model that has just been loaded.

    Attributes:
        model: The sentence-transformers model, in its final precision.
        runtime: How it is computed.
        backbone: The model whose backbone and tokenizer it uses; None if they are its own.
    """

    model: Any
    runtime: RuntimeInfo
    backbone: SharedModel | None = None


class SharedModel:
    """A loaded model and what belongs to it. It lives as long as something refers to it, such as an encoder.

    Attributes:
        model: The sentence-transformers model, in its final precision; nobody changes it any more. None until loaded.
        runtime: How it is computed; None until loaded.
        backbone: The model whose backbone and tokenizer it uses, kept alive by this one; None if they are its own.
        tokenizer_lock: Held during tokenization. A fast tokenizer stores truncation and padding as state: without a
            lock, a thread encoding queries would make another one silently truncate documents to query length.
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.runtime: RuntimeInfo | None = None
        self.backbone: SharedModel | None = None
        self.tokenizer_lock = Lock()
        self._load_lock = Lock()

    def load(self, load: Callable[[], Loaded]) -> bool:
        """Loads the model if it is not loaded yet; other threads wait.

        Args:
            load: Loads it.

        Returns:
            True if this call has loaded it.
        """
        with self._load_lock:
            if self.model is not None:
                return False
            model, self.runtime, self.backbone = load()
            if self.backbone is not None:
                self.tokenizer_lock = self.backbone.tokenizer_lock
            self.model = model  # last: a child that is forked before this loads its own
            return True


_HEADS = frozenset(HEAD_FILES.values())
_models: weakref.WeakValueDictionary[Hashable, SharedModel] = weakref.WeakValueDictionary()
_lock = Lock(_models.clear)


def shared_model(key: Hashable) -> SharedModel:
    """Returns the model with a key; a new one, not loaded yet, if there is none.

    Args:
        key: Everything that the loaded model depends on, its files included.
    """
    with _lock:
        shared = _models.get(key)
        if shared is None:
            shared = _models[key] = SharedModel()
        return shared


def identify_files(folders: Iterable[Path]) -> Hashable:
    """Returns what tells the files of some model folders from any others, without reading them.

    A folder that was written again has other files, even under the same names. BGE-M3's heads do not count: they are no
    part of the dense model, and may be downloaded after it.
    """
    return tuple(
        (str(folder.resolve()), tuple(identify_file(path) for path in model_files(folder) if path.name not in _HEADS))
        for folder in folders
    )


def release_memory() -> None:
    """Returns the memory of models that nothing refers to any more to the system, that of GPUs included."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def identify_file(path: Path) -> Hashable:
    """Returns what tells a file from any other, without reading it."""
    stat = path.stat()
    # a copy over it may keep its size, and bring the time of its own last change along
    return str(path), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
