"""Codes of dense vectors, which estimate scores from a quarter or a thirtieth of the bytes.

Int8 codes, ``codes × scale``, have a known rounding error, so their estimates have a bound. Signs, one bit a dimension,
are of what remains of a vector without the mean of its segment. Their estimates have no useful bound but, as in RaBitQ
(https://arxiv.org/abs/2405.12497), a spread.

A segment has these arrays:

- ``codes``, int8, shape (n, dim), and ``code_terms``, float32, shape (n, 3): the scale, the length of the rounding
  error, and that of codes × scale.
- ``signs``, uint64, shape (n, dim / 64, rounded up), and ``sign_terms``, float32, shape (n, 3): the factor of a product
  with the signs, the vector's product with the mean, and the spread of estimates; ``mean``, float32, shape (dim,).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from korag.kernels.vector_codes import code_estimates, sign_estimates
from korag.legs.arrays import verify, view
from korag.legs.base import Arrays, Scores
from korag.scoring import Ints

CODES = ("codes", "code_terms")
SIGNS = ("signs", "sign_terms", "mean")
GREATEST_CODE = 127
QUERY_BITS = 4
"""Of a query's numbers when they are compared with signs."""
_PIECE = 4_096
"""Rows encoded together, which bounds the memory that takes."""
_SCALE_BITS = 15
"""Digits of scales: so few that products with codes, and quotients of these, are exact and encode to the same."""
_SPARSE = 64
"""One row of so many: a file's blocks hold more, so that more rows than that are in all blocks."""
_ROUNDING = 2.0**-23
Floats32 = NDArray[np.float32]


@dataclass(frozen=True)
class CodedQuery:
    """A query as estimates need it.

    Attributes:
        vector: Shape: (dim,).
        codes: codes × step is nearly the vector. Shape: (dim,).
        step: See `codes`.
        length: Of the vector; an upper bound.
        error: Length of the difference between vector and codes × step; an upper bound.
    """

    vector: Floats32
    codes: NDArray[np.int16]
    step: float
    length: float
    error: float

    @classmethod
    def of(cls, vector: Floats32) -> Self:
        """Its codes are as great as sums in int32 allow."""
        greatest = min(2**15 - 1, (2**31 - 1) // (GREATEST_CODE * max(len(vector), 1)))
        exact = vector.astype(np.float64)
        step = max(float(np.abs(exact).max(initial=0)) / greatest, 1e-30)
        codes = np.rint(exact / step)
        length, error = (float(np.linalg.norm(rows)) * (1 + 1e-9) for rows in (exact, exact - codes * step))
        return cls(vector, codes.astype(np.int16), step, length, error)


def quantize(vectors: Floats32) -> dict[str, NDArray[Any]]:
    """Returns ``codes`` and ``code_terms``.

    Args:
        vectors: Finite. Shape: (n, dim).
    """
    codes = np.empty(vectors.shape, np.int8)
    terms = np.empty((len(vectors), 3), np.float32)
    for first in range(0, len(vectors), _PIECE):
        part = slice(first, first + _PIECE)
        piece = vectors[part]
        scales = _scales(np.abs(piece).max(axis=1, initial=0))
        codes[part] = np.rint(piece / scales[:, None])
        rounded = codes[part] * scales[:, None]
        terms[part, 0] = scales
        terms[part, 1] = _lengths(piece - rounded)
        terms[part, 2] = _lengths(rounded)
    return {"codes": codes, "code_terms": terms}


def _scales(greatest: Floats32) -> Floats32:
    """Of codes up to 127; never too small, so that all numbers are normal ones. Shape: (n,)."""
    digits, exponents = np.frexp(np.maximum(greatest / np.float32(GREATEST_CODE), np.float32(2.0**-100)))
    scales: Floats32 = np.ldexp(np.ceil(digits * 2.0**_SCALE_BITS), exponents - _SCALE_BITS).astype(np.float32)
    return scales


def _lengths(rows: NDArray[Any]) -> Floats32:
    """Upper bounds of the lengths of rows. Shape: (n,)."""
    exact = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    lengths: Floats32 = np.nextafter((exact * (1 + 1e-12)).astype(np.float32), np.float32(np.inf))
    return lengths


def dequantize(arrays: Arrays, rows: Ints) -> Floats32:
    """Codes × scale of some rows. Shape: (len(rows), dim)."""
    codes, terms = rows_of(arrays, "codes", rows), rows_of(arrays, "code_terms", rows)
    vectors: Floats32 = codes * terms[:, :1]
    return vectors


def take_signs(vectors: Floats32) -> dict[str, NDArray[Any]]:
    """Returns ``signs``, ``sign_terms`` and ``mean``.

    Args:
        vectors: Finite, at least one. Shape: (n, dim).
    """
    count, dim = vectors.shape
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    signs = np.empty((count, -(-dim // 64)), np.uint64)
    terms = np.empty((count, 3), np.float32)
    for first in range(0, count, _PIECE):
        part = slice(first, first + _PIECE)
        own = vectors[part] - mean
        signs[part] = pack_bits(own > 0)
        sizes = np.abs(own).sum(axis=1, dtype=np.float64)
        squares = np.einsum("ij,ij->i", own, own, dtype=np.float64)
        # The signs × factor are as long in the direction of the vector as it is itself.
        terms[part, 0] = np.divide(squares, sizes, out=np.zeros_like(sizes), where=sizes > 0)
        terms[part, 1] = own @ mean
        # What is at right angles to it, of which a query's product takes 1 / √(dim − 1) at random.
        across = np.maximum(terms[part, 0].astype(np.float64) ** 2 * dim - squares, 0)
        terms[part, 2] = np.sqrt(across / max(dim - 1, 1))
    return {"signs": signs, "sign_terms": terms, "mean": mean}


def pack_bits(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """A bit for each number, in words of 64; the last one is filled up with zeros. Shape: (n, words)."""
    packed = np.packbits(bits, axis=1, bitorder="little")
    padded = np.zeros((len(bits), -(-bits.shape[1] // 64) * 8), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view("<u8").astype(np.uint64, copy=False)


def code_forms(rows: int, dim: int | None) -> dict[str, tuple[Any, ...]]:
    """The type and shape of each array, as `korag.legs.arrays.check_form` takes them."""
    return {
        "codes": (np.int8, rows, dim),
        "code_terms": (np.float32, rows, 3),
        "signs": (np.uint64, rows, None if dim is None else -(-dim // 64)),
        "sign_terms": (np.float32, rows, 3),
        "mean": (np.float32, dim),
    }


def _verified(arrays: Arrays, name: str, rows: Ints) -> NDArray[Any]:
    """The array, some rows of which may be read; if they are many, all of it, so that none is looked up again."""
    array = view(arrays, name)
    if len(rows) * _SPARSE >= len(array):
        return arrays[name]
    verify(arrays, name, rows, rows + 1)
    return array


def rows_of(arrays: Arrays, name: str, rows: Ints) -> NDArray[Any]:
    """Some rows of an array, verified; all of them are not copied."""
    array = _verified(arrays, name, rows)
    return array if len(rows) == len(array) else array[rows]


def estimates(arrays: Arrays, query: CodedQuery, rows: Ints) -> tuple[Scores, Scores]:
    """Scores by the int8 codes, and how far the real ones can be from them. Shapes: (len(rows),)."""
    rounding = (len(query.vector) + 8) * _ROUNDING  # in float32, of the real score and here
    # |q · d − q̂ · d̂| ≤ |q| |d − d̂| + |q − q̂| |d̂|
    factors = (query.length * (1 + rounding), query.error + query.length * rounding)
    codes, terms = (_verified(arrays, name, rows) for name in CODES)
    return code_estimates(codes, terms, query.codes, rows, step=query.step, factors=factors)


def rough_estimates(arrays: Arrays, query: CodedQuery, rows: Ints) -> tuple[Scores, Scores]:
    """Scores by the signs, and the spread of their errors. Shapes: (len(rows),)."""
    mean = arrays["mean"]
    own = query.vector - mean
    greatest = 2 ** (QUERY_BITS - 1) - 1
    step = max(float(np.abs(own).max(initial=0)) / greatest, 1e-30)
    numbers = np.rint(own / step).astype(np.int64)
    planes = pack_bits((numbers >> np.arange(QUERY_BITS)[:, None] & 1).astype(np.bool_))
    factors = (float(query.vector @ mean), float(np.linalg.norm(own)))
    signs, terms = (_verified(arrays, name, rows) for name in SIGNS[:2])
    return sign_estimates(signs, terms, planes, rows, step=step, total=int(numbers.sum()), factors=factors)
