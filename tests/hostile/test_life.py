"""Whatever two processes do to collections: nothing acknowledged is lost, and nothing of another collection goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Hostile

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forked, so that they start at once"),
]


def test_two_processes_at_random(hostile: Hostile) -> None:
    """In a process of its own, because this one has torch's threads and must not be forked."""
    script = Path(__file__).parents[1] / "life_machine.py"
    machine = subprocess.Popen([sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert machine.stdin is not None
    assert machine.stdout is not None
    steps = 0
    for seed in hostile.tries("courses of two processes, 30 steps each", short=8, long=500):
        machine.stdin.write(f"{seed}\n")
        machine.stdin.flush()
        answer = json.loads(machine.stdout.readline())
        steps += answer["steps"]
        if answer["problems"]:
            hostile.failed(seed, "\n".join([*answer["history"], *answer["problems"]]))
    machine.communicate(timeout=60)
    assert steps > 100
