"""Weights that a checkpoint lacks: transformers makes up random ones, zeros or ones, and only logs it.

Made-up weights become NaN, so the first run of the model shows whether anything depends on them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korag.checkpoints.settings import read_json
from korag.checkpoints.weights import tensor_shapes

_RANDOM = frozenset({"normal_", "uniform_"})  # what all random initializations are made of
_CONSTANT = frozenset({"zero_", "fill_"})  # used for much else as well, so only noted for parameters
_PREFIXES = ("_orig_mod.", "module.", "0.auto_model.", "0.model.", "model.")
"""Put before every name by `torch.compile`, data parallelism, sentence-transformers old and new, and wrappers.

transformers itself adds ``model.``, the last, again for architectures that call their backbone so. Code that comes with
a model may not, so its names are left as they are.
"""


class MissingWeights:
    """The tensors that got random numbers while a model was loaded."""

    def __init__(self) -> None:
        self._made: set[int] = set()

    def add(self, tensor: Any) -> None:
        """Notes a tensor, and makes it NaN, so that whatever is computed with it shows."""
        tensor.fill_(float("nan"))
        self._made.add(tensor.data_ptr())

    def find(self, model: Any) -> dict[str, Any]:
        """Returns the parameters of a loaded model that no file has given, by name."""
        return {
            name: parameter
            for name, parameter in (model.named_parameters() if self._made else ())
            if self._is_made(parameter)
        }

    def _is_made(self, parameter: Any) -> bool:
        """Returns True for a parameter nobody has loaded; tying weights may have copied it to another place."""
        if parameter.data_ptr() in self._made:
            return bool(parameter.isnan().any())
        return bool(parameter.flatten()[:1].isnan().any() and parameter.isnan().all())


@contextlib.contextmanager
def noting_missing_weights() -> Iterator[MissingWeights]:
    """Notes which weights this thread makes up inside the block."""
    from torch.nn import Parameter
    from torch.utils._python_dispatch import TorchDispatchMode

    missing = MissingWeights()

    class Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            name = func.overloadpacket.__name__
            begins = name in _RANDOM or (name in _CONSTANT and isinstance(args[0], Parameter))
            if begins and not made.is_meta and made.is_floating_point():
                missing.add(args[0])
            return made

    with Noting():  # type: ignore[no-untyped-call]
        yield missing


def shared_prefix(folder: Path) -> str:
    """Returns what tools have put before the name of every tensor in a folder; empty if nothing.

    Args:
        folder: With ``model.safetensors`` or ``pytorch_model.bin``, whole or divided.
    """
    names = _tensor_names(folder)
    known = _PREFIXES[:-1] if "auto_map" in read_json(folder / "config.json") else _PREFIXES
    shared = ""
    while found := next((prefix for prefix in known if _all_start(names, shared + prefix)), None):
        shared += found
    return shared


def _all_start(names: list[str], prefix: str) -> bool:
    return bool(names) and all(name.startswith(prefix) for name in names)


def _tensor_names(folder: Path) -> list[str]:
    """Returns the names of all tensors in the files that transformers loads."""
    import torch

    names = [*tensor_shapes(folder.glob("model*.safetensors"))]
    if names:
        return names
    for file in folder.glob("pytorch_model*.bin"):
        names += torch.load(file, map_location="meta", weights_only=True)
    return names
