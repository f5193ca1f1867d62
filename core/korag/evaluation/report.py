"""`Report`: results of an evaluation as a table, Markdown, JSON and a plot."""

from __future__ import annotations

import dataclasses
import json
import os
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korag.evaluation.metrics import MAIN_MEASURE, cutoff
from korag.evaluation.plot import Point, draw
from korag.paths import check_path
from korag.storage import write_text

_COLUMNS = (MAIN_MEASURE, "nDCG@1", "Recall@10", "Recall@100", "MRR@10", "MAP@100", "Accuracy@1")
"""Measures shown in the tables."""
_DIFFERENCES = ("difference", "first_stage_difference")


@dataclass(frozen=True, kw_only=True)
class Row:
    """Results of a system.

    Attributes:
        name: Name of the system.
        kind: ``"bm25"``, ``"dense"``, ``"sparse"``, ``"colbert"``, ``"hybrid"``, ``"reranked"``, ``"collection"``,
            ``"retriever"``.
        dim: Vector size, for dense and late-interaction models.
        identity: Identity of the system (`korag.evaluation.systems.System.identity`), or None.
        metrics: Mean over queries of each measure (`korag.evaluation.metrics`).
        intervals: 95 % bootstrap intervals of `metrics`.
        difference: Mean paired difference of nDCG@10 to the first BM25 row, with its 95 % interval; None for that row.
        found: Largest number of results of a query.
        index_bytes: Size of the index without texts; None if unknown.
        index_seconds: Time to encode and index all documents; None if unknown.
        search_seconds: Time to encode and answer all queries.
        documents_per_second: Rate of indexing.
        queries_per_second: Rate of searching.
        facts: Sparse models: ``query_active_dims``, ``corpus_active_dims``, ``flops``.
        autorag: AutoRAG's measures (``NDCG@3``), and those of reversed lists (``legacy NDCG@3``).
        per_query: nDCG@10 of each query.
        first_stage_difference: Rerankers: the mean paired difference of nDCG@10 to the system whose documents were
            reranked, with its 95 % interval.
    """

    name: str
    kind: str
    dim: int | None
    identity: str | None
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    difference: tuple[float, float, float] | None
    found: int
    index_bytes: int | None
    index_seconds: float | None
    search_seconds: float
    documents_per_second: float | None
    queries_per_second: float | None
    facts: Mapping[str, float]
    autorag: Mapping[str, float]
    per_query: Mapping[str, float]
    first_stage_difference: tuple[float, float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    """Results of an evaluation.

    Attributes:
        dataset: Name of the data set.
        source: Path or Hub id of the data set.
        fingerprint: Fingerprint of its content.
        documents: Number of documents.
        queries: Number of judged queries.
        k: Depth of the rankings.
        rows: BM25 first, then the systems in the order given.
    """

    dataset: str
    source: str
    fingerprint: str
    documents: int
    queries: int
    k: int
    rows: tuple[Row, ...]

    def __str__(self) -> str:
        """Formats a table for the terminal."""
        header, cells = self._table()
        widths = [max(map(_width, column)) for column in zip(header, *cells, strict=True)]
        lines = [
            "  ".join(
                _pad(cell, width, left=index == 0) for index, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in (header, ["-" * width for width in widths], *cells)
        ]
        return "\n".join([self._title(), "", *(line.rstrip() for line in lines), *self._notes()]) + "\n"

    def to_markdown(self) -> str:
        """Formats a Markdown table, followed by tables of sparsity and of AutoRAG's measures, if any."""
        header, cells = self._table()
        parts = [f"### {self._title()}", _markdown(header, cells)]
        if sparse := [row for row in self.rows if row.facts]:
            names = list(sparse[0].facts)
            parts.append(
                _markdown(
                    ["sparse", *names], [[row.name, *(f"{row.facts[name]:,.1f}" for name in names)] for row in sparse]
                )
            )
        for legacy in (False, True):
            if self.rows and self.rows[0].autorag:
                names = [
                    name for name in self.rows[0].autorag if name.startswith("legacy") == legacy and "NDCG" in name
                ]
                title = "AutoRAG (legacy, reversed lists)" if legacy else "AutoRAG"
                parts.append(_markdown([title, *names], [[row.name, *_cells(row.autorag, names)] for row in self.rows]))
        if notes := self._notes():
            parts.append("\n".join(notes).strip())
        return "\n\n".join(parts) + "\n"

    def to_json(self) -> str:
        """Serializes the report as JSON, for `from_json`."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Parses the output of `to_json`."""
        fields: dict[str, Any] = json.loads(text)
        rows = tuple(
            Row(
                **row
                | {
                    "intervals": {name: (low, high) for name, (low, high) in row["intervals"].items()},
                }
                | {name: tuple(row[name]) for name in _DIFFERENCES if row.get(name) is not None}
            )
            for row in fields.pop("rows")
        )
        return cls(rows=rows, **fields)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Writes ``report.json`` and ``report.md`` into a folder. Returns the folder.

        Raises:
            StorageFullError: If there is not enough space.
            ReadOnlyError: If the folder may not be written.
        """
        target = check_path("folder", folder)
        write_text(target / "report.json", self.to_json())
        write_text(target / "report.md", self.to_markdown())
        return target

    def plot(self, path: str | os.PathLike[str]) -> Path:
        """Draws quality against index size, with one point per system of known size.

        Args:
            path: PNG, SVG or PDF file to write.

        Returns:
            The path.

        Raises:
            MissingDependencyError: If matplotlib is not installed.
            StorageError: If the file cannot be written.
        """
        points = [
            Point(
                name=row.name,
                number=number,
                kind=row.kind,
                index_bytes=row.index_bytes,
                quality=row.metrics[MAIN_MEASURE],
                interval=row.intervals[MAIN_MEASURE],
            )
            for number, row in enumerate(self.rows, start=1)
            if row.index_bytes
        ]
        size = f"{self.queries} queries, {self.documents} documents"
        return draw(points, check_path("path", path), dataset=self.dataset, size=size)

    def _title(self) -> str:
        return f"{self.dataset}: {self.queries:,} queries, {self.documents:,} documents"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        columns = [name for name in _COLUMNS if cutoff(name) <= self.k]
        main, *others = columns
        reranked = any(row.first_stage_difference is not None for row in self.rows)
        compared = ["vs BM25 [95%]", *(["vs first stage [95%]"] if reranked else [])]
        header = ["system", f"{main} [95%]", *compared, *others, "index MB", "queries/s"]
        cells = []
        for row in self.rows:
            low, high = row.intervals[main]
            cells.append([
                row.name,
                f"{row.metrics[main]:.3f} [{low:.3f}, {high:.3f}]",
                _gain(row.difference),
                *([_gain(row.first_stage_difference)] if reranked else []),
                *_cells(row.metrics, others),
                "-" if row.index_bytes is None else f"{row.index_bytes / 1e6:,.1f}",
                "-" if row.queries_per_second is None else f"{row.queries_per_second:,.0f}",
            ])  # fmt: skip
        return header, cells

    def _notes(self) -> list[str]:
        short = [row for row in self.rows if row.kind == "retriever" and row.found < self.k]
        lines = [f"{row.name}: 결과가 최대 {row.found}개 / at most {row.found} results a query" for row in short]
        lines += [
            f"{row.name}: 재순위하면 1차 검색보다 나빠집니다({_gain(row.first_stage_difference)}). 다른 모델을 쓰거나 "
            "fuse_weight=를 낮추세요. / Reranking lowers the rankings of its first stage; use another model or a lower "
            "fuse_weight=."
            for row in self.rows
            if row.first_stage_difference is not None and row.first_stage_difference[2] < 0
        ]
        return ["", *lines] if lines else []


def _gain(difference: tuple[float, float, float] | None) -> str:
    return "-" if difference is None else "{:+.3f} [{:+.3f}, {:+.3f}]".format(*difference)


def _cells(values: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{values[name]:.3f}" for name in names]


def _markdown(header: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    lines = [
        header,
        ["---", *["--:"] * (len(header) - 1)],
        *([cell.replace("|", "\\|") for cell in line] for line in cells),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _width(text: str) -> int:
    """Returns the width in terminal columns: Hangul and Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _pad(text: str, width: int, *, left: bool) -> str:
    space = " " * (width - _width(text))
    return text + space if left else space + text
