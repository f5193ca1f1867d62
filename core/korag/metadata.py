"""Metadata of documents: checked and copied before any work starts."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import os
import re
import sys
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from korag.errors import InvalidArgumentError

CITATION = "citation"
"""Key of the name by which other articles cite a document, e.g. ``민법 제44조`` (see `korag.splitting`)."""
CITES = "cites"
"""Key of the list of such names that a document cites."""
_MAX_DEPTH = 100
"""Nesting. SQLite's JSON functions stop at 1,000, and a list may contain itself."""
_SHOWN = 80
"""Characters of a value or its place in a message."""
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Advice(NamedTuple):
    """Says what a value is, and what to use instead."""

    korean: str
    english: str


_NOT_A_DICT = _Advice("dict가 아닙니다. {'키': 값}처럼 넣으세요", "is not a dict; write {'key': value}")
_NO_METADATA = _Advice("dict가 아닙니다. 메타데이터가 없으면 {}를 넣으세요", "is not a dict; use {} for no metadata")
_TOO_DEEP = _Advice(
    f"{_MAX_DEPTH}단계보다 깊게 중첩되었습니다. 중첩을 줄이세요",
    f"is nested more than {_MAX_DEPTH} levels deep; flatten it",
)
_KEY = _Advice("문자열이 아닌 키입니다. str(키)로 바꾸세요", "is a key, but not a string; use str(key)")
_NUL = _Advice(
    r"NUL 문자가 들어 있습니다. SQLite가 거기서 자릅니다. 값.replace('\0', '')로 빼세요",
    r"contains NUL, where SQLite would cut it off; use value.replace('\0', '')",
)
_LONE = _Advice(
    "UTF-8로 저장할 수 없는, 짝 없는 서로게이트가 들어 있습니다. 값.encode('utf-8', 'replace').decode()로 고치세요",
    "contains a lone surrogate, which UTF-8 cannot store; use value.encode('utf-8', 'replace').decode()",
)
_MISSING = _Advice(
    "결측값(NaN)입니다. None을 넣거나 그 키를 빼세요(pandas: df.astype(object).where(df.notna(), None))",
    "is a missing value (NaN); use None or leave the key out (pandas: df.astype(object).where(df.notna(), None))",
)
_INFINITE = _Advice("무한대입니다. None이나 유한한 수로 바꾸세요", "is infinite; use None or a finite number")
_TOO_LARGE = _Advice("너무 큰 정수입니다. str(값)으로 바꾸세요", "is too large; use str(value)")
_ARRAY = _Advice("배열입니다. 값.tolist()로 바꾸세요", "is an array; use value.tolist()")
_OTHER = _Advice(
    "JSON 값이 아닙니다. 문자열이나 수로 바꾸세요", "is not a JSON value; convert it to a string or a number"
)
_PYDANTIC = _Advice(
    "pydantic 객체입니다. 값.model_dump(mode='json')으로 바꾸세요",
    "is a pydantic object; use value.model_dump(mode='json')",
)
_DATACLASS = _Advice(
    "dataclass입니다. dataclasses.asdict(값)으로 바꾸세요", "is a dataclass; use dataclasses.asdict(value)"
)
_ITERABLE = _Advice("list가 아닙니다. list(값)으로 바꾸세요", "is iterable, but no list; use list(value)")
_NUMPY_TIME = _Advice("numpy의 시각입니다. str(값)으로 바꾸세요", "is a time of numpy; use str(value)")
_BY_TYPE: tuple[tuple[type | tuple[type, ...], _Advice], ...] = (
    (tuple, _Advice("tuple입니다. list(값)으로 바꾸세요", "is a tuple; use list(value)")),
    (
        (set, frozenset),
        _Advice("set입니다. sorted(값)으로 바꾸세요", "is a set; use sorted(value)"),
    ),
    (os.PathLike, _Advice("경로 객체입니다. str(값)으로 바꾸세요", "is a path; use str(value)")),
    (uuid.UUID, _Advice("UUID입니다. str(값)으로 바꾸세요", "is a UUID; use str(value)")),
    (
        (datetime.date, datetime.time),  # a datetime is a date
        _Advice("날짜나 시각입니다. 값.isoformat()으로 바꾸세요", "is a date or a time; use value.isoformat()"),
    ),
    (
        datetime.timedelta,
        _Advice("시간의 길이입니다. 값.total_seconds()로 바꾸세요", "is a duration; use value.total_seconds()"),
    ),
    (
        decimal.Decimal,
        _Advice(
            "Decimal입니다. 필터로 크기를 비교하려면 float(값)으로, 그대로 두려면 str(값)으로 바꾸세요",
            "is a Decimal; use float(value) to compare it in filters, or str(value) to keep it exact",
        ),
    ),
    (
        (bytes, bytearray, memoryview),
        _Advice("bytes입니다. 글자라면 값.decode()로 바꾸세요", "is bytes; use value.decode() if it is text"),
    ),
    (enum.Enum, _Advice("Enum입니다. 값.value로 바꾸세요", "is an Enum; use value.value")),
    (Mapping, _Advice("dict가 아닌 매핑입니다. dict(값)으로 바꾸세요", "is a mapping, but no dict; use dict(value)")),
)
"""Types that metadata often holds."""


def check_metadata(fields: object, index: int | None = None, *, id_: str | None = None) -> dict[str, Any]:
    """Returns a deep copy of JSON metadata, in which numpy's scalars are Python's.

    Args:
        fields: The metadata of one document.
        index: The document's position, for the message; None for metadata of all documents.
        id_: The document's id, for the message; None if the caller gave none.

    Raises:
        InvalidArgumentError: If it is not a dict of JSON values; the message has the document, the path of the wrong
            value, and what to use instead.
    """
    place = "metadata" if index is None else f"metadata[{index}]"
    try:
        if not isinstance(fields, Mapping):
            raise _WrongValueError(place, fields, _NO_METADATA if fields is None else _NOT_A_DICT)
        copied: dict[str, Any] = _copied(dict(fields), place, 0)
    except _WrongValueError as wrong:
        korean, english = ("", "") if id_ is None else (f"문서 {id_!r:.80}의 ", f" of the document {id_!r:.80}")
        raise InvalidArgumentError(
            f"{korean}{wrong.place}: {wrong.shown} — {wrong.advice.korean}. 메타데이터에는 문자열, 유한한 수, bool, "
            "None과 이들의 list, dict를 넣을 수 있습니다.",
            f"{wrong.place}{english}: {wrong.shown} {wrong.advice.english}. Metadata may hold strings, finite numbers, "
            "bools, None, and lists and dicts of these.",
        ) from None
    return copied


class _WrongValueError(Exception):
    def __init__(self, place: str, value: object, advice: _Advice) -> None:
        super().__init__(place)
        self.place = place if len(place) <= _SHOWN else f"{place[:_SHOWN]}…"
        self.shown = _shown(value)
        self.advice = advice


def _copied(value: Any, place: str, depth: int) -> Any:
    """Returns a value whose types are JSON's own, not subclasses of them."""
    if depth > _MAX_DEPTH:
        raise _WrongValueError(place, value, _TOO_DEEP)
    if isinstance(value, dict):
        return {_key(key, place): _copied(inner, f"{place}[{key!r}]", depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_copied(inner, f"{place}[{index}]", depth + 1) for index, inner in enumerate(value)]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _string(value, place)
    if isinstance(value, int):
        return _integer(int(value), place)
    if isinstance(value, float):
        return _number(float(value), place)
    return _from_numpy(value, place, depth)


def _key(key: object, place: str) -> str:
    if not isinstance(key, str):
        raise _WrongValueError(place, key, _KEY)
    return _string(key, place)


def _string(value: str, place: str) -> str:
    if "\0" in value:
        raise _WrongValueError(place, value, _NUL)
    if _SURROGATE.search(value):
        raise _WrongValueError(place, value, _LONE)
    return str.__str__(value)  # an Enum's own __str__ would give its name


def _integer(value: int, place: str) -> int:
    try:
        float(value)  # SQLite reads integers of more than 64 bits as floats
    except OverflowError:
        raise _WrongValueError(place, value, _TOO_LARGE) from None
    return value


def _number(value: float, place: str) -> float:
    if not math.isfinite(value):
        raise _WrongValueError(place, value, _MISSING if math.isnan(value) else _INFINITE)
    return value


def _from_numpy(value: Any, place: str, depth: int) -> Any:
    """Converts a scalar of numpy, which is imported only if the caller has."""
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray) and value.ndim == 0:
            return _copied(value.item(), place, depth + 1)
        if isinstance(value, numpy.bool_):
            return bool(value)
        if isinstance(value, numpy.integer) and not isinstance(value, numpy.timedelta64):
            return int(value)
        if isinstance(value, numpy.floating):
            return _number(float(value), place)
        if isinstance(value, numpy.datetime64 | numpy.timedelta64):
            raise _WrongValueError(place, value, _MISSING if numpy.isnat(value) else _NUMPY_TIME)
    raise _WrongValueError(place, value, _advice(value))


def _advice(value: object) -> _Advice:
    if type(value).__name__ in ("NaTType", "NAType"):  # of pandas; the first is a datetime
        return _MISSING
    for types, advice in _BY_TYPE:
        if isinstance(value, types):
            return advice
    if hasattr(value, "tolist") and getattr(value, "shape", ()) != ():
        return _ARRAY
    if hasattr(value, "model_dump"):
        return _PYDANTIC
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _DATACLASS
    if isinstance(value, Iterable):
        return _ITERABLE
    return _OTHER


def _shown(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 1_000:
        return f"{value.bit_length():,}-bit integer"  # Python refuses to print the largest
    try:
        return f"{value!r:.{_SHOWN}}"
    except Exception:  # whatever a type of others raises
        return f"<{type(value).__name__}>"
