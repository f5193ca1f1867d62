"""Dense search in large collections: korag's codecs, exact and pruned, and faiss, in turns.

    python benchmarks/dense_search.py --texts PARQUET --questions PARQUET --json docs/performance/dense.json

Vectors of 1,024 dimensions for a million documents are made of real ones: texts and questions are encoded by
mini-dense, whose 192 dimensions an isometry takes into 1,024. The first documents are those texts. Each further one is
the vector of a text, half as much of another one's, and noise of .3 of its length in all dimensions. Cosines are
distributed about as the real ones are, which decides how many documents a search has to look at.

faiss searches its whole index in memory, by all vectors (IndexFlatIP) or a graph (HNSW with 32 neighbours, built only
up to --hnsw documents: a million takes an hour). Its times are without documents; those of KoRAG are with them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from _common import Searcher, copy_gbs, latencies, machine_facts, publish, results, take_turns
from _texts import read_texts
from _vectors import Floats, LookupEncoder, recall

from korag import Collection, load_encoder
from korag.checkpoints.presets import Family
from korag.scoring import unit_rows

K, BLOCK, SEED = 10, 10_000, 7
SHARES = (1.0, 0.1, 0.01)
"""Documents that a filter allows."""
EF = (64, 256)
"""Sizes of faiss's list of candidates."""


class DenseVectors(LookupEncoder[Floats]):
    """An encoder that looks up vectors by number.

    Args:
        documents: Shape: (documents, dim).
        queries: Shape: (queries, dim).
    """

    family: ClassVar[Family] = "dense"

    def __init__(self, documents: Floats, queries: Floats) -> None:
        super().__init__(documents.shape[1], "cosine")
        self._documents, self._queries = documents, queries

    def encode_documents(self, texts: Iterable[str], *, show_progress: bool | None = None) -> Any:
        """Returns the rows of documents given by number."""
        return self._documents[[int(text) for text in texts]]

    def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = None) -> Any:
        """Returns the rows of queries given by number."""
        return self._queries[[int(text) for text in texts]]


def encoded(texts: Path, questions: Path, count: int, queries: int, cache: Path) -> tuple[Floats, Floats]:
    """Vectors of texts and questions, cached.

    Args:
        texts: As for `read_texts`.
        questions: Parquet with a column ``query``, or a question per line.
        count: Number of texts.
        queries: Number of questions.
        cache: Folder to cache the vectors in.
    """
    file = cache / f"mini-dense-{texts.stem}-{questions.stem}-{count}-{queries}.npz"
    if not file.exists():
        rng, encoder = np.random.default_rng(SEED), load_encoder("mini-dense")
        chosen = [text[:520] for text in read_texts(texts) if len(text) >= 120]
        asked = _read_questions(questions)
        rows = encoder.encode_documents([chosen[i] for i in rng.permutation(len(chosen))[:count]], show_progress=True)
        own = encoder.encode_queries([asked[i] for i in rng.permutation(len(asked))[:queries]])
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(file, documents=np.asarray(rows, np.float32), queries=np.asarray(own, np.float32))
    with np.load(file) as stored:
        return stored["documents"], stored["queries"]


def _read_questions(path: Path) -> list[str]:
    if path.suffix != ".parquet":
        return read_texts(path)
    import pyarrow.parquet as pq

    return list(dict.fromkeys(pq.read_table(path, columns=["query"])["query"].to_pylist()))


def blocks(real: Floats, isometry: Floats, count: int) -> Iterator[Floats]:
    """Yields the vectors of `count` documents, in blocks.

    Args:
        real: Vectors of texts. Shape: (texts, real dim).
        isometry: Shape: (real dim, dim).
        count: Number of documents.
    """
    for first in range(0, count, BLOCK):
        rng, size = np.random.default_rng([SEED, first]), min(BLOCK, count - first)
        numbers = np.arange(first, first + size)
        rows = real[numbers % len(real)]
        made = numbers >= len(real)
        mixed = unit_rows(rows[made] + 0.5 * real[rng.integers(0, len(real), int(made.sum()))])
        wide = rows @ isometry
        noise = rng.standard_normal((len(mixed), isometry.shape[1]), np.float32) * (0.3 / isometry.shape[1] ** 0.5)
        wide[made] = mixed @ isometry + noise
        yield unit_rows(wide)


def allowed(count: int, share: float) -> np.ndarray:
    """The documents that a filter allows, spread evenly."""
    return np.arange(0, count, round(1 / share))


def measure_size(real: Floats, asked: Floats, count: int, options: argparse.Namespace) -> tuple[list[Any], list[str]]:
    """Measures all searchers over `count` documents; returns rows of the table, and notes."""
    rng = np.random.default_rng(SEED)
    isometry = np.linalg.qr(rng.standard_normal((options.dim, real.shape[1])))[0].T.astype(np.float32)
    queries = unit_rows(asked @ isometry)
    searchers: dict[tuple[str, float], Searcher] = {}
    sizes: dict[str, float] = {}
    notes, opened = [], []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        documents = np.lib.format.open_memmap(
            f"{temporary}/vectors.npy", "w+", dtype=np.float32, shape=(count, options.dim)
        )
        for number, block in enumerate(blocks(real, isometry, count)):
            documents[number * BLOCK : number * BLOCK + len(block)] = block
        encoder = DenseVectors(documents, queries)
        ids = [str(number) for number in range(count)]
        metadata = [{"share": [share for share in SHARES if number % round(1 / share) == 0]} for number in range(count)]
        for codec in options.codecs:
            folder = Path(temporary) / codec
            started = time.perf_counter()
            with Collection.open(folder, encoders=[encoder], codecs={"dense": codec}) as collection:
                collection.add(ids, ids=ids, metadata=metadata, show_progress=False)
            added = time.perf_counter() - started
            started = time.perf_counter()
            collection = Collection.open(folder, encoders=[encoder])
            opening = time.perf_counter() - started
            opened.append(collection)
            for share in SHARES:
                for exact in (True, False):
                    name = f"KoRAG {codec}{'' if exact else ', exact=False'}"
                    searchers[name, share] = _korag(collection, share, exact=exact)
                    sizes[name] = sum(file.stat().st_size for file in (folder / "segments").iterdir()) / count
            first = time.perf_counter()
            collection.search("0", k=K)
            notes.append(
                f"{count:,} documents, codec {codec}: added in {added:.0f} s, opened in {opening:.2f} s, first search "
                f"(kernels are compiled, and files read) in {time.perf_counter() - first:.2f} s."
            )
        if not options.no_peers:
            for name, own, built in _faiss(documents, queries, graph=count <= options.hnsw):
                searchers |= own
                sizes[name] = options.dim * 4 + (32 * 2 * 4 if "HNSW" in name else 0)
                notes.append(f"{count:,} documents, {name}: built in {built:.0f} s.")
        truth = {share: list(_truth(documents, queries, share)) for share in SHARES}
        seconds, found = {}, {}
        for share in SHARES:  # one after the other, as collections are used
            named = {name: search for (name, own), search in searchers.items() if own == share}
            seconds[share], found[share] = take_turns(named, len(queries))
        for collection in opened:
            collection.close()
        del documents, encoder
    rows = []
    for name in sizes:
        row: dict[str, Any] = {"documents": count, "searcher": name, **latencies(seconds[1.0][name])}
        for share in SHARES[1:]:
            row[f"filter {share:.0%}, p50 ms"] = statistics.median(seconds[share][name]) * 1e3
        for share in SHARES:
            column = f"recall@{K}" if share == 1 else f"{share:.0%}: recall@{K}"
            row[column] = statistics.mean(map(recall, found[share][name], truth[share]))
        rows.append(row | {"bytes a document": sizes[name]})
    return rows, notes


def _korag(collection: Collection, share: float, *, exact: bool) -> Searcher:
    where = None if share == 1 else {"share": {"$contains": share}}
    return lambda query: [hit.id for hit in collection.search(str(query), k=K, where=where, exact=exact)]


def _truth(documents: Floats, queries: Floats, share: float) -> Iterator[list[str]]:
    """The best documents by float32, however they are stored."""
    rows = allowed(len(documents), share)
    scores = np.concatenate([documents[rows[n : n + BLOCK]] @ queries.T for n in range(0, len(rows), BLOCK)])
    for column in scores.T:
        yield [str(rows[place]) for place in np.argsort(-column, kind="stable")[:K]]


def _faiss(
    documents: Floats, queries: Floats, *, graph: bool
) -> Iterator[tuple[str, dict[tuple[str, float], Searcher], float]]:
    """Yields the name, the searchers and the seconds of building of each index of faiss."""
    import importlib

    faiss: Any = importlib.import_module("faiss")  # its types lack some of what there is
    dim = documents.shape[1]
    indices: dict[str, Any] = {"faiss, all vectors": (faiss.IndexFlatIP(dim), [None])}
    if graph:
        hnsw = faiss.IndexHNSWFlat(dim, 32, faiss.METRIC_INNER_PRODUCT)
        hnsw.hnsw.efConstruction = 200
        indices["faiss, HNSW"] = (hnsw, list(EF))
    for name, (index, sizes) in indices.items():
        started = time.perf_counter()
        for first in range(0, len(documents), BLOCK):
            index.add(np.ascontiguousarray(documents[first : first + BLOCK]))
        built = time.perf_counter() - started

        def searcher(share: float, ef: int | None, index: Any = index) -> Searcher:
            only = None if share == 1 else faiss.IDSelectorBatch(allowed(len(documents), share))
            how: Any = faiss.SearchParametersHNSW(efSearch=ef, sel=only) if ef else faiss.SearchParameters(sel=only)
            return lambda query: [str(place) for place in index.search(queries[[query]], K, params=how)[1][0]]

        for ef in sizes:
            full = f"{name}, ef={ef}" if ef else name
            yield full, {(full, share): searcher(share, ef) for share in SHARES}, built


def main() -> None:
    """Measures all sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, required=True, help="Parquet with a column text, or a text per line")
    parser.add_argument("--questions", type=Path, required=True, help="Parquet with a column query, or one per line")
    parser.add_argument("--encoded", type=int, default=40_000, help="texts to encode")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000], help="documents")
    parser.add_argument("--dim", type=int, default=1_024)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--codecs", nargs="+", default=["float32", "int8"])
    parser.add_argument("--hnsw", type=int, default=100_000, help="documents up to which a graph is built")
    parser.add_argument("--no-peers", action="store_true", help="without faiss (pip install faiss-cpu)")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "korag-benchmarks" / "vectors")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    facts, gbs = machine_facts("faiss-cpu", "numba"), copy_gbs()
    real, asked = encoded(options.texts, options.questions, options.encoded, options.queries, options.cache)
    tables: list[Any] = []
    notes = [f"{len(real):,} texts were encoded; copying memory: {gbs:.1f} GB/s."]
    for count in options.sizes:
        rows, own = measure_size(real, asked, count, options)
        tables += rows
        notes += own
    publish(results(facts, {f"Dense: {options.dim:,} dimensions": tables}, notes=notes), options.json)


if __name__ == "__main__":
    main()
