"""Quality of reranking with a ColBERT model or a cross-encoder, alone and fused with the first stage by weights.

    python benchmarks/rerank_quality.py path/to/tydiqa-goldp-ko --output build/rerank

For every data set: BM25 and hybrids as first stages, the first 50 documents of each reranked, nDCG@10 by weight of the
reranker's score (1: the reranker alone, 0: the first stage), and the paired differences to the first stage. Run again,
it skips finished rows. The default of ColBERT models (`korag.Reranker.default_fuse_weight`) was chosen by such tables.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from korag.evaluation import Dataset, Hybrid, Report, Reranked, Row, evaluate, load_dataset
from korag.reranking.load import load_reranker

WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
FIRST_STAGES = {
    "BM25": None,
    "BM25 + dense": Hybrid(["mini-dense"]),
    "BM25 + sparse": Hybrid(["mini-splade"]),
    "BM25 + sparse + ColBERT": Hybrid(["mini-colbert", "mini-splade"]),
}


def measure(folder: Path, model: str, k: int, queries: int | None, output: Path) -> Report:
    """Evaluates every first stage and weight on one data set."""
    reranker = load_reranker(model)
    systems: dict[str, object] = {name: stage for name, stage in FIRST_STAGES.items() if stage is not None}
    systems |= {
        f"{name} ×{weight:g}": Reranked(reranker, stage, k=k, fuse_weight=weight)
        for name, stage in FIRST_STAGES.items()
        for weight in WEIGHTS
    }
    data = load_dataset(folder)
    if queries is not None:
        first = list(data.queries)[:queries]
        data = Dataset.build(
            data.name,
            documents=data.documents,
            queries={query: data.queries[query] for query in first},
            relevant={query: data.relevant[query] for query in first},
        )
    return evaluate(data, systems, output=output / data.name)


def table(report: Report) -> str:
    """Formats a row per first stage: nDCG@10 by weight, and the differences for the default and the model alone."""
    rows = {row.name: row for row in report.rows}
    lines = [
        f"| {report.dataset} | 0 | " + " | ".join(f"{weight:g}" for weight in WEIGHTS) + " | ×0.3 [95 %] | ×1 [95 %] |",
        "|---|" + "--:|" * (len(WEIGHTS) + 3),
    ]
    for name, stage in FIRST_STAGES.items():
        own = report.rows[0] if stage is None else rows[name]
        scores = [own, *(rows[f"{name} ×{weight:g}"] for weight in WEIGHTS)]
        cells = [f"{row.metrics['nDCG@10']:.3f}" for row in scores]
        cells += [difference(rows[f"{name} ×{weight:g}"]) for weight in (0.3, 1.0)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def difference(row: Row) -> str:
    """Formats the paired difference to the first stage."""
    assert row.first_stage_difference is not None  # noqa: S101 (for the type checker)
    return "{:+.3f} [{:+.3f}, {:+.3f}]".format(*row.first_stage_difference)


def main() -> None:
    """Evaluates and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--model", default="mini-colbert", help="the reranker")
    parser.add_argument("--k", type=int, default=50, help="documents to rerank")
    parser.add_argument("--queries", type=int, help="only the first of each data set")
    parser.add_argument("--output", type=Path, required=True, help="folder for finished runs")
    arguments = parser.parse_args()
    for folder in arguments.folders:
        print(table(measure(folder, arguments.model, arguments.k, arguments.queries, arguments.output)) + "\n")


if __name__ == "__main__":
    main()
