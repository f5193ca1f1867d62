"""Headers of weight files: names and shapes of tensors, without reading the tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from korag.errors import CheckpointError

_LFS_POINTER = b"version https://git-lfs"


def tensor_shapes(files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of all tensors in some ``.safetensors`` files, by name.

    Raises:
        CheckpointError: If one cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        try:
            with safe_open(path, framework="np") as file:
                names = file.keys()
                shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in names}
        except (SafetensorError, OSError) as error:
            raise damaged_weights(path, str(error)) from error
    return shapes


def damaged_weights(path: Path, reason: str) -> CheckpointError:
    """Returns the error for a weight file that cannot be read."""
    if _is_lfs_pointer(path):
        return CheckpointError(
            f"'{path}'은(는) 가중치가 아니라 Git LFS 포인터입니다. 모델 폴더에서 git lfs pull을 실행하거나 다시 "
            "다운로드하세요.",
            f"'{path}' is a Git LFS pointer, not weights: run git lfs pull in the model folder, or download it again.",
        )
    return CheckpointError(
        f"가중치 파일 '{path}'을(를) 읽을 수 없습니다({reason:.300}). 모델을 다시 다운로드하세요.",
        f"The weight file '{path}' cannot be read ({reason:.300}); download the model again.",
    )


def _is_lfs_pointer(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(len(_LFS_POINTER)) == _LFS_POINTER
    return False
