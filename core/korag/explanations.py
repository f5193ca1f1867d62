"""Explanations of a score as plain data: what each token, term and leg adds to it, and where that is in the text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Span: TypeAlias = tuple[int, int]
"""Begin and end of a place, in characters of a text."""
Kind: TypeAlias = Literal["text", "breadcrumb", "prompt", "special", "expansion"]
"""A token of the text, of the breadcrumb before it, of the prompt or mark ([Q], [D]) before that, one that a tokenizer
puts around texts ([CLS], [SEP]), or a mask token that expands a query."""
SEPARATOR = " · "
"""Between the tokens of one vector."""
_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Token:
    """A token of a text; several of one vector count as one.

    Attributes:
        ids: Its vocabulary id; several likewise.
        text: The token as text; several with `SEPARATOR` between them.
        spans: Places in the text as it was given; none for a token that is not of the text.
        kind: Its kind.
    """

    ids: tuple[int, ...]
    text: str
    spans: tuple[Span, ...]
    kind: Kind


@dataclass(frozen=True)
class TokenMatch:
    """A query token and its best match in a document.

    A model with token pooling makes one vector of several similar tokens: all of them are named, and matched as one.

    Attributes:
        query_token: The query token as text; several, with ``" · "`` between them, if they have one vector.
        document_token: The document token most similar to it; several likewise.
        position: Index of the document token among those scored.
        similarity: Their cosine. The sum over all query tokens is the MaxSim score.
        query_spans: Places of the query token in the query as it was given; none unless its kind is ``"text"``.
        document_spans: Places of the document token in the document's text likewise; of a whole character for a token
            that is part of one.
        query_kind: Kind of the query token.
        document_kind: Kind of the document token.
    """

    query_token: str
    document_token: str
    position: int
    similarity: float
    query_spans: tuple[Span, ...] = ()
    document_spans: tuple[Span, ...] = ()
    query_kind: Kind = "text"
    document_kind: Kind = "text"


@dataclass(frozen=True)
class TermMatch:
    """A term that a query and a document share.

    Attributes:
        term: The term as text.
        query_weight: Its weight in the query: of a sparse vector; for BM25 the inverse document frequency.
        document_weight: Its weight in the document: of a sparse vector; for BM25 ``count / (count + saturation)``.
        contribution: Their product. The sum over all terms is the score.
        spans: Places of the term in the document's text; none for one that the model has added, and for one that the
            text has in another spelling.
        in_query: False for a term that the model has added to the query.
        in_document: False for a term that the model has added to the document.
    """

    term: str
    query_weight: float
    document_weight: float
    contribution: float
    spans: tuple[Span, ...] = ()
    in_query: bool = True
    in_document: bool = True


@dataclass(frozen=True)
class Heat:
    """A place in a document's text and what it adds to a score.

    Attributes:
        begin: Its first character.
        end: The one behind its last.
        contribution: What it adds.
        labels: What it matches.
    """

    begin: int
    end: int
    contribution: float
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class LegExplanation:
    """The parts of a leg's score of a document.

    Attributes:
        kind: ``"late_interaction"``, ``"sparse"`` or ``"lexical"``, whose scores are sums; ``"dense"``, or ``"other"``
            for a leg that does not tell.
        score: The score of the document; the sum of the contributions, where there are any. None if the leg does not
            tell.
        span: The window that matched best, if the document was split; matches are in it.
        matches: For late interaction: the best match of each query token, in the order of the query.
        terms: For sparse and lexical legs: the terms that both have, the greatest contribution first.
        note: The reason why there is neither, in Korean and English.
    """

    kind: Literal["late_interaction", "sparse", "lexical", "dense", "other"]
    score: float | None
    span: Span | None = None
    matches: tuple[TokenMatch, ...] = ()
    terms: tuple[TermMatch, ...] = ()
    note: str = ""

    def heat(self) -> list[Heat]:
        """Returns what each place in the document's text adds to the score, in order; overlapping ones are one place.

        For late interaction, what the tokens of the query's own text add; marks and mask tokens match something
        everywhere. Nor are there places for terms that the model has added. So the sum may be less than the score.
        """
        own = (match for match in self.matches if match.query_kind == "text")
        parts = [
            *((match.document_spans, match.similarity, match.query_token) for match in own),
            *((term.spans, term.contribution, term.term) for term in self.terms),
        ]
        shares = [(span, amount / len(spans), label) for spans, amount, label in parts for span in spans]
        merged: list[tuple[int, int, list[float], dict[str, None]]] = []
        for (begin, end), amount, label in sorted(shares, key=lambda share: share[0]):
            if merged and begin < merged[-1][1]:
                first, last, amounts, labels = merged.pop()
                merged.append((first, max(last, end), [*amounts, amount], labels | {label: None}))
            else:
                merged.append((begin, end, [amount], {label: None}))
        return [Heat(begin, end, math.fsum(amounts), tuple(labels)) for begin, end, amounts, labels in merged]

    def moved(self, by: int) -> LegExplanation:
        """Returns it with places in a text that begins so many characters earlier; fewer for one that begins later.

        What lies before the beginning of that text has no place, and was its breadcrumb.
        """
        if not by:
            return self
        return replace(
            self,
            span=None if self.span is None else next(iter(_moved((self.span,), by)), None),
            matches=tuple(
                replace(
                    match,
                    document_spans=(spans := _moved(match.document_spans, by)),
                    document_kind="breadcrumb" if match.document_spans and not spans else match.document_kind,
                )
                for match in self.matches
            ),
            terms=tuple(replace(term, spans=_moved(term.spans, by)) for term in self.terms),
        )

    def words(self, text: str) -> list[Heat]:
        """Returns `heat` added up by word: what stands between spaces. Words that add nothing are left out.

        Args:
            text: The document's.
        """
        words = [(word.start(), word.end()) for word in _WORD.finditer(text)]
        found: dict[int, list[Heat]] = {}
        place = 0
        for heat in self.heat():
            while place < len(words) - 1 and words[place][1] <= heat.begin:
                place += 1
            found.setdefault(place, []).append(heat)
        return [
            Heat(*words[place], math.fsum(heat.contribution for heat in own), _labels(own))
            for place, own in found.items()
        ]


@dataclass(frozen=True)
class FusionRow:
    """The share of one leg in a fused score.

    Attributes:
        leg: Its name.
        score: Its own score of the document; None if the document is not among the candidates that it found.
        rank: The document's rank among them, from 1; None likewise.
        scaled: The score as the fusion scales it; for ``"rrf"``, ``1 / (60 + rank)``. 0 if it was not found.
        weight: The leg's weight for this query.
        contribution: ``weight · scaled``.
    """

    leg: str
    score: float | None
    rank: int | None
    scaled: float
    weight: float
    contribution: float


@dataclass(frozen=True)
class FusionTable:
    """The parts of a fused score.

    Attributes:
        method: ``"anchored"``, ``"weighted"`` or ``"rrf"``.
        rows: One for each leg searched. The sum of their contributions is the score, whatever the method.
        score: The fused score.
    """

    method: str
    rows: tuple[FusionRow, ...]
    score: float


def _moved(spans: tuple[Span, ...], by: int) -> tuple[Span, ...]:
    return tuple((max(0, begin + by), end + by) for begin, end in spans if end + by > 0)


def _labels(found: list[Heat]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for heat in found for label in heat.labels))
