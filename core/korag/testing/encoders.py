"""Fake encoders: vectors of hashed character n-grams, without a model."""

from __future__ import annotations

import functools
import hashlib
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.checkpoints.fingerprint import Fingerprint
from korag.checkpoints.presets import Family
from korag.encoders.base import Encoder, Vectors
from korag.forking import Lock
from korag.text import check_texts, normalize


class FakeEncoder(Encoder[Vectors]):
    """Base of the fake encoders: identity, and counters of encoded texts.

    Deterministic across processes and machines. Equal texts have equal vectors, and texts that share character bigrams
    have similar ones. Safe for use by many threads; pickles hold the arguments only.

    Args:
        dim: Vector size.
        query_prompt: Prepended to every query.
        document_prompt: Prepended to every document.
        seed: Another seed gives other vectors, and so another fingerprint.

    Attributes:
        queries_encoded: Number of queries encoded so far.
        documents_encoded: Number of documents encoded so far.
        calls: Number of calls of ``encode_queries`` and ``encode_documents`` so far.
    """

    default_dim: ClassVar[int] = 256
    _similarity: ClassVar[str] = "cosine"

    def __init__(
        self, *, dim: int | None = None, query_prompt: str = "", document_prompt: str = "", seed: int = 0
    ) -> None:
        self._arguments: dict[str, Any] = {
            "dim": self.default_dim if dim is None else dim,
            "query_prompt": query_prompt,
            "document_prompt": document_prompt,
            "seed": seed,
        }
        self._lock = Lock()
        self.queries_encoded = self.documents_encoded = self.calls = 0

    @property
    def model_name(self) -> str:
        """``"fake-"`` and the family."""
        return f"fake-{self.family.replace('_', '-')}"

    @property
    def dim(self) -> int:
        """Vector size."""
        return int(self._arguments["dim"])

    @property
    def similarity(self) -> str:
        """``"cosine"``, or ``"dot"`` for sparse vectors."""
        return self._similarity

    @property
    def fingerprint(self) -> Fingerprint:
        """Differs for other arguments."""
        return Fingerprint(
            model=self.model_name,
            revision=None,
            family=self.family,
            weights=hashlib.sha256(f"{self.family} {self._seed}".encode()).hexdigest(),
            dim=self.dim,
            query_prompt=self._arguments["query_prompt"],
            document_prompt=self._arguments["document_prompt"],
            query_length=None,
            document_length=None,
            normalized=True,
        )

    @property
    def load_arguments(self) -> dict[str, Any]:
        """Name a folder that does not exist: a fake encoder has no files, so it must be passed as ``encoders=``."""
        return {"model": f"/korag.testing/{self.model_name}", "family": self.family, "dim": self.dim}

    def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = False) -> Vectors:
        """As `Encoder.encode_queries`."""
        checked = self._prepare(texts, "query_prompt")
        with self._lock:
            self.calls += 1
            self.queries_encoded += len(checked)
        return self._encode(checked)

    def encode_documents(self, texts: Iterable[str], *, show_progress: bool | None = None) -> Vectors:
        """As `Encoder.encode_documents`."""
        checked = self._prepare(texts, "document_prompt")
        with self._lock:
            self.calls += 1
            self.documents_encoded += len(checked)
        return self._encode(checked)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Counts words."""
        return [len(text.split()) for text in self._prepare(texts, "document_prompt")]

    def _prepare(self, texts: Iterable[str], prompt: str) -> list[str]:
        return [self._arguments[prompt] + normalize(text) for text in check_texts(texts)]

    @abstractmethod
    def _encode(self, texts: list[str]) -> Vectors:
        """Encodes texts with their prompts, in NFC."""

    @property
    def _seed(self) -> int:
        return int(self._arguments["seed"])

    def __getstate__(self) -> dict[str, Any]:
        return dict(self._arguments)

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self, **state)

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._arguments.items())
        return f"{type(self).__name__}({given})"


class FakeDenseEncoder(FakeEncoder[NDArray[np.float32]]):
    """A unit vector per text: the sum of a random direction per n-gram. Shape: (n_texts, dim)."""

    family: ClassVar[Family] = "dense"

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        rows = [_direction(_ngrams(text), self.dim, self._seed) for text in texts]
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)


class FakeMultiVectorEncoder(FakeEncoder[list[NDArray[np.float32]]]):
    """A unit vector per word, whatever its neighbours. Shape of each text: (n_words, dim)."""

    family: ClassVar[Family] = "late_interaction"
    default_dim: ClassVar[int] = 64

    def _encode(self, texts: list[str]) -> list[NDArray[np.float32]]:
        return [
            np.stack([_direction(_ngrams(word), self.dim, self._seed) for word in text.split() or [text]])
            for text in texts
        ]


class FakeSparseEncoder(FakeEncoder[sp.csr_array]):
    """A weight per n-gram, which is hashed to one of `dim` terms; rows have unit length. Shape: (n_texts, dim)."""

    family: ClassVar[Family] = "sparse"
    default_dim: ClassVar[int] = 4_096
    _similarity: ClassVar[str] = "dot"

    def _encode(self, texts: list[str]) -> sp.csr_array:
        rows = [Counter(_hash(ngram, self._seed) % self.dim for ngram in _ngrams(text)) for text in texts]
        starts = np.cumsum([0, *map(len, rows)])
        terms = np.array([term for row in rows for term in sorted(row)], np.int32)
        weights = np.zeros(len(terms), np.float32)
        for row, start, end in zip(rows, starts, starts[1:], strict=False):
            raw = np.log1p(np.array([row[term] for term in sorted(row)], np.float32))
            weights[start:end] = raw / np.linalg.norm(raw)
        return sp.csr_array((weights, terms, starts), shape=(len(texts), self.dim))


def _ngrams(text: str) -> list[str]:
    """Character bigrams of each word, its ends marked; those of the whole text if there are no words."""
    return [f"^{word}$"[start : start + 2] for word in text.split() or [text] for start in range(len(word) + 1)]


def _direction(ngrams: list[str], dim: int, seed: int) -> NDArray[np.float32]:
    total = np.sum([_noise(ngram, dim, seed) for ngram in ngrams], axis=0)
    unit: NDArray[np.float32] = (total / np.linalg.norm(total)).astype(np.float32)
    return unit


@functools.lru_cache(maxsize=20_000)
def _noise(ngram: str, dim: int, seed: int) -> NDArray[np.float64]:
    """A direction per n-gram, from a hash alone: numpy's random streams may change between versions."""
    digest = hashlib.shake_256(f"{seed} {ngram}".encode()).digest(dim)
    noise: NDArray[np.float64] = np.frombuffer(digest, np.uint8).astype(np.float64) - 127.5
    return noise


def _hash(ngram: str, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed} {ngram}".encode(), digest_size=8).digest(), "little")
