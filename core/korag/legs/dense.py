"""Dense vectors: one per text, compared by cosine or dot product."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError
from korag.legs.arrays import check_array, check_names
from korag.legs.base import Arrays, Codec, EncoderLeg, Scores, SegmentSlice, score_all
from korag.legs.vectors import GREATEST_FACTOR, check_magnitudes, check_shape
from korag.scoring import Ints, dot_rows, unit_rows


class DenseCodec(Codec):
    """Base of codecs for the dense leg, whose vectors are float32 arrays. Shape: (n, dim)."""

    def scores(self, arrays: Arrays, query: NDArray[np.float32], rows: Ints) -> Scores:
        """Dot products of some rows with a query of shape (dim,)."""
        return dot_rows(query, self.decode(arrays, rows))


class Float32Codec(DenseCodec):
    """Vectors as they are, in ``vectors``."""

    name = "float32"

    def encode(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Stores rows."""
        return {"vectors": vectors}

    def decode(self, arrays: Arrays, rows: Ints) -> NDArray[np.float32]:
        """Shape: (len(rows), dim)."""
        vectors: NDArray[np.float32] = arrays["vectors"]
        return vectors if len(rows) == len(vectors) else vectors[rows]  # all rows are not copied

    def check(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check`."""
        check_names(arrays, ("vectors",))
        check_array(arrays, "vectors", np.float32, rows, dim)


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
                f"질의 벡터{korean}. 유한한 수 {self.encoder.dim}개여야 합니다. 같은 모델"
                f"('{self.encoder.model_name}')로 질의를 인코딩하세요.",
                f"The query vector {english}; it must be {self.encoder.dim} finite numbers of "
                f"'{self.encoder.model_name}'. Encode the query with the same model.",
            )
        if self._cosine and not given.any():
            raise InvalidArgumentError(
                "질의 벡터의 수가 모두 0입니다. 코사인에는 방향이 있어야 합니다. 질의를 같은 모델로 인코딩했는지 "
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
        """Scores every document."""
        return score_all(self.codec.scores, queries, slices, threads=True)

    def max_score(self, query: NDArray[np.float32]) -> float:
        """The query with itself: 1 for cosine."""
        return float(query @ query)

    def similarities(self, vectors: NDArray[np.float32]) -> Scores:
        """Cosines."""
        rows = unit_rows(vectors)
        cosines: Scores = rows @ rows.T
        return cosines
