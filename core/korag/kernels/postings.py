"""Accumulates the postings of a query's terms in place, without copying them first."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.kernels.compiler import Kernel, compile_kernel, loop_end, processor_features


def can_add() -> bool:
    """Returns True if kernels can be compiled."""
    return bool(processor_features())


def add_postings(
    weights: NDArray[np.float32],
    rows: NDArray[np.int32],
    starts: NDArray[np.integer[Any]],
    ends: NDArray[np.integer[Any]],
    factors: NDArray[np.float32],
    scores: NDArray[np.float32],
) -> None:
    """Adds each term's weights, multiplied by the term's factor, to the scores of their rows.

    Args:
        weights: Weights of all postings. Shape: (postings,).
        rows: Rows of all postings; rows outside `scores` are ignored. Shape: (postings,).
        starts: First posting of each term. Shape: (terms,).
        ends: End of each term's postings, exclusive. Shape: (terms,).
        factors: Factor of each term. Shape: (terms,).
        scores: Updated in place, term by term. Shape: (n,).

    Raises:
        ValueError: If an array has the wrong type, or postings are out of range.
    """
    starts, ends, factors = starts.astype(np.int64), ends.astype(np.int64), factors.astype(np.float32)
    arrays, types = (weights, rows, scores), (np.float32, np.int32, np.float32)
    if not all(a.flags.c_contiguous and a.dtype == dtype for a, dtype in zip(arrays, types, strict=True)):
        raise ValueError("add_postings takes contiguous arrays of its types")
    if not scores.flags.writeable or not starts.shape == ends.shape == factors.shape == (len(factors),):
        raise ValueError("add_postings takes a start, an end and a factor for each term, and scores to write to")
    if ((starts < 0) | (ends < starts) | (ends > min(len(weights), len(rows)))).any():
        raise ValueError("postings are out of range")
    _kernel()(
        weights.ctypes.data, rows.ctypes.data, starts.ctypes.data, ends.ctypes.data, factors.ctypes.data,
        len(factors), scores.ctypes.data, len(scores),
    )  # fmt: skip


@cache
def _kernel() -> Kernel:
    code = f"""
define void @add_postings(ptr %weights, ptr %rows, ptr %starts, ptr %ends, ptr %factors, i64 %terms, ptr %scores,
    i64 %documents) {{
entry:
  %any = icmp ugt i64 %terms, 0
  br i1 %any, label %term, label %end

term:
  %t = phi i64 [ 0, %entry ], [ %t.next, %term.end ]
  %start.at = getelementptr i64, ptr %starts, i64 %t
  %start = load i64, ptr %start.at
  %end.at = getelementptr i64, ptr %ends, i64 %t
  %stop = load i64, ptr %end.at
  %factor.at = getelementptr float, ptr %factors, i64 %t
  %factor = load float, ptr %factor.at
  %filled = icmp ult i64 %start, %stop
  br i1 %filled, label %posting, label %term.end

posting:
  %p = phi i64 [ %start, %term ], [ %p.next, %posting.end ]
  %weight.at = getelementptr float, ptr %weights, i64 %p
  %weight = load float, ptr %weight.at, align 1
  %row.at = getelementptr i32, ptr %rows, i64 %p
  %row = load i32, ptr %row.at, align 1
  %index = zext i32 %row to i64
  %exists = icmp ult i64 %index, %documents
  br i1 %exists, label %add, label %posting.end

add:
  %score.at = getelementptr float, ptr %scores, i64 %index
  %old = load float, ptr %score.at
  %part = fmul float %weight, %factor
  %new = fadd float %old, %part
  store float %new, ptr %score.at
  br label %posting.end

posting.end:
{loop_end("p", "%stop", "posting", "term.end")}

term.end:
{loop_end("t", "%terms", "term", "end")}

end:
  ret void
}}
"""
    return compile_kernel(code, "add_postings", 8)
