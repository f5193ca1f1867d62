"""Shared by the commands: arguments, facts about the machine, interleaved timing, hardware limits, and tables.

Absolute times on a busy machine mean little, so candidates are timed in turns within a run (`interleaved`), and what is
published are medians over turns of their ratios (`ratio`).
"""

from __future__ import annotations

import argparse
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
"""CPU features that determine the speed of matrix products."""

AVX2 = {
    "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell",
}  # fmt: skip
"""Environment in which numba, torch, MKL and numpy take a processor for one with AVX2 at most."""

PATIENCE = 20
"""Seconds after which a searcher gets no more queries."""

Cells = Mapping[str, object]
"""A row of a table: values by column."""
Searcher = Callable[[int], list[str]]
"""Maps the number of a query to the ids of the best documents."""


def machine_facts(*packages: str) -> dict[str, Any]:
    """Describes the machine and the software; call it first, because it reads the load.

    Args:
        packages: Distributions whose versions to include, in addition to `PACKAGES`.

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


def model_parser(description: str | None, shapes: Sequence[str], default: Sequence[str]) -> argparse.ArgumentParser:
    """Returns a parser with the arguments of the commands that measure models.

    Args:
        description: Docstring of the command.
        shapes: Choices of ``--shapes``.
        default: Its default.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=list(default), choices=list(shapes))
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch and the tokenizers")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models-folder", type=Path, help="keep the models there; default: a temporary folder")
    parser.add_argument("--json", type=Path, help="file to write the results to")
    return parser


def median_of(function: Callable[[], object], repeats: int, *, warmup: int = 1) -> float:
    """Returns the median duration of calls in seconds.

    Args:
        function: The function to time.
        repeats: Number of timed calls.
        warmup: Untimed calls before them.
    """
    return statistics.median(interleaved({"": function}, repeats, warmup=warmup)[""])


def interleaved(
    candidates: Mapping[str, Callable[[], object]], repeats: int, *, warmup: int = 1
) -> dict[str, list[float]]:
    """Times candidates in turns, so that other load on the machine affects all of them alike.

    Args:
        candidates: Functions to time, by name.
        repeats: Number of turns; every second turn is in reverse order, so that no candidate always follows another.
        warmup: Untimed turns before them.

    Returns:
        Seconds of each candidate, per turn.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    gc.collect()
    gc.freeze()  # keeps objects loaded before out of garbage collection, whose time would count for a candidate
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
    searchers: Mapping[str, Searcher], queries: int
) -> tuple[dict[str, list[float]], dict[str, list[list[str]]]]:
    """Runs each query on all searchers in turns, after a warm-up query; a searcher stops when it has taken too long.

    Args:
        searchers: Searchers by name.
        queries: Number of queries.

    Returns:
        Seconds and ids found by each searcher, per query answered.
    """
    seconds: dict[str, list[float]] = {name: [] for name in searchers}
    found: dict[str, list[list[str]]] = {name: [] for name in searchers}
    for query in [0, *range(queries)]:
        for name in searchers if query % 2 else reversed(list(searchers)):
            if len(seconds[name]) > 2 and sum(seconds[name]) > PATIENCE:
                continue
            started = time.perf_counter()
            ids = searchers[name](query)
            seconds[name].append(time.perf_counter() - started)
            found[name].append(ids)
    return {name: own[1:] for name, own in seconds.items()}, {name: own[1:] for name, own in found.items()}


def resident() -> int | None:
    """Returns the bytes of memory that this process holds (VmRSS), mapped files that it has read included."""
    path = Path("/proc/self/status")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), None)


def forget(folder: Path) -> None:
    """Makes the system read a folder's files from the disk when they are next opened, where it can be asked to.

    Args:
        folder: Whose files no process may be using.
    """
    for file in (file for file in folder.rglob("*") if file.is_file()):
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def disk(folder: Path) -> int:
    """Returns the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def ratio(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """Returns the median over turns of the time of `slow` divided by that of `fast`.

    Args:
        seconds: Result of `interleaved`.
        slow: The numerator.
        fast: The denominator.
    """
    return statistics.median(a / b for a, b in zip(seconds[slow], seconds[fast], strict=True))


def latencies(seconds: Sequence[float]) -> dict[str, float | None]:
    """Returns the columns with the median and the 95th percentile of query times; the latter from 20 queries on.

    Args:
        seconds: Time of each query.
    """
    p95 = statistics.quantiles(seconds, n=20, method="inclusive")[-1] * 1e3 if len(seconds) >= 20 else None
    return {"p50, ms": statistics.median(seconds) * 1e3, "p95, ms": p95}


def matmul_gflops(*, size: int = 1_536, repeats: int = 7) -> float:
    """Returns the GFLOP/s of a square float32 matrix product in torch: the upper limit of a float32 encoder.

    Args:
        size: Rows and columns.
        repeats: Number of timed products; the median counts.
    """
    import torch

    left, right = torch.rand(size, size), torch.rand(size, size)
    return 2 * size**3 / median_of(lambda: left @ right, repeats) / 1e9


def copy_gbs(*, megabytes: int = 512, repeats: int = 7) -> float:
    """Returns the GB/s of copying memory, reads plus writes: the upper limit of a scan.

    Args:
        megabytes: Size of the copy; larger than any cache.
        repeats: Number of timed copies; the median counts.
    """
    import numpy as np

    source = np.ones(megabytes * 2**20, np.uint8)
    target = np.empty_like(source)
    return 2 * source.nbytes / median_of(lambda: np.copyto(target, source), repeats) / 1e9


def markdown_table(rows: Iterable[Cells]) -> str:
    """Formats rows as a Markdown table with the columns of the first row.

    Args:
        rows: Numbers are rounded to significant digits; None is an empty cell.
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
    facts: Mapping[str, Any], tables: Mapping[str, Sequence[Cells]], *, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """Builds the results of a command, which ``--json`` writes and ``report.py`` reads.

    Args:
        facts: Result of `machine_facts`.
        tables: Rows by title of the table.
        notes: Sentences below the tables.
    """
    command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *_without_paths(sys.argv[1:])])
    return {
        "command": command,
        "machine": dict(facts),
        "tables": {k: list(v) for k, v in tables.items()},
        "notes": list(notes),
    }


def as_markdown(found: Mapping[str, Any]) -> str:
    """Formats `results`: each table below its title, then the notes."""
    parts = [f"**{title}**\n\n{markdown_table(rows)}" for title, rows in found["tables"].items() if rows]
    if found["notes"]:
        parts.append("\n".join(f"- {note}" for note in found["notes"]))
    return "\n\n".join(parts)


def publish(found: Mapping[str, Any], path: Path | None) -> None:
    """Prints `results` as Markdown and writes them as JSON.

    Args:
        found: Result of `results`.
        path: File to write; None for none.
    """
    print(as_markdown(found))
    write(found, path)


def write(found: Mapping[str, Any], path: Path | None) -> None:
    """Writes `results` as JSON, atomically.

    Args:
        found: Result of `results`.
        path: File to write; None for none.
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


def _without_paths(arguments: Sequence[str]) -> list[str]:
    """Removes arguments with paths on this machine from a command line."""
    places = ("--json", "--peers-env", "--models-folder", "--folder", "--vectors", "--data")
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
