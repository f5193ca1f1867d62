"""Quality against index size, drawn with matplotlib and no display."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from korag._optional import require
from korag.evaluation.metrics import MAIN_MEASURE

if TYPE_CHECKING:
    from korag.evaluation.report import Report, Row


def draw(report: Report, path: Path) -> Path:
    """Draws a report.

    A point a row, its bar the 95 % interval; the dimensions of one Matryoshka model are joined by a line, BM25 is
    a dashed line across. Rows of unknown size are left out. Labels are ASCII, since matplotlib's own font has no
    Hangul: a row with another name is labelled by its number in the table.

    Args:
        report: What to draw.
        path: Where to; its suffix says the format.

    Returns:
        The path.
    """
    require("matplotlib", extra="eval")
    figure = require("matplotlib.figure", extra="eval").Figure(figsize=(8, 5), layout="constrained")
    canvas = require("matplotlib.backends.backend_agg", extra="eval").FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    families: dict[str, list[Row]] = {}
    labels: list[tuple[str, float, float]] = []
    for number, row in enumerate(report.rows, start=1):
        if not row.index_bytes:
            continue
        megabytes, quality = row.index_bytes / 1e6, row.metrics[MAIN_MEASURE]
        low, high = row.intervals[MAIN_MEASURE]
        bars = [[max(0.0, quality - low)], [max(0.0, high - quality)]]
        axes.errorbar(megabytes, quality, yerr=bars, fmt="o", color=_COLORS.get(row.kind, "0.4"), capsize=3)
        family, at, dim = row.name.rpartition(" @")
        name = _label(row.name, number)
        labels.append((f"@{dim}" if family in families else name, megabytes, quality))
        if at and row.kind == "colbert":
            families.setdefault(family, []).append(row)
        elif row.kind == "bm25":
            axes.axhline(quality, linestyle="--", linewidth=0.8, color=_COLORS["bm25"])
    for rows in families.values():
        ordered = sorted(rows, key=lambda row: row.index_bytes or 0)
        sizes = [(row.index_bytes or 0) / 1e6 for row in ordered]
        axes.plot(sizes, [row.metrics[MAIN_MEASURE] for row in ordered], color=_COLORS["colbert"], linewidth=1)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(require("matplotlib.ticker", extra="eval").LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    middle = math.prod(axes.get_xlim()) ** 0.5
    for text, x, y in labels:  # towards the middle, where there is room
        side, shift = ("left", 6) if x < middle else ("right", -6)
        axes.annotate(text, (x, y), xytext=(shift, 4), textcoords="offset points", fontsize=8, ha=side)
    axes.set_xlabel("index size, MB (without texts)")
    axes.set_ylabel(MAIN_MEASURE)
    axes.set_title(f"{_label(report.dataset, 0)} ({report.queries} queries, {report.documents} documents)", fontsize=10)
    axes.grid(visible=True, alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    canvas.print_figure(path, dpi=150)
    return path


_COLORS = {"bm25": "0.2", "dense": "C2", "sparse": "C1", "colbert": "C0", "hybrid": "C3"}


def _label(name: str, number: int) -> str:
    if not name.isascii():
        return f"#{number}" if number else "data set"
    return name.replace("$", r"\$")  # not the beginning of a formula
