"""Parts of the pictures: tables, bars and pages.

Colours are transparent layers over those of the page, so that they fit light and dark ones; and nothing is shown by
colour alone: what is strong has a thick line, a number, and a row in a table.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

STYLE = """<style>
.korag{font-family:"Noto Sans KR","Apple SD Gothic Neo","Malgun Gothic","NanumGothic",system-ui,sans-serif;
 font-size:14px;line-height:1.6;text-align:left;max-width:60em;overflow-wrap:anywhere}
.korag h4{margin:1em 0 .3em;font-size:1em}
.korag p{margin:.3em 0}
.korag table{border-collapse:collapse;margin:.3em 0;font-size:.93em}
.korag caption{text-align:left;font-weight:600;padding:.2em 0}
.korag th,.korag td{padding:.15em .7em;border-bottom:1px solid rgba(128,128,128,.35);text-align:left;background:none}
.korag td.n,.korag th.n{text-align:right;font-variant-numeric:tabular-nums}
.korag .text{white-space:pre-wrap;padding:.5em .8em;border-left:3px solid rgba(128,128,128,.5);line-height:2}
.korag mark{color:inherit;background:rgba(255,153,0,.12);border-bottom:1px dotted rgb(214,110,0)}
.korag mark.h2{background:rgba(255,153,0,.24);border-bottom:2px dashed rgb(214,110,0)}
.korag mark.h3{background:rgba(255,153,0,.38);border-bottom:3px solid rgb(214,110,0)}
.korag mark.h4{background:rgba(255,140,0,.55);border-bottom:4px double rgb(214,110,0);font-weight:600}
.korag .bar{display:inline-block;width:12em;max-width:40vw;height:.8em;background:rgba(128,128,128,.18);
 vertical-align:middle;overflow:hidden}
.korag .bar span{display:block;height:100%;background:rgb(37,120,196)}
.korag .dim{opacity:.72}
.korag .tag{border:1px solid rgba(128,128,128,.6);border-radius:.6em;padding:0 .4em;font-size:.85em}
.korag summary{cursor:pointer}
</style>"""
"""The style of all pictures; each has it once."""

_PAGE = """<!doctype html>
<html lang="ko">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body{{margin:1.5em;background:#fff;color:#1b1b1b}}
@media (prefers-color-scheme: dark){{body{{background:#17181a;color:#e8e8e8}}}}
</style>
{body}
</html>
"""


def escaped(text: object) -> str:
    """Returns text as HTML shows it, in attributes too."""
    return html.escape(str(text), quote=True)


def picture(*parts: str) -> str:
    """Returns parts as a whole picture, with its style."""
    return f'{STYLE}\n<div class="korag">{"".join(parts)}</div>'


def page(fragment: str, *, title: str) -> str:
    """Returns a fragment as a page of its own, which can be saved and opened without a network.

    Args:
        fragment: HTML.
        title: Of the page, as text.
    """
    return _PAGE.format(title=escaped(title), body=fragment)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, numbers: frozenset[int] = frozenset()
) -> str:
    """Returns a table.

    Args:
        head: Names of the columns, as text.
        rows: Cells, as HTML.
        caption: What the table shows, as text.
        numbers: Columns of numbers.
    """
    kinds = [' class="n"' if column in numbers else "" for column in range(len(head))]
    first = "".join(f'<th scope="col"{kind}>{escaped(name)}</th>' for name, kind in zip(head, kinds, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in rows
    )
    return f"<table><caption>{escaped(caption)}</caption><thead><tr>{first}</tr></thead><tbody>{body}</tbody></table>"


def bar(share: float) -> str:
    """Returns a bar; the number that it shows belongs beside it.

    Args:
        share: Its length, in [0, 1].
    """
    width = 100 * min(1.0, max(0.0, share))
    return f'<span class="bar" aria-hidden="true"><span style="width:{width:.1f}%"></span></span>'


def number(value: float | None, digits: int = 4) -> str:
    """Returns a number as it is shown."""
    return "–" if value is None else f"{value:.{digits}f}"


def facts(rows: Iterable[tuple[str, object]], *, caption: str) -> str:
    """Returns a table of names and values, as text; None is left out."""
    shown = [
        f'<tr><th scope="row">{escaped(name)}</th><td>{escaped(value)}</td></tr>'
        for name, value in rows
        if value is not None
    ]
    return f"<table><caption>{escaped(caption)}</caption><tbody>{''.join(shown)}</tbody></table>"
