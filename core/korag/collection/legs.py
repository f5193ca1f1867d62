"""Legs: how each family's vectors are stored in a segment and searched.

One stateless class a family; what it stores are plain arrays, so segments know nothing of families.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from korag.collection import late_interaction, token_codes
from korag.collection.segments import Arrays, Part
from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError
from korag.kernels import postings
from korag.scoring import Ints, dot_rows, maxsim_packed, pack_tokens, sparse_cosines, sparse_dot, unit_rows
from korag.workers import run_all, run_here

_SMALL = 8_192
"""Up to so many documents, waking the other cores takes longer than it saves."""


class Scorer(Protocol):
    """What scores rows of one segment."""

    def scores(self, arrays: Arrays, query: Any, rows: Ints) -> NDArray[np.float32]:
        """As `Leg.scores`."""
        ...


def score_all(
    leg: Scorer, queries: Sequence[Any], parts: Sequence[Part], *, threads: bool = False
) -> Iterator[NDArray[np.float32]]:
    """`Leg.search` by scoring every document.

    Args:
        leg: What scores.
        queries: Prepared.
        parts: The documents.
        threads: Score segments of a large collection on all cores; for what is not done under Python's lock.
    """
    firsts = np.cumsum([0, *(len(part.rows) for part in parts)]).tolist()
    run = run_all if threads and firsts[-1] > _SMALL else run_here
    for query in queries:
        scores = np.empty(firsts[-1], np.float32)

        def work(number: int, query: Any = query, scores: NDArray[np.float32] = scores) -> None:
            part = parts[number]
            scores[firsts[number] : firsts[number + 1]] = leg.scores(part.arrays, query, part.rows)

        run(work, range(len(parts)))
        yield scores


@dataclass(frozen=True)
class LiveSegment:
    """What a leg sees of one segment.

    Attributes:
        arrays: The leg's arrays.
        live: Which rows' documents still exist. Shape: (rows,).
    """

    arrays: Arrays
    live: NDArray[np.bool_]


class Leg(Protocol):
    """One way to search: how texts are represented, stored and scored."""

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool | None) -> Any:
        """Represents documents."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> list[Any]:
        """Represents queries, one entry each."""
        ...

    def pack(self, vectors: Any) -> dict[str, NDArray[Any]]:
        """Turns what `encode_documents` returned into the arrays a segment stores."""
        ...

    def unpack(self, arrays: Arrays, rows: Ints) -> Any:
        """Returns the representations of some rows, as `pack` takes them."""
        ...

    def join(self, parts: Sequence[Any]) -> Any:
        """Puts unpacked representations end to end."""
        ...

    def prepare(self, query: Any, segments: Sequence[LiveSegment]) -> Any:
        """Adds to a query what it needs to know of the whole collection."""
        ...

    def scores(self, arrays: Arrays, query: Any, rows: Ints) -> NDArray[np.float32]:
        """Scores some rows for a prepared query; −inf for one that does not match at all."""
        ...

    def search(
        self, queries: Sequence[Any], parts: Sequence[Part], k: int, *, exact: bool
    ) -> Iterator[NDArray[np.float32]]:
        """Yields, for each prepared query, the scores of the documents of all parts, one part after the other.

        −inf for a document that does not match, and, if a leg can tell, for those that are not among the k best. If not
        `exact`, a leg may miss some of the k best; what it finds has its score all the same.
        """
        ...

    def best_score(self, query: Any) -> float:
        """The score of a perfect match with a prepared query: what relevance is a share of."""
        ...

    def similarities(self, vectors: Any) -> NDArray[np.float32]:
        """How alike unpacked documents are, two by two; 1 for equal ones. Shape: (n, n)."""
        ...


class EncoderLeg:
    """What the legs of all encoders share."""

    def __init__(self, encoder: Encoder[Any]) -> None:
        self.encoder = encoder

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool | None) -> Any:
        """As the encoder does."""
        return self.encoder.encode_documents(texts, show_progress=show_progress)

    def encode_queries(self, texts: Sequence[str]) -> list[Any]:
        """A batch of one for each query."""
        vectors = self.encoder.encode_queries(texts)
        return [vectors[index : index + 1] for index in range(len(texts))] if len(texts) != 1 else [vectors]

    def prepare(self, query: Any, segments: Sequence[LiveSegment]) -> Any:
        """A vector needs to know nothing of the collection."""
        return query

    def scores(self, arrays: Arrays, query: Any, rows: Ints) -> NDArray[np.float32]:
        """As the family compares vectors."""
        raise NotImplementedError

    def search(
        self, queries: Sequence[Any], parts: Sequence[Part], k: int, *, exact: bool
    ) -> Iterator[NDArray[np.float32]]:
        """Scores every document."""
        return score_all(self, queries, parts)


class DenseLeg(EncoderLeg):
    """Vectors in float32, of unit length if they are compared by cosine. Shape: (n, dim)."""

    def __init__(self, encoder: Encoder[Any]) -> None:
        super().__init__(encoder)
        self._cosine = encoder.similarity == "cosine"

    def encode_documents(self, texts: Sequence[str], *, show_progress: bool | None) -> NDArray[np.float32]:
        """Scaled here, once: scaling again when segments are merged would change the last bits."""
        vectors: NDArray[np.float32] = super().encode_documents(texts, show_progress=show_progress)
        return self._scaled(vectors)

    def encode_queries(self, texts: Sequence[str]) -> list[Any]:
        """A vector each. Shape: (dim,)."""
        return list(self._scaled(self.encoder.encode_queries(texts)))

    def check_query(self, vector: Sequence[float]) -> NDArray[np.float32]:
        """Returns a query vector as `encode_queries` does.

        Raises:
            InvalidArgumentError: If it is not a vector of this leg's dimension, or not finite.
        """
        try:
            given = np.asarray(vector, np.float32)
        except (TypeError, ValueError):  # not numbers: no shape of theirs would do
            given = np.zeros(0, np.float32)
        if given.shape != (self.encoder.dim,) or not np.isfinite(given).all():
            raise InvalidArgumentError(
                f"질의 벡터의 모양이 {given.shape}입니다. 유한한 수 {self.encoder.dim}개여야 합니다. 같은 모델"
                f"('{self.encoder.model_name}')로 질의를 인코딩하세요.",
                f"The query vector has shape {given.shape}; it must be {self.encoder.dim} finite numbers of "
                f"'{self.encoder.model_name}'. Encode the query with the same model.",
            )
        scaled: NDArray[np.float32] = self._scaled(given[None])[0]
        return scaled

    def _scaled(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        return unit_rows(vectors) if self._cosine else vectors

    def pack(self, vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Stores rows."""
        return {"vectors": vectors}

    def unpack(self, arrays: Arrays, rows: Ints) -> NDArray[np.float32]:
        """Shape: (len(rows), dim)."""
        unpacked: NDArray[np.float32] = arrays["vectors"][rows]
        return unpacked

    def join(self, parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Shape: (sum of rows, dim)."""
        return np.concatenate(parts)

    def scores(self, arrays: Arrays, query: NDArray[np.float32], rows: Ints) -> NDArray[np.float32]:
        """Cosine or dot product."""
        vectors: NDArray[np.float32] = arrays["vectors"]
        if len(rows) < len(vectors):
            vectors = vectors[rows]
        return dot_rows(query, vectors)

    def search(
        self, queries: Sequence[Any], parts: Sequence[Part], k: int, *, exact: bool
    ) -> Iterator[NDArray[np.float32]]:
        """Scores every document."""
        return score_all(self, queries, parts, threads=True)

    def best_score(self, query: NDArray[np.float32]) -> float:
        """The query with itself: 1 for cosine."""
        return float(query @ query)

    def similarities(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cosines."""
        rows = unit_rows(vectors)
        alike: NDArray[np.float32] = rows @ rows.T
        return alike


class SparseLeg(EncoderLeg):
    """Term weights as postings (compressed columns), so that a search touches the query's terms only."""

    def pack(self, vectors: sp.csr_array) -> dict[str, NDArray[Any]]:
        """Stores columns. Shape before: (n, vocab)."""
        columns = vectors.tocsc()
        columns.sort_indices()
        # Of one type: scipy would otherwise copy the rows to the wider one at every search.
        integers = np.int32 if columns.nnz <= np.iinfo(np.int32).max else np.int64
        return {
            "weights": columns.data.astype(np.float32),
            "rows": columns.indices.astype(integers),
            "terms": columns.indptr.astype(integers),
            "shape": np.array(columns.shape, np.int64),
        }

    def unpack(self, arrays: Arrays, rows: Ints) -> sp.csr_array:
        """Shape: (len(rows), vocab)."""
        return self._postings(arrays).tocsr()[rows]

    def join(self, parts: Sequence[sp.csr_array]) -> sp.csr_array:
        """Shape: (sum of rows, vocab)."""
        return sp.csr_array(sp.vstack(parts, format="csr"))

    def scores(self, arrays: Arrays, query: sp.csr_array, rows: Ints) -> NDArray[np.float32]:
        """Dot products; documents that share no term do not match."""
        if postings.can_add() and arrays["rows"].dtype == np.int32:
            starts, ends = arrays["terms"][query.indices], arrays["terms"][query.indices + 1]
            scores = np.zeros(int(arrays["shape"][0]), np.float32)
            postings.add_postings(arrays["weights"], arrays["rows"], starts, ends, query.data, scores)
        else:
            scores = sparse_dot(query, self._postings(arrays))
        if len(rows) < len(scores):
            scores = scores[rows]
        np.copyto(scores, -np.inf, where=scores <= 0)  # five times as fast as scores[…] = …
        return scores

    def best_score(self, query: sp.csr_array) -> float:
        """The query with itself."""
        return float(query.data @ query.data)

    def similarities(self, vectors: sp.csr_array) -> NDArray[np.float32]:
        """Cosines."""
        return sparse_cosines(vectors)

    @staticmethod
    def _postings(arrays: Arrays) -> sp.csc_array:
        parts = (arrays["weights"], arrays["rows"], arrays["terms"])
        return sp.csc_array(parts, shape=tuple(arrays["shape"].tolist()), copy=False)


class LateInteractionLeg(EncoderLeg):
    """Token vectors in float16, end to end, with the offsets of documents; and in bytes, for a first look at all."""

    def pack(self, vectors: list[NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """Stores tokens, shape (total_tokens, dim), and offsets, shape (n + 1,)."""
        tokens, offsets = pack_tokens(vectors, dim=0)
        half = tokens.astype(np.float16, copy=False)
        return {"tokens": half, "offsets": offsets, **token_codes.encode(half, offsets)}

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
        return late_interaction.search([query[0] for query in queries], parts, k, exact=exact)

    def best_score(self, query: list[NDArray[np.float32]]) -> float:
        """The query with itself: the number of its tokens, whose vectors are of unit length."""
        return float((query[0] * query[0]).sum())

    def similarities(self, vectors: list[NDArray[np.float16]]) -> NDArray[np.float32]:
        """MaxSim of two documents as a mean over the tokens of either."""
        tokens, offsets = pack_tokens(vectors, dim=0)
        means = np.stack([maxsim_packed(one, tokens, offsets) / np.float32(max(1, len(one))) for one in vectors])
        return np.asarray((means + means.T) / 2, np.float32)


LEG_NAMES = {"dense": "dense", "sparse": "sparse", "late_interaction": "colbert"}
"""What `using=` calls the leg of each family."""

_LEGS: dict[str, Callable[[Encoder[Any]], Leg]] = {
    "dense": DenseLeg,
    "sparse": SparseLeg,
    "late_interaction": LateInteractionLeg,
}


def make_leg(encoder: Encoder[Any]) -> Leg:
    """Returns the leg for an encoder's vectors."""
    return _LEGS[encoder.family](encoder)
