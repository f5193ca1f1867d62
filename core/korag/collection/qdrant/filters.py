"""Metadata filters as conditions of Qdrant.

No condition of the engine means just what one of ours does. So each of ours becomes two: one that lets through at least
the documents that match, and one that lets through none but these. Where they differ, results of the first are checked
with `korag.filters.matches`, and more are fetched until there are enough.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qdrant_client import models as m

from korag.collection.qdrant.layout import DOTTED, EMPTIES, METADATA
from korag.filters import And, AnyOf, Compare, Contains, Empty, Exists, Filter, Not, Or, matches, parse

Condition = Any
"""A condition of Qdrant."""
ALL = m.Filter()
NOTHING = m.Filter(must=[m.HasIdCondition(has_id=[])])
_GREATEST = 1.7976931348623157e308
_ULPS = 4
"""Numbers that a float may have become on its way through the server's JSON, on either side."""


@dataclass(frozen=True)
class Bounds:
    """A filter between two conditions.

    Attributes:
        over: Lets through every document that matches.
        under: Lets through only documents that match.
    """

    over: Condition
    under: Condition

    @property
    def is_exact(self) -> bool:
        """True if both are the same."""
        return self.over is self.under


@dataclass(frozen=True)
class Paths:
    """Where the server finds metadata in a payload.

    Attributes:
        root: The field with the metadata; empty for the payload itself.
        has_helpers: `EMPTIES` and `DOTTED` are there.
    """

    root: str = METADATA
    has_helpers: bool = True

    def of(self, *names: str) -> str:
        """Returns the server's path of a name in a name."""
        quoted = [f'"{name}"' for name in names]
        return ".".join([self.root, *quoted] if self.root else quoted)


OWN = Paths()


class Where:
    """A parsed ``where``.

    Args:
        where: Metadata filter.
        paths: Where metadata is.

    Raises:
        FilterError: If it is none.
    """

    def __init__(self, where: Mapping[str, Any] | None, paths: Paths = OWN) -> None:
        self._tree = parse(where)
        bounds = _exactly(ALL) if self._tree is None else bounds_of(self._tree, paths)
        self.over = as_filter(bounds.over)
        self.under = as_filter(bounds.under)
        self.is_exact = bounds.is_exact
        self.matches_nothing = bounds.over is NOTHING

    @property
    def between(self) -> m.Filter:
        """Documents that have to be looked at: those of `over` that are not of `under`."""
        return m.Filter(must=[self.over or ALL], must_not=[self.under or ALL])

    def passes(self, stored_metadata: str) -> bool:
        """Returns True for the metadata of a document that matches; needs not be asked if `is_exact`."""
        return self._tree is None or self.passes_all(json.loads(stored_metadata))

    def passes_all(self, metadata: Mapping[str, Any]) -> bool:
        """As `passes`, of metadata itself."""
        return matches(self._tree, metadata)


def as_filter(condition: Condition) -> m.Filter | None:
    """Returns a condition as a filter; None for one that lets everything through."""
    if condition is ALL:
        return None
    return condition if isinstance(condition, m.Filter) else m.Filter(must=[condition])


def bounds_of(tree: Filter, paths: Paths = OWN) -> Bounds:
    """Returns the conditions of a filter."""
    match tree:
        case And(parts) | Or(parts):
            join = _and if isinstance(tree, And) else _or
            inner = [bounds_of(part, paths) for part in parts]
            if all(part.is_exact for part in inner):
                return _exactly(join([part.over for part in inner]))
            return Bounds(join([part.over for part in inner]), join([part.under for part in inner]))
        case Not(part):
            own = bounds_of(part, paths)
            return _exactly(_not(own.over)) if own.is_exact else Bounds(_not(own.under), _not(own.over))
        case _:
            return _field(tree, paths)


def field_path(field: str) -> str:
    """Returns the server's path of a metadata field; a dot descends."""
    return OWN.of(*field.split("."))


def _field(tree: Any, paths: Paths) -> Bounds:
    field: str = tree.field
    if '"' in field or "\\" in field:
        return Bounds(ALL, NOTHING)  # the server's paths cannot name it
    if not paths.has_helpers and (not field or not unicodedata.is_normalized("NFD", field)):
        return Bounds(ALL, NOTHING)  # the document may have the name in another form
    literal = _leaf(tree, paths.of(field), paths)
    if "." not in field:
        return literal
    nested = _leaf(tree, paths.of(*field.split(".")), paths)
    if not paths.has_helpers:
        return Bounds(_or([literal.over, nested.over]), NOTHING)
    is_literal = m.FieldCondition(key=DOTTED, match=m.MatchValue(value=field))

    def either(one: Condition, other: Condition) -> Condition:
        return _or([_and([is_literal, one]), _and([_not(is_literal), other])])

    if literal.is_exact and nested.is_exact:
        return _exactly(either(literal.over, nested.over))
    return Bounds(either(literal.over, nested.over), either(literal.under, nested.under))


def _leaf(tree: Any, key: str, paths: Paths) -> Bounds:
    missing = m.IsEmptyCondition(is_empty=m.PayloadField(key=key))  # missing, null or []
    null = m.IsNullCondition(is_null=m.PayloadField(key=key))
    if not paths.has_helpers:
        return _foreign_leaf(tree, key, missing)
    emptied = m.FieldCondition(key=EMPTIES, match=m.MatchValue(value=tree.field))
    match tree:
        case Exists():
            return _exactly(_or([_not(missing), null, emptied]))
        case Empty():
            blank = m.FieldCondition(key=key, match=m.MatchValue(value=""))  # also of a list with one
            return Bounds(_or([missing, blank]), _and([missing, _not(null)]))
        case AnyOf(_, values):
            return _any_of(key, values, _or([null, _and([missing, _not(emptied)])]))
        case Compare(_, op, value):
            return Bounds(_not(missing), NOTHING) if isinstance(value, str) else _compare(key, op, value)
        case Contains(field, value, ignore_case):
            if not isinstance(value, str):
                return Bounds(_leaf(AnyOf(field, (value,)), key, paths).over, NOTHING)
            equal = m.FieldCondition(key=key, match=m.MatchValue(value=value))
            return Bounds(_not(missing), NOTHING if ignore_case else equal)
    raise TypeError(tree)


def _foreign_leaf(tree: Any, key: str, missing: Condition) -> Bounds:
    """Conditions on metadata that another program has stored: as it came, in whatever Unicode form."""
    match tree:
        case Exists():
            return Bounds(ALL, _not(missing))
        case AnyOf(_, values) if values and not any(value is None or isinstance(value, str) for value in values):
            return Bounds(_any_of(key, values, NOTHING).over, NOTHING)
        case AnyOf(_, values) if all(isinstance(value, str) and value.isascii() for value in values):
            return _any_of(key, values, NOTHING)
        case Compare(_, op, value) if not isinstance(value, str):
            return Bounds(_compare(key, op, value).over, NOTHING)
    return Bounds(ALL, NOTHING)


def _any_of(key: str, values: Sequence[Any], is_none: Condition) -> Bounds:
    strings = [value for value in values if isinstance(value, str)]
    over: list[Condition] = []
    if strings:
        equal = m.MatchAny(any=strings) if len(strings) > 1 else m.MatchValue(value=strings[0])
        over.append(m.FieldCondition(key=key, match=equal))
    if any(value is None for value in values):
        over.append(is_none)
    over += [m.FieldCondition(key=key, match=m.MatchValue(value=value)) for value in values if isinstance(value, bool)]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    numbers = [value for value in numbers if not math.isinf(value)]
    if not numbers:
        return _exactly(_or(over))
    under = list(over)
    for number in numbers:
        around = m.Range(gte=_beside(number, -math.inf), lte=_beside(number, math.inf))
        over.append(m.FieldCondition(key=key, range=around))
        if number == int(number) and -(2**63) <= int(number) < 2**63:
            under.append(m.FieldCondition(key=key, match=m.MatchValue(value=int(number))))  # misses 3.0 for 3
    return Bounds(_or(over), _or(under))


def _compare(key: str, op: str, value: float) -> Bounds:
    name, upwards = op[1:], op[1] == "g"
    if math.isinf(value):
        if upwards == (value > 0):
            return _exactly(NOTHING)
        every = m.Range(gte=-_GREATEST) if upwards else m.Range(lte=_GREATEST)
        return _exactly(m.FieldCondition(key=key, range=every))
    outwards = -math.inf if upwards else math.inf
    wide = m.Range(**{name[:1] + "te": _beside(value, outwards)})
    narrow = m.Range(**{name[:2]: _beside(value, -outwards)})
    return Bounds(m.FieldCondition(key=key, range=wide), m.FieldCondition(key=key, range=narrow))


def _beside(number: float, towards: float) -> float:
    """A number that is a little less or more, but finite."""
    found = float(number)
    for _ in range(_ULPS):
        found = math.nextafter(found, towards)
    return max(-_GREATEST, min(_GREATEST, found))


def _exactly(condition: Condition) -> Bounds:
    return Bounds(condition, condition)


def _not(condition: Condition) -> Condition:
    return NOTHING if condition is ALL else ALL if condition is NOTHING else m.Filter(must_not=[condition])


def _and(parts: Sequence[Condition]) -> Condition:
    kept = [part for part in parts if part is not ALL]
    if any(part is NOTHING for part in kept):
        return NOTHING
    return ALL if not kept else kept[0] if len(kept) == 1 else m.Filter(must=kept)


def _or(parts: Sequence[Condition]) -> Condition:
    kept = [part for part in parts if part is not NOTHING]
    if any(part is ALL for part in kept):
        return ALL
    return NOTHING if not kept else kept[0] if len(kept) == 1 else m.Filter(should=kept)
