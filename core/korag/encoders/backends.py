"""Runs the backbone of a loaded model in another precision or by another engine.

sentence-transformers' own ONNX and OpenVINO backends know neither Matryoshka heads nor adapters, and bind to exact
versions of transformers. So here torch loads every model, with heads put on and adapters merged, and only then its
backbone, which is most of the cost, is replaced. What follows it, pooling, projection and normalisation, stays in
torch and in float32: unit vectors have unit length in every precision.

Whatever replaces a backbone is compared with it on a few sentences before anything else is encoded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from korag.encoders.options import LoadOptions
from korag.encoders.precision import MIN_COSINE, Deviation, candidates, probe
from korag.errors import CheckpointError, InvalidArgumentError, KoragError

logger = logging.getLogger("korag")
_SAME = 0.9999
"""The least cosine to torch at which a backend counts as computing the same in float32."""


@dataclass(frozen=True)
class RuntimeInfo:
    """How a loaded model is run.

    Attributes:
        dtype: Precision of its backbone.
        deviation: How far its vectors are from those in float32 by torch; None where they are those.
    """

    dtype: str
    deviation: Deviation | None = None


def apply_runtime(model: Any, options: LoadOptions, *, name: str) -> RuntimeInfo:
    """Makes a loaded model run in the precision and by the backend asked for.

    Args:
        model: A sentence-transformers model in float32; changed in place.
        options: How to run it.
        name: What the user called it.

    Returns:
        How it is run now.

    Raises:
        InvalidArgumentError: If it has no transformer that could be run so.
        CheckpointError: If its backbone cannot be exported, or computes something else then.
    """
    from sentence_transformers.base.modules import Transformer

    choices = candidates(options, model.device.type)
    if (options.backend, choices[0]) == ("torch", "float32"):
        return RuntimeInfo("float32")
    transformers = [module for module in model.modules() if isinstance(module, Transformer)]
    if not transformers:
        if (options.backend, options.dtype) == ("torch", "auto"):
            return RuntimeInfo("float32")
        raise _without_transformer(name, options)
    exact = probe(model)
    for dtype in choices:
        if (options.backend, dtype) == ("torch", "float32"):
            break
        undo = [_replace(transformer, options.backend, dtype, name) for transformer in transformers]
        deviation = Deviation.between(exact, probe(model))
        if dtype == "float32" and deviation.least < _SAME:
            raise _not_the_same(name, options.backend, deviation)
        level = logging.INFO if deviation.least >= MIN_COSINE else logging.WARNING
        if options.dtype != "auto" or deviation.least >= MIN_COSINE:
            logger.log(level, "%s: %s, %s, %s", name, options.backend, dtype, deviation)
            return RuntimeInfo(dtype, deviation)
        logger.info("%s: %s, %s: %s; 쓰지 않음 / not used", name, options.backend, dtype, deviation)
        for restore in undo:
            restore()
    return RuntimeInfo("float32")


def _replace(transformer: Any, backend: str, dtype: str, name: str) -> Callable[[], None]:
    """Replaces the backbone of a `Transformer` module; the returned function puts it back."""
    if backend == "torch":
        return _round(transformer, getattr(torch, dtype))
    from korag.encoders.engines import export_and_load

    backbone = transformer.model
    try:
        transformer.model = export_and_load(transformer, backend, dtype)
    except KoragError:
        raise
    except Exception as error:  # whatever the exporter or the engine makes of an architecture it does not know
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise CheckpointError(
            f"'{name}' 모델을 backend={backend!r}(으)로 바꾸지 못했습니다({reason}). backend='torch'를 쓰세요.",
            f"The model '{name}' could not be converted for backend={backend!r} ({reason}); use backend='torch'.",
        ) from error

    def restore() -> None:
        transformer.model = backbone

    return restore


def _round(transformer: Any, dtype: torch.dtype) -> Callable[[], None]:
    """Rounds the weights of a backbone, and makes its output float32 again.

    Buffers are left as they are: rounded to 16 bits, the frequencies of rotary positions would confuse neighbours in
    long texts.
    """
    rounded = [(weight, weight.data) for weight in transformer.model.parameters() if weight.dtype == torch.float32]
    for weight, exact in rounded:
        weight.data = exact.to(dtype)

    def widen(_module: Any, _inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
        output = transformer.module_output_name
        return {**features, output: features[output].float()}

    hook = transformer.register_forward_hook(widen)

    def restore() -> None:
        hook.remove()
        for weight, exact in rounded:
            weight.data = exact

    return restore


def _without_transformer(name: str, options: LoadOptions) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"'{name}'에는 트랜스포머가 없어 backend={options.backend!r}, dtype={options.dtype!r}(으)로 돌릴 수 없습니다. "
        "두 인자를 빼세요.",
        f"'{name}' has no transformer to run with backend={options.backend!r} and dtype={options.dtype!r}; leave both "
        "out.",
    )


def _not_the_same(name: str, backend: str, deviation: Deviation) -> CheckpointError:
    return CheckpointError(
        f"'{name}' 모델을 backend={backend!r}(으)로 바꾸었더니 torch와 다른 벡터가 나옵니다({deviation}). "
        "backend='torch'를 쓰세요.",
        f"The model '{name}' gives other vectors by backend={backend!r} than by torch ({deviation}); use "
        "backend='torch'.",
    )
