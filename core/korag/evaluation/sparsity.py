"""How sparse a learned sparse model is: active dimensions and FLOPS, counted while it is evaluated."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


class SparsityCounter:
    """Counts which terms documents and queries activate.

    Args:
        vocabulary: Number of terms.
    """

    def __init__(self, vocabulary: int) -> None:
        self._active = {side: np.zeros(vocabulary, np.int64) for side in ("documents", "queries")}
        self._texts = {"documents": 0, "queries": 0}

    def add_documents(self, vectors: sp.csr_array) -> None:
        """Counts a batch of documents. Shape: (n, vocabulary)."""
        self._add("documents", vectors)

    def add_query(self, vector: sp.csr_array) -> None:
        """Counts one query. Shape: (1, vocabulary)."""
        self._add("queries", vector)

    def _add(self, side: str, vectors: sp.csr_array) -> None:
        terms = vectors.indices[vectors.data > 0]
        self._active[side] += np.bincount(terms, minlength=len(self._active[side]))
        self._texts[side] += int(vectors.shape[0])

    def facts(self) -> dict[str, float]:
        """Returns the mean active dimensions of both sides, and FLOPS.

        FLOPS is the number of products that scoring a query and a document takes on average,
        ``Σ_j p_j(query) · p_j(document)`` with p_j the share of texts that activate term j (SPLADE,
        https://arxiv.org/abs/2107.05720, section 4; Paria et al. 2020, https://arxiv.org/abs/2004.05665).
        """
        shares = {side: active / max(1, self._texts[side]) for side, active in self._active.items()}
        return {
            "query_active_dims": float(shares["queries"].sum()),
            "corpus_active_dims": float(shares["documents"].sum()),
            "flops": float(shares["queries"] @ shares["documents"]),
        }
