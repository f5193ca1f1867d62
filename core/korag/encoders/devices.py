"""The device that a model runs on."""

from __future__ import annotations

import importlib.util

from korag.encoders.options import LoadOptions, runs_on_torch


def find_device(options: LoadOptions) -> str:
    """Returns the device of a model: the best one for torch; other backends run on the CPU."""
    return options.device or (best_device() if runs_on_torch(options.backend) else "cpu")


def best_device() -> str:
    """Returns the best device for torch, as sentence-transformers chooses it, which is only imported to choose."""
    import torch

    drivers = ("torch_npu", "habana_frameworks")
    accelerators = (torch.cuda, torch.backends.mps, getattr(torch, "xpu", torch.cuda))
    if not any(found.is_available() for found in accelerators) and not any(map(importlib.util.find_spec, drivers)):
        return "cpu"
    from sentence_transformers.util import get_device_name

    return get_device_name()
