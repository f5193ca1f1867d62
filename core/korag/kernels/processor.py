"""What this processor does fast."""

from __future__ import annotations

from functools import cache


@cache
def has_fast_int8_matmul() -> bool:
    """Whether products of bytes are faster than of floats: with AVX-512 (VNNI) or AMX, by oneDNN."""
    import torch

    wide = torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2", "NO AVX")
    return wide and bool(torch.backends.mkldnn.is_available()) and hasattr(torch, "_int_mm")  # type: ignore[no-untyped-call]
