"""Updates the tables of docs/performance.md and docs/pylate.md from the JSON files in the folders beside them.

    python benchmarks/report.py

The contents of docs/performance/name.json go between ``<!-- name -->`` and ``<!-- /name -->``, so that a page shows
exactly what was measured. A test fails if they differ.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _common import as_markdown

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = (DOCS / "performance.md", DOCS / "pylate.md")
_PART = re.compile(r"(<!-- (?P<name>[\w-]+) -->\n).*?(<!-- /(?P=name) -->)", re.DOTALL)


def main() -> None:
    """Updates the pages."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for page in PAGES:
        page.write_text(fill(page.read_text(encoding="utf-8"), page.with_suffix("")), encoding="utf-8")


def fill(page: str, folder: Path) -> str:
    """Fills in the tables between the marks of a page.

    Args:
        page: Markdown.
        folder: Folder of the JSON files.

    Returns:
        The page with its tables, otherwise unchanged.

    Raises:
        FileNotFoundError: If a mark has no file.
    """

    def part(match: re.Match[str]) -> str:
        found = json.loads((folder / f"{match['name']}.json").read_text(encoding="utf-8"))
        return f"{match[1]}\n{as_markdown(found)}\n\n{provenance(found)}\n\n{match[3]}"

    return _PART.sub(part, page)


def provenance(found: Mapping[str, Any]) -> str:
    """Formats the command, date, machine and versions of a measurement.

    Args:
        found: Result of `_common.results`.
    """
    machine = found["machine"]
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    threads = f", threads used {machine['threads']}" if "threads" in machine else ""
    return (
        f"`{found['command']}` · {machine['date']}, commit {machine['commit']} · {machine['cpu']}, "
        f"{machine['cores']} cores{threads}{flags}, {machine['memory_gb']} GB; load at the start {machine['load']} · "
        f"Python {machine['python']}, {versions}"
    )


if __name__ == "__main__":
    main()
