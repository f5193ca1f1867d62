"""The bundled models of 0.1.0, as far as its collections need them: fingerprints, and the vectors of a few queries.

``collections/queries.npz`` was made with those models, whose weights are no longer in the repository. Other texts are
encoded by the bundled models of today.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import MethodType
from typing import Any

import numpy as np
import scipy.sparse as sp

from korag import load_encoder
from korag.checkpoints.fingerprint import Fingerprint

HERE = Path(__file__).parent / "collections"
LEGS = {"mini-colbert": "colbert", "mini-splade": "sparse", "mini-dense": "dense"}


def stored_fingerprints() -> dict[str, Fingerprint]:
    """Those of the models that a collection of 0.1.0 was made with, by leg."""
    file = HERE / "format_2/collection/korag.sqlite3"
    connection = sqlite3.connect(f"file:{file}?mode=ro&immutable=1", uri=True)
    (value,) = connection.execute("SELECT value FROM settings WHERE name = 'legs'").fetchone()
    connection.close()
    return {
        leg: Fingerprint.from_dict(found["fingerprint"]) for leg, found in json.loads(value).items() if leg != "bm25"
    }


def load_older(name: str) -> Any:
    """An encoder with the fingerprint that the model of this name had, and its vectors of the recorded queries."""
    encoder: Any = load_encoder(name, dtype="float32", query_cache=100)
    encoder._fingerprint = stored_fingerprints()[LEGS[name]]
    with np.load(HERE / "queries.npz") as arrays:
        recorded = {key.partition("/")[2]: arrays[key] for key in arrays if key.startswith(f"{name}/")}

    def encode_queries(self: Any, texts: Iterable[str], **options: Any) -> Any:
        texts = list(texts)
        vectors = type(self).encode_queries(self, texts, **options)
        if self.family == "late_interaction":
            return [recorded.get(text, row) for text, row in zip(texts, vectors, strict=True)]
        rows = [recorded.get(text, vectors[[index]]) for index, text in enumerate(texts)]
        return (
            sp.csr_array(sp.vstack([sp.csr_array(row) for row in rows]))
            if sp.issparse(vectors)
            else np.concatenate(rows)
        )

    encoder.encode_queries = MethodType(encode_queries, encoder)
    return encoder
