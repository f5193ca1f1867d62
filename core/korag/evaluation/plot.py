"""Quality against index size, drawn with matplotlib; needs no display."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from korag._optional import require
from korag.evaluation.metrics import MAIN_MEASURE
from korag.storage import write_bytes


@dataclass(frozen=True, kw_only=True)
class Point:
    """A system in the plot.

    Attributes:
        name: Its name; ``"<model> @<dim>"`` for a Matryoshka dimension.
        number: Its number in the table, from 1.
        kind: As for `korag.evaluation.systems.System`.
        index_bytes: Size of the index.
        quality: Mean nDCG@10.
        interval: Its 95 % confidence interval.
    """

    name: str
    number: int
    kind: str
    index_bytes: int
    quality: float
    interval: tuple[float, float]


def draw(points: Sequence[Point], path: Path, *, dataset: str, size: str) -> Path:
    """Draws points with error bars.

    The dimensions of a Matryoshka model are joined by a line; BM25 is a dashed line across. Labels are ASCII because
    matplotlib's default font has no Hangul: a point with another name is labelled with its number.

    Args:
        points: The systems.
        path: File to write; its suffix determines the format.
        dataset: Its name, for the title; not shown if it is not ASCII.
        size: Numbers of queries and documents, for the title.

    Returns:
        The path.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
    """
    require("matplotlib", extra="eval")
    figure = require("matplotlib.figure", extra="eval").Figure(figsize=(8, 5), layout="constrained")
    canvas = require("matplotlib.backends.backend_agg", extra="eval").FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    families: dict[str, list[Point]] = {}
    labels: list[tuple[str, float, float]] = []
    for point in points:
        low, high = point.interval
        bars = [[max(0.0, point.quality - low)], [max(0.0, high - point.quality)]]
        megabytes, color = point.index_bytes / 1e6, _COLORS.get(point.kind, "0.4")
        axes.errorbar(megabytes, point.quality, yerr=bars, fmt="o", color=color, capsize=3)
        family, at, dim = point.name.rpartition(" @")
        label = f"@{dim}" if family in families else _ascii(point.name, f"#{point.number}")
        labels.append((label, megabytes, point.quality))
        if at and point.kind == "colbert":
            families.setdefault(family, []).append(point)
        elif point.kind == "bm25":
            axes.axhline(point.quality, linestyle="--", linewidth=0.8, color=_COLORS["bm25"])
    for family_points in families.values():
        ordered = sorted(family_points, key=lambda point: point.index_bytes)
        sizes = [point.index_bytes / 1e6 for point in ordered]
        axes.plot(sizes, [point.quality for point in ordered], color=_COLORS["colbert"], linewidth=1)
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
    axes.set_title(f"{_ascii(dataset, 'data set')} ({size})", fontsize=10)
    axes.grid(visible=True, alpha=0.3)
    drawn = io.BytesIO()
    canvas.print_figure(drawn, dpi=150, format=path.suffix.lstrip(".") or None)
    write_bytes(path, drawn.getvalue())
    return path


_COLORS = {"bm25": "0.2", "dense": "C2", "sparse": "C1", "colbert": "C0", "hybrid": "C3"}


def _ascii(name: str, otherwise: str) -> str:
    return name.replace("$", r"\$") if name.isascii() else otherwise  # "$" would begin a formula
