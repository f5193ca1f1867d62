"""Late interaction (ColBERT): one vector per token, compared by MaxSim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from korag.encoders.base import Encoder
from korag.explanations import LegExplanation
from korag.legs.base import Codec, EncoderLeg, Scores, SegmentSlice, damaged_entry
from korag.legs.explaining import explain_tokens
from korag.legs.multi_vector.codecs import MultiVectorCodec, Vectors
from korag.legs.multi_vector.pooling import pool, pooled
from korag.legs.vectors import GREATEST_HALF, LEAST_HALF, check_magnitudes, check_shape
from korag.scoring import maxsim, maxsim_packed, pack_tokens


class LateInteractionLeg(EncoderLeg):
    """Token vectors: a list of arrays, one per document. Shape of each: (tokens, dim).

    Args:
        encoder: A late-interaction model.
        codec: How token vectors are stored.
        pool_factor: Similar token vectors of a document are merged until one is left for so many; 1 merges none.
    """

    codec: MultiVectorCodec

    def __init__(self, encoder: Encoder[Any], codec: Any, *, pool_factor: int = 1) -> None:
        super().__init__(encoder, codec)
        self.pool_factor = pool_factor

    def identity(self) -> dict[str, Any]:
        """The encoder's, and the pool factor where tokens are merged."""
        return {**super().identity(), **({} if self.pool_factor == 1 else {"pool_factor": self.pool_factor})}

    @classmethod
    def reopen(cls, codec: Codec, recorded: Mapping[str, Any], given: Any, *, name: str, place: str) -> Self:
        """As `EncoderLeg.reopen`, with the pool factor that is recorded."""
        leg = super().reopen(codec, recorded, given, name=name, place=place)
        leg.pool_factor = recorded.get("pool_factor", 1)
        if type(leg.pool_factor) is not int or leg.pool_factor < 1:
            raise damaged_entry(name, place, "pool_factor")
        return leg

    def represent(self, vectors: list[NDArray[np.float32]], texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """As the encoder returns them, pooled."""
        return [pool(tokens, self.pool_factor) for tokens in self._checked(vectors, len(texts))]

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

    def score(self, query: list[NDArray[np.float32]], vectors: Vectors) -> Scores:
        """MaxSim."""
        return maxsim(query[0], vectors)

    def explain(self, asked: str, query: Any, document: str, vectors: Any) -> LegExplanation:
        """As `Leg.explain`, by token of the query."""
        groups = None
        if self.pool_factor > 1:
            (whole,) = self.encoder.encode_documents([document], show_progress=False)
            groups = pooled(whole, self.pool_factor)
        return explain_tokens(self.encoder, asked, query[0], document, vectors[0], groups)

    def max_score(self, query: list[NDArray[np.float32]]) -> float:
        """The query with itself: the number of its tokens, whose vectors have unit length."""
        return float((query[0] * query[0]).sum())

    def similarities(self, vectors: Vectors) -> Scores:
        """MaxSim of two documents, averaged over the tokens of each and over both directions."""
        tokens, offsets = pack_tokens(vectors, dim=0)
        means = np.stack([maxsim_packed(one, tokens, offsets) / np.float32(max(1, len(one))) for one in vectors])
        return np.asarray((means + means.T) / 2, np.float32)
