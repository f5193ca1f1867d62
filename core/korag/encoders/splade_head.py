"""SPLADE's last layer and its pooling in one: no logits of every token and term, and few of those that are zero.

A term's weight is log(1 + relu(max over tokens of its logit)). The logarithm and relu keep the order of numbers,
so the maximum is taken first. And most maxima are below zero, where their value does not matter: a product of bytes,
a quarter of the cost of one of floats, says which terms can be above it, and only these get their logits in float32.

For a token's state h and a term's embedding e with their rounded ĥ and ê, by Cauchy and Schwarz:
``|h·e − ĥ·ê| ≤ |h|·|e − ê| + |h − ĥ|·|ê|``; so no term that has a weight is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from korag.kernels.processor import has_fast_int8_matmul

if TYPE_CHECKING:
    import torch

_TERMS = 2_048
"""Terms of which products are made at a time."""
_SLACK = 1e-5
"""For what float32 itself rounds, as a share of |h|·|e|: 6e-8 a number, many times over."""


class MaxLogitHead:
    """The greatest logit of each term over the tokens of a text, zero where it is negative.

    Args:
        weight: Term embeddings. Shape: (vocab, hidden), float32, on the CPU.
        bias: Of each term; None for none. Shape: (vocab,).
        bytes_first: Look with bytes first; None where the processor does so fast.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, *, bytes_first: bool | None = None) -> None:
        self._weight, self._bias = weight.detach(), weight.new_zeros(len(weight)) if bias is None else bias.detach()
        self._bytes_first = has_fast_int8_matmul() if bytes_first is None else bytes_first
        if self._bytes_first:
            self._scales = _scale(self._weight.abs().amax(1))
            codes = (self._weight / self._scales[:, None]).round()
            restored = codes * self._scales[:, None]
            self._norms = restored.norm(dim=1)
            self._errors = (self._weight - restored).norm(dim=1) + _SLACK * self._norms
            self._codes = codes.char().T

    def __call__(self, texts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Returns the maxima of each text.

        Args:
            texts: What the last layer takes, of each text's own tokens. Shape of each: (n_tokens, hidden).

        Returns:
            Shape: (n_texts, vocab), float32.
        """
        # The bias is the same for all tokens; and adding it after the maximum rounds as adding it before.
        if not self._bytes_first:
            return (_greatest(texts, self._weight.T) + self._bias).relu_()
        maxima = self._weight.new_zeros(len(texts), len(self._weight))
        for states, terms, row in zip(texts, self._within_error_bound(texts), maxima, strict=True):
            row[terms] = (self._weight.index_select(0, terms) @ states.T).amax(1) + self._bias[terms]
        return maxima.relu_()

    def _within_error_bound(self, texts: Sequence[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The terms whose greatest logit can be above zero, for each text."""
        import torch

        sizes = [len(states) for states in texts]
        tokens = torch.cat(list(texts))
        # Of each text its own: what one of them finds must not depend on the others.
        scales = torch.stack([_scale(states.abs().max()) for states in texts])
        rounded = tokens / scales.repeat_interleave(torch.tensor(sizes))[:, None]
        codes = rounded.round()
        norms = torch.split(tokens.norm(dim=1), sizes)
        errors = torch.split((rounded - codes).norm(dim=1), sizes)
        greatest = _greatest(torch.split(codes.char(), sizes), self._codes)
        for scale, norm, error, products in zip(scales, norms, errors, greatest, strict=True):
            bound = norm.max() * self._errors + scale * error.max() * self._norms
            least = -(bound + self._bias) / (scale * self._scales)
            yield (~(products <= least)).nonzero()[:, 0]  # so that of what is not finite no term is left out


def _greatest(texts: Sequence[torch.Tensor], terms: torch.Tensor) -> torch.Tensor:
    """The greatest product of each term with a text's tokens; bytes give whole numbers.

    Args:
        texts: Shape of each: (n_tokens, hidden).
        terms: Shape: (hidden, vocab).

    Returns:
        Shape: (n_texts, vocab).
    """
    import torch

    multiply, dtype = (torch.ops.aten._int_mm, torch.int32) if terms.dtype == torch.int8 else (torch.mm, terms.dtype)
    # All products come to one place that stays in the cache. Memory asked for anew for each is given by the system
    # page by page, which takes almost as long as a product.
    place = torch.empty(max(map(len, texts), default=0) * _TERMS, dtype=dtype)
    greatest = torch.empty(len(texts), terms.shape[1], dtype=dtype)
    for some, found in zip(torch.split(terms, _TERMS, 1), torch.split(greatest, _TERMS, 1), strict=True):
        for tokens, row in zip(texts, found, strict=True):
            products = place[: len(tokens) * len(row)].view(len(tokens), len(row))
            torch.amax(multiply(tokens, some, out=products), 0, out=row)
    return greatest


def _scale(greatest: torch.Tensor) -> torch.Tensor:
    """What whole numbers from -127 to 127 are to be multiplied by for the greatest to be this."""
    return greatest.clamp(min=1e-9) / 127


def fuse_splade_head(model: Any) -> None:
    """Changes a loaded SPLADE model so that it gives the same vectors in less time and memory, for encoding alone.

    The maximum comes before the logarithm everywhere. Where the last layer is a plain float32 product on the CPU,
    it is also taken out of the backbone and done together with the pooling, text by text.

    Args:
        model: A sentence-transformers `SparseEncoder`; one that does not pool by maximum is left as it is.
    """
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    for name, module in model.named_children():
        if isinstance(module, SpladePooling) and module.pooling_strategy == "max":
            model.register_module(name, max_first(module, _take_out_last_layer(model)))


def max_first(pooling: Any, maxima: MaxLogitHead | None = None) -> Any:
    """Makes a pooling with the same result as another, which takes the maximum before the logarithm.

    Args:
        pooling: A `SpladePooling` by maximum.
        maxima: Makes logits of what the pooling gets; None if it gets logits.
    """
    import torch

    class MaxFirst(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            # Text by text: no copy of the logits, and padding is not even read.
            texts = _unpadded(features["token_embeddings"], features["attention_mask"])
            pooled = maxima(texts) if maxima else torch.stack([tokens.amax(0) for tokens in texts]).relu()
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
    if bool((mask[:, 1:] <= mask[:, :-1]).all()):  # padded on the right: a part, not a copy
        return [row[:length] for row, length in zip(states, mask.sum(1).tolist(), strict=True)]
    return [row[kept.bool()] for row, kept in zip(states, mask, strict=True)]


def _take_out_last_layer(model: Any) -> MaxLogitHead | None:
    """Makes the backbone end before its last layer; None, and no change, where that layer is not a plain product."""
    import torch

    backbone = getattr(model[0], "model", None)
    if not isinstance(backbone, torch.nn.Module):  # another backend's
        return None
    layer = getattr(backbone, "get_output_embeddings", lambda: None)()
    if type(layer) is not torch.nn.Linear or layer.weight.dtype != torch.float32 or layer.weight.device.type != "cpu":
        return None
    if not _ends_with(model, layer):
        return None
    name = next(name for name, module in backbone.named_modules() if module is layer)
    parent, _, child = name.rpartition(".")
    setattr(backbone.get_submodule(parent), child, torch.nn.Identity())
    return MaxLogitHead(layer.weight, layer.bias)


def _ends_with(model: Any, layer: torch.nn.Linear) -> bool:
    """Whether what a layer gives is what the model's backbone gives: some change it on the way."""
    import torch

    outputs: list[Any] = []
    hook = layer.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        with torch.inference_mode():
            given = model[0](model[0].preprocess(["가"]))["token_embeddings"]
    finally:
        hook.remove()
    return len(outputs) == 1 and given.data_ptr() == outputs[0].data_ptr() and given.shape == outputs[0].shape
