"""Detects fast instructions of the processor."""

from __future__ import annotations

from functools import cache


@cache
def has_fast_int8_matmul() -> bool:
    """Returns True if oneDNN multiplies int8 faster than float32, as with AVX-512 VNNI or AMX."""
    import torch

    wide = torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2", "NO AVX")
    return wide and bool(torch.backends.mkldnn.is_available()) and hasattr(torch, "_int_mm")  # type: ignore[no-untyped-call]
