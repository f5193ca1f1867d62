"""Caches the vectors of recent queries: chats, agents and hybrid chains often repeat a query."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
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
        found = self._find(queries)
        if missing := [query for query in dict.fromkeys(queries) if query not in found]:
            found |= self._keep(missing, encode(missing))
        return [found[query].copy() for query in queries]

    async def arows(self, queries: Sequence[str], encode: Callable[[list[str]], Awaitable[list[Any]]]) -> list[Any]:
        """As `rows`, for coroutines."""
        found = self._find(queries)
        if missing := [query for query in dict.fromkeys(queries) if query not in found]:
            found |= self._keep(missing, await encode(missing))
        return [found[query].copy() for query in queries]

    def _find(self, queries: Sequence[str]) -> dict[str, Any]:
        with self._lock:
            return {query: self._rows[query] for query in queries if query in self._rows}

    def _keep(self, queries: list[str], rows: list[Any]) -> dict[str, Any]:
        new = dict(zip(queries, rows, strict=True))
        with self._lock:
            self._rows.update(new)
        return new
