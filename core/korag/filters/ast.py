"""The syntax tree of metadata filters, and `matches`, the reference that every backend must reproduce."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from korag.text import to_nfc

Scalar: TypeAlias = str | int | float | bool | None
Ordering: TypeAlias = Literal["$gt", "$gte", "$lt", "$lte"]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The field equals one of the values (``$eq``, ``$in``); with no values it matches nothing."""

    field: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Compare:
    """The field has the value's type and compares with it as given."""

    field: str
    op: Ordering
    value: str | int | float


@dataclass(frozen=True, slots=True)
class Exists:
    """The field exists, with any value including null."""

    field: str


@dataclass(frozen=True, slots=True)
class Contains:
    """The field is a list with this element, or a string that contains this string."""

    field: str
    value: str | int | float | bool
    ignore_case: bool = False


@dataclass(frozen=True, slots=True)
class Empty:
    """The field is missing, null, ``""`` or ``[]``."""

    field: str


@dataclass(frozen=True, slots=True)
class And:
    """Every filter matches; there are two or more."""

    filters: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one filter matches; there are two or more."""

    filters: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The filter does not match."""

    filter: "Filter"


Filter: TypeAlias = AnyOf | Compare | Exists | Contains | Empty | And | Or | Not

MIN_INT, MAX_INT = -(2**63), 2**63 - 1  # the integers of SQLite and Qdrant

MISSING = object()
"""The result of `look_up` where there is no value."""
_ORDER: dict[Ordering, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def matches(filter: Filter | None, metadata: Mapping[str, Any]) -> bool:
    """Returns True if a document's metadata matches the filter.

    Args:
        filter: From `korag.filters.parse`; ``None`` matches everything.
        metadata: The document's metadata, as JSON values.
    """
    return filter is None or _matches(filter, in_nfc(metadata))


def in_nfc(value: Any) -> Any:
    """Returns a JSON value with its strings and keys in NFC; of keys that are then equal, the first counts."""
    if isinstance(value, str):
        return to_nfc(value)
    if isinstance(value, Mapping):
        composed: dict[str, Any] = {}
        for key, inner in value.items():
            composed.setdefault(to_nfc(key), in_nfc(inner))
        return composed
    return [in_nfc(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _matches(filter: Filter, metadata: Mapping[str, Any]) -> bool:
    match filter:
        case And(parts):
            return all(_matches(part, metadata) for part in parts)
        case Or(parts):
            return any(_matches(part, metadata) for part in parts)
        case Not(part):
            return not _matches(part, metadata)
        case Exists(field):
            return _value(metadata, field) is not MISSING
        case Empty(field):
            there = _value(metadata, field)
            return there in (None, MISSING, "") or (isinstance(there, (list, tuple)) and not there)
        case Contains():
            return _contains(_value(metadata, filter.field), filter)
    found = _value(metadata, filter.field)
    values = [_with_kind(x) for x in (found if isinstance(found, (list, tuple)) else [found])]
    if isinstance(filter, AnyOf):
        return any(_with_kind(wanted) in values for wanted in filter.values)
    kind, bound = _with_kind(filter.value)
    return any(k == kind and _ORDER[filter.op](x, bound) for k, x in values)


def fold(text: str) -> str:
    """Applies Unicode's full case folding, for case-insensitive comparison."""
    return text.casefold()


def _contains(found: Any, filter: Contains) -> bool:
    prepare = fold if filter.ignore_case else str
    kind, wanted = _with_kind(filter.value)
    if kind == "text":
        wanted = prepare(wanted)
    if isinstance(found, str):
        return kind == "text" and wanted in prepare(found)
    if not isinstance(found, (list, tuple)):
        return False
    elements = [(k, prepare(x) if k == "text" else x) for k, x in map(_with_kind, found)]
    return (kind, wanted) in elements


def look_up(metadata: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Returns the value under keys in each other, or `MISSING`."""
    found: Any = metadata
    for key in keys:
        if not isinstance(found, Mapping) or key not in found:
            return MISSING
        found = found[key]
    return found


def _value(metadata: Mapping[str, Any], field: str) -> Any:
    return metadata[field] if field in metadata else look_up(metadata, field.split("."))


def _with_kind(value: Any) -> tuple[str, Any]:
    """Returns (type, value), so that pairs are equal only within the same type."""
    if value is None or value is MISSING:
        return "null", None
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, str):
        return "text", value
    if isinstance(value, int) and not MIN_INT <= value <= MAX_INT:
        return "number", _as_float(value)
    if isinstance(value, (int, float)):
        return "number", value
    return "other", None  # a dict, or a list in a list: no operand has this type


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
