"""Dense vectors: one per text, compared by cosine or dot product."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError
from korag.explanations import LegExplanation
from korag.legs import dense_search
from korag.legs.arrays import check_array, check_form, check_names, view
from korag.legs.base import Arrays, Codec, EncoderLeg, Scores, SegmentSlice, score_all
from korag.legs.dense_codes import CODES, SIGNS, code_forms, dequantize, quantize, rows_of, take_signs
from korag.legs.vectors import GREATEST_FACTOR, check_magnitudes, check_shape
from korag.scoring import Ints, dot_rows, unit_rows

CODES_FROM = 1_024
"""Documents from which a segment has codes. A smaller one is scored as fast without."""
_PIECE = 256
_WHOLE = "벡터 하나로 글 전체를 비교하니 내역이 없습니다 / one vector stands for the whole text, so there are no parts"


class DenseCodec(Codec):
    """Base of codecs for the dense leg, whose vectors are float32 arrays. Shape: (n, dim)."""

    def scores(self, arrays: Arrays, query: NDArray[np.float32], rows: Ints) -> Scores:
        """Dot products of some rows with a query of shape (dim,)."""
        return dot_rows(query, self.decode(arrays, rows))

    def search(
        self, queries: Sequence[NDArray[np.float32]], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        """`korag.legs.base.Leg.search` for queries of shape (dim,) each."""
        return score_all(self.scores, queries, slices, threads=True)


class _CodedCodec(DenseCodec):
    """Base of codecs whose segments of many documents have the arrays of `korag.legs.dense_codes`."""

    _always: ClassVar[tuple[str, ...]]
    """Arrays of small segments, too; the first has a row of the vectors' dimension for each document."""

    def search(
        self, queries: Sequence[NDArray[np.float32]], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        """Scores only what can be among the k best."""
        return dense_search.search(self.scores, queries, slices, k, exact=exact)

    def check(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check`."""
        self._check(arrays, rows, dim, check_array)

    def check_layout(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check_layout`: no array holds indices, so searching survives whatever they hold."""
        self._check(arrays, rows, dim, check_form)

    def _check(self, arrays: Arrays, rows: int, dim: int | None, check: Callable[..., None]) -> None:
        names = (*self._always, *CODES, *SIGNS) if "signs" in arrays else self._always
        check_names(arrays, names)
        vectors = view(arrays, names[0])
        size = dim if dim is not None or vectors.ndim != 2 else vectors.shape[1]
        forms = {"vectors": (np.float32, rows, size), **code_forms(rows, size)}
        for name in dict.fromkeys(names):
            check(arrays, name, *forms[name])


class Float32Codec(_CodedCodec):
    """Vectors as they are, in ``vectors``; large segments also have codes, which find the best."""

    name = "float32"
    version = 2  # 1 has no codes
    _always = ("vectors",)

    def encode(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Stores rows, and codes of them if there are many."""
        if len(vectors) < CODES_FROM:
            return {"vectors": vectors}
        return {"vectors": vectors, **quantize(vectors), **take_signs(vectors)}

    def decode(self, arrays: Arrays, rows: Ints) -> NDArray[np.float32]:
        """Shape: (len(rows), dim)."""
        return rows_of(arrays, "vectors", rows)

    def read(self, arrays: Arrays, version: int) -> Arrays:
        """Version 1 is a segment without codes."""
        return arrays if version == 1 else super().read(arrays, version)


class Int8Codec(_CodedCodec):
    """Vectors rounded to int8, a quarter of the bytes; scores are those of the rounded vectors."""

    name = "int8"
    _always = CODES

    def encode(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Rounds rows; those that are rounded already stay as they are."""
        codes = quantize(vectors)
        if len(vectors) < CODES_FROM:
            return codes
        return {**codes, **take_signs(dequantize(codes, np.arange(len(vectors))))}

    def decode(self, arrays: Arrays, rows: Ints) -> NDArray[np.float32]:
        """Shape: (len(rows), dim)."""
        return dequantize(arrays, rows)

    def scores(self, arrays: Arrays, query: NDArray[np.float32], rows: Ints) -> Scores:
        """As `DenseCodec.scores`; decodes some rows at a time, which stay in the cache."""
        found = np.empty(len(rows), np.float32)
        for first in range(0, len(rows), _PIECE):
            piece = slice(first, first + _PIECE)
            found[piece] = super().scores(arrays, query, rows[piece])
        return found


class DenseLeg(EncoderLeg):
    """Vectors in float32, scaled to unit length if they are compared by cosine. Shape: (n, dim)."""

    takes_vectors = True
    codec: DenseCodec

    def __init__(self, encoder: Encoder[Any], codec: DenseCodec) -> None:
        super().__init__(encoder, codec)
        self._cosine = encoder.similarity == "cosine"

    def encode_queries(self, texts: Sequence[str]) -> list[Any]:
        """A vector per query. Shape: (dim,)."""
        return list(self._checked(self.encoder.encode_queries(texts), len(texts)))

    def query_from_vector(self, vector: Sequence[float]) -> NDArray[np.float32]:
        """Returns a query vector as `encode_queries` does.

        Raises:
            InvalidArgumentError: If it is not a vector of this leg's dimension, not finite, or has no direction.
        """
        try:
            given = np.asarray(vector, np.float64)
        except (TypeError, ValueError, OverflowError):  # not numbers, so no shape would fit
            given = np.zeros(0)
        is_vector = given.shape == (self.encoder.dim,)
        if not is_vector or not np.isfinite(given).all():
            korean = "에 NaN이나 무한대가 있습니다" if is_vector else f"의 모양이 {given.shape}입니다"
            english = "holds NaN or infinity" if is_vector else f"has shape {given.shape}"
            raise InvalidArgumentError(
                f"질문 벡터{korean}. 유한한 수 {self.encoder.dim}개여야 합니다. 같은 모델"
                f"('{self.encoder.model_name}')로 질문을 인코딩하세요.",
                f"The query vector {english}; it must be {self.encoder.dim} finite numbers of "
                f"'{self.encoder.model_name}'. Encode the query with the same model.",
            )
        if self._cosine and not given.any():
            raise InvalidArgumentError(
                "질문 벡터의 수가 모두 0입니다. 코사인에는 방향이 있어야 합니다. 질문을 같은 모델로 인코딩했는지 "
                "확인하세요.",
                "The query vector is all zeros; a cosine needs a direction. Check that the query was encoded with the "
                "same model.",
            )
        query: NDArray[np.float32] = self._checked(given[None], 1)[0]
        return query

    def _checked(self, vectors: Any, count: int) -> NDArray[np.float32]:
        """Scaled here, once: scaling again when segments are merged would change the last bits."""
        rows = np.asarray(vectors)
        check_shape(self.encoder, rows.shape, (count, self.encoder.dim))
        check_magnitudes(self.encoder, rows, greatest=np.finfo(np.float64).max if self._cosine else GREATEST_FACTOR)
        return unit_rows(rows) if self._cosine else rows.astype(np.float32, copy=False)

    def concat(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Shape: (sum of rows, dim)."""
        return np.concatenate(parts)

    def search(
        self, queries: Sequence[Any], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        """As its codec searches."""
        return self.codec.search(queries, slices, k, exact=exact)

    def score(self, query: NDArray[np.float32], vectors: NDArray[np.float32]) -> Scores:
        """Dot products."""
        return dot_rows(query, vectors)

    def explain(self, asked: str, query: Any, document: str, vectors: Any) -> LegExplanation:
        """As `Leg.explain`: the score of one vector has no parts."""
        return LegExplanation("dense", float(self.score(query, vectors)[0]), note=_WHOLE)

    def max_score(self, query: NDArray[np.float32]) -> float:
        """The query with itself: 1 for cosine."""
        return float(query @ query)

    def similarities(self, vectors: NDArray[np.float32]) -> Scores:
        """Cosines."""
        rows = unit_rows(vectors)
        cosines: Scores = rows @ rows.T
        return cosines
