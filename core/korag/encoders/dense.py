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
            query_length=self.query_length,
            options=self._options,
            pooling=self._pooling,
        )

    def _find_mismatch(self, model: Any) -> str | None:
        from korag.encoders.precision import found_dim

        saved = max(self._checkpoint.dims, default=None)
        mismatch = self._compare_dims(model, saved)
        if mismatch is None and saved is None and self._dim is not None and self._dim > (made := found_dim(model)):
            return f"it has {made} dimensions, fewer than dim={self._dim}"
        return mismatch

    def _load_settings(self) -> Hashable:
        return self.pooling, self._max_length, self.query_length  # vectors are cut to `dim` afterwards

    def _to_rows(self, features: dict[str, Any]) -> list[NDArray[np.float32]]:
        vectors = as_float32(features["sentence_embedding"])
        if self._dim is not None and self._dim < vectors.shape[1]:
            vectors = vectors[:, : self._dim].copy()  # a view would keep all numbers in memory
            if self._checkpoint.normalizes(self._dim):
                vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SHORTEST)
        return list(vectors)

    def _collate(self, rows: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)
