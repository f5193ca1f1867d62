"""Search settings under LangChain's names, as the collection's `SearchOptions`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from korag.checks import check_fraction
from korag.collection.base import SearchOptions
from korag.filters import parse

RENAMED = {"method": "fusion"}
"""Settings whose old name is deprecated, with the new one."""
_COLLECTION_NAMES = {"filter": "where", "score_threshold": "min_relevance"}
"""Names that differ, LangChain's first."""


def search_options(k: int, settings: Mapping[str, Any]) -> SearchOptions:
    """Builds search options.

    Args:
        k: Documents to return.
        settings: The other fields of `SearchOptions`, with `filter` for `where` and `score_threshold` for
            `min_relevance`; None stands for the field's default.

    Raises:
        InvalidArgumentError: If a value breaks its rule.
        FilterError: If `filter` is not a filter.
    """
    check_fraction("score_threshold", settings.get("score_threshold"))  # SearchOptions would call it min_relevance
    parse(settings.get("filter"), written="filter=")  # and this where
    given = {_COLLECTION_NAMES.get(name, name): value for name, value in settings.items() if value is not None}
    return SearchOptions(k=k, **given)
