"""State dicts of heads that are saved by torch: small files, read with ``weights_only=True``."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korag.checkpoints.files import LARGEST_FILE

_PER_STORED = 16
"""Heads may be parts of one matrix, which is stored once."""


def load_state(path: Path) -> Any:
    """Returns what torch has saved in a file: dictionaries and tensors only.

    Raises:
        ValueError: If it is too large, compressed, holds anything else, or has tensors of far more numbers than it can
            hold. A tensor with strides of 0 needs no space on the disk, but all memory once it is copied.
        Exception: Whatever torch raises for damaged bytes.
    """
    import pickle

    import torch

    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ValueError(f"{size:,} bytes; the limit is {LARGEST_FILE:,}")
    is_zip = zipfile.is_zipfile(path)
    if is_zip:
        with zipfile.ZipFile(path) as file:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in file.infolist()):
                raise ValueError("it is compressed, which torch does not do")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:  # torch's message says how to run the code in it
        raise ValueError("it is damaged, or holds something other than tensors") from error
    if (needed := sum(tensor.numel() * tensor.element_size() for tensor in _tensors(saved))) > _PER_STORED * size:
        raise ValueError(f"tensors of {needed:,} bytes in a file of {size:,}")
    return saved


def _tensors(value: Any) -> Iterator[Any]:
    import torch

    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors(inner)
