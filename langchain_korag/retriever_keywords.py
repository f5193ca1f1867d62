"""Keywords of ``KoVectorStore.as_retriever``, checked at once: LangChain drops those that it does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.vectorstores import VectorStoreRetriever

from korag.checks import check_choice, check_count, check_fraction, check_weights, closest_keyword, reject_unknown
from korag.collection.base import Collection
from korag.deprecations import rename_keywords
from korag.errors import InvalidArgumentError
from langchain_korag.results import Shown
from langchain_korag.search_options import RENAMED, search_options

_KNOWN = ("search_type", "search_kwargs", "tags", "metadata", "name")
_SIMILARITY, _THRESHOLD, _MMR = "similarity", "similarity_score_threshold", "mmr"


def check_retriever_keywords(
    collection: Collection, keywords: Mapping[str, Any], searching: Sequence[str]
) -> dict[str, Any]:
    """Returns the keywords of ``as_retriever``, with a threshold as the float that LangChain asks for.

    Args:
        collection: What the retriever will search.
        keywords: The keywords.
        searching: Names of the keywords of a search, without `k`.

    Raises:
        InvalidArgumentError: If one is unknown, belongs into ``search_kwargs``, or has a wrong value.
        FilterError: If ``filter`` is not a filter.
    """
    of_search = ("k", *searching, "lambda_mult")
    for name in keywords:
        if name in _KNOWN or closest_keyword(name, _KNOWN):
            continue
        if meant := name if name in of_search else closest_keyword(name, of_search):
            place = f"search_kwargs={{'{meant}': …}}"
            raise InvalidArgumentError(
                f"as_retriever의 {name}은(는) 검색의 인수입니다. {place}처럼 넣으세요.",
                f"{name} is a keyword of the search: pass as_retriever({place}).",
            )
    reject_unknown(VectorStoreRetriever, keywords, _KNOWN)
    kind = check_choice("search_type", keywords.get("search_type", _SIMILARITY), (_SIMILARITY, _THRESHOLD, _MMR))
    given = keywords.get("search_kwargs", {})
    if not isinstance(given, dict):
        raise InvalidArgumentError(
            f"search_kwargs={given!r:.80}: dict여야 합니다. 예: search_kwargs={{'k': 4}}",
            f"search_kwargs={given!r:.80} must be a dict, for example search_kwargs={{'k': 4}}.",
        )
    given = rename_keywords(given, RENAMED)
    known = searching if kind != _MMR else [*(name for name in searching if name != "expand"), "lambda_mult"]
    _check_search(collection, dict(given), known)
    if kind == _THRESHOLD:
        given = {**given, "score_threshold": _threshold(given)}
    return {**keywords, "search_kwargs": given}


def _check_search(collection: Collection, given: dict[str, Any], known: Sequence[str]) -> None:
    reject_unknown(VectorStoreRetriever, given, ("k", *known))
    Shown.take_from(given)
    k = check_count("k", given.pop("k", 4))
    lambda_mult = given.pop("lambda_mult", 0.5)
    options = search_options(k, given)
    legs = collection._choose_legs(options.using)
    if options.weights is not None:
        check_weights(legs, options.weights)
    collection.diversify([], k=k, lambda_mult=lambda_mult, using=options.using)


def _threshold(given: Mapping[str, Any]) -> float:
    if given.get("score_threshold") is None:
        raise InvalidArgumentError(
            f"search_type='{_THRESHOLD}'에는 기준값이 필요합니다. 예: search_kwargs={{'score_threshold': 0.5}}",
            f"search_type='{_THRESHOLD}' needs a threshold: pass search_kwargs={{'score_threshold': 0.5}}.",
        )
    return check_fraction("score_threshold", given["score_threshold"])
