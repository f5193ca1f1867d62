"""The prompts that a model folder saves, and the names they are saved under."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from korag.checkpoints.settings import FolderSettings

_QUERY = ("query", "retrieval_query", "search_query", "s2p_query", "web_search_query")
_DOCUMENT = ("document", "passage", "corpus", "retrieval_passage", "retrieval_document", "search_document")
"""Names of prompts for retrieval, as `_plain` writes them, in order of precedence: sentence-transformers' own, then
those of Jina (``retrieval.query``, ``retrieval.passage``), EmbeddingGemma (``Retrieval-query``), Nomic and FRIDA
(``search_query``), Stella (``s2p_query``, and no prompt for documents) and Harrier (``web_search_query``)."""


def saved_prompts(settings: FolderSettings) -> tuple[str, str]:
    """Returns the saved query and document prompts, after PyLate's markers; empty where there is none.

    ``default_prompt_name`` plays no part: sentence-transformers takes it neither for queries nor for documents. A
    prompt under a later name wins over an empty one under an earlier name, because sentence-transformers writes
    ``"query": ""`` and ``"document": ""`` whenever a model has no prompts of those names.
    """
    model = settings.model
    saved = _retrieval_prompts(model)
    query, document = _first(saved, _QUERY), _first(saved, _DOCUMENT)
    if "query_prefix" in model:
        prefix = model["query_prefix"] or ""
        query = prefix + query.removeprefix(prefix)
    if "document_prefix" in model:
        prefix = model["document_prefix"] or ""
        document = prefix + document.removeprefix(prefix)
    return query, document


def other_prompts(prompts: Mapping[str, str]) -> dict[str, str]:
    """Returns the prompts under names that are neither for queries nor for documents."""
    return {name: prompt for name, prompt in prompts.items() if _plain(name) not in (*_QUERY, *_DOCUMENT)}


def _retrieval_prompts(model: Mapping[str, Any]) -> dict[str, str]:
    """Returns the prompts that are not empty, by their plain and their exact names; an exact name comes first."""
    saved = {name: prompt for name, prompt in (model.get("prompts") or {}).items() if prompt}
    return {_plain(name): prompt for name, prompt in saved.items()} | saved


def _first(saved: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((saved[name] for name in names if name in saved), "")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())
