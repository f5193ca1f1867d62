"""Late interaction (ColBERT): one vector per token, compared by MaxSim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from korag.legs.base import EncoderLeg, Scores, SegmentSlice
from korag.legs.multi_vector.codecs import MultiVectorCodec, Vectors
from korag.legs.vectors import GREATEST_HALF, LEAST_HALF, check_magnitudes, check_shape
from korag.scoring import maxsim_packed, pack_tokens


class LateInteractionLeg(EncoderLeg):
    """Token vectors: a list of arrays, one per document. Shape of each: (tokens, dim)."""

    codec: MultiVectorCodec

    def _checked(self, vectors: list[NDArray[np.float32]], count: int) -> list[NDArray[np.float32]]:
        check_shape(self.encoder, (len(vectors),), (count,))
        for tokens in vectors:
            check_shape(self.encoder, tokens.shape, (len(tokens), self.encoder.dim))
            check_magnitudes(self.encoder, tokens, greatest=GREATEST_HALF, least=LEAST_HALF)
        return vectors

    def search(
        self, queries: Sequence[list[NDArray[np.float32]]], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        """As the codec searches; a query is a list of one array, as the encoder returns it."""
        return self.codec.search([query[0] for query in queries], slices, k, exact=exact)

    def max_score(self, query: list[NDArray[np.float32]]) -> float:
        """The query with itself: the number of its tokens, whose vectors have unit length."""
        return float((query[0] * query[0]).sum())

    def similarities(self, vectors: Vectors) -> Scores:
        """MaxSim of two documents, averaged over the tokens of each and over both directions."""
        tokens, offsets = pack_tokens(vectors, dim=0)
        means = np.stack([maxsim_packed(one, tokens, offsets) / np.float32(max(1, len(one))) for one in vectors])
        return np.asarray((means + means.T) / 2, np.float32)
