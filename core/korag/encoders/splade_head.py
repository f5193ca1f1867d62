"""SPLADE's last layer and its pooling in one: no logits of every token and term, and few of those that are zero.

A term's weight is log(1 + relu(max over tokens of its logit)). The logarithm and relu keep the order of numbers,
so the maximum is taken first. And most maxima are below zero, where their value does not matter: a product of bytes,
a quarter of the cost of one of floats, says which terms can be above it, and only these get their logits in float32.

For a token's state h and a term's embedding e with their rounded ĥ and ê, by Cauchy and Schwarz:
``|h·e − ĥ·ê| ≤ |h|·|e − ê| + |h − ĥ|·|ê|``; so no term that has a weight is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from korag.processor import multiplies_bytes_fast

if TYPE_CHECKING:
    import torch

_SLACK = 1e-5
"""For what float32 itself rounds, as a share of |h|·|e|: 6e-8 a number, many times over."""


class TermMaxima:
    """The greatest logit of each term over the tokens of one text, zero where it is negative.

    Args:
        weight: Term embeddings. Shape: (vocab, hidden), float32, on the CPU.
        bias: Of each term; None for none. Shape: (vocab,).
        bytes_first: Look with bytes first; None where the processor does so fast.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None, *, bytes_first: bool | None = None) -> None:
        self._weight, self._bias = weight.detach(), weight.new_zeros(len(weight)) if bias is None else bias.detach()
        self._bytes_first = multiplies_bytes_fast() if bytes_first is None else bytes_first
        if self._bytes_first:
            self._scales, codes = _rounded(self._weight, per_row=True)
            restored = codes * self._scales
            self._errors, self._norms = (self._weight - restored).norm(dim=1), restored.norm(dim=1)
            self._codes = codes.char().T

    def __call__(self, states: torch.Tensor) -> torch.Tensor:
        """Returns the maxima.

        Args:
            states: What the last layer takes, of the text's own tokens. Shape: (n_tokens, hidden).

        Returns:
            Shape: (vocab,), float32.
        """
        if not self._bytes_first:
            return self._exact(states, self._weight, self._bias)
        import torch

        terms = self._possible(states)
        maxima = torch.zeros_like(self._bias)
        maxima[terms] = self._exact(states, self._weight[terms], self._bias[terms])
        return maxima

    @staticmethod
    def _exact(states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        # The bias is the same for all tokens; and adding it after the maximum rounds as adding it before.
        return (states @ weight.T).amax(0).add_(bias).relu_()

    def _possible(self, states: torch.Tensor) -> torch.Tensor:
        """The terms whose greatest logit can be above zero."""
        import torch

        scale, codes = _rounded(states, per_row=False)
        products = torch.ops.aten._int_mm(codes.char(), self._codes).amax(0)
        longest, error = states.norm(dim=1).max(), (states - codes * scale).norm(dim=1).max()
        bound = longest * (self._errors + _SLACK * self._norms) + error * self._norms
        possible: torch.Tensor = (products * (scale * self._scales[:, 0]) + bound + self._bias > 0).nonzero()[:, 0]
        return possible


def _rounded(rows: torch.Tensor, *, per_row: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers from -127 to 127, and what to multiply them by: one factor for each row or for all."""
    greatest = rows.abs().amax(1, keepdim=True) if per_row else rows.abs().max()
    scale = greatest.clamp(min=1e-9) / 127
    return scale, (rows / scale).round()


def speed_up(model: Any) -> None:
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


def max_first(pooling: Any, maxima: TermMaxima | None = None) -> Any:
    """Makes a pooling with the same result as another, which takes the maximum before the logarithm.

    Args:
        pooling: A `SpladePooling` by maximum.
        maxima: Makes logits of what the pooling gets; None if it gets logits.
    """
    import torch

    class MaxFirst(torch.nn.Module):
        def forward(self, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            # Text by text: no copy of the logits, and padding is not even read.
            tokens = _unpadded(features["token_embeddings"], features["attention_mask"])
            pooled = torch.stack([maxima(row) if maxima else row.amax(0).relu() for row in tokens]).log1p()
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


def _take_out_last_layer(model: Any) -> TermMaxima | None:
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
    return TermMaxima(layer.weight, layer.bias)


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
