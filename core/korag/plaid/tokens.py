"""Token vectors in files: those of a change, and those that a small index keeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEPT_WINDOWS = 1_000
"""Up to so many, an index keeps its vectors, and a change makes lists and codes anew from all of them, as fast-plaid
does by itself: those made of few documents fit others badly."""
_TOKENS, _LENGTHS = "korag-tokens.npy", "korag-lengths.npy"
KEPT_FILES = (_TOKENS, _LENGTHS)


class TokenFile:
    """Token vectors in a file of float16, to which they are added in batches.

    Args:
        path: The file; made by the first batch.
        dim: Size of a vector.
    """

    def __init__(self, path: Path, dim: int) -> None:
        self.path = path
        self._dim = dim
        self._lengths: list[int] = []

    def __len__(self) -> int:
        return len(self._lengths)

    def append(self, tokens: NDArray[Any]) -> None:
        """Adds a window. Shape: (tokens, dim); at least one token."""
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(tokens, dtype=np.float16).data)
        self._lengths.append(len(tokens))

    def tensors(self) -> Sequence[Any]:
        """Returns a torch tensor for each document, read from the file when it is used."""
        if not self._lengths:
            return []
        shape = (sum(self._lengths), self._dim)
        return _split(np.memmap(self.path, np.float16, mode="c", shape=shape), self._lengths)


def keep_tokens(folder: Path, documents: Sequence[Any]) -> None:
    """Writes the vectors of an index beside fast-plaid's files, if it is small."""
    if len(documents) > KEPT_WINDOWS:
        return
    np.save(folder / _TOKENS, np.concatenate([one.numpy() for one in documents]))
    np.save(folder / _LENGTHS, np.array([len(one) for one in documents], np.int64))


def kept_tokens(folder: Path) -> Sequence[Any] | None:
    """Returns a torch tensor for each document of an index that has kept its vectors; None if it has not.

    Raises:
        ValueError: If the files are damaged.
    """
    if not (folder / _LENGTHS).exists():
        return None
    return _split(np.load(folder / _TOKENS, mmap_mode="c"), np.load(folder / _LENGTHS).tolist())


def _split(tokens: NDArray[Any], lengths: list[int]) -> Sequence[Any]:
    import torch

    if sum(lengths) != len(tokens):
        raise ValueError(f"{sum(lengths)} / {len(tokens)}")
    return torch.split(torch.from_numpy(tokens), lengths)
