"""A retriever and a reranker combined into one retriever."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypedDict

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.runnables.config import var_child_runnable_config
from pydantic import Field, InstanceOf, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from korag.checks import check_count, reject_unknown
from korag.collection.explanation import Explanation
from korag.deprecations import rename_keywords
from korag.errors import InvalidArgumentError
from korag.reranking.fusing import check_fuse_weight
from korag.reranking.searched import searched_query
from korag.text import check_text
from langchain_korag.base_keywords import explain_found, known_keywords
from langchain_korag.checked_model import CHECKED, CheckedModel
from langchain_korag.documents import check_documents, group_equal
from langchain_korag.field_types import Count, Key
from langchain_korag.rerankers import DocumentReranker
from langchain_korag.results import HIT, KEYS, Found, Shown, best_score

_OWN = ("k", "fetch_k", "fuse_weight", *KEYS)


class Candidates(TypedDict):
    """Input of the reranker's run, as shown in traces."""

    query: str
    documents: list[Document]
    scores: list[float | None]


class KoRerankRetriever(CheckedModel, BaseRetriever):
    """Finds candidates with one retriever and puts them in a reranker's order.

    >>> retriever = KoRerankRetriever(
    ...     base_retriever=KoHybridRetriever.from_documents(documents, models=["mini-colbert"]),
    ...     reranker=KoColBERTReranker(model="mini-colbert"),
    ...     fetch_k=20,
    ...     k=4,
    ... )
    >>> retriever.invoke("보증금은 언제 돌려받나요?", k=2, filter={"분류": "임대차"})

    The best `fetch_k` candidates are reranked (`k`, if that is more). Their number is passed as ``k=`` to a base
    retriever that accepts it when invoked: KoRAG's own, vector stores' (``as_retriever()``), and any whose
    ``_get_relevant_documents`` names `k`. Any other retriever returns as many as it is
    configured to; configure it for `fetch_k`. Candidates of a mistyped query that the base retriever repaired are
    scored by the repaired one.

    A reranker of KoRAG's fuses its score with the base retriever's by `fuse_weight`. A ColBERT model does so by default
    where documents come with scores (`KoColBERTReranker`). KoRAG's retrievers and ``KoVectorStore.as_retriever()`` are
    asked for them, with no `score_key` set; documents of others have them under the reranker's `first_score_key`, or
    not at all.

    `k`, `fetch_k`, `fuse_weight`, `score_key`, `id_key` and the base retriever's own keywords (``filter``) can be given
    to ``invoke``, ``ainvoke``, ``batch`` and ``stream`` too. Each document is a copy of one that the base retriever
    returned; one that it returned twice counts once. The base retriever's run and the reranker's are children of this
    one's in traces and ``astream_events``.

    Attributes:
        base_retriever: Finds candidates: a retriever, or one with ``with_config`` or ``configurable_fields``.
        reranker: Any document compressor. With KoRAG's, `k` takes the place of their `top_n`; others keep
            their own limit if it is lower.
        fetch_k: Candidates to rerank.
        k: Documents to return.
        fuse_weight: Weight of the reranker's score in [0, 1], in place of its own `fuse_weight`; None for its own. An
            error with a compressor that is not KoRAG's.
        score_key: Metadata key for the reranker's score, with which ``rewritten_query`` and ``span`` of KoRAG's
            retrievers are added too, where there are any; None for the reranker's own `score_key`. An error with a
            compressor that is not KoRAG's.
        id_key: Metadata key for the document's id; None for none. For ``EnsembleRetriever(id_key=...)``.
    """

    model_config = CHECKED

    _answers_hit: ClassVar[bool] = True
    base_retriever: SkipJsonSchema[RetrieverLike] = Field(exclude=True, repr=False)
    reranker: SkipJsonSchema[InstanceOf[BaseDocumentCompressor]] = Field(exclude=True, repr=False)
    fetch_k: Count = 20
    k: Count = 4
    fuse_weight: float | None = Field(default=None, ge=0, le=1)
    score_key: Key | None = None
    id_key: Key | None = None

    @field_validator("fuse_weight", mode="before")
    @classmethod
    def _check_weight(cls, weight: Any) -> float | None:
        return check_fuse_weight(weight)

    @model_validator(mode="after")
    def _check_reranker(self) -> Self:
        _check_can_score(self.reranker, fuse_weight=self.fuse_weight, score_key=self.score_key)
        Shown(self.score_key, self.id_key)
        return self

    def invoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """Returns the best documents; what ``config`` says under ``configurable`` holds for the base retriever too."""
        with _configured(config):
            return super().invoke(input, config, **kwargs)

    async def ainvoke(self, input: str, config: RunnableConfig | None = None, **kwargs: Any) -> list[Document]:
        """Async `invoke`."""
        with _configured(config):
            return await super().ainvoke(input, config, **kwargs)

    def explain(self, query: str, document: Document | str, **overrides: Any) -> Explanation:
        """Explains the score by which a document became a candidate: the base retriever's, as its `explain` does.

        >>> why = retriever.explain(query, retriever.invoke(query)[0])
        >>> print(why)  # a notebook shows it as a picture

        A ColBERT reranker's score is explained by `korag.explain_matches`; one of a cross-encoder has no parts.

        Args:
            query: The query.
            document: A document found by this retriever, or its id.
            overrides: Keywords, as for ``invoke``; the same as for the search that is to be explained.

        Raises:
            InvalidArgumentError: If the base retriever is not one of KoRAG's, the document is not in its collection,
                the query is empty, or a keyword is unknown.
        """
        own = {name: overrides.get(name) for name in _OWN}
        others = {name: value for name, value in overrides.items() if name not in _OWN}
        keys = {name: own[name] for name in KEYS}
        plan = self._plan(query, own["k"], own["fetch_k"], own["fuse_weight"], {**others, **keys}, {})
        return explain_found(self.base_retriever, query, document, {**others, "k": plan.fetch_k})

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        fetch_k: int | None = None,
        fuse_weight: float | None = None,
        score_key: str | None = None,
        id_key: str | None = None,
        **base_keywords: Any,
    ) -> list[Document]:
        config: RunnableConfig = {"callbacks": run_manager.get_child()}
        keys = {"score_key": score_key, "id_key": id_key}
        plan = self._plan(query, k, fetch_k, fuse_weight, {**base_keywords, **keys}, config)
        if plan.k == 0:
            return []
        ranking = plan.ranking(query, self.base_retriever.invoke(query, config, **plan.keywords))
        return ranking.run().invoke(ranking.candidates, config) if ranking.found else []

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        fetch_k: int | None = None,
        fuse_weight: float | None = None,
        score_key: str | None = None,
        id_key: str | None = None,
        **base_keywords: Any,
    ) -> list[Document]:
        config: RunnableConfig = {"callbacks": run_manager.get_child()}
        keys = {"score_key": score_key, "id_key": id_key}
        plan = self._plan(query, k, fetch_k, fuse_weight, {**base_keywords, **keys}, config)
        if plan.k == 0:
            return []
        ranking = plan.ranking(query, await self.base_retriever.ainvoke(query, config, **plan.keywords))
        return await ranking.run().ainvoke(ranking.candidates, config) if ranking.found else []

    def _plan(
        self,
        query: str,
        k: int | None,
        fetch_k: int | None,
        fuse_weight: float | None,
        keywords: dict[str, Any],
        config: RunnableConfig,
    ) -> _Plan:
        check_text(query, "query")
        k = self.k if k is None else check_count("k", k)
        fetch_k = max(k, self.fetch_k if fetch_k is None else check_count("fetch_k", fetch_k))
        fuse_weight = self.fuse_weight if fuse_weight is None else check_fuse_weight(fuse_weight)
        shown = Shown.take_from(keywords, {"score_key": self.score_key, "id_key": self.id_key})
        _check_can_score(self.reranker, fuse_weight=fuse_weight, score_key=shown.score_key)
        known = known_keywords(self.base_retriever, config)
        keywords = rename_keywords(keywords, known.renamed)
        if not known.any:
            reject_unknown(self, keywords, [*_OWN, *(name for name in known.names if name not in _OWN)])
        asked = {**({"k": fetch_k} if known.k else {}), **keywords, **({HIT: True} if known.hit else {})}
        reranker = self.reranker
        if isinstance(reranker, DocumentReranker):
            shown = replace(shown, score_key=shown.score_key or reranker.score_key)
            weight = {} if fuse_weight is None else {"fuse_weight": fuse_weight}
            reranker = reranker.model_copy(update={"top_n": k, "score_key": shown.score_key, **weight})
        return _Plan(k, fetch_k, reranker, shown, asked)


@dataclass(frozen=True)
class _Plan:
    """The checked arguments of one search."""

    k: int
    fetch_k: int
    reranker: BaseDocumentCompressor
    shown: Shown
    keywords: dict[str, Any]

    def ranking(self, query: str, documents: Sequence[Document]) -> _Ranking:
        """Takes documents apart into those to rerank, each once, and what their search knows of them."""
        key = self.reranker.first_score_key if isinstance(self.reranker, DocumentReranker) else None
        plain, found = [], []
        for group in group_equal(check_documents(documents))[: self.fetch_k]:
            metadata = dict(group[0].metadata)
            found.append(replace(Found.take_from(metadata), score=best_score(group, key)))
            plain.append(group[0].model_copy(update={"metadata": metadata}))
        searched = searched_query(query, [one.about_query() for one in found])
        return _Ranking(self, {"query": searched, "documents": plain, "scores": [one.score for one in found]}, found)


@dataclass(frozen=True)
class _Ranking:
    """Candidates, and what their search knows of each."""

    plan: _Plan
    candidates: Candidates
    found: list[Found]

    def run(self) -> RunnableLambda[Candidates, list[Document]]:
        """Wraps the reranker in a runnable; compressors are not runnables and would not appear in traces."""
        reranker = self.plan.reranker

        def rerank(given: Candidates, config: RunnableConfig) -> list[Document]:
            return self._results(reranker.compress_documents(self._copies(), given["query"], config.get("callbacks")))

        async def arerank(given: Candidates, config: RunnableConfig) -> list[Document]:
            return self._results(
                await reranker.acompress_documents(self._copies(), given["query"], config.get("callbacks"))
            )

        return RunnableLambda(rerank, arerank, name=type(reranker).__name__)

    def _copies(self) -> list[Document]:
        """Returns copies, because some compressors modify their input; a reranker of KoRAG's is told the scores."""
        told = isinstance(self.plan.reranker, DocumentReranker)
        return [
            document.model_copy(update={"metadata": {**document.metadata, **(found.as_metadata() if told else {})}})
            for document, found in zip(self.candidates["documents"], self.found, strict=True)
        ]

    def _results(self, reranked: Sequence[Document]) -> list[Document]:
        results = []
        for document in list(reranked)[: self.plan.k]:
            metadata = dict(document.metadata)
            found = replace(Found.take_from(metadata), score=None)  # the order is no longer that of the score
            metadata.update(self.plan.shown.added(document.id, found))
            results.append(document.model_copy(update={"metadata": metadata}))
        return results


@contextmanager
def _configured(config: RunnableConfig | None) -> Iterator[None]:
    """Hands a call's ``configurable`` on, as chains do; `BaseRetriever` would drop it, a user's filter for instance."""
    given = (config or {}).get("configurable")
    if not given:
        yield
        return
    outer = var_child_runnable_config.get() or RunnableConfig()
    inner: RunnableConfig = {**outer, "configurable": {**outer.get("configurable", {}), **given}}
    token = var_child_runnable_config.set(inner)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


def _check_can_score(reranker: BaseDocumentCompressor, **settings: object) -> None:
    for name, value in settings.items():
        if value is not None and not isinstance(reranker, DocumentReranker):
            theirs = type(reranker).__name__
            raise InvalidArgumentError(
                f"{name}={value!r}: {theirs}은(는) KoRAG의 재순위 모델이 아니어서 점수를 알 수 없습니다. "
                f"KoColBERTReranker나 KoCrossEncoderReranker를 쓰거나 {name}을(를) 빼세요.",
                f"{name}={value!r}: {theirs} is not one of KoRAG's rerankers, so its scores are not known; use "
                f"KoColBERTReranker or KoCrossEncoderReranker, or omit {name}.",
            )
