"""HWPX, the open format of Hangul (KS X 6101): a ZIP archive of XML, read with Python's own parsers."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from korag.errors import UnreadableFileError
from korag.reading.base import Part, ReadOptions
from korag.reading.markdown import escaped, markdown_table
from korag.storage import check_readable

_SECTION = re.compile(r"Contents/section(\d+)\.xml", re.IGNORECASE)
_MOST = 200 * 2**20
"""Bytes of a section at most, unpacked: an archive can hold far more than its size."""


class HwpxReader:
    """Reads ``.hwpx``: paragraphs and tables in order, footnotes where they are referred to."""

    suffixes: tuple[str, ...] = (".hwpx",)
    packages: tuple[str, ...] = ()
    extra: str | None = None

    def read(self, path: Path, options: ReadOptions) -> list[Part]:
        """As `korag.reading.base.Reader.read`."""
        check_readable(path)
        try:
            with zipfile.ZipFile(path) as archive:
                found = [
                    (int(match[1]), info) for info in archive.infolist() if (match := _SECTION.fullmatch(info.filename))
                ]
                if not found:
                    raise ValueError("no Contents/section0.xml")
                text = "\n".join(_section(archive, info) for _, info in sorted(found, key=lambda pair: pair[0]))
        except OSError:
            raise
        except Exception as error:  # of zipfile, its decompressors and expat, each of which has classes of its own
            raise UnreadableFileError(
                f"한글 문서 '{path.name}'을(를) 읽을 수 없습니다({error}). 암호가 걸려 있으면 풀고, 한글에서 HWPX로 "
                "다시 "
                "저장하세요.",
                f"The Hangul file '{path.name}' cannot be read ({error}). Remove its password if it has one, and save "
                "it as HWPX again.",
            ) from error
        return [Part("", text.strip())]


def _section(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    if info.file_size > _MOST:
        raise ValueError(f"{info.filename}: {info.file_size:,} bytes")
    with archive.open(info) as file:
        data = file.read(_MOST + 1)
    if b"<!DOCTYPE" in data:  # HWPX has none; entities could multiply
        raise ValueError("DOCTYPE")
    return escaped("\n".join(_blocks(ElementTree.fromstring(data))))  # noqa: S314 (without a DOCTYPE there are no entities)


def _blocks(parent: ElementTree.Element) -> Iterator[str]:
    """Yields the paragraphs and tables directly inside an element."""
    for child in parent:
        if _name(child) == "p":
            yield from _paragraph(child)
        elif _name(child) in ("subList", "sec"):
            yield from _blocks(child)


def _paragraph(paragraph: ElementTree.Element) -> Iterator[str]:
    line: list[str] = []
    for run in paragraph:
        for item in run if _name(run) == "run" else ():
            if _name(item) == "t":
                line.append(_text(item))
            elif _name(item) == "tbl":
                if "".join(line).strip():
                    yield "".join(line)
                line = []
                yield markdown_table([list(_row(row)) for row in item if _name(row) == "tr"])
            else:  # drawings, footnotes
                inside = [text for sub in item.iter() if _name(sub) == "subList" for text in _blocks(sub)]
                line.append(" ".join(["", *inside]) if inside else "")
    if "".join(line).strip():
        yield "".join(line)


def _row(row: ElementTree.Element) -> Iterator[str]:
    for cell in row:
        if _name(cell) == "tc":
            yield " ".join(" ".join(_blocks(cell)).split())


def _text(element: ElementTree.Element) -> str:
    pieces = [element.text or ""]
    for child in element:
        pieces.append({"lineBreak": "\n", "tab": "\t", "nbSpace": " ", "fwSpace": " "}.get(_name(child), ""))
        pieces.append(child.tail or "")
    return "".join(pieces)


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
