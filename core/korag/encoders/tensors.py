"""Running a loaded model and reading its output."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def forward(model: Any, features: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """Runs a model on a tokenized batch, without gradients.

    Args:
        model: A model of sentence-transformers, or a light one.
        features: Output of its ``preprocess``.
        arguments: Further arguments of the model's call, such as ``task``.
    """
    import torch

    for name, value in features.items():
        if torch.is_tensor(value):
            features[name] = value.to(model.device)
    with torch.inference_mode():
        output: dict[str, Any] = model(features, **arguments)
        return output


def as_float32(tensor: Any) -> NDArray[np.float32]:
    """Copies a tensor, inference tensors included, to a float32 array on the CPU."""
    array: NDArray[np.float32] = tensor.float().cpu().numpy().copy()
    return array
