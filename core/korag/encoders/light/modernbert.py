"""ModernBERT (https://arxiv.org/abs/2412.13663), for inference: transformers' formulas and names of weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

LayerType = Literal["full_attention", "sliding_attention"]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Everything that ``config.json`` says about the computation.

    Attributes:
        vocabulary: Number of token embeddings.
        hidden: Size of a token's state.
        inner: Size of the states inside the feed-forward layers.
        heads: Attention heads.
        layers: Type of each layer.
        thetas: Base of the rotary frequencies by type of layer.
        window: Distance up to which tokens see each other in layers of sliding attention.
        epsilon: Of the normalizations.
        has_terms: With the head that scores the vocabulary for every token, as SPLADE needs it.
    """

    vocabulary: int
    hidden: int
    inner: int
    heads: int
    layers: Sequence[LayerType]
    thetas: dict[LayerType, float]
    window: int
    epsilon: float
    has_terms: bool


class Attention(nn.Module):
    """softmax(q·k / √d)·v over the tokens that the mask shows, with q and k rotated by their positions."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._heads = shape.heads
        self.Wqkv = nn.Linear(shape.hidden, 3 * shape.hidden, bias=False)
        self.Wo = nn.Linear(shape.hidden, shape.hidden, bias=False)

    def forward(self, states: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Returns what each token takes from the others. Shape: (texts, tokens, hidden)."""
        texts, tokens, hidden = states.shape
        parts = self.Wqkv(states).view(texts, tokens, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        queries, keys = _rotate(parts[0], *rotation), _rotate(parts[1], *rotation)
        taken = functional.scaled_dot_product_attention(queries, keys, parts[2], mask)
        mixed: Tensor = self.Wo(taken.transpose(1, 2).reshape(texts, tokens, hidden))
        return mixed


def _rotate(vectors: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Rotary position embedding (https://arxiv.org/abs/2104.09864): turns the plane of numbers i and i + d/2."""
    first, second = vectors.float().chunk(2, dim=-1)
    return torch.cat([first * cosines - second * sines, second * cosines + first * sines], dim=-1).to(vectors.dtype)


class Mlp(nn.Module):
    """Wo(gelu(a) ∘ b) with (a, b) = Wi(x) (GeGLU, https://arxiv.org/abs/2002.05202)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.Wi = nn.Linear(shape.hidden, 2 * shape.inner, bias=False)
        self.Wo = nn.Linear(shape.inner, shape.hidden, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """Shape: (texts, tokens, hidden)."""
        values, gates = self.Wi(states).chunk(2, dim=-1)
        mixed: Tensor = self.Wo(functional.gelu(values) * gates)
        return mixed


class Layer(nn.Module):
    """x + attention(norm(x)), and then x + mlp(norm(x)); the first layer gets normalized states."""

    def __init__(self, shape: Shape, index: int) -> None:
        super().__init__()
        self.attn_norm = _norm(shape) if index else nn.Identity()
        self.attn = Attention(shape)
        self.mlp_norm = _norm(shape)
        self.mlp = Mlp(shape)

    def forward(self, states: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """Shape: (texts, tokens, hidden)."""
        states = states + self.attn(self.attn_norm(states), rotation, mask)
        mixed: Tensor = states + self.mlp(self.mlp_norm(states))
        return mixed


class Embeddings(nn.Module):
    """Normalized token embeddings."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        # given, not drawn: random numbers without memory make torch import its compiler
        empty = torch.empty(shape.vocabulary, shape.hidden)
        self.tok_embeddings = nn.Embedding(shape.vocabulary, shape.hidden, _weight=empty)
        self.norm = _norm(shape)

    def forward(self, ids: Tensor) -> Tensor:
        """Shape: (texts, tokens, hidden)."""
        embedded: Tensor = self.norm(self.tok_embeddings(ids))
        return embedded


class ModernBert(nn.Module):
    """Tokens to states.

    Attributes:
        config: Settings in ``config.json``.
    """

    config: Any

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self._shape = shape
        self.embeddings = Embeddings(shape)
        self.layers = nn.ModuleList([Layer(shape, index) for index in range(len(shape.layers))])
        self.final_norm = _norm(shape)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Returns the states of tokens.

        Args:
            ids: Vocabulary ids. Shape: (texts, tokens).
            mask: True or 1 for tokens that others see. Shape: (texts, tokens).

        Returns:
            Shape: (texts, tokens, hidden).
        """
        states = self.embeddings(ids)
        positions = torch.arange(ids.shape[1], device=ids.device)
        rotations = {kind: self._rotation(positions, theta, states) for kind, theta in self._shape.thetas.items()}
        masks = self._masks(positions, mask.bool())
        for kind, layer in zip(self._shape.layers, self.layers, strict=True):
            states = layer(states, rotations[kind], masks[kind])
        final: Tensor = self.final_norm(states)
        return final

    def _rotation(self, positions: Tensor, theta: float, states: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of position · θ^(−2i/d), in the precision of the states. Shape of each: (tokens, d/2)."""
        size = self._shape.hidden // self._shape.heads
        exponents = torch.arange(0, size, 2, dtype=torch.float32, device=positions.device) / size
        angles = positions[:, None].float() * (1.0 / theta**exponents)
        return angles.cos().to(states.dtype), angles.sin().to(states.dtype)

    def _masks(self, positions: Tensor, mask: Tensor) -> dict[LayerType, Tensor | None]:
        """Which tokens a token sees, by type of layer; None for all. Shape: (texts, 1, tokens or 1, tokens)."""
        near = (positions[:, None] - positions).abs() <= self._shape.window
        shown = None if bool(mask.all()) else mask[:, None, None, :]
        if len(positions) <= self._shape.window + 1:
            return {"full_attention": shown, "sliding_attention": shown}
        return {"full_attention": shown, "sliding_attention": near[None, None] if shown is None else shown & near}


class Head(nn.Module):
    """norm(gelu(dense(x))), what the scores of the vocabulary are made of."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.dense = nn.Linear(shape.hidden, shape.hidden, bias=False)
        self.norm = _norm(shape)

    def forward(self, states: Tensor) -> Tensor:
        """Shape: (texts, tokens, hidden)."""
        mixed: Tensor = self.norm(functional.gelu(self.dense(states)))
        return mixed


class ModernBertTerms(nn.Module):
    """Tokens to scores of the whole vocabulary; its output layer is the table of embeddings.

    Attributes:
        config: Settings in ``config.json``.
    """

    config: Any

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.model = ModernBert(shape)
        self.head = Head(shape)
        self.decoder = nn.Linear(shape.hidden, shape.vocabulary)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """As `ModernBert.forward`. Shape: (texts, tokens, vocabulary)."""
        scores: Tensor = self.decoder(self.head(self.model(ids, mask)))
        return scores

    def get_output_embeddings(self) -> nn.Module:
        """Returns the output layer, by transformers' name for it."""
        return self.decoder


def _norm(shape: Shape) -> nn.LayerNorm:
    return nn.LayerNorm(shape.hidden, eps=shape.epsilon, bias=False)


def make_backbone(shape: Shape) -> ModernBert | ModernBertTerms:
    """Returns a backbone without numbers."""
    with torch.device("meta"):
        return ModernBertTerms(shape) if shape.has_terms else ModernBert(shape)


def fill_backbone(backbone: ModernBert | ModernBertTerms, weights: dict[str, Tensor]) -> None:
    """Puts float32 weights into a backbone.

    Args:
        backbone: From `make_backbone`.
        weights: Exactly those of `weight_shapes`.
    """
    known = {name: weight.float() for name, weight in weights.items()}
    if isinstance(backbone, ModernBertTerms):
        known["decoder.weight"] = known["model.embeddings.tok_embeddings.weight"]
    backbone.load_state_dict(known, assign=True)
    if isinstance(backbone, ModernBertTerms):
        backbone.decoder.weight = backbone.model.embeddings.tok_embeddings.weight
    backbone.requires_grad_(requires_grad=False)


def weight_shapes(backbone: ModernBert | ModernBertTerms) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the weights in the file of a backbone, by name."""
    return {name: tuple(weight.shape) for name, weight in backbone.state_dict().items() if name != "decoder.weight"}
