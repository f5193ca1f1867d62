"""``korag search``: searches a collection, and marks in the terminal what fits."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import textwrap
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from korag.commands.no_hits import reasons_of
from korag.commands.opening import add_index, add_json, open_index
from korag.commands.options import MARKS, as_json, malformed, printable, write
from korag.empty_query import reject_empty_query
from korag.errors import InvalidArgumentError
from korag.serving.answers import hit_as_dict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from korag.collection import Hit
    from korag.collection.explanation import Explanation
    from korag.collection.options import SearchSettings

_SHOWN = 240
"""Characters of a passage that are printed."""
_BEFORE = 60
"""Of them, those before the first word that fits."""
_LEAST = 2
"""Characters that a part of a word has at least to be marked."""
_WORD = re.compile(r"\w+")


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    parser = subparsers.add_parser(
        "search",
        help="컬렉션에서 찾습니다. Searches a collection.",
        description="컬렉션에서 찾아 맞는 부분을 보여 줍니다. Searches a collection and shows what fits.",
    )
    add_index(parser, models=True)
    parser.add_argument("query", metavar="QUERY", help="찾을 질문. The query.")
    parser.add_argument("--k", type=int, default=10, help="결과 수(기본값 10). Number of hits (default 10).")
    parser.add_argument(
        "--where",
        metavar="JSON",
        help='메타데이터 조건. 예: \'{"file": "규정.md"}\'. Metadata filter, for example {"page": {"$lte": 3}}.',
    )
    parser.add_argument(
        "--using",
        metavar="LEG",
        help="검색 방식 하나만 씁니다(기본값: 모두 결합). One leg only (default: all of them, fused).",
    )
    parser.add_argument(
        "--min-relevance",
        type=float,
        help="관련도가 이보다 낮으면 뺍니다(0~1). Leaves out hits of a lower relevance, in [0, 1].",
    )
    parser.add_argument(
        "--expand",
        choices=("citations",),
        help="citations: 찾은 조문이 인용한 조문을 뒤에 덧붙입니다. Adds the articles that found articles cite.",
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="점수가 어디에서 왔는지 토큰, 용어, 검색 방식마다 보여 줍니다. Shows what each score consists of, by "
        "token, term and leg.",
    )
    parser.add_argument(
        "--html",
        metavar="FILE",
        help="점수의 내역을 그림으로 그려 파일에 씁니다. 인터넷 없이도 열립니다. Writes these explanations "
        "as pictures into a file, which opens without a network.",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Searches, and prints the hits."""
    _check_query(options.query)
    if options.k < 1:
        raise InvalidArgumentError(
            f"--k {options.k}: 결과 수는 1 이상이어야 합니다.",
            f"--k {options.k}: the number of hits must be at least 1.",
        )
    where = _filter(options.where)
    page = None if options.html is None else _new_page(options.html)
    with open_index(options) as collection:
        settings: SearchSettings = {
            "k": options.k,
            "where": where,
            "using": options.using,
            "min_relevance": options.min_relevance,
            "expand": options.expand,
        }
        hits = collection.search(options.query, **settings)
        told = {
            hit.id: collection.explain(options.query, hit, **settings)
            for hit in (hits if options.explain or page is not None else ())
        }
        reasons = [] if where is None or hits else list(reasons_of(collection, where))
    if page is not None:
        _write_pictures(page, options.query, list(told.values()))
        wrote = f"점수의 내역을 썼습니다: {page} / Wrote the explanations: {page}\n"
        sys.stderr.write(printable(wrote)) if options.json else write(wrote)
    if not options.explain:
        told = {}
    for reason in reasons:
        sys.stderr.write(printable(f"{reason}\n"))
    if options.json:
        shown = [hit_as_dict(hit) | ({"explanation": told[hit.id].to_dict()} if hit.id in told else {}) for hit in hits]
        write(as_json(shown, indent=1))
        return
    if not hits:
        write("찾은 문서가 없습니다. / Nothing was found.")
        return
    if hits[0].rewritten_query is not None:
        write(f"고쳐 찾은 질문 / Searched for: {hits[0].rewritten_query}\n")
    words = _WORD.findall(unicodedata.normalize("NFC", hits[0].rewritten_query or options.query))
    color = uses_color()
    for place, hit in enumerate(hits, start=1):
        write(_describe(place, hit))
        write(textwrap.indent(snippet(hit.passage, words, color=color), "   ") + "\n")
        if hit.id in told:
            write(textwrap.indent(str(told[hit.id]), "   ") + "\n")


def _check_query(query: str) -> None:
    """Raises for a query without a word, or of bytes that are no UTF-8."""
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(
            f"QUERY={query!r:.80}: UTF-8이 아닙니다. 터미널의 인코딩(LANG)을 UTF-8로 바꾸고 다시 입력하세요.",
            f"QUERY={query!r:.80} is not UTF-8; set the terminal's encoding (LANG) to UTF-8 and type it again.",
        ) from error
    reject_empty_query(query, "QUERY")


def _new_page(name: str) -> Path:
    """Returns the file for pictures.

    Raises:
        InvalidArgumentError: If there is something of that name, or it is no name of a page.
    """
    path = Path(name)
    if path.suffix.lower() not in (".html", ".htm"):
        raise malformed("--html", name, "*.html", "why.html")
    if path.exists():
        raise InvalidArgumentError(
            f"'{path}'이(가) 이미 있습니다. 다른 이름을 쓰거나 지우고 다시 하세요.",
            f"'{path}' exists; use another name, or delete it first.",
        )
    return path


def _write_pictures(path: Path, query: str, explanations: Sequence[Explanation]) -> None:
    from korag.html.fragments import page
    from korag.storage import write_text

    write_text(path, page("<hr>".join(why._repr_html_() for why in explanations), title=query))


def uses_color() -> bool:
    """Returns True for a terminal, unless NO_COLOR or TERM says otherwise (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def snippet(text: str, words: list[str], *, color: bool) -> str:
    """Returns the part of a text around the first word of a query, on one line.

    Args:
        text: The text.
        words: The query's. Endings differ in Korean, so the longest beginning of a word counts that the text has.
        color: Mark what fits.
    """
    text = " ".join(unicodedata.normalize("NFC", text).split())
    found = _parts(text, words)
    pattern = re.compile("|".join(map(re.escape, found)), re.IGNORECASE) if found else None
    match = pattern.search(text) if pattern is not None else None
    begin = 0 if match is None else max(0, match.start() - _BEFORE)
    shown = text[begin : begin + _SHOWN]
    if pattern is not None and color:
        shown = pattern.sub(lambda fits: fits.group().join(MARKS), shown)
    return ("…" if begin else "") + shown + ("…" if begin + _SHOWN < len(text) else "")


def _parts(text: str, words: list[str]) -> list[str]:
    """The longest part of each word that is in the text, longest first."""
    folded = text.casefold()
    found = set()
    for word in words:
        for length in range(len(word), _LEAST - 1, -1):
            if word[:length].casefold() in folded:
                found.add(word[:length])
                break
    return sorted(found, key=len, reverse=True)


def _describe(place: int, hit: Hit) -> str:
    where = " · ".join(f"{key} {hit.metadata[key]}" for key in ("file", "page", "row") if key in hit.metadata)
    if hit.cited_by is not None:  # the query was not compared with it
        found = f"인용/cited by {hit.cited_by}"
    else:
        legs = ", ".join(f"{leg} #{rank}" for leg, (rank, _) in hit.legs.items())
        found = f"관련도/relevance {hit.relevance:.2f}  [{legs}]"
    return f"{place}. {hit.id}  {found}" + (f"\n   {where}" if where else "")


def _filter(text: str | None) -> dict[str, Any] | None:
    from korag.filters import parse

    if text is None:
        return None
    try:
        where = json.loads(text)
    except ValueError:
        where = None
    if not isinstance(where, dict):
        raise malformed("--where", text, "JSON", '\'{"file": "규정.md"}\'')
    parse(where, written="--where")
    return where
