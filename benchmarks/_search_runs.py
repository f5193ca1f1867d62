"""Tasks that run in a process of their own, in whatever environment: what they answer, and how searches are timed."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

K = 10
PATIENCE = 25
"""Seconds after which a way to search gets no more queries."""
FEWEST = 5
"""Queries that it gets all the same."""

Hits = Sequence[tuple[str, float | None]]
"""Number and score of each document found, best first."""


class Found(TypedDict):
    """Results of one way to search.

    Attributes:
        seconds: Of each query.
        ids: Documents found for each.
        scores: Theirs, where they are told.
    """

    seconds: list[float]
    ids: list[list[str]]
    scores: list[list[float | None]]


def timed(search: Callable[[int], Hits], queries: int) -> Found:
    """Searches for query after query, after one that is not timed.

    Args:
        search: Finds documents for the query of a number.
        queries: How many there are; a slow search gets fewer.
    """
    found: Found = {"seconds": [], "ids": [], "scores": []}
    search(0)
    for query in range(queries):
        if query >= FEWEST and sum(found["seconds"]) > PATIENCE:
            break
        started = time.perf_counter()
        hits = search(query)
        found["seconds"].append(time.perf_counter() - started)
        found["ids"].append([id_ for id_, _ in hits])
        found["scores"].append([score for _, score in hits])
    return found


def ask(python: str | Path, script: str, task: dict[str, Any], *, limit: float | None = None) -> dict[str, Any]:
    """Runs a script that calls `answer`.

    Args:
        python: The interpreter.
        script: Its name, in this folder.
        task: What it is to do.
        limit: Seconds it may take; None for any number.

    Returns:
        The answer.

    Raises:
        subprocess.TimeoutExpired: If it took longer.
        subprocess.CalledProcessError: If it failed.
    """
    command = [str(python), str(Path(__file__).with_name(script)), json.dumps(task)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=limit)
    answered: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answered


def read(path: Path) -> dict[str, Any]:
    """Reads JSON; nothing from a file that does not exist."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def answer(found: dict[str, Any]) -> None:
    """Answers `ask`."""
    print("\n" + json.dumps(found), flush=True)
