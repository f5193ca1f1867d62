"""The cost of a collection on Qdrant's embedded engine: bytes on disk, and times of adding and searching.

    python benchmarks/qdrant_store.py --documents 1000 10000 --output build/qdrant_store

Texts are drawn from made-up words and vectors at random, so this measures space and time, not quality. The REST server
in front of the engine is that of the tests and written in Python: times are an upper bound of a server's.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from korag import QdrantCollection
from korag.testing import FakeDenseEncoder, FakeMultiVectorEncoder

TOKENS, DIM, TOKEN_DIM, WORDS = 150, 768, 128, 60
QUERIES = 20


def text(draw: random.Random) -> str:
    """About 300 characters of Korean syllables."""
    words = ["".join(chr(draw.randrange(0xAC00, 0xAC00 + 600)) for _ in range(draw.randint(2, 4))) for _ in range(400)]
    return " ".join(draw.choice(words) for _ in range(WORDS))


def unit(rows: int, dim: int, seed: int) -> Any:
    """Random unit vectors. Shape: (rows, dim)."""
    vectors = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def measure(server: Any, leg: str, documents: int) -> str:
    """A row of the table: bytes a document, seconds to add, milliseconds a query."""
    draw = random.Random(documents)  # noqa: S311 (a sample, not a secret)
    rows = [(f"{number}", text(draw), {"연도": 2000 + number % 25}) for number in range(documents)]
    models: dict[str, list[Any]] = {
        "bm25": [],
        "dense": [FakeDenseEncoder(dim=DIM)],
        "colbert": [FakeMultiVectorEncoder(dim=TOKEN_DIM)],
    }
    name = f"{leg}-{documents}"
    collection = QdrantCollection.open(name, url=server.url, encoders=models[leg], bm25=leg == "bm25", timeout=600)
    start = time.perf_counter()
    for first in range(0, documents, 500):
        some = rows[first : first + 500]
        vectors: dict[str, Any] = {}
        if leg == "dense":
            vectors["dense"] = unit(len(some), DIM, first)
        elif leg == "colbert":
            tokens = unit(len(some) * TOKENS, TOKEN_DIM, first)
            vectors["colbert"] = list(tokens.reshape(len(some), TOKENS, TOKEN_DIM))
        collection.add_encoded(
            some, vectors, fingerprints={own: encoder.fingerprint for own, encoder in collection.encoders.items()}
        )
    added = time.perf_counter() - start
    shard = server[name].shard
    shard.flush()
    folder = sorted(server.folder.iterdir(), key=lambda path: int(path.name))[-1]
    stored = sum(
        path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file() and "wal" not in path.parts
    )
    times = []
    for _ in range(QUERIES):
        query = text(draw)[:40]
        begin = time.perf_counter()
        collection.search(query, k=10, repair_query=False)
        times.append(1000 * (time.perf_counter() - begin))
    collection.close()
    return f"| {leg} | {documents:,} | {stored / documents / 1000:.1f} | {added:.0f} | {statistics.median(times):.0f} |"


def main() -> None:
    """Prints the table, and writes it to the output folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, nargs="+", default=[1_000])
    parser.add_argument("--legs", nargs="+", default=["bm25", "dense", "colbert"])
    parser.add_argument("--output", type=Path, default=Path("build/qdrant_store"))
    arguments = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from edge_server import EdgeServer  # type: ignore[import-not-found]

    engine = arguments.output / "engine"
    shutil.rmtree(engine, ignore_errors=True)
    engine.mkdir(parents=True)
    lines = ["| leg | documents | KB a document on disk | seconds to add | ms a query |", "|---|---|---|---|---|"]
    with EdgeServer(engine) as server:
        for leg in arguments.legs:
            for documents in arguments.documents:
                lines.append(measure(server, leg, documents))
                print(lines[-1], flush=True)
    (arguments.output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.rmtree(engine)


if __name__ == "__main__":
    main()
