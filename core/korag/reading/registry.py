"""The formats that can be read, and what to do about those that cannot."""

from __future__ import annotations

import importlib.util
from pathlib import PurePath

from korag.errors import UnreadableFileError
from korag.reading.base import Reader
from korag.reading.docx import DocxReader
from korag.reading.html import HtmlReader
from korag.reading.hwpx import HwpxReader
from korag.reading.pdf import PdfReader
from korag.reading.plain import PlainReader
from korag.reading.tables import TableReader

READERS: tuple[Reader, ...] = (PlainReader(), HtmlReader(), TableReader(), PdfReader(), DocxReader(), HwpxReader())
"""One for each format."""
_SAVE_AS = {
    ".hwp": "한글에서 HWPX나 PDF로 다시 저장하세요. / Save it as HWPX or PDF in Hangul.",
    ".doc": "워드에서 .docx로 다시 저장하세요. / Save it as .docx in Word.",
    ".xls": "엑셀에서 'CSV UTF-8'로 다시 저장하세요. / Save it as 'CSV UTF-8' in Excel.",
    ".xlsx": "엑셀에서 'CSV UTF-8'로 다시 저장하세요. / Save it as 'CSV UTF-8' in Excel.",
    ".ppt": "PDF로 다시 저장하세요. / Save it as PDF.",
    ".pptx": "PDF로 다시 저장하세요. / Save it as PDF.",
    ".rtf": "워드에서 .docx로 다시 저장하세요. / Save it as .docx in Word.",
}
"""Formats of documents that are not read, and the way to read them all the same."""


def suffixes() -> tuple[str, ...]:
    """Returns the ends of file names that are read."""
    return tuple(suffix for reader in READERS for suffix in reader.suffixes)


def find_reader(path: PurePath) -> Reader | None:
    """Returns the reader of a file by its name; None for a file that holds no document, such as an image.

    Raises:
        UnreadableFileError: If it is a document of a format that is not read; the message says how it can be saved.
    """
    suffix = path.suffix.lower()
    for reader in READERS:
        if suffix in reader.suffixes:
            return reader
    if (advice := _SAVE_AS.get(suffix)) is None:
        return None
    korean, english = advice.split(" / ")
    raise UnreadableFileError(
        f"'{path.name}': {suffix} 형식은 읽지 않습니다. {korean}",
        f"'{path.name}': the format {suffix} is not read. {english}",
    )


def missing_packages(reader: Reader) -> list[str]:
    """Returns the packages that a reader needs and that are not installed."""
    return [name for name in reader.packages if importlib.util.find_spec(name) is None]
