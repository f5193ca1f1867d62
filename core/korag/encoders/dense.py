"""Dense encoders: one vector per text."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from korag.checkpoints.presets import Family
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.sentence_transformers import load_single_vector
from korag.encoders.tensors import as_float32

_SHORTEST = 1e-12
"""Length below which a vector is not scaled further, as in torch."""


class DenseEncoder(PretrainedEncoder[NDArray[np.float32]]):
    """One vector per text: sentence-transformers models, and PEFT adapters on them.

    ``encode_*`` return float32 arrays. Shape: (n_texts, dim). Rows have unit length if the model
    normalizes (`fingerprint.normalized`). With a smaller `dim` than the model's, they are its first `dim` numbers,
    scaled to unit length again; Matryoshka models (https://arxiv.org/abs/2205.13147) are trained for it.
    """

    family: ClassVar[Family] = "dense"

    def _load(self, folder: Path) -> Any:
        return load_single_vector(
            self._checkpoint,
            folder,
            max_length=self._max_length,
            query_length=self._query_length,
            options=self._options,
            pooling=self._pooling,
        )

    def _find_mismatch(self, model: Any) -> str | None:
        made, saved = model.get_embedding_dimension(), max(self._checkpoint.dims)
        cut = min(saved, model.truncate_dim or saved)  # the library's number is that of its own `encode`
        return None if made in (None, cut) else f"its settings say {saved} dimensions, its weights {made}"

    def _load_settings(self) -> Hashable:
        pooling = self._pooling or self._checkpoint.bare_pooling
        return pooling, self._max_length, self.query_length  # vectors are cut to `dim` afterwards

    def _to_rows(self, features: dict[str, Any]) -> list[NDArray[np.float32]]:
        vectors = as_float32(features["sentence_embedding"])
        if self.dim < vectors.shape[1]:
            vectors = vectors[:, : self.dim].copy()  # a view would keep all numbers in memory
            if self._checkpoint.normalizes(self.dim):
                vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SHORTEST)
        return list(vectors)

    def _collate(self, rows: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)
