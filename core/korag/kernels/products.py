"""Lanes that multiply bytes: sums of products of several document tokens with 32 query tokens.

Processors multiply bytes in groups of four (x86 with VNNI), or numbers of 16 bits in pairs (all others of x86). Such a
group is a word of 32 bits here: `BYTES` says what is in it, and `arrange` brings query tokens into this form.

To be imported only if `korag.kernels.jit.is_available`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import models, register_model
from numpy.typing import NDArray

from korag.kernels import aligned
from korag.kernels.lanes import INT32, LANES, Lanes, choose, operation, spread, vector

_context: Any = cpu_target.target_context
_features = frozenset(_context.codegen().magic_tuple()[2].split(","))
_WIDE = "+avx512vnni" in _features
_BY_FOUR = _WIDE or "+avxvnni" in _features
ROWS = 8 if _WIDE else 2
"""Document tokens multiplied together: the more, the fewer times a query is read; the sums must fit the registers."""
SHIFT: np.uint8 | np.int16 = np.uint8(128) if _BY_FOUR else np.int16(0)
"""Added to the numbers of documents, which VNNI takes without a sign. Its type is that of what a word consists of."""
BYTES = type(SHIFT)
WORD = 4 // SHIFT.nbytes
"""Numbers in a word."""


def arrange(codes: NDArray[np.int8]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Brings query tokens into the form that is multiplied.

    Args:
        codes: Shape: (groups, 32, dim).

    Returns:
        Words, filled up with zeros, shape (groups, words, 32), and what to add to the sums of each token for the shift
        of document tokens, shape (groups, 32).
    """
    groups, _, dim = codes.shape
    count = -(-dim // WORD)
    numbers = np.zeros((groups, LANES, count * WORD), np.int8 if _BY_FOUR else np.int16)
    numbers[..., :dim] = codes
    words = aligned.zeros((groups, count, LANES), np.int32)
    words[:] = numbers.view(np.int32).transpose(0, 2, 1)
    return words, -int(SHIFT) * codes.sum(axis=2, dtype=np.int32)


class Products(types.Type):
    """Sums of products, 32 for each of the document tokens."""

    def __init__(self) -> None:
        super().__init__(name="Products")


@register_model(Products)
class _ProductsModel(models.PrimitiveModel):
    def __init__(self, manager: Any, own: Any) -> None:
        super().__init__(manager, own, ir.ArrayType(vector(INT32), ROWS))  # type: ignore[no-untyped-call]


@operation
def no_products(_: Any) -> Any:
    """``no_products()``: zeros."""
    return Products()(), lambda context, builder, signature, values: ir.Constant(
        context.get_value_type(signature.return_type), None
    )


@operation
def add_products(_: Any, products: Any, words: Any, row: Any, position: Any, query: Any) -> Any:
    """``add_products(products, words, row, position, query)`` adds those of one word of ROWS rows with 32 of a query.

    Shape of words: (rows, words).
    """

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rest, _, first, position, query = values
        array = context.make_array(words)(context, builder, values[1])
        count = builder.extract_value(array.shape, 1)
        for number in range(ROWS):
            place = builder.add(first, ir.Constant(count.type, number))
            place = builder.add(builder.mul(count, place), position)
            word = builder.load(builder.gep(array.data, [place], source_etype=INT32), align=4, typ=INT32)
            sums = _multiply(builder, builder.extract_value(rest, number), spread(builder, word), query)
            rest = builder.insert_value(rest, sums, number)
        return rest

    fits = words.layout == "C" and words.dtype == types.int32 and query == Lanes(types.int32)
    return (products(products, words, types.intp, types.intp, query), emit) if fits else None


@operation
def greatest(_: Any, products: Any) -> Any:
    """``greatest(products)`` of the document tokens, for each query token."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        best = builder.extract_value(values[0], 0)
        for row in range(1, ROWS):
            other = builder.extract_value(values[0], row)
            best = builder.select(builder.icmp_signed(">", best, other), best, other)
        return best

    return Lanes(types.int32)(products), emit


def _multiply(builder: Any, sums: Any, words: Any, query: Any) -> Any:
    """Adds to each sum the products of the numbers in two words."""
    if _BY_FOUR:
        return _multiply_by_four(builder, sums, words, query)
    pairs, wide = vector(ir.IntType(16), 2 * LANES), vector(INT32, 2 * LANES)
    factors = [builder.sext(builder.bitcast(part, pairs), wide) for part in (words, query)]
    products = builder.mul(*factors)  # LLVM makes one instruction (vpmaddwd) of this and the following sum
    halves = [choose(builder, products, products, list(range(first, 2 * LANES, 2))) for first in (0, 1)]
    return builder.add(sums, builder.add(*halves))


def _multiply_by_four(builder: Any, sums: Any, words: Any, query: Any) -> Any:
    """By VNNI's vpdpbusd, for which LLVM has no general form."""
    size = 16 if _WIDE else 8
    kind = vector(INT32, size)
    name = f"llvm.x86.avx512.vpdpbusd.{32 * size}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)  # type: ignore[no-untyped-call]
    ranges = [list(range(at, at + size)) for at in range(0, LANES, size)]
    parts = [
        builder.call(function, [choose(builder, all_, all_, own) for all_ in (sums, words, query)]) for own in ranges
    ]
    while len(parts) > 1:
        joined = list(range(2 * parts[0].type.count))
        parts = [choose(builder, parts[at], parts[at + 1], joined) for at in range(0, len(parts), 2)]
    return parts[0]
