"""Load options: device, precision, backend and batching of a model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Backend = Literal["torch", "onnx", "openvino"]

DTYPES: dict[Backend, tuple[str, ...]] = {
    "torch": ("float32", "bfloat16", "float16"),
    "onnx": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
}
"""Precisions each backend supports, besides ``"auto"``."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Runtime options of a model; none of them is part of its fingerprint.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` …; None for the best available.
        dtype: Compute precision; ``"auto"`` is the fastest on the device that preserves the vectors.
        backend: ``"torch"``; ``"onnx"`` or ``"openvino"``, which run on the CPU.
        trust_remote_code: Run Python files that come with the checkpoint.
        batch_tokens: Maximum tokens per padded batch; None for the family's default.
        query_cache: Number of queries whose vectors are cached; 0 for none.
    """

    device: str | None = None
    dtype: str = "auto"
    backend: Backend = "torch"
    trust_remote_code: bool = False
    batch_tokens: int | None = None
    query_cache: int = 0
