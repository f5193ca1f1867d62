"""Late-interaction layouts that shape queries and token vectors: query lengths, byte-level BPE, token pooling."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import checkpoints

from korag import load_encoder
from layouts import references
from layouts.case import LayoutCase

QUERY_LENGTH = 64
SAVED_BY_PYLATE = Path(__file__).parents[1] / "golden/pylate/checkpoint"


def _pooled_queries(folder: Path) -> None:
    checkpoints.token_pooling(folder, pool_factor=1.5, num_protected_tokens=2, tasks=["query", "document"])


def _longer_queries(folder: Path) -> tuple[Any, Any]:
    from sentence_transformers import MultiVectorEncoder

    model = MultiVectorEncoder(str(folder), device="cpu", local_files_only=True)
    model[0].query_expansion = model[0].query_expansion | {"length": QUERY_LENGTH}
    return references.encoded(model)


CASES = [
    LayoutCase(
        name="PyLate with a byte-level BPE tokenizer",
        build=lambda folder: shutil.copytree(SAVED_BY_PYLATE, folder),
        reference=references.multi_vector,
        note="texts with outer whitespace: equal to PyLate's vectors in tests/golden",
    ),
    LayoutCase(
        name=f"MultiVectorEncoder with `query_length={QUERY_LENGTH}`",
        build=checkpoints.native,
        reference=_longer_queries,
        load=lambda folder: load_encoder(folder, query_length=QUERY_LENGTH, device="cpu", dtype="float32"),
    ),
    LayoutCase(
        name="MultiVectorEncoder with token pooling", build=checkpoints.token_pooling, reference=references.multi_vector
    ),
    LayoutCase(
        name="MultiVectorEncoder with token pooling of queries too",
        build=_pooled_queries,
        reference=references.multi_vector,
    ),
]
