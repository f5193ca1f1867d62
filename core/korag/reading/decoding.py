"""Texts in the encodings of Korean files: UTF-8, UTF-16 and UTF-32 with their marks, CP949 (EUC-KR is a part)."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from korag.errors import UnreadableFileError
from korag.storage import storage_errors

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16's, with which it begins
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_BLOCK = 1 << 20
"""Bytes decoded at a time to find the encoding."""


def read_text(path: Path) -> str:
    """Reads a text file; line ends are as Python has them.

    Raises:
        UnreadableFileError: If it is in none of these encodings.
        AccessError: If it may not be read.
    """
    with open_text(path) as file:
        return file.read()


@contextmanager
def open_text(path: Path, *, newline: str | None = None) -> Iterator[TextIO]:
    """Opens a text file to be read piece by piece.

    Args:
        path: The file.
        newline: As for `open`; None for line ends as Python has them.

    Raises:
        UnreadableFileError: As for `read_text`.
        AccessError: As for `read_text`.
    """
    marked = _marked_encoding(path)
    encodings = ("utf-8-sig", "cp949") if marked is None else (marked,)
    encoding = next((name for name in encodings if _is_encoded(path, name)), None)
    if encoding is None:
        raise _no_text(path)
    try:
        with storage_errors(path, writing=False), path.open(encoding=encoding, newline=newline) as file:
            yield file
    except UnicodeDecodeError as error:  # the file has changed since
        raise _no_text(path) from error


def _marked_encoding(path: Path) -> str | None:
    with storage_errors(path, writing=False), path.open("rb") as file:
        head = file.read(4)
    return next((encoding for mark, encoding in _MARKS.items() if head.startswith(mark)), None)


def _is_encoded(path: Path, encoding: str) -> bool:
    """Returns True if a file can be decoded to the end; NUL is no text."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with storage_errors(path, writing=False), path.open("rb") as file:
        try:
            while block := file.read(_BLOCK):
                if "\0" in decoder.decode(block):
                    return False
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _no_text(path: Path) -> UnreadableFileError:
    return UnreadableFileError(
        f"'{path.name}': 글이 아니거나 알 수 없는 인코딩입니다. UTF-8, UTF-16·UTF-32(BOM), CP949(EUC-KR)를 읽습니다. "
        "UTF-8로 다시 저장하세요.",
        f"'{path.name}' is no text, or in an unknown encoding: UTF-8, UTF-16 and UTF-32 with a byte-order mark, and "
        "CP949 (EUC-KR) are read. Save it as UTF-8.",
    )
