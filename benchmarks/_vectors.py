"""Token vectors to search: of real texts, spliced from those, or random."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from korag import load_encoder
from korag.checkpoints.fingerprint import Fingerprint
from korag.checkpoints.presets import Family
from korag.encoders.base import Encoder
from korag.scoring import unit_rows

QUERY_TOKENS, DIM = 32, 128
T = TypeVar("T")
Floats = NDArray[np.float32]


class Source:
    """Random documents and queries as token vectors, the same at every call.

    Args:
        count: Number of documents.
        queries: Number of queries.
    """

    def __init__(self, count: int, queries: int) -> None:
        self.count = count
        self.lengths = np.clip(np.random.default_rng(0).normal(120, 40, count).round(), 8, 300).astype(int)
        self.queries = [self._query(number) for number in range(queries)]

    def document(self, number: int) -> Floats:
        """Shape: (tokens, dim), float32."""
        rng = np.random.default_rng(1_000_000 + number)
        return unit_rows(rng.standard_normal((self.lengths[number], DIM), np.float32))

    def _query(self, number: int) -> Floats:
        rng = np.random.default_rng(500 + number)
        drawn = rng.standard_normal((QUERY_TOKENS, DIM), np.float32)
        if number % 2:  # close to a document; the other queries are not close to any
            document = self.document(int(rng.integers(self.count)))
            drawn = document[rng.integers(0, len(document), QUERY_TOKENS)] + 0.12 * drawn
        return unit_rows(drawn)


class RealSource(Source):
    """Texts encoded by mini-colbert.

    Args:
        count: Number of documents.
        queries: Number of queries.
        documents: Parquet with a column ``text``.
        questions: Parquet with a column ``query``.
        cache: Folder to cache the vectors in.
    """

    def __init__(self, count: int, queries: int, documents: Path, questions: Path, cache: Path) -> None:
        file = cache / f"mini-colbert-{documents.parent.name}-{count}-{queries}.npz"
        if not file.exists():
            import pyarrow.parquet as pq

            rng = np.random.default_rng(0)
            encoder: Any = load_encoder("mini-colbert")
            texts = [t for t in pq.read_table(documents, columns=["text"])["text"].to_pylist() if len(t) >= 120]
            wanted = pq.read_table(questions, columns=["query"])["query"].to_pylist()
            chosen = [texts[index][:520] for index in rng.permutation(len(texts))[:count]]
            encoded = encoder.encode_documents(chosen, show_progress=True)
            encoded_queries = encoder.encode_queries(
                [wanted[index] for index in rng.permutation(len(wanted))[:queries]]
            )
            cache.mkdir(parents=True, exist_ok=True)
            np.savez(
                file,
                tokens=np.concatenate(encoded).astype(np.float16),
                lengths=[len(tokens) for tokens in encoded],
                queries=np.stack(encoded_queries),
            )
        with np.load(file) as stored:
            self.tokens, self.lengths, self.queries = stored["tokens"], stored["lengths"], list(stored["queries"])
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self.count = len(self.lengths)

    def document(self, number: int) -> Floats:
        """Shape: (tokens, dim), float32."""
        vectors: Floats = self.tokens[self.offsets[number] : self.offsets[number + 1]].astype(np.float32)
        return vectors


class SplicedSource(Source):
    """Any number of documents, concatenated from runs of 8 to 24 real tokens with added noise.

    Args:
        count: Number of documents.
        real: Source of the tokens.
    """

    def __init__(self, count: int, real: RealSource) -> None:
        self.count, self.real, self.queries = count, real, real.queries
        self.lengths = np.resize(real.lengths, count)

    def document(self, number: int) -> Floats:
        """Shape: (tokens, dim), float32."""
        rng, length = np.random.default_rng(number), int(self.lengths[number])
        runs: list[Floats] = []
        while sum(len(run) for run in runs) < length:
            start = int(rng.integers(len(self.real.tokens) - 24))
            runs.append(self.real.tokens[start : start + int(rng.integers(8, 25))].astype(np.float32))
        spliced = np.concatenate(runs)[:length]
        spliced += rng.normal(0, 0.03, spliced.shape).astype(np.float32)
        return unit_rows(spliced)


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
    """Token vectors of a source.

    Args:
        source: The vectors.
    """

    family: ClassVar[Family] = "late_interaction"

    def __init__(self, source: Source) -> None:
        super().__init__(DIM, "maxsim")
        self._source = source

    def encode_documents(self, texts: Iterable[str], *, show_progress: bool | None = None) -> list[Floats]:
        """Returns the vectors of documents given by number."""
        return [self._source.document(int(text)) for text in texts]

    def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = None) -> list[Floats]:
        """Returns the vectors of queries given by number."""
        return [self._source.queries[int(text)] for text in texts]


def recall(found: Sequence[str], exact: Sequence[str]) -> float:
    """Returns the fraction of the exact results that was found."""
    return len(set(found) & set(exact)) / len(exact)
