"""Encoding many texts in the background: in parts that a later run continues, shortest texts first."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.encoders.base import Encoder, Task

logger = logging.getLogger(__name__)

_PART = 1_024


def encode_cached(
    encoder: Encoder[Any], texts: Sequence[str], task: Task, folder: Path, name: str
) -> NDArray[np.float16]:
    """Returns the vectors of texts, reading what an earlier run has encoded.

    Args:
        encoder: A dense model.
        texts: The texts.
        task: ``"query"`` or ``"document"``.
        folder: Folder of the cache.
        name: Beginning of the file's name; a digest of the model and the texts follows.

    Returns:
        The vectors, mapped from the file. Shape: (n, dim).
    """
    digest = hashlib.sha256(f"{encoder.fingerprint} {task}".encode())
    for text in texts:
        digest.update(text.encode() + b"\0")
    path = folder / f"{name}-{digest.hexdigest()[:16]}.npy"
    if not path.exists():
        order = np.argsort([len(text) for text in texts], kind="stable")  # parts of similar length need little padding
        parts = path.with_suffix("")
        parts.mkdir(parents=True, exist_ok=True)
        encoded = np.concatenate(
            [_part(encoder, texts, order, start, task, parts) for start in range(0, len(texts), _PART)]
        )
        vectors = np.empty_like(encoded)
        vectors[order] = encoded
        _save(vectors, path)
        for part in parts.iterdir():
            part.unlink()
        parts.rmdir()
    mapped: NDArray[np.float16] = np.load(path, mmap_mode="r")
    return mapped


def _part(
    encoder: Encoder[Any], texts: Sequence[str], order: NDArray[np.int64], start: int, task: Task, parts: Path
) -> NDArray[np.float16]:
    path = parts / f"{start:07d}.npy"
    if not path.exists():
        rows = [texts[index] for index in order[start : start + _PART].tolist()]
        began, cpu_began = time.perf_counter(), time.process_time()
        encode = encoder.encode_queries if task == "query" else encoder.encode_documents
        _save(encode(rows, show_progress=False).astype(np.float16), path)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
        logger.info(
            "%s: %d of %d; %.0f a second, %.0f a CPU-second",
            parts.name, min(start + _PART, len(order)), len(order), len(rows) / seconds, len(rows) / cpu_seconds,
        )  # fmt: skip
    part: NDArray[np.float16] = np.load(path)
    return part


def _save(vectors: NDArray[np.float16], path: Path) -> None:
    unfinished = path.with_suffix(".tmp.npy")
    np.save(unfinished, vectors)
    unfinished.replace(path)
