"""A retriever and a reranker combined into one retriever."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypedDict

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.configurable import DynamicRunnable
from langchain_core.vectorstores import VectorStoreRetriever
from pydantic import Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from korag.checks import check_count, reject_unknown
from korag.deprecations import rename_keywords
from korag.errors import InvalidArgumentError
from korag.reranking.fusing import check_fuse_weight
from korag.reranking.searched import searched_query
from korag.text import check_text
from langchain_korag.checked_model import CHECKED, CheckedModel
from langchain_korag.collection_retriever import CollectionRetriever
from langchain_korag.documents import check_documents
from langchain_korag.field_types import Count
from langchain_korag.rerankers import DocumentReranker

_OWN = ("k", "fetch_k", "fuse_weight")


class Candidates(TypedDict):
    """Input of the reranker's run, as shown in traces."""

    query: str
    documents: list[Document]


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
    where documents come with scores, as those of KoRAG's retrievers do (`KoColBERTReranker`).

    `k`, `fetch_k`, `fuse_weight` and the base retriever's own keywords (``filter``) can be given to ``invoke``,
    ``ainvoke``, ``batch`` and ``stream`` too. Each document is a copy with the reranker's score in its metadata. The
    base retriever's run and the reranker's are children of this one's in traces and ``astream_events``.

    Attributes:
        base_retriever: Finds candidates: a retriever, or one with ``with_config`` or ``configurable_fields``.
        reranker: Any document compressor. With KoRAG's, `k` takes the place of their `top_n`; others keep
            their own limit if it is lower.
        fetch_k: Candidates to rerank.
        k: Documents to return.
        fuse_weight: Weight of the reranker's score in [0, 1], in place of its own `fuse_weight`; None for its own. An
            error with a compressor that is not KoRAG's.
    """

    model_config = CHECKED

    base_retriever: SkipJsonSchema[RetrieverLike] = Field(exclude=True, repr=False)
    reranker: SkipJsonSchema[BaseDocumentCompressor] = Field(exclude=True, repr=False)
    fetch_k: Count = 20
    k: Count = 4
    fuse_weight: float | None = Field(default=None, ge=0, le=1)

    @field_validator("fuse_weight", mode="before")
    @classmethod
    def _check_weight(cls, weight: Any) -> float | None:
        return check_fuse_weight(weight)

    @model_validator(mode="after")
    def _check_fusing(self) -> Self:
        _check_can_fuse(self.reranker, self.fuse_weight)
        return self

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        fetch_k: int | None = None,
        fuse_weight: float | None = None,
        **base_keywords: Any,
    ) -> list[Document]:
        plan = self._plan(query, k, fetch_k, fuse_weight, base_keywords)
        if plan.k == 0:
            return []
        config: RunnableConfig = {"callbacks": run_manager.get_child()}
        found = self.base_retriever.invoke(query, config, **plan.keywords)
        candidates = plan.candidates(query, found)
        return plan.results(self._rerun(plan).invoke(candidates, config)) if candidates["documents"] else []

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
        fetch_k: int | None = None,
        fuse_weight: float | None = None,
        **base_keywords: Any,
    ) -> list[Document]:
        plan = self._plan(query, k, fetch_k, fuse_weight, base_keywords)
        if plan.k == 0:
            return []
        config: RunnableConfig = {"callbacks": run_manager.get_child()}
        found = await self.base_retriever.ainvoke(query, config, **plan.keywords)
        candidates = plan.candidates(query, found)
        return plan.results(await self._rerun(plan).ainvoke(candidates, config)) if candidates["documents"] else []

    def _plan(
        self,
        query: str,
        k: int | None,
        fetch_k: int | None,
        fuse_weight: float | None,
        keywords: dict[str, Any],
    ) -> _Plan:
        check_text(query, "query")
        k = self.k if k is None else check_count("k", k)
        fetch_k = max(k, self.fetch_k if fetch_k is None else check_count("fetch_k", fetch_k))
        fuse_weight = self.fuse_weight if fuse_weight is None else check_fuse_weight(fuse_weight)
        _check_can_fuse(self.reranker, fuse_weight)
        known = _known_keywords(self.base_retriever)
        keywords = rename_keywords(keywords, known.renamed)
        if not known.any:
            reject_unknown(self, keywords, [*_OWN, *(name for name in known.names if name not in _OWN)])
        return _Plan(k, fetch_k, fuse_weight, {"k": fetch_k, **keywords} if known.k else keywords)

    def _rerun(self, plan: _Plan) -> RunnableLambda[Candidates, Sequence[Document]]:
        """Wraps the reranker in a runnable; compressors are not runnables and would not appear in traces."""
        reranker = self.reranker
        if isinstance(reranker, DocumentReranker):
            weight = {} if plan.fuse_weight is None else {"fuse_weight": plan.fuse_weight}
            reranker = reranker.model_copy(update={"top_n": plan.k, **weight})

        def rerank(given: Candidates, config: RunnableConfig) -> Sequence[Document]:
            return reranker.compress_documents(given["documents"], given["query"], config.get("callbacks"))

        async def arerank(given: Candidates, config: RunnableConfig) -> Sequence[Document]:
            return await reranker.acompress_documents(given["documents"], given["query"], config.get("callbacks"))

        return RunnableLambda(rerank, arerank, name=type(reranker).__name__)


@dataclass(frozen=True)
class _Plan:
    """The checked arguments of one search."""

    k: int
    fetch_k: int
    fuse_weight: float | None
    keywords: dict[str, Any]

    def candidates(self, query: str, found: Sequence[Document]) -> Candidates:
        """Returns the documents to rerank: copies, because some compressors modify their input."""
        documents = check_documents(found)[: self.fetch_k]
        copies = [document.model_copy(update={"metadata": dict(document.metadata)}) for document in documents]
        return {"query": searched_query(query, [copy.metadata for copy in copies]), "documents": copies}

    def results(self, reranked: Sequence[Document]) -> list[Document]:
        return list(reranked)[: self.k]


def _check_can_fuse(reranker: BaseDocumentCompressor, fuse_weight: float | None) -> None:
    if fuse_weight is not None and not isinstance(reranker, DocumentReranker):
        name = type(reranker).__name__
        raise InvalidArgumentError(
            f"fuse_weight={fuse_weight!r}: {name}은(는) KoRAG의 재순위 모델이 아니어서 점수를 결합할 수 없습니다. "
            "KoColBERTReranker나 KoCrossEncoderReranker를 쓰거나 fuse_weight를 빼세요.",
            f"fuse_weight={fuse_weight!r}: {name} is not one of KoRAG's rerankers, so its scores cannot be fused; use "
            "KoColBERTReranker or KoCrossEncoderReranker, or omit fuse_weight.",
        )


@dataclass(frozen=True)
class _Known:
    """Keywords that a base retriever accepts when invoked."""

    names: tuple[str, ...] = ()
    any: bool = False
    k: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)


def _known_keywords(base: Runnable[Any, Any]) -> _Known:
    while isinstance(base, RunnableBindingBase | DynamicRunnable):
        base = base.bound if isinstance(base, RunnableBindingBase) else base.default
    if isinstance(base, CollectionRetriever):
        return _Known(base._overrides, k=True, renamed=base._renamed)
    if not isinstance(base, BaseRetriever):
        return _Known()
    parameters = inspect.signature(base._get_relevant_documents).parameters
    names = tuple(name for name, kind in parameters.items() if kind.kind is kind.KEYWORD_ONLY and name != "run_manager")
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return _Known(names, takes_any, "k" in names or isinstance(base, VectorStoreRetriever))
