"""Learned sparse vectors (SPLADE), searched through postings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.kernels import postings
from korag.legs.base import Arrays, EncoderLeg
from korag.scoring import Ints, sparse_cosines, sparse_dot


class SparseLeg(EncoderLeg):
    """Term weights as postings (compressed columns), so that a search touches the query's terms only."""

    def pack(self, vectors: sp.csr_array) -> dict[str, NDArray[Any]]:
        """Stores columns. Shape before: (n, vocab)."""
        columns = vectors.tocsc()
        columns.sort_indices()
        # Of one type: scipy would otherwise copy the rows to the wider one at every search.
        integers = np.int32 if columns.nnz <= np.iinfo(np.int32).max else np.int64
        return {
            "weights": columns.data.astype(np.float32),
            "rows": columns.indices.astype(integers),
            "terms": columns.indptr.astype(integers),
            "shape": np.array(columns.shape, np.int64),
        }

    def unpack(self, arrays: Arrays, rows: Ints) -> sp.csr_array:
        """Shape: (len(rows), vocab)."""
        return self._postings(arrays).tocsr()[rows]

    def join(self, parts: Sequence[sp.csr_array]) -> sp.csr_array:
        """Shape: (sum of rows, vocab)."""
        return sp.csr_array(sp.vstack(parts, format="csr"))

    def scores(self, arrays: Arrays, query: sp.csr_array, rows: Ints) -> NDArray[np.float32]:
        """Dot products; documents that share no term do not match."""
        if postings.can_add() and arrays["rows"].dtype == np.int32:
            starts, ends = arrays["terms"][query.indices], arrays["terms"][query.indices + 1]
            scores = np.zeros(int(arrays["shape"][0]), np.float32)
            postings.add_postings(arrays["weights"], arrays["rows"], starts, ends, query.data, scores)
        else:
            scores = sparse_dot(query, self._postings(arrays))
        if len(rows) < len(scores):
            scores = scores[rows]
        np.copyto(scores, -np.inf, where=scores <= 0)  # five times as fast as scores[…] = …
        return scores

    def max_score(self, query: sp.csr_array) -> float:
        """The query with itself."""
        return float(query.data @ query.data)

    def similarities(self, vectors: sp.csr_array) -> NDArray[np.float32]:
        """Cosines."""
        return sparse_cosines(vectors)

    @staticmethod
    def _postings(arrays: Arrays) -> sp.csc_array:
        parts = (arrays["weights"], arrays["rows"], arrays["terms"])
        return sp.csc_array(parts, shape=tuple(arrays["shape"].tolist()), copy=False)
