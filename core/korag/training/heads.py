"""Trainable Matryoshka heads: a module with all projections that replaces ``1_Dense`` during training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from sentence_transformers.base.modules import Dense, Module
from torch import Tensor, nn

from korag.errors import InvalidArgumentError, MissingHeadsError


class MatryoshkaDense(Module):
    """Bias-free projections of the token embeddings, one per dimension.

    ``forward(features)`` puts the projection of `dim` in ``token_embeddings``, as ``1_Dense`` does.
    ``forward(features, all_dims=True)`` also puts every projection in ``token_embeddings_<dim>``, as
    `korag.training.MatryoshkaColBERTLoss` needs. Shape of each: (batch, tokens, dim).

    Args:
        in_features: Hidden size of the backbone.
        dims: The dimensions.
        dim: The dimension in use; None for the largest.
    """

    config_keys: list[str] = ["in_features", "dims", "dim"]  # noqa: RUF012 (declared so by its base)
    forward_kwargs: set[str] = {"all_dims"}  # noqa: RUF012

    def __init__(self, in_features: int, dims: Sequence[int], dim: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.in_features = in_features
        self.dims = sorted(dims)
        self.dim = max(self.dims) if dim is None else dim
        self.heads = nn.ModuleDict({str(size): nn.Linear(in_features, size, bias=False) for size in self.dims})

    def forward(self, features: dict[str, Any], *, all_dims: bool = False, **kwargs: Any) -> dict[str, Any]:
        """Projects ``features["token_embeddings"]``."""
        hidden = features["token_embeddings"]
        if all_dims:
            for size, head in self.heads.items():
                features[f"token_embeddings_{size}"] = head(hidden)
            features["token_embeddings"] = features[f"token_embeddings_{self.dim}"]
        else:
            features["token_embeddings"] = self.heads[str(self.dim)](hidden)
        return features

    def get_embedding_dimension(self) -> int:
        """Returns the dimension in use."""
        return self.dim

    def weights(self) -> dict[int, Tensor]:
        """Returns copies of the projections by dimension, float32 on the CPU. Shape of each: (dim, in_features)."""
        heads = {int(size): cast(nn.Linear, head).weight for size, head in self.heads.items()}
        return {size: weight.detach().float().cpu().clone() for size, weight in heads.items()}

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Saves the module in a training checkpoint; a finished model has `Dense` and a heads file instead."""
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=True)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any) -> MatryoshkaDense:  # type: ignore[override]
        """Loads the module from a training checkpoint."""
        names = ("token", "cache_folder", "revision", "local_files_only")
        hub: dict[str, Any] = {name: kwargs[name] for name in names if name in kwargs} | {"subfolder": subfolder}
        module = cls(**cls.load_config(model_name_or_path=model_name_or_path, **hub))
        cls.load_torch_weights(model_name_or_path=model_name_or_path, model=module, **hub)
        return module


def find_matryoshka(model: Any) -> MatryoshkaDense | None:
    """Returns the model's `MatryoshkaDense`, even inside a wrapper such as DistributedDataParallel, or None."""
    return next((module for module in model.modules() if isinstance(module, MatryoshkaDense)), None)


def attach_heads(model: Any, heads: Mapping[int, Tensor] | None = None, *, dims: Sequence[int] = ()) -> MatryoshkaDense:
    """Replaces the only `Dense` of a multi-vector model by trainable heads.

    Args:
        model: A `MultiVectorEncoder`; changed in place.
        heads: Their weights by dimension. Shape of each: (dim, hidden). None for new heads of `dims`: the one with
            the size of the `Dense` keeps its weights, the others start orthogonal at random.
        dims: Dimensions of new heads.

    Raises:
        MissingHeadsError: If the model has not exactly one bias-free `Dense`.
    """
    places = [index for index, module in enumerate(model) if isinstance(module, Dense)]
    old: Any = model[places[0]] if len(places) == 1 else None
    if old is None or old.bias or old.use_residual or not isinstance(old.activation_function, nn.Identity):
        raise MissingHeadsError(
            "Matryoshka 헤드는 편향, 잔차 연결, 활성 함수가 없는 Dense 하나만 대체할 수 있습니다. 이 모델의 Dense는 "
            f"{len(places)}개이거나 형태가 다릅니다. dims가 없는 레시피를 쓰세요.",
            "Matryoshka heads replace exactly one Dense without bias, residual or activation; this model has "
            f"{len(places)}, or one of another kind. Use a recipe without dims.",
        )
    made = MatryoshkaDense(old.in_features, list(heads or dims))
    for size, module in made.heads.items():
        head = cast(nn.Linear, module)
        weight = (heads or {}).get(int(size))
        if weight is None and heads is None and int(size) == old.out_features:
            weight = old.linear.weight.detach()
        with torch.no_grad():
            if weight is None:
                nn.init.orthogonal_(head.weight)
            else:
                head.weight.copy_(weight)
    model[places[0]] = made.to(old.linear.weight)
    return made


def detach_heads(model: Any) -> dict[int, Tensor]:
    """Replaces the heads by a plain `Dense` with the largest one, and returns all of them by dimension.

    Raises:
        InvalidArgumentError: If the model has no heads.
    """
    for index, module in enumerate(model):
        if isinstance(module, MatryoshkaDense):
            weights = module.weights()
            largest = max(weights)
            dense = Dense(
                module.in_features, largest, bias=False, activation_function=None,
                init_weight=weights[largest].clone(), module_input_name="token_embeddings",
            )  # fmt: skip
            model[index] = dense.to(next(module.parameters()).device)
            return weights
    raise InvalidArgumentError("모델에 Matryoshka 헤드가 없습니다.", "The model has no Matryoshka heads.")
