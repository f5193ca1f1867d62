"""Writes under the examples of the pages what they print: ``make shown``, after a bundled model changes."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
_EXAMPLE = re.compile(r"(```python\n(?P<code>(?:(?!```).)*)```\n+```text\n)(?P<output>.*?)```", re.DOTALL)


def run_example(match: re.Match[str], failures: list[str]) -> str:
    """Returns the example with what it prints; unchanged if it fails.

    Args:
        match: The example on its page.
        failures: Where to add its line and error.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "build").mkdir()
        done = subprocess.run(  # noqa: S603 (our own pages)
            [sys.executable, "-c", match["code"]], check=False, capture_output=True, text=True, cwd=folder
        )
    if done.returncode:
        line = match.string.count("\n", 0, match.start()) + 1
        failures.append(f"{line}: left as it is, because it failed\n{done.stderr}")
        return match[0]
    return f"{match[1]}{done.stdout}```"


def main() -> None:
    """Rewrites the pages given, or all; exits with 1 if an example failed."""
    pages = [Path(name) for name in sys.argv[1:]] or sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
    status = 0
    for page in pages:
        text = page.read_text(encoding="utf-8")
        failures: list[str] = []
        filled = _EXAMPLE.sub(partial(run_example, failures=failures), text)
        if filled != text:
            page.write_text(filled, encoding="utf-8")
            sys.stdout.write(f"{page}\n")
        for failure in failures:
            sys.stderr.write(f"{page}:{failure}\n")
            status = 1
    raise SystemExit(status)


if __name__ == "__main__":
    main()
