"""Sparsity of learned sparse models: active dimensions and FLOPS, counted during an evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from korag.checkpoints.fingerprint import Fingerprint
from korag.checkpoints.presets import Family
from korag.encoders.base import Encoder


class SparsityCounter:
    """Counts the terms that documents and queries activate.

    Args:
        vocabulary: Number of terms.
    """

    def __init__(self, vocabulary: int) -> None:
        self._active = {side: np.zeros(vocabulary, np.int64) for side in ("documents", "queries")}
        self._texts = {"documents": 0, "queries": 0}

    def add_documents(self, vectors: sp.csr_array) -> None:
        """Counts documents. Shape: (n, vocabulary)."""
        self._add("documents", vectors)

    def add_queries(self, vectors: sp.csr_array) -> None:
        """Counts queries. Shape: (n, vocabulary)."""
        self._add("queries", vectors)

    def _add(self, side: str, vectors: sp.csr_array) -> None:
        terms = vectors.indices[vectors.data > 0]
        self._active[side] += np.bincount(terms, minlength=len(self._active[side]))
        self._texts[side] += int(vectors.shape[0])

    def facts(self) -> dict[str, float]:
        """Returns the mean active dimensions of queries and documents, and FLOPS.

        FLOPS is the expected number of multiplications per query–document score,
        ``Σ_j p_j(query) · p_j(document)`` with p_j the fraction of texts that activate term j (SPLADE,
        https://arxiv.org/abs/2107.05720, section 4; Paria et al. 2020, https://arxiv.org/abs/2004.05665).
        """
        fractions = {side: active / max(1, self._texts[side]) for side, active in self._active.items()}
        return {
            "query_active_dims": float(fractions["queries"].sum()),
            "corpus_active_dims": float(fractions["documents"].sum()),
            "flops": float(fractions["queries"] @ fractions["documents"]),
        }


class CountingEncoder(Encoder[sp.csr_array]):
    """A sparse encoder that counts the terms of everything it encodes.

    Args:
        encoder: The encoder; its vectors are passed through unchanged.
    """

    family: ClassVar[Family] = "sparse"

    def __init__(self, encoder: Encoder[sp.csr_array]) -> None:
        self._encoder = encoder
        self._counter = SparsityCounter(encoder.dim)

    @property
    def model_name(self) -> str:
        """The encoder's."""
        return self._encoder.model_name

    @property
    def dim(self) -> int:
        """The encoder's."""
        return self._encoder.dim

    @property
    def similarity(self) -> str:
        """The encoder's."""
        return self._encoder.similarity

    @property
    def fingerprint(self) -> Fingerprint:
        """The encoder's."""
        return self._encoder.fingerprint

    @property
    def load_arguments(self) -> dict[str, Any]:
        """The encoder's."""
        return self._encoder.load_arguments

    def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = False) -> sp.csr_array:
        """Encodes and counts queries. Shape: (n_texts, dim)."""
        vectors = self._encoder.encode_queries(texts, show_progress=show_progress)
        self._counter.add_queries(vectors)
        return vectors

    def encode_documents(self, texts: Iterable[str], *, show_progress: bool | None = None) -> sp.csr_array:
        """Encodes and counts documents. Shape: (n_texts, dim)."""
        vectors = self._encoder.encode_documents(texts, show_progress=show_progress)
        self._counter.add_documents(vectors)
        return vectors

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """As the encoder does."""
        return self._encoder.count_tokens(texts)

    def facts(self) -> dict[str, float]:
        """As `SparsityCounter.facts`."""
        return self._counter.facts()
