"""Systems that bring their own index: collections, functions, LangChain and LlamaIndex retrievers.

Retrievers are recognised by their methods (``invoke`` or ``retrieve``); no framework is imported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from korag.collection.base import Collection, SearchOptions
from korag.errors import DatasetError
from korag.evaluation.dataset import Dataset
from korag.evaluation.systems import Advance, Ranking, RetrievalRun, System, rank_all

_METADATA_IDS = ("id", "_id", "doc_id", "docid", "document_id", "source_id")


@dataclass(frozen=True)
class CollectionLeg:
    """A collection, and how to search it.

    Attributes:
        collection: Must hold the data set's documents under their ids.
        using: As for `Collection.search`.
        options: Further keywords of `Collection.search_many`, such as ``fusion`` and ``weights``.
    """

    collection: Collection
    using: str | None = None
    options: Mapping[str, Any] | None = None


class CollectionSystem(System):
    """A collection that already holds the documents."""

    kind = "collection"

    def __init__(self, name: str, leg: CollectionLeg) -> None:
        self.name, self._leg = name, leg

    def steps(self, dataset: Dataset) -> int:
        """Queries to answer."""
        return len(dataset.queries)

    def run(self, dataset: Dataset, *, k: int, advance: Advance) -> RetrievalRun:
        """Answers the queries.

        Raises:
            DatasetError: If the collection lacks a relevant document, or finds one that is not in the data set.
        """
        collection = self._leg.collection
        needed = {id_ for grades in dataset.relevant.values() for id_ in grades}
        missing = needed - {document.id for document in collection.get(sorted(needed))}
        if missing:
            raise DatasetError(
                f"{collection!r}에 관련 문서 {len(missing)}개가 없습니다(예: {min(missing)!r}). 평가 데이터의 "
                "문서를 같은 id로 추가하세요: collection.add(list(data.documents.values()), ids=list(data.documents))",
                f"{collection!r} lacks {len(missing)} relevant documents (such as {min(missing)!r}); add the data "
                "set's documents under their ids: collection.add(list(data.documents.values()), "
                "ids=list(data.documents))",
            )
        options = SearchOptions(k=k, using=self._leg.using, **(self._leg.options or {}))
        start = time.perf_counter()
        rankings = rank_all(collection, dataset.queries, options, advance)
        seconds = time.perf_counter() - start
        for ranking in rankings.values():
            for id_, _ in ranking:
                _known(id_, dataset, self.name)
        return RetrievalRun(rankings=rankings, search_seconds=seconds)


class RetrieverSystem(System):
    """A function from a query to results, or an object with ``invoke`` (LangChain) or ``retrieve`` (LlamaIndex).

    A result is an id, an (id, score), or an object. An object is identified by ``id``, ``node_id``, ``ref_doc_id``, its
    metadata (``id``, ``doc_id`` …) or, failing these, its text: the first that occurs in the data set counts. Several
    chunks of a document count once, at the rank of the best.
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

    def run(self, dataset: Dataset, *, k: int, advance: Advance) -> RetrievalRun:
        """Answers the queries, one at a time.

        Raises:
            DatasetError: If a result is not in the data set.
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
        return RetrievalRun(rankings=rankings, search_seconds=seconds)


def _identify(result: Any, dataset: Dataset, by_text: Mapping[str, str], name: str) -> tuple[str, float | None]:
    """Returns the id of a result's document, and its score if it has one."""
    if isinstance(result, str):
        return _known(result, dataset, name), None
    if isinstance(result, tuple | list) and len(result) == 2:
        first, second = result
        if isinstance(first, str):
            return _known(first, dataset, name), float(second)
        result, score = first, second  # (Document, score) from LangChain's similarity_search_with_score
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
        f"'{name}' found {id_!r}, which is not a document of '{dataset.name}'; give results the data set's ids (such "
        f"as {example!r}) as id or metadata['id'].",
    )
