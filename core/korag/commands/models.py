"""``korag models``: lists the known models."""

from __future__ import annotations

import argparse
from typing import Any

from korag.checkpoints.bundled import shipped_models
from korag.checkpoints.presets import PRESETS
from korag.commands.options import write


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    parser = subparsers.add_parser("models", help="알려진 모델을 봅니다. Lists known models.")
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> None:
    """Prints a table of the known models."""
    shipped = shipped_models()
    rows = [("model", "family", "dims", "tokens", "licence", "source")]
    for preset in PRESETS.values():
        dims = "/".join(map(str, preset.dims or (preset.dim,)))
        source = "패키지에 포함 / ships with KoRAG" if preset.name in shipped else preset.source
        rows.append((preset.name, preset.family, dims, str(preset.max_length), preset.licence, source))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        write("  ".join([*cells, row[-1]]))
