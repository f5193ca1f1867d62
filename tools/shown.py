"""Writes under the examples of the pages what they print: ``make shown``, after a bundled model changes."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
_EXAMPLE = re.compile(r"(```python\n(?P<code>(?:(?!```).)*)```\n+```text\n)(?P<output>.*?)```", re.DOTALL)


def run_example(match: re.Match[str]) -> str:
    """Returns the example with what it prints; unchanged, with its error on stderr, if it fails."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "build").mkdir()
        done = subprocess.run(  # noqa: S603 (our own pages)
            [sys.executable, "-c", match["code"]], check=False, capture_output=True, text=True, cwd=folder
        )
    if done.returncode:
        sys.stderr.write(done.stderr)
        return match[0]
    return f"{match[1]}{done.stdout}```"


def main() -> None:
    """Rewrites the pages given, or all."""
    pages = [Path(name) for name in sys.argv[1:]] or sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
    for page in pages:
        text = page.read_text(encoding="utf-8")
        filled = _EXAMPLE.sub(run_example, text)
        if filled != text:
            page.write_text(filled, encoding="utf-8")
            sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main()
