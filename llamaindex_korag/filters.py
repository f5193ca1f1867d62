"""Translation of LlamaIndex's metadata filters to a collection's ``where``, applied before the best are taken.

Their meaning is that of LlamaIndex's simple vector store. Where that fails or is undefined:

* Values compare within their kind: a number is never equal to, less or greater than a string. LlamaIndex's filters
  cannot contain True and False, so 1 and 0 match them too.
* A list in the metadata matches ``==``, ``in``, ``<`` and the other comparisons if any of its elements does.
  ``contains`` and ``text_match`` are Python's ``in``: an element of a list, or a part of a string.
* ``!=`` and ``nin`` are plain negations, and so match nodes without the key.
* ``doc_id``, ``document_id`` and ``ref_doc_id`` stand for the id of the document a node comes from, unless the
  node's own metadata has such a key.
* Filters can be nested, and ``not`` matches if none of its filters does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.vector_stores import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters

from korag.errors import FilterError
from korag.filters import parse
from llamaindex_korag.nodes import DOCUMENT_ID, NODE_ID

Where = dict[str, Any]
_DOCUMENT_KEYS = ("doc_id", "document_id", "ref_doc_id")
_NOTHING: Where = {NODE_ID: {"$in": []}}

_ORDER = {FilterOperator.GT: "$gt", FilterOperator.GTE: "$gte", FilterOperator.LT: "$lt", FilterOperator.LTE: "$lte"}
_PARTS = {
    FilterOperator.CONTAINS: "$contains",
    FilterOperator.TEXT_MATCH: "$contains",
    FilterOperator.TEXT_MATCH_INSENSITIVE: "$icontains",
}
_LISTS = (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL)
_STRINGS = (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE)


def to_where(
    filters: MetadataFilters | None,
    *,
    node_ids: Sequence[str] | None = None,
    doc_ids: Sequence[str] | None = None,
) -> Where | None:
    """Translates filters.

    Args:
        filters: Conditions on metadata; None for none.
        node_ids: Only nodes with one of these ids.
        doc_ids: Only nodes of documents with one of these ids.

    Returns:
        The filter of `korag.filters`; None where everything matches.

    Raises:
        FilterError: If a value does not fit its operator.
    """
    if filters is not None and not isinstance(filters, MetadataFilters):
        raise FilterError(
            f"filters={filters!r:.80}은(는) {type(filters).__name__}입니다. MetadataFilters를 넣으세요. 예: "
            "MetadataFilters(filters=[MetadataFilter(key='연도', value=2024)])",
            f"filters={filters!r:.80} is a {type(filters).__name__}; pass MetadataFilters, for example "
            "MetadataFilters(filters=[MetadataFilter(key='year', value=2024)]).",
        )
    parts = {
        "filters=": None if filters is None else _group(filters),
        "node_ids=": None if node_ids is None else {NODE_ID: {"$in": list(node_ids)}},
        "doc_ids=": None if doc_ids is None else {DOCUMENT_ID: {"$in": list(doc_ids)}},
    }
    for written, part in parts.items():
        parse(part, written=written)  # checks what only the core knows: characters, sizes, depth
    where = _all_of([part for part in parts.values() if part is not None])
    parse(where, written="filters=")  # joined, they are nested more deeply
    return where


def _group(filters: MetadataFilters) -> Where | None:
    parts = [_group(part) if isinstance(part, MetadataFilters) else _condition(part) for part in filters.filters]
    match filters.condition:
        case FilterCondition.OR:
            return _any_of(parts) if parts else None
        case FilterCondition.NOT:
            return _negated(_any_of(parts)) if parts else None
    return _all_of(parts)


def _all_of(parts: list[Where | None]) -> Where | None:
    filled = [part for part in parts if part is not None]
    return {"$and": filled} if len(filled) > 1 else next(iter(filled), None)


def _any_of(parts: list[Where | None]) -> Where | None:
    filled = [part for part in parts if part is not None]
    if len(filled) < len(parts):  # one of them matches everything
        return None
    return {"$or": filled} if len(filled) > 1 else filled[0]


def _negated(where: Where | None) -> Where:
    return _NOTHING if where is None else {"$not": where}


def _condition(filter: MetadataFilter) -> Where:
    _check_value(filter)
    if filter.key not in _DOCUMENT_KEYS:
        return _on(filter.key, filter)
    own = {"$and": [{filter.key: {"$exists": True}}, _on(filter.key, filter)]}
    return {"$or": [own, {"$and": [{filter.key: {"$exists": False}}, _on(DOCUMENT_ID, filter)]}]}


def _on(field: str, filter: MetadataFilter) -> Where:
    value: Any = filter.value
    match filter.operator:
        case FilterOperator.EQ:
            return {field: {"$in": _equals(value)}}
        case FilterOperator.NE:
            return {field: {"$nin": _equals(value)}}
        case FilterOperator.IN | FilterOperator.ANY:
            return {field: {"$in": [x for one in value for x in _equals(one)]}}
        case FilterOperator.NIN:
            return {field: {"$nin": [x for one in value for x in _equals(one)]}}
        case FilterOperator.ALL:
            # Every value occurs in the list. With no values that is true of any field that exists.
            return _all_of([{field: {"$in": _equals(one)}} for one in value]) or {"$not": {field: None}}
        case FilterOperator.IS_EMPTY:
            return {field: {"$empty": True}}
        case FilterOperator.CONTAINS | FilterOperator.TEXT_MATCH | FilterOperator.TEXT_MATCH_INSENSITIVE:
            op = _PARTS[filter.operator]
            return _any_of([{field: {op: one}} for one in _equals(value)]) or _NOTHING
    return {field: {_ORDER[filter.operator]: value}}


def _equals(value: Any) -> list[Any]:
    """Returns the value, and the bool it also stands for: a filter's value is never a bool."""
    return [value, bool(value)] if isinstance(value, int | float) and value in (0, 1) else [value]


def _check_value(filter: MetadataFilter) -> None:
    operator, value = filter.operator, filter.value
    if operator is FilterOperator.IS_EMPTY:
        return
    if operator in _LISTS:
        fits, korean, english = isinstance(value, list), "값의 리스트", "a list of values"
    elif operator in _STRINGS:
        fits, korean, english = isinstance(value, str), "문자열", "a string"
    elif operator in (FilterOperator.EQ, FilterOperator.NE):
        fits = not isinstance(value, list)
        korean, english = "값 하나(리스트에는 in, any, all을 쓰세요)", "a single value; for lists use in, any or all"
    else:
        fits = value is not None and not isinstance(value, list)
        korean, english = "수나 문자열 하나", "one number or string"
    if not fits:
        raise FilterError(
            f"filters의 '{filter.key}' {operator.value}: {value!r:.80} — 넣을 것은 {korean}입니다.",
            f"filters, '{filter.key}' {operator.value}: {value!r:.80} — it takes {english}.",
        )
