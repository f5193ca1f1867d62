"""The files of a folder that can be indexed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from korag.errors import InvalidArgumentError, KoragError, StorageError, UnreadableFileError
from korag.reading.registry import find_reader
from korag.storage import storage_errors
from korag.text import to_nfc


@dataclass(frozen=True)
class FoundFile:
    """A file.

    Attributes:
        name: Its path below the folder, with ``/`` and in NFC, as a Mac and a PC would name it.
        path: The file.
        size: Bytes.
        time: Of its last change, in nanoseconds.
    """

    name: str
    path: Path
    size: int
    time: int


@dataclass(frozen=True)
class Problem:
    """A file that was left out, or of which something was.

    Attributes:
        file: Its name.
        error: The reason.
        in_part: The file was read, except rows that the reason names.
    """

    file: str
    error: KoragError
    in_part: bool = False


@dataclass(frozen=True)
class Scan:
    """A folder's content at one moment.

    Attributes:
        files: Those that can be read, by name.
        problems: Documents that cannot.
        others: Numbers of other files by the end of their name.
    """

    files: dict[str, FoundFile]
    problems: list[Problem]
    others: Counter[str]


def check_is_folder(folder: Path) -> None:
    """Raises unless a folder is there.

    Raises:
        InvalidArgumentError: If nothing is there, or a file.
    """
    if folder.is_dir():
        return
    if folder.exists():
        raise InvalidArgumentError(
            f"'{folder}'은(는) 폴더가 아니라 파일입니다. 파일이 있는 폴더를 넣으세요: '{folder.parent}'.",
            f"'{folder}' is a file, not a folder; pass the folder it is in: '{folder.parent}'.",
        )
    raise InvalidArgumentError(
        f"'{folder}' 폴더가 없습니다. 색인할 파일이 있는 폴더를 넣으세요.",
        f"There is no folder '{folder}'; pass the one with the files to index.",
    )


def scan(folder: Path, *, without: Path) -> Scan:
    """Looks at all files below a folder. Hidden ones, links to folders and locks of open documents do not count.

    Args:
        folder: The folder.
        without: The index, which may be inside.

    Raises:
        InvalidArgumentError: As for `check_is_folder`.
        StorageError: If it cannot be read.
    """
    check_is_folder(folder)
    found = Scan({}, [], Counter())
    for path in _walk(folder, without, found.problems):
        name = _name(path, folder)
        try:
            if find_reader(shown := PurePath(name)) is None:
                found.others[shown.suffix.lower() or shown.name] += 1
                continue
            if name != to_nfc(path.relative_to(folder).as_posix()):
                raise UnreadableFileError(
                    f"'{name}': 이름이 UTF-8이 아닙니다(CP949로 지은 이름일 수 있습니다). 파일이나 폴더의 "
                    "이름을 바꾸세요.",
                    f"'{name}': the name is not in UTF-8 (it may be in CP949). Rename the file or its folder.",
                )
            if name in found.files:
                raise UnreadableFileError(
                    f"'{name}': 같은 이름의 파일이 하나 더 있습니다(한글 자모의 형식만 다름). 하나를 지우세요.",
                    f"'{name}': there is another file whose name differs in the form of Hangul only. Remove one.",
                )
            with storage_errors(path, writing=False):
                facts = path.stat()
        except KoragError as error:
            found.problems.append(Problem(name, error))
        else:
            found.files[name] = FoundFile(name, path, facts.st_size, facts.st_mtime_ns)
    return found


def _walk(root: Path, without: Path, problems: list[Problem]) -> Iterator[Path]:
    """Yields the files below a folder, folders that are in themselves (by a mount) once."""
    hidden = _identity(without) if without.exists() else None
    above = [(_identity(root), iter(_entries(root)))]
    while above:
        if (entry := next(above[-1][1], None)) is None:
            above.pop()
            continue
        if entry.name.startswith((".", "~$")):
            continue
        path = Path(entry.path)
        try:
            with storage_errors(path, writing=False):  # a link may point at itself
                if entry.is_dir(follow_symlinks=False):
                    identity = _identity(path)
                    if identity not in (hidden, *(one for one, _ in above)):
                        above.append((identity, iter(_entries(path))))
                    continue
                is_broken = entry.is_symlink() and not path.exists()
                if not is_broken and not entry.is_file():
                    continue
        except StorageError as error:
            problems.append(Problem(_name(path, root), error))
        else:
            yield path


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with storage_errors(folder, writing=False):
        return sorted(os.scandir(folder), key=lambda entry: to_nfc(entry.name))


def _identity(folder: Path) -> tuple[int, int]:
    """Returns the numbers by which a folder is known under any path."""
    facts = folder.stat()
    return facts.st_dev, facts.st_ino


def _name(path: Path, folder: Path) -> str:
    """Returns a file's name, in which bytes that are no text are shown by their numbers."""
    return to_nfc(path.relative_to(folder).as_posix()).encode(errors="backslashreplace").decode()
