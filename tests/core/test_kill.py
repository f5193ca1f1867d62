"""A writer killed at any moment leaves everything it acknowledged, and no partial change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from kill_writer import check, open_collection

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the writer is forked, so that it starts at once"),
]


def run(*arguments: object) -> dict[str, int]:
    """Runs the command in a separate process, because this one has torch's threads and must not be forked."""
    script = Path(__file__).parents[1] / "kill_writer.py"
    done = subprocess.run([sys.executable, script, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


def test_killed_at_random_moments(tmp_path: Path) -> None:
    counts = run("--rounds", 25, "--seed", os.getpid(), "--folder", tmp_path)
    assert counts["kills"] == 25
    assert counts["losses"] == 0
    assert counts["kills within a change"] > 5
    folders = sorted(tmp_path.iterdir())
    assert len(folders) == 3
    for folder in folders:
        with open_collection(folder) as collection:
            assert check(collection, {document.id: document.text for document in collection.get()}) == []


def test_killed_at_every_tenth_step() -> None:
    counts = run("--steps", "--every", 10)
    assert counts["kills"] > 15
    assert counts["losses"] == 0


def test_killed_while_a_codebook_is_learned() -> None:
    """The write that learns it encodes all segments anew."""
    counts = run("--steps", "--coded", "--every", 17)
    assert counts["kills"] > 15
    assert counts["losses"] == 0


@pytest.mark.parametrize("how", ["exchange", "renames", "new"])
def test_a_save_killed_at_every_step_leaves_one_whole_collection(how: str) -> None:
    counts = run("--save", how)
    assert counts["losses"] == 0
    assert counts["left old"] > 15
    assert counts["left new"] > (0 if how == "new" else 3)
