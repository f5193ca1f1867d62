"""The loops of `korag.kernels.nearest`; to be imported only if `korag.kernels.jit.is_available`."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from korag.kernels.jit import kernel
from korag.kernels.lanes import (
    INT32,
    LANES,
    Lanes,
    add,
    choose,
    fill,
    load,
    maximum,
    multiply,
    operation,
    spread,
    subtract,
    vector,
)

_PLACES = ir.Constant(vector(INT32), list(range(LANES)))


@operation
def _keys(_: Any, off: Any, first: Any) -> Any:
    """``_keys(off, first)``: numbers that are the greater the nearer an entry is; entries are numbered from `first`."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        bits = builder.bitcast(values[0], vector(INT32))  # in the order of the floats, none of which is negative
        numbers = builder.add(spread(builder, builder.trunc(values[1], INT32)), _PLACES)
        return builder.not_(builder.or_(builder.and_(bits, spread(builder, ir.Constant(INT32, -256))), numbers))

    return Lanes(types.int32)(off, types.intp), emit


@operation
def _nearest(_: Any, keys: Any) -> Any:
    """``_nearest(keys)``: the number of the nearest entry."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rest, count = values[0], LANES
        while count > 1:
            count //= 2
            low, high = (choose(builder, rest, rest, list(range(start, start + count))) for start in (0, count))
            rest = builder.select(builder.icmp_signed(">", low, high), low, high)
        return builder.and_(builder.not_(builder.extract_element(rest, ir.Constant(INT32, 0))), ir.Constant(INT32, 255))

    return types.int32(keys), emit


@kernel
def find(vectors: NDArray[np.float32], entries: NDArray[np.float32], codes: NDArray[np.uint8]) -> None:
    """Writes the codes of vectors. `entries` has shape (parts, size, 256)."""
    parts, size, count = entries.shape
    for row in range(len(vectors)):
        for part in range(parts):
            best = fill(np.int32(-(2**31)))
            for first in range(0, count, 32):
                off = fill(np.float32(0))
                for at in range(size):
                    value = fill(vectors[row, part * size + at])
                    difference = subtract(value, load(entries, (part * size + at) * count + first))
                    off = add(off, multiply(difference, difference))
                best = maximum(best, _keys(off, first))
            codes[row, part] = _nearest(best)
