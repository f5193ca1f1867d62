"""The environment in which the peers are: made once, beside the caches of other tools, never in the developer's own."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = Path.home() / ".cache" / "korag-benchmarks" / "peers"
TORCH = os.environ.get("TORCH", "torch==2.13.0").split()
"""As in the Makefile: a plain ``torch`` brings several GB of CUDA packages on Linux."""
PEERS = (
    "langchain-huggingface",
    "llama-index-embeddings-huggingface",
    "llama-index-postprocessor-colbert-rerank",
    "pyarrow",
)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Adds ``--peers-env``."""
    parser.add_argument(
        "--peers-env", type=Path, default=DEFAULT, metavar="FOLDER", help=f"made if missing; default: {DEFAULT}"
    )


def enter(folder: Path) -> None:
    """Runs the command again in the peers' environment, unless it runs there already.

    korag is installed in it as it lies in this checkout, so everything is timed in one process.

    Args:
        folder: The environment; made if it is not there, completed if its packages have changed.

    Raises:
        SystemExit: With the other run's status, when that is over.
    """
    folder = folder.expanduser().absolute()
    if Path(sys.prefix) != folder:
        korag = ["-e", f"{ROOT}[langchain,llamaindex]"]
        python = make(folder, [TORCH, [*korag, *PEERS]])  # torch first: its index may be another
        raise SystemExit(subprocess.run([python, *sys.argv], check=False).returncode)


def make(folder: Path, installs: Sequence[Sequence[str]]) -> Path:
    """Makes an environment, or completes it if its packages have changed.

    Args:
        folder: The environment.
        installs: Arguments of ``pip install``, one call each.

    Returns:
        Its Python.
    """
    folder = folder.expanduser().absolute()
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = "".join(" ".join(packages) + "\n" for packages in installs)
    done = folder / "korag-benchmarks.txt"
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        print(f"Making an environment in {folder} (some minutes, once) …", file=sys.stderr)
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for packages in installs:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        done.write_text(wanted, encoding="utf-8")  # last: an environment half made is completed by the next run
    return python
