"""Other late-interaction indexes, each filled and searched in an environment of its own; for search.py.

Run as a command there; it needs the passages, and nothing of korag but for korag's own index on fast-plaid.
"""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from _common import disk, forget, resident
from _passages import DIM, Floats, Halves, Passages, queries
from _search_runs import Hits, K, answer, timed

Searchers = Mapping[str, Callable[[Floats], Hits]]
"""How to find documents for a query's vectors, shape (tokens, dim), by the name in the tables."""


@dataclass(frozen=True)
class Peer:
    """An index.

    Attributes:
        environment: Name of its environment, in which others may be, too.
        packages: What the environment needs, for each call of ``pip install``.
        fill: Adds documents to a new index in a folder.
        open: Opens it and returns ways to search.
    """

    environment: str
    packages: Sequence[Sequence[str]]
    fill: Callable[[Path, Passages], None]
    open: Callable[[Path], Searchers]


def main() -> None:
    """Fills or measures an index."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    peer, folder, vectors = PEERS[task["peer"]], Path(task["folder"]), Path(task["vectors"])
    if task["do"] == "fill":
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        started = time.perf_counter()
        peer.fill(folder, Passages(vectors, task["count"]))
        answer({"added": time.perf_counter() - started})
        return
    asked = queries(vectors, task["queries"])
    imports = resident()
    forget(folder)
    started = time.perf_counter()
    searchers = peer.open(folder)
    opened = time.perf_counter() - started
    ways, memory = {}, {}
    for name, search in searchers.items():
        ways[name] = timed(lambda query, search=search: search(asked[query]), len(asked))  # type: ignore[misc]
        memory[name] = resident()
    answer({
        "opened": opened, "imports": imports, "memory": memory, "disk": disk(folder), "ways": ways,
        "versions": {name: found for name in ("torch", *VERSIONS) if (found := _version(name))},
    })  # fmt: skip


def _batches(passages: Passages, size: int) -> Iterator[tuple[range, list[Halves]]]:
    for first in range(0, passages.count, size):
        numbers = range(first, min(first + size, passages.count))
        yield numbers, [passages.document(number) for number in numbers]


# -- fast-plaid, and PyLate's index, which is made with the version that it requires ---------------------------


def fill_plaid(folder: Path, passages: Passages) -> None:
    """Its defaults: 4 bits a dimension, and centroids of a sample."""
    import torch
    from fast_plaid import search

    documents = [torch.from_numpy(passages.document(number).astype(np.float32)) for number in range(passages.count)]
    search.FastPlaid(index=str(folder), device="cpu").create(documents_embeddings=documents)


def open_plaid(folder: Path) -> Searchers:
    """Its defaults, and other numbers of lists read and of documents scored in full."""
    import torch
    from fast_plaid import search

    index = search.FastPlaid(index=str(folder), device="cpu")

    def searcher(**settings: Any) -> Callable[[Floats], Hits]:
        def find(query: Floats) -> Hits:
            (found,) = index.search(torch.from_numpy(query)[None], top_k=K, show_progress=False, **settings)
            return [(str(number), float(score)) for number, score in found]

        return find

    return {
        "defaults": searcher(),
        "4 lists, 512 scored": searcher(n_ivf_probe=4, n_full_scores=512),
        "2 lists, 128 scored": searcher(n_ivf_probe=2, n_full_scores=128),
    }


def fill_plaid_index(folder: Path, passages: Passages) -> None:
    """A collection of the vectors, and korag's index of it."""
    from korag import Collection
    from korag.plaid import PlaidIndex

    shutil.rmtree(folder)  # it makes the folder itself
    encoder = asked_encoder({})
    with Collection.in_memory(encoders=[encoder], codec="float16") as collection:
        for numbers, documents in _batches(passages, 1_000):
            texts = [(str(number), f"passage {number}") for number in numbers]
            collection.add_encoded(texts, {"colbert": documents}, fingerprints={"colbert": encoder.fingerprint})
        PlaidIndex.build(collection, folder, device="cpu").close()


def open_plaid_index(folder: Path) -> Searchers:
    """As `open_plaid`, behind ids, texts and metadata."""
    from korag.plaid import PlaidIndex

    asked: dict[str, Floats] = {}
    index = PlaidIndex.open(folder, encoder=asked_encoder(asked), device="cpu")

    def searcher(**settings: Any) -> Callable[[Floats], Hits]:
        def find(query: Floats) -> Hits:
            asked["query"] = query
            return [(hit.id, hit.score) for hit in index.search("query", k=K, **settings)]

        return find

    return {"defaults": searcher(), "4 lists, 512 scored": searcher(n_ivf_probe=4, n_full_scores=512)}


def asked_encoder(queries: Mapping[str, Floats]) -> Any:
    """Returns an encoder of korag that has the vectors of queries already."""
    from korag.testing import FakeMultiVectorEncoder

    class Given(FakeMultiVectorEncoder):
        def encode_queries(self, texts: Iterable[str], *, show_progress: bool | None = False) -> list[Floats]:
            return [queries[text] for text in texts]

    return Given(dim=DIM)


def fill_pylate(folder: Path, passages: Passages) -> None:
    """As its documentation does."""
    from pylate import indexes

    index = indexes.PLAID(index_folder=str(folder), index_name="documents", override=True)
    documents = [passages.document(number).astype(np.float32) for number in range(passages.count)]
    index.add_documents(documents_ids=list(map(str, range(passages.count))), documents_embeddings=documents)


def open_pylate(folder: Path) -> Searchers:
    """As its documentation does."""
    from pylate import indexes, retrieve

    retriever = retrieve.ColBERT(index=indexes.PLAID(index_folder=str(folder), index_name="documents", override=False))

    def find(query: Floats) -> Hits:
        (found,) = retriever.retrieve(queries_embeddings=[query], k=K)
        return [(str(hit["id"]), float(hit["score"])) for hit in found]

    return {"defaults": find}


# -- Qdrant's engine in the process ------------------------------------------------------------------------


def fill_qdrant(quantization: str | None) -> Callable[[Path, Passages], None]:
    """float16 vectors without a graph, as Qdrant advises for late interaction, and a quantization of them."""

    def fill(folder: Path, passages: Passages) -> None:
        import qdrant_edge as q

        quantizations: dict[str | None, Callable[[], Any]] = {
            None: lambda: None,
            "binary": lambda: q.BinaryQuantizationConfig(always_ram=True),
            "scalar": lambda: q.ScalarQuantizationConfig(type=q.ScalarType.Int8, always_ram=True),
            "turbo 4 bits": lambda: q.TurboQuantQuantizationConfig(bits=q.TurboQuantBitSize.Bits4, always_ram=True),
        }
        shutil.rmtree(folder)  # it makes the folder itself
        params = q.EdgeVectorParams(
            size=DIM,
            distance=q.Distance.Dot,
            datatype=q.VectorStorageDatatype.Float16,
            multivector_config=q.MultiVectorConfig(q.MultiVectorComparator.MaxSim),
            quantization_config=quantizations[quantization](),
            hnsw_config=q.HnswIndexConfig(m=0, ef_construct=100, full_scan_threshold=10_000),
        )
        shard = q.EdgeShard.create(str(folder), q.EdgeConfig(vectors={"v": params}))
        for numbers, documents in _batches(passages, 200):
            points = [
                q.Point(id=number, vector={"v": tokens.astype(np.float32).tolist()}, payload={})
                for number, tokens in zip(numbers, documents, strict=True)
            ]
            shard.update(q.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.flush()
        shard.close()

    return fill


def open_qdrant(quantization: str | None) -> Callable[[Path], Searchers]:
    """All documents, or the best by quantized vectors scored again."""

    def open_(folder: Path) -> Searchers:
        import qdrant_edge as q

        shard = q.EdgeShard.load(str(folder))

        def searcher(**settings: Any) -> Callable[[Floats], Hits]:
            params = q.SearchParams(quantization=q.QuantizationSearchParams(**settings)) if settings else None

            def find(query: Floats) -> Hits:
                asked = q.Query.Nearest(query.tolist(), using="v")
                found = shard.query(q.QueryRequest(limit=K, query=asked, params=params))
                return [(str(hit.id), float(hit.score)) for hit in found]

            return find

        if quantization is None:
            return {"all documents": searcher()}
        again = {f"{times * K} scored again": searcher(rescore=True, oversampling=float(times)) for times in (3, 20)}
        return {"codes alone": searcher(rescore=False), **again}

    return open_


# -- LanceDB ---------------------------------------------------------------------------------------------


def fill_lance(*, index: bool) -> Callable[[Path, Passages], None]:
    """float16 vectors; with its index at its defaults, or without."""

    def fill(folder: Path, passages: Passages) -> None:
        import lancedb
        import pyarrow as pa
        from lancedb.index import IvfPq

        vectors = pa.list_(pa.list_(pa.float16(), DIM))
        schema = pa.schema([pa.field("id", pa.int64()), pa.field("vector", vectors)])
        table = lancedb.connect(folder).create_table("documents", schema=schema)
        for numbers, documents in _batches(passages, 10_000):
            flat = pa.FixedSizeListArray.from_arrays(pa.array(np.concatenate(documents).ravel(), pa.float16()), DIM)
            starts = np.cumsum([0, *map(len, documents)]).astype(np.int32)
            nested = pa.ListArray.from_arrays(pa.array(starts), flat)
            table.add(pa.table({"id": pa.array(numbers), "vector": nested.cast(vectors)}, schema=schema))
        if index:
            table.create_index("vector", config=IvfPq(distance_type="cosine"))

    return fill


def open_lance(*, index: bool) -> Callable[[Path], Searchers]:
    """Its defaults; with an index, also scoring more candidates by their vectors."""

    def open_(folder: Path) -> Searchers:
        import lancedb

        table = lancedb.connect(folder).open_table("documents")

        def searcher(refine: int | None = None, probes: int | None = None) -> Callable[[Floats], Hits]:
            def find(query: Floats) -> Hits:
                asked = table.search(query).distance_type("cosine").select(["id", "_distance"]).limit(K)
                asked = asked.nprobes(probes) if probes else asked
                rows = (asked.refine_factor(refine) if refine else asked).to_arrow()
                return [(str(id_), None) for id_ in rows["id"].to_pylist()]

            return find

        if not index:
            return {"all documents": searcher()}
        refined = {"refine_factor 10": searcher(10), "refine_factor 50, 50 lists": searcher(50, 50)}
        return {"defaults": searcher(), **refined}

    return open_


# -- torch -----------------------------------------------------------------------------------------------


def fill_torch(folder: Path, passages: Passages) -> None:
    """float32 vectors, one after another."""
    np.save(folder / "tokens.npy", np.concatenate([tokens for _, part in _batches(passages, 5_000) for tokens in part]))
    np.save(folder / "starts.npy", np.concatenate([[0], np.cumsum(passages.lengths)]))


def open_torch(folder: Path) -> Searchers:
    """Products with all tokens, in memory."""
    import torch

    tokens = torch.from_numpy(np.load(folder / "tokens.npy")).float()
    starts = np.load(folder / "starts.npy")
    bounds = [*range(0, len(starts) - 1, 256), len(starts) - 1]

    def find(query: Floats) -> Hits:
        transposed = torch.from_numpy(np.ascontiguousarray(query.T))
        scores = []
        for first, last in itertools.pairwise(bounds):
            products = tokens[starts[first] : starts[last]] @ transposed
            lengths = torch.from_numpy(np.diff(starts[first : last + 1]))
            scores.append(torch.segment_reduce(products, "max", lengths=lengths, axis=0).sum(1))
        best = torch.cat(scores).topk(K)
        return [(str(int(at)), float(score)) for score, at in zip(best.values, best.indices, strict=True)]

    return {"all documents": find}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


VERSIONS = ("fast-plaid", "pylate", "qdrant-edge-py", "lancedb")
_TORCH = ["torch==2.11.0"]
"""The newest that fast-plaid is compiled for; that of PyPI brings CUDA along, which is not used."""


_PLAID = "fast-plaid==1.7.0.2110"
_KORAG = str(Path(__file__).resolve().parents[1])


def _of_fast_plaid(fill: Callable[[Path, Passages], None], open_: Callable[[Path], Searchers]) -> Peer:
    return Peer("fast-plaid", (_TORCH, [_PLAID, "numpy"]), fill, open_)


def _qdrant(quantization: str | None) -> Peer:
    packages = (["qdrant-edge-py==0.9.0", "numpy"],)
    return Peer("qdrant-edge", packages, fill_qdrant(quantization), open_qdrant(quantization))


def _lance(*, index: bool) -> Peer:
    packages = (["lancedb==0.40.0", "pyarrow", "numpy"],)
    return Peer("lancedb", packages, fill_lance(index=index), open_lance(index=index))


PEERS: dict[str, Peer] = {
    "torch float32": _of_fast_plaid(fill_torch, open_torch),
    "fast-plaid": _of_fast_plaid(fill_plaid, open_plaid),
    "PlaidIndex": Peer("plaid-index", (_TORCH, [_PLAID, "-e", _KORAG]), fill_plaid_index, open_plaid_index),
    "PyLate": Peer("pylate-plaid", (_TORCH, ["pylate==1.6.0"]), fill_pylate, open_pylate),
    "Qdrant": _qdrant(None),
    "Qdrant, binary": _qdrant("binary"),
    "Qdrant, scalar": _qdrant("scalar"),
    "Qdrant, turbo 4 bits": _qdrant("turbo 4 bits"),
    "LanceDB": _lance(index=False),
    "LanceDB, IVF_PQ": _lance(index=True),
}
"""By the name in the tables."""

if __name__ == "__main__":
    main()
