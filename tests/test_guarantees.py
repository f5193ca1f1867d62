"""Every promise of docs/guarantees.md names tests, and those tests exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def _promises() -> list[str]:
    """The rows of the tables whose second column is headed "Shown by"."""
    rows: list[str] = []
    in_table = False
    for line in PAGE.splitlines():
        if line.startswith("| ") and line.rstrip().endswith("| Shown by |"):
            in_table = True
        elif not line.startswith("|"):
            in_table = False
        elif in_table and not line.startswith("|--"):
            rows.append(line)
    return rows


@pytest.mark.parametrize("row", _promises())
def test_the_tests_of_a_promise_exist(row: str) -> None:
    tests = _TEST.findall(row.rpartition(" | ")[2])
    assert tests, row
    for file, name in tests:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert name in names if name else any(found.startswith(("test_", "Test")) for found in names), (file, name)


def test_there_are_promises_in_every_part() -> None:
    parts = [part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:] if "| Shown by |" in part]
    assert len(parts) >= 4
    assert len(_promises()) > 20
