"""Argument checks, made before any work is done."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from korag.errors import InvalidArgumentError
from korag.text import check_texts

_MAX_DEPTH = 100
"""Levels of metadata in metadata: SQLite's JSON functions stop at 1,000, and a list may contain itself."""


def check_ids(ids: Iterable[str]) -> list[str]:
    """Returns ids as a list of non-empty strings without NUL.

    Raises:
        InvalidTextError: If one is not a string.
        InvalidArgumentError: If one is empty or holds NUL, which SQLite ends a string at.
    """
    checked = check_texts(ids, "ids")
    for index, id_ in enumerate(checked):
        if not id_ or "\0" in id_:
            raise InvalidArgumentError(
                f"ids[{index}]={id_!r}은(는) 쓸 수 없습니다. 비어 있지 않고 NUL 문자가 없는 문자열이어야 합니다.",
                f"ids[{index}]={id_!r} is not possible; an id is a non-empty string without NUL.",
            )
    return checked


def check_count(name: str, value: object) -> int:
    """Returns a number of results: an integer of at least 0.

    Raises:
        InvalidArgumentError: If it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidArgumentError(
            f"{name}={value!r}은(는) 쓸 수 없습니다. 0 이상의 정수여야 합니다.",
            f"{name}={value!r} is not possible; it must be an integer of at least 0.",
        )
    return value


def check_flag(name: str, value: object) -> bool:
    """Returns True or False.

    Raises:
        InvalidArgumentError: If it is anything else.
    """
    if not isinstance(value, bool):
        raise InvalidArgumentError(
            f"{name}={value!r:.80}은(는) 쓸 수 없습니다. True 또는 False여야 합니다.",
            f"{name}={value!r:.80} is not possible; it must be True or False.",
        )
    return value


def check_fraction(name: str, value: object) -> float:
    """Returns a number between 0 and 1; None is 0.

    Raises:
        InvalidArgumentError: If it is anything else.
    """
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise InvalidArgumentError(
            f"{name}={value!r}은(는) 쓸 수 없습니다. 0과 1 사이의 수여야 합니다. 점수(score)가 아니라 관련도"
            "(relevance)에 거는 기준입니다.",
            f"{name}={value!r} is not possible; it must be a number between 0 and 1: it goes by relevance, not by the "
            "score.",
        )
    return float(value)


def check_metadata(fields: object, index: int) -> dict[str, Any]:
    """Returns a deep copy of JSON metadata."""
    place = f"metadata[{index}]"
    if not isinstance(fields, Mapping):
        raise InvalidArgumentError(
            f"{place}의 값 {fields!r:.80}은(는) dict가 아닙니다. 문자열 키를 가진 dict여야 합니다.",
            f"{place} is {fields!r:.80}; it must be a dict with string keys.",
        )
    fields = dict(fields)
    _check_json(fields, place, 0)
    copied: dict[str, Any] = json.loads(json.dumps(fields))
    return copied


def _check_json(value: object, place: str, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise InvalidArgumentError(
            f"{place:.80}…: 메타데이터가 {_MAX_DEPTH}단계보다 깊습니다. 덜 중첩하세요.",
            f"{place:.80}… is nested more than {_MAX_DEPTH} levels deep; nest it less.",
        )
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise _not_json(place, key, "키가 문자열이 아닙니다", "has a key that is not a string")
            _check_string(key, place)
            _check_json(inner, f"{place}[{key!r}]", depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_json(inner, f"{place}[{index}]", depth + 1)
    elif isinstance(value, str):
        _check_string(value, place)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _not_json(place, value, "유한한 수가 아닙니다", "is not a finite number")
    elif isinstance(value, int):
        try:
            float(value)  # as SQLite reads an integer of more than 64 bits
        except OverflowError:
            size = f"{value.bit_length():,}-bit integer"
            raise _not_json(place, size, "너무 큰 정수입니다", "is too large") from None
    elif value is not None:
        raise _not_json(place, value, "JSON 값이 아닙니다", "is not a JSON value")


def _check_string(value: str, place: str) -> None:
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise _not_json(place, value, "NUL이나 짝 없는 서로게이트가 들어 있습니다", "holds NUL or a lone surrogate")


def _not_json(place: str, value: object, korean: str, english: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{place}: {value!a:.80} — {korean}. 메타데이터에는 문자열, 유한한 수, bool, None, "
        "그리고 이들의 list와 dict만 넣을 수 있습니다. 날짜는 isoformat() 문자열로 바꾸세요.",
        f"{place}: {value!a:.80} {english}. Metadata holds strings, finite numbers, bools, None, and lists and dicts "
        "of them; turn dates into isoformat() strings.",
    )
