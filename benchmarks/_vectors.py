"""Encoders that look up vectors by number, so that searches are timed without encoding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from _passages import DIM
from numpy.typing import NDArray

from korag.checkpoints.fingerprint import Fingerprint
from korag.checkpoints.presets import Family
from korag.encoders.base import Encoder

T = TypeVar("T")
Floats = NDArray[np.float32]


class Source(Protocol):
    """Documents by number, such as `_passages.Passages`."""

    def document(self, number: int) -> NDArray[Any]:
        """Shape: (tokens, dim)."""


class LookupEncoder(Encoder[T]):
    """Base of encoders that look up vectors by number, so that searches are timed without encoding.

    Args:
        dim: Vector size.
        similarity: How vectors are compared.
    """

    def __init__(self, dim: int, similarity: str) -> None:
        self._dim, self._similarity = dim, similarity

    @property
    def model_name(self) -> str:
        """Placeholder."""
        return "vectors"

    @property
    def dim(self) -> int:
        """Vector size."""
        return self._dim

    @property
    def similarity(self) -> str:
        """The similarity: ``"cosine"`` or ``"dot"``."""
        return self._similarity

    @property
    def fingerprint(self) -> Fingerprint:
        """Constant."""
        return Fingerprint(
            model="vectors", revision=None, family=self.family, weights="1", dim=self.dim, query_prompt="",
            document_prompt="", query_length=None, document_length=None, normalized=True,
        )  # fmt: skip

    @property
    def load_arguments(self) -> dict[str, Any]:
        """Placeholder; cannot be loaded."""
        return {"model": "/nowhere/vectors"}


class Vectors(LookupEncoder[list[Floats]]):
    """Token vectors of documents and queries.

    Args:
        documents: None if none will be added.
        queries: Shape: (queries, tokens, dim); None if none will be searched for.
    """

    family: ClassVar[Family] = "late_interaction"

    def __init__(self, documents: Source | None = None, queries: Floats | None = None) -> None:
        super().__init__(DIM, "maxsim")
        self._documents, self._queries = documents, queries

    def encode_documents(self, texts: Iterable[str], *, show_progress: bool | None = None) -> list[Floats]:
        """Returns the vectors of documents given by number."""
        assert self._documents is not None  # noqa: S101 (for the type checker)
        return [self._documents.document(int(text)).astype(np.float32) for text in texts]

    def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = None) -> list[Floats]:
        """Returns the vectors of queries given by number."""
        assert self._queries is not None  # noqa: S101 (for the type checker)
        return [self._queries[int(text)] for text in texts]


def recall(found: Sequence[str], exact: Sequence[str]) -> float:
    """Returns the fraction of the exact results that was found."""
    return len(set(found) & set(exact)) / len(exact)
