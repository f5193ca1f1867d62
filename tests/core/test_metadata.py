"""Metadata that cannot be stored: the error names the document, the key, the value, the cause and what to use."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import math
import subprocess
import sys
import types
import uuid
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from korag import Collection
from korag.errors import InvalidArgumentError
from korag.metadata import check_metadata


class Grade(enum.Enum):
    HIGH = 1


class Department(enum.StrEnum):
    LAW = "법무팀"


@dataclasses.dataclass
class Page:
    number: int = 1


class Model:
    def model_dump(self, mode: str) -> dict[str, Any]:
        return {}


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


WRONG: dict[str, tuple[object, str, str]] = {
    "NUL": ("법\0무", "'법\\x00무' — NUL", "replace("),
    "surrogate": ("\ud83d", "'\\ud83d' — UTF-8로 저장할 수 없는", "encode('utf-8', 'replace')"),
    "nan": (math.nan, "nan — 결측값", "None"),
    "nan of numpy": (np.float32("nan"), "결측값", "None"),
    "NaT": (np.datetime64("NaT"), "결측값", "None"),
    "infinity": (-math.inf, "-inf — 무한대", "finite number"),
    "tuple": ((1, 2), "(1, 2) — tuple", "list(value)"),
    "set": ({3}, "{3} — set", "sorted(value)"),
    "frozenset": (frozenset([3]), "set입니다", "sorted(value)"),
    "path": (Path("보고서.pdf"), "Path('보고서.pdf') — 경로", "str(value)"),
    "UUID": (uuid.UUID(int=7), "UUID(", "str(value)"),
    "date": (datetime.date(2024, 5, 1), "datetime.date(2024, 5, 1) — 날짜", "isoformat()"),
    "datetime": (datetime.datetime(2024, 5, 1, 9), "날짜나 시각", "isoformat()"),
    "time": (datetime.time(9), "날짜나 시각", "isoformat()"),
    "duration": (datetime.timedelta(1), "시간의 길이", "total_seconds()"),
    "time of numpy": (np.datetime64("2024-05-01"), "numpy의 시각", "str(value)"),
    "duration of numpy": (np.timedelta64(1, "D"), "numpy의 시각", "str(value)"),
    "Decimal": (decimal.Decimal("1.50"), "Decimal('1.50') — Decimal", "float(value)"),
    "bytes": (b"x", "b'x' — bytes", "decode()"),
    "bytearray": (bytearray(b"x"), "bytes입니다", "decode()"),
    "Enum": (Grade.HIGH, "Enum입니다", "value.value"),
    "dataclass": (Page(), "Page(number=1) — dataclass", "dataclasses.asdict(value)"),
    "pydantic": (Model(), "pydantic", "model_dump(mode='json')"),
    "mapping": (types.MappingProxyType({"쪽": 1}), "매핑", "dict(value)"),
    "array": (np.zeros(2), "array([0., 0.]) — 배열", "tolist()"),
    "iterable": (deque([1]), "list가 아닙니다", "list(value)"),
    "key": ({7: "쪽"}, "7 — 문자열이 아닌 키", "str(key)"),
    "large integer": (10**400, "1,329-bit integer — 너무 큰 정수", "str(value)"),
    "integer that cannot be printed": (10**5_000, "너무 큰 정수", "str(value)"),
    "object": (3j, "3j — JSON 값이 아닙니다", "string or a number"),
    "object that cannot be printed": (Unprintable(), "<Unprintable> — JSON 값이 아닙니다", "string or a number"),
}


@pytest.mark.parametrize(("value", "korean", "english"), WRONG.values(), ids=WRONG)
def test_each_cause_has_its_own_advice(value: object, korean: str, english: str) -> None:
    collection = Collection.in_memory(bm25=True)
    with pytest.raises(InvalidArgumentError) as caught:
        collection.add(["글", "글"], ids=["가", "보고서/3"], metadata=[{}, {"출처": [1, {"판": value}]}])
    message = str(caught.value)
    in_korean, in_english = message.split("\n")
    assert in_korean.startswith("문서 '보고서/3'의 metadata[1]['출처'][1]['판']: ")
    assert in_english.startswith("metadata[1]['출처'][1]['판'] of the document '보고서/3': ")
    assert korean in in_korean
    assert english in in_english
    assert len(collection) == 0


def test_a_document_without_an_id_is_named_by_its_place() -> None:
    with pytest.raises(InvalidArgumentError, match=r"^metadata\[0\]\['날짜'\]: datetime"):
        Collection.in_memory(bm25=True).add(["글"], metadata=[{"날짜": datetime.date(2024, 5, 1)}])


@pytest.mark.parametrize(("fields", "advice"), [(None, "{}"), (5, "{'key': value}"), ([("쪽", 1)], "{'key': value}")])
def test_what_is_no_dict(fields: object, advice: str) -> None:
    with pytest.raises(InvalidArgumentError, match=r"metadata\[3\]") as caught:
        check_metadata(fields, 3)
    assert advice in str(caught.value)


def test_types_that_are_converted() -> None:
    fields = {
        "정수": np.uint64(2**64 - 1), "실수": np.float32(0.5), "긴 실수": np.longdouble(2), "참": np.bool_(True),
        "영차원": np.array(7), "없음": np.array(None), np.str_("글"): np.str_("가"), "부서": Department.LAW,
        "안": OrderedDict({"쪽": [np.int8(-1)]}),
    }  # fmt: skip
    copied = check_metadata(fields)
    assert copied == {
        "정수": 2**64 - 1, "실수": 0.5, "긴 실수": 2.0, "참": True, "영차원": 7, "없음": None, "글": "가",
        "부서": "법무팀", "안": {"쪽": [-1]},
    }  # fmt: skip
    assert {type(value) for value in copied.values()} == {int, float, bool, type(None), str, dict}
    assert {type(name) for name in copied} == {str}


def test_numpy_is_not_imported_for_it() -> None:
    code = "import sys, korag.metadata; korag.metadata.check_metadata({'쪽': 1}); assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
