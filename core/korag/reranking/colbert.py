"""Reranking with a late-interaction (ColBERT) model: MaxSim, with the documents' token vectors cached."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.checks import check_count
from korag.encoders.load import late_interaction_encoder
from korag.encoders.multi_vector import LateInteractionEncoder
from korag.reranking.base import TextReranker
from korag.scoring import maxsim
from korag.text import normalize

DEFAULT_CACHE_BYTES = 256 * 2**20
"""Room for about 16,000 passages of 64 tokens at 128 dimensions."""


class TokenCache:
    """The token vectors of the documents used last, up to a number of bytes. Safe for threads.

    Entries are float16, as in a collection's segments: a reranked score is the same from either.

    Args:
        max_bytes: Bound on the vectors held; 0 holds none.

    Raises:
        InvalidArgumentError: If `max_bytes` is negative or no integer.
    """

    def __init__(self, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.max_bytes = check_count("max_bytes", max_bytes)
        self._entries: OrderedDict[bytes, NDArray[np.float16]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def encode(
        self, encoder: LateInteractionEncoder, texts: Sequence[str], *, show_progress: bool | None = None
    ) -> list[NDArray[np.float16]]:
        """Returns the token vectors of documents, encoding only those not held.

        Args:
            encoder: Whose vectors; entries of encoders with different fingerprints never meet.
            texts: The documents.
            show_progress: Show a progress bar; None shows one for more than 1,000 texts in a terminal.

        Returns:
            Shape of each: (tokens, dim).
        """
        model = str(encoder.fingerprint).encode()
        keys = [hashlib.blake2b(model + normalize(text).encode(), digest_size=16).digest() for text in texts]
        found = self._take(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        encoded = encoder.encode_documents(list(missing.values()), show_progress=show_progress)
        new = {key: vectors.astype(np.float16) for key, vectors in zip(missing, encoded, strict=True)}
        self._put(new)
        found |= new
        return [found[key] for key in keys]

    def __len__(self) -> int:
        return len(self._entries)

    def _take(self, keys: Iterable[bytes]) -> dict[bytes, NDArray[np.float16]]:
        with self._lock:
            found = {key: self._entries[key] for key in keys if key in self._entries}
            for key in found:
                self._entries.move_to_end(key)
            return found

    def _put(self, entries: dict[bytes, NDArray[np.float16]]) -> None:
        with self._lock:
            for key, vectors in entries.items():
                if key not in self._entries and vectors.nbytes <= self.max_bytes:
                    self._entries[key] = vectors
                    self._bytes += vectors.nbytes
            while self._bytes > self.max_bytes:
                self._bytes -= self._entries.popitem(last=False)[1].nbytes

    def __getstate__(self) -> dict[str, Any]:
        return {"max_bytes": self.max_bytes}  # a cache is not worth pickling

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class Reranker(TextReranker):
    """Scores candidate texts for a query with a late-interaction model.

    Scores are MaxSim. A candidate's relevance, which `score_threshold` goes by, is the mean over query tokens of
    each one's best match: MaxSim / query tokens, negative ones counted as 0. It is 1 for the query itself, but
    where between 0 and 1 good matches begin differs from model to model.

    Args:
        encoder: A loaded encoder, a name, or a path.
        cache: Where document token vectors are kept between queries.

    Raises:
        WrongFamilyError: If the model is not a late-interaction model.
    """

    def __init__(
        self, encoder: LateInteractionEncoder | str | os.PathLike[str], *, cache: TokenCache | None = None
    ) -> None:
        self.encoder = late_interaction_encoder(encoder)
        self.cache = TokenCache() if cache is None else cache

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
