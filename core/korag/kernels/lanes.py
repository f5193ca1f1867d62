"""A type for kernels: 32 numbers side by side, as many as a group of query tokens has.

An operation on them is compiled to the widest instructions of the processor: one or two of AVX-512, two to four of
AVX2, four to eight of NEON. Numba compiles loops over single numbers to such instructions only where it can prove that
arrays do not overlap; MaxSim took five times as long.

To be imported only if `korag.kernels.jit.is_available`, and called only in kernels. Nothing here checks a position.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

LANES = 32
INT32 = ir.IntType(32)


def operation(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes an operation of a function that tells which types it takes and how it is compiled.

    Args:
        function: Takes numba's context and the types of the arguments, and returns the signature and a function that
            emits the instructions; or None for types that do not fit.
    """
    made: Callable[..., Any] = intrinsic(function)
    return made


class Lanes(types.Type):
    """32 numbers of one type."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, own: Any) -> None:
        super().__init__(manager, own, vector(manager[own.dtype].get_value_type()))  # type: ignore[no-untyped-call]


def vector(element: Any, count: int = LANES) -> ir.VectorType:
    """LLVM's type of numbers side by side."""
    return ir.VectorType(element, count)


def choose(builder: Any, first: Any, second: Any, indices: list[int]) -> Any:
    """Takes numbers by their indices in two vectors, one after the other."""
    return builder.shuffle_vector(first, second, ir.Constant(vector(INT32, len(indices)), indices))


def spread(builder: Any, number: Any, count: int = LANES) -> Any:
    """Repeats a number."""
    nothing = ir.Constant(vector(number.type, count), ir.Undefined)
    one = builder.insert_element(nothing, number, ir.Constant(INT32, 0))
    return choose(builder, one, nothing, [0] * count)


@operation
def load(_: Any, array: Any, position: Any) -> Any:
    """``load(array, position)``: 32 numbers of a contiguous array, from a position counted over all dimensions."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        address = _address(context, builder, signature.args[0], values, kind)
        return builder.load(address, align=array.dtype.bitwidth // 8, typ=kind)

    return (Lanes(array.dtype)(array, types.intp), emit) if array.layout == "C" else None


@operation
def store(_: Any, array: Any, position: Any, lanes: Any) -> Any:
    """``store(array, position, lanes)``: writes 32 numbers to where `load` would read them."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        address = _address(context, builder, signature.args[0], values, values[2].type)
        builder.store(values[2], address, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    fits = array.layout == "C" and lanes == Lanes(array.dtype)
    return (types.none(array, types.intp, lanes), emit) if fits else None


def _address(context: Any, builder: Any, array: Any, values: Any, kind: Any) -> Any:
    start = context.make_array(array)(context, builder, values[0]).data
    place = builder.gep(start, [values[1]], source_etype=context.get_data_type(array.dtype))
    return builder.bitcast(place, kind.as_pointer())


@operation
def fill(_: Any, number: Any) -> Any:
    """``fill(number)``: 32 times the same number, of its type."""
    return Lanes(number)(number), lambda context, builder, signature, values: spread(builder, values[0])


@operation
def add(_: Any, first: Any, second: Any) -> Any:
    """``add(first, second)``; whole numbers out of range wrap around."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return (builder.fadd if isinstance(first.dtype, types.Float) else builder.add)(*values)

    return (first(first, second), emit) if first == second else None


@operation
def subtract(_: Any, first: Any, second: Any) -> Any:
    """``subtract(first, second)`` of floats."""
    fits = first == second and isinstance(first.dtype, types.Float)
    return (first(first, second), lambda context, builder, signature, values: builder.fsub(*values)) if fits else None


@operation
def scale(_: Any, lanes: Any, factor: Any) -> Any:
    """``scale(lanes, factor)`` of int16: the upper 16 bits of the products with one number, so rounded down."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        wide = vector(INT32)
        products = builder.mul(builder.sext(values[0], wide), builder.sext(spread(builder, values[1]), wide))
        return builder.trunc(builder.ashr(products, spread(builder, ir.Constant(INT32, 16))), values[0].type)

    fits = lanes == Lanes(types.int16) and factor == types.int16
    return (lanes(lanes, factor), emit) if fits else None


@operation
def multiply(_: Any, first: Any, second: Any) -> Any:
    """``multiply(first, second)`` of floats."""
    fits = first == second and isinstance(first.dtype, types.Float)
    return (first(first, second), lambda context, builder, signature, values: builder.fmul(*values)) if fits else None


@operation
def maximum(_: Any, first: Any, second: Any) -> Any:
    """``maximum(first, second)`` of whole numbers."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        compare = builder.icmp_signed if first.dtype.signed else builder.icmp_unsigned
        return builder.select(compare(">", *values), *values)

    return (first(first, second), emit) if first == second and isinstance(first.dtype, types.Integer) else None


@operation
def convert(_: Any, lanes: Any, dtype: Any) -> Any:
    """``convert(lanes, dtype)`` from whole numbers to another type; numbers that do not fit lose their highest bits."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind, signed = context.get_value_type(signature.return_type), lanes.dtype.signed
        if isinstance(dtype.dtype, types.Float):
            return (builder.sitofp if signed else builder.uitofp)(values[0], kind)
        if dtype.dtype.bitwidth <= lanes.dtype.bitwidth:
            return builder.trunc(values[0], kind)
        return (builder.sext if signed else builder.zext)(values[0], kind)

    return Lanes(dtype.dtype)(lanes, dtype), emit


@operation
def total(_: Any, lanes: Any) -> Any:
    """``total(lanes)`` of floats: the first half is added to the second one until one is left.

    So it is the same on every processor; `korag.kernels.maxsim_torch` adds in this order, too.
    """

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        rest, count = values[0], LANES
        while count > 1:
            count //= 2
            halves = [choose(builder, rest, rest, list(range(start, start + count))) for start in (0, count)]
            rest = builder.fadd(*halves)
        return builder.extract_element(rest, ir.Constant(INT32, 0))

    return (lanes.dtype(lanes), emit) if isinstance(lanes.dtype, types.Float) else None
