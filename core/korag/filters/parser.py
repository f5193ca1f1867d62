"""Parsing a ``where`` dict into a filter tree, with an error for every mistake. `korag.filters` states the rules."""

import difflib
import math
import re
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from korag.errors import FilterError
from korag.filters.ast import MAX_INT, MIN_INT, And, AnyOf, Compare, Contains, Empty, Exists, Filter, Not, Or, Scalar
from korag.text import to_nfc

MAX_DEPTH = 16  # nesting of $and, $or and $not: SQLite's parser stack is 100 deep, and a dict may contain itself
MAX_CONDITIONS = 1_000  # after folding; SQLite may allow no more than 32,766 parameters, and a condition has up to 23
_MAX_READ = 100_000  # before folding: few dicts that contain each other make many conditions
_FIELD_OPS = (
    *("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists"),
    *("$contains", "$icontains", "$empty"),
)
_LOGICAL_OPS = ("$and", "$or", "$not")
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")
_ALIASES = {"==": "$eq", "=": "$eq", "!=": "$ne", ">": "$gt", ">=": "$gte", "<": "$lt", "<=": "$lte"}

_RULES = {  # rule and fix, in Korean and in English
    "filter": (
        '필터는 비어 있지 않은 dict여야 합니다. 예: {"연도": {"$gte": 2020}}',
        'a filter must be a non-empty dict, for example {"year": {"$gte": 2020}}',
    ),
    "depth": (
        f"$and, $or, $not은 {MAX_DEPTH}단계까지만 중첩할 수 있습니다. 안쪽 리스트를 바깥 리스트에 합치세요",
        f"$and, $or and $not may be nested {MAX_DEPTH} levels deep; merge inner lists into outer ones",
    ),
    "filters": (
        '비어 있지 않은 필터 리스트를 주세요. 예: [{"연도": 2024}, {"연도": 2025}]',
        'it takes a non-empty list of filters, for example [{"year": 2024}, {"year": 2025}]',
    ),
    "name": (
        '필드 이름은 문자열이어야 합니다. {"1": …}처럼 따옴표로 감싸세요',
        'a field name must be a string; quote it, as in {"1": …}',
    ),
    "no operator": (
        f"필드의 dict에는 연산자가 있어야 합니다: {', '.join(_FIELD_OPS)}",
        f"a field's dict needs at least one of the operators {', '.join(_FIELD_OPS)}",
    ),
    "values": (
        '값의 리스트를 주세요. 예: {"$in": ["민법", "상법"]}',
        'it takes a list of values, for example {"$in": ["a", "b"]}',
    ),
    "exists": ("True나 False를 주세요", "it takes True or False"),
    "part": (
        "들어 있을 문자열, 수, bool 하나를 주세요. 값이 없는 문서는 $empty나 $eq로 찾으세요",
        "it takes the string, number or bool to be contained; find documents without a value with $empty or $eq",
    ),
    "text part": ("들어 있을 문자열을 주세요", "it takes the string to be contained"),
    "order": (
        "크기 비교는 수와 문자열에만 쓸 수 있습니다. True, False, None에는 $eq나 $ne를 쓰세요",
        "only numbers and strings are ordered; for True, False and None use $eq or $ne",
    ),
    "character": (
        "U+0000과 짝 없는 서로게이트는 메타데이터에 저장할 수 없는 문자입니다. 그 문자를 빼세요",
        "metadata cannot contain U+0000 or lone surrogates, so nothing could match; remove it",
    ),
    "integer": (
        "정수는 64비트까지입니다. 더 큰 수는 메타데이터와 필터에 모두 문자열로 쓰세요",
        "integers are limited to 64 bits; write larger ones as strings, in the metadata and in the filter",
    ),
    "nan": (
        "NaN은 어떤 값과도 같지 않습니다. 값이 없는 문서를 찾으려면 None을 쓰세요",
        "NaN equals nothing; use None to find documents without a value",
    ),
    "list": ("리스트와는 $in이나 $nin으로 비교하세요", "compare with a list using $in or $nin"),
    "scalar": (
        "값은 str, int, float, bool, None 중 하나여야 합니다. "
        "날짜는 ISO 8601 문자열로, numpy 값은 .item()으로 바꾸세요",
        "a value must be a str, int, float, bool or None; write a date as ISO 8601, convert a numpy value with .item()",
    ),
    "logical": (
        f"$로 시작하는 이름은 {', '.join(_LOGICAL_OPS)}뿐입니다. "
        '필드의 연산자는 {"연도": {"$gte": 2020}}처럼 필드 안에 쓰세요',
        f"the only names starting with $ here are {', '.join(_LOGICAL_OPS)}; "
        'the operators of a field go inside it, as in {"year": {"$gte": 2020}}',
    ),
    "operator": (
        f'필드의 연산자는 {", ".join(_FIELD_OPS)}입니다. $not은 {{"$not": {{필드: …}}}}처럼 필드 밖에, '
        '중첩된 필드는 {"a.b": 값}으로 쓰세요',
        f"the operators of a field are {', '.join(_FIELD_OPS)}; "
        '$not goes outside, as in {"$not": {field: …}}, and a nested field is {"a.b": value}',
    ),
}


class _Repr(reprlib.Repr):
    """Shortens values, which may be lists of a million ids."""

    def repr_int(self, x: int, level: int) -> str:
        # Python writes no integer of more than 4,300 digits.
        return super().repr_int(x, level) if x.bit_length() < 1_000 else f"{x.bit_length()}-bit int"


_REPR = _Repr()


def parse(where: Mapping[str, Any] | None, *, written: str = "where=") -> Filter | None:
    """Checks a filter and turns it into a tree.

    Args:
        where: The filter as the user wrote it; ``None`` and ``{}`` mean no filter.
        written: The argument as the user wrote it, such as ``"filter="`` or ``"--where"``, for errors. Whatever takes
            a filter under another name than ``where`` parses it first, under that name.

    Returns:
        The tree, sharing nothing with ``where``; ``None`` for no filter.

    Raises:
        FilterError: If an operator is unknown, or an operand has the wrong type.
    """
    if where is None or (isinstance(where, Mapping) and not where):
        return None
    try:
        tree = _Reader().filter("", where, 0)
        if (count := _conditions(tree)) > MAX_CONDITIONS:
            raise _too_many(count)
    except _Mistake as mistake:
        korean, english = mistake.args
        raise FilterError(f"메타데이터 필터({written}){korean}", f"Metadata filter ({written}){english}") from None
    return tree


class _Mistake(Exception):  # noqa: N818 (it is never seen)
    """A mistake in a filter: what follows the filter's name in a message, in Korean and in English."""


@dataclass
class _Reader:
    """Reads one filter; `read` counts its conditions."""

    read: int = 0

    def filter(self, place: str, where: Any, depth: int) -> Filter:
        if not isinstance(where, Mapping) or not where:
            raise _error(place, where, "filter")
        if depth > MAX_DEPTH:
            raise _error(place, where, "depth")
        parts: list[Filter] = []
        for key, operand in where.items():
            if key in ("$and", "$or"):
                if not isinstance(operand, (list, tuple)) or not operand:
                    raise _error(key, operand, "filters")
                inner = [self.filter(f"{key}[{i}]", item, depth + 1) for i, item in enumerate(operand)]
                parts.append(_join(And if key == "$and" else Or, inner))
            elif key == "$not":
                parts.append(Not(self.filter(key, operand, depth + 1)))
            elif not isinstance(key, str):
                raise _error(place, key, "name")
            elif key.startswith("$"):
                raise _error(place, key, "logical", guess=True)
            else:
                name = str(_scalar(place, key))  # names allow the same characters as values
                tests = _field(name, operand)
                parts += tests
                self.read += len(tests)
                if self.read > _MAX_READ:
                    raise _too_many(self.read)
        return _join(And, parts)


def _join(kind: type[And] | type[Or], parts: list[Filter]) -> Filter:
    flat = [inner for part in parts for inner in (part.filters if isinstance(part, kind) else (part,))]
    folded = tuple(_fold(kind, flat))
    return folded[0] if len(folded) == 1 else kind(folded)


def _fold(kind: type[And] | type[Or], parts: list[Filter]) -> Iterator[Filter]:
    """Joins tests of one field for values: ``a = 1 or a = 2`` is ``a in (1, 2)``, ``a ≠ 1 and a ≠ 2`` its opposite."""
    values: dict[str, list[Scalar]] = {}
    for part in parts:
        if (found := _values(kind, part)) is not None:
            values.setdefault(found.field, []).extend(found.values)
    for part in parts:
        if (found := _values(kind, part)) is None:
            yield part
        elif found.field in values:
            among = AnyOf(found.field, tuple(values.pop(found.field)))
            yield among if kind is Or else Not(among)


def _values(kind: type[And] | type[Or], part: Filter) -> AnyOf | None:
    if kind is And:  # only negated: a list may have both of two values
        return part.filter if isinstance(part, Not) and isinstance(part.filter, AnyOf) else None
    return part if isinstance(part, AnyOf) else None


def _conditions(filter: Filter) -> int:
    match filter:
        case And(parts) | Or(parts):
            return sum(map(_conditions, parts))
        case Not(part):
            return _conditions(part)
    return 1


def _field(field: str, operand: Any) -> list[Filter]:
    if not isinstance(operand, Mapping):
        return [AnyOf(field, (_scalar(field, operand),))]
    if not operand:
        raise _error(field, operand, "no operator")
    return [_operator(field, op, value) for op, value in operand.items()]


def _operator(field: str, op: Any, value: Any) -> Filter:
    if not isinstance(op, str):
        raise _error(field, op, "operator", guess=True)
    place = f"{field} {op}"
    match op:
        case "$eq" | "$ne":
            equal = AnyOf(field, (_scalar(place, value),))
            return equal if op == "$eq" else Not(equal)
        case "$in" | "$nin":
            if not isinstance(value, (list, tuple, set, frozenset)):
                raise _error(place, value, "values")
            among = AnyOf(field, tuple(_scalar(place, x) for x in value))
            return among if op == "$in" else Not(among)
        case "$exists" | "$empty":
            if not isinstance(value, bool):
                raise _error(place, value, "exists")
            test = Exists(field) if op == "$exists" else Empty(field)
            return test if value else Not(test)
        case "$contains" | "$icontains":
            part = _scalar(place, value)
            if part is None:
                raise _error(place, value, "part")
            if op == "$icontains" and not isinstance(part, str):
                raise _error(place, value, "text part")
            return Contains(field, part, ignore_case=op == "$icontains")
        case "$gt" | "$gte" | "$lt" | "$lte":
            bound = _scalar(place, value)
            if bound is None or isinstance(bound, bool):
                raise _error(place, value, "order")
            return Compare(field, op, bound)
    raise _error(field, op, "operator", guess=True)


def _scalar(place: str, value: Any) -> Scalar:
    """Returns a valid operand as a plain built-in (enums and numpy floats are subclasses), a string in NFC."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if _NOT_STORABLE.search(value):
            raise _error(place, value, "character")
        return to_nfc(str.__str__(value))
    if isinstance(value, int):
        if not MIN_INT <= value <= MAX_INT:
            raise _error(place, value, "integer")
        return int(value)
    if isinstance(value, float):
        if math.isnan(value):
            raise _error(place, value, "nan")
        return float(value)
    raise _error(place, value, "list" if isinstance(value, (list, tuple, set, frozenset)) else "scalar")


def _error(place: str, value: Any, rule: str, *, guess: bool = False) -> _Mistake:
    korean, english = _RULES[rule]
    if guess:
        name = str(value) if isinstance(value, str) else ""
        close = difflib.get_close_matches(name[:20].lower(), (*_FIELD_OPS, *_LOGICAL_OPS), n=1)
        if meant := _ALIASES.get(name) or (close[0] if close else None):
            korean, english = f"{meant}을(를) 쓰려던 것인가요? {korean}", f"did you mean {meant}? {english}"
    shown = _REPR.repr(value)
    place = place.encode("utf-8", "backslashreplace").decode()  # a name with a lone surrogate cannot be printed
    if not place:
        return _Mistake(f"의 {shown}: {korean}.", f", {shown}: {english}.")
    found = f"{place}: {shown}"
    return _Mistake(f"의 {found} — {korean}.", f", {found} — {english}.")


def _too_many(count: int) -> _Mistake:
    return _Mistake(
        f"의 조건이 {count:,}개입니다. {MAX_CONDITIONS:,}개까지 쓸 수 있습니다. 한 필드의 여러 값은 $in이나 $nin "
        "하나로 합치세요.",
        f" has {count:,} conditions; {MAX_CONDITIONS:,} are allowed. Test a field for many values with one $in or "
        "$nin.",
    )
