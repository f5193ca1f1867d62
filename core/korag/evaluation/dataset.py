"""`Dataset`: documents, queries and relevance judgements, checked once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from korag.errors import DatasetError, InvalidTextError
from korag.logs import logger
from korag.text import check_text

Groups = tuple[tuple[str, ...], ...]
"""AutoRAG's ``retrieval_gt`` of a query: one id of each inner tuple is needed."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A retrieval data set in memory. Create it with `build` or `load_dataset`, which check it.

    Attributes:
        name: Name in tables and folders.
        documents: Text of each document by id, in corpus order.
        queries: Text of each judged query by id.
        relevant: For each query, the grades (integers of at least 1) of its relevant documents.
        groups: AutoRAG's nested judgements; None if the source has none.
        source: Path or Hub id it was read from.
    """

    name: str
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    groups: Mapping[str, Groups] | None = None
    source: str = ""

    @classmethod
    def build(
        cls,
        name: str,
        *,
        documents: Mapping[str, str],
        queries: Mapping[str, str],
        relevant: Mapping[str, Mapping[str, int] | Iterable[str]],
        groups: Mapping[str, Groups] | None = None,
        source: str = "",
    ) -> Dataset:
        """Checks and builds a data set, for example from your own questions.

        Judgements below 1 are ignored. Queries without a relevant document are left out, which is logged: no ranking
        could be right or wrong for them.

        Args:
            name: Name in tables.
            documents: Text by id.
            queries: Text by id.
            relevant: For each query id, the ids of its relevant documents, or ids with grades.
            groups: AutoRAG's nested judgements.
            source: Path or Hub id it was read from.

        Raises:
            DatasetError: If there are no documents, queries or judgements, or a judgement has an unknown id.
            InvalidTextError: If an id or text is not a string.
        """
        place = f"'{name}'" + (f" ({source})" if source else "")
        for part, texts in (("documents", documents), ("queries", queries)):
            for id_, text in texts.items():
                check_text(id_, f"{place}: id")
                check_text(text, f"{place}: {part}[{id_!r}]")
        if not documents or not queries:
            korean, english = ("문서가", "documents") if not documents else ("질문이", "queries")
            raise DatasetError(
                f"{place}에 {korean} 하나도 없습니다. 파일 내용을 확인하세요.",
                f"{place} has no {english}; check its files.",
            )
        judged: dict[str, dict[str, int]] = {}
        for query, ids in relevant.items():
            grades = dict(ids) if isinstance(ids, Mapping) else dict.fromkeys(_check_not_string(ids, query), 1)
            positive = {id_: grade for id_, grade in grades.items() if grade >= 1}
            if not positive:
                continue
            if query not in queries:
                raise _unknown(place, "질문", "query", query, len(queries))
            for id_ in positive:
                if id_ not in documents:
                    raise _unknown(place, "문서", "document", id_, len(documents))
            judged[query] = positive
        if not judged:
            raise DatasetError(
                f"{place}에 관련 문서가 있는 질문이 없습니다(score가 1 이상인 판정 0개).",
                f"{place} has no query with a relevant document (no judgement of at least 1).",
            )
        if unjudged := len(queries) - len(judged):
            logger.info(
                "%s: 관련 문서가 없는 질문 %d개를 제외했습니다. / %d queries without a relevant document are left out.",
                name, unjudged, unjudged,
            )  # fmt: skip
        return cls(
            name=name,
            documents=dict(documents),
            queries={id_: text for id_, text in queries.items() if id_ in judged},
            relevant={id_: judged[id_] for id_ in queries if id_ in judged},
            groups=None if groups is None else {id_: groups[id_] for id_ in queries if id_ in judged},
            source=source,
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of ids, texts and judgements; does not depend on name and source."""
        digest = hashlib.sha256()
        parts: list[Iterable[tuple[str, str]]] = [self.documents.items(), self.queries.items()]
        parts.append((query, repr(sorted(grades.items()))) for query, grades in self.relevant.items())
        parts.append((query, repr(groups)) for query, groups in (self.groups or {}).items())
        for part in parts:
            for first, second in part:
                digest.update(first.encode() + b"\0" + second.encode() + b"\0")
            digest.update(b"\1")
        return digest.hexdigest()[:16]

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, documents={len(self.documents)}, queries={len(self.queries)})"


def document_text(title: str | None, text: str | None) -> str:
    """Joins title and text as the model cards' evaluations do: ``(title + " " + text).strip()``."""
    return f"{title or ''} {text or ''}".strip()


def _check_not_string(ids: Iterable[str], query: str) -> Iterable[str]:
    if isinstance(ids, str):
        raise InvalidTextError(
            f"relevant[{query!r}]={ids!r}은(는) 문자열입니다. 문서 id의 리스트여야 합니다: [{ids!r}]",
            f"relevant[{query!r}]={ids!r} is a string; it must be a list of document ids: [{ids!r}].",
        )
    return ids


def _unknown(place: str, korean: str, english: str, id_: str, number: int) -> DatasetError:
    return DatasetError(
        f"{place}의 판정(qrels)에 나오는 {korean} id {id_!r}이(가) {korean} {number}개 중에 없습니다. "
        "id의 표기와 자료형이 모든 파일에서 같은지 확인하세요.",
        f"The judgements (qrels) of {place} contain the {english} id {id_!r}, which is not among its {number}; check "
        "that ids are spelled the same in all files.",
    )
