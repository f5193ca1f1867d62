"""MaxSim of int8 token vectors.

One instruction (AVX-512 VNNI's ``vpdpbusd``) multiplies 64 pairs of bytes and adds the products in groups of four.
Eight rows of a document and 32 of a query are multiplied at a time; all sums stay in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from korag.kernels.compiler import Kernel, compile_kernel, loop_end, processor_features

_ROWS, _LANES = 8, 16
_COLUMNS = 2 * _LANES
_SHIFT = 128
"""Offset that makes document bytes unsigned, as the instruction requires; sums are corrected by it."""


def can_multiply(dim: int) -> bool:
    """Returns True if the processor has the instruction, llvmlite is installed, and the kernel supports `dim`."""
    return dim % 32 == 0 and dim > 0 and "avx512vnni" in processor_features()


@dataclass(frozen=True)
class PackedQueries:
    """Query tokens in the kernel's layout: groups of 32 tokens of one query, padded with zeros.

    Attributes:
        codes: Shape: (groups, dim / 4, 2, 16, 4).
        steps: Scale of each token's products; 0 for padding. Shape: (groups, 32).
        shifts: Correction of each token's sums for the offset of document bytes. Shape: (groups, 32).
        firsts: First group of each query. Shape: (queries,).
    """

    codes: NDArray[np.int8]
    steps: NDArray[np.float32]
    shifts: NDArray[np.int32]
    firsts: NDArray[np.int64]


def pack(queries: Sequence[tuple[NDArray[np.int8], NDArray[np.float32]]]) -> PackedQueries:
    """Brings queries into the kernel's layout.

    Args:
        queries: Codes, shape (tokens, dim), and steps, shape (tokens,), of each.

    Raises:
        ValueError: If there is no query, or one without tokens.
    """
    if not queries or not all(len(codes) for codes, _ in queries):
        raise ValueError("pack takes queries with at least one token each")
    groups = [-(-len(codes) // _COLUMNS) for codes, _ in queries]
    firsts = np.cumsum([0, *groups])
    dim = queries[0][0].shape[1]
    codes = np.zeros((int(firsts[-1]) * _COLUMNS, dim), np.int8)
    steps = np.zeros(len(codes), np.float32)
    for (own, own_steps), first in zip(queries, (firsts[:-1] * _COLUMNS).tolist(), strict=True):
        codes[first : first + len(own)], steps[first : first + len(own)] = own, own_steps
    packed = codes.reshape(-1, 2, _LANES, dim // 4, 4).transpose(0, 3, 1, 2, 4)
    shifts = _SHIFT * codes.sum(axis=1, dtype=np.int32)
    by_group = (-1, _COLUMNS)
    return PackedQueries(np.ascontiguousarray(packed), steps.reshape(by_group), shifts.reshape(by_group), firsts[:-1])


def byte_maxsim(
    codes: NDArray[np.int8], begins: NDArray[np.int64], lengths: NDArray[np.int64], queries: PackedQueries
) -> NDArray[np.float32]:
    """MaxSim of each document and query: Σ over query tokens of step · max product with a document token.

    Args:
        codes: Rows of all documents. Shape: (rows, dim).
        begins: First row of each document. Shape: (n,).
        lengths: Number of rows of each document, at least 1. Shape: (n,).
        queries: From `pack`.

    Returns:
        Shape: (n, queries).

    Raises:
        ValueError: If an array has the wrong type or shape, or rows are out of range.
    """
    groups, dim = len(queries.codes), codes.shape[1]
    places = (begins, lengths)
    if codes.dtype != np.int8 or any(array.dtype != np.int64 for array in places):
        raise ValueError("byte_maxsim takes codes in int8 and places in int64")
    if not codes.flags.c_contiguous or not all(array.flags.c_contiguous for array in places):
        raise ValueError("byte_maxsim takes contiguous arrays")
    if not can_multiply(dim) or queries.codes.shape[1] * 4 != dim or begins.shape != lengths.shape:
        raise ValueError("byte_maxsim takes queries and documents of one dimension, and a begin and a length for each")
    if ((begins < 0) | (lengths < 1) | (begins > len(codes)) | (lengths > len(codes) - begins)).any():
        raise ValueError("document rows are out of range")
    maxima = np.empty((groups, _COLUMNS), np.int32)  # of one document
    sums = np.empty((len(begins), groups), np.float32)
    _kernel(dim)(
        codes.ctypes.data, begins.ctypes.data, lengths.ctypes.data, len(begins), queries.codes.ctypes.data, groups,
        queries.shifts.ctypes.data, queries.steps.ctypes.data, maxima.ctypes.data, sums.ctypes.data,
    )  # fmt: skip
    return sums if len(queries.firsts) == groups else np.add.reduceat(sums, queries.firsts, axis=1)


@cache
def _kernel(dim: int) -> Kernel:
    tiles = [(row, half) for row in range(_ROWS) for half in range(2)]
    copies = "\n".join(
        f"""
  %next{row} = add i64 %row, {row}
  %index{row} = call i64 @llvm.umin.i64(i64 %next{row}, i64 %last)
  %offset{row} = mul i64 %index{row}, {dim}
  %source{row} = getelementptr i8, ptr %document_codes, i64 %offset{row}"""
        + "".join(
            f"""
  %from{row}.{at} = getelementptr i8, ptr %source{row}, i64 {at}
  %bytes{row}.{at} = load <32 x i8>, ptr %from{row}.{at}, align 1
  %moved{row}.{at} = xor <32 x i8> %bytes{row}.{at}, splat (i8 -128)
  %to{row}.{at} = getelementptr i8, ptr %rows, i64 {row * dim + at}
  store <32 x i8> %moved{row}.{at}, ptr %to{row}.{at}, align 32"""
            for at in range(0, dim, 32)
        )
        for row in range(_ROWS)
    )
    sums = "\n".join(
        f"  %sum{row}.{half} = phi <16 x i32> [ zeroinitializer, %group ], [ %new{row}.{half}, %step ]"
        for row, half in tiles
    )
    products = "\n".join(
        f"""
  %four{row}.at = getelementptr i8, ptr %fours, i64 {row * dim}
  %four{row} = load i32, ptr %four{row}.at, align 4
  %one{row} = insertelement <16 x i32> poison, i32 %four{row}, i64 0
  %all{row} = shufflevector <16 x i32> %one{row}, <16 x i32> poison, <16 x i32> zeroinitializer"""
        + "".join(
            f"""
  %new{row}.{half} = call <16 x i32> asm "vpdpbusd $2, $1, $0", "=v,v,v,0"(
    <16 x i32> %all{row}, <16 x i32> %query{half}, <16 x i32> %sum{row}.{half})"""
            for half in range(2)
        )
        for row in range(_ROWS)
    )
    maxima = "\n".join(
        f"  %max{row}.{half} = call <16 x i32> @llvm.smax.v16i32("
        f"<16 x i32> {f'%max{row - 1}.{half}' if row else f'%old{half}'}, <16 x i32> %new{row}.{half})"
        for row, half in tiles
    )
    parts = "\n".join(
        f"""
  %at{half} = add i64 %s128, {64 * half}
  %maximum{half}.at = getelementptr i8, ptr %maxima, i64 %at{half}
  %maximum{half} = load <16 x i32>, ptr %maximum{half}.at, align 4
  %shift{half}.at = getelementptr i8, ptr %shifts, i64 %at{half}
  %shift{half} = load <16 x i32>, ptr %shift{half}.at, align 4
  %steps{half}.at = getelementptr i8, ptr %steps, i64 %at{half}
  %steps{half} = load <16 x float>, ptr %steps{half}.at, align 4
  %product{half} = sub <16 x i32> %maximum{half}, %shift{half}
  %number{half} = sitofp <16 x i32> %product{half} to <16 x float>
  %part{half} = fmul <16 x float> %number{half}, %steps{half}"""
        for half in range(2)
    )
    least = np.iinfo(np.int32).min
    code = f"""
declare i64 @llvm.umin.i64(i64, i64)
declare <16 x i32> @llvm.smax.v16i32(<16 x i32>, <16 x i32>)

declare float @llvm.vector.reduce.fadd.v16f32(float, <16 x float>)

define void @byte_maxsim(ptr %codes, ptr %begins, ptr %lengths, i64 %documents, ptr %queries, i64 %groups,
    ptr %shifts, ptr %steps, ptr %maxima, ptr %sums) "min-legal-vector-width"="512" {{
entry:
  %rows = alloca [{_ROWS * dim} x i8], align 64
  %any = icmp ugt i64 %documents, 0
  br i1 %any, label %document, label %end

document:
  %d = phi i64 [ 0, %entry ], [ %d.next, %document.end ]
  %begin.at = getelementptr i64, ptr %begins, i64 %d
  %begin = load i64, ptr %begin.at
  %length.at = getelementptr i64, ptr %lengths, i64 %d
  %length = load i64, ptr %length.at
  %last = sub i64 %length, 1
  %document_offset = mul i64 %begin, {dim}
  %document_codes = getelementptr i8, ptr %codes, i64 %document_offset
  br label %block

block:
  %row = phi i64 [ 0, %document ], [ %row.next, %block.end ]
{copies}
  br label %group

group:
  %p = phi i64 [ 0, %block ], [ %p.next, %group.end ]
  %query_offset = mul i64 %p, {dim * _COLUMNS}
  %group_query = getelementptr i8, ptr %queries, i64 %query_offset
  br label %step

step:
  %k = phi i64 [ 0, %group ], [ %k.next, %step ]
{sums}
  %k128 = mul i64 %k, 128
  %query0.at = getelementptr i8, ptr %group_query, i64 %k128
  %query0 = load <16 x i32>, ptr %query0.at, align 4
  %query1.at = getelementptr i8, ptr %query0.at, i64 64
  %query1 = load <16 x i32>, ptr %query1.at, align 4
  %k4 = mul i64 %k, 4
  %fours = getelementptr i8, ptr %rows, i64 %k4
{products}
{loop_end("k", str(dim // 4), "step", "group.end")}

group.end:
  %place = mul i64 %p, 128
  %old0.at = getelementptr i8, ptr %maxima, i64 %place
  %old1.at = getelementptr i8, ptr %old0.at, i64 64
  %before0 = load <16 x i32>, ptr %old0.at, align 4
  %before1 = load <16 x i32>, ptr %old1.at, align 4
  %new_document = icmp eq i64 %row, 0
  %old0 = select i1 %new_document, <16 x i32> splat (i32 {least}), <16 x i32> %before0
  %old1 = select i1 %new_document, <16 x i32> splat (i32 {least}), <16 x i32> %before1
{maxima}
  store <16 x i32> %max{_ROWS - 1}.0, ptr %old0.at, align 4
  store <16 x i32> %max{_ROWS - 1}.1, ptr %old1.at, align 4
{loop_end("p", "%groups", "group", "block.end")}

block.end:
{loop_end("row", "%length", "block", "sum", by=_ROWS)}

sum:
  %s = phi i64 [ 0, %block.end ], [ %s.next, %sum ]
  %s128 = mul i64 %s, 128
{parts}
  %both = fadd <16 x float> %part0, %part1
  %sum.value = call reassoc float @llvm.vector.reduce.fadd.v16f32(float 0.0, <16 x float> %both)
  %sums.document = mul i64 %d, %groups
  %sums.place = add i64 %sums.document, %s
  %sum.at = getelementptr float, ptr %sums, i64 %sums.place
  store float %sum.value, ptr %sum.at
{loop_end("s", "%groups", "sum", "document.end")}

document.end:
{loop_end("d", "%documents", "document", "end")}

end:
  ret void
}}
"""
    return compile_kernel(code, "byte_maxsim", 10)
