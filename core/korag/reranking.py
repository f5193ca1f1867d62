"""Reranking: a query and candidate texts → the candidates in order of their MaxSim scores."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.encoders.late_interaction import LateInteractionEncoder
from korag.encoders.load import late_interaction_encoder
from korag.errors import InvalidArgumentError
from korag.scoring import maxsim, top_k
from korag.text import check_text, check_texts, is_empty, normalize

logger = logging.getLogger("korag")
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
        _check_count("max_bytes", max_bytes)
        self.max_bytes = max_bytes
        self._entries: OrderedDict[bytes, NDArray[np.float16]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def encode(self, encoder: LateInteractionEncoder, texts: Sequence[str]) -> list[NDArray[np.float16]]:
        """Returns the token vectors of documents, encoding only those not held.

        Args:
            encoder: Whose vectors; entries of encoders with different fingerprints never meet.
            texts: The documents.

        Returns:
            Shape of each: (tokens, dim).
        """
        model = str(encoder.fingerprint).encode()
        keys = [hashlib.blake2b(model + normalize(text).encode(), digest_size=16).digest() for text in texts]
        found = self._take(keys)
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        encoded = encoder.encode_documents(list(missing.values()))
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


class Reranker:
    """Scores candidate texts for a query with a late-interaction model.

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

    def rerank(self, query: str, texts: Iterable[str], *, top_n: int | None = None) -> list[tuple[int, float]]:
        """Orders candidates by MaxSim with the query.

        Args:
            query: The query.
            texts: The candidates.
            top_n: How many at most; None for all.

        Returns:
            (index into `texts`, score), best first; equal scores in the order of `texts`. Empty texts are
            not among them, and for an empty query nothing is.

        Raises:
            InvalidTextError: If the query or a text is not a string.
            InvalidArgumentError: If `top_n` is negative.
        """
        check_text(query, "query")
        candidates = check_texts(texts)
        if top_n is not None:
            _check_count("top_n", top_n)
        filled = [index for index, text in enumerate(candidates) if not is_empty(text)]
        if is_empty(query):
            filled = []
        if empty := len(candidates) - len(filled):
            logger.warning(
                "비어 있는 질의나 문서는 순위에서 뺍니다(문서 %d개 가운데 %d개 제외). / "
                "Empty queries and documents are not ranked (%d of %d documents left out).",
                len(candidates), empty, empty, len(candidates),
            )  # fmt: skip
        if not filled or top_n == 0:
            return []
        documents = self.cache.encode(self.encoder, [candidates[index] for index in filled])
        scores = maxsim(self.encoder.encode_queries([query])[0], documents)
        positions = np.array(filled, np.int64)
        best = top_k(scores, positions, len(filled) if top_n is None else top_n)
        return [(int(positions[index]), float(scores[index])) for index in best]


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidArgumentError(
            f"{name}={value!r}은(는) 쓸 수 없습니다. 0 이상의 정수여야 합니다.",
            f"{name}={value!r} is not possible; it must be an integer of at least 0.",
        )
