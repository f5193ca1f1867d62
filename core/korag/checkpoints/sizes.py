"""Sizes of the vectors that the modules of a model hand to each other."""

from __future__ import annotations

from typing import Any

from korag.checkpoints.settings import FolderSettings
from korag.checkpoints.weights import tensor_shapes
from korag.errors import CheckpointError

_PACKAGES = ("sentence_transformers.", "pylate.")
_UNCHANGED = ("Normalize", "Dropout", "MultiVectorMask")
_VECTORS = "앞 모듈이 내는 벡터", "the vectors of the module before it"
_WEIGHTS = "저장된 가중치", "its weights"


def check_sizes(settings: FolderSettings) -> None:
    """Checks that every Dense module takes vectors of the size that the one before it makes.

    The size that a Pooling says is not checked, since nothing depends on it. A module of another kind ends the check:
    its vectors may have any size, like those of a backbone with code of its own.

    Args:
        settings: Of a dense or late-interaction model.

    Raises:
        CheckpointError: If one takes another size, or its weights have other sizes than its settings.
    """
    backbone = settings.backbone
    is_plain = backbone.get("transformer_task", "feature-extraction") == "feature-extraction"
    size = backbone.get("hidden_size") if is_plain and "auto_map" not in backbone else None
    for module, own in zip(settings.modules[1:], settings.module_settings, strict=True):
        package, _, kind = str(module["type"]).rpartition(".")
        if not package.startswith(_PACKAGES):
            return
        if kind in _UNCHANGED:
            continue
        if kind == "Pooling":
            size = size * count_modes(own) if isinstance(size, int) else None
        elif kind == "Dense":
            _check_weights(settings, module["path"], own)
            if isinstance(size, int) and own.get("in_features") != size:
                raise _mismatch(settings, module["path"], _VECTORS, f"{own.get('in_features')}", f"{size}")
            size = own.get("out_features")
        else:
            return


def count_modes(own: dict[str, Any]) -> int:
    """Returns the number of vectors that a Pooling joins to one."""
    modes = own.get("pooling_mode")  # before 5.4 each had a key of its own
    flags = sum(value is True for name, value in own.items() if name.startswith("pooling_mode_"))
    return max(len(modes) if isinstance(modes, list) else flags, 1)


def _check_weights(settings: FolderSettings, module: str, own: dict[str, Any]) -> None:
    said = own.get("out_features"), own.get("in_features")
    try:
        found = tensor_shapes([settings.home / module / "model.safetensors"]).get("linear.weight", said)
    except CheckpointError:  # not downloaded yet, or damaged: the libraries tell when they load it
        return
    if found != said:
        raise _mismatch(settings, module, _WEIGHTS, *(" × ".join(map(str, pair)) for pair in (said, found)))


def _mismatch(settings: FolderSettings, module: str, what: tuple[str, str], said: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"'{settings.home}'의 '{module}' 설정에 적힌 크기는 {said}인데, {what[0]}의 크기는 {found}입니다. 다른 "
        "모델의 파일이 섞인 것이니 모델을 다시 다운로드하세요.",
        f"In '{settings.home}', the settings of '{module}' say the size {said}, but {what[1]} have the size {found}. "
        "Files of different models are mixed: download the model again.",
    )
