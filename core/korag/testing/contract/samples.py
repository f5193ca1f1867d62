"""Documents for the contract's tests: our own sentences, a topic each."""

from __future__ import annotations

import copy
import datetime
import decimal
import math
import uuid
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from korag.collection.base import Hit

DOCUMENTS = [
    "임대차 계약이 끝나면 집주인은 세입자에게 보증금을 돌려주어야 한다.",
    "시립 도서관은 매주 월요일과 공휴일에 문을 닫는다.",
    "김치찌개는 돼지고기와 잘 익은 묵은지를 넣고 푹 끓인다.",
    "결제한 날부터 이레 안에 환불을 신청하면 전액을 돌려받는다.",
    "연차 휴가는 사용하기 사흘 전까지 팀장에게 신청한다.",
    "제6조(목적) 이 규정은 사내 문서의 보존 기간을 정한다.",
    "제6조의2(적용 범위) 이 규정은 전자 문서에도 적용한다.",
    "GPU 서버는 매일 새벽 두 시에 자동으로 점검한다.",
]
IDS = [f"문서/{index}" for index in range(len(DOCUMENTS))]
METADATA: list[dict[str, Any]] = [
    {"번호": index, "짝수": index % 2 == 0, "출처": {"파일": f"{index}.pdf", "쪽": [1, 2.5, None]}}
    for index in range(len(DOCUMENTS))
]
LEGS = ("colbert", "sparse", "dense", "bm25")

NESTED_TOO_DEEP: Any = []
for _ in range(2_000):
    NESTED_TOO_DEEP = [NESTED_TOO_DEEP]
CIRCULAR: list[Any] = []
CIRCULAR.append(CIRCULAR)
BAD_METADATA: dict[str, Any] = {
    "function": {"날짜": copy.copy},
    "tuple": {"쪽": (1, 2)},
    "set": {"쪽": [{1, 2}]},
    "bytes": {"b": b"x"},
    "path": {"파일": PurePosixPath("보고서.pdf")},
    "UUID": {"x": uuid.UUID(int=1)},
    "date": {"날짜": datetime.date(2024, 5, 1)},
    "decimal": {"금액": decimal.Decimal("1.50")},
    "array": {"x": np.zeros(2)},
    "NaN of numpy": {"x": np.float32("nan")},
    "nan": {"x": math.nan},
    "infinite": {"x": [math.inf]},
    "key": {1: "x"},
    "inner key": {"a": {None: 1}},
    "NUL": {"x": "a\0b"},
    "surrogate": {"x": {"y": ["\ud83d"]}},
    "surrogate key": {"\udc00": 1},
    "deep": {"x": NESTED_TOO_DEEP},
    "circular": {"x": CIRCULAR},
    "integer beyond any float": {"x": 10**400},
    "integer beyond any digit limit": {"x": -(10**5_000)},
    "no dict": [("a", 1)],
    "None": None,
}


def ids_of(hits: Iterable[Hit]) -> list[str]:
    """The ids of hits, in order."""
    return [hit.id for hit in hits]
