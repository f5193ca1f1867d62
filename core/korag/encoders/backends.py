"""Runs the backbone of a loaded model in another precision or on another engine.

The ONNX and OpenVINO backends of sentence-transformers support neither Matryoshka heads nor adapters, and pin exact
versions of transformers. So torch loads every model, attaches heads and merges adapters; only then is the backbone,
which dominates the cost, replaced. Pooling, projection and normalization stay in torch and in float32, so that unit
vectors have unit length in every precision.

A replaced backbone is compared with the original on a few sentences before it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from korag.encoders.kinds import is_kind
from korag.encoders.options import LoadOptions, runs_on_torch
from korag.encoders.precision import MIN_COSINE, Deviation, candidates, probe
from korag.errors import CheckpointError, InvalidArgumentError, KoragError
from korag.logs import logger

_SAME = 0.9999
"""Minimum cosine to torch for a backend in float32; below it, the export is wrong."""


@dataclass(frozen=True)
class RuntimeInfo:
    """Backend and precision of a loaded model.

    Attributes:
        dtype: Precision of the backbone; ``"unknown"`` on a server.
        deviation: Deviation of the vectors from torch in float32; None for torch in float32 itself, and on a server.
        backend: What computes the backbone: ``"torch"``, ``"onnx"``, ``"openvino"``, or ``"server"``.
        reason: Why it is torch, in Korean and English, where ``backend="auto"`` was asked for; None otherwise.
    """

    dtype: str
    deviation: Deviation | None = None
    backend: str = "torch"
    reason: str | None = None


def apply_runtime(model: Any, options: LoadOptions, *, name: str, exact: NDArray[np.float32]) -> RuntimeInfo:
    """Switches a loaded model to the requested precision and backend.

    Args:
        model: A sentence-transformers model in float32 on torch; modified in place.
        options: The requested precision and backend.
        name: Name of the model, for messages.
        exact: What `probe` returned for the model.

    Returns:
        The precision in effect.

    Raises:
        InvalidArgumentError: If the model contains no transformer.
        CheckpointError: If its backbone cannot be exported, or the export returns different vectors.
    """
    choices, on_torch = candidates(options, model.device.type), runs_on_torch(options.backend)
    if on_torch and choices[0] == "float32":
        return RuntimeInfo("float32")
    if not _transformers(model):
        if on_torch and options.dtype == "auto":
            return RuntimeInfo("float32")
        raise _without_transformer(name, options)
    for dtype in choices:
        if on_torch and dtype == "float32":
            break
        undo = replace_backbones(model, options.backend, dtype, name)
        deviation = Deviation.between(exact, probe(model))
        if dtype == "float32" and deviation.least < _SAME:
            raise _different_vectors(name, options.backend, deviation)
        level = logging.INFO if deviation.least >= MIN_COSINE else logging.WARNING
        if options.dtype != "auto" or deviation.least >= MIN_COSINE:
            logger.log(level, "%s: %s, %s, %s", name, options.backend, dtype, deviation)
            return RuntimeInfo(dtype, deviation, backend="torch" if on_torch else options.backend)
        logger.info("%s: %s, %s: %s; 사용하지 않음 / not used", name, options.backend, dtype, deviation)
        for restore in undo:
            restore()
    return RuntimeInfo("float32")


def replace_backbones(model: Any, backend: str, dtype: str, name: str) -> list[Callable[[], None]]:
    """Replaces the backbones of a loaded model, without comparing vectors.

    Args:
        model: A sentence-transformers model in float32 on torch; modified in place.
        backend: One of `korag.encoders.options.DTYPES`, but not ``"auto"``.
        dtype: One of its precisions.
        name: Name of the model, for messages.

    Returns:
        What restores each; none for a model without a transformer.

    Raises:
        CheckpointError: If one cannot be exported.
    """
    return [_replace(transformer, backend, dtype, name) for transformer in _transformers(model)]


def _transformers(model: Any) -> list[Any]:
    return [module for module in model.modules() if is_kind(module, "Transformer", "MLMTransformer")]


def _replace(transformer: Any, backend: str, dtype: str, name: str) -> Callable[[], None]:
    """Replaces the backbone of a `Transformer` module; the returned function restores it."""
    if runs_on_torch(backend):
        return _cast(transformer, getattr(torch, dtype))
    from korag.encoders.engines import export_and_load

    backbone = transformer.model
    try:
        transformer.model = export_and_load(transformer, backend, dtype)
    except KoragError:
        raise
    except Exception as error:  # whatever exporter and engine raise for an unsupported architecture
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise CheckpointError(
            f"'{name}' 모델을 backend={backend!r}용으로 변환하지 못했습니다({reason}). backend='torch'를 쓰세요.",
            f"The model '{name}' could not be converted for backend={backend!r} ({reason}); use backend='torch'.",
        ) from error

    def restore() -> None:
        transformer.model = backbone

    return restore


def _cast(transformer: Any, dtype: torch.dtype) -> Callable[[], None]:
    """Casts the weights of a backbone; its output is cast back to float32.

    Buffers keep their precision: in 16 bits, rotary position frequencies could not tell neighbours apart in long texts.
    """
    originals = [(weight, weight.data) for weight in transformer.model.parameters() if weight.dtype == torch.float32]
    for weight, exact in originals:
        weight.data = exact.to(dtype)

    def widen(_module: Any, _inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
        output = transformer.module_output_name
        return {**features, output: features[output].float()}

    hook = transformer.register_forward_hook(widen)

    def restore() -> None:
        hook.remove()
        for weight, exact in originals:
            weight.data = exact

    return restore


def _without_transformer(name: str, options: LoadOptions) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"'{name}'에는 트랜스포머가 없어서 backend={options.backend!r}, dtype={options.dtype!r}을(를) 쓸 수 없습니다. "
        "두 인수를 빼세요.",
        f"'{name}' contains no transformer to run with backend={options.backend!r} and dtype={options.dtype!r}; omit "
        "both.",
    )


def _different_vectors(name: str, backend: str, deviation: Deviation) -> CheckpointError:
    return CheckpointError(
        f"'{name}' 모델을 backend={backend!r}에서 실행하면 torch와 다른 벡터가 나옵니다({deviation}). "
        "backend='torch'를 쓰세요.",
        f"The model '{name}' returns different vectors with backend={backend!r} than with torch ({deviation}); use "
        "backend='torch'.",
    )
