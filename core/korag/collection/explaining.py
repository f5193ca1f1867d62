"""Puts an explanation together: what each leg says of its score, and how the fusion weighs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from korag.collection.documents import StoredDocument
from korag.collection.explanation import Explanation
from korag.collection.hits import Hit
from korag.collection.runs import LegRuns
from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError
from korag.explanations import FusionRow, FusionTable, LegExplanation
from korag.fusion import Fusion
from korag.legs.base import UNTOLD, EncoderLeg, Leg
from korag.legs.registry import leg_type, lexical_legs
from korag.text import check_text, is_empty, to_nfc

_EMPTY = "빈 글은 검색되지 않습니다 / an empty text is never found"


def document_id(document: object) -> str:
    """Returns the id of what `Collection.explain` is given.

    Raises:
        InvalidArgumentError: If it is no document.
    """
    if isinstance(document, Hit | StoredDocument):
        return document.id
    if isinstance(document, str):
        return check_text(document, "document")
    raise InvalidArgumentError(
        f"document={document!r:.80}: search가 돌려준 Hit이나 문서의 id(str)여야 합니다.",
        f"document={document!r:.80} must be a Hit that search returned, or the id of a document (str).",
    )


def unknown_document(id_: str) -> InvalidArgumentError:
    """Returns the error for an id that no document has."""
    return InvalidArgumentError(
        f"id={id_!r:.80}인 문서가 없습니다. 검색한 다음 지웠다면 다시 검색하세요.",
        f"There is no document with the id {id_!r:.80}; if it was deleted after the search, search again.",
    )


def explain_leg(leg: Leg, asked: str, query: Any, document: StoredDocument, vectors: Any) -> LegExplanation:
    """Returns what a leg's score of a document consists of, with places in its own text.

    Args:
        leg: The leg.
        asked: The query as text.
        query: The same from `Leg.prepare`.
        document: The document.
        vectors: As for `Leg.explain`.
    """
    if is_empty(document.searched):
        return LegExplanation("other", None, note=_EMPTY)
    return leg.explain(asked, query, document.searched, vectors).moved(len(document.text) - len(document.searched))


def explain_anew(
    encoders: Mapping[str, Encoder[Any]], name: str, query: str, document: StoredDocument
) -> LegExplanation:
    """As `explain_leg`, where nothing is known of what is stored: the document is encoded again."""
    if name not in encoders or not issubclass(factory := leg_type(name).factory, EncoderLeg):
        return LegExplanation("other", None, note=UNTOLD)
    leg = factory(encoders[name], None)
    vectors = None if is_empty(document.searched) else leg.encode_documents([document.searched], show_progress=False)
    return explain_leg(leg, query, leg.encode_queries([query])[0], document, vectors)


def put_together(
    query: str,
    searched: str,
    document: StoredDocument,
    legs: Mapping[str, LegExplanation],
    found: LegRuns,
    fusion: Fusion,
) -> Explanation:
    """Returns the whole explanation.

    Args:
        query: As it was given.
        searched: As it was searched for.
        document: The document.
        legs: What each leg says.
        found: What each leg has found.
        fusion: The fusion; of no meaning if there is a single leg.
    """
    key = next((key for key, id_ in found.ids.items() if to_nfc(id_) == to_nfc(document.id)), None)
    places = {leg: _place(run, key) for leg, run in found.runs.items()}
    if len(legs) == 1:
        ((name, only),) = legs.items()
        place = places[name]
        score = only.score if place is None else place[1]
        return Explanation(query, searched, document.id, document.text, score, legs, None)
    how: dict[str, Any] = {
        "lexical": lexical_legs(found.runs),
        "confidences": found.confidences,
        "depth": found.depth,
    }
    parts = fusion.parts(found.runs, **how)
    fused: dict[int | None, float] = dict(fusion(found.runs, **how)[0])
    rows = []
    for leg in legs:
        rank, own = places[leg] or (None, None)
        scaled = 0.0 if key is None else parts.scaled.get(leg, {}).get(key, 0.0)
        weight = parts.weights.get(leg, 0.0)
        rows.append(FusionRow(leg, own, rank, scaled, weight, weight * scaled))
    score = fused.get(key, 0.0)
    return Explanation(
        query, searched, document.id, document.text, score, legs, FusionTable(fusion.method, tuple(rows), score)
    )


def _place(run: Sequence[tuple[int, float]], key: int | None) -> tuple[int, float] | None:
    return next(((rank, score) for rank, (own, score) in enumerate(run, start=1) if own == key), None)
