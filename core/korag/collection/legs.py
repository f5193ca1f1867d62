"""Legs: how each family's vectors are stored in a segment and searched.

One stateless class a family; what it stores are plain arrays, so segments know nothing of families.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.collection.segments import Arrays
from korag.encoders.base import Encoder
from korag.scoring import Ints, maxsim_packed, pack_tokens, sparse_dot, unit_rows


class Leg(Protocol):
    """One way to search: the vectors of one encoder."""

    def pack(self, vectors: Any) -> dict[str, NDArray[Any]]:
        """Turns what ``encode_documents`` returned into the arrays a segment stores."""
        ...

    def unpack(self, arrays: Arrays, rows: Ints) -> Any:
        """Returns the vectors of some rows, as `pack` takes them."""
        ...

    def join(self, parts: Sequence[Any]) -> Any:
        """Puts unpacked vectors end to end."""
        ...

    def scores(self, arrays: Arrays, query: Any, rows: Ints) -> NDArray[np.float32]:
        """Scores some rows for one query; −inf for a row that does not match at all."""
        ...


class DenseLeg:
    """Vectors in float32. Shape: (n, dim)."""

    def __init__(self, similarity: str) -> None:
        self._cosine = similarity == "cosine"

    def pack(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Stores rows, of unit length if they are compared by cosine."""
        return {"vectors": unit_rows(vectors) if self._cosine else vectors}

    def unpack(self, arrays: Arrays, rows: Ints) -> NDArray[np.float32]:
        """Shape: (len(rows), dim)."""
        unpacked: NDArray[np.float32] = arrays["vectors"][rows]
        return unpacked

    def join(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Shape: (sum of rows, dim)."""
        return np.concatenate(parts)

    def scores(self, arrays: Arrays, query: NDArray[np.float32], rows: Ints) -> NDArray[np.float32]:
        """Cosine or dot product; the query has shape (1, dim)."""
        vectors: NDArray[np.float32] = arrays["vectors"]
        if len(rows) < len(vectors):
            vectors = vectors[rows]
        return vectors @ (unit_rows(query) if self._cosine else query)[0]


class SparseLeg:
    """Term weights as postings (compressed columns), so that a search touches the query's terms only."""

    def pack(self, vectors: sp.csr_array) -> dict[str, NDArray[Any]]:
        """Stores columns. Shape before: (n, vocab)."""
        postings = vectors.tocsc()
        postings.sort_indices()
        return {
            "weights": postings.data.astype(np.float32),
            "rows": postings.indices.astype(np.int32),
            "terms": postings.indptr.astype(np.int64),
            "shape": np.array(postings.shape, np.int64),
        }

    def unpack(self, arrays: Arrays, rows: Ints) -> sp.csr_array:
        """Shape: (len(rows), vocab)."""
        return self._postings(arrays).tocsr()[rows]

    def join(self, parts: Sequence[sp.csr_array]) -> sp.csr_array:
        """Shape: (sum of rows, vocab)."""
        return sp.csr_array(sp.vstack(parts, format="csr"))

    def scores(self, arrays: Arrays, query: sp.csr_array, rows: Ints) -> NDArray[np.float32]:
        """Dot products; documents that share no term do not match."""
        scores = sparse_dot(query, self._postings(arrays))[rows]
        scores[scores <= 0] = -np.inf
        return scores

    @staticmethod
    def _postings(arrays: Arrays) -> sp.csc_array:
        parts = (arrays["weights"], arrays["rows"], arrays["terms"])
        return sp.csc_array(parts, shape=tuple(arrays["shape"].tolist()), copy=False)


class LateInteractionLeg:
    """Token vectors in float16, end to end, with the offsets of documents."""

    def pack(self, vectors: list[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """Stores tokens, shape (total_tokens, dim), and offsets, shape (n + 1,)."""
        tokens, offsets = pack_tokens(vectors, dim=0)
        return {"tokens": tokens.astype(np.float16), "offsets": offsets}

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


LEG_NAMES = {"dense": "dense", "sparse": "sparse", "late_interaction": "colbert"}
"""What `using=` calls the leg of each family."""


def make_leg(encoder: Encoder[Any]) -> Leg:
    """Returns the leg for an encoder's vectors."""
    if encoder.family == "dense":
        return DenseLeg(encoder.similarity)
    return SparseLeg() if encoder.family == "sparse" else LateInteractionLeg()
