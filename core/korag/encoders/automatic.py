"""Choice of ``backend="auto"`` on the CPU: OpenVINO in int8 where it is faster than torch, and near enough to it.

Reasons are texts for people, Korean first, as in the log. Figures are in ``docs/performance.md``.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.checkpoints.weights import tensor_shapes
from korag.encoders.backends import RuntimeInfo, replace_backbones
from korag.encoders.devices import find_device
from korag.encoders.options import PACKAGES, LoadOptions
from korag.encoders.precision import MIN_COSINE, Deviation, cpu_has_bfloat16, cpu_has_vnni, probe
from korag.encoders.releases import is_pylates
from korag.errors import CheckpointError
from korag.logs import logger
from korag.particles import agree

ENGINE, DTYPE = "openvino", "int8"
SMALL = 50_000_000
"""Parameters up to which a light model stays one: the others take ten seconds to import sentence-transformers."""


def find_obstacle(options: LoadOptions) -> str | None:
    """Says why torch computes a model whatever it is; None if OpenVINO may, once it is installed. Reads no weights."""
    device = find_device(options)
    if device != "cpu":
        return f"'{device}'에서는 torch로 계산합니다 / torch computes on '{device}'"
    if options.dtype != "auto":
        return agree(
            f"dtype={options.dtype!r}을(를) 지정하면 torch로 계산합니다 / with dtype={options.dtype!r}, torch computes"
        )
    if is_pylates():
        return "PyLate와 함께 쓰는 환경입니다 / this is an environment of PyLate"
    if cpu_has_bfloat16():
        return "이 프로세서에서는 torch의 bfloat16이 빠릅니다 / this processor is fast at bfloat16 with torch"
    if not cpu_has_vnni():
        return "이 프로세서에 AVX512-VNNI가 없습니다 / this processor has no AVX512-VNNI"
    return None


def find_missing_package() -> str | None:
    """Says which package OpenVINO needs; None if all are installed. Asked last: it is what a user can change."""
    missing = next((name for name in PACKAGES[ENGINE] if importlib.util.find_spec(name) is None), None)
    if missing is None:
        return None
    return (
        f"'{missing}' 패키지가 없습니다(pip install 'korag[{ENGINE}]') / "
        f"the package '{missing}' is not installed (pip install 'korag[{ENGINE}]')"
    )


def find_obstacle_of(folder: Path, load_light: Callable[[], object]) -> str | None:
    """Says why a model, if it is a small light one, stays that; None if OpenVINO may compute it.

    Args:
        folder: With its weights; of a large model, only the shapes are read.
        load_light: Loads the light model; returns None if there is none.

    Raises:
        CheckpointError: If the weights cannot be read.
    """
    weights = folder / "model.safetensors"  # of every light model
    if not weights.exists():
        return None
    count = sum(math.prod(shape) for shape in tensor_shapes([weights]).values())
    if count > SMALL or load_light() is None:
        return None
    return (
        f"작은 모델(가중치 {count:,}개)이라 바로 계산하는 것이 빠릅니다 / "
        f"a small model ({count:,} parameters) is faster as it is"
    )


def try_engine(model: Any, *, name: str, exact: NDArray[np.float32]) -> RuntimeInfo | str:
    """Switches a loaded model to OpenVINO in int8.

    Args:
        model: A sentence-transformers model in float32 on torch; modified in place, and of no use after a refusal.
        name: Name of the model, for messages.
        exact: What `probe` returned for the model. Shape: (rows, dim), float32.

    Returns:
        What is in effect, or why it is not. An export that fails is logged as a warning.
    """
    try:
        if not replace_backbones(model, ENGINE, DTYPE, name):
            return "트랜스포머가 없는 모델입니다 / the model has no transformer"
        deviation = Deviation.between(exact, probe(model))
    except Exception as error:  # whatever exporter and engine raise, a broken installation included
        cause = error.__cause__ if isinstance(error, CheckpointError) and error.__cause__ is not None else error
        text = " ".join(f"{type(cause).__name__}: {cause}".split())[:300]
        logger.warning(
            "'%s': OpenVINO로 실행하지 못해서 torch로 계산합니다(%s). / "
            "'%s' does not run on OpenVINO; torch computes it (%s).",
            name, text, name, text,
        )  # fmt: skip
        return f"OpenVINO의 오류: {text} / OpenVINO failed: {text}"
    if deviation.least < MIN_COSINE:
        return too_far(deviation)
    return RuntimeInfo(DTYPE, deviation, backend=ENGINE)


def too_far(deviation: Deviation) -> str:
    """Says that vectors of OpenVINO in int8 are too far from torch in float32."""
    return (
        f"OpenVINO int8의 벡터가 float32에서 너무 멉니다({deviation}, 한도 {MIN_COSINE}) / "
        f"vectors of OpenVINO in int8 are too far from float32 ({deviation}, limit {MIN_COSINE})"
    )
