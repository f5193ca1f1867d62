"""Reranking with a late-interaction (ColBERT) model: MaxSim over cached token vectors."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from korag.checks import check_count
from korag.encoders.base import Encoder
from korag.encoders.load import as_encoder
from korag.forking import Lock
from korag.keywords import checks_keywords
from korag.reranking.base import TextReranker
from korag.scoring import maxsim
from korag.text import normalize

DEFAULT_CACHE_BYTES = 256 * 2**20
"""About 16,000 passages of 64 tokens with 128 dimensions."""

TokenVectors = list[NDArray[np.float32]]


class TokenCache:
    """LRU cache of document token vectors, bounded in bytes. Safe to use from many threads.

    Entries are float16, as in the segments of a collection: both give the same scores.

    Args:
        max_bytes: Maximum size of the cached vectors; 0 disables the cache.

    Raises:
        InvalidArgumentError: If `max_bytes` is negative or not an integer.
    """

    def __init__(self, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.max_bytes = check_count("max_bytes", max_bytes)
        entries: LRUCache[bytes, NDArray[np.float16]] = LRUCache(max_bytes, getsizeof=_size)
        self._entries = entries
        self._lock = Lock(lambda: LRUCache.__init__(entries, max_bytes, getsizeof=_size))

    @property
    def nbytes(self) -> int:
        """Size of the cached vectors."""
        return int(self._entries.currsize)

    def encode(
        self, encoder: Encoder[TokenVectors], texts: Sequence[str], *, show_progress: bool | None = None
    ) -> list[NDArray[np.float16]]:
        """Returns the token vectors of documents, encoding those that are not cached.

        Args:
            encoder: The encoder; entries are keyed by its fingerprint.
            texts: The documents.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            One array per document. Shape of each: (n_tokens, dim).
        """
        model = str(encoder.fingerprint).encode()
        keys = [hashlib.blake2b(model + normalize(text).encode(), digest_size=16).digest() for text in texts]
        with self._lock:
            found = {key: self._entries[key] for key in keys if key in self._entries}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        encoded = encoder.encode_documents(list(missing.values()), show_progress=show_progress)
        new = {key: vectors.astype(np.float16) for key, vectors in zip(missing, encoded, strict=True)}
        with self._lock:
            self._entries.update({key: vectors for key, vectors in new.items() if vectors.nbytes <= self.max_bytes})
        found |= new
        return [found[key] for key in keys]

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"TokenCache({len(self)} texts, {self.nbytes:,} of {self.max_bytes:,} bytes)"

    def __getstate__(self) -> dict[str, Any]:
        return {"max_bytes": self.max_bytes}  # without the entries

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


def _size(entry: NDArray[np.float16]) -> int:
    return entry.nbytes


class Reranker(TextReranker):
    """Scores candidate texts for a query with a late-interaction model.

    Scores are MaxSim. The relevance that `score_threshold` applies to is the mean over the query tokens of their best
    match: MaxSim / number of query tokens, with negative values set to 0. It is 1 for the query itself; the relevance
    of a good match differs from model to model.

    Given the scores of the first stage, it fuses them with its own by default (`fuse_weight`): measured with
    mini-colbert on four data sets (``docs/evaluation.md``), MaxSim alone ranks the candidates of a hybrid search worse
    than the search did.

    Args:
        encoder: A loaded encoder, a name, or a path.
        cache: Cache of document token vectors; None for a new one.
        query_length: Longest query in tokens; None for the model's own.

    Raises:
        WrongFamilyError: If the model is not a late-interaction model.
        InvalidArgumentError: If a loaded encoder has another `query_length`.
    """

    default_fuse_weight = 0.3

    @checks_keywords
    def __init__(
        self,
        encoder: Encoder[TokenVectors] | str | os.PathLike[str],
        *,
        cache: TokenCache | None = None,
        query_length: int | None = None,
    ) -> None:
        self.encoder: Encoder[TokenVectors] = as_encoder(encoder, family="late_interaction", query_length=query_length)
        self.cache = TokenCache() if cache is None else cache

    @property
    def model_name(self) -> str:
        """Name of the encoder's model."""
        return self.encoder.model_name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.encoder!r})"

    def _score(
        self,
        query: str,
        texts: list[str],
        show_progress: bool | None,  # noqa: FBT001
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        documents = self.cache.encode(self.encoder, texts, show_progress=show_progress)
        tokens = self.encoder.encode_queries([query])[0]
        scores = maxsim(tokens, documents)
        return scores, np.clip(scores / np.float32(max(1, len(tokens))), 0, 1)
