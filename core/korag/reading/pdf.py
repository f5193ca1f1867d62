"""PDF files by PDFium, a text for each page."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from korag._optional import require
from korag.errors import UnreadableFileError
from korag.reading.base import Part, ReadOptions
from korag.storage import check_readable

_lock = threading.Lock()
"""PDFium must not be called by two threads at once."""


class PdfReader:
    """Reads ``.pdf``: what is text in it. Pages that are images have none."""

    suffixes: tuple[str, ...] = (".pdf",)
    packages: tuple[str, ...] = ("pypdfium2",)
    extra: str | None = "files"

    def read(self, path: Path, options: ReadOptions) -> list[Part]:
        """As `korag.reading.base.Reader.read`."""
        pdfium = require("pypdfium2", extra="files")
        check_readable(path)
        with _lock:
            try:
                document = pdfium.PdfDocument(path)
                try:
                    texts = [_text(document, number) for number in range(len(document))]
                finally:
                    document.close()
            except pdfium.PdfiumError as error:
                raise UnreadableFileError(
                    f"PDF '{path.name}'을(를) 읽을 수 없습니다({error}). 암호가 걸려 있으면 풀어서 다시 저장하고, "
                    "열리지 "
                    "않으면 파일을 다시 다운로드하세요.",
                    f"The PDF '{path.name}' cannot be read ({error}). Save it without its password if it has one; if "
                    "it does not open at all, get the file again.",
                ) from error
        if len(texts) == 1:
            return [Part("", texts[0], {"page": 1})]
        return [Part(str(number), text, {"page": number}) for number, text in enumerate(texts, start=1)]


def _text(document: Any, number: int) -> str:
    page = document[number]
    try:
        text = page.get_textpage()
        try:
            return str(text.get_text_range()).replace("\r\n", "\n").replace("\ufffe", "")  # a hyphen at a line's end
        finally:
            text.close()
    finally:
        page.close()
