"""BM25 search by number of documents, share that a filter keeps, and with every posting read.

    python benchmarks/bm25_search.py --folder build/passages --json docs/performance/bm25.json

The folder has ``passages.json``, texts of up to 520 characters, and ``queries.json``, questions; `search.py` makes it.
Beyond the passages, a document is a window over two of them: the first quarter of one (half, three quarters) is
left out, and as much of the next one is added. Tokens are the default bigrams. Every search is checked against one that
reads all postings. A million documents take a quarter of an hour to add, and 4 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from _common import Searcher, latencies, machine_facts, publish, results, take_turns

from korag import Collection
from korag.legs.bm25_codecs import BM25Codec, PostingsCodec

K, LAPS, BATCH = 10, 4, 20_000
ALL = "KoRAG, all postings"


def documents(passages: Sequence[str], start: int, end: int) -> Iterator[str]:
    """Returns documents by number.

    Args:
        passages: The real ones, which come first.
        start: The first one.
        end: The end.

    Raises:
        SystemExit: If there are too few passages.
    """
    if end > LAPS * len(passages):
        raise SystemExit(f"{end:,} documents: {len(passages):,} passages make at most {LAPS * len(passages):,}.")
    for number in range(start, end):
        lap, own = divmod(number, len(passages))
        text, following = passages[own], passages[(own + 1) % len(passages)]
        yield text[len(text) * lap // LAPS :] + following[: len(following) * lap // LAPS]


def measure(collection: Collection, queries: Sequence[str]) -> list[dict[str, Any]]:
    """Times searches, filtered and not, in turns.

    Args:
        collection: Its documents have a ``tenth`` and a ``hundredth``.
        queries: The questions.

    Returns:
        A row of the table for each.

    Raises:
        SystemExit: If reading all postings finds something else.
    """

    def search(where: dict[str, Any] | None) -> Searcher:
        return lambda query: [hit.id for hit in collection.search(queries[query], k=K, where=where)]

    def all_postings(query: int) -> list[str]:
        with patch.object(PostingsCodec, "best_scores", BM25Codec.best_scores):
            return search(None)(query)

    searchers: dict[str, Searcher] = {
        "KoRAG": search(None),
        "KoRAG, filter 10 %": search({"tenth": 0}),
        "KoRAG, filter 1 %": search({"hundredth": 0}),
        ALL: all_postings,
    }
    seconds, found = take_turns(searchers, len(queries))
    if any(ours != all_ for ours, all_ in zip(found["KoRAG"], found[ALL], strict=False)):
        raise SystemExit("Reading all postings finds other documents.")
    return [
        {
            "searcher": name,
            **latencies(own),
            "time ÷ KoRAG": statistics.median(a / b for a, b in zip(own, seconds["KoRAG"], strict=False)),
        }
        for name, own in seconds.items()
    ]


def main() -> None:
    """Measures at every size, and once more after deleting 1 % of the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--documents", nargs="+", type=int, default=[100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    passages = json.loads((options.folder / "passages.json").read_text("utf-8"))
    queries = json.loads((options.folder / "queries.json").read_text("utf-8"))[: options.queries]
    facts, sizes = machine_facts("numba"), sorted(options.documents)
    hundredths = (np.random.default_rng(0).permutation(sizes[-1]) % 100).tolist()
    tables: dict[str, list[dict[str, Any]]] = {}
    notes, size = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for target in sizes:
            started = time.perf_counter()
            with Collection.open(folder, bm25=True) as collection:
                for start in range(size, target, BATCH):
                    end = min(start + BATCH, target)
                    shares = [{"tenth": own % 10, "hundredth": own} for own in hundredths[start:end]]
                    ids = [str(number) for number in range(start, end)]
                    collection.add(list(documents(passages, start, end)), ids=ids, metadata=shares, show_progress=False)
            added, size = time.perf_counter() - started, target
            disk = sum(path.stat().st_size for path in Path(folder).rglob("segments/*"))
            started = time.perf_counter()
            with Collection.open(folder) as collection:
                collection.search(queries[0], k=1)
                opened = time.perf_counter() - started
                tables[f"BM25: {size:,} documents"] = measure(collection, queries)
                if target == sizes[-1]:
                    collection.delete([str(number) for number in range(0, size, 100)])
                    tables[f"BM25: {size:,} documents, of which 1 % are deleted"] = measure(collection, queries)
            notes.append(
                f"{size:,} documents: {min(size, len(passages)):,} real passages, otherwise windows over two; segments "
                f"of {disk / size:,.0f} bytes a document. Added in {added:.0f} s; opened and searched for the first "
                f"time, kernels compiled, in {opened:.1f} s."
            )
    publish(results(facts, tables, notes=notes), options.json)


if __name__ == "__main__":
    main()
