"""What the commands here share: facts of the machine, timing in turns, limits, and tables.

Figures of a busy machine mean little alone, so whatever is compared is timed in turns in one run (`interleaved`),
and what is published are medians of the ratios of neighbouring turns (`ratio`).
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("korag", "torch", "transformers", "sentence-transformers", "numpy", "scipy")
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16")
"""What decides how fast a processor multiplies matrices."""

PATIENCE = 20
"""Seconds after which a searcher is asked no more queries."""

Row = Mapping[str, object]
Searcher = Callable[[int], list[str]]
"""From a query's number to the ids of the best documents."""


def machine_facts(*packages: str) -> dict[str, Any]:
    """Says on what and with what a measurement is made; call it first, for it reads the load.

    Args:
        packages: Distributions whose versions to name beside those of `PACKAGES`.

    Returns:
        JSON values; packages that are not installed are left out.
    """
    info = _cpuinfo()
    known = set(info.get("flags", "").split())
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": [flag for flag in FLAGS if flag in known],
        "memory_gb": round(_memory() / 1e9),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version for name in (*PACKAGES, *packages) if (version := _version(name))},
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def median_of(function: Callable[[], object], repeats: int, *, warmup: int = 1) -> float:
    """Returns the median seconds of calls.

    Args:
        function: What to time.
        repeats: How often.
        warmup: Calls before that, not timed.
    """
    return statistics.median(interleaved({"": function}, repeats, warmup=warmup)[""])


def interleaved(
    candidates: Mapping[str, Callable[[], object]], repeats: int, *, warmup: int = 1
) -> dict[str, list[float]]:
    """Times candidates in turns, so that whatever else the machine does hits all of them.

    Args:
        candidates: What to time, by name.
        repeats: Turns; every second one goes backwards, so that nobody always comes after the same one.
        warmup: Calls of each before that, not timed.

    Returns:
        Seconds of each candidate, one a turn.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    gc.collect()
    gc.freeze()  # what was loaded before is nobody's garbage, and looking through it again nobody's cost
    for turn in range(-warmup, repeats):
        order = list(candidates)
        for name in order if turn % 2 == 0 else reversed(order):
            started = time.perf_counter()
            candidates[name]()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - started)
    gc.unfreeze()
    return seconds


def take_turns(
    searchers: dict[str, Searcher], queries: int
) -> tuple[dict[str, list[float]], dict[str, list[list[str]]]]:
    """Puts each query to all searchers, once unmeasured for the first, until one has taken too long.

    Args:
        searchers: By name.
        queries: How many.

    Returns:
        Seconds, and the ids found, of each searcher; one a query it has answered.
    """
    seconds: dict[str, list[float]] = {name: [] for name in searchers}
    found: dict[str, list[list[str]]] = {name: [] for name in searchers}
    for query in [0, *range(queries)]:
        for name in searchers if query % 2 else reversed(searchers):
            if len(seconds[name]) > 2 and sum(seconds[name]) > PATIENCE:
                continue
            started = time.perf_counter()
            ids = searchers[name](query)
            seconds[name].append(time.perf_counter() - started)
            found[name].append(ids)
    return {name: own[1:] for name, own in seconds.items()}, {name: own[1:] for name, own in found.items()}


def ratio(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """Returns how many times as long `slow` took as `fast`: the median over turns.

    Args:
        seconds: What `interleaved` returned.
        slow: The candidate above the line.
        fast: The candidate below it.
    """
    return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


def matmul_gflops(*, size: int = 1_536, repeats: int = 7) -> float:
    """Returns the GFLOP/s of a square float32 matrix product in torch: the limit of an encoder in float32.

    Args:
        size: Rows and columns.
        repeats: The median of so many.
    """
    import torch

    left, right = torch.rand(size, size), torch.rand(size, size)
    return 2 * size**3 / median_of(lambda: left @ right, repeats) / 1e9


def copy_gbs(*, megabytes: int = 512, repeats: int = 7) -> float:
    """Returns the GB/s of copying memory, read and written counted: the limit of a scan.

    Args:
        megabytes: Size of what is copied; more than any cache.
        repeats: The median of so many.
    """
    import numpy as np

    source = np.ones(megabytes * 2**20, np.uint8)
    target = np.empty_like(source)
    return 2 * source.nbytes / median_of(lambda: np.copyto(target, source), repeats) / 1e9


def markdown_table(rows: Iterable[Row]) -> str:
    """Formats rows as a Markdown table; the first one's keys are the columns.

    Args:
        rows: Numbers are shortened to what the measurement bears; None is an empty cell.
    """
    rows = list(rows)
    if not rows:
        return ""
    columns = list(rows[0])
    numeric = {name for name in columns if all(isinstance(row.get(name), (int, float, type(None))) for row in rows)}
    lines = [
        "| " + " | ".join(columns) + " |",
        "|" + "|".join("--:" if name in numeric else "---" for name in columns) + "|",
        *("| " + " | ".join(_cell(row.get(name)) for name in columns) + " |" for row in rows),
    ]
    return "\n".join(lines)


def results(
    facts: Mapping[str, Any], tables: Mapping[str, Sequence[Row]], *, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Puts together what a command found, as `--json` writes and `report.py` reads it.

    Args:
        facts: What `machine_facts` returned.
        tables: Rows by the title of their table.
        notes: Sentences that belong under the tables.
    """
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_without_places(sys.argv[1:])])
    return {
        "command": command,
        "machine": dict(facts),
        "tables": {k: list(v) for k, v in tables.items()},
        "notes": list(notes),
    }


def as_markdown(found: Mapping[str, Any]) -> str:
    """Formats what `results` returned: each table under its title, then the notes."""
    parts = [f"**{title}**\n\n{markdown_table(rows)}" for title, rows in found["tables"].items() if rows]
    if found["notes"]:
        parts.append("\n".join(f"- {note}" for note in found["notes"]))
    return "\n\n".join(parts)


def publish(found: Mapping[str, Any], path: Path | None) -> None:
    """Prints what `results` returned as Markdown, and writes it.

    Args:
        found: What was found.
        path: Where to; None for nowhere.
    """
    print(as_markdown(found))
    write(found, path)


def write(found: Mapping[str, Any], path: Path | None) -> None:
    """Writes what `results` returned as JSON: whole, then renamed.

    Args:
        found: What was found.
        path: Where to; None for nowhere.
    """
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".tmp")
        unfinished.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(path)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value).replace("|", "\\|")
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    if value == 0 or abs(value) < 0.01:
        return f"{value:.1g}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _without_places(arguments: Sequence[str]) -> list[str]:
    """A command line without folders that nobody else has."""
    places = ("--json", "--peers-env", "--models-folder")
    kept, skip = [], False
    for argument in arguments:
        if not skip and argument.partition("=")[0] not in places:
            kept.append(argument)
        skip = argument in places
    return kept


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").split("\n\n")[0].splitlines() if path.exists() else []
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
