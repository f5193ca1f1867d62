"""Load options: device, precision, backend and batching of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from korag._optional import check
from korag.checks import check_choice, check_count, check_flag
from korag.encoders.releases import check_newest
from korag.errors import InvalidArgumentError

Backend = Literal["torch", "sentence-transformers", "onnx", "openvino", "auto"]
PoolingMode = Literal["cls", "mean", "max", "lasttoken"]
"""Ways to make one vector of a backbone's token vectors, by sentence-transformers' names."""

DTYPES: dict[str, tuple[str, ...]] = {
    "torch": ("float32", "bfloat16", "float16"),
    "sentence-transformers": ("float32", "bfloat16", "float16"),
    "onnx": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
    "auto": ("float32", "bfloat16", "float16"),
}
"""Precisions each backend supports, besides ``"auto"``; those of the backend ``"auto"`` are torch's."""
PACKAGES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
"""Packages that backends require besides torch."""
_DEVICE = re.compile(
    r"(?:cpu|cuda|mps|xpu|npu|hpu|ipu|xla|mtia|hip|ve|fpga|maia|vulkan|opencl|opengl|ideep|mkldnn|lazy|meta|musa|mlu"
    r"|privateuseone)(?::\d+)?"
)
"""Devices by torch's names, and those of its plug-ins."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """Runtime options of a model; none of them is part of its fingerprint.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` …; None for the best available.
        dtype: Compute precision; ``"auto"`` is the fastest on the device that preserves the vectors.
        backend: ``"torch"``, or ``"sentence-transformers"`` for torch without light models (`korag.encoders.light`);
            ``"onnx"`` or ``"openvino"``, which run on the CPU; ``"auto"`` for torch, or OpenVINO in int8 where that is
            faster (`korag.encoders.automatic`).
        trust_remote_code: Run Python files that come with the checkpoint.
        batch_tokens: Maximum tokens per padded batch; None for the family's default.
        query_cache: Number of queries whose vectors are cached; 0 for none.
    """

    device: str | None = None
    dtype: str = "auto"
    backend: Backend = "torch"
    trust_remote_code: bool = False
    batch_tokens: int | None = None
    query_cache: int = 0


def runs_on_torch(backend: str) -> bool:
    """Returns True for the backends that compute with torch, on any device; ``"auto"`` does, if nothing is better."""
    return backend in ("torch", "sentence-transformers", "auto")


def check_options(options: LoadOptions) -> None:
    """Checks load options, without importing a backend.

    Raises:
        InvalidArgumentError: If one is invalid, or does not go with the backend.
    """
    device, dtype, backend = options.device, options.dtype, options.backend
    check_choice("backend", backend, tuple(DTYPES))
    check_choice("dtype", dtype, tuple(dict.fromkeys(("auto", *chain(*DTYPES.values())))))
    if options.batch_tokens is not None:
        check_count("batch_tokens", options.batch_tokens, at_least=1)
    check_count("query_cache", options.query_cache)
    check_flag("trust_remote_code", options.trust_remote_code)  # "False", from a file of settings, is true
    if dtype not in (supported := ("auto", *DTYPES[backend])):
        raise _unsupported(backend, f"dtype={dtype!r}", " | ".join(map(repr, supported)))
    if not runs_on_torch(backend) and device not in (None, "cpu"):
        raise _unsupported(backend, f"device={device!r}", "'cpu'")
    if isinstance(device, str) and not _DEVICE.fullmatch(device):
        raise InvalidArgumentError(
            f"device={device!r:.80}: 그런 장치는 없습니다. 쓸 수 있는 이름: cpu, cuda(GPU, 둘째 것은 cuda:1), "
            "mps(애플), xpu(인텔), npu. 빼면 가장 빠른 장치를 씁니다.",
            f"device={device!r:.80} is no device. The names are cpu, cuda (a GPU; cuda:1 for the second), mps (Apple), "
            "xpu (Intel) and npu. Leave it out for the fastest one.",
        )


def check_backend(backend: str) -> None:
    """Checks that a backend's packages are installed.

    Raises:
        MissingDependencyError: If one is not, or this is an environment of PyLate.
    """
    if not runs_on_torch(backend):
        check_newest(f"backend={backend!r}에는", f"backend={backend!r} needs")
    check(*PACKAGES.get(backend, ()), extra=backend)


def check_length(
    length: int | None, *, name: str = "max_length", limit: int | None = None, at_least: int
) -> int | None:
    """Returns the number of tokens after which texts are truncated, as an int, after checking it.

    Args:
        length: The requested length; None for the model's own.
        name: The argument.
        limit: The model's maximum; None if unknown.
        at_least: The shortest length that leaves anything of a text.

    Raises:
        InvalidArgumentError: If it is not between `at_least` and `limit`.
    """
    if length is None:
        return None
    checked = check_count(name, length, at_least=at_least)
    if limit is not None and length > limit:
        raise InvalidArgumentError(
            f"{name}={length}이(가) 이 모델의 한도인 {limit}토큰을 넘습니다.",
            f"{name}={length} exceeds this model's limit of {limit} tokens.",
        )
    return checked


def check_settings(loaded: Mapping[str, Any], given: Mapping[str, Any], *, loader: str) -> None:
    """Checks that a loaded model has the settings that a caller asks for.

    Args:
        loaded: Settings of the loaded model.
        given: The requested settings.
        loader: Function that loads a model with settings, for the message.

    Raises:
        InvalidArgumentError: If one differs, or has an effect only while loading.
    """
    for name, value in given.items():
        if name not in loaded:  # cache folder, token …; its value stays out of the message
            raise InvalidArgumentError(
                f"{name}=은(는) 모델을 불러올 때만 쓸 수 있습니다. 이미 불러온 모델에는 넣지 마세요.",
                f"{name}= only applies while loading a model; omit it for one that is already loaded.",
            )
        if value != loaded[name]:
            raise InvalidArgumentError(
                f"{name}={value!r}을(를) 넣었지만, 불러온 모델의 {name}은(는) {loaded[name]!r}입니다. "
                f"{loader}(..., {name}={value!r})로 불러온 모델을 넣거나 {name}을(를) 빼세요.",
                f"{name}={value!r} was given, but the loaded model has {loaded[name]!r}. Pass one loaded with "
                f"{loader}(..., {name}={value!r}), or omit {name}.",
            )


def _unsupported(backend: str, setting: str, supported: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{setting}은(는) backend={backend!r}에서 쓸 수 없습니다. 쓸 수 있는 값: {supported}.",
        f"{setting} is not supported by backend={backend!r}; supported: {supported}.",
    )
