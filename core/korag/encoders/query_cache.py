"""Vectors of the queries asked last: a chat, an agent or a hybrid chain often asks the same thing again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any


class QueryCache:
    """The rows of a bounded number of queries, the least recently asked forgotten first. Safe for many threads."""

    def __init__(self) -> None:
        self._rows: OrderedDict[str, Any] = OrderedDict()
        self._lock = threading.Lock()

    def rows(self, queries: Sequence[str], size: int, encode: Callable[[list[str]], list[Any]]) -> list[Any]:
        """Returns the row of each query, encoding those that are not known.

        Args:
            queries: Queries, normalized.
            size: How many to keep.
            encode: Returns a row for each of some queries.

        Returns:
            Copies, in order.
        """
        found: dict[str, Any] = {}
        with self._lock:
            for query in queries:
                if query in self._rows:
                    self._rows.move_to_end(query)
                    found[query] = self._rows[query]
        if missing := [query for query in dict.fromkeys(queries) if query not in found]:
            new = dict(zip(missing, encode(missing), strict=True))
            found |= new
            with self._lock:
                self._rows.update(new)
                while len(self._rows) > size:
                    self._rows.popitem(last=False)
        return [found[query].copy() for query in queries]
