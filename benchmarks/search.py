r"""Late-interaction search: korag's exact and pruned search and its peers, in turns; and scaling with size.

    TEXTS="--documents docs.parquet --questions pairs.parquet"
    python benchmarks/search.py $TEXTS --json docs/performance/search.json
    python benchmarks/search.py $TEXTS --grow --json docs/performance/growth.json

Vectors: ``random``, without any similarity structure; ``real``, texts encoded by mini-colbert; for ``--grow``,
``spliced``, new documents made of runs of real vectors. Queries have 32 tokens and are encoded beforehand. Each query
runs on all searchers in turns; recall is relative to exact MaxSim over the stored float16 vectors. korag's times
include reading the documents from the collection. Peers: brute force in torch and numpy; LanceDB without an index; with
``--qdrant``, Qdrant's local mode, which is written in Python and takes minutes to fill; with ``--plaid``, fast-plaid
with default and tuned settings. fast-plaid 1.7 requires torch 2.11 and crashes with 2.13, used for the others:

    TORCH="torch==2.11.0 --index-url https://download.pytorch.org/whl/cpu" python benchmarks/search.py --plaid \
        --peers-env ~/.cache/korag-benchmarks/plaid

A searcher that has taken 20 s gets no more queries; ratios use the queries that both searchers have answered.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import _peers
import numpy as np
from _common import Searcher, copy_gbs, latencies, machine_facts, matmul_gflops, publish, results, take_turns
from _vectors import DIM, QUERY_TOKENS, Floats, RealSource, Source, SplicedSource, Vectors, recall
from numpy.typing import NDArray

from korag import Collection

K = 10
CACHE = _peers.DEFAULT.parent / "vectors"
EXACT, PRUNED, SHARE, MANY = "KoRAG exact", "KoRAG exact=False", "KoRAG exact, filter 10 %", "KoRAG search_many of 20"


def main() -> None:
    """Measures search, or its scaling with ``--grow``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", help="documents; default 10000, or 1000 … 100000 for --grow")
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--documents", type=Path, help="Parquet with a column text; without it, only random vectors")
    parser.add_argument("--questions", type=Path, help="Parquet with a column query")
    parser.add_argument("--no-random", action="store_true", help="only real vectors")
    parser.add_argument("--grow", action="store_true", help="only korag at growing sizes, with a plot next to --json")
    parser.add_argument("--no-peers", action="store_true", help="only korag, torch and numpy, in this environment")
    parser.add_argument("--plaid", action="store_true", help="also fast-plaid; see above")
    parser.add_argument("--qdrant", action="store_true", help="also Qdrant's local mode")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--peers-env", type=Path, default=_peers.DEFAULT.with_name("search"), metavar="FOLDER")
    options = parser.parse_args()
    if not options.no_peers and not options.grow:
        peers = [*(["fast-plaid>=1.7"] if options.plaid else []), "lancedb", "qdrant-client", "matplotlib", "pyarrow"]
        installs = [_peers.TORCH, ["-e", f"{_peers.ROOT}[fast]", *peers, *_peers.TORCH]]
        _peers.enter(options.peers_env, installs)
    facts = machine_facts(
        "lancedb", *(["fast-plaid"] if options.plaid else []), *(["qdrant-client"] if options.qdrant else [])
    )
    if options.grow:
        tables = {f"{name}, growing": grow(name, options) for name in kinds(options)}
        if options.json:
            plot(tables, options.json.with_suffix(".png"))
        publish(results(facts, tables), options.json)
        return
    tables, gbs = {}, copy_gbs()
    gflops = matmul_gflops()
    for name in kinds(options):
        for size in options.sizes or [10_000]:
            source = make(name, size, options)
            tokens = int(sum(source.lengths))
            tables[f"{name} vectors, {size:,} documents, {tokens:,} tokens"] = compare(source, options)
    notes = [
        f"In the same run: copying memory {gbs:.1f} GB/s, float32 matrix product {gflops:.0f} GFLOP/s (all cores)."
    ]
    publish(results(facts, tables, notes=notes), options.json)


def kinds(options: argparse.Namespace) -> list[str]:
    """Returns the kinds of vectors to search."""
    real = ["spliced" if options.grow else "real"] if options.documents else []
    return [*real, *([] if options.no_random else ["random"])]


def make(name: str, size: int, options: argparse.Namespace) -> Source:
    """Creates vectors of a kind."""
    if name == "random":
        return Source(size, options.queries)
    real = RealSource(
        10_000 if name == "spliced" else size, options.queries, options.documents, options.questions, CACHE
    )
    return real if name == "real" else SplicedSource(size, real)


def fill(folder: Path, source: Source) -> Collection:
    """Creates a collection of all documents; a tenth of them has ``tenth`` 0."""
    collection = Collection.open(folder, encoders=[Vectors(source)])
    ids = [str(number) for number in range(source.count)]
    tenths = np.random.default_rng(3).permutation(source.count) % 10
    collection.add(ids, ids=ids, metadata=[{"tenth": tenth} for tenth in tenths.tolist()], show_progress=False)
    return collection


def ours(collection: Collection) -> dict[str, Searcher]:
    """Returns korag's searchers."""
    tenth = {"tenth": 0}
    return {
        EXACT: lambda query: [hit.id for hit in collection.search(str(query), k=K)],
        PRUNED: lambda query: [hit.id for hit in collection.search(str(query), k=K, exact=False)],
        SHARE: lambda query: [hit.id for hit in collection.search(str(query), k=K, where=tenth)],
    }


def compare(source: Source, options: argparse.Namespace) -> list[dict[str, object]]:
    """Measures all searchers; returns a row per searcher."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        collection = fill(folder / "korag", source)
        documents = [source.document(number).astype(np.float16) for number in range(source.count)]
        searchers = ours(collection) | brute_force(folder, documents, source)
        if not options.no_peers:
            peers = [lance, *([fast_plaid] if options.plaid else []), *([qdrant] if options.qdrant else [])]
            for peer in peers:
                searchers |= peer(folder, documents, source)
        seconds, found = take_turns(searchers, options.queries)
        numbers = [str(query) for query in range(min(20, options.queries))]
        collection.search_many(numbers, k=K)
        started = time.perf_counter()
        together = collection.search_many(numbers, k=K)
        seconds[MANY] = [(time.perf_counter() - started) / len(numbers)] * len(numbers)
        found[MANY] = [[hit.id for hit in hits] for hits in together]
        allowed = [
            [hit.id for hit in collection.search(str(query), k=source.count, where={"tenth": 0})] for query in range(2)
        ]
        collection.close()
    tokens = int(sum(source.lengths))
    rows: list[dict[str, object]] = []
    for name, own in seconds.items():
        p50 = statistics.median(own)
        exact = found[EXACT]
        good = statistics.mean(map(recall, found[name], exact)) if name != SHARE else None
        if name == SHARE:
            assert all(ids == full[:K] for ids, full in zip(found[name], allowed, strict=False))  # noqa: S101
        share = 0.1 if name == SHARE else 1.0
        whole = name in (EXACT, SHARE, MANY)
        rows.append({
            "searcher": name,
            "queries": len(own),
            **latencies(own),
            "recall@10": good,
            "time ÷ exact": statistics.median(a / b for a, b in zip(own, seconds[EXACT], strict=False)),
            "GB/s": tokens * DIM * share / p50 / 1e9 if whole else None,
            "GOP/s": 2 * tokens * DIM * QUERY_TOKENS * share / p50 / 1e9 if whole else None,
        })  # fmt: skip
    return rows


Halves = NDArray[np.float16]


def brute_force(folder: Path, documents: list[Halves], source: Source) -> dict[str, Searcher]:
    """Brute force: torch in float32 in memory, and numpy over a memory-mapped float16 file."""
    import torch

    offsets = np.concatenate([[0], np.cumsum([len(tokens) for tokens in documents])])
    np.save(folder / "tokens.npy", np.concatenate(documents))
    mapped = np.load(folder / "tokens.npy", mmap_mode="r")
    loaded = torch.from_numpy(np.array(mapped)).float()
    bounds = [*range(0, source.count, 256), source.count]

    def best(scores: Floats) -> list[str]:
        return [str(number) for number in np.argsort(-scores, kind="stable")[:K]]

    def by_torch(query: int) -> list[str]:
        transposed = torch.from_numpy(source.queries[query].T.copy())
        scores = []
        for first, last in itertools.pairwise(bounds):
            products = loaded[offsets[first] : offsets[last]] @ transposed
            lengths = torch.from_numpy(np.diff(offsets[first : last + 1]))
            scores.append(torch.segment_reduce(products, "max", lengths=lengths, axis=0).sum(1))
        return best(torch.cat(scores).numpy())

    def by_numpy(query: int) -> list[str]:
        transposed = np.ascontiguousarray(source.queries[query].T)
        scores = []
        for first, last in itertools.pairwise(bounds):
            products = mapped[offsets[first] : offsets[last]].astype(np.float32) @ transposed
            scores.append(np.maximum.reduceat(products, offsets[first:last] - offsets[first]).sum(axis=1))
        return best(np.concatenate(scores))

    return {"torch float32, brute force": by_torch, "numpy float16 memory-mapped, brute force": by_numpy}


def fast_plaid(folder: Path, documents: list[Halves], source: Source) -> dict[str, Searcher]:
    """fast-plaid with its defaults, and with the settings that were fastest at equal recall."""
    import torch
    from fast_plaid import search

    index = search.FastPlaid(index=str(folder / "plaid"), device="cpu")
    index.create(documents_embeddings=[torch.from_numpy(tokens.astype(np.float32)) for tokens in documents])

    def searcher(**settings: Any) -> Searcher:
        def find(query: int) -> list[str]:
            (found,) = index.search(torch.from_numpy(source.queries[query])[None], top_k=K, **settings)
            return [str(number) for number, _ in found]

        return find

    tuned = {"n_ivf_probe": 4, "n_full_scores": 256}
    searchers = {"fast-plaid, defaults": searcher(), "fast-plaid, 4 probes, 256 scored": searcher(**tuned)}
    for find in searchers.values():
        find(0)
    return searchers


def lance(folder: Path, documents: list[Halves], source: Source) -> dict[str, Searcher]:
    """LanceDB without an index, which is exact."""
    import lancedb
    import pyarrow as pa

    vectors = pa.list_(pa.list_(pa.float16(), DIM))
    schema = pa.schema([pa.field("id", pa.string()), pa.field("vector", vectors)])
    table = lancedb.connect(folder / "lance").create_table("documents", schema=schema)
    for first in range(0, len(documents), 1_000):
        part = documents[first : first + 1_000]
        flat = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(part).ravel(), pa.float16()), DIM)
        offsets = np.concatenate([[0], np.cumsum([len(tokens) for tokens in part])]).astype(np.int32)
        nested = pa.ListArray.from_arrays(pa.array(offsets), flat)
        ids = pa.array([str(first + number) for number in range(len(part))])
        table.add(pa.table({"id": ids, "vector": nested.cast(vectors)}, schema=schema))

    def find(query: int) -> list[str]:
        rows = (
            table.search(source.queries[query]).distance_type("cosine").select(["id", "_distance"]).limit(K).to_arrow()
        )
        return list(rows["id"].to_pylist())

    find(0)
    return {"LanceDB, no index": find}


def qdrant(folder: Path, documents: list[Halves], source: Source) -> dict[str, Searcher]:
    """Qdrant's local mode."""
    from qdrant_client import QdrantClient, models

    client = QdrantClient(":memory:")
    multi = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    params = models.VectorParams(size=DIM, distance=models.Distance.DOT, multivector_config=multi)
    client.create_collection("documents", vectors_config=params)
    for number, tokens in enumerate(documents):
        point = models.PointStruct(id=number, vector=tokens.astype(np.float32).tolist())
        client.upsert("documents", [point])

    def find(query: int) -> list[str]:
        points = client.query_points("documents", query=source.queries[query].tolist(), limit=K).points
        return [str(point.id) for point in points]

    find(0)
    return {"Qdrant in the process (Python)": find}


def grow(name: str, options: argparse.Namespace) -> list[dict[str, object]]:
    """Measures korag at growing sizes; returns a row per size."""
    rows: list[dict[str, object]] = []
    for size in options.sizes or [1_000, 3_000, 10_000, 30_000, 100_000]:
        source = make(name, size, options)
        place = Path(tempfile.mkdtemp(prefix="korag-grow-"))
        try:
            started = time.perf_counter()
            fill(place / "korag", source).close()
            added = time.perf_counter() - started
            started = time.perf_counter()
            collection = Collection.open(place / "korag", encoders=[Vectors(source)])
            collection.search("0", k=1)  # maps the segments and verifies their checksums
            opened = time.perf_counter() - started
            seconds, found = take_turns(ours(collection), options.queries)
            collection.close()
            size_on_disk = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
        finally:
            shutil.rmtree(place)
        rows.append({
            "documents": size,
            "tokens": int(sum(source.lengths)),
            "on disk, GB": size_on_disk / 1e9,
            "added in, s": added,
            "opened in, s": opened,
            **{f"{way}, p50 ms": statistics.median(own) * 1e3 for way, own in seconds.items()},
            "pruned: recall@10": statistics.mean(map(recall, found[PRUNED], found[EXACT])),
        })  # fmt: skip
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def plot(tables: dict[str, list[dict[str, object]]], path: Path) -> None:
    """Draws milliseconds against documents, on logarithmic axes."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4))
    for (title, rows), line in zip(tables.items(), ("-", "--"), strict=False):
        for way, mark in ((EXACT, "o"), (PRUNED, "s"), (SHARE, "^")):
            sizes, times = ([float(str(row[column])) for row in rows] for column in ("documents", f"{way}, p50 ms"))
            axes.plot(sizes, times, line, marker=mark, label=f"{way} ({title.split(',')[0]})")
    axes.set(xscale="log", yscale="log", xlabel="documents", ylabel="p50, ms")
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=7)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
