"""Documents as results: the metadata they were added with, and on request what the search knows of them.

Whatever belongs to the query makes one document look like two in LangChain's own comparisons, so it is left out unless
a key is named for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.documents import Document

from korag.collection.base import Hit
from korag.errors import InvalidArgumentError
from korag.reranking.fusing import is_number
from korag.reranking.searched import REWRITTEN, searched_query

KEYS = ("score_key", "id_key")
"""Keywords of a search that name metadata keys."""
SPAN = "span"
"""Metadata key of the place of the window that a document was found by, as [begin, end] in its text."""
HIT = "_korag_hit"
"""Keyword by which `KoRerankRetriever` asks KoRAG's searches what they know of each document, and the metadata key of
the answer: a key of its own, because every other may be the caller's."""
CITED_BY = "cited_by"
"""Metadata key of the id of the result that cites this one, which was not found itself (see `korag.Hit.cited_by`)."""
_RESERVED = (REWRITTEN, SPAN, CITED_BY, HIT)


def check_key(name: str, key: object) -> str | None:
    """Returns the name of a metadata key; None for none.

    Raises:
        InvalidArgumentError: If it is anything else, or a key that has a meaning of its own in results.
    """
    if key is not None and (not isinstance(key, str) or not key):
        raise InvalidArgumentError(
            f"{name}={key!r:.80}: 메타데이터 키로 쓸 문자열이거나 None이어야 합니다. 예: {name}='{name[:-4]}'.",
            f"{name}={key!r:.80} is invalid; it must be a string, the metadata key, or None: {name}='{name[:-4]}'.",
        )
    if key in _RESERVED:
        raise InvalidArgumentError(
            f"{name}={key!r}: KoRAG에서 쓰는 키입니다. 다른 이름을 쓰세요. 예: {name}='{name[:-4]}'.",
            f"{name}={key!r} is a key that KoRAG uses itself; choose another, such as {name}='{name[:-4]}'.",
        )
    return key


@dataclass(frozen=True)
class Found:
    """The facts of a document that the search which found it knows.

    Attributes:
        score: Its score; None if the results were not ranked by it.
        rewritten_query: What was searched for, if the query was repaired.
        span: Place of the window it was found by.
        cited_by: The id of the result that cites it, if it was not found itself.
    """

    score: float | None = None
    rewritten_query: str | None = None
    span: list[int] | None = None
    cited_by: str | None = None

    @classmethod
    def of(cls, hit: Hit) -> Found:
        """Returns what a hit says."""
        return cls(hit.score, hit.rewritten_query, None if hit.span is None else list(hit.span), hit.cited_by)

    @classmethod
    def take_from(cls, metadata: dict[str, Any]) -> Found:
        """Takes the answer to `HIT` out of a document's metadata; without one, only the repaired query is known."""
        return cls(**metadata.pop(HIT)) if HIT in metadata else cls(rewritten_query=metadata.get(REWRITTEN))

    def as_metadata(self) -> dict[str, Any]:
        """Returns the metadata that `take_from` reads."""
        return {HIT: {name: value for name, value in vars(self).items() if value is not None}}

    def about_query(self) -> dict[str, Any]:
        """Returns the metadata that accompanies a score."""
        shown = {REWRITTEN: self.rewritten_query, SPAN: self.span, CITED_BY: self.cited_by}
        return {name: value for name, value in shown.items() if value is not None}


@dataclass(frozen=True)
class Shown:
    """The metadata that a search adds to its results.

    Attributes:
        score_key: Key of the score; with it come ``rewritten_query``, ``span`` and ``cited_by``, where there are any.
        id_key: Key of the document's id.
        hit: Add the answer to `HIT`.

    Raises:
        InvalidArgumentError: If a key is not a string or has a meaning of its own, or both are the same.
    """

    score_key: str | None = None
    id_key: str | None = None
    hit: bool = False

    def __post_init__(self) -> None:
        for name in KEYS:
            check_key(name, getattr(self, name))
        if self.score_key is not None and self.score_key == self.id_key:
            raise InvalidArgumentError(
                f"score_key와 id_key가 모두 {self.id_key!r}입니다. 서로 다른 키를 쓰세요.",
                f"score_key and id_key are both {self.id_key!r}; use different keys.",
            )

    @classmethod
    def take_from(cls, keywords: dict[str, Any], default: Mapping[str, str | None] | None = None) -> Shown:
        """Takes these settings out of the keywords of a search; None stands for the default."""
        given = {name: keywords.pop(name, None) for name in KEYS}
        chosen = {name: (default or {}).get(name) if key is None else key for name, key in given.items()}
        return cls(**chosen, hit=keywords.pop(HIT, False))

    def document(self, hit: Hit) -> Document:
        """Converts a hit to a new document."""
        scored = {} if self.score_key is None else {self.score_key: hit.score}
        metadata = {**hit.metadata, **scored, **self.added(hit.id, Found.of(hit))}
        return Document(id=hit.id, page_content=hit.text, metadata=metadata)

    def added(self, id_: str | None, found: Found) -> dict[str, Any]:
        """Returns what is added to the metadata of a result besides its score."""
        about = {} if self.score_key is None else found.about_query()
        identified = {} if self.id_key is None else {self.id_key: id_}
        return {**about, **identified, **(found.as_metadata() if self.hit else {})}


def best_score(occurrences: Sequence[Document], key: str | None) -> float | None:
    """Returns the score that a document was found by, the best one if it was found several times.

    Args:
        occurrences: The document, as often as it was found.
        key: Metadata key of the score, for documents without the answer to `HIT`; None for none.
    """
    metadata: list[dict[Any, Any]] = [document.metadata for document in occurrences]
    scores: list[Any] = [one[HIT].get("score") if HIT in one else one.get(key) for one in metadata]
    return max(map(float, filter(is_number, scores)), default=None)


def searched_by(query: str, documents: Sequence[Document]) -> str:
    """Returns the query that all documents were found by, if it was repaired, otherwise the query itself."""
    return searched_query(query, [document.metadata.get(HIT, document.metadata) for document in documents])
