"""Virtual environments with the peers: created once under ``~/.cache``, separate from the developer's."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _common import machine_facts

ROOT = Path(__file__).resolve().parents[1]
DEFAULT = Path.home() / ".cache" / "korag-benchmarks" / "peers"
TORCH = os.environ.get("TORCH", "torch==2.13.0").split()
"""As in the Makefile: on Linux, plain ``torch`` installs several GB of CUDA packages."""
PEERS = (
    "langchain-huggingface",
    "llama-index-embeddings-huggingface",
    "llama-index-postprocessor-colbert-rerank",
    "pyarrow",
)


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Adds ``--peers-env``."""
    parser.add_argument(
        "--peers-env", type=Path, default=DEFAULT, metavar="FOLDER", help=f"created if missing; default: {DEFAULT}"
    )


def enter(folder: Path, installs: Sequence[Sequence[str]]) -> None:
    """Runs the command again in an environment, unless it runs there already.

    It contains korag from this checkout, so that everything is timed in one process.

    Args:
        folder: The environment, as for `make`.
        installs: Its packages, as for `make`.

    Raises:
        SystemExit: With the status of the other run, once it has ended.
    """
    if Path(sys.prefix) != folder.expanduser().absolute():
        raise SystemExit(subprocess.run([make(folder, installs), *sys.argv], check=False).returncode)


def start(options: argparse.Namespace, *packages: str) -> dict[str, Any]:
    """Enters the peers' environment and sets the number of threads.

    Args:
        options: With ``peers_env`` and ``threads``.
        packages: As for `_common.machine_facts`.

    Returns:
        `_common.machine_facts`, with the number of threads.
    """
    # torch first: it may come from another index
    enter(options.peers_env, [TORCH, ["-e", f"{ROOT}[langchain,llamaindex]", *PEERS]])
    os.environ["RAYON_NUM_THREADS"] = str(options.threads)  # for the tokenizers, which read it at their first use
    facts = machine_facts(*packages) | {"threads": options.threads}
    import torch

    torch.set_num_threads(options.threads)
    return facts


def make(folder: Path, installs: Sequence[Sequence[str]]) -> Path:
    """Creates a virtual environment, or updates it if its packages have changed.

    Args:
        folder: The environment.
        installs: Arguments of each call of ``pip install``.

    Returns:
        Its Python.
    """
    folder = folder.expanduser().absolute()
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wanted = "".join(" ".join(packages) + "\n" for packages in installs)
    done = folder / "korag-benchmarks.txt"
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        print(f"Creating an environment in {folder} (takes minutes, once) …", file=sys.stderr)
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        for packages in installs:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        done.write_text(wanted, encoding="utf-8")  # last, so that the next run completes an unfinished environment
    return python
