"""Caches the vectors of recent queries: chats, agents and hybrid chains often repeat a query."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cachetools import LRUCache

from korag.forking import Lock


class QueryCache:
    """LRU cache of query rows. Safe to use from many threads.

    Args:
        size: Maximum number of queries.
    """

    def __init__(self, size: int) -> None:
        rows: LRUCache[str, Any] = LRUCache(size)
        self._rows = rows
        self._lock = Lock(lambda: LRUCache.__init__(rows, size))

    def rows(self, queries: Sequence[str], encode: Callable[[list[str]], list[Any]]) -> list[Any]:
        """Returns the row of each query, encoding those that are not cached.

        Args:
            queries: Normalized queries.
            encode: Returns one row per query.

        Returns:
            Copies, in order.
        """
        with self._lock:
            found = {query: self._rows[query] for query in queries if query in self._rows}
        if missing := [query for query in dict.fromkeys(queries) if query not in found]:
            new = dict(zip(missing, encode(missing), strict=True))
            found |= new
            with self._lock:
                self._rows.update(new)
        return [found[query].copy() for query in queries]
