"""Windows over long documents: quality, and what they cost, against reading the beginning only.

    python benchmarks/long_documents.py path/to/tydiqa-goldp-ko path/to/reactdocs-ko:10 path/to/statute-title:20

A number behind a folder joins so many neighbouring documents of the same title into one, and what is relevant with
them: sections become pages, articles chapters, and the answer is anywhere in the document. Prints, for each way to read
documents, nDCG@10 of every leg and of the hybrid, its difference to the first way in all of them with its interval, and
ratios to the first way: time to index, size of the index, time to search with encoded queries. Needs ``korag[eval]``.
"""

from __future__ import annotations

import argparse
import time
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from korag import Collection, load_encoder
from korag.encoders.base import Encoder
from korag.evaluation import Dataset, load_dataset, score_rankings
from korag.evaluation.bootstrap import intervals

MODELS = ("mini-dense", "mini-colbert", "mini-splade")
WAYS = ("512 cut", "512/512", "512/384", "512/256", "256/192", "256/128", "2048 cut", "2048/1536")


def main() -> None:
    """Prints a table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", metavar="FOLDER[:N]")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--ways", nargs="+", default=WAYS, help="WINDOW/STRIDE, or 'LENGTH cut'")
    parser.add_argument("--documents", type=int, help="only so many documents, and the questions about them")
    parser.add_argument("--queries", type=int, help="only so many questions")
    arguments = parser.parse_args()
    for source in arguments.data:
        folder, _, neighbours = source.partition(":")
        data = join(load_dataset(Path(folder)), int(neighbours or 1))
        data = limit(data, arguments.documents, arguments.queries)
        lengths = load_encoder(arguments.models[0]).count_tokens(list(data.documents.values()))
        print(
            f"\n{data.name}: {len(data.documents):,} documents, {len(data.queries):,} queries; tokens: median "
            f"{np.median(lengths):,.0f}, longest {max(lengths):,}, {np.mean(np.array(lengths) > 512):.0%} above 512",
            flush=True,
        )
        first: dict[str, Any] = {}
        for way in arguments.ways:
            found = measure(data, way, arguments.models)
            first = first or found
            if found is first:
                legs = list(found["ndcg"])
                print("| | " + " | ".join(legs) + " | difference | index time | size | search time |")
                print("|---|" + "--:|" * (len(legs) + 4))
            print(f"| {way} | " + " | ".join(cells(found, first)) + " |", flush=True)


def join(data: Dataset, neighbours: int) -> Dataset:
    """Joins neighbouring documents of the same title, which in some ids is what is before the slash."""
    if neighbours == 1:
        return data
    home: dict[str, str] = {}
    for _, group in groupby(data.documents, lambda id_: id_.rpartition("/")[0]):
        ids = list(group)
        home |= {id_: ids[place - place % neighbours] for place, id_ in enumerate(ids)}
    documents: dict[str, str] = {}
    for id_, text in data.documents.items():
        documents[home[id_]] = f"{documents[home[id_]]}\n\n{text}" if home[id_] in documents else text
    relevant = {query: {home[id_]: grade for id_, grade in own.items()} for query, own in data.relevant.items()}
    return Dataset.build(f"{data.name}:{neighbours}", documents=documents, queries=data.queries, relevant=relevant)


def limit(data: Dataset, documents: int | None, queries: int | None) -> Dataset:
    """Keeps the first documents, and the first questions that they answer."""
    kept = dict(list(data.documents.items())[:documents])
    relevant = {query: own for query, own in data.relevant.items() if own.keys() <= kept.keys()}
    relevant = dict(list(relevant.items())[:queries])
    asked = {query: data.queries[query] for query in relevant}
    return Dataset.build(data.name, documents=kept, queries=asked, relevant=relevant)


@cache
def load(model: str, length: int) -> Encoder[Any]:
    """Loads a model once for each length; it encodes every question once."""
    return load_encoder(model, max_length=length, query_cache=10_000)


def measure(data: Dataset, way: str, models: list[str]) -> dict[str, Any]:
    """Indexes and searches the documents in one way."""
    size, _, stride = way.replace(" ", "/").partition("/")
    windows: dict[str, Any] = {"window": None} if stride == "cut" else {"window": int(size), "stride": int(stride)}
    encoders = [load(model, max(512, int(size))) for model in models]
    queries = list(data.queries.values())
    for encoder in encoders:
        encoder.encode_queries(queries)
    found: dict[str, Any] = {"ndcg": {}, "values": {}}
    with Collection.in_memory(encoders=encoders, bm25=True, **windows) as collection:
        begun = time.process_time()
        collection.add(list(data.documents.values()), ids=list(data.documents), show_progress=False)
        found |= {"index": time.process_time() - begun, "bytes": collection.index_bytes}
        begun = time.process_time()
        for using in (*collection.legs, "hybrid"):
            hits = collection.search_many(queries, using=using, k=10)
            rankings = {query: [hit.id for hit in own] for query, own in zip(data.queries, hits, strict=True)}
            found["values"][using] = score_rankings(rankings, data.relevant, depth=10)["nDCG@10"]
            found["ndcg"][using] = found["values"][using].mean()
        found["search"] = time.process_time() - begun
    return found


def cells(found: dict[str, Any], first: dict[str, Any]) -> list[str]:
    """Formats a row."""
    differences = np.mean([found["values"][leg] - first["values"][leg] for leg in found["values"] if leg != "bm25"], 0)
    low, high = intervals(differences[:, None])[:, 0]
    ratios = [f"{found[name] / first[name]:.2f}" for name in ("index", "bytes", "search")]
    quality = [f"{value:.3f}" for value in found["ndcg"].values()]
    return [*quality, f"{differences.mean():+.3f} [{low:+.3f}, {high:+.3f}]", *ratios]


if __name__ == "__main__":
    main()
