"""Forks while threads write and search: nothing acknowledged is lost, and nothing hangs, in parent or child."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here"),
]
SCRIPT = Path(__file__).parents[1] / "fork_cases.py"


def run(*arguments: object) -> str:
    """Runs cases in another process, because this one has threads of its own."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    return done.stdout + (done.stderr if done.returncode else "")


def test_forks_while_threads_write_to_a_folder(hostile, tmp_path: Path) -> None:
    for seed in hostile.tries("fork, collection in a folder", short=1, long=60):
        if found := run("threads", "--seed", seed, "--folder", tmp_path / f"{seed}"):
            hostile.failed(seed, found)


def test_forks_while_threads_write_to_memory(hostile) -> None:
    for seed in hostile.tries("fork, collection in memory", short=1, long=60):
        if found := run("memory", "--seed", seed):
            hostile.failed(seed, found)


@pytest.mark.parametrize(
    "case", ["pool", "inside", "readers", "killed", pytest.param("models", marks=pytest.mark.slow)]
)
def test_forks(case: str) -> None:
    assert run(case) == ""
