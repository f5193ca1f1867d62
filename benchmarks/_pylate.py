"""PyLate's reranking in a separate process, since it cannot share an environment with sentence-transformers 6.

Run as a command in that environment, it answers requests, each a line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import _peers

INSTALLS = (
    _peers.TORCH,
    ["sentence-transformers==5.3.0", "transformers==5.3.0", "datasets", "accelerate", "pandas", "ujson"],
    # without dependencies: they require an older torch, which the measured code does not need
    ["--no-deps", "pylate==1.6.0", "fast-plaid>=1.4.6.270,<=1.4.6.2110", "fastkmeans==0.5.0"],
)


class PyLate:
    """A process with a PyLate model.

    Args:
        model: Folder of the model.
        environment: Environment of PyLate; created if missing.
        threads: Number of torch threads.
    """

    def __init__(self, model: Path, environment: Path, threads: int) -> None:
        python = _peers.make(environment, INSTALLS)
        command = [str(python), str(Path(__file__)), str(model), str(threads)]
        self._process: Any = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.version: str = self._read()

    def rerank(self, query: str, passages: list[str]) -> list[tuple[int, float]]:
        """Encodes and ranks passages.

        Args:
            query: The query.
            passages: The candidates.

        Returns:
            (index into `passages`, score), best first.
        """
        self._process.stdin.write(json.dumps([query, passages]) + "\n")
        self._process.stdin.flush()
        return [(index, score) for index, score in self._read()]

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()

    def _read(self) -> Any:
        return json.loads(self._process.stdout.readline())


def _serve(model: str, threads: int) -> None:
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    answers, sys.stdout = sys.stdout, sys.stderr  # stdout is reserved for answers
    import importlib.metadata

    import torch
    from pylate import models, rank

    torch.set_num_threads(threads)
    colbert: Any = models.ColBERT(model, device="cpu")
    print(json.dumps(importlib.metadata.version("pylate")), file=answers, flush=True)
    for line in sys.stdin:
        query, passages = json.loads(line)
        queries = colbert.encode([query], is_query=True, show_progress_bar=False)
        documents = [colbert.encode(passages, is_query=False, show_progress_bar=False)]
        (ranked,) = rank.rerank(
            documents_ids=[list(range(len(passages)))], queries_embeddings=queries, documents_embeddings=documents
        )
        found = [(int(entry["id"]), float(entry["score"])) for entry in ranked]
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
