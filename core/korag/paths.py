"""Checks of paths as arguments."""

from __future__ import annotations

import errno
import os
import re
import shlex
from pathlib import Path

from korag.errors import InvalidArgumentError
from korag.storage import storage_errors


def check_path(name: str, value: str | os.PathLike[str]) -> Path:
    """Returns the path an argument gives, absolute; ``~`` is the user's home.

    Args:
        name: The argument.
        value: Its value.

    Raises:
        InvalidArgumentError: If it is neither a string nor a path, or not a valid one.
    """
    text: object = os.fspath(value) if isinstance(value, os.PathLike) else value
    korean, english = "str이나 Path여야 합니다", "must be a str or a Path"
    if isinstance(text, str):
        try:
            os.fsencode(text)
            if not text or "\0" in text:
                korean, english = "비어 있거나 NUL이 들어 있습니다", "must not be empty or contain NUL"
            elif _is_loop(path := Path(text).expanduser().absolute()):  # the working directory may change
                korean, english = "심볼릭 링크가 서로를 가리킵니다", "has symbolic links that point at each other"
            else:
                return path
        except UnicodeEncodeError:
            korean, english = "파일 이름에 쓸 수 없는 문자가 있습니다", "has a character that no file name can have"
        except (RuntimeError, OSError) as error:  # no such user, or the working directory is gone
            korean, english = f"절대 경로로 바꿀 수 없습니다({error})", f"cannot be made absolute ({error})"
    raise InvalidArgumentError(
        f"{name}={value!r:.80}: 올바른 경로가 아닙니다({korean}). 다른 경로를 넣으세요.",
        f"{name}={value!r:.80} is no valid path: it {english}. Pass another one.",
    )


def _is_loop(path: Path) -> bool:
    """True for what ``Path.resolve`` raises a `RuntimeError` for."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def check_new_folder(name: str, value: str | os.PathLike[str]) -> Path:
    """Returns the absolute path of a file or folder that does not exist yet.

    Args:
        name: The argument.
        value: Its value.

    Raises:
        InvalidArgumentError: If it exists, or is no valid path.
        StorageError: If its folder cannot be looked into.
    """
    target = check_path(name, value)
    with storage_errors(target, writing=True):
        exists = target.exists() or target.is_symlink()
    if exists:
        raise InvalidArgumentError(
            f"'{target}'이(가) 이미 있습니다. 덮어쓰지 않으니 없는 폴더 이름을 넣으세요.",
            f"'{target}' exists and is not overwritten; choose a folder that does not exist.",
        )
    return target


def shell_word(text: str) -> str:
    """Returns a text as a shell takes it for one word: in quotes only if it needs them, which Hangul does not."""
    return text if re.fullmatch(r"[\w@%+=:,./-]+", text) else shlex.quote(text)
