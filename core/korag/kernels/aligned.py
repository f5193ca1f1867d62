"""Arrays for vector instructions: one that crosses a line of the processor's cache takes twice as long."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)
_LINE = 64
"""Bytes."""


def zeros(shape: tuple[int, ...], dtype: type[Number]) -> NDArray[Number]:
    """Returns zeros that start where a line of the cache does; `numpy.zeros` promises 16 bytes."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + _LINE, np.uint8)
    start = -memory.ctypes.data % _LINE
    return memory[start : start + size].view(dtype).reshape(shape)
