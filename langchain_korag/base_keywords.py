"""The base retriever of a `KoRerankRetriever`: the keywords it accepts when invoked, and what explains its scores."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.config import merge_configs
from langchain_core.runnables.configurable import DynamicRunnable
from langchain_core.vectorstores import VectorStoreRetriever

from korag.collection.explanation import Explanation
from korag.errors import InvalidArgumentError
from langchain_korag.collection_retriever import CollectionRetriever
from langchain_korag.vector_store import KoVectorStore


@dataclass(frozen=True)
class Known:
    """Keywords that a retriever accepts.

    Attributes:
        names: Their names.
        any: It accepts any other too.
        k: It accepts the number of documents.
        hit: It answers to `langchain_korag.results.HIT`.
        renamed: Deprecated names, with the new ones.
    """

    names: tuple[str, ...] = ()
    any: bool = False
    k: bool = False
    hit: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)


def known_keywords(base: Runnable[Any, Any], config: RunnableConfig) -> Known:
    """Returns the keywords of the retriever that a runnable leads to with this config."""
    base, _ = _unbound(base, config)
    if isinstance(base, CollectionRetriever):
        return Known(base._overrides, k=True, hit=True, renamed=base._renamed)
    if not isinstance(base, BaseRetriever):
        return Known()
    parameters = inspect.signature(base._get_relevant_documents).parameters
    names = tuple(name for name, kind in parameters.items() if kind.kind is kind.KEYWORD_ONLY and name != "run_manager")
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if isinstance(base, VectorStoreRetriever):
        return Known(names, takes_any, k=True, hit=isinstance(base.vectorstore, KoVectorStore))
    return Known(names, takes_any, k="k" in names, hit=getattr(base, "_answers_hit", False))


def explain_found(
    base: Runnable[Any, Any], query: str, document: Document | str, keywords: Mapping[str, Any]
) -> Explanation:
    """Explains the score of the retriever that a runnable leads to.

    Args:
        base: The runnable.
        query: The query.
        document: A document that it found, or its id.
        keywords: Of a call.

    Raises:
        InvalidArgumentError: If it is neither a retriever of this package nor one of its `KoVectorStore`.
    """
    base, bound = _unbound(base, {})
    given = {**bound, **keywords}
    if isinstance(base, CollectionRetriever):
        return base.explain(query, document, **given)
    if isinstance(base, VectorStoreRetriever) and isinstance(base.vectorstore, KoVectorStore):
        return base.vectorstore.explain(query, document, **{**_of_similarity(base), **given})
    if getattr(base, "_answers_hit", False):  # a KoRerankRetriever over another
        reranking: Any = base
        found: Explanation = reranking.explain(query, document, **given)
        return found
    name = type(base).__name__
    raise InvalidArgumentError(
        f"base_retriever={name}: KoRAG의 검색기가 아니어서 점수의 내역을 알 수 없습니다. KoHybridRetriever 같은 "
        "KoRAG의 검색기나 KoVectorStore.as_retriever()를 쓰세요.",
        f"base_retriever={name} does not tell what its scores consist of; use a retriever of KoRAG's, such as "
        "KoHybridRetriever, or KoVectorStore.as_retriever().",
    )


def _unbound(base: Runnable[Any, Any], config: RunnableConfig) -> tuple[Runnable[Any, Any], dict[str, Any]]:
    """Returns the retriever that a runnable leads to with a config, and the keywords bound to it."""
    keywords: dict[str, Any] = {}
    while isinstance(base, RunnableBindingBase | DynamicRunnable):
        if isinstance(base, RunnableBindingBase):
            config = merge_configs(base.config, config)
            keywords = {**base.kwargs, **keywords}
            base = base.bound
        else:
            base, config = base.prepare(config)
    return base, keywords


def _of_similarity(base: VectorStoreRetriever) -> dict[str, Any]:
    """The keywords of a retriever's searches that say what is searched; choosing among it changes no score."""
    diverse = ("fetch_k", "lambda_mult") if base.search_type == "mmr" else ()
    return {name: value for name, value in base.search_kwargs.items() if name not in diverse}
