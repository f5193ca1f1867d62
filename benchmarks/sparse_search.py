"""Sparse search: korag's postings and scipy's matrix, in turns; by number of documents and share that a filter keeps.

    python benchmarks/sparse_search.py --json docs/performance/sparse.json

Random documents have 780 of 50,000 terms, distributed like mini-splade's terms over Korean texts (the most frequent one
is in half of the documents). Queries have 51 terms of the same distribution, so that they are about five times as
frequent as the average term. korag's times include reading the documents from the collection. A document takes 4.7 kB
on disk, and as much again while segments are merged.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from _common import Searcher, copy_gbs, latencies, machine_facts, publish, results, take_turns
from _vectors import LookupEncoder, recall

from korag import Collection
from korag.checkpoints.presets import Family

VOCABULARY, K = 50_000, 10
CURVE = np.cumsum((np.arange(VOCABULARY) + 100.0) ** -0.8)
CURVE /= CURVE[-1]


def draw(rng: np.random.Generator, rows: int, terms: int) -> sp.csr_array:
    """Draws rows with about `terms` distinct weighted terms. Shape: (rows, vocabulary)."""
    drawn = np.searchsorted(CURVE, rng.random((rows, round(terms * 1.06)))).astype(np.int32)
    drawn.sort(axis=1)
    new = np.diff(drawn, axis=1, prepend=-1) > 0
    starts = np.concatenate([[0], np.cumsum(new.sum(axis=1))])
    weights = rng.gamma(2.0, 0.4, int(starts[-1])).astype(np.float32)
    return sp.csr_array((weights, drawn[new], starts.astype(np.int32)), shape=(rows, VOCABULARY))


class SparseVectors(LookupEncoder[sp.csr_array]):
    """An encoder that looks up rows by number.

    Args:
        documents: Shape: (documents, vocabulary).
        queries: Shape: (queries, vocabulary).
    """

    family: ClassVar[Family] = "sparse"

    def __init__(self, documents: sp.csr_array, queries: sp.csr_array) -> None:
        super().__init__(VOCABULARY, "dot")
        self._documents, self._queries = documents, queries

    def encode_documents(self, texts: Iterable[str], *, show_progress: bool | None = None) -> Any:
        """Returns the rows of documents given by number."""
        return self._documents[[int(text) for text in texts]]

    def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = None) -> Any:
        """Returns the rows of queries given by number."""
        return self._queries[[int(text) for text in texts]]


def main() -> None:
    """Measures all searchers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", nargs="+", type=int, default=[100_000, 300_000])
    parser.add_argument("--terms", type=int, default=780, help="per document")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes = sorted(options.documents)
    facts, gbs = machine_facts("numba"), copy_gbs()
    rng = np.random.default_rng(0)
    parts = [draw(rng, min(5_000, sizes[-1] - n), options.terms) for n in range(0, sizes[-1], 5_000)]
    documents, queries = sp.csr_array(sp.vstack(parts, format="csr")), draw(rng, options.queries, 51)
    del parts
    encoder = SparseVectors(documents, queries)
    hundredths = (rng.permutation(sizes[-1]) % 100).tolist()
    tables, notes = {}, []
    with tempfile.TemporaryDirectory() as folder:
        size = 0
        for target in sizes:
            started = time.perf_counter()
            ids = [str(number) for number in range(size, target)]
            with Collection.open(folder, encoders=[encoder]) as collection:
                shares = [{"tenth": own % 10, "hundredth": own} for own in hundredths[size:target]]
                collection.add(ids, ids=ids, metadata=shares, show_progress=False)
            added, size = time.perf_counter() - started, target
            started = time.perf_counter()
            with Collection.open(folder, encoders=[encoder]) as collection:
                collection.search("0", k=1)  # maps the segments, and compiles the kernels
                opened = time.perf_counter() - started
                rows, postings = measure(collection, documents[:size], queries)
            tables[f"Sparse: {size:,} documents, {documents[:size].nnz / size:.0f} terms each"] = rows
            speed = postings * 6 / (rows[0]["p50, ms"] / 1e3) / 1e9
            notes += [
                f"{size:,} documents: a query has {postings:,.0f} postings of 6 bytes: {speed:.1f} GB/s; copying "
                f"memory: {gbs:.1f} GB/s. Added in {added:.0f} s; opened and searched for the first time, kernels "
                f"compiled, in {opened:.1f} s."
            ]
    publish(results(facts, tables, notes=notes), options.json)


def measure(
    collection: Collection, documents: sp.csr_array, queries: sp.csr_array
) -> tuple[list[dict[str, Any]], float]:
    """Times all searchers.

    Args:
        collection: Has the documents.
        documents: Shape: (documents, vocabulary).
        queries: Shape: (queries, vocabulary).

    Returns:
        A row of the table for each, and the mean number of postings that a query has.
    """
    count = queries.shape[0]
    columns = documents.tocsc()
    columns.sort_indices()

    def by_columns(query: int) -> list[str]:
        row = queries[[query]]
        scores = columns[:, row.indices] @ row.data
        top = np.argpartition(-scores, K)[:K]
        return [str(number) for number in top[np.argsort(-scores[top], kind="stable")]]

    def ours(where: dict[str, Any] | None) -> Searcher:
        return lambda query: [hit.id for hit in collection.search(str(query), k=K, where=where)]

    searchers: dict[str, Searcher] = {
        "KoRAG": ours(None),
        "KoRAG, filter 10 %": ours({"tenth": 0}),
        "KoRAG, filter 1 %": ours({"hundredth": 0}),
        "scipy, columns of one matrix": by_columns,
    }
    seconds, found = take_turns(searchers, count)
    rows = [
        {
            "searcher": name,
            **latencies(own),
            "recall@10": None if "filter" in name else statistics.mean(map(recall, found[name], found["KoRAG"])),
            "time ÷ KoRAG": statistics.median(a / b for a, b in zip(own, seconds["KoRAG"], strict=False)),
        }
        for name, own in seconds.items()
    ]
    return rows, statistics.mean(np.diff(columns.indptr)[queries[[n]].indices].sum() for n in range(count))


if __name__ == "__main__":
    main()
