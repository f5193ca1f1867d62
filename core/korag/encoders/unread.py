"""Layers in the weight files that a loaded model does not have: its settings may say too few."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from korag.checkpoints.files import model_files
from korag.checkpoints.weights import tensor_shapes
from korag.logs import logger

_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
"""The number of a layer in the name of a tensor: ``encoder.layer.3.…``, ``layers.3.…``, ``h.3.…``."""


def warn_of_unread_layers(name: str, model: Any, folders: Iterable[Path]) -> None:
    """Logs a warning if files have layers beyond the model's last one.

    transformers leaves them out as the number of layers in ``config.json`` says, so this is not an error: shortened
    models exist. A damaged ``config.json`` looks the same.

    Args:
        name: The model's name.
        model: A loaded sentence-transformers model.
        folders: Where its weights come from.
    """
    last_loaded = _last_layer(model.state_dict())
    files = (file for folder in folders for file in model_files(folder))
    last_stored = _last_layer(tensor_shapes(file for file in files if file.match("model*.safetensors")))
    if last_loaded is not None and last_stored is not None and last_loaded < last_stored:
        logger.warning(
            "'%s': 가중치 파일에는 층이 %d개 있지만 설정(config.json)에 따라 앞의 %d개만 씁니다. 일부러 줄인 모델이 "
            "아니라면 모델을 다시 다운로드하세요. / '%s': its weight files have %d layers, of which its settings "
            "(config.json) use the first %d. Unless the model was shortened on purpose, download it again.",
            name, last_stored + 1, last_loaded + 1, name, last_stored + 1, last_loaded + 1,
        )  # fmt: skip


def _last_layer(names: Iterable[str]) -> int | None:
    return max((int(found[1]) for name in names for found in _LAYER.finditer(name)), default=None)
