"""An explanation as a picture: where the text answers the query, and what the score consists of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from korag.explanations import FusionTable, LegExplanation, TermMatch, TokenMatch
from korag.html.fragments import bar, escaped, number, picture, table
from korag.html.heatmaps import heatmap

_TITLES = {
    "late_interaction": "질문 토큰마다 가장 비슷한 토큰",
    "sparse": "함께 가진 용어: 질문 가중치 × 문서 가중치",
    "lexical": "함께 가진 말: 드문 정도 × 문서에서의 비중",
}
_KINDS = {"breadcrumb": "제목", "prompt": "표시", "special": "특수 토큰", "expansion": "마스크 토큰"}
_SHOWN = 10
"""Rows of a table; the others are folded away."""


def explanation_html(
    *,
    query: str,
    searched: str,
    id: str,
    text: str,
    score: float | None,
    legs: Mapping[str, LegExplanation],
    fusion: FusionTable | None,
) -> str:
    """Returns the whole picture; arguments are the fields of `korag.explain.Explanation`."""
    repaired = f" → <b>{escaped(searched)}</b>" if searched != query else ""
    return picture(
        f"<p><b>질문</b> {escaped(query)}{repaired}<br><b>문서</b> {escaped(id)} · <b>점수</b> {number(score)}</p>",
        fusion_html(fusion) if fusion is not None else "",
        *(leg_html(name, leg, text) for name, leg in legs.items()),
    )


def fusion_html(fusion: FusionTable) -> str:
    """Returns the table of what each leg adds to the fused score, without a style of its own."""
    greatest = max((row.contribution for row in fusion.rows), default=0.0)
    rows = [
        (
            escaped(row.leg),
            "–" if row.rank is None else str(row.rank),
            number(row.score),
            number(row.scaled),
            number(row.weight),
            number(row.contribution),
            bar(row.contribution / greatest if greatest > 0 else 0.0),
        )
        for row in fusion.rows
    ]
    rows.append(("<b>합계</b>", "", "", "", "", f"<b>{number(fusion.score)}</b>", ""))
    return table(
        ("검색 방식", "순위", "점수", "맞춘 점수", "가중치", "기여", ""),
        rows,
        caption=f"결합({fusion.method}): 기여 = 가중치 × 맞춘 점수",
        numbers=frozenset({1, 2, 3, 4, 5}),
    )


def leg_html(name: str, leg: LegExplanation, text: str) -> str:
    """Returns what one leg's score consists of, without a style of its own.

    Args:
        name: The leg's.
        leg: The leg.
        text: The document's text.
    """
    parts = [f"<h4>{escaped(name)} · 점수 {number(leg.score)}</h4>"]
    if leg.note:
        parts.append(f'<p class="dim">{escaped(leg.note)}</p>')
    if heat := leg.heat():
        parts.append(heatmap(text, heat, span=leg.span))
    if leg.matches:
        parts.append(_matches(leg))
    if leg.terms:
        parts.append(_terms(leg))
    return "".join(parts)


def _matches(leg: LegExplanation) -> str:
    own = [match for match in leg.matches if match.query_kind == "text"]
    others = [match for match in leg.matches if match.query_kind != "text"]
    parts = [_match_table(own, _TITLES[leg.kind])] if own else []
    if others:
        added = sum(match.similarity for match in others)
        parts.append(
            f"<details><summary>표시·특수·마스크 토큰 {len(others)}개: 합계 {number(added)}</summary>"
            f"{_match_table(others, '질문의 글이 아닌 토큰')}</details>"
        )
    return "".join(parts)


def _match_table(matches: list[TokenMatch], caption: str) -> str:
    rows = [
        (
            _token(match.query_token, match.query_kind),
            _token(match.document_token, match.document_kind),
            number(match.similarity, 2),
            bar(match.similarity),
        )
        for match in matches
    ]
    return table(("질문", "문서", "코사인", ""), rows, caption=caption, numbers=frozenset({2}))


def _token(text: str, kind: str) -> str:
    return escaped(text) + (f' <span class="tag">{_KINDS[kind]}</span>' if kind in _KINDS else "")


def _terms(leg: LegExplanation) -> str:
    shown, rest = leg.terms[:_SHOWN], leg.terms[_SHOWN:]
    parts = [_term_table(shown, leg, _TITLES[leg.kind])]
    if rest:
        added = sum(term.contribution for term in rest)
        parts.append(
            f"<details><summary>나머지 {len(rest)}개: 합계 {number(added)}</summary>"
            f"{_term_table(rest, leg, '나머지')}</details>"
        )
    return "".join(parts)


def _term_table(terms: tuple[TermMatch, ...], leg: LegExplanation, caption: str) -> str:
    greatest = leg.terms[0].contribution
    rows = [
        (
            _term(term),
            number(term.query_weight, 2),
            number(term.document_weight, 2),
            number(term.contribution, 2),
            bar(term.contribution / greatest if greatest > 0 else 0.0),
        )
        for term in terms
    ]
    return table(("용어", "질문", "문서", "기여", ""), rows, caption=caption, numbers=frozenset({1, 2, 3}))


def _term(term: TermMatch) -> str:
    return escaped(term.term) + "".join(f' <span class="tag">{added}</span>' for added in _added(term))


def _added(term: TermMatch) -> Iterator[str]:
    if not term.in_query:
        yield "질문에 더한 말"
    if not term.in_document:
        yield "문서에 더한 말"
