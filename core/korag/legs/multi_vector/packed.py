"""Token vectors in 8, 4, 2 or 1 bits a dimension, decoded with a codebook that the collection has learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.kernels.tables import RESIDUALS
from korag.legs.arrays import check_array, check_form, check_names, check_starts, join_ranges, require
from korag.legs.base import Arrays, Scores, SegmentSlice
from korag.legs.multi_vector import packed_search
from korag.legs.multi_vector.codebook import DIGEST, LEARNED_FROM, NAMES, Codebook, check_codebook, digest_of
from korag.legs.multi_vector.codecs import MultiVectorCodec, Vectors
from korag.scoring import Ints, pack_tokens
from korag.workers import run_all

_CODED = ("codes", "cells", "gains", "offsets", *NAMES, DIGEST)
_FEW = ("offsets", "tokens")
_TOGETHER = 16_384
"""Tokens that a core encodes at a time."""


class PackedCodec(MultiVectorCodec):
    """A byte for every `size` dimensions of a token, two for its cell, and one for its gain.

    ``codes``, ``cells`` and ``gains`` of all documents' tokens, one after another; the ``offsets`` of
    documents in them; the codebook (`korag.legs.multi_vector.codebook`); and, if they are kept, the ``tokens`` in
    float16. A collection of fewer than `LEARNED_FROM` tokens has nothing to learn a codebook from: its segments hold
    ``tokens`` and ``offsets``.

    Args:
        name: Of the codec without kept vectors.
        bits: A dimension: 8, 4, 2 or 1.
        keeps_vectors: Store the vectors themselves too.
    """

    learns = True

    def __init__(self, name: str, *, bits: int, keeps_vectors: bool) -> None:
        self.name = name + ("+vectors" if keeps_vectors else "")  # type: ignore[misc]  # one instance for each
        self.keeps_vectors = keeps_vectors  # type: ignore[misc]
        self.size = 8 // bits

    def learn(self, vectors: Vectors) -> Arrays | None:
        """As `Codec.learn`: the codebook."""
        tokens, _ = pack_tokens(vectors, dim=0)
        return Codebook.learn(tokens, size=self.size).to_arrays() if len(tokens) >= LEARNED_FROM else None

    def learned(self, arrays: Arrays) -> tuple[str, Arrays] | None:
        """As `Codec.learned`."""
        if DIGEST not in arrays:
            return None
        return digest_of(arrays).hex(), {name: arrays[name] for name in (*NAMES, DIGEST)}

    def encode(self, vectors: Vectors) -> dict[str, NDArray[Any]]:
        """As `encode_with`, with what can be learned from these vectors alone."""
        return self.encode_with(vectors, self.learn(vectors))

    def encode_with(self, vectors: Vectors, learned: Arrays | None) -> dict[str, NDArray[Any]]:
        """Stores codes, or the vectors themselves if nothing has been learned yet."""
        tokens, offsets = pack_tokens(vectors, dim=0)
        if learned is None:
            return {"tokens": tokens.astype(np.float16, copy=False), "offsets": offsets}
        codebook = Codebook.of(learned)
        codes = np.empty((len(tokens), len(codebook.entries)), np.uint8)
        cells, gains = np.empty(len(tokens), np.uint16), np.empty(len(tokens), np.uint8)

        def encode(start: int) -> None:
            own = slice(start, start + _TOGETHER)
            codes[own], cells[own], gains[own] = codebook.encode(tokens[own])

        run_all(encode, range(0, len(tokens), _TOGETHER))
        coded: dict[str, NDArray[Any]] = {
            "codes": codes,
            "cells": cells,
            "gains": gains,
            "offsets": offsets,
            **codebook.to_arrays(),
        }
        return coded | ({"tokens": tokens.astype(np.float16, copy=False)} if self.keeps_vectors else {})

    def decode(self, arrays: Arrays, rows: Ints) -> Vectors:
        """The vectors, in float16, where they are stored; otherwise what codes stand for. Shapes: (tokens, dim)."""
        offsets = arrays["offsets"]
        if "tokens" in arrays:
            tokens = arrays["tokens"]
            return [tokens[offsets[row] : offsets[row + 1]] for row in rows]
        codebook = Codebook.of(arrays)
        stored = [arrays[name] for name in ("codes", "cells", "gains")]
        bounds = [slice(offsets[row], offsets[row + 1]) for row in rows]
        return [codebook.decode(*(array[bound] for array in stored)) for bound in bounds]

    def merge(self, parts: Sequence[SegmentSlice], concat: Callable[[Sequence[Any]], Any]) -> dict[str, NDArray[Any]]:
        """Puts codes one after another, which are all of one codebook."""
        names = [name for name in ("codes", "cells", "gains", "tokens") if name in parts[0].arrays]
        if any(part.arrays.keys() != parts[0].arrays.keys() for part in parts):
            raise ValueError("segments with and without a codebook cannot be merged")
        lengths = [np.diff(part.arrays["offsets"])[part.rows] for part in parts]
        chosen = [join_ranges(part.arrays["offsets"][part.rows], own) for part, own in zip(parts, lengths, strict=True)]
        merged = {
            name: np.concatenate([part.arrays[name][rows] for part, rows in zip(parts, chosen, strict=True)])
            for name in names
        }
        merged["offsets"] = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))])
        if "codes" in merged:
            if len({digest_of(part.arrays) for part in parts}) > 1:
                raise ValueError("segments of different codebooks cannot be merged")
            merged |= {name: parts[0].arrays[name] for name in (*NAMES, DIGEST)}
        return merged

    def check(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check`."""
        self.check_layout(arrays, rows, dim=dim)
        if "tokens" in arrays:
            check_array(arrays, "tokens", np.float16, None, None)
        if "codes" not in arrays:
            return
        check_array(arrays, "codes", np.uint8, None, None)
        require(Codebook.of(arrays).digest == digest_of(arrays), f"{DIGEST}: of another codebook")
        if len(arrays["cells"]):
            require(int(arrays["cells"].max()) < RESIDUALS * len(arrays["centroids"]), "cells: out of range")

    def check_layout(self, arrays: Arrays, rows: int, *, dim: int | None) -> None:
        """As `Codec.check_layout`."""
        names = _FEW if "codes" not in arrays else (*_CODED, *(("tokens",) if self.keeps_vectors else ()))
        check_names(arrays, names)
        check_array(arrays, "offsets", np.int64, rows + 1)
        total = int(arrays["offsets"][-1])
        check_starts("offsets", arrays["offsets"], total)
        if "codes" in arrays:
            parts = check_codebook(arrays, dim=dim, size=self.size)
            dim = arrays["centroids"].shape[1]
            check_form(arrays, "codes", np.uint8, total, parts)
            check_form(arrays, "cells", np.uint16, total)
            check_form(arrays, "gains", np.uint8, total)
        if "tokens" in arrays:
            check_form(arrays, "tokens", np.float16, total, dim if total else None)

    def search(
        self, queries: Sequence[NDArray[np.float32]], slices: Sequence[SegmentSlice], k: int, *, exact: bool
    ) -> Iterator[Scores]:
        """Scores all documents by their codes, or those that their centroids make likely; the best by kept vectors."""
        return packed_search.search(queries, slices, k, exact=exact, rescores=self.keeps_vectors)


PACKED = tuple(
    PackedCodec(name, bits=bits, keeps_vectors=keeps_vectors)
    for name, bits in (("int8", 8), ("4bit", 4), ("2bit", 2), ("1bit", 1))
    for keeps_vectors in (False, True)
)
"""All of them."""
