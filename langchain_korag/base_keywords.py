"""The keywords that the base retriever of a `KoRerankRetriever` accepts when invoked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.runnables.config import merge_configs
from langchain_core.runnables.configurable import DynamicRunnable
from langchain_core.vectorstores import VectorStoreRetriever

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
    while isinstance(base, RunnableBindingBase | DynamicRunnable):
        if isinstance(base, RunnableBindingBase):
            config = merge_configs(base.config, config)
            base = base.bound
        else:
            base, config = base.prepare(config)
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
