"""Legs: how each family's vectors are stored in a segment and searched.

One stateless class a family; what it stores are plain arrays, so segments know nothing of families.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from korag.encoders.base import Encoder
from korag.scoring import Ints
from korag.workers import run_all, run_here

_SMALL = 8_192
"""Up to so many documents, waking the other cores takes longer than it saves."""


Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Part:
    """What one leg may find in one segment.

    Attributes:
        arrays: The leg's arrays.
        rows: Rows to choose from, ascending. Shape: (documents,).
    """

    arrays: Arrays
    rows: NDArray[np.int64]


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

    def max_score(self, query: Any) -> float:
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
