"""A limit on what loading a checkpoint makes: in proportion to its weight files, whatever its settings demand."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korag.checkpoints.files import model_files
from korag.checkpoints.weights import damaged_weights
from korag.errors import CheckpointError

_PER_STORED = 16
"""Loading makes each weight a few times: without memory, in its final precision, merged with an adapter."""
_ELEMENTS = 2**26
_TENSORS = 2_000
"""Allowed for the smallest weight files as well: heads and positions that are computed, not stored."""
_HEADER = 100_000_000  # safetensors' own limit, in bytes


@contextlib.contextmanager
def limited_to(*folders: Path) -> Iterator[None]:
    """Limits the tensors that this thread makes inside the block.

    Otherwise, a billion terms in ``config.json`` would take all memory before anything is compared with the weights,
    and a billion layers would take for ever.

    Args:
        folders: The model's folder, and that of its base.

    Raises:
        CheckpointError: If more or larger tensors are made than weights of this size can need, or the header of a
            weight file is damaged.
    """
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    files = [file for folder in folders for file in model_files(folder) if file.suffix in _COUNTERS]
    stored = [*map(_stored, files)]
    most_elements = _ELEMENTS + _PER_STORED * sum(elements for elements, _ in stored)
    most_tensors = _TENSORS + _PER_STORED * sum(tensors for _, tensors in stored)

    class Budget(TorchDispatchMode):  # type: ignore[no-untyped-call]
        elements = tensors = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.overloadpacket.__name__ in ("empty", "empty_strided"):  # which all others fill
                self.count(math.prod(args[0]))
                return func(*args, **(kwargs or {}))
            if func.overloadpacket.__name__ == "index" and len(args[1]) == 1 and args[1][0].dtype == torch.long:
                # rows of a small table, each any number of times: model2vec's mapping from tokens to vectors
                self.count(args[1][0].numel() * math.prod(args[0].shape[1:]))
                return func(*args, **(kwargs or {}))
            made = func(*args, **(kwargs or {}))
            if hasattr(made, "numel") and func._schema.returns[0].alias_info is None:  # not a view, nor in place
                self.count(made.numel())
            return made

        def count(self, elements: int) -> None:
            self.elements += elements
            self.tensors += 1
            if self.elements > most_elements or self.tensors > most_tensors:
                raise CheckpointError(
                    f"'{folders[0]}'의 설정에 적힌 크기가 가중치 파일에 비해 너무 큽니다(최대 수 {most_elements:,}개, "
                    f"텐서 {most_tensors:,}개). config.json이 손상되었을 수 있으니 모델을 다시 다운로드하세요.",
                    f"The sizes in the settings of '{folders[0]}' are too large for its weight files (at most "
                    f"{most_elements:,} numbers in {most_tensors:,} tensors). Its config.json may be damaged; download "
                    "the model again.",
                )

    with Budget():  # type: ignore[no-untyped-call]
        yield


def _count_safetensors(path: Path) -> tuple[int, int]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(_HEADER, path.stat().st_size - 8):
            raise ValueError("its header is longer than the file")
        tensors = json.loads(file.read(length))
    shapes = [tensor["shape"] for name, tensor in tensors.items() if name != "__metadata__"]
    return min(sum(map(math.prod, shapes)), 2 * path.stat().st_size), len(shapes)


def _count_pickle(path: Path) -> tuple[int, int]:
    size = path.stat().st_size
    return size, size // 64  # a tensor's description is longer


_COUNTERS = {".safetensors": _count_safetensors, ".bin": _count_pickle}


def _stored(path: Path) -> tuple[int, int]:
    """Returns how many numbers and tensors a weight file holds, or at most can hold."""
    try:
        return _COUNTERS[path.suffix](path)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError) as error:
        raise damaged_weights(path, str(error)) from error
