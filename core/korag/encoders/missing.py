"""Weights that a checkpoint lacks: transformers makes up random ones, and only logs it.

Made-up weights become NaN, so the first run of the model shows whether anything depends on them. Weights that begin as
zeros or ones, such as those of a normalization, are not noticed if they alone are missing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_RANDOM = frozenset({"normal_", "uniform_"})  # what all random initializations are made of
_PREFIXES = ("_orig_mod.", "module.", "0.auto_model.")
"""Put before every name by `torch.compile`, data parallelism and old sentence-transformers."""


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
            if parameter.data_ptr() in self._made and parameter.isnan().any()
        }


@contextlib.contextmanager
def noting_missing_weights() -> Iterator[MissingWeights]:
    """Notes which weights this thread makes up inside the block."""
    from torch.utils._python_dispatch import TorchDispatchMode

    missing = MissingWeights()

    class Noting(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            made = func(*args, **(kwargs or {}))
            if func.overloadpacket.__name__ in _RANDOM and not made.is_meta and made.is_floating_point():
                missing.add(args[0])
            return made

    with Noting():  # type: ignore[no-untyped-call]
        yield missing


def shared_prefix(folder: Path) -> str | None:
    """Returns what a tool has put before the name of every tensor in a folder; None if nothing.

    Args:
        folder: With ``model.safetensors``, whole or divided.
    """
    from safetensors import safe_open

    names: list[str] = []
    for file in folder.glob("model*.safetensors"):
        with safe_open(file, framework="pt") as tensors:
            names += tensors.keys()
    return next((prefix for prefix in _PREFIXES if names and all(name.startswith(prefix) for name in names)), None)
