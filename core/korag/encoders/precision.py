"""Choice of the compute precision, and its effect on the vectors."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from korag._optional import require
from korag.encoders.base import Task
from korag.encoders.devices import best_device
from korag.encoders.inputs import tasks_of
from korag.encoders.kinds import is_kind
from korag.encoders.options import LoadOptions
from korag.encoders.tensors import as_float32, forward
from korag.encoders.token_pooling import before_pooling
from korag.errors import InvalidArgumentError

MIN_COSINE = 0.999
"""Minimum cosine to float32 that ``dtype="auto"`` accepts."""
_dims: WeakKeyDictionary[Any, dict[Task, int]] = WeakKeyDictionary()
PROBE_TEXTS = (
    "계약을 해지하면 위약금을 얼마나 내야 하나요?",
    "임차인은 계약 기간이 끝나기 두 달 전까지 갱신을 요구할 수 있으며, 임대인은 정당한 이유 없이 이를 거절하지 못한다.",
    "서울 지하철 2호선 첫차는 05:30에 출발합니다.",
    "백신을 맞은 뒤 열이 나면 물을 자주 마시고 쉬세요. 사흘이 지나도 열이 내리지 않거나 숨쉬기가 어려우면 바로 병원에 "
    "가야 합니다. 약을 먹을 때에는 정해진 양을 넘기지 않도록 설명서를 먼저 읽어 보세요.",
    "GPU 메모리가 부족하면 배치 크기를 줄이세요.",
    "김치",
)
"""Texts for measuring deviations: a question, a clause, digits, a paragraph, Latin letters, a single word."""


@dataclass(frozen=True)
class Deviation:
    """Deviation of vectors from torch in float32, measured on a few Korean sentences.

    Attributes:
        mean: Mean cosine between a vector and its float32 counterpart, over texts or, for late interaction, tokens. For
            a cross-encoder, the cosine between the vectors of all logits.
        least: Lowest of these cosines.
    """

    mean: float
    least: float

    @classmethod
    def between(cls, exact: NDArray[np.float32], found: NDArray[np.float32]) -> Deviation:
        """Compares vectors row by row.

        Args:
            exact: Vectors by torch in float32. Shape: (n, dim).
            found: The same in another precision or backend; non-finite values count as 0. Shape: (n, dim).
        """
        left, right = exact.astype(np.float64), np.nan_to_num(found.astype(np.float64), posinf=0, neginf=0)
        lengths = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
        same = (left == right).all(axis=1)
        cosines = np.where(same, 1.0, (left * right).sum(axis=1) / np.where(lengths > 0, lengths, 1.0))
        return cls(float(cosines.mean()), float(cosines.min()))

    def __str__(self) -> str:
        return f"cosine {self.mean:.5f} (≥ {self.least:.5f})"


def candidates(options: LoadOptions, device: str) -> tuple[str, ...]:
    """Returns the precisions to try, fastest first.

    Args:
        options: Load options of the model.
        device: Type of its device: ``"cpu"``, ``"cuda"`` …
    """
    if options.dtype != "auto":
        return (options.dtype,)
    return (*_fast(options.backend, device), "float32")


def check_dtype(options: LoadOptions) -> None:
    """Checks that the device supports the requested precision. Imports torch or the backend.

    Raises:
        InvalidArgumentError: If it does not.
    """
    backend, dtype = options.backend, options.dtype
    if dtype in ("auto", "float32", "int8"):
        return
    if backend == "openvino":
        device, supported = "cpu", dtype in _fast(backend, "cpu")
    else:
        device = options.device or best_device()
        if not _can_multiply(device, "float32"):  # no such device: loading raises
            return
        supported = _can_multiply(device, dtype)
    if not supported:
        raise InvalidArgumentError(
            f"이 컴퓨터의 '{device}'은(는) backend={backend!r}에서 dtype={dtype!r}을(를) 지원하지 않습니다. "
            "dtype='auto'를 쓰면 지원하는 것 가운데 가장 빠른 것을 고릅니다.",
            f"'{device}' on this machine cannot compute in dtype={dtype!r} with backend={backend!r}; dtype='auto' "
            "picks the fastest precision it supports.",
        )


def probe(model: Any) -> NDArray[np.float32]:
    """Encodes `PROBE_TEXTS` with a loaded model, without pooling tokens: which of them are merged changes in jumps.

    Args:
        model: Any sentence-transformers model.

    Returns:
        One row per text; per token for late interaction; a single row of logits for a cross-encoder. Where a Router
        sends queries elsewhere, rows of both.
    """
    if is_kind(model, "CrossEncoder"):
        pairs = [(PROBE_TEXTS[0], text) for text in PROBE_TEXTS]
        return as_float32(forward(model, model.preprocess(pairs))["scores"]).reshape(1, -1)
    return np.concatenate([probe_task(model, task) for task in tasks_of(model)])


def probe_task(model: Any, task: Task) -> NDArray[np.float32]:
    """Encodes `PROBE_TEXTS` for one task; see `probe`."""
    features = forward(before_pooling(model), model.preprocess(list(PROBE_TEXTS), task=task), task=task)
    if "sentence_embedding" in features:
        vectors = as_float32(features["sentence_embedding"])
    else:
        vectors = as_float32(features["token_embeddings"][features["attention_mask"].bool()])
    _dims.setdefault(model, {})[task] = vectors.shape[1]
    return vectors


def found_dim(model: Any, task: Task = "document") -> int:
    """Returns the size of the vectors that `probe` has seen. What a model says of itself may be that of another step.

    Args:
        model: A loaded model.
        task: One of `tasks_of` the model.
    """
    return _dims[model][task]


def _fast(backend: str, device: str) -> tuple[str, ...]:
    """Precisions in which a device is faster than in float32."""
    if backend == "onnx":
        return ()
    if backend == "openvino":
        openvino = require("openvino", extra="openvino")
        return ("bfloat16",) if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES") else ()
    if device == "cpu":
        return ("bfloat16",) if cpu_has_bfloat16() else ()
    if device in ("cuda", "mps"):  # equally fast, but float16 rounds less
        return ("float16", "bfloat16") if _can_multiply(device, "bfloat16") else ("float16",)
    return ()


def cpu_has_bfloat16() -> bool:
    """Detects AMX and AVX512-BF16; without them torch emulates bfloat16, which is slower than float32."""
    return _cpu_has("_is_amx_tile_supported", "_is_avx512_bf16_supported")


def cpu_has_vnni() -> bool:
    """Detects AVX512-VNNI, which adds products of bytes; without it, int8 is no faster than float32."""
    return _cpu_has("_is_vnni_supported", "_is_avx512_vnni_supported")


def _cpu_has(*names: str) -> bool:
    import torch

    # Private, and missing from some versions of torch, where the instruction sets are unknown.
    probes = (getattr(torch.cpu, name, None) for name in names)
    return any(probe is not None and bool(probe()) for probe in probes)


def _can_multiply(device: str, dtype: str) -> bool:
    import torch

    if device.startswith("cuda") and dtype == "bfloat16" and torch.cuda.is_available():
        return torch.cuda.get_device_capability()[0] >= 8  # before Ampere it is emulated
    with contextlib.suppress(Exception):  # errors differ between devices
        ones = torch.ones(2, 2, device=device, dtype=getattr(torch, dtype))
        return bool((ones @ ones).float().sum() == 8)
    return False
