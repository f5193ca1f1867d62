"""Matryoshka heads of a late-interaction model: one bias-free projection for each token dimension.

The heads are separate matrices (Jina-ColBERT-v2, https://arxiv.org/abs/2408.16672, section 3), not slices of
one, and the one in use takes the place of the checkpoint's ``1_Dense``. Two files can hold them:
``matryoshka_heads.pt``, as the colbert-matryoshka package writes it (``{matryoshka_dims, projection_heads,
hidden_size, active_dim}``, read with ``weights_only=True``), and ``matryoshka_heads.safetensors``, the same
tensors without pickle, which is the one used where both are there.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from korag.errors import MissingHeadsError

if TYPE_CHECKING:
    import torch

_SAFETENSORS, _TORCH = "matryoshka_heads.safetensors", "matryoshka_heads.pt"


def find_heads(folder: Path) -> Path | None:
    """Returns the heads file of a checkpoint folder, or None."""
    return next((folder / name for name in (_SAFETENSORS, _TORCH) if (folder / name).exists()), None)


def read_dims(path: Path) -> tuple[int, ...]:
    """Returns the dimensions a heads file offers, smallest first, without reading the weights.

    Raises:
        MissingHeadsError: If the file cannot be read.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="np") as file:
                dims = [int(name.removesuffix(".weight")) for name in file.keys()]  # noqa: SIM118 (not a dict)
        except (SafetensorError, OSError, ValueError) as error:
            raise _unreadable(path, str(error)) from error
    else:
        dims = [int(name.removesuffix(".weight")) for name in _read_torch(path)]
    if not dims:
        raise _unreadable(path, "no projection heads in it")
    return tuple(sorted(dims))


def read_heads(path: Path, hidden_size: int) -> dict[int, torch.Tensor]:
    """Reads every head.

    Args:
        path: The heads file.
        hidden_size: Hidden size of the backbone.

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
    heads = {int(name.removesuffix(".weight")): tensor.float() for name, tensor in tensors.items()}
    for dim, head in heads.items():
        if head.shape != (dim, hidden_size):
            raise _unreadable(path, f"head {dim} has shape {tuple(head.shape)}, not ({dim}, {hidden_size})")
    return dict(sorted(heads.items()))


def write_heads(heads: dict[int, torch.Tensor], folder: Path) -> Path:
    """Writes ``matryoshka_heads.safetensors`` into `folder`, whole or not at all.

    Args:
        heads: Tensors by dimension. Shape of each: (dim, hidden_size).
        folder: An existing folder.
    """
    from safetensors.torch import save_file

    path = folder / _SAFETENSORS
    unfinished = path.with_suffix(".tmp")
    tensors = {f"{dim}.weight": head.contiguous() for dim, head in heads.items()}
    save_file(tensors, unfinished, metadata={"format": "pt", "matryoshka_dims": json.dumps(sorted(heads))})
    return unfinished.replace(path)


def _read_torch(path: Path) -> dict[str, torch.Tensor]:
    import torch

    try:
        saved: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
        heads = saved["projection_heads"]
        return {str(name): heads[name] for name in heads}
    except Exception as error:  # torch.load raises whatever the damaged bytes lead it to
        raise _unreadable(path, str(error)) from error


def _unreadable(path: Path, reason: str) -> MissingHeadsError:
    reason = reason.splitlines()[0] if reason else "unknown"
    return MissingHeadsError(
        f"Matryoshka 헤드 파일 '{path}'을(를) 읽을 수 없습니다({reason}). 헤드 없이 쓰면 다른 벡터가 되므로 "
        "멈춥니다. 파일을 다시 받으세요.",
        f"The Matryoshka heads '{path}' cannot be read ({reason}). Without them the vectors would be others, "
        "so this stops here; fetch the file again.",
    )
