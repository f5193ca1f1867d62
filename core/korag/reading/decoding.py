"""Texts in the encodings that Korean files have: UTF-8, UTF-16 with its mark, CP949 (of which EUC-KR is a part)."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from korag.errors import UnreadableFileError
from korag.storage import storage_errors

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
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
def open_text(path: Path) -> Iterator[TextIO]:
    """Opens a text file to be read piece by piece; line ends are as Python has them.

    Raises:
        UnreadableFileError: As for `read_text`.
        AccessError: As for `read_text`.
    """
    encodings = ("utf-16",) if _is_utf_16(path) else ("utf-8-sig", "cp949")
    encoding = next((name for name in encodings if _is_encoded(path, name)), None)
    if encoding is None:
        raise _no_text(path)
    try:
        with storage_errors(path, writing=False), path.open(encoding=encoding) as file:
            yield file
    except UnicodeDecodeError as error:  # the file has changed since
        raise _no_text(path) from error


def _is_utf_16(path: Path) -> bool:
    with storage_errors(path, writing=False), path.open("rb") as file:
        return file.read(2) in _UTF_16


def _is_encoded(path: Path, encoding: str) -> bool:
    """Returns True if a file can be decoded to the end; NUL is no text."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with storage_errors(path, writing=False), path.open("rb") as file:
        try:
            while block := file.read(_BLOCK):
                if b"\0" in block and encoding != "utf-16":
                    return False
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _no_text(path: Path) -> UnreadableFileError:
    return UnreadableFileError(
        f"'{path.name}': 글이 아니거나 알 수 없는 인코딩입니다. UTF-8, UTF-16(BOM), CP949(EUC-KR)를 읽습니다. "
        "UTF-8로 다시 저장하세요.",
        f"'{path.name}' is no text, or in an unknown encoding: UTF-8, UTF-16 with a byte-order mark and CP949 "
        "(EUC-KR) are read. Save it as UTF-8.",
    )
