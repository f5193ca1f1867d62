"""Dense encoders: one vector per text."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from korag.checkpoints.presets import Family
from korag.encoders.pretrained import PretrainedEncoder
from korag.encoders.sentence_transformers import load_single_vector
from korag.encoders.tensors import as_float32


class DenseEncoder(PretrainedEncoder[NDArray[np.float32]]):
    """One vector per text: sentence-transformers models, and PEFT adapters on them.

    ``encode_*`` return float32 arrays. Shape: (n_texts, dim). Rows have unit length if the model
    normalizes (`fingerprint.normalized`).
    """

    family: ClassVar[Family] = "dense"

    def _load(self, folder: Path) -> Any:
        return load_single_vector(self._checkpoint, folder, max_length=self._max_length, options=self._options)

    def _to_rows(self, features: dict[str, Any]) -> list[NDArray[np.float32]]:
        return list(as_float32(features["sentence_embedding"]))

    def _collate(self, rows: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)
