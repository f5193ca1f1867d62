"""Token vectors to search: of real texts, of texts spliced from these, or drawn at random; and collections of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from korag import load_encoder
from korag.checkpoints.fingerprint import Fingerprint
from korag.checkpoints.presets import Family
from korag.encoders.base import Encoder

QUERY_TOKENS, DIM = 32, 128


class Source:
    """Documents and queries as token vectors, each the same at every call.

    Args:
        count: How many documents.
        queries: How many queries.
    """

    def __init__(self, count: int, queries: int) -> None:
        self.count = count
        self.lengths = np.clip(np.random.default_rng(0).normal(120, 40, count).round(), 8, 300).astype(int)
        self.queries = [self._query(number) for number in range(queries)]

    def document(self, number: int) -> np.ndarray:
        """Shape: (tokens, dim), float32."""
        drawn = np.random.default_rng(1_000_000 + number).standard_normal((self.lengths[number], DIM), np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    def _query(self, number: int) -> np.ndarray:
        rng = np.random.default_rng(500 + number)
        drawn = rng.standard_normal((QUERY_TOKENS, DIM), np.float32)
        if number % 2:  # near a document; the others are near none
            document = self.document(int(rng.integers(self.count)))
            drawn = document[rng.integers(0, len(document), QUERY_TOKENS)] + 0.12 * drawn
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


class RealSource(Source):
    """Encodings of texts by mini-colbert.

    Args:
        count: How many documents.
        queries: How many queries.
        documents: Parquet with a column ``text``.
        asked: Parquet with a column ``query``.
        cache: Folder for the encodings.
    """

    def __init__(self, count: int, queries: int, documents: Path, asked: Path, cache: Path) -> None:
        file = cache / f"mini-colbert-{documents.parent.name}-{count}-{queries}.npz"
        if not file.exists():
            import pyarrow.parquet as pq

            rng, encoder = np.random.default_rng(0), load_encoder("mini-colbert")
            texts = [t for t in pq.read_table(documents, columns=["text"])["text"].to_pylist() if len(t) >= 120]
            wanted = pq.read_table(asked, columns=["query"])["query"].to_pylist()
            chosen = [texts[index][:520] for index in rng.permutation(len(texts))[:count]]
            encoded = encoder.encode_documents(chosen, show_progress=True)
            questions = encoder.encode_queries([wanted[index] for index in rng.permutation(len(wanted))[:queries]])
            cache.mkdir(parents=True, exist_ok=True)
            np.savez(
                file,
                tokens=np.concatenate(encoded).astype(np.float16),
                lengths=[len(tokens) for tokens in encoded],
                queries=np.stack(questions),
            )
        with np.load(file) as stored:
            self.tokens, self.lengths, self.queries = stored["tokens"], stored["lengths"], list(stored["queries"])
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self.count = len(self.lengths)

    def document(self, number: int) -> np.ndarray:
        """Shape: (tokens, dim), float32."""
        return self.tokens[self.offsets[number] : self.offsets[number + 1]].astype(np.float32)


class SplicedSource(Source):
    """As many documents as wanted: runs of 8 to 24 tokens of real ones, a little off, in one.

    Args:
        count: How many documents.
        real: Where from.
    """

    def __init__(self, count: int, real: RealSource) -> None:
        self.count, self.real, self.queries = count, real, real.queries
        self.lengths = np.resize(real.lengths, count)

    def document(self, number: int) -> np.ndarray:
        """Shape: (tokens, dim), float32."""
        rng, length, runs = np.random.default_rng(number), int(self.lengths[number]), []
        while sum(map(len, runs)) < length:
            start = int(rng.integers(len(self.real.tokens) - 24))
            runs.append(self.real.tokens[start : start + int(rng.integers(8, 25))].astype(np.float32))
        spliced = np.concatenate(runs)[:length]
        spliced += rng.normal(0, 0.03, spliced.shape).astype(np.float32)
        return spliced / np.linalg.norm(spliced, axis=1, keepdims=True)


class Vectors(Encoder[Any]):
    """Gives a source's vectors for texts that are numbers, so that searches are timed without encoding.

    Args:
        source: The vectors.
    """

    family: ClassVar[Family] = "late_interaction"

    def __init__(self, source: Source) -> None:
        self._source = source
        self._dim = DIM
        self._prompts = {"query": "", "document": ""}
        self._reset()

    @property
    def model_name(self) -> str:
        """Not a model."""
        return "vectors"

    @property
    def similarity(self) -> str:
        """As of every late-interaction model."""
        return "maxsim"

    @property
    def fingerprint(self) -> Fingerprint:
        """Always the same."""
        return Fingerprint(
            model="vectors", revision=None, family=self.family, weights="1", dim=DIM, query_prompt="",
            document_prompt="", query_length=None, document_length=None, normalized=True,
        )  # fmt: skip

    @property
    def load_arguments(self) -> dict[str, Any]:
        """None that would load it."""
        return {"model": "/nowhere/vectors"}

    def encode_documents(self, texts: Iterable[str], *, show_progress: bool | None = None) -> list[np.ndarray]:
        """Vectors of the documents with these numbers."""
        return [self._source.document(int(text)) for text in texts]

    def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = None) -> list[np.ndarray]:
        """Vectors of the queries with these numbers."""
        return [self._source.queries[int(text)] for text in texts]

    def _load(self, folder: Any) -> Any:
        raise NotImplementedError

    def _rows(self, features: Any) -> Any:
        raise NotImplementedError

    def _collate(self, rows: Any) -> Any:
        raise NotImplementedError


def recall(found: Sequence[str], exact: Sequence[str]) -> float:
    """The share of the exact ones that was found."""
    return len(set(found) & set(exact)) / len(exact)
