"""Learned sparse vectors (SPLADE), searched through postings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.explanations import LegExplanation
from korag.kernels.postings import add_weights
from korag.legs.arrays import (
    check_form,
    check_names,
    check_rows,
    check_starts,
    is_finite,
    require,
    row_type,
    verify,
    view,
)
from korag.legs.base import Arrays, Codec, EncoderLeg, Scores, SegmentSlice, score_all
from korag.legs.explaining import explain_terms
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
    and the ``shape``. Version 1 had at least four bytes for rows.
    """

    name = "postings"
    version = 2

    def encode(self, vectors: sp.csr_array) -> dict[str, NDArray[Any]]:
        """Stores columns."""
        columns = vectors.tocsc()
        columns.sum_duplicates()  # and sorts
        integers = np.int32 if columns.nnz <= np.iinfo(np.int32).max else np.int64
        return {
            "weights": columns.data.astype(np.float32),
            "rows": columns.indices.astype(row_type(columns.shape[0])),
            "terms": columns.indptr.astype(integers),
            "shape": np.array(columns.shape, np.int64),
        }

    def read(self, arrays: Arrays, version: int) -> Arrays:
        """As `Codec.read`; arrays of version 1 are right in version 2, too."""
        return arrays if version == 1 else super().read(arrays, version)

    def decode(self, arrays: Arrays, rows: Ints) -> sp.csr_array:
        """Shape: (len(rows), vocab)."""
        starts = arrays["terms"]
        parts = (arrays["weights"], arrays["rows"].astype(starts.dtype, copy=False), starts)
        return sp.csc_array(parts, shape=tuple(arrays["shape"].tolist()), copy=False).tocsr()[rows]

    def scores(self, arrays: Arrays, query: sp.csr_array, rows: Ints) -> Scores:
        """As `SparseCodec.scores`, from the postings of the query's terms."""
        terms, postings = arrays["terms"], len(view(arrays, "rows"))
        starts = np.clip(terms[query.indices].astype(np.int64), 0, postings)
        ends = np.clip(terms[query.indices + 1].astype(np.int64), 0, postings)
        for name in ("rows", "weights"):
            verify(arrays, name, starts, ends)
        scores = np.zeros(int(arrays["shape"][0]), np.float32)
        factors = query.data.astype(np.float32)
        add_weights(view(arrays, "weights"), view(arrays, "rows"), starts, ends, factors, rows, scores)
        if len(rows) < len(scores):
            scores = scores[rows]
        np.copyto(scores, -np.inf, where=scores <= 0)  # five times as fast as scores[…] = …
        return scores

    def check_layout(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check_layout`; reads the shape alone."""
        check_names(arrays, ("weights", "rows", "terms", "shape"))
        check_form(arrays, "shape", np.int64, 2)
        columns, postings = int(arrays["shape"][1]), len(view(arrays, "weights"))
        require(int(arrays["shape"][0]) == rows and columns == (columns if dim is None else dim), "shape: of others")
        check_form(arrays, "weights", np.float32, postings)
        check_form(arrays, "rows", (np.uint16, np.int32, np.int64), postings)
        check_form(arrays, "terms", (np.int32, np.int64), columns + 1)

    def check(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check`."""
        self.check_layout(arrays, rows, dim=dim)
        require(is_finite(arrays["weights"]), "weights: not finite")
        check_starts("terms", arrays["terms"], len(arrays["weights"]))
        check_rows("rows", arrays["rows"], arrays["terms"], rows)


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
        return score_all(self.codec.scores, queries, slices, threads=True)

    def score(self, query: sp.csr_array, vectors: sp.csr_array) -> Scores:
        """Dot products."""
        return np.asarray((vectors @ query.T).toarray()[:, 0], np.float32)

    def explain(self, asked: str, query: Any, document: str, vectors: Any) -> LegExplanation:
        """As `Leg.explain`, by term."""
        return explain_terms(self.encoder, asked, query, document, vectors)

    def max_score(self, query: sp.csr_array) -> float:
        """The query with itself."""
        return float(query.data @ query.data)

    def similarities(self, vectors: sp.csr_array) -> Scores:
        """Cosines."""
        return sparse_cosines(vectors)
