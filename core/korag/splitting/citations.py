"""The articles that a provision cites: 준용, 인용, 「민법」 제44조, 같은 법 제5조부터 제7조까지, 전조."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from korag.analysis.references import canonical_reference
from korag.splitting.statute_names import names_before

_MOST = 60
"""Articles of a range in another statute, whose articles are not known."""
_REFERENCE = re.compile(
    r"(?P<article>제\s?\d+\s?조(?:\s?의\s?\d+(?!\s?[항호]))*)(?:\s?제\s?\d+\s?(?:항|호)(?:의\d+)?)*"
    r"|(?<![가-힣])(?P<before>전(?P<count>\d*)조)(?![가-힣]*(?:직|합))"
    r"|(?<![가-힣])(?P<annex>별표)(?!지)\s?(?:제\s?)?(?P<number>\d+(?:의\d+)?)?"
)
_QUOTED = re.compile(r"[「『｢](?P<name>[^「」『』｢｣\n]{2,80})[」』｣](?:\s?\([^()\n]*\))?\s*$")
_SAME = re.compile(r"(?:같은|동|그)\s?(?:법률|법|영|령|규칙|조례|규정)(?:\s?(?P<order>시행(?:령|규칙)))?\s*$")
_OWN = re.compile(r"(?:이|본)\s?(?:법률|법|영|령|규칙|조례|규정)\s*$")
_HIGHER = re.compile(r"(?<![가-힣])(?P<name>법|영|규칙)\s*$")
_ADDENDUM = re.compile(r"부칙\s*$")
_RANGE = re.compile(r"(?:내지|부터|[~∼～-])")
_JOINT = re.compile(
    r"(?:[가-하]목|[\s,、ㆍ·]|및|또는|내지|부터|까지|[와과의~∼～-]|제\s?\d++\s?[항호목](?:의\d++(?![항호]))?|\d++[항호]|단서|본문"
    r"|전단|후단|각\s?호|\([^()\n]*\))*"
)
"""Words between references that belong together. No text has two readings: these would take exponential time."""
_END = re.compile(r"[다라]\.(?:\s|$)|\n")


@dataclass(frozen=True)
class Place:
    """A place in a statute.

    Attributes:
        law: The statute's name.
        part: An addendum or annex, without spaces; None for the main part.
        article: ``제6조의2``.
    """

    law: str | None
    part: str | None = None
    article: str | None = None

    @property
    def key(self) -> str | None:
        """The name by which others cite it, e.g. ``민법 제44조``; None for no article or annex."""
        if self.article is None and (self.part is None or not self.part.startswith("별표")):
            return None
        parts = [law_key(self.law) if self.law is not None else None, self.part, self.article]
        return " ".join(part for part in parts if part)


def law_key(name: str) -> str:
    """One spelling of a statute's name: without spaces, and with one kind of dot."""
    return re.sub(r"[·・‧∙•ᆞ]", "ㆍ", "".join(name.split()))


def cited_by(text: str, place: Place, articles: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the articles that a text cites, and those among them that it applies to something else (준용).

    Args:
        text: The text, in NFC.
        place: Where it stands.
        articles: Those of the same statute, in order; for ranges and 전조.

    Returns:
        Keys, as of `Place.key`, in order of the text, each once. A statute that may have either of two names
        (`korag.splitting.statute_names.names_before`) is there by both.
    """
    cited: dict[str, bool] = {}
    named: tuple[str | None, ...] = (place.law,)
    own = True
    end = -1
    last: str | None = None
    for match in _REFERENCE.finditer(text):
        gap = text[end : match.start()] if end >= 0 else None
        is_joint = gap is not None and _JOINT.fullmatch(gap) is not None
        if not is_joint:
            laws, is_named = _laws_before(text[max(0, match.start() - 100) : match.start()], place.law, named)
            own = not is_named
            named = laws if is_named else named
        laws = (place.law,) if own else named
        is_addendum = _ADDENDUM.search(text, max(0, match.start() - 10), match.start()) is not None
        part = place.part if is_addendum else None
        found = [] if is_addendum and part is None else _articles(match, place, articles, own=own)
        if is_joint and last is not None and match["article"] and gap is not None and _RANGE.search(gap):
            found = [*_between(last, found[0], articles if own else ()), *found]
        applies = _is_applied(text, match.end())
        for article, law in ((article, law) for article in found for law in laws):
            target = Place(law, article) if article.startswith("별표") else Place(law, part, article)
            if target.key is not None and target.key != place.key:
                cited[target.key] = cited.get(target.key, False) or applies
        last = found[-1] if found else None
        end = match.end()
    return list(cited), [key for key, applies in cited.items() if applies]


def _articles(match: re.Match[str], place: Place, articles: Sequence[str], *, own: bool) -> list[str]:
    if match["article"]:
        return [canonical_reference(match["article"])]
    if match["annex"]:
        return [f"별표{match['number'] or ''}"]
    if place.article not in articles or place.part is not None or not own:
        return []
    index = articles.index(place.article)
    return list(articles[max(0, index - int(match["count"] or 1)) : index])


def _between(first: str, last: str, articles: Sequence[str]) -> list[str]:
    """The articles between two, without them: those there are, or those there may be in another statute."""
    if first in articles and last in articles:
        return list(articles[articles.index(first) + 1 : articles.index(last)])
    begin, end = (int(re.findall(r"\d+", one)[0]) if re.search(r"\d", one) else 0 for one in (first, last))
    return [f"제{number}조" for number in range(begin + 1, end)] if 0 < end - begin <= _MOST else []


def _laws_before(before: str, own: str | None, named: tuple[str | None, ...]) -> tuple[tuple[str | None, ...], bool]:
    """Returns the names that the words before a reference may give its statute, and False if none but this one."""
    if quoted := _QUOTED.search(before):
        return _compared((" ".join(quoted["name"].split()),), own)
    if same := _SAME.search(before):
        if (order := same["order"]) is not None:
            named = tuple(f"{_without_order(name)} {order}" for name in named if name is not None)
        return _compared(named, own)
    if _OWN.search(before):
        return (own,), False
    if (higher := _HIGHER.search(before)) and own is not None:
        base = _without_order(own)
        if base != own:
            name = base if higher["name"] == "법" else f"{base} 시행령" if higher["name"] == "영" else own
            return _compared((name,), own)
    return _compared(names_before(before), own)


def _without_order(name: str) -> str:
    """Returns the name of the act of which 시행령 and 시행규칙 are the orders."""
    return re.sub(r"\s?시행(?:령|규칙)$", "", name)


def _compared(names: tuple[str | None, ...], own: str | None) -> tuple[tuple[str | None, ...], bool]:
    given = [name for name in names if name is not None]
    is_own = not given or (own is not None and law_key(own) in map(law_key, given))
    return ((own,), False) if is_own else (tuple(given), True)


def _is_applied(text: str, place: int) -> bool:
    """Returns whether the rest of the sentence applies what is cited to something else."""
    end = _END.search(text, place)
    return "준용" in text[place : end.start() + 1 if end else len(text)]
