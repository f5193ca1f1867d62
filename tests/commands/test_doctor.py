"""`korag doctor`: findings about this machine."""

import json
from pathlib import Path
from typing import Any

import pytest

from korag import Collection
from korag.cli import main
from korag.commands import doctor


def findings(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main(["doctor", "--json", *arguments]) == code
    return {finding["about"]: finding for finding in json.loads(capsys.readouterr().out)}


@pytest.fixture(autouse=True)
def _packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a metadata made up, because this checkout may be installed with older ones."""
    needed = ["numpy>=1.26", "torch>=2.6", 'nothing-like-it>=1 ; extra == "fast"', 'tqdm>=4 ; extra == "other"']
    monkeypatch.setattr("importlib.metadata.requires", lambda _: needed)


def test_all_is_well(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Collection.open(tmp_path / "색인", bm25=True) as collection:
        collection.add(["글"])
    found = findings(capsys, "--models", "mini-dense", "--index", str(tmp_path / "색인"))
    assert found["packages"]["detail"].startswith("numpy ")
    assert (found["korag[fast]"]["state"], found["korag[other]"]["state"]) == ("-", "ok")
    assert "pip install 'korag[fast]'" in found["korag[fast]"]["detail"]
    assert "HF_HUB_OFFLINE=1" in found["offline"]["detail"]
    assert "mini-colbert" in found["bundled models"]["detail"]
    assert found["mini-dense"]["detail"].endswith("mini-dense")
    assert "1 documents" in found[str(tmp_path / "색인")]["detail"]
    assert "cores" in found["processor"]["detail"]


def test_versions_that_clash(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["numpy>=99", "torch"])
    found = findings(capsys, code=2)
    assert found["packages"]["state"] == "!"
    assert "(needs >=99)" in found["packages"]["detail"]


def test_models_and_indexes_that_are_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = findings(capsys, "--models", "회사/모델", "owner/absent", "--index", str(tmp_path / "없음"), code=2)
    assert (
        found["회사/모델"]["state"] == found["owner/absent"]["state"] == found[str(tmp_path / "없음")]["state"] == "!"
    )
    assert "Hub cache" in found["owner/absent"]["detail"]
    assert "local_files_only" not in found["owner/absent"]["detail"]  # which nobody has asked for


def test_a_damaged_index(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with Collection.open(tmp_path / "색인", bm25=True) as collection:
        collection.add(["글"])
    for path in (tmp_path / "색인" / "segments").iterdir():
        path.write_bytes(b"")
    assert main(["doctor", "--index", str(tmp_path / "색인")]) == 2
    printed = capsys.readouterr()
    assert "Something is wrong (1)" in printed.err


def test_rules_are_read() -> None:
    assert doctor._fits("2.0", ">=1,<3")
    assert not doctor._fits("2.0", ">=3")
