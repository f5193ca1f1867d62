"""Token pooling of late-interaction models: vectors of similar tokens become one, their mean."""

from __future__ import annotations

import copy
from typing import Any

from korag.encoders.kinds import is_kind


def find_pooling(model: Any, task: str) -> Any:
    """Returns the module that pools the token vectors of a task; None if none does.

    Args:
        model: A `MultiVectorEncoder`.
        task: ``"query"`` or ``"document"``.
    """
    return next((module for module in _poolings(model) if module.applies_to(task)), None)


def before_pooling(model: Any) -> Any:
    """Returns the part of a model before its first token pooling; the model itself if it has none.

    Args:
        model: Any sentence-transformers model. It is not changed, and shares its weights with the part.
    """
    poolings = [*_poolings(model)]
    if not poolings:
        return model
    part = copy.copy(model)
    part._modules = {}
    for name, module in model.named_children():
        if module is poolings[0]:
            break
        part._modules[name] = module
    return part


def pooled_rows(pooling: Any, vectors: Any) -> list[list[int]]:
    """Returns the token vectors that each pooled vector is the mean of, by their indices.

    The module does not tell. A mean changes with its terms only, so they are those with a gradient.

    Args:
        pooling: A `HierarchicalTokenPooling`.
        vectors: One text's token vectors. Shape: (n_tokens, dim).
    """
    import torch

    plain = copy.copy(pooling)
    plain.normalize_embeddings = False  # a unit vector has no gradient in its own direction
    with torch.inference_mode(mode=False), torch.enable_grad():
        given = vectors.detach().clone().float().requires_grad_()
        sums = plain.pool_one(given).sum(dim=1)
        return [
            torch.autograd.grad(each, given, retain_graph=True)[0].any(dim=1).nonzero().flatten().tolist()
            for each in sums
        ]


def _poolings(model: Any) -> list[Any]:
    return [
        module for module in model.children() if is_kind(module, "HierarchicalTokenPooling") and module.pool_factor > 1
    ]
