"""Checkpoints that somebody has tampered with: KoRAG's own error or a model that works, and nothing else happens.

Every try changes one thing in a small checkpoint of one of the layouts, then loads and runs it in another process, with
limits on time and memory. Nothing of the checkpoint may be run, nothing written, and nothing asked of the network.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from checkpoints import BUILDERS
from layouts import routers
from layouts.bge_m3 import bge_m3

from tests.hostile.conftest import Hostile

ROOT = Path(__file__).parents[2]
LAYOUTS = {
    **BUILDERS,
    "bge_m3_sparse": bge_m3,
    "bge_m3_late_interaction": bge_m3,
    "opensearch": routers.opensearch,
    "static": routers.static,
}
SECONDS = 60
"""Most for one try. Three are usual where it fails late."""


class Worker:
    """A process of tests/tamper_checkpoints.py, started again when it dies or takes too long."""

    def __init__(self, built: Path, place: Path) -> None:
        self.built, self.place = built, place
        self.process: subprocess.Popen[str] | None = None

    def _start(self) -> subprocess.Popen[str]:
        for name in ("work", "home", "temporary"):
            (self.place / name).mkdir(parents=True, exist_ok=True)
        own = {
            "HOME": self.place / "home", "HF_HOME": self.place / "home", "TMPDIR": self.place / "temporary",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "core"), str(ROOT / "tests")]),
            "OMP_NUM_THREADS": 1, "HF_HUB_OFFLINE": 0,
            "TRANSFORMERS_OFFLINE": 0, "RUST_BACKTRACE": 0,
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-X", "utf8", str(ROOT / "tests/tamper_checkpoints.py"), self.built, self.place,
             self.place.with_name("sentinel")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8",
            cwd=self.place / "work", env=os.environ | {name: str(value) for name, value in own.items()},
        )  # fmt: skip

    def attempt(self, layout: str, seed: int) -> dict[str, Any]:
        """Makes one try and returns its result."""
        if self.process is None:
            self.process = self._start()
            if self._read(300) is None:
                raise RuntimeError("the worker did not start")
        assert self.process.stdin is not None
        self.process.stdin.write(f"{layout} {seed}\n")
        self.process.stdin.flush()
        if (answer := self._read(SECONDS)) is None:
            code = self.process.poll()
            self.stop()
            return {"wrong": f"{layout}: " + ("it hangs" if code in (None, -9) else f"crash, exit status {code}")}
        return answer

    def _read(self, seconds: float) -> dict[str, Any] | None:
        assert self.process is not None
        assert self.process.stdout is not None
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        return json.loads(line) if line else None

    def stop(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            with contextlib.suppress(BrokenPipeError):
                self.process.communicate()  # closes the pipes
            self.process = None


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    for name, build in LAYOUTS.items():
        build(folder / name)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_tampered_checkpoints(hostile: Hostile, built: Path, tmp_path: Path) -> None:
    worker = Worker(built, tmp_path / "place")
    layouts = list(LAYOUTS)
    peak = 0
    try:
        for seed in hostile.tries("tampered checkpoints", short=12, long=3_000):
            layout = layouts[seed % len(layouts)]
            result = worker.attempt(layout, seed)
            peak = max(peak, result.get("memory", 0))
            if result["wrong"]:
                hostile.failed(seed, f"{layout}, {result.get('what')}: {result['wrong']}")
    finally:
        worker.stop()
    assert peak < 3 * 2**20, f"{peak:,} kB of memory"
