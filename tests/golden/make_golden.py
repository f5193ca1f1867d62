"""Writes ``expected.npz``: vectors of the bundled models, computed by sentence-transformers alone.

    python tests/golden/make_golden.py

Nothing of KoRAG's encoding is used: one text at a time, prompts put before the text by hand, and the
Matryoshka heads applied in numpy to the backbone's token states. Run it only when a shipped model changes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from sentence_transformers import MultiVectorEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

HERE = Path(__file__).parent
MODELS = HERE.parents[1] / "core/korag/checkpoints/bundled"
DIMS = (32, 128)
PROMPTS = {"query": "[Q] ", "document": "[D] "}


def main() -> None:
    """Encodes every text of ``texts.json`` with each model."""
    texts = json.loads((HERE / "texts.json").read_text(encoding="utf-8"))
    expected: dict[str, Any] = {}
    for task, group in (("query", "queries"), ("document", "documents")):
        prompted = [PROMPTS[task] + text for text in texts[group]]
        expected |= {f"dense/{task}": dense(prompted), **sparse(prompted, task), **colbert(prompted, task)}
    np.savez_compressed(HERE / "expected.npz", **expected)


def dense(prompted: list[str]) -> np.ndarray[Any, Any]:
    """Shape: (n_texts, 192)."""
    model = SentenceTransformer(str(MODELS / "mini-dense"), device="cpu")
    return np.stack([model.encode([text], prompt="")[0] for text in prompted])


def sparse(prompted: list[str], task: str) -> dict[str, np.ndarray[Any, Any]]:
    """Weights and terms of the nonzero entries of each text."""
    model = SparseEncoder(str(MODELS / "mini-splade"), device="cpu")
    found = {}
    for index, text in enumerate(prompted):
        row = model.encode([text], prompt="", convert_to_sparse_tensor=False).cpu().numpy()[0]
        found |= {f"sparse/{task}/{index}/terms": row.nonzero()[0].astype(np.int16)}
        found |= {f"sparse/{task}/{index}/weights": row[row > 0]}
    return found


def colbert(prompted: list[str], task: str) -> dict[str, np.ndarray[Any, Any]]:
    """Token vectors of each text. Shape of each: (n_tokens, dim)."""
    folder = MODELS / "mini-colbert"
    model = MultiVectorEncoder(str(folder), device="cpu", prompts={"query": "", "document": ""})
    heads = load_file(folder / "matryoshka_heads.safetensors")
    mask = next(module for module in model if isinstance(module, MultiVectorMask))
    found = {}
    for index, text in enumerate(prompted):
        with torch.inference_mode():
            features = mask(model[0](model.preprocess([text], task=task)), task=task)
        states = features["token_embeddings"][0].numpy()[features["attention_mask"][0].bool().numpy()]
        for dim in DIMS:
            vectors = states @ heads[f"{dim}.weight"].T
            found[f"colbert/{dim}/{task}/{index}"] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


if __name__ == "__main__":
    main()
