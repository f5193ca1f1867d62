"""Encoders without a model, for tests of the code around them and for processes that must start fast."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import numpy as np

from korag.checkpoints.fingerprint import Fingerprint
from korag.checkpoints.presets import Family
from korag.encoders.base import Encoder
from korag.scoring import unit_rows
from korag.text import check_texts, normalize


class StandIn(Encoder[Any]):
    """Vectors from hashes of the words: equal texts have equal vectors, and texts that share words similar ones."""

    family: ClassVar[Family] = "dense"

    def __init__(self, *, dim: int = 16, prompt: str = "", weights: str = "1") -> None:
        self._dim, self._prompt, self._weights = dim, prompt, weights

    @property
    def model_name(self) -> str:
        return f"stand-in-{self.family}"

    @property
    def dim(self) -> int:
        return self._dim

    @property
    def similarity(self) -> str:
        return "cosine"

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint(
            model=self.model_name, revision=None, family=self.family, weights=self._weights, dim=self._dim,
            query_prompt=self._prompt, document_prompt="", query_length=None, document_length=None, normalized=True,
        )  # fmt: skip

    @property
    def load_arguments(self) -> dict[str, Any]:
        return {"model": f"/nowhere/{self.model_name}"}

    def encode_queries(self, texts: Any, *, show_progress: Any = None) -> Any:
        return self.encode_documents(texts)

    def encode_documents(self, texts: Any, *, show_progress: Any = None) -> Any:
        return self._collate([self._words(normalize(text)) for text in check_texts(texts)])

    def _words(self, text: str) -> Any:
        seeds = [int.from_bytes(hashlib.sha256(word.encode()).digest()[:8]) for word in text.split()]
        return np.stack([np.random.default_rng(seed).standard_normal(self._dim) for seed in seeds]).astype(np.float32)

    def _collate(self, rows: list[Any]) -> Any:
        summed = [row.sum(axis=0) for row in rows]
        return unit_rows(np.stack(summed)) if rows else np.zeros((0, self._dim), np.float32)

    def __repr__(self) -> str:
        return f"StandIn({self._dim})"

    def __getstate__(self) -> dict[str, Any]:
        return {"dim": self._dim, "prompt": self._prompt, "weights": self._weights}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class StandInColbert(StandIn):
    """One vector per word."""

    family: ClassVar[Family] = "late_interaction"

    def _collate(self, rows: list[Any]) -> Any:
        return [unit_rows(row) for row in rows]
