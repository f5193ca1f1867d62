"""Systems that bring their own index: collections, functions, LangChain and LlamaIndex retrievers.

Retrievers are known by what they can do (``invoke`` or ``retrieve``); no framework is imported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from korag.collection import Collection
from korag.evaluation.dataset import Dataset, DatasetError
from korag.evaluation.systems import Advance, Outcome, Ranking, System

_METADATA_IDS = ("id", "_id", "doc_id", "docid", "document_id", "source_id")
_BATCH = 64


@dataclass(frozen=True)
class CollectionLeg:
    """One way of searching a collection.

    Attributes:
        collection: It must hold the data set's documents under the data set's ids.
        using: As for `Collection.search`.
        options: Further keywords of `Collection.search_many`, such as ``fusion`` and ``weights``.
    """

    collection: Collection
    using: str | None = None
    options: Mapping[str, Any] | None = None


class CollectionSystem(System):
    """A collection as it stands."""

    kind = "collection"

    def __init__(self, name: str, leg: CollectionLeg) -> None:
        self.name, self._leg = name, leg

    def steps(self, dataset: Dataset) -> int:
        """Queries to answer."""
        return len(dataset.queries)

    def run(self, dataset: Dataset, *, k: int, advance: Advance) -> Outcome:
        """Answers the queries.

        Raises:
            DatasetError: If it holds a document that the data set does not, or lacks a relevant one.
        """
        collection = self._leg.collection
        needed = {id_ for grades in dataset.relevant.values() for id_ in grades}
        missing = needed - {document.id for document in collection.get(sorted(needed))}
        if missing:
            raise DatasetError(
                f"{collection!r}에 관련 문서 {len(missing)}개가 없습니다(예: {min(missing)!r}). 평가 데이터의 "
                "문서를 같은 id로 넣으세요: collection.add(list(data.documents.values()), ids=list(data.documents))",
                f"{collection!r} lacks {len(missing)} relevant documents (such as {min(missing)!r}); add the data "
                "set's under its ids: collection.add(list(data.documents.values()), ids=list(data.documents))",
            )
        rankings: dict[str, Ranking] = {}
        queries = list(dataset.queries.items())
        start = time.perf_counter()
        for first in range(0, len(queries), _BATCH):
            batch = queries[first : first + _BATCH]
            found = collection.search_many(
                [text for _, text in batch], k=k, using=self._leg.using, **(self._leg.options or {})
            )
            for (query, _), hits in zip(batch, found, strict=True):
                rankings[query] = [(_known(hit.id, dataset, self.name), hit.score) for hit in hits]
            advance(len(batch))
        return Outcome(rankings=rankings, search_seconds=time.perf_counter() - start)


class RetrieverSystem(System):
    """A function from a query to results, or an object with ``invoke`` (LangChain) or ``retrieve`` (LlamaIndex).

    A result is an id, an (id, score), or an object: its id is looked for in ``id``, ``node_id``,
    ``ref_doc_id``, the metadata (``id``, ``doc_id`` …), and last by its text, among the data set's ids and texts.
    Several chunks of one document count once, at the best one's rank.
    """

    kind = "retriever"

    def __init__(self, name: str, retriever: Any) -> None:
        self.name = name
        self._call: Callable[[str], Iterable[Any]] = (
            getattr(retriever, "invoke", None) or getattr(retriever, "retrieve", None) or retriever
        )

    def steps(self, dataset: Dataset) -> int:
        """Queries to answer."""
        return len(dataset.queries)

    def run(self, dataset: Dataset, *, k: int, advance: Advance) -> Outcome:
        """Answers the queries, one at a time.

        Raises:
            DatasetError: If a result is none of the data set's documents.
        """
        by_text: dict[str, str] = {}
        for id_, document in dataset.documents.items():
            by_text.setdefault(document.strip(), id_)
        rankings: dict[str, Ranking] = {}
        seconds = 0.0
        for query, text in dataset.queries.items():
            start = time.perf_counter()
            results = self._call(text)
            if isinstance(results, str | bytes) or not isinstance(results, Iterable):
                raise DatasetError(
                    f"'{self.name}'이(가) {results!r:.80}을(를) 돌려주었습니다. id나 (id, 점수)의 리스트여야 합니다.",
                    f"'{self.name}' returned {results!r:.80}; it must return a list of ids or (id, score).",
                )
            results = list(results)
            seconds += time.perf_counter() - start
            ranking: dict[str, float] = {}
            for rank, result in enumerate(results):
                id_, score = _identify(result, dataset, by_text, self.name)
                ranking.setdefault(id_, -float(rank) if score is None else score)
            rankings[query] = list(ranking.items())[:k]
            advance(1)
        return Outcome(rankings=rankings, search_seconds=seconds)


def _identify(result: Any, dataset: Dataset, by_text: Mapping[str, str], name: str) -> tuple[str, float | None]:
    """The id of the document a result stands for, and its score where it has one."""
    if isinstance(result, str):
        return _known(result, dataset, name), None
    if isinstance(result, tuple | list) and len(result) == 2:
        first, second = result
        if isinstance(first, str):
            return _known(first, dataset, name), float(second)
        result, score = first, second  # (Document, score), as LangChain's similarity_search_with_score gives
    else:
        score = getattr(result, "score", None)
    item = getattr(result, "node", result)  # LlamaIndex: NodeWithScore
    for candidate in _candidates(item):
        if candidate in dataset.documents:
            return candidate, None if score is None else float(score)
    for attribute in ("page_content", "text"):
        text = getattr(item, attribute, None)
        if isinstance(text, str) and (id_ := by_text.get(text.strip())) is not None:
            return id_, None if score is None else float(score)
    raise _unknown_document(next(_candidates(item), None) or f"{item!r:.80}", dataset, name)


def _candidates(item: Any) -> Iterator[str]:
    metadata = getattr(item, "metadata", None) or {}
    values = [getattr(item, attribute, None) for attribute in ("id", "node_id", "ref_doc_id")]
    values += [metadata.get(key) for key in _METADATA_IDS]
    yield from (str(value) for value in values if value is not None)


def _known(id_: str, dataset: Dataset, name: str) -> str:
    if id_ not in dataset.documents:
        raise _unknown_document(id_, dataset, name)
    return id_


def _unknown_document(id_: str, dataset: Dataset, name: str) -> DatasetError:
    example = next(iter(dataset.documents))
    return DatasetError(
        f"'{name}'이(가) 찾은 {id_!r}은(는) '{dataset.name}'의 문서가 아닙니다. 평가 데이터의 id(예: {example!r})를 "
        "결과의 id나 metadata['id']에 넣으세요.",
        f"'{name}' found {id_!r}, which is no document of '{dataset.name}'; give results the data set's ids (such "
        f"as {example!r}) as id or metadata['id'].",
    )
