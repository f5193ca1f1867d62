"""The tables of docs/evaluation.md: BM25, the bundled models and the default hybrid on several data sets.

    python benchmarks/mini_quality.py path/to/tydiqa-goldp-ko --output build/quality --write docs/evaluation.md

Slow on few cores, because MaxSim over whole corpora is exact; run again, it skips finished rows. Documents are
truncated at 512 tokens, the limit of the mini models. ``--write`` puts the tables between the ``<!-- tables -->`` marks
of a file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from korag.evaluation import Hybrid, Report, Row, evaluate, load_dataset

MODELS = ("mini-splade", "mini-dense", "mini-colbert")
DIMS = (32, 64, 96, 128)
MARK = "<!-- tables -->"


def table(title: str, reports: list[Report], cell: Callable[[Row], str]) -> str:
    """Formats a table with a row per system and a column per data set."""
    lines = [f"| {title} | " + " | ".join(report.dataset for report in reports) + " |"]
    lines.append("|---|" + "--:|" * len(reports))
    for rows in zip(*(report.rows for report in reports), strict=True):
        lines.append(f"| {rows[0].name} | " + " | ".join(map(cell, rows)) + " |")
    return "\n".join(lines)


def quality(row: Row) -> str:
    """Formats nDCG@10 and its interval."""
    return "{:.3f} [{:.3f}, {:.3f}]".format(row.metrics["nDCG@10"], *row.intervals["nDCG@10"])


def difference(row: Row) -> str:
    """Formats the paired difference to BM25 with bigrams."""
    return "" if row.difference is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*row.difference)


def recall(row: Row) -> str:
    """Formats Recall@10 and Recall@100."""
    return f"{row.metrics['Recall@10']:.3f} / {row.metrics['Recall@100']:.3f}"


def size(row: Row) -> str:
    """Formats the size of the index without texts."""
    return "" if row.index_bytes is None else f"{row.index_bytes / 1e6:,.1f}"


def sparsity(row: Row) -> str:
    """Formats the active dimensions of queries and documents, and FLOPS."""
    if not row.facts:
        return ""
    return "{query_active_dims:.0f} / {corpus_active_dims:.0f} / {flops:.1f}".format(**row.facts)


def main() -> None:
    """Evaluates, prints Markdown, and writes it with ``--write``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path, required=True, help="folder for finished runs and reports")
    parser.add_argument("--write", type=Path, help="Markdown file with two marks")
    arguments = parser.parse_args()
    reports = []
    for folder in arguments.folders:
        data = load_dataset(folder)
        output = arguments.output / data.name
        report = evaluate(data, [*MODELS, Hybrid()], dims=DIMS, bm25=["bigram", "kiwi"], output=output)
        report.plot(output / "plot.png")
        reports.append(report)
    splade = [Report(**{**vars(report), "rows": tuple(row for row in report.rows if row.facts)}) for report in reports]
    tables = "\n\n".join([
        table("nDCG@10 [95 %]", reports, quality),
        table("difference to BM25 bigram [95 %]", reports, difference),
        table("Recall@10 / Recall@100", reports, recall),
        table("index, MB", reports, size),
        table("active dims of queries / documents / FLOPS", splade, sparsity),
    ])  # fmt: skip
    print(tables)
    if arguments.write:
        before, _, rest = arguments.write.read_text(encoding="utf-8").partition(MARK)
        after = rest.partition(MARK)[2]
        arguments.write.write_text(f"{before}{MARK}\n\n{tables}\n\n{MARK}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
