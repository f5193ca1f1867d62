"""Judges model folders on the evaluation sets, through KoRAG's public interface as a user would.

    python -m training.minis.evaluate --models /tmp/minis/out --data ../shared/data --report /tmp/minis/report.json

Full corpora, documents of 512 tokens, nDCG@10 and Recall@10 with 95 % bootstrap intervals over queries, BM25
over character bigrams beside every model and every ColBERT dimension. Results are kept after each row, so
that an interrupted run continues.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from korag import Collection, load_encoder

logger = logging.getLogger(__name__)

SETS = ("tydiqa-goldp-ko", "statute-title", "strategyqa-ko-facts", "reactdocs-ko")
_RESAMPLES = 2_000
_DEPTH = 10
_BM25 = "bm25-bigram"
_SPEED_DOCUMENTS = 512


@dataclass(frozen=True)
class TestSet:
    """A retrieval set; queries without a relevant document are left out."""

    document_ids: list[str]
    documents: list[str]
    query_ids: list[str]
    queries: list[str]
    relevant: dict[str, dict[str, int]]


def read_set(folder: Path) -> TestSet:
    """Reads ``corpus.parquet``, ``queries.parquet`` and ``qrels.parquet``."""
    corpus, queries, qrels = (
        pq.read_table(folder / f"{p}.parquet").to_pylist() for p in ("corpus", "queries", "qrels")
    )
    relevant: dict[str, dict[str, int]] = {}
    for row in qrels:
        if int(row["score"]) > 0:
            relevant.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    judged = [row for row in queries if row["_id"] in relevant]
    return TestSet(
        document_ids=[row["_id"] for row in corpus],
        documents=[f"{row.get('title') or ''} {row['text']}".strip() for row in corpus],
        query_ids=[row["_id"] for row in judged],
        queries=[row["text"] for row in judged],
        relevant=relevant,
    )


def ndcg(ranking: Sequence[str], relevant: dict[str, int]) -> float:
    """nDCG@10 with exponential gains."""

    def gain(grades: Sequence[int]) -> float:
        return math.fsum((2**grade - 1) / math.log2(rank + 2) for rank, grade in enumerate(grades[:_DEPTH]))

    return gain([relevant.get(i, 0) for i in ranking]) / gain(sorted(relevant.values(), reverse=True))


def recall(ranking: Sequence[str], relevant: dict[str, int]) -> float:
    """Recall@10."""
    return len(relevant.keys() & set(ranking[:_DEPTH])) / len(relevant)


def interval(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """Returns the 95 % percentile interval of the mean, by resampling queries."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(_RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def systems(models: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name of each system and the arguments that make its collection."""
    yield _BM25, {"bm25": True, "tokenizer": "bigram"}
    for folder in sorted(path for path in models.iterdir() if (path / "modules.json").exists()):
        dims: Sequence[int | None] = getattr(load_encoder(folder), "dims", ()) or (None,)
        for dim in sorted(dims, key=lambda dim: -(dim or 0)):
            name = folder.name if dim is None else f"{folder.name}-{dim}"
            yield name, {"encoders": [load_encoder(folder, dim=dim)]}


def evaluate(test: TestSet, arguments: dict[str, Any]) -> dict[str, Any]:
    """Ranks the whole corpus for every query and returns the figures."""
    started, cpu_started = time.perf_counter(), time.process_time()
    with Collection.in_memory(**arguments) as collection:
        collection.add(test.documents, ids=test.document_ids)
        added = time.process_time() - cpu_started
        rankings = [[hit.id for hit in hits] for hits in collection.search_many(test.queries, k=_DEPTH)]
    figures: dict[str, Any] = {}
    for metric in (ndcg, recall):
        values = np.array(
            [metric(ranking, test.relevant[query]) for ranking, query in zip(rankings, test.query_ids, strict=True)]
        )
        figures[metric.__name__] = {"mean": float(values.mean()), "interval": interval(values)}
        figures[f"{metric.__name__}-values"] = [round(float(value), 5) for value in values]
    seconds = {"seconds": time.perf_counter() - started, "cpu_seconds_adding": added}
    return figures | {"documents": len(test.documents), "queries": len(test.queries)} | seconds


def measure_speed(models: Path, data: Path) -> dict[str, dict[str, float]]:
    """Measures documents of tydiqa (about 138 tokens) encoded by `encode_documents`, a wall and a CPU second."""
    documents = read_set(data / "eval/tydiqa-goldp-ko").documents[:_SPEED_DOCUMENTS]
    speeds = {}
    for folder in sorted(path for path in models.iterdir() if (path / "modules.json").exists()):
        encoder = load_encoder(folder)
        encoder.encode_documents(documents[:32])  # loads the weights
        started, cpu_started = time.perf_counter(), time.process_time()
        encoder.encode_documents(documents)
        wall, cpu = time.perf_counter() - started, time.process_time() - cpu_started
        speeds[folder.name] = {"per_second": len(documents) / wall, "per_cpu_second": len(documents) / cpu}
    return speeds


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder of model folders")
    parser.add_argument("--data", type=Path, required=True, help="the data folder")
    parser.add_argument("--report", type=Path, required=True, help="JSON file to write, and to continue")
    parser.add_argument("--sets", nargs="+", default=SETS)
    parser.add_argument("--only", help="only systems whose name begins so")
    parser.add_argument("--no-speed", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("korag").setLevel(logging.ERROR)  # truncated documents are what the conditions ask for
    report = json.loads(arguments.report.read_text()) if arguments.report.exists() else {}
    for name in arguments.sets:
        test = read_set(arguments.data / "eval" / name)
        for system, settings in systems(arguments.models):
            if system in report.get(name, {}) or not system.startswith(arguments.only or ""):
                continue
            figures = evaluate(test, settings)
            report.setdefault(name, {})[system] = figures
            arguments.report.write_text(json.dumps(report))
            low, high = figures["ndcg"]["interval"]
            logger.info(
                "%s %s nDCG@10 %.3f [%.3f, %.3f] Recall@10 %.3f, %.0f s (%.0f CPU-s encoding)",
                name, system, figures["ndcg"]["mean"], low, high, figures["recall"]["mean"],
                figures["seconds"], figures["cpu_seconds_adding"],
            )  # fmt: skip
    if not arguments.no_speed:
        report["speed"] = measure_speed(arguments.models, arguments.data)
        arguments.report.write_text(json.dumps(report))
        logger.info("speed: %s", report["speed"])


if __name__ == "__main__":
    main()
