"""Learned sparse encoders (SPLADE): a weight for each of a few hundred vocabulary terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from korag.encoders.base import Encoder, as_float32
from korag.encoders.models import load_single_vector
from korag.specs import Family

_POOLING_TOKENS = 64
"""Tokens of a sequence pooled at a time, so that pooling's copy of the logits stays small."""


class SparseEncoder(Encoder[sp.csr_array]):
    """Term weights over the model's vocabulary: max over tokens of log(1 + relu(logit)), as in SPLADE-max
    (https://arxiv.org/abs/2109.10086, equation 6). Compared by dot product.

    ``encode_*`` return a float32 `scipy.sparse.csr_array` with sorted indices. Shape: (n_texts, vocab).

    A batch's logits are (tokens × vocab) float32, so batches are made by tokens: peak memory beyond the
    weights is about ``tokens × vocab × 4 bytes × (1 + 64 / longest row)`` plus the backbone's own, where
    ``tokens`` is the larger of ``batch_tokens`` (2,048 by default) and the longest single text. With a
    vocabulary of 50,000 that is 0.4 GB at the default, and 1.6 GB for one text of 8,192 tokens.
    """

    family: ClassVar[Family] = "sparse"
    default_batch_tokens: ClassVar[int] = 2_048

    def _load(self, folder: Path) -> Any:
        model = load_single_vector(
            self._checkpoint, folder, prompts={**self._prompts}, max_length=self._max_length, options=self._options
        )
        model.splade_pooling_chunk_size = _POOLING_TOKENS
        return model

    def _rows(self, features: dict[str, Any]) -> list[sp.csr_array]:
        matrix = sp.csr_array(as_float32(features["sentence_embedding"]))
        return [matrix[[row]] for row in range(matrix.shape[0])]

    def _collate(self, rows: list[sp.csr_array]) -> sp.csr_array:
        if not rows:
            return sp.csr_array((0, self.dim), dtype=np.float32)
        return sp.csr_array(sp.vstack(rows, format="csr"))
