"""``korag models``: lists the known models by family."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable
from typing import Any, get_args

from korag.checkpoints.bundled import shipped_models
from korag.checkpoints.preset_rows import BENCHMARKS
from korag.checkpoints.presets import PRESETS, Family, ModelFamily, Preset
from korag.commands.opening import add_json
from korag.commands.options import as_json, write

FAMILIES: tuple[ModelFamily, ...] = (*get_args(Family), "cross_encoder")
_COLUMNS = ("model", "quality", "size", "licence", "dims", "tokens")
_NO_TERMINAL = (120, 24)
"""Size assumed if the output is a file or a pipe."""


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    about = "알려진 모델을 봅니다. Lists known models."
    parser = subparsers.add_parser("models", help=about, description=about)
    parser.add_argument("--family", choices=FAMILIES, help="이 종류만 봅니다. Only models of this family.")
    parser.add_argument("--sources", action="store_true", help="출처와 설명도 봅니다. Also sources and notes.")
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Prints one table per family. A name that leaves no room for the facts in the terminal has a line of its own."""
    families = [options.family] if options.family else FAMILIES
    shown = {family: by_quality(family) for family in families}
    if options.json:
        entries = [_as_dict(preset) for presets in shown.values() for preset in presets]
        write(as_json(entries, indent=1))
        return
    rows = {preset.name: _cells(preset) for presets in shown.values() for preset in presets}
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows.values(), strict=True)]
    room = shutil.get_terminal_size(_NO_TERMINAL).columns - sum(widths[1:]) - 2 * len(widths)
    fitting = [len(cells[0]) for cells in rows.values() if len(cells[0]) <= room]
    widths[0] = max(fitting) if len(fitting) > len(rows) / 2 else 0
    for family, presets in shown.items():
        write(f"[{family}]")
        write(_line(_COLUMNS if widths[0] else ("", *_COLUMNS[1:]), widths))
        for preset in presets:
            cells = rows[preset.name]
            if len(cells[0]) > widths[0]:
                write("  " + cells[0])
                cells = ("", *cells[1:])
            write(_line(cells, widths))
            for detail in _sources(preset) if options.sources else ():
                write("    " + detail)
        write("")
    _explain([preset for presets in shown.values() for preset in presets])


def by_quality(family: ModelFamily) -> list[Preset]:
    """Returns the models of a family: by benchmark, and within one the best first; those without a figure last."""

    def rank(preset: Preset) -> tuple[int, float]:
        if not preset.figures:
            return len(BENCHMARKS), 0.0
        return BENCHMARKS.index(preset.figures[0].benchmark), -preset.figures[0].value

    return sorted((preset for preset in PRESETS.values() if preset.family == family), key=rank)


def quality(preset: Preset) -> str:
    """Returns a model's first figure and the letter of its benchmark, or a dash."""
    return f"{preset.figures[0].value:.3f} {preset.figures[0].benchmark.mark}" if preset.figures else "-"


def dims(preset: Preset) -> str:
    """Returns the sizes of a model's vectors to choose from, or a dash."""
    return "/".join(map(str, preset.dims or (preset.dim,))) if preset.dim else "-"


def _as_dict(preset: Preset) -> dict[str, Any]:
    return {
        "model": preset.name,
        "family": preset.family,
        "figures": [{"benchmark": figure.benchmark.name, "ndcg@10": figure.value} for figure in preset.figures],
        "parameters": preset.parameters or None,
        "licence": preset.licence,
        "free": preset.free,
        "dims": list(preset.dims or ((preset.dim,) if preset.dim else ())),
        "max_length": preset.max_length,
        "bundled": preset.name in shipped_models(),
        "loads": preset.loads,
        "source": preset.source,
        "note": preset.note,
    }


def _cells(preset: Preset) -> tuple[str, ...]:
    size = f"{preset.parameters or '-'}{' *' if preset.name in shipped_models() else ''}"
    licence = preset.licence if preset.free else f"{preset.licence} !"
    name = preset.name if preset.loads else f"{preset.name} ?"
    return name, quality(preset), size, licence, dims(preset), str(preset.max_length or "-")


def _line(cells: Iterable[str], widths: Iterable[int]) -> str:
    return ("  " + "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))).rstrip()


def _sources(preset: Preset) -> list[str]:
    return [preset.source, *([preset.note] if preset.note else [])]


def _explain(presets: list[Preset]) -> None:
    """Prints what the letters and signs mean; only those that appear."""
    write("quality: nDCG@10. 글자가 같은 수치끼리만 비교할 수 있습니다.")
    write("         Only figures with the same letter can be compared.")
    marks = {preset.figures[0].benchmark.mark for preset in presets if preset.figures}
    for benchmark in BENCHMARKS:
        if benchmark.mark in marks:
            for sign, name in zip(
                benchmark.mark + " ", dict.fromkeys((benchmark.korean, benchmark.name)), strict=False
            ):
                write(f"  {sign}  {name}")
    if not all(preset.free for preset in presets):
        write("!  라이선스를 확인하지 못했거나 상업적 사용이 제한됩니다. 쓰기 전에 확인하세요.")
        write("   The licence is not known or restricts commercial use: check it before use.")
    if not all(preset.loads for preset in presets):
        write("?  이 모델의 파일 형식은 아직 읽지 못합니다.")
        write("   KoRAG cannot load the layout of this model yet.")
    if any(preset.name in shipped_models() for preset in presets):
        write("*  패키지에 포함되어 다운로드하지 않습니다.")
        write("   Ships with KoRAG; nothing is downloaded.")
    write("출처와 설명 / sources and notes: korag models --sources, docs/models.md")
