"""SPLADE's output layer fused with its max pooling: never holds all logits, and skips most of those that end up zero.

A term's weight is log(1 + relu(max over tokens of its logit)). Logarithm and relu are monotonic, so the maximum can be
taken first. Most maxima are negative, and their value does not matter: an int8 product, at a quarter of the cost of a
float32 one, finds the terms that can be positive, and only those get float32 logits.

For a token state h, a term embedding e and their quantized values ĥ and ê, the Cauchy-Schwarz inequality gives
``|h·e − ĥ·ê| ≤ |h|·|e − ê| + |h − ĥ|·|ê|``; so no term with a weight is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from korag.encoders.inputs import chains
from korag.encoders.kinds import is_exactly
from korag.kernels.processor import has_fast_int8_matmul

if TYPE_CHECKING:
    import torch

_TERM_BLOCK = 2_048
"""Terms per product, so that its result stays in the cache."""
_SLACK = 1e-5
"""Allowance for float32 rounding, relative to |h|·|e|; many times the 6e-8 per operation."""


class MaxLogitHead:
    """Maximum logit per term over the tokens of a text; negative maxima become 0.

    Args:
        weight: Term embeddings, float32 on the CPU. Shape: (vocab, hidden).
        bias: Bias per term; None for none. Shape: (vocab,).
        int8_filter: Find candidate terms with int8 products; None does where the processor is fast at them.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, *, int8_filter: bool | None = None) -> None:
        self._weight, self._bias = weight.detach(), weight.new_zeros(len(weight)) if bias is None else bias.detach()
        self._int8_filter = has_fast_int8_matmul() if int8_filter is None else int8_filter
        if self._int8_filter:
            self._scales = _int8_scale(self._weight.abs().amax(1))
            codes = (self._weight / self._scales[:, None]).round()
            restored = codes * self._scales[:, None]
            self._norms = restored.norm(dim=1)
            self._errors = (self._weight - restored).norm(dim=1) + _SLACK * self._norms
            self._codes = codes.char().T

    def __call__(self, texts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns the maxima of each text.

        Args:
            texts: Inputs of the output layer for each text, without padding. Shape of each: (n_tokens, hidden).

        Returns:
            Float32 maxima. Shape: (n_texts, vocab).
        """
        # The bias is the same for all tokens; adding it after the maximum rounds just as adding it before.
        if not self._int8_filter:
            return (_max_products(texts, self._weight.T) + self._bias).relu_()
        maxima = self._weight.new_zeros(len(texts), len(self._weight))
        for states, terms, row in zip(texts, self._within_error_bound(texts), maxima, strict=True):
            row[terms] = (self._weight.index_select(0, terms) @ states.T).amax(1) + self._bias[terms]
        return maxima.relu_()

    def _within_error_bound(self, texts: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """Yields, for each text, the terms whose maximum logit can be positive."""
        import torch

        sizes = [len(states) for states in texts]
        tokens = torch.cat(list(texts))
        # One scale per text: the result for a text must not depend on the others in the batch.
        scales = torch.stack([_int8_scale(states.abs().max()) for states in texts])
        scaled = tokens / scales.repeat_interleave(torch.tensor(sizes))[:, None]
        codes = scaled.round()
        norms = torch.split(tokens.norm(dim=1), sizes)
        errors = torch.split((scaled - codes).norm(dim=1), sizes)
        maxima = _max_products(torch.split(codes.char(), sizes), self._codes)
        for scale, norm, error, products in zip(scales, norms, errors, maxima, strict=True):
            bound = norm.max() * self._errors + scale * error.max() * self._norms
            threshold = -(bound + self._bias) / (scale * self._scales)
            yield (~(products <= threshold)).nonzero()[:, 0]  # negated, so that NaN keeps the term


def _max_products(texts: Sequence[torch.Tensor], terms: torch.Tensor) -> torch.Tensor:
    """Maximum product of each term with the tokens of a text; int32 for int8 inputs.

    Args:
        texts: Shape of each: (n_tokens, hidden).
        terms: Shape: (hidden, vocab).

    Returns:
        Shape: (n_texts, vocab).
    """
    import torch

    multiply, dtype = (torch.ops.aten._int_mm, torch.int32) if terms.dtype == torch.int8 else (torch.mm, terms.dtype)
    # One buffer for all products stays in the cache. The system maps newly allocated memory page by page, which would
    # take almost as long as the product.
    buffer = torch.empty(max(map(len, texts), default=0) * _TERM_BLOCK, dtype=dtype)
    maxima = torch.empty(len(texts), terms.shape[1], dtype=dtype)
    blocks = torch.split(terms, _TERM_BLOCK, 1)
    for block, block_maxima in zip(blocks, torch.split(maxima, _TERM_BLOCK, 1), strict=True):
        for tokens, row in zip(texts, block_maxima, strict=True):
            products = buffer[: len(tokens) * len(row)].view(len(tokens), len(row))
            torch.amax(multiply(tokens, block, out=products), 0, out=row)
    return maxima


def _int8_scale(greatest: torch.Tensor) -> torch.Tensor:
    """Int8 scale: ±127 stands for ±`greatest`."""
    return greatest.clamp(min=1e-9) / 127


def fuse_splade_head(model: Any) -> None:
    """Makes a loaded SPLADE model faster and smaller in memory without changing its vectors; for inference only.

    The maximum is always taken before the logarithm. If the output layer is a plain float32 linear layer on the CPU, it
    also moves out of the backbone into the pooling, which applies it text by text.

    Args:
        model: A sentence-transformers `SparseEncoder`; left unchanged unless it uses max pooling.
    """
    for chain in chains(model):
        for name, module in chain.named_children():
            # not a checkpoint's own subclass
            if is_exactly(module, "SpladePooling") and module.pooling_strategy == "max":
                head = None if _is_shared(chain[0], model) else _take_output_layer(chain)
                chain.register_module(name, max_first(module, head))


def _is_shared(module: Any, model: Any) -> bool:
    """Returns True if several routes of a Router begin with the same module."""
    return sum(chain[0] is module for chain in chains(model)) > 1


def max_first(pooling: Any, head: MaxLogitHead | None = None) -> Any:
    """Returns an equivalent pooling that takes the maximum before the logarithm.

    Args:
        pooling: A `SpladePooling` by maximum.
        head: Computes the maxima from the pooling's input; None if that input is logits.
    """
    import torch

    class MaxFirst(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            # Text by text: copies no logits and does not even read padding.
            texts = _unpadded(features["token_embeddings"], features["attention_mask"])
            pooled = head(texts) if head else torch.stack([tokens.amax(0) for tokens in texts]).relu()
            pooled = pooled.log1p()
            if pooling.activation_function == "log1p_relu":
                pooled = pooled.log1p()
            features["sentence_embedding"] = pooled
            return features

        def get_embedding_dimension(self) -> int | None:
            dimension: int | None = pooling.embedding_dimension
            return dimension

    return MaxFirst()


def _unpadded(states: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    if bool((mask[:, 1:] <= mask[:, :-1]).all()):  # padded on the right: slices instead of copies
        return [row[:length] for row, length in zip(states, mask.sum(1).tolist(), strict=True)]
    return [row[kept.bool()] for row, kept in zip(states, mask, strict=True)]


def _take_output_layer(chain: Any) -> MaxLogitHead | None:
    """Removes the output layer from the backbone; None, without any change, if it is not a plain linear layer."""
    import torch

    backbone = getattr(chain[0], "model", None)
    if not isinstance(backbone, torch.nn.Module):  # of another backend
        return None
    layer = getattr(backbone, "get_output_embeddings", lambda: None)()
    if type(layer) is not torch.nn.Linear or layer.weight.dtype != torch.float32 or layer.weight.device.type != "cpu":
        return None
    if not _is_last(chain[0], layer):
        return None
    name = next(name for name, module in backbone.named_modules() if module is layer)
    parent, _, child = name.rpartition(".")
    setattr(backbone.get_submodule(parent), child, torch.nn.Identity())
    return MaxLogitHead(layer.weight, layer.bias)


def _is_last(transformer: Any, layer: torch.nn.Linear) -> bool:
    """Returns True if the backbone returns this layer's output unchanged."""
    import torch

    outputs: list[Any] = []
    hook = layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        with torch.inference_mode():
            logits = transformer(transformer.preprocess(["가"]))["token_embeddings"]
    finally:
        hook.remove()
    return len(outputs) == 1 and logits.data_ptr() == outputs[0].data_ptr() and logits.shape == outputs[0].shape
