"""Word files: paragraphs and tables in order, headings marked as in Markdown."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from korag._optional import require
from korag.errors import UnreadableFileError
from korag.reading.base import Part, ReadOptions
from korag.reading.markdown import escaped, markdown_table
from korag.storage import check_readable

_HEADING = re.compile(r"(?:heading|제목)\s*([1-6])", re.IGNORECASE)
_CHARACTERS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_LEFT_OUT = frozenset(
    (
        *("del", "moveFrom", "pPr", "rPr", "tcPr", "tblPr", "sectPr", "sdtPr", "rt"),
        *("drawing", "pict", "object", "AlternateContent"),
    )
)
"""Deleted text, settings, ruby, and pictures with their text boxes."""


class DocxReader:
    """Reads ``.docx``: the body, without headers, footers, comments and text boxes."""

    suffixes: tuple[str, ...] = (".docx",)
    packages: tuple[str, ...] = ("docx",)
    extra: str | None = "files"

    def read(self, path: Path, options: ReadOptions) -> list[Part]:
        """As `korag.reading.base.Reader.read`."""
        docx = require("docx", extra="files")
        check_readable(path)
        try:
            if not zipfile.is_zipfile(path):
                raise ValueError("no .docx, or protected by a password")
            document = docx.Document(str(path))
            text = "\n\n".join(_blocks(document.element.body, document))
        except Exception as error:  # of lxml, zipfile and python-docx, which has no class of its own for damage
            raise UnreadableFileError(
                f"워드 문서 '{path.name}'을(를) 읽을 수 없습니다({error!s:.200}). 워드에서 열어 .docx로 다시 "
                "저장하세요.",
                f"The Word file '{path.name}' cannot be read ({error!s:.200}); open it in Word and save it as .docx.",
            ) from error
        return [Part("", text)]


def _blocks(parent: Any, document: Any) -> Iterator[str]:
    """Yields the paragraphs and tables in an element, those in content controls and insertions with them."""
    for child in parent:
        name = _name(child)
        if name == "p":
            text = _text(child)
            if text.strip():
                mark = _mark(child, document)
                yield mark + " ".join(text.split()) if mark else escaped(text)
        elif name == "tbl":
            yield markdown_table(list(_rows(child)))
        elif name not in _LEFT_OUT:
            yield from _blocks(child, document)


def _mark(paragraph: Any, document: Any) -> str:
    from docx.text.paragraph import Paragraph

    style = Paragraph(paragraph, document).style
    level = _HEADING.match(style.name or "") if style is not None else None
    return "#" * int(level[1]) + " " if level else ""


def _rows(table: Any) -> Iterator[list[str]]:
    """Yields the cells of each row; one merged with that above has its text again, one over several columns once."""
    above: dict[int, str] = {}
    for row in _inside(table, "tr"):
        cells = {}
        column = 0
        for cell in _inside(row, "tc"):
            goes_on = any(_value(merged) != "restart" for merged in cell.xpath("./w:tcPr/w:vMerge"))
            span = next((_value(one) for one in cell.xpath("./w:tcPr/w:gridSpan")), "1")
            text = " ".join(" ".join(_lines(cell)).split())
            cells[column] = above.get(column, text) if goes_on else text
            column += int(span)
        yield list(cells.values())
        above = cells


def _inside(parent: Any, name: str) -> Iterator[Any]:
    """Yields the nearest elements of a name."""
    for child in parent:
        if _name(child) == name:
            yield child
        elif _name(child) not in _LEFT_OUT:
            yield from _inside(child, name)


def _lines(parent: Any) -> Iterator[str]:
    """Yields the text of each paragraph, those of tables inside too."""
    return map(_text, _inside(parent, "p"))


def _text(parent: Any) -> str:
    pieces = []
    for child in parent:
        name = _name(child)
        if name == "t":
            pieces.append(child.text or "")
        elif name == "br" and _value(child, "type") in ("page", "column"):
            continue
        elif name in _CHARACTERS:
            pieces.append(_CHARACTERS[name])
        elif name not in _LEFT_OUT:
            pieces.append(_text(child))
    return "".join(pieces)


def _name(element: Any) -> str:
    """Its name without the namespace; that of a comment is empty."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _value(element: Any, name: str = "val") -> str:
    return next((str(value) for key, value in element.items() if key.rpartition("}")[2] == name), "")
