"""Matryoshka heads of a late-interaction model: a bias-free projection per token dimension.

The heads are separate matrices (Jina-ColBERT-v2, https://arxiv.org/abs/2408.16672, section 3), not slices of
one; the one in use replaces the checkpoint's ``1_Dense``. They are stored in one of two files:
``matryoshka_heads.pt``, as the colbert-matryoshka package writes it (``{matryoshka_dims, projection_heads,
hidden_size, active_dim}``, read with ``weights_only=True``), and ``matryoshka_heads.safetensors``, the same
tensors without pickle, which takes precedence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from korag.checkpoints.torch_files import load_state
from korag.errors import MissingHeadsError
from korag.storage import write_bytes

if TYPE_CHECKING:
    import torch

_SAFETENSORS, _TORCH = "matryoshka_heads.safetensors", "matryoshka_heads.pt"


def find_heads(folder: Path) -> Path | None:
    """Returns the heads file of a checkpoint folder, or None."""
    return next((folder / name for name in (_SAFETENSORS, _TORCH) if (folder / name).exists()), None)


def read_dims(path: Path, hidden_size: int | None = None) -> tuple[int, ...]:
    """Returns the dimensions of a heads file, ascending, without reading the weights.

    Args:
        path: The heads file.
        hidden_size: Hidden size of the backbone; None if it is not known.

    Raises:
        MissingHeadsError: If the file cannot be read, or a head has another shape.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as file:
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (no dict)
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, str(error)) from error
    else:
        shapes = {name: tuple(tensor.shape) for name, tensor in _read_torch(path).items()}
    return tuple(sorted(_check_shapes(path, shapes, hidden_size)))


def read_heads(path: Path, hidden_size: int | None = None) -> dict[int, torch.Tensor]:
    """Reads every head.

    Args:
        path: The heads file.
        hidden_size: Hidden size of the backbone; None if it is not known.

    Returns:
        float32 tensors by dimension. Shape of each: (dim, hidden_size).

    Raises:
        MissingHeadsError: If the file cannot be read, or a head has another shape.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, str(error)) from error
    else:
        tensors = _read_torch(path)
    dims = _check_shapes(path, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, hidden_size)
    return {dim: tensor.float() for dim, tensor in sorted(zip(dims, tensors.values(), strict=True))}


def write_heads(heads: dict[int, torch.Tensor], folder: Path) -> Path:
    """Writes ``matryoshka_heads.safetensors`` into `folder`, whole or not at all.

    Args:
        heads: Tensors by dimension. Shape of each: (dim, hidden_size).
        folder: An existing folder.
    """
    from safetensors.torch import save

    path = folder / _SAFETENSORS
    tensors = {f"{dim}.weight": head.contiguous() for dim, head in heads.items()}
    # not `save_file`, whose files are readable by their owner only
    write_bytes(path, save(tensors, metadata={"format": "pt", "matryoshka_dims": json.dumps(sorted(heads))}))
    return path


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        saved: Any = load_state(path)
        heads = {str(name): tensor for name, tensor in saved["projection_heads"].items()}
        if not all(isinstance(tensor, torch.Tensor) for tensor in heads.values()):
            raise TypeError("projection_heads holds something other than tensors")
        return heads
    except Exception as error:  # torch.load may raise anything for damaged bytes
        raise _unreadable(path, str(error)) from error


def _check_shapes(path: Path, shapes: Mapping[str, tuple[int, ...]], hidden_size: int | None) -> list[int]:
    """Returns the dimension of each tensor, in the order given."""
    if not shapes:
        raise _unreadable(path, "no projection heads in it")
    dims = []
    for name, shape in shapes.items():
        number, dot, kind = name.partition(".")
        if not number.isdecimal() or (dot, kind) != (".", "weight"):
            raise _unreadable(path, f"'{name}' is not the weight of a head")
        if len(shape) != 2 or shape[0] != int(number) or hidden_size not in (None, shape[1]):
            raise _unreadable(path, f"head {number} has shape {shape}, not ({number}, {hidden_size or 'hidden size'})")
        dims.append(int(number))
    return dims


def _unreadable(path: Path, reason: str) -> MissingHeadsError:
    reason = reason.splitlines()[0] if reason else "unknown"
    return MissingHeadsError(
        f"Matryoshka 헤드 파일 '{path}'을(를) 읽을 수 없습니다({reason}). 헤드가 없으면 벡터가 달라지므로 "
        "중단했습니다. 파일을 다시 다운로드하세요.",
        f"The Matryoshka heads '{path}' cannot be read ({reason}). Without them the vectors would differ; "
        "download the file again.",
    )
