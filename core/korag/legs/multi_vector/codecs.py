"""Codecs of late-interaction token vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from korag.legs.arrays import check_array, check_form, check_names, check_starts, view
from korag.legs.base import Arrays, Codec, Scores, SegmentSlice, score_all
from korag.legs.multi_vector import search
from korag.legs.multi_vector.quantization import check_quantized, quantize_documents
from korag.scoring import Ints, maxsim, pack_tokens

Vectors = Sequence[NDArray[np.float32]] | Sequence[NDArray[np.float16]]
"""Token vectors of each document. Shape of each: (tokens, dim)."""


class MultiVectorCodec(Codec):
    """Base of codecs for the late-interaction leg, which decode to a list of float16 or float32 arrays.

    Attributes:
        keeps_vectors: `decode` returns what `encode` was given, in float16, so that another codec can encode it anew.
    """

    keeps_vectors: ClassVar[bool] = False

    def search(
        self, queries: Sequence[NDArray[np.float32]], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        """`korag.legs.base.Leg.search` for the token vectors of queries, of shape (query_tokens, dim) each."""

        def score(arrays: Arrays, query: NDArray[np.float32], rows: Ints) -> Scores:
            return maxsim(query, self.decode(arrays, rows))

        return score_all(score, queries, slices)


class Float16Codec(MultiVectorCodec):
    """Token vectors in float16, which scores are computed from, and in int8, which finds candidates quickly.

    ``tokens`` of all documents, concatenated, and the ``offsets`` of documents in them; and the arrays of
    `korag.legs.multi_vector.quantization.quantize_documents`.
    """

    name = "float16"
    version = 2  # 1, written by KoRAG 0.1.0, has other names for two arrays; both were named "float16_int8"
    keeps_vectors = True

    def encode(self, vectors: Vectors) -> dict[str, NDArray[Any]]:
        """Stores tokens, shape (total_tokens, dim), and offsets, shape (n + 1,), and quantizes the tokens."""
        tokens, offsets = pack_tokens(vectors, dim=0)
        half = tokens.astype(np.float16, copy=False)
        return {"tokens": half, "offsets": offsets, **quantize_documents(half, offsets)}

    def decode(self, arrays: Arrays, rows: Ints) -> list[NDArray[np.float16]]:
        """Shape of each: (tokens, dim)."""
        tokens, offsets = arrays["tokens"], arrays["offsets"]
        return [tokens[offsets[row] : offsets[row + 1]] for row in rows]

    def read(self, arrays: Arrays, version: int) -> Arrays:
        """Version 1 differs in two names: ``summaries`` and ``code_places``."""
        if version != 1:
            return super().read(arrays, version)
        renamed = {"summaries": "pooled_tokens", "code_places": "code_spans"}
        return {renamed.get(name, name): array for name, array in arrays.items()}

    def check(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check`."""
        self.check_layout(arrays, rows, dim=dim)
        check_array(arrays, "tokens", np.float16, None, None)
        for name in ("codes", "pooled_tokens"):
            check_array(arrays, name, np.int8, None, None)

    def check_layout(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check_layout`: whatever the vectors are, they can be multiplied."""
        check_names(arrays, ("tokens", "offsets", "codes", "code_spans", "code_errors", "code_scale", "pooled_tokens"))
        tokens = view(arrays, "tokens")
        check_form(arrays, "tokens", np.float16, None, dim if len(tokens) else None)
        check_array(arrays, "offsets", np.int64, rows + 1)
        check_starts("offsets", arrays["offsets"], len(tokens))
        check_quantized(arrays, np.diff(arrays["offsets"]), tokens.shape[1])

    def search(
        self, queries: Sequence[NDArray[np.float32]], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        """Scores only what can be among the k best."""
        return search.search(queries, slices, k, exact=exact)
