"""Headers of weight files: names and shapes of tensors, without reading the tensors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from korag.checkpoints.files import broken


def tensor_shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of all tensors in some ``.safetensors`` files, by name.

    Raises:
        CheckpointError: If one cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        try:
            with safe_open(path, framework="np") as file:
                names = file.keys()
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in names}
        except (SafetensorError, OSError) as error:
            raise broken(path, str(error)) from error
    return shapes
