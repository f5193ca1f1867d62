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
    """A file that was left out.

    Attributes:
        file: Its name.
        error: The reason.
    """

    file: str
    error: KoragError


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


def scan(folder: Path, *, without: Path) -> Scan:
    """Looks at all files below a folder. Hidden ones, links to folders and locks of open documents do not count.

    Args:
        folder: The folder.
        without: The index, which may be inside.

    Raises:
        InvalidArgumentError: If there is no such folder.
        StorageError: If it cannot be read.
    """
    if not folder.is_dir():
        raise InvalidArgumentError(
            f"'{folder}' 폴더가 없습니다. 색인할 파일이 있는 폴더를 넣으세요.",
            f"There is no folder '{folder}'; pass the one with the files to index.",
        )
    found = Scan({}, [], Counter())
    for path in _walk(folder, without.resolve(), found.problems, folder):
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


def _walk(folder: Path, without: Path, problems: list[Problem], root: Path) -> Iterator[Path]:
    try:
        with storage_errors(folder, writing=False):
            entries = sorted(os.scandir(folder), key=lambda entry: to_nfc(entry.name))
    except StorageError as error:
        if folder == root:
            raise
        problems.append(Problem(_name(folder, root), error))
        return
    for entry in entries:
        if entry.name.startswith((".", "~$")):
            continue
        path = Path(entry.path)
        try:
            with storage_errors(path, writing=False):  # a link may point at itself
                is_folder, is_file = entry.is_dir(follow_symlinks=False), entry.is_file()
        except StorageError as error:
            problems.append(Problem(_name(path, root), error))
            continue
        if is_folder and path.resolve() != without:
            yield from _walk(path, without, problems, root)
        elif is_file:
            yield path


def _name(path: Path, folder: Path) -> str:
    """Returns a file's name, in which bytes that are no text are shown by their numbers."""
    return to_nfc(path.relative_to(folder).as_posix()).encode(errors="backslashreplace").decode()
