"""Learned sparse vectors (SPLADE), searched through postings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.kernels import postings
from korag.legs.arrays import check_array, check_names, check_rows, check_starts, require
from korag.legs.base import Arrays, Codec, EncoderLeg, Scores, SegmentSlice, score_all
from korag.legs.vectors import GREATEST_FACTOR, check_magnitudes, check_shape
from korag.scoring import Ints, sparse_cosines, sparse_dot


class SparseCodec(Codec):
    """Base of codecs for the sparse leg, whose vectors are float32 rows of a CSR array. Shape: (n, vocab)."""

    def scores(self, arrays: Arrays, query: sp.csr_array, rows: Ints) -> Scores:
        """Dot products of some rows with a query of shape (1, vocab); −inf for those that share no term."""
        scores = sparse_dot(query, self.decode(arrays, rows).tocsc())
        scores[scores <= 0] = -np.inf
        return scores


class PostingsCodec(SparseCodec):
    """Compressed columns, so that a search reads the query's terms only.

    ``weights`` and ``rows`` of all postings, term by term; ``terms``, where each term's postings start, and the end;
    and the ``shape``.
    """

    name = "postings"

    def encode(self, vectors: sp.csr_array) -> dict[str, NDArray[Any]]:
        """Stores columns."""
        columns = vectors.tocsc()
        columns.sum_duplicates()  # and sorts
        # One type for both: scipy would otherwise copy the rows to the wider one in every search.
        integers = np.int32 if columns.nnz <= np.iinfo(np.int32).max else np.int64
        return {
            "weights": columns.data.astype(np.float32),
            "rows": columns.indices.astype(integers),
            "terms": columns.indptr.astype(integers),
            "shape": np.array(columns.shape, np.int64),
        }

    def decode(self, arrays: Arrays, rows: Ints) -> sp.csr_array:
        """Shape: (len(rows), vocab)."""
        return self.columns(arrays).tocsr()[rows]

    def scores(self, arrays: Arrays, query: sp.csr_array, rows: Ints) -> Scores:
        """As `SparseCodec.scores`, by a kernel if there is one."""
        if postings.can_add() and arrays["rows"].dtype == np.int32:
            starts, ends = arrays["terms"][query.indices], arrays["terms"][query.indices + 1]
            scores = np.zeros(int(arrays["shape"][0]), np.float32)
            postings.add_postings(arrays["weights"], arrays["rows"], starts, ends, query.data, scores)
        else:
            scores = sparse_dot(query, self.columns(arrays))
        if len(rows) < len(scores):
            scores = scores[rows]
        np.copyto(scores, -np.inf, where=scores <= 0)  # five times as fast as scores[…] = …
        return scores

    def check(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check`."""
        check_names(arrays, ("weights", "rows", "terms", "shape"))
        check_array(arrays, "shape", np.int64, 2)
        columns, postings = int(arrays["shape"][1]), len(arrays["weights"])
        require(int(arrays["shape"][0]) == rows and columns == (columns if dim is None else dim), "shape: of others")
        check_array(arrays, "weights", np.float32, postings)
        check_array(arrays, "rows", (np.int32, np.int64), postings)
        check_array(arrays, "terms", (np.int32, np.int64), columns + 1)
        check_starts("terms", arrays["terms"], postings)
        check_rows("rows", arrays["rows"], arrays["terms"], rows)

    @staticmethod
    def columns(arrays: Arrays) -> sp.csc_array:
        """The arrays as a matrix, which shares their memory."""
        parts = (arrays["weights"], arrays["rows"], arrays["terms"])
        return sp.csc_array(parts, shape=tuple(arrays["shape"].tolist()), copy=False)


class SparseLeg(EncoderLeg):
    """Term weights, compared by dot product. Shape: (n, vocab)."""

    codec: SparseCodec

    def _checked(self, vectors: sp.csr_array, count: int) -> sp.csr_array:
        check_shape(self.encoder, vectors.shape, (count, self.encoder.dim))
        check_magnitudes(self.encoder, vectors.data, greatest=GREATEST_FACTOR)
        return vectors

    def concat(self, parts: Sequence[sp.csr_array]) -> sp.csr_array:
        """Shape: (sum of rows, vocab)."""
        return sp.csr_array(sp.vstack(parts, format="csr"))

    def search(
        self, queries: Sequence[Any], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        """Scores every document."""
        return score_all(self.codec.scores, queries, slices)

    def max_score(self, query: sp.csr_array) -> float:
        """The query with itself."""
        return float(query.data @ query.data)

    def similarities(self, vectors: sp.csr_array) -> Scores:
        """Cosines."""
        return sparse_cosines(vectors)
