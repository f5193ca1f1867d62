"""Files: written whole or not at all, with KoRAG's errors in place of the operating system's."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from korag.errors import AccessError, KoragError, ReadOnlyError, StorageError, StorageFullError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_LIBRARY = re.compile(r"os error (\d+)|\[Errno (\d+)\]|PytorchStreamWriter failed|unexpected pos")
"""Failed writes in the messages of libraries: safetensors (Rust) and `shutil` name the cause, torch does not."""
_UNFINISHED = ".korag-"
_REMEDIES = {
    errno.ENOENT: (
        "없거나, 그 위의 폴더가 없습니다. 경로를 확인하세요.",
        "it or the folder above it does not exist; check the path.",
    ),
    errno.ENOTDIR: (
        "폴더여야 할 곳에 파일이 있습니다. 경로를 확인하세요.",
        "there is a file where a folder must be; check the path.",
    ),
    errno.EISDIR: (
        "파일이어야 할 곳에 폴더가 있습니다. 경로를 확인하세요.",
        "there is a folder where a file must be; check the path.",
    ),
    errno.EEXIST: (
        "폴더여야 할 곳에 다른 것이 있습니다. 경로를 확인하세요.",
        "there is something else where a folder must be; check the path.",
    ),
    errno.ENAMETOOLONG: (
        "이름이나 경로가 너무 깁니다. 더 짧은 경로를 쓰세요.",
        "use a shorter path.",
    ),
    errno.ELOOP: (
        "심볼릭 링크가 서로를 가리킵니다. 링크를 고치세요.",
        "its symbolic links point at each other; repair them.",
    ),
    errno.EMFILE: (
        "열린 파일이 너무 많습니다. 쓰지 않는 컬렉션을 닫거나 ulimit -n을 늘리세요.",
        "too many files are open; close collections that are not used, or raise ulimit -n.",
    ),
}
_BROKEN_LINK = ("끊어진 심볼릭 링크입니다. 링크를 고치거나 지우세요.", "it is a broken link; repair or remove it.")
_REMEDY = ("디스크와 파일 시스템을 확인하세요.", "check the disk and its file system.")


@contextmanager
def storage_errors(path: Path, *, writing: bool) -> Iterator[None]:
    """Turns errors of the operating system into KoRAG's.

    Args:
        path: What is written or read, for the message; an error in reading names its own file, if it can.
        writing: True for changes.

    Raises:
        StorageFullError: If there is no space left, a quota is used up, or a file would become too large.
        ReadOnlyError: If something may not be written.
        AccessError: If something may not be read.
        StorageError: For everything else.
    """
    try:
        yield
    except KoragError:  # some are an OSError too
        raise
    except OSError as error:
        raise storage_error(error, path, writing=writing) from error
    except Exception as error:
        if not writing or (number := _write_failure(error, path)) is None:
            raise
        raise storage_error(OSError(number, os.strerror(number)), path, writing=True) from error


def storage_error(error: OSError, path: Path, *, writing: bool) -> StorageError | ReadOnlyError:
    """Returns KoRAG's error for one of the operating system's; arguments as for `storage_errors`."""
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in _FULL:
        return full(path, reason)
    file = error.filename if isinstance(error.filename, str) else ""
    if not os.path.isabs(file):  # noqa: PTH117 (a number, or a name within a folder that is held)
        file = str(path)
    with suppress(ValueError, IndexError):  # of somewhere else, or the folder itself
        if is_unfinished(Path(file).relative_to(path.parent).parts[0]):
            file = str(path)
    if not writing or not (file.startswith(str(path)) or str(path).startswith(file)):  # else only read while writing
        path, writing = Path(file), False
    if error.errno in _DENIED:
        return read_only(path) if writing else unreadable(path)
    if os.path.islink(file) and not os.path.exists(file):  # noqa: PTH110, PTH114 (these never raise)
        korean, english = _BROKEN_LINK
    else:
        korean, english = _REMEDIES.get(error.errno or 0, _REMEDY)
    if not writing:
        return StorageError(
            f"'{path}'을(를) 읽지 못했습니다({reason}). {korean}",
            f"'{path}' could not be read ({reason}): {english}",
        )
    return StorageError(
        f"'{path}'을(를) 쓰지 못했습니다({reason}). {korean} 이전 상태는 그대로입니다.",
        f"'{path}' could not be written ({reason}): {english} What was there before is unchanged.",
    )


def full(path: Path, reason: str) -> StorageFullError:
    """The error for a full disk."""
    return StorageFullError(
        f"저장 공간이 모자라 '{path}'에 쓰지 못했습니다({reason}). 이전 상태는 그대로이니 공간을 비운 뒤 다시 하세요.",
        f"There is not enough space to write '{path}' ({reason}). What was there before is unchanged; free some space "
        "and try again.",
    )


def read_only(path: Path | None) -> ReadOnlyError:
    """The error for what may not be written."""
    return ReadOnlyError(
        f"'{path}'에 쓸 수 없습니다. 폴더의 쓰기 권한을 확인하세요.",
        f"'{path}' cannot be written to; check the folder's permissions.",
    )


def unreadable(path: Path | None) -> AccessError:
    """The error for what may not be read."""
    return AccessError(
        f"'{path}'을(를) 읽을 권한이 없습니다. 파일에는 읽기 권한이, 그 위의 폴더에는 읽기와 실행 권한이 있어야 합니다"
        "(chmod u+rX).",
        f"'{path}' may not be read: a file needs permission to read, and the folders above it to read and to execute "
        "(chmod u+rX).",
    )


def is_taken(path: Path, *, ignored: Container[str] = ()) -> bool:
    """Returns True for a file, and for a folder with something in it.

    Args:
        path: The path.
        ignored: Names that do not count in a folder.

    Raises:
        AccessError: If it may not be looked into.
    """
    with storage_errors(path, writing=False):
        try:  # not by asking first whether it is a folder, which somebody may make just then
            return any(entry.name not in ignored for entry in path.iterdir())
        except NotADirectoryError:
            return True
        except FileNotFoundError:
            return False


def find_path(value: str | os.PathLike[str]) -> Path | None:
    """Returns the absolute path of something that exists, or None where the value may also be a name.

    Raises:
        AccessError: If the folder it would be in may not be looked into.
    """
    if not isinstance(value, str | os.PathLike):
        return None
    name = os.path.expanduser(os.fspath(value))  # noqa: PTH111 (Path raises for a user who does not exist)
    with storage_errors(Path(name), writing=False):
        try:
            os.stat(name)  # noqa: PTH116 (the same for a NUL)
        except PermissionError:
            raise
        except (OSError, ValueError):
            return None
    return Path(name).absolute()


def check_readable(path: Path) -> None:
    """Checks a file or folder, because libraries take one that may not be read for missing or damaged.

    Raises:
        AccessError: If it may not be read.
    """
    with storage_errors(path, writing=False):
        if path.is_dir():
            os.stat(os.path.join(path, "."))  # noqa: PTH116, PTH118 (permission to execute; Path drops the dot)
            os.scandir(path).close()
        elif path.exists():  # a broken link is for others to report
            path.open("rb").close()


def _write_failure(error: Exception, path: Path) -> int | None:
    """The error number of a failed write that a library reports by an error of its own; None for anything else."""
    text = str(error)
    if (found := _LIBRARY.search(text)) is None:
        return None
    number = next((int(group) for group in found.groups() if group), 0)
    return number or _probe(path)


def _probe(path: Path) -> int:
    """Tries to write where a library could not, because it does not say why."""
    place = next(folder for folder in (path, *path.parents) if folder.is_dir())
    probe = _unfinished_path(place / "probe")
    try:
        with probe.open("xb") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        probe.unlink(missing_ok=True)
    return errno.EIO


# -- whole or not at all --------------------------------------------------------------------------------------


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder, which is renamed to `target` on success and removed on failure.

    A process that is killed leaves it: ``.korag-…tmp`` beside the target.

    Raises:
        StorageFullError: As for `storage_errors`, and so the others.
    """
    unfinished = _unfinished_path(target)
    with storage_errors(target, writing=True):
        try:
            unfinished.mkdir(parents=True)
            yield unfinished
            for path in unfinished.rglob("*"):
                if path.is_file():
                    flush(path)
            unfinished.replace(target)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise


@contextmanager
def atomic_file(target: Path) -> Iterator[Path]:
    """Yields the name of a file to make and flush, which is renamed to `target` on success and removed on failure.

    The folder of the target is made.

    Raises:
        StorageFullError: As for `storage_errors`, and so the others.
    """
    unfinished = _unfinished_path(target)
    with storage_errors(target, writing=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            unfinished.replace(target)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                unfinished.unlink()
            raise


def is_unfinished(name: str) -> bool:
    """Returns True for the name of a file or folder that is being written, or was by a process that was killed."""
    return name.startswith(_UNFINISHED) and name.endswith(".tmp")


def _unfinished_path(path: Path) -> Path:
    """A name of this call's own: nobody else's file or folder is in the way, and two may write the same at once."""
    return path.with_name(f"{_UNFINISHED}{secrets.token_hex(8)}.tmp")


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file under a temporary name, then renames it; makes its folder."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name, then renames it; makes its folder.

    Raises:
        StorageFullError: As for `storage_errors`, and so the others.
    """
    with atomic_file(path) as unfinished, unfinished.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def flush(path: Path) -> None:
    """Flushes a file to disk, or on POSIX the entries of a folder."""
    if path.is_dir() and os.name != "posix":  # Windows has no handle on a folder to flush
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def copy_folder(source: Path, target: Path) -> None:
    """Copies a folder's files, those behind links too. The first error ends it, unlike with `shutil.copytree`.

    Raises:
        AccessError: If a file may not be read.
        OSError: If one cannot be written.
    """
    target.mkdir(parents=True, exist_ok=True)
    with storage_errors(source, writing=False):
        entries = list(os.scandir(source))
    for entry in entries:
        if entry.is_dir():
            copy_folder(Path(entry.path), target / entry.name)
            continue
        file = Path(entry.path)
        with storage_errors(file, writing=False):
            content = file.open("rb")
        with content, (target / entry.name).open("wb") as copy:
            shutil.copyfileobj(content, copy, 1 << 20)
