"""Headings: the article that a document is, as opposed to those it mentions.

Statutes refer to each other's articles, so ``제44조`` is in many documents, most often in those that mention it. The
document that *is* 제44조 begins with it: ``민법 제44조(재단법인의 정관의 보충) …``, ``# 제44조 ① …``. It gets a further
token, and so does a query that asks for an article. Where the heading names the statute, another token has both.

Case numbers, codes and other identifiers (`korag.analysis.identifiers`) near the start are headings too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from korag.analysis.identifiers import Identifier, find_identifiers
from korag.analysis.marks import HEADING, MENTION
from korag.analysis.settings import BM25
from korag.analysis.versions import VERSION
from korag.text import normalize

_START = 120
"""Characters among which a document's heading begins."""
_SHARE, _LEAST = 25, 4
"""A heading counts as one in so many tokens of its document, and at least so often: a long article is found by its
heading as well as a short one (without this, 14 to 33 of 100 articles were not; see benchmarks/identifiers.py)."""
_WORDS = 8
"""Words before an article in a query that may be the name of its statute."""

_ARTICLE = re.compile(r"제\d+조(?:의\d+)*$")
# 제44조(…), 제44조【…】, 제44조 ①, 제44조 이 법은; but not 제44조에 따라, 제44조 제1항, 제44조 및
_TITLE = re.compile(
    r"\s*(?:[(（\[【〔<「『①-⑳]|$)|\s*\n|\s+(?!제\s?\d|\d+\s?[항호]|[의에을를와과]\s|및|또는|내지|부터|까지)\S"
)
_LINE = re.compile(r"\n[ \t#*>-]*(?=제?\s?\d[\d,]*\s?조(?:\s?의\s?\d+)*\s?[(（【〔\[])")
_SENTENCE = re.compile(r"[다요까]\.")
_STRUCTURE = re.compile(r"제?\s?\d+\s?[편장절관](?:의\d+)?[^>|/\n]*")
_NO_NAME = re.compile(r"[\W_]+")
_PARTICLE = re.compile(r"(?<=[법령칙률례])(?:의|상|상의|에서|에서의|중|은|는)$")


def heading_of_document(text: str, tokens: Sequence[str], settings: BM25) -> Iterator[str]:
    """Yields the tokens of what a document is filed under, as often as they count.

    Args:
        text: The document.
        tokens: Its other tokens.
        settings: Of the leg; headings have none.
    """
    headings = _headings(normalize(text))
    for token in headings:
        times = max(_LEAST, len(tokens) // (_SHARE * len(headings)))
        yield from [token] * times


def headings_asked_for(text: str, tokens: Sequence[str], settings: BM25) -> Iterator[str]:
    """Yields the headings that a query asks for; not all of them need exist.

    ``우리나라 민법 제44조`` may mean an article of 민법 or of 우리나라민법.

    Args:
        text: The query.
        tokens: Its other tokens.
        settings: Of the leg; headings have none.
    """
    text = normalize(text)
    before = 0
    for found in find_identifiers(text, VERSION):
        if (article := found.tokens[0]) and _ARTICLE.match(article):
            yield HEADING + article
            words = _NO_NAME.sub(" ", _STRUCTURE.sub(" ", text[before : found.start])).split()[-_WORDS:]
            if words:
                words[-1] = _PARTICLE.sub("", words[-1])
            for first in range(len(words)):
                yield f"{HEADING}{''.join(words[first:])}{article}"
            before = found.end
        yield from _named(found)


def _headings(text: str) -> list[str]:
    first = _first(text)
    if first is None:
        return []
    token = first.tokens[0]
    if not _ARTICLE.match(token):
        return list(_named(first))
    name = _name(text[: first.start])
    found = dict.fromkeys([token, *(_articles_at_lines(text, first.end))])
    return [HEADING + own for article in found for own in ((article, name + article) if name else (article,))]


def _first(text: str) -> Identifier | None:
    """The first identifier near the start, unless it is an article that is only mentioned (제44조에 따라 …)."""
    for found in find_identifiers(text[: 2 * _START], VERSION):
        if found.start > _START or _SENTENCE.search(text, 0, found.start):
            return None
        if _ARTICLE.match(found.tokens[0]):
            return found if len(found.tokens) == 1 and _TITLE.match(text, found.end) else None
        if any(token.startswith(MENTION) for token in found.tokens):
            return found
    return None


def _articles_at_lines(text: str, start: int) -> Iterator[str]:
    """Further articles of the same document, each on a line of its own with its title in brackets."""
    for line in _LINE.finditer(text, start):
        for found in find_identifiers(text[line.end() : line.end() + 40], VERSION):
            yield found.tokens[0]
            break


def _name(before: str) -> str:
    """The name of the statute in what precedes its article."""
    return _NO_NAME.sub("", _STRUCTURE.sub("", before))


def _named(found: Identifier) -> Iterator[str]:
    return (HEADING + token.removeprefix(MENTION) for token in found.tokens if token.startswith(MENTION))
