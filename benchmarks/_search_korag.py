"""Fills or measures one collection, in a process of its own, so that its memory is no one else's; for search.py."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _passages
import numpy as np
from _common import disk, forget, resident, write
from _search_runs import Found, Hits, K, answer, read, timed
from _vectors import Vectors
from numpy.typing import NDArray

from korag import Collection
from korag.scoring import unit_rows

WAYS: dict[str, dict[str, Any]] = {"pruned": {"exact": False}, "exact": {}}
"""Arguments of a search, by the name that a way to search has in the tables; the exact one last, as it reads all."""
FILTERS: dict[str, dict[str, Any] | None] = {"all": None, "10 %": {"tenth": 0}, "1 %": {"hundredth": 0}}
DEFAULT = "default"
"""Codec of a collection that names none."""
_ENOUGH = 400
"""Documents of 100 tokens from which every codec learns what it needs, so that its kernels are compiled."""
_STEP = 20_000
"""Documents added at a time, so that a filling that was stopped is continued."""


def main() -> None:
    """Does a task."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    tasks: dict[str, Callable[..., dict[str, Any]]] = {"fill": fill, "measure": measure}
    answer(tasks[task.pop("do")](**task))


def fill(folder: str, codec: str, vectors: str, count: int) -> dict[str, Any]:
    """Makes a collection, or goes on with one that is unfinished.

    Args:
        folder: The collection.
        codec: Its codec.
        vectors: Folder of the passages.
        count: Number of documents.

    Returns:
        ``added``, the seconds it took, and ``real``, the number of real passages.
    """
    passages, log = _passages.Passages(Path(vectors), count), Path(folder + ".json")
    done = read(log) or {"real": passages.real, "added": 0.0}
    if done["real"] != passages.real:
        raise SystemExit(f"{folder} is made of {done['real']:,} passages; there are {passages.real:,}. Delete it.")
    with Collection.open(folder, encoders=[Vectors(passages)], codecs=_codecs(codec)) as collection:
        for first in range(len(collection), count, _STEP):
            started = time.perf_counter()
            numbers = range(first, min(first + _STEP, count))
            names, metadata = list(map(str, numbers)), [{"tenth": n % 10, "hundredth": n % 100} for n in numbers]
            collection.add(names, ids=names, metadata=metadata, show_progress=False)
            done["added"] += time.perf_counter() - started
            write(done, log)
            print(f"{folder}: {numbers.stop:,} in {done['added']:.0f} s", file=sys.stderr, flush=True)
    return dict(done)


def measure(folder: str, codec: str, vectors: str, queries: int) -> dict[str, Any]:
    """Opens a collection, whose files are on the disk and not in memory, and searches it.

    Args:
        folder: The collection.
        codec: Its codec.
        vectors: Folder of the queries.
        queries: How many of them.

    Returns:
        Bytes, seconds, and what each way to search found with each filter.
    """
    encoder = Vectors(_Some(), _passages.queries(Path(vectors), queries))
    started = time.perf_counter()
    with Collection.in_memory(encoders=[encoder], codecs=_codecs(codec)) as small:  # imports, and compiles the kernels
        small.add(list(map(str, range(_ENOUGH))), show_progress=False)
        for arguments in WAYS.values():
            small.search("0", k=1, **arguments)
    ready, imports = time.perf_counter() - started, resident()
    forget(Path(folder))
    started = time.perf_counter()
    collection = Collection.open(folder, encoders=[encoder], codecs=_codecs(codec))
    opened = time.perf_counter() - started
    started = time.perf_counter()
    collection.search("0", k=K, exact=False)
    first = time.perf_counter() - started
    ways: dict[str, dict[str, Found]] = {}
    memory: dict[str, int | None] = {}
    for way, arguments in WAYS.items():
        ways[way] = {}
        for share, where in FILTERS.items():

            def search(query: int, arguments: dict[str, Any] = arguments | {"where": where}) -> Hits:
                return [(hit.id, hit.score) for hit in collection.search(str(query), k=K, **arguments)]

            ways[way][share] = timed(search, queries)
        memory[way] = resident()
    collection.close()
    whole, segments = disk(Path(folder)), disk(Path(folder) / "segments")
    return {
        "opened": opened, "first": first, "ready": ready, "imports": imports, "memory": memory,
        "segments": segments, "database": whole - segments, "ways": ways,
    }  # fmt: skip


class _Some:
    """Any documents."""

    def document(self, number: int) -> NDArray[np.float32]:
        """Shape: (100, dim)."""
        return unit_rows(np.random.default_rng(number).standard_normal((100, _passages.DIM), np.float32))


def _codecs(codec: str) -> dict[str, str] | None:
    return None if codec == DEFAULT else {"colbert": codec}


if __name__ == "__main__":
    main()
