"""Numbers of documents that have a term: each is a request, so few are asked for, and they are kept for seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from qdrant_client import models as m

from korag.collection.qdrant.points import terms_text
from korag.collection.qdrant.transport import Transport
from korag.forking import Lock
from korag.legs.bm25 import QueryTerms

_MOST = 128
"""Terms of a query that are counted; of more, these are a sample, whose mean weight is off by a few percent."""
_TOGETHER = 8
"""Requests at a time."""
_KEPT = 10_000
"""Terms whose numbers are kept."""
_SECONDS = 10.0
"""For how long: programs that write here meanwhile change little in that time."""


class Frequencies:
    """Document frequencies of one collection on a server; many threads may ask.

    A number is kept for ten seconds, until this collection is written to here, or until the number of its documents is
    another one.

    Args:
        transport: The server.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = Lock()
        self._kept: dict[str, _Kept] = {}

    def of(self, field: str, queries: Sequence[QueryTerms]) -> tuple[int, dict[int, int]]:
        """Counts documents.

        Args:
            field: The one with the terms.
            queries: Of each, up to 128 terms are counted.

        Returns:
            All documents with terms, and those with each term that was counted.
        """
        if not queries:
            return 0, {}
        writes = self._transport.writes  # before anything is counted: a number from during a write is not kept
        terms = list(dict.fromkeys(term for query in queries for term in _counted(query)))
        documents = self._count(m.Filter(must_not=[m.IsEmptyCondition(is_empty=m.PayloadField(key=field))]))
        with self._lock:
            kept = self._kept.get(field)
            if kept is None or not kept.holds(writes, documents):
                kept = self._kept[field] = _Kept(writes, documents)
            known = {term: kept.numbers[term] for term in terms if term in kept.numbers}
        missing = [term for term in terms if term not in known]
        conditions = [
            m.Filter(must=[m.FieldCondition(key=field, match=m.MatchText(text=terms_text([term])))]) for term in missing
        ]
        if missing:
            with ThreadPoolExecutor(min(_TOGETHER, len(missing))) as pool:
                found = dict(zip(missing, pool.map(self._count, conditions), strict=True))
            with self._lock:
                if len(kept.numbers) + len(found) <= _KEPT:
                    kept.numbers |= found
            known |= found
        return documents, known

    def of_all(self, field: str, query: QueryTerms) -> tuple[int, dict[int, int]]:
        """As `of` for one query, each of whose terms is counted."""
        return self.of(field, [query.part(first, first + _MOST) for first in range(0, len(query.terms), _MOST)])

    def _count(self, condition: m.Filter) -> int:
        return int(self._transport.call("count", count_filter=condition, exact=True).count)


class _Kept:
    """Numbers that were counted when a collection was in one state."""

    def __init__(self, writes: int, documents: int) -> None:
        self.numbers: dict[int, int] = {}
        self._state = writes, documents
        self._until = time.monotonic() + _SECONDS

    def holds(self, writes: int, documents: int) -> bool:
        """Returns True if they still count."""
        return self._state == (writes, documents) and time.monotonic() < self._until


def frequencies_of(query: QueryTerms, counted: Mapping[int, int]) -> NDArray[np.float64]:
    """Returns the documents with each term of a query. Shape: (terms,).

    One that was not counted gets the number that gives it the mean weight of the ordinary others. Weights, ``ln((N + 1)
    / (df + ½))``, are linear in the logarithm of ``df + ½``, so the mean is taken of that.
    """
    known = np.array([counted.get(int(term), -1) for term in query.terms], np.float64)
    is_known = known >= 0
    if is_known.all() or not is_known.any():
        return np.maximum(known, 0.0)
    ordinary = is_known & ~_decides(query)
    sample = known[ordinary if ordinary.any() else is_known]
    typical = np.exp(np.log(sample + 0.5).mean()) - 0.5
    return np.where(is_known, known, max(float(typical), 0.01))  # above 0, since documents may have it


def _decides(query: QueryTerms) -> NDArray[np.bool_]:
    """Which terms' numbers decide more than their weight. Shape: (terms,)."""
    return query.identifiers | query.alternatives


def _counted(query: QueryTerms) -> list[int]:
    """The terms to count: those that decide more first, then the lowest hashes, which is to say any."""
    order = np.lexsort((query.terms, ~_decides(query)))[:_MOST]
    return [int(term) for term in query.terms[order]]
