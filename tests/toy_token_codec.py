"""Codecs of token vectors from outside the package: signs only, and signs with the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.legs.base import Arrays
from korag.legs.multi_vector.codecs import MultiVectorCodec, Vectors
from korag.legs.registry import register_codec
from korag.scoring import Ints, pack_tokens


class SignsCodec(MultiVectorCodec):
    """Every number as its sign; vectors have unit length again when they are read."""

    name = "signs"

    def encode(self, vectors: Vectors) -> dict[str, NDArray[Any]]:
        tokens, offsets = pack_tokens(vectors, dim=0)
        return {"signs": np.sign(tokens).astype(np.int8), "offsets": offsets}

    def decode(self, arrays: Arrays, rows: Ints) -> Sequence[NDArray[Any]]:  # type: ignore[override]
        signs, offsets = arrays["signs"], arrays["offsets"]
        scale = np.float32(signs.shape[1] ** -0.5)
        return [(signs[offsets[row] : offsets[row + 1]] * scale).astype(np.float32) for row in rows]


class SignsAndVectorsCodec(SignsCodec):
    """The vectors too, which documents are merged with but not scored by."""

    name = "signs+vectors"
    keeps_vectors = True

    def encode(self, vectors: Vectors) -> dict[str, NDArray[Any]]:
        tokens, _ = pack_tokens(vectors, dim=0)
        return {**super().encode(vectors), "tokens": tokens.astype(np.float16)}

    def decode(self, arrays: Arrays, rows: Ints) -> Sequence[NDArray[Any]]:  # type: ignore[override]
        tokens, offsets = arrays["tokens"], arrays["offsets"]
        return [tokens[offsets[row] : offsets[row + 1]] for row in rows]

    def search(self, queries: Any, slices: Any, k: int, *, exact: bool) -> Any:
        return SignsCodec().search(queries, slices, k, exact=exact)


def register() -> None:
    for codec in (SignsCodec(), SignsAndVectorsCodec()):
        register_codec("colbert", codec=codec)
