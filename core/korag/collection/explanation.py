"""The explanation of a document's score: data, text and picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from korag.explanations import FusionTable, LegExplanation
from korag.html.explanation import explanation_html
from korag.html.fragments import page


@dataclass(frozen=True)
class Explanation:
    """The reasons for a document's place in a search; `korag.Collection.explain` makes it.

    ``print`` shows it as text, notebooks as a picture, `to_html` writes that, and `to_dict` is JSON.

    Attributes:
        query: The query as it was given.
        searched: The query that was searched for: another one if it was repaired.
        id: The document's id.
        text: Its text.
        score: Its score: fused, or the leg's own in a search with one leg. None if that leg does not tell.
        legs: What each leg's score consists of, by its name.
        fusion: What the fused score consists of; None in a search with one leg.
    """

    query: str
    searched: str
    id: str
    text: str = field(repr=False)
    score: float | None
    legs: Mapping[str, LegExplanation] = field(repr=False)
    fusion: FusionTable | None = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values, with the `LegExplanation.heat` and `LegExplanation.words` of each leg."""
        known = asdict(self)
        for name, leg in self.legs.items():
            known["legs"][name]["heat"] = [asdict(heat) for heat in leg.heat()]
            known["legs"][name]["words"] = [asdict(word) for word in leg.words(self.text)]
        return known

    def to_html(self) -> str:
        """Returns a page of its own: nothing is loaded from elsewhere, and no script runs."""
        return page(self._repr_html_(), title=self.searched)

    def _repr_html_(self) -> str:
        return explanation_html(**{field.name: getattr(self, field.name) for field in fields(self)})

    def __str__(self) -> str:
        return "\n".join(_lines(self))


_SHOWN = 8
"""Parts of a leg's score that are printed."""


def _lines(explanation: Explanation) -> Iterator[str]:
    yield f"{explanation.id}: {_number(explanation.score)}"
    if explanation.searched != explanation.query:
        yield f"  고쳐 찾은 질문 / searched for: {explanation.searched}"
    if explanation.fusion is not None:
        yield f"  결합 / fusion {explanation.fusion.method}: 기여 = 가중치 × 맞춘 점수 / contribution = weight × scaled"
        width = max(len(row.leg) for row in explanation.fusion.rows)
        for row in explanation.fusion.rows:
            rank = "-" if row.rank is None else f"#{row.rank}"
            yield (
                f"    {row.leg:<{width}}  {rank:>4}  {_number(row.score):>9}  "
                f"{row.contribution:.4f} = {row.weight:.4f} × {row.scaled:.4f}"
            )
    for name, leg in explanation.legs.items():
        yield f"  {name}: {_number(leg.score)}" + (f"  ({leg.note})" if leg.note else "")
        parts = [
            *((f"{match.query_token} → {match.document_token}", match.similarity) for match in leg.matches
              if match.query_kind == "text"),
            *((term.term, term.contribution) for term in leg.terms),
        ]  # fmt: skip
        for label, amount in parts[:_SHOWN]:
            yield f"    {amount:7.4f}  {label}"
        rest = math.fsum([leg.score or 0.0, *(-amount for _, amount in parts[:_SHOWN])])
        if parts and abs(rest) >= 5e-5:
            yield f"    {rest:7.4f}  (나머지 / the rest)"


def _number(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"
