"""A query with nothing in it to search for: called the same everywhere.

The library finds nothing for one, which a warning says; explanations, commands and servers refuse it.
"""

from __future__ import annotations

from korag.errors import InvalidArgumentError
from korag.logs import logger
from korag.text import is_empty


def warn_empty_query(*, empty: int = 1, total: int = 1, meaning: tuple[str, str] | None = None) -> None:
    """Logs that queries are empty.

    Args:
        empty: Their number.
        total: The number of queries.
        meaning: What follows from it, in Korean and in English; None for finding nothing.
    """
    korean, english = meaning or ("아무것도 찾지 않습니다.", "nothing is found.")
    count = (f"({total:,}개 가운데 {empty:,}개)", f" ({empty:,} of {total:,})") if total > 1 else ("", "")
    logger.warning("질문이 비어 있습니다%s. %s / The query is empty%s: %s", count[0], korean, count[1], english)


def reject_empty_query(query: str, name: str = "query") -> None:
    """Raises for a query that has no searchable character.

    Args:
        query: The query.
        name: The argument, as its caller wrote it.

    Raises:
        InvalidArgumentError: If it has none.
    """
    if is_empty(query):
        raise InvalidArgumentError(
            f"{name}={query!r:.40}: 질문이 비어 있습니다. 찾을 말을 넣으세요.",
            f"{name}={query!r:.40}: the query is empty; give some words to search for.",
        )
