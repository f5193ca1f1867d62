"""LangChain's structured queries, which a chat model writes, as metadata filters."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.structured_query import (
    Comparator,
    Comparison,
    Operation,
    Operator,
    StructuredQuery,
    Visitor,
)

from korag.errors import FilterError
from korag.filters import parse
from korag.keywords import checks_keywords
from korag.text import is_empty

Filter = dict[str, Any]


class KoStructuredQueryTranslator(Visitor):
    """Translates LangChain's structured queries for `KoVectorStore`; needs langchain-core alone.

    >>> retriever = SelfQueryRetriever.from_llm(
    ...     llm, store, "법령과 해설", fields, structured_query_translator=KoStructuredQueryTranslator()
    ... )

    LangChain knows the translators of some stores and asks for that of any other: pass this one. All its operators and
    comparators are supported:

    * ``eq ne gt gte lt lte in nin`` are those of `korag.filters`, with its rules for types, lists and missing fields.
    * ``contain`` is ``$contains``: a list has the value, or a string has it as a part.
    * ``like`` finds a part of a string, ignoring case: ``보증금`` or ``%보증금%``. A ``%`` elsewhere is an error.
    * A date (``{"date": "2024-03-05", "type": "date"}``) is compared with metadata in ISO 8601 and means the whole
      day, so that it equals ``"2024-03-05"`` and ``"2024-03-05T09:30:00"``. A date and time is compared as text, and
      so is a date by ``contain`` and ``like``.

    A query of which the model left nothing but a filter is searched for by the filter's own names and values; with
    ``use_original_query=True``, `SelfQueryRetriever` searches for what the user asked.

    Args:
        filter: A filter of your own, which holds for every query. (`SelfQueryRetriever` replaces the one in
            ``search_kwargs`` by the model's.)

    Raises:
        FilterError: If `filter` is not a filter.
    """

    allowed_comparators = tuple(Comparator)
    allowed_operators = tuple(Operator)

    @checks_keywords
    def __init__(self, *, filter: Mapping[str, Any] | None = None) -> None:
        parse(filter, written="filter=")
        self._filter = dict(filter or {})

    def __repr__(self) -> str:
        return f"{type(self).__name__}({f'filter={self._filter!r}' if self._filter else ''})"

    def visit_structured_query(self, structured_query: StructuredQuery) -> tuple[str, dict[str, Any]]:
        """Returns what to search for, and the keywords of the search.

        Raises:
            FilterError: If a value does not fit its comparator.
        """
        query, wanted = structured_query.query, structured_query.filter
        translated: Filter = wanted.accept(self) if wanted is not None else {}
        if is_empty(query) and wanted is not None:
            query = " ".join(_words(wanted))
        parts = [part for part in (self._filter, translated) if part]
        if not parts:
            return query, {}
        filter = parts[0] if len(parts) == 1 else {"$and": parts}
        parse(filter, written="StructuredQuery.filter")  # here, so that the error is not one of the search
        return query, {"filter": filter}

    def visit_operation(self, operation: Operation) -> Filter:
        """Translates "and", "or" and "not".

        Raises:
            FilterError: If "not" has several arguments.
        """
        inner = [argument.accept(self) for argument in operation.arguments]
        if operation.operator is not Operator.NOT:
            return {f"${operation.operator.value}": inner}
        if len(inner) != 1:
            raise FilterError(
                f"not에 조건이 {len(inner)}개 있습니다. 하나만 넣으세요. 여럿은 and나 or로 묶습니다.",
                f"not has {len(inner)} conditions; give it one, and join several by and or or.",
            )
        return {"$not": inner[0]}

    def visit_comparison(self, comparison: Comparison) -> Filter:
        """Translates a comparison.

        Raises:
            FilterError: If its value does not fit the comparator.
        """
        attribute, value = comparison.attribute, comparison.value
        match comparison.comparator:
            case Comparator.NE:
                return {"$not": _equal(attribute, value)}
            case Comparator.EQ:
                return _equal(attribute, value)
            case Comparator.IN | Comparator.NIN:
                values = list(value) if isinstance(value, list | tuple) else [value]
                among = _among(attribute, values)
                return among if comparison.comparator is Comparator.IN else {"$not": among}
            case Comparator.CONTAIN:
                return {attribute: {"$contains": _plain(attribute, value)}}
            case Comparator.LIKE:
                return {attribute: {"$icontains": _part(attribute, value)}}
        return _ORDER[comparison.comparator](attribute, value)


def _equal(attribute: str, value: Any) -> Filter:
    if not _is_date(value):
        return {attribute: {"$eq": _plain(attribute, value)}}
    first, after = _day(attribute, value)
    return {attribute: {"$gte": first, "$lt": after}}


def _among(attribute: str, values: list[Any]) -> Filter:
    if not any(map(_is_date, values)):
        return {attribute: {"$in": [_plain(attribute, value) for value in values]}}
    return {"$or": [_equal(attribute, value) for value in values]}


def _ordered(operator: str, of_dates: str, bound: int) -> Callable[[str, Any], Filter]:
    """Returns the translation of an ordering; with a date, by the first day (0) or the day after it (1)."""

    def translate(attribute: str, value: Any) -> Filter:
        if _is_date(value):
            return {attribute: {of_dates: _day(attribute, value)[bound]}}
        return {attribute: {operator: _plain(attribute, value)}}

    return translate


_ORDER = {
    Comparator.GT: _ordered("$gt", "$gte", 1),
    Comparator.GTE: _ordered("$gte", "$gte", 0),
    Comparator.LT: _ordered("$lt", "$lt", 0),
    Comparator.LTE: _ordered("$lte", "$lt", 1),
}


def _is_date(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") == "date"


def _day(attribute: str, value: Mapping[str, Any]) -> tuple[str, str]:
    """Returns a date and the one after it, as they begin in metadata."""
    try:
        day = datetime.date.fromisoformat(value["date"])
        return day.isoformat(), (day + datetime.timedelta(days=1)).isoformat()
    except (KeyError, TypeError, ValueError, OverflowError):
        raise FilterError(
            f"{attribute}: {value.get('date')!r:.80}은(는) 날짜가 아닙니다. 2024-03-05처럼 연-월-일로 쓰세요.",
            f"{attribute}: {value.get('date')!r:.80} is not a date; write it as year, month, day: 2024-03-05.",
        ) from None


def _plain(attribute: str, value: Any) -> Any:
    """Returns a value; a date, and a date and time, as its text."""
    if _is_date(value):
        return _day(attribute, value)[0]
    if isinstance(value, Mapping) and value.get("type") == "datetime":
        value = value.get("datetime")
    if isinstance(value, Mapping):
        raise FilterError(
            f"{attribute}: {value!r:.80}은(는) 비교할 수 있는 값이 아닙니다. 문자열, 수, bool이나 "
            '{"date": "2024-03-05", "type": "date"}를 쓰세요.',
            f"{attribute}: {value!r:.80} cannot be compared; use a string, a number, a bool or "
            '{"date": "2024-03-05", "type": "date"}.',
        )
    return value


def _part(attribute: str, value: Any) -> Any:
    """Returns the text between the percent signs of a pattern."""
    if not isinstance(value, str):
        return _plain(attribute, value)
    part = value[1:-1] if len(value) > 2 and value[0] == value[-1] == "%" else value
    if "%" in part:
        raise FilterError(
            f"{attribute} like {value!r:.80}: %는 양쪽 끝에 함께만 쓸 수 있습니다. 예: '%보증금%'",
            f"{attribute} like {value!r:.80}: % may stand at both ends only, as in '%보증금%'.",
        )
    return part


def _words(wanted: Any) -> list[str]:
    """Returns the names and values in a filter, without repetition."""
    if isinstance(wanted, Operation):
        return list(dict.fromkeys(word for argument in wanted.arguments for word in _words(argument)))
    values = wanted.value if isinstance(wanted.value, list | tuple) else [wanted.value]
    return [wanted.attribute, *map(_word, values)]


def _word(value: Any) -> str:
    return str(value.get("date") or value.get("datetime")) if isinstance(value, Mapping) else str(value)
