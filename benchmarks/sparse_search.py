"""Sparse search: korag's postings and scipy's matrices, in turns.

    python benchmarks/sparse_search.py --json docs/performance/sparse.json

Random documents have 780 of 50,000 terms, distributed like mini-splade's terms over Korean texts (the most frequent one
is in half of the documents). Queries have 51 terms of the same distribution, so that they are about five times as
frequent as the average term. korag's times include reading the documents from the collection. The matrix by rows is
measured separately.
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
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--terms", type=int, default=780, help="per document")
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    facts, gbs = machine_facts(), copy_gbs()
    rng = np.random.default_rng(0)
    parts = [draw(rng, min(5_000, options.documents - n), options.terms) for n in range(0, options.documents, 5_000)]
    documents, queries = sp.csr_array(sp.vstack(parts, format="csr")), draw(rng, options.queries, 51)
    encoder = SparseVectors(documents, queries)
    ids = [str(number) for number in range(options.documents)]
    tenths = (rng.permutation(options.documents) % 10).tolist()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        with Collection.open(folder, encoders=[encoder]) as collection:
            collection.add(ids, ids=ids, metadata=[{"tenth": tenth} for tenth in tenths], show_progress=False)
        added = time.perf_counter() - started
        started = time.perf_counter()
        collection = Collection.open(folder, encoders=[encoder])
        collection.search("0", k=1)  # maps the segments and verifies their checksums
        opened = time.perf_counter() - started
        columns = documents.tocsc()
        columns.sort_indices()

        def best(scores: Any) -> list[str]:
            top = np.argpartition(-scores, K)[:K]
            return [str(number) for number in top[np.argsort(-scores[top], kind="stable")]]

        def by_columns(query: int) -> list[str]:
            row = queries[[query]]
            return best(columns[:, row.indices] @ row.data)

        searchers: dict[str, Searcher] = {
            "KoRAG": lambda query: [hit.id for hit in collection.search(str(query), k=K)],
            "KoRAG, filter 10 %": lambda query: [h.id for h in collection.search(str(query), k=K, where={"tenth": 0})],
            "scipy, columns of one matrix": by_columns,
        }
        by_rows: dict[str, Searcher] = {
            "scipy, rows of one matrix": lambda query: best(documents @ queries[[query]].toarray()[0])
        }
        seconds, found = take_turns(searchers, options.queries)
        # Separately, because it reads the whole matrix and so evicts everything else from the cache.
        its_seconds, its_found = take_turns(by_rows, options.queries)
        seconds, found = seconds | its_seconds, found | its_found
        collection.close()
    postings = statistics.mean(np.diff(columns.indptr)[queries[[n]].indices].sum() for n in range(options.queries))
    rows = [
        {
            "searcher": name,
            **latencies(own),
            "recall@10": None if "filter" in name else statistics.mean(map(recall, found[name], found["KoRAG"])),
            "time ÷ KoRAG": statistics.median(a / b for a, b in zip(own, seconds["KoRAG"], strict=False)),
        }
        for name, own in seconds.items()
    ]
    title = f"Sparse: {options.documents:,} documents, {documents.nnz / options.documents:.0f} terms each"
    limit = postings * 8 / statistics.median(seconds["KoRAG"]) / 1e9
    notes = [
        f"A query has {postings:,.0f} postings of 8 bytes: {limit:.1f} GB/s; copying memory: {gbs:.1f} GB/s.",
        f"Added in {added:.0f} s; opened, with checksums, in {opened:.1f} s.",
    ]
    publish(results(facts, {title: rows}, notes=notes), options.json)


if __name__ == "__main__":
    main()
