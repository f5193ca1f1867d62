"""Texts in the encodings that Korean files have: UTF-8, UTF-16 with its mark, CP949 (of which EUC-KR is a part)."""

from __future__ import annotations

import codecs
from pathlib import Path

from korag.errors import UnreadableFileError
from korag.storage import storage_errors

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(path: Path) -> str:
    """Reads a text file; line ends are as Python has them.

    Raises:
        UnreadableFileError: If it is in none of these encodings.
        AccessError: If it may not be read.
    """
    with storage_errors(path, writing=False):
        data = path.read_bytes()
    return decode(data, path).replace("\r\n", "\n").replace("\r", "\n")


def decode(data: bytes, path: Path) -> str:
    """Decodes the content of a file.

    Args:
        data: The content.
        path: The file, for the message.
    """
    try:
        if data.startswith(_UTF_16):
            return data.decode("utf-16")
        if b"\0" in data:
            raise ValueError("NUL")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            return data.decode("cp949")
    except ValueError as error:
        raise UnreadableFileError(
            f"'{path.name}': 글이 아니거나 알 수 없는 인코딩입니다. UTF-8, UTF-16(BOM), CP949(EUC-KR)를 읽습니다. "
            "UTF-8로 다시 저장하세요.",
            f"'{path.name}' is no text, or in an unknown encoding: UTF-8, UTF-16 with a byte-order mark and CP949 "
            "(EUC-KR) are read. Save it as UTF-8.",
        ) from error
