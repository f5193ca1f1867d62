"""Encoding on a real Ray cluster of two nodes, on this machine; where Ray is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from korag import Collection, load_encoder
from korag.distributed import EncodedTexts

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'ray[data]'"),
]


def _run(*arguments: Any) -> list[str]:
    paths = os.pathsep.join([str(ROOT / "core"), str(ROOT), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=240,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout.splitlines()


def test_a_killed_worker_loses_and_doubles_nothing(tmp_path: Path) -> None:
    counts = json.loads(_run(ROOT / "tests" / "distributed" / "ray_job.py", tmp_path, 1_000)[-1])
    assert counts == {"rows": 1_000, "keys": 1_000}
    assert (tmp_path / "mark").exists()  # one was killed
    log = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert len({entry["node"] for entry in log}) == 2
    assert len({entry["pid"] for entry in log}) >= 2
    assert sum(entry["new"] for entry in log) == 1_000  # nothing was encoded twice
    texts = [f"{number}번 안내문입니다." for number in range(1_000)]
    vectors = EncodedTexts(tmp_path / "vectors").vectors(texts)["dense"]
    assert np.allclose(vectors, load_encoder("mini-dense").encode_documents(texts), atol=1e-5)


def test_the_example_resumes_by_content(tmp_path: Path) -> None:
    example, folder, index = ROOT / "examples" / "encode_with_ray.py", tmp_path / "vectors", tmp_path / "index"
    rows = (ROOT / "examples" / "handbook.jsonl").read_text(encoding="utf-8").splitlines()
    some = tmp_path / "some.jsonl"
    some.write_text("\n".join(rows[:10]), encoding="utf-8")
    given = ("--folder", folder, "--index", index)
    assert "10 to encode" in _run(example, *given, "--documents", some)[0]
    assert f"{len(rows) - 10} to encode" in _run(example, *given)[0]
    assert "0 to encode" in _run(example, *given)[0]
    with Collection.open(index) as collection:
        assert len(collection) == len(rows)
