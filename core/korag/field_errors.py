"""KoRAG's errors for those of pydantic models; without pydantic itself, which only the frameworks need."""

from __future__ import annotations

import numbers
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from korag.errors import InvalidArgumentError, KoragError

_EXPECTED = {
    "bool": ("True 또는 False", "True or False"),
    "int": ("정수", "an integer"),
    "float": ("수", "a number"),
    "string": ("문자열", "a string"),
    "dict": ("dict", "a dict"),
    "list": ("리스트", "a list"),
    "path": ("경로", "a path"),
    "none": ("None", "None"),
}
"""Korean and English of a kind of value, by the beginning of pydantic's name for the error."""

_BOUNDS = {
    "ge": ("{} 이상", "at least {}"),
    "gt": ("{}보다 큰 수", "greater than {}"),
    "le": ("{} 이하", "at most {}"),
    "lt": ("{}보다 작은 수", "less than {}"),
}
"""Korean and English of a bound, by its name in pydantic."""


def field_error(owner: type, details: Sequence[Mapping[str, Any]], *, secret: Collection[str] = ()) -> KoragError:
    """Returns the error for a ``ValidationError``: a validator's own, or one with the same facts.

    Args:
        owner: The model that was to be created or changed.
        details: ``ValidationError.errors(include_url=False)``.
        secret: Fields whose values may hold a token, so that only their types are shown.
    """
    for detail in details:
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, KoragError):
            return cause
    first, cls = details[0], owner.__name__
    if not first["loc"]:
        return InvalidArgumentError(f"{cls}을(를) 만들 수 없습니다.", f"{cls} cannot be made: {first['msg']}.")
    field = str(first["loc"][0])
    if first["type"] == "missing":
        return InvalidArgumentError(
            f"{cls}에 {field}이(가) 없습니다. {field}=을 넣으세요.", f"{cls} lacks {field}; pass {field}=."
        )
    if first["type"] == "frozen_field":
        return InvalidArgumentError(
            f"{cls}의 {field}은(는) 만든 뒤에 바꿀 수 없습니다. 새로 만드세요.",
            f"{field} of {cls} is frozen: it cannot be changed; create a new one.",
        )
    choices = dict(filter(None, (_expected(detail) for detail in details if str(detail["loc"][0]) == field)))
    value = first["input"]
    shown = f"{field}=<{type(value).__name__}>" if field in secret else f"{field}={showable(value)!r:.80}"
    korean, english = f"{cls}의 {shown}: 쓸 수 없는 값입니다.", f"{shown} of {cls} is invalid"
    if not choices:
        return InvalidArgumentError(korean, f"{english}.")
    return InvalidArgumentError(
        f"{korean} 쓸 수 있는 것: {', '.join(choices)}.", f"{english}; it must be {' or '.join(choices.values())}."
    )


def _expected(detail: Mapping[str, Any]) -> tuple[str, str] | None:
    """Returns what a field takes; None if only pydantic has words for it, which nobody but its users reads."""
    facts = detail.get("ctx", {})
    if name := facts.get("class") or facts.get("class_name"):
        return name, f"a {name}"
    if bound := next((name for name in _BOUNDS if name in facts), None):
        korean, english = _BOUNDS[bound]
        return korean.format(facts[bound]), english.format(facts[bound])
    return _EXPECTED.get(detail["type"].partition("_")[0])


def showable(value: object) -> object:
    """Returns a simple value as it is, and for any other, which may hold a token, something that shows its type."""
    simple = value is None or isinstance(value, str | bytes | numbers.Number | os.PathLike)
    return value if simple else _Type(type(value))


class _Type:
    """Stands for a value whose type alone is shown; no check takes it for a string."""

    def __init__(self, kind: type) -> None:
        self._kind = kind

    def __repr__(self) -> str:
        return f"<{self._kind.__name__}>"
