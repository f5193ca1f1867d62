"""Damaged and forged collections: each use is right, or refused by an error of ours; never a crash, never a hang."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.hostile.conftest import Hostile

SCRIPT = Path(__file__).with_name("tampering.py")
SECONDS = 120.0
"""For one folder, which takes a fraction of one; a hang is a failure."""


@pytest.mark.skipif(sys.platform == "win32", reason="links, pipes and devices")
def test_a_tampered_collection_is_right_or_refused(hostile: Hostile, tmp_path: Path) -> None:
    left = list(hostile.tries("collections tampered with", short=48, long=2_400))
    while left:
        running, refused = left[0], "did not start"
        for message in _work(tmp_path, left):
            if "begun" in message:
                running, refused = message["begun"], f"{message['way']}: the process ended, or hung"
                left.remove(running)
            else:
                refused = ""
                for failure in message["failures"][:3]:
                    hostile.failed(message["done"], f"{message['way']}: {failure}")
        if refused:
            hostile.failed(running, refused)
            if refused == "did not start":
                return


def _work(scratch: Path, seeds: list[int]) -> Iterator[dict[str, Any]]:
    """Runs the script until it ends, by itself or because it hangs."""
    command = [sys.executable, str(SCRIPT), str(scratch / "work"), *map(str, seeds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        for line in _lines(process.stdout, process):
            yield json.loads(line)


def _lines(stream: IO[str], process: subprocess.Popen[str]) -> Iterator[str]:
    while True:
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        line = stream.readline()
        timer.cancel()
        if not line.endswith("\n"):  # it has ended
            return
        yield line
