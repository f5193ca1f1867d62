"""The tables of docs/evaluation.md: what BM25, the bundled models, their hybrids and rerankers give as users get them.

    python benchmarks/mini_quality.py path/to/tydiqa-goldp-ko --output build/quality --write docs/evaluation.md

Everything is at its default: fusion, analysis, windows over long documents, repair of queries. Slow, because
MaxSim over whole corpora is exact; run again, it skips finished rows. ``--write`` puts the tables between the
``<!-- tables -->`` marks of a file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from _subsets import cut

from korag.evaluation import Hybrid, Report, Reranked, Row, evaluate, load_dataset

DENSE, SPARSE, COLBERT = "mini-dense", "mini-splade", "mini-colbert"
MODELS = (SPARSE, DENSE, COLBERT)
BOTH = ("bigram", "kiwi")
DEFAULT = Hybrid()
ALL = Hybrid([COLBERT, SPARSE, DENSE])
SYSTEMS: dict[str, object] = {
    **{model: model for model in MODELS},
    "BM25 bigram + kiwi": Hybrid([], bm25=BOTH),
    "dense + BM25": Hybrid([DENSE]),
    "SPLADE + BM25": Hybrid([SPARSE]),
    "ColBERT + BM25": Hybrid([COLBERT]),
    "dense + SPLADE + BM25": Hybrid([DENSE, SPARSE]),
    "dense + ColBERT + BM25": Hybrid([COLBERT, DENSE]),
    "ColBERT + SPLADE + BM25: `Hybrid()`": DEFAULT,
    "dense + ColBERT + SPLADE + BM25": ALL,
    "dense + ColBERT + SPLADE + BM25 bigram + kiwi": Hybrid([COLBERT, SPARSE, DENSE], bm25=BOTH),
    "dense + BM25, `rrf`": Hybrid([DENSE], fusion="rrf"),
    "ColBERT + SPLADE + BM25, `rrf`": Hybrid(fusion="rrf"),
    "dense + ColBERT + SPLADE + BM25, `rrf`": Hybrid([COLBERT, SPARSE, DENSE], fusion="rrf"),
}
RERANKED: dict[str, object] = {
    "BM25 → mini-colbert alone": Reranked(COLBERT, fuse_weight=1.0),
    "BM25 → mini-colbert": Reranked(COLBERT),
    "dense + BM25 → mini-colbert alone": Reranked(COLBERT, SYSTEMS["dense + BM25"], fuse_weight=1.0),
    "dense + BM25 → mini-colbert": Reranked(COLBERT, SYSTEMS["dense + BM25"]),
    "`Hybrid()` → mini-colbert alone": Reranked(COLBERT, DEFAULT, fuse_weight=1.0),
    "`Hybrid()` → mini-colbert": Reranked(COLBERT, DEFAULT),
}
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


def first_stage_difference(row: Row) -> str:
    """Formats the paired difference of a reranker to the documents it was given."""
    given = row.first_stage_difference
    return "" if given is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*given)


def only(reports: list[Report], chosen: Callable[[Row], bool]) -> list[Report]:
    """The same reports, with some of the rows."""
    return [Report(**{**vars(report), "rows": tuple(row for row in report.rows if chosen(row))}) for report in reports]


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
    parser.add_argument("--queries", type=int, default=10_000, help="of each set, evenly spread")
    parser.add_argument("--documents", type=int, default=1_000_000, help="of each set, evenly spread")
    parser.add_argument("--output", type=Path, required=True, help="folder for finished runs and reports")
    parser.add_argument("--write", type=Path, help="Markdown file with two marks")
    arguments = parser.parse_args()
    reports = []
    for folder in arguments.folders:
        data = cut(load_dataset(folder), arguments.queries, arguments.documents)
        output = arguments.output / data.name
        report = evaluate(data, {**SYSTEMS, **RERANKED}, bm25=BOTH, output=output)
        report.plot(output / "plot.png")
        reports.append(report)
    first_stages = only(reports, lambda row: row.kind != "reranked")
    rerankers = only(reports, lambda row: row.kind == "reranked")
    tables = "\n\n".join([
        table("nDCG@10 [95 %]", first_stages, quality),
        table("difference to BM25 bigram [95 %]", first_stages, difference),
        table("reranked: nDCG@10 [95 %]", rerankers, quality),
        table("reranked: difference to the first stage [95 %]", rerankers, first_stage_difference),
        table("Recall@10 / Recall@100", first_stages, recall),
        table("index, MB", only(reports, lambda row: row.kind not in ("hybrid", "reranked")), size),
        table("active dims of queries / documents / FLOPS", only(reports, lambda row: bool(row.facts)), sparsity),
    ])  # fmt: skip
    print(tables)
    if arguments.write:
        before, _, rest = arguments.write.read_text(encoding="utf-8").partition(MARK)
        after = rest.partition(MARK)[2]
        arguments.write.write_text(f"{before}{MARK}\n\n{tables}\n\n{MARK}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
