"""Late interaction (ColBERT): one vector a token, compared by MaxSim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.legs.base import Arrays, EncoderLeg, Part
from korag.legs.multi_vector import codecs, search
from korag.scoring import Ints, maxsim_packed, pack_tokens


class LateInteractionLeg(EncoderLeg):
    """Token vectors in float16, end to end, with the offsets of documents; and in bytes, for a first look at all."""

    def pack(self, vectors: list[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """Stores tokens, shape (total_tokens, dim), and offsets, shape (n + 1,)."""
        tokens, offsets = pack_tokens(vectors, dim=0)
        half = tokens.astype(np.float16, copy=False)
        return {"tokens": half, "offsets": offsets, **codecs.encode(half, offsets)}

    def unpack(self, arrays: Arrays, rows: Ints) -> list[NDArray[np.float16]]:
        """Shape of each: (tokens, dim)."""
        tokens, offsets = arrays["tokens"], arrays["offsets"]
        return [tokens[offsets[row] : offsets[row + 1]] for row in rows]

    def join(self, parts: Sequence[list[NDArray[np.float16]]]) -> list[NDArray[np.float16]]:
        """One list of documents."""
        return [tokens for part in parts for tokens in part]

    def scores(self, arrays: Arrays, query: list[NDArray[np.float32]], rows: Ints) -> NDArray[np.float32]:
        """MaxSim; the query is a list of one array, as the encoder returns it."""
        return maxsim_packed(query[0], arrays["tokens"], arrays["offsets"], rows)

    def search(
        self, queries: Sequence[list[NDArray[np.float32]]], parts: Sequence[Part], k: int, *, exact: bool
    ) -> Iterator[NDArray[np.float32]]:
        """Scores what can be among the k best."""
        return search.search([query[0] for query in queries], parts, k, exact=exact)

    def max_score(self, query: list[NDArray[np.float32]]) -> float:
        """The query with itself: the number of its tokens, whose vectors are of unit length."""
        return float((query[0] * query[0]).sum())

    def similarities(self, vectors: list[NDArray[np.float16]]) -> NDArray[np.float32]:
        """MaxSim of two documents as a mean over the tokens of either."""
        tokens, offsets = pack_tokens(vectors, dim=0)
        means = np.stack([maxsim_packed(one, tokens, offsets) / np.float32(max(1, len(one))) for one in vectors])
        return np.asarray((means + means.T) / 2, np.float32)
