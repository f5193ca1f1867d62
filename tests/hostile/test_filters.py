"""Filters of any shape give what a plain reading of their rules gives, or a FilterError."""

from __future__ import annotations

import math
import random
import unicodedata
from collections.abc import Mapping
from typing import Any

import pytest

from korag import Collection
from korag.errors import FilterError
from tests.hostile.conftest import Hostile

NFD = unicodedata.normalize("NFD", "분류")
NAMES = ["분류", NFD, "연도", "a", "b", "a.b", "b.a.c", "기관.이름", "", ".", "..", 'q"', 'q".a', "\\", "\\u0061"]
NAMES += [
    "[0]",
    "줄\n바꿈",
    "$",
    "$and",
    "a" * 300,
    ".".join('"' * 70),
    "\U0001f469‍\U0001f52c",
    "'; --",
    "?",
    "{0}",
    "\x7f",
]
TEXTS = ["", "a", "A", "ß", "SS", "İ", "각", unicodedata.normalize("NFD", "각"), "가나다", "힣", "\ue000", "\U0001f600"]
TEXTS += ["1", "true", "null", '["a"]', "{}", '"', "\\", "%", "$.a", "2024", " ", "\ufeff", "\x01", "n" * 200]
NUMBERS = [0, 1, -1, 2, 2024, 0.0, -0.0, 1.0, 0.1, 0.5, -1.5, 1e16, 10**16, 2**53, 2**53 + 1, 2.0**53, 2**63 - 1]
NUMBERS += [-(2**63), 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e-7]
BAD = [math.nan, 2**63, -(2**63) - 1, 10**5000, "\0", "a\0b", "\ud800", b"a", [], {}, [1], {"a": 1}, object, {1}]
OPERATORS = ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$contains", "$icontains", "$empty"]


class InvalidError(Exception):
    """The rules of `korag.filters` do not allow the filter."""


# -- the rules, read plainly ------------------------------------------------------------------------------------


def holds(where: Any, fields: Mapping[str, Any], depth: int = 0) -> bool:
    if not isinstance(where, dict) or not where or depth > 16:
        raise InvalidError
    results = []
    for key, operand in where.items():
        if key in ("$and", "$or"):
            if not isinstance(operand, list | tuple) or not operand:
                raise InvalidError
            inner = [holds(part, fields, depth + 1) for part in operand]
            results.append(all(inner) if key == "$and" else any(inner))
        elif key == "$not":
            results.append(not holds(operand, fields, depth + 1))
        elif not isinstance(key, str) or key.startswith("$"):
            raise InvalidError
        else:
            scalar(key)
            conditions = operand if isinstance(operand, dict) else {"$eq": operand}
            if not conditions:
                raise InvalidError
            found = value_of(composed(fields), composed(key))
            results += [condition(op, value, found) for op, value in conditions.items()]
    return all(results)


def condition(op: Any, value: Any, found: tuple[bool, Any]) -> bool:
    exists, there = found
    several = isinstance(there, list)
    values = there if several else [there]
    if op in ("$eq", "$ne", "$in", "$nin"):
        if op in ("$in", "$nin") and not isinstance(value, list | tuple | set | frozenset):
            raise InvalidError
        wanted = [scalar(one) for one in (value if op in ("$in", "$nin") else [value])]
        return any(same(one, other) for one in wanted for other in values) is (op in ("$eq", "$in"))
    if op in ("$gt", "$gte", "$lt", "$lte"):
        bound = scalar(value)
        if bound is None or isinstance(bound, bool):
            raise InvalidError
        return any(kind(one) == kind(bound) and ordered(op, number(one), bound) for one in values)
    if op == "$exists" and isinstance(value, bool):
        return exists is value
    if op == "$empty" and isinstance(value, bool):
        return (there is None or (isinstance(there, str | list) and not there)) is value
    if op in ("$contains", "$icontains"):
        part = scalar(value)
        if part is None or (op == "$icontains" and not isinstance(part, str)):
            raise InvalidError
        fold = str.casefold if op == "$icontains" else str
        if isinstance(there, str):
            return isinstance(part, str) and fold(part) in fold(there)
        folded = [fold(one) if isinstance(one, str) else one for one in values]
        return several and any(same(fold(part) if isinstance(part, str) else part, one) for one in folded)
    raise InvalidError


def scalar(value: Any) -> Any:
    if value is not None and not isinstance(value, bool | int | float | str):
        raise InvalidError
    if isinstance(value, str) and any(x == "\0" or "\ud800" <= x <= "\udfff" for x in value):
        raise InvalidError
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidError
    if isinstance(value, float) and math.isnan(value):
        raise InvalidError
    return composed(value)


def composed(value: Any) -> Any:
    """In NFC; the first of names that are then equal."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        return {composed(key): composed(inner) for key, inner in reversed(value.items())}
    return [composed(inner) for inner in value] if isinstance(value, list) else value


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else type(value).__name__


def number(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not -(2**63) <= value < 2**63 else value


def same(one: Any, other: Any) -> bool:
    return kind(one) == kind(other) not in ("dict", "list") and number(one) == number(other)


def ordered(op: str, one: Any, bound: Any) -> bool:
    return {"$gt": one > bound, "$gte": one >= bound, "$lt": one < bound, "$lte": one <= bound}[op]


def value_of(fields: Any, name: str) -> tuple[bool, Any]:
    if name in fields:
        return True, fields[name]
    for key in name.split("."):
        if not isinstance(fields, dict) or key not in fields:
            return False, None
        fields = fields[key]
    return True, fields


# -- chance -----------------------------------------------------------------------------------------------------


def some_scalar(rng: random.Random) -> Any:
    return rng.choice([None, True, False, *rng.sample(TEXTS, 4), *rng.sample(NUMBERS, 5)])


def some_value(rng: random.Random, depth: int = 0) -> Any:
    draw = rng.random()
    if depth < 4 and draw < 0.2:
        return [some_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if depth < 4 and draw < 0.4:
        return some_fields(rng, depth + 1)
    return rng.choice([2**63, 2**80, 10**300, -(2**64)]) if draw > 0.97 else some_scalar(rng)


def some_fields(rng: random.Random, depth: int = 0) -> dict[str, Any]:
    names = [*NAMES, "c", "이름", "기관", '"']
    fields = {rng.choice(names): some_value(rng, depth) for _ in range(rng.randrange(6))}
    if not depth and rng.random() < 0.2:  # a long way down
        inner: Any = some_scalar(rng)
        for _ in range(70):
            inner = {'"': inner}
        fields |= inner
    return fields


def some_operand(rng: random.Random) -> Any:
    return rng.choice(BAD) if rng.random() < 0.01 else rng.choice([some_scalar(rng), math.inf, -math.inf])


def some_condition(rng: random.Random) -> Any:
    if rng.random() < 0.2:
        return some_operand(rng)
    conditions = {}
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        op = rng.choice(OPERATORS) if rng.random() < 0.99 else rng.choice(["$like", "eq", "", "$EQ", 3, None])
        match op:
            case "$in" | "$nin":
                several = [some_operand(rng) for _ in range(rng.choice([0, 1, 2, 5, 40]))]
                conditions[op] = tuple(several) if rng.random() < 0.5 else several
            case "$exists" | "$empty":
                conditions[op] = rng.random() < 0.5 if rng.random() < 0.98 else some_operand(rng)
            case "$gt" | "$gte" | "$lt" | "$lte":
                conditions[op] = rng.choice([*NUMBERS, *TEXTS]) if rng.random() < 0.97 else some_operand(rng)
            case "$contains" | "$icontains":
                conditions[op] = rng.choice(TEXTS) if rng.random() < 0.9 else some_operand(rng)
            case _:
                conditions[op] = some_operand(rng)
    return conditions


def some_filter(rng: random.Random, depth: int = 0) -> Any:
    draw = rng.random()
    if depth and draw > 0.998:
        return rng.choice([{}, [], None, 3, "a"])
    if depth > 5 or draw < 0.45:
        name = rng.choice([*NAMES, 3]) if rng.random() < 0.01 else rng.choice(NAMES)
        return {name if name not in ("$", "$and") or rng.random() < 0.02 else "a": some_condition(rng)}
    if draw < 0.6:
        where: Any = {"$not": some_filter(rng, depth + 1)}
    elif draw < 0.65:  # alternatives for one field
        field = rng.choice(NAMES[:12])
        where = {rng.choice(["$or", "$and"]): [{field: some_condition(rng)} for _ in range(rng.choice([2, 10, 60]))]}
    elif draw < 0.68:  # deep
        where = some_filter(rng, 5)
        for _ in range(rng.randrange(1, 18)):
            where = {"$and": [some_filter(rng, 6), where]} if rng.random() < 0.5 else {"$or": [where, {"a": 1}]}
    else:
        where = {rng.choice(["$and", "$or"]): [some_filter(rng, depth + 1) for _ in range(rng.choice([1, 2, 3, 4]))]}
    return where | ({rng.choice(NAMES[:12]): some_condition(rng)} if rng.random() < 0.2 else {})


def some_collection(rng: random.Random) -> tuple[Collection, dict[str, dict[str, Any]]]:
    fields = {f"문서-{number}": some_fields(rng) for number in range(40)}
    collection = Collection.in_memory(bm25=True)
    collection.add([f"지어낸 글 {number}" for number in range(40)], ids=list(fields), metadata=list(fields.values()))
    return collection, fields


def expected(where: Any, fields: dict[str, dict[str, Any]]) -> list[str] | None:
    try:
        return [id_ for id_, own in fields.items() if holds(where, own)]
    except InvalidError:
        return None


def test_filters_mean_what_they_say(hostile: Hostile) -> None:
    collection, fields = some_collection(random.Random(-1))
    for seed in hostile.tries("filters", short=400, long=45_000):
        rng = random.Random(seed)
        if seed % 500 == 499:
            collection.close()
            collection, fields = some_collection(rng)
        where = some_filter(rng)
        wanted = expected(where, fields)
        try:
            found = [document.id for document in collection.get(where=where)]
        except FilterError as error:
            if wanted is not None:
                hostile.failed(seed, f"{where!a:.300} is valid: {error.args[-1]}")
        except Exception as error:
            hostile.failed(seed, f"{where!a:.300} raised {type(error).__name__}: {error}")
        else:
            if found != wanted:
                hostile.failed(seed, f"{where!a:.300} found {found}, not {wanted}")
    collection.close()


def test_llamaindex_filters_mean_what_they_are_translated_to(hostile: Hostile) -> None:
    models = pytest.importorskip("llama_index.core.vector_stores")
    from pydantic import ValidationError

    from llamaindex_korag.filters import to_where

    def group(rng: random.Random, depth: int) -> Any:
        parts = [
            group(rng, depth + 1) if depth < 4 and rng.random() < 0.3 else one(rng)
            for _ in range(rng.choice([0, 1, 2, 3, 20]) if depth < 2 else 2)
        ]
        return models.MetadataFilters(filters=parts, condition=rng.choice(list(models.FilterCondition)))

    def one(rng: random.Random) -> Any:
        operator = rng.choice(list(models.FilterOperator))
        several = [some_operand(rng) for _ in range(3)]
        value = several if operator.value in ("in", "nin", "any", "all") else several[0]
        return models.MetadataFilter(key=rng.choice([*NAMES, "doc_id"]), value=value, operator=operator)

    collection, fields = some_collection(random.Random(-2))
    for seed in hostile.tries("filters, LlamaIndex", short=150, long=5_000):
        try:
            filters = group(random.Random(seed), 0)
        except ValidationError:  # not even LlamaIndex takes it
            continue
        try:
            where = to_where(filters)
            found = [document.id for document in collection.get(where=where)]
        except FilterError:
            continue
        except Exception as error:
            hostile.failed(seed, f"{type(error).__name__}: {error}")
            continue
        if found != expected(where or {"없음": None}, fields):
            hostile.failed(seed, f"{where!a:.300}")
    collection.close()
