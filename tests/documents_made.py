"""Small files of formats that no library here writes: PDF with Korean text, HWPX."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape


def write_pdf(path: Path, pages: Sequence[Sequence[str]]) -> None:
    """Writes lines in a Korean font that is not embedded, in Adobe's encoding for Korean."""
    objects = [
        b"<< /Type /Font /Subtype /Type0 /BaseFont /HYSMyeongJo-Medium /Encoding /UniKS-UCS2-H "
        b"/DescendantFonts [2 0 R] >>",
        b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /HYSMyeongJo-Medium /CIDSystemInfo << /Registry (Adobe) "
        b"/Ordering (Korea1) /Supplement 1 >> /FontDescriptor 3 0 R /DW 1000 >>",
        b"<< /Type /FontDescriptor /FontName /HYSMyeongJo-Medium /Flags 6 /FontBBox [0 -148 1001 880] /ItalicAngle 0 "
        b"/Ascent 880 /Descent -148 /CapHeight 880 /StemV 93 >>",
    ]
    root = 4 + 2 * len(pages)
    kids = []
    for lines in pages:
        shown = b" ".join(b"<" + line.encode("utf-16-be").hex().encode() + b"> Tj T*" for line in lines)
        content = b"BT /F1 12 Tf 50 780 Td 16 TL " + shown + b" ET"
        objects.append(b"<< /Length %d >>\nstream\n" % len(content) + content + b"\nendstream")
        objects.append(
            b"<< /Type /Page /Parent %d 0 R /MediaBox [0 0 595 842] /Contents %d 0 R /Resources << /Font << /F1 1 0 R "
            b">> >> >>" % (root, len(objects))
        )
        kids.append(b"%d 0 R" % len(objects))
    objects.append(b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(pages), b" ".join(kids)))
    objects.append(b"<< /Type /Catalog /Pages %d 0 R >>" % root)
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += b"%d 0 obj\n" % number + body + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    end = b"trailer << /Size %d /Root %d 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (size, size - 1, len(data))
    path.write_bytes(data + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + end)


def write_hwpx(path: Path, paragraphs: Sequence[str], table: Sequence[Sequence[str]] = ()) -> None:
    """Writes paragraphs and a table behind them, with the elements and namespaces that Hangul writes."""
    rows = "".join(
        f"<hp:tr>{''.join(f'<hp:tc><hp:subList>{_paragraph(cell)}</hp:subList></hp:tc>' for cell in row)}</hp:tr>"
        for row in table
    )
    inside = "".join(map(_paragraph, paragraphs)) + (
        f'<hp:p><hp:run><hp:tbl rowCnt="{len(table)}">{rows}</hp:tbl></hp:run></hp:p>' if table else ""
    )
    section = (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><hs:sec '
        'xmlns:hs="http://www.hancom.co.kr/hwpml/2011/section" xmlns:hp="http://www.hancom.co.kr/hwpml/2011/paragraph">'
        f"{inside}</hs:sec>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/hwp+zip")
        archive.writestr("Contents/section0.xml", section)


def _paragraph(text: str) -> str:
    return f'<hp:p id="0"><hp:run charPrIDRef="0"><hp:t>{escape(text)}</hp:t></hp:run></hp:p>'
