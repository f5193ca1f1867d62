"""The files of a model folder: ordinary ones, inside it, of a bounded size. Everything that reads a folder starts here.

A model folder may come from anywhere, and libraries read whatever is in it: a pipe in the place of a file would make
them wait for ever, a link lead them elsewhere.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korag.errors import CheckpointError
from korag.storage import check_readable, storage_errors, unreadable

IGNORED_FOLDERS = re.compile(r"(\..*|checkpoint-.*|onnx|openvino)")
"""Folders with other copies of the weights, or left over from downloading and training; nothing is loaded from them."""
_FILES = (".json", ".jinja", ".safetensors", ".bin", ".pt", ".metadata", ".txt", ".model")
"""Endings of names that no folder has."""
LARGEST_SETTINGS = 16 * 2**20
"""Bytes of a settings file. Published ones have a few kilobytes."""
LARGEST_FILE = 256 * 2**20
"""Bytes of any file that is not of weights. The largest published tokenizers have a tenth of it."""
_DEEPEST = 64
"""Levels of nesting in a settings file."""


def model_files(folder: Path) -> Iterator[Path]:
    """Yields the files of a model folder, after checking each; none if it does not exist.

    Raises:
        AccessError: If something may not be read.
        CheckpointError: If one is not an ordinary file, or a link that leads out of the folder. Links to the blobs of a
            Hub cache are allowed: snapshots consist of them, and so do folders that older Hub clients downloaded to.
    """
    folder = folder.resolve()
    waiting = [folder] if folder.exists() else []
    while waiting:
        for path in sorted(_entries(waiting.pop())):
            if path.is_symlink():
                _check_link(path, folder)
            if not path.is_dir() or path.suffix in _FILES:
                _check_ordinary(path)
                yield path
            elif not path.is_symlink() and not IGNORED_FOLDERS.fullmatch(path.name):
                waiting.append(path)


def parse_json(path: Path, *, limit: int = LARGEST_SETTINGS) -> Any:
    """Returns the value in a settings file.

    Args:
        path: The file.
        limit: Bytes it may have.

    Raises:
        CheckpointError: If it is no ordinary file, too large, too deeply nested, or not JSON.
    """
    try:
        value = json.loads(read_text(path, limit=limit))
    except RecursionError as error:
        raise broken(path, f"nested more than {_DEEPEST} levels deep") from error
    except ValueError as error:
        raise broken(path, str(error)) from error
    if _depth(value) > _DEEPEST:
        raise broken(path, f"nested more than {_DEEPEST} levels deep")
    return value


def read_text(path: Path, *, limit: int = LARGEST_SETTINGS) -> str:
    """Returns the text of a settings file.

    Args:
        path: The file.
        limit: Bytes it may have.

    Raises:
        CheckpointError: If it is no ordinary file, too large, or not UTF-8.
    """
    _check_ordinary(path)
    try:
        if (size := path.stat().st_size) > limit:
            raise broken(path, f"{size:,} bytes; the limit is {limit:,}")
        return path.read_text(encoding="utf-8")
    except PermissionError as error:
        raise unreadable(path) from error
    except (ValueError, OSError) as error:
        raise broken(path, str(error)) from error


def broken(path: Path, reason: str) -> CheckpointError:
    """Returns the error for a settings file that cannot be used."""
    reason = " ".join(reason.split())[:300]
    return CheckpointError(
        f"설정 파일 '{path}'을(를) 읽을 수 없습니다({reason}). 모델을 다시 다운로드하세요.",
        f"The settings file '{path}' cannot be read ({reason}); download the model again.",
    )


def _entries(folder: Path) -> list[Path]:
    check_readable(folder)
    with storage_errors(folder, writing=False):
        return list(folder.iterdir())


def _check_link(path: Path, folder: Path) -> None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # nothing there, or a circle
        raise _unusable(path, "끊어진 링크입니다", "is a link that leads nowhere") from error
    is_blob = target.parent.name == "blobs" and target.parents[1].name.startswith("models--")
    if not is_blob and not target.is_relative_to(folder):
        raise _unusable(
            path, f"모델 폴더 밖({target})을 가리키는 링크입니다", f"is a link out of the model folder, to {target}"
        )


def _check_ordinary(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except PermissionError as error:
        raise unreadable(path) from error
    except OSError as error:
        raise _unusable(path, f"읽을 수 없습니다({error})", f"cannot be read ({error})") from error
    if not stat.S_ISREG(mode):  # a pipe would block for ever
        raise _unusable(path, "일반 파일이 아닙니다", "is not an ordinary file")


def _unusable(path: Path, korean: str, english: str) -> CheckpointError:
    return CheckpointError(
        f"'{path}': {korean}. 모델 폴더에는 일반 파일과 폴더만 두세요. 다운로드한 모델이라면 다시 다운로드하세요.",
        f"'{path}' {english}. A model folder may hold ordinary files and folders only; if it was downloaded, download "
        "it again.",
    )


def _depth(value: Any) -> int:
    """Levels of nesting; counted without recursion, one level at a time."""
    depth, level = 0, [value]
    while level := [inner for inner in level if isinstance(inner, dict | list)]:
        depth += 1
        level = [each for inner in level for each in (inner.values() if isinstance(inner, dict) else inner)]
    return depth
