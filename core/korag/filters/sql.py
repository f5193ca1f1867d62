"""Metadata filters as SQL: an expression over a JSON column, equivalent to `korag.filters.ast.matches`.

Every value and every field name is a bound parameter, in NFC like the metadata that they are compared with. The
expression is 0 or 1 and never NULL, so it can be combined with ``NOT`` and ``OR``. It needs SQLite's JSON1 functions
and a connection prepared by `add_functions`.
"""

import json
import math
import sqlite3
import unicodedata
from dataclasses import dataclass

from korag.filters.ast import (
    MISSING,
    And,
    AnyOf,
    Compare,
    Contains,
    Empty,
    Exists,
    Filter,
    Not,
    Or,
    Scalar,
    fold,
    in_nfc,
    look_up,
)

_SQL_OPS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


@dataclass(frozen=True, slots=True)
class _Sql:
    """An SQL fragment and the parameters of its placeholders, in order."""

    text: str
    params: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class _Place:
    """SQL expressions for a field's JSON type (NULL if it is missing) and its value."""

    type: _Sql
    value: _Sql


_NOTHING = _Sql("")
_ELEMENT = _Place(_Sql("e.type"), _Sql("e.value"))
"""A list element, which `_any_element` binds as ``e``."""


def add_functions(connection: sqlite3.Connection) -> None:
    """Registers ``korag_fold``, ``korag_find`` and ``korag_nfc``.

    SQLite's own ``lower`` covers ASCII or all of Unicode, depending on the build, and escapes in its JSON paths differ
    between versions.
    """
    connection.create_function("korag_fold", 1, fold, deterministic=True)
    connection.create_function("korag_find", 2, _find, deterministic=True)
    connection.create_function("korag_nfc", 1, _in_nfc, deterministic=True)


def _in_nfc(metadata: str) -> str | None:
    """Returns metadata with its keys and strings in NFC; None if they are already."""
    if unicodedata.is_normalized("NFC", metadata):
        return None
    return json.dumps(in_nfc(json.loads(metadata)), ensure_ascii=False)


def _find(metadata: str, keys: str) -> str | None:
    """Returns the value under keys in each other, in a JSON list of one; None if there is none."""
    found = look_up(json.loads(metadata), json.loads(keys))
    return None if found is MISSING else json.dumps([found], ensure_ascii=False)


def to_sql(filter: Filter | None, column: str = "metadata") -> tuple[str, list[object]]:
    r"""Translate a filter to an SQL expression for a ``WHERE``.

    Args:
        filter: From `korag.filters.parse`; ``None`` matches everything.
        column: The column with the metadata: a trusted name such as ``metadata`` or ``d.metadata``, qualified
            where it is also a column of ``json_each``. It is NOT NULL and holds JSON objects as written by
            ``json.dumps(metadata, ensure_ascii=False, allow_nan=False)``; with ``\uXXXX`` in place of Hangul,
            SQLite finds no Korean field.

    Returns:
        The expression, and the parameters to bind to its placeholders.
    """
    if filter is None:
        return "1", []
    sql = _translate(filter, "composed.metadata")
    # LIMIT keeps SQLite from putting the function wherever the column is used: each call costs as much as a condition.
    source = f"SELECT coalesce(korag_nfc({column}), {column}) AS metadata LIMIT 1"
    return f"(SELECT {sql.text} FROM ({source}) AS composed)", list(sql.params)  # noqa: S608 (a trusted name)


def _translate(filter: Filter, column: str) -> _Sql:
    match filter:
        case And(parts):
            return _joined("AND", parts, column)
        case Or(parts):
            return _joined("OR", parts, column)
        case Not(part):
            return _sql("NOT ({})", _translate(part, column))
    literal = _place(column, [filter.field])
    if "." not in filter.field:
        return _test(filter, literal)
    nested = _place(column, filter.field.split("."))
    return _sql(
        "CASE WHEN {} IS NULL THEN {} ELSE {} END",
        literal.type,
        _test(filter, nested),
        _test(filter, literal),
    )


def _test(filter: AnyOf | Compare | Exists | Contains | Empty, place: _Place) -> _Sql:
    """Tests the value itself or, for a list, any of its elements."""
    match filter:
        case Exists():
            return _sql("({} IS NOT NULL)", place.type)
        case Empty():
            empty = _sql("WHEN 'text' THEN {} = '' WHEN 'array' THEN {} = '[]'", place.value, place.value)
            return _sql("CASE coalesce({}, 'null') WHEN 'null' THEN 1 {} ELSE 0 END", place.type, empty)
        case Contains(_, value, ignore_case):
            return _contained(value, place, ignore_case=ignore_case)
    return _on_scalar(filter, place, _any_element(place, _on_scalar(filter, _ELEMENT)))


def _any_element(place: _Place, test: _Sql) -> _Sql:
    return _sql("WHEN 'array' THEN EXISTS (SELECT 1 FROM json_each({}) AS e WHERE {})", place.value, test)


def _contained(value: Scalar, place: _Place, *, ignore_case: bool) -> _Sql:
    """Tests for an element of a list or a substring of a string."""
    if not isinstance(value, str):
        return _sql("CASE {} {} ELSE 0 END", place.type, _any_element(place, _on_scalar(AnyOf("", (value,)), _ELEMENT)))
    fill = "korag_fold({})" if ignore_case else "{}"
    wanted = _operand(fold(value) if ignore_case else value)
    equal = _sql(f"(e.type = 'text' AND {fill} = {{}})", _ELEMENT.value, wanted)
    part = _sql(f"WHEN 'text' THEN instr({fill}, {{}}) > 0", place.value, wanted)
    return _sql("CASE {} {} {} ELSE 0 END", place.type, part, _any_element(place, equal))


def _on_scalar(filter: AnyOf | Compare, place: _Place, other: _Sql = _NOTHING) -> _Sql:
    """One branch per JSON type that the filter can match. Types never compare equal, and ELSE avoids NULL."""
    values = filter.values if isinstance(filter, AnyOf) else (filter.value,)
    texts = [x for x in values if isinstance(x, str)]
    numbers = [x for x in values if isinstance(x, (int, float)) and not isinstance(x, bool)]
    kind = place.type
    branches = []
    if texts:
        branches.append(_sql("WHEN 'text' THEN {}", _comparison(filter, place.value, texts)))
    if numbers:
        test = _comparison(filter, place.value, numbers)
        branches += [_sql("WHEN 'integer' THEN {}", test), _sql("WHEN 'real' THEN {}", test)]
    if None in values:
        kind = _sql("coalesce({}, 'null')", kind)
        branches.append(_Sql("WHEN 'null' THEN 1"))
    if any(x is True for x in values):
        branches.append(_Sql("WHEN 'true' THEN 1"))
    if any(x is False for x in values):
        branches.append(_Sql("WHEN 'false' THEN 1"))
    if other.text:
        branches.append(other)
    return _sql("CASE {} " + "{} " * len(branches) + "ELSE 0 END", kind, *branches) if branches else _Sql("0")


def _comparison(filter: AnyOf | Compare, value: _Sql, operands: list[str] | list[int | float]) -> _Sql:
    if len(operands) > 1:
        # A single JSON parameter, since SQLite limits their number. JSON has no infinity, and none is stored.
        array = json.dumps([x for x in operands if x not in (math.inf, -math.inf)], ensure_ascii=False)
        return _sql("{} IN (SELECT value FROM json_each({}))", value, _bound(array))
    op = "=" if isinstance(filter, AnyOf) else _SQL_OPS[filter.op]
    return _sql(f"{{}} {op} {{}}", value, _operand(operands[0]))


def _operand(value: Scalar) -> _Sql:
    if isinstance(value, float) and math.isfinite(value):
        # parsed by SQLite like the metadata: some builds round the last bit of decimals differently from Python
        return _sql("(SELECT json_extract({}, '$'))", _bound(json.dumps(value)))
    # As a subquery, because SQLite compares every bare parameter with all those before it: quadratic.
    return _sql("(SELECT {})", _bound(value))


def _place(column: str, keys: list[str]) -> _Place:
    if all(key and '"' not in key and "\\" not in key and min(key) >= " " for key in keys):
        path = "$" + "".join(f'."{key}"' for key in keys)
        return _Place(_Sql(f"json_type({column}, ?)", (path,)), _Sql(f"json_extract({column}, ?)", (path,)))
    found = _sql(f"korag_find({column}, {{}})", _bound(json.dumps(keys, ensure_ascii=False)))
    return _Place(_sql("json_type({}, '$[0]')", found), _sql("json_extract({}, '$[0]')", found))


def _joined(op: str, parts: tuple[Filter, ...], column: str) -> _Sql:
    """Joins parts so that neither SQLite's parser stack (100) nor its depth of an expression (1,000) is exceeded.

    What stands to the left of a nested expression stays on the stack while that is parsed: the deepest comes first. The
    others are joined as a balanced tree.
    """
    nested = sorted((part for part in parts if _depth(part)), key=_depth, reverse=True)
    flat = [_translate(part, column) for part in parts if not _depth(part)]
    terms = [_translate(part, column) for part in nested] + ([_balanced(op, flat)] if flat else [])
    return _sql("(" + f" {op} ".join(["{}"] * len(terms)) + ")", *terms)


def _depth(filter: Filter) -> int:
    match filter:
        case And(parts) | Or(parts):
            return 1 + max(map(_depth, parts))
        case Not(part):
            return _depth(part)
    return 0


def _balanced(op: str, parts: list[_Sql]) -> _Sql:
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return _sql(f"({{}} {op} {{}})", _balanced(op, parts[:middle]), _balanced(op, parts[middle:]))


def _bound(value: object) -> _Sql:
    return _Sql("?", (value,))


def _sql(template: str, *parts: _Sql) -> _Sql:
    """Fills the template's braces, keeping parameters in the order of their placeholders."""
    return _Sql(template.format(*(part.text for part in parts)), tuple(x for part in parts for x in part.params))
