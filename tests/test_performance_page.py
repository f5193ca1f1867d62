"""The tables of docs/performance.md and docs/pylate.md match the committed measurements."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / name for name in ("performance.md", "pylate.md")]


def _benchmark(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    for module in ("report", "_common"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return importlib.import_module(name)


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch):
    return _benchmark("report", monkeypatch)


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch):
    return _benchmark("_common", monkeypatch)


def test_every_page_with_measurements_is_tested(report):
    assert list(report.PAGES) == PAGES


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_tables_are_made_of_the_committed_measurements(report, path):
    page = path.read_text(encoding="utf-8")
    assert page == report.fill(page, path.with_suffix(""))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_measurement_is_on_the_page(path):
    marks = set(re.findall(r"<!-- ([\w-]+) -->", path.read_text(encoding="utf-8")))
    assert marks == {file.stem for file in path.with_suffix("").glob("*.json")}


def test_a_mark_is_filled_and_the_rest_left_alone(report, tmp_path):
    found = {
        "command": "python benchmarks/some.py",
        "machine": {
            "date": "2026-01-02 03:04 UTC", "commit": "abc", "cpu": "some CPU", "cores": 2, "flags": [], "memory_gb": 8,
            "load": 0.1, "python": "3.11", "versions": {"torch": "2"},
        },
        "tables": {"Some": [{"model": "a|b", "texts": 1234, "ratio": 1.234, "share": None, "difference": 3e-8}]},
        "notes": ["a note"],
    }  # fmt: skip
    (tmp_path / "some.json").write_text(json.dumps(found), encoding="utf-8")
    page = report.fill("before\n<!-- some -->\nold\n<!-- /some -->\nafter <!-- kept -->\n", tmp_path)
    assert page.startswith("before\n<!-- some -->\n\n**Some**\n")
    assert page.endswith("<!-- /some -->\nafter <!-- kept -->\n")
    assert "| a\\|b | 1,234 | 1.23 |  | 3e-08 |" in page
    assert "old" not in page
    assert "- a note" in page
    assert report.fill(page, tmp_path) == page


def test_candidates_take_turns_in_both_directions(common):
    order: list[str] = []
    seconds = common.interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert {name: len(times) for name, times in seconds.items()} == {"a": 2, "b": 2}
    assert order == ["b", "a", "a", "b", "b", "a"]  # the first turn is the warm-up


def test_a_ratio_is_of_the_same_turn(common):
    # a busy second turn hits both, and changes nothing
    assert common.ratio({"peer": [2.0, 20.0, 2.0], "ours": [1.0, 10.0, 1.0]}, "peer", "ours") == 2


def test_results_are_written_whole_and_name_no_folder_of_ours(common, tmp_path, monkeypatch, capsys):
    target = tmp_path / "some" / "found.json"
    arguments = ["--shapes", "mini", "--json", str(target), "--peers-env=/home/me"]
    monkeypatch.setattr(sys, "argv", ["benchmarks/encode.py", *arguments])
    found = common.results({"cpu": "some CPU"}, {"Some": [{"texts": 1}]})
    common.publish(found, target)
    assert json.loads(target.read_text(encoding="utf-8")) == found
    assert [file.name for file in target.parent.iterdir()] == ["found.json"]
    assert found["command"] == "python benchmarks/encode.py --shapes mini"
    assert "| texts |" in capsys.readouterr().out
