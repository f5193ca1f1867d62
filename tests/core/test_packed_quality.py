"""Losses of packed token vectors of a real model against those in float16, and the bytes they take."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from sentences import DOCUMENTS
from small_codebooks import learned_from as a_codebook_from

from korag.legs.base import SegmentSlice
from korag.legs.multi_vector import candidates, packed_search
from korag.legs.multi_vector.packed import PACKED
from korag.scoring import maxsim

pytestmark = pytest.mark.slow

SUBJECTS = ("시립 도서관", "구청 민원실", "동네 수영장", "어린이 박물관", "장애인 복지관", "야간 진료소")
CLAUSES = (
    "예약은 사흘 전까지 누리집이나 전화로 받는다.",
    "회비를 내지 않으면 이용증이 그달 말에 정지된다.",
    "주차장은 두 시간까지 무료이고 그 뒤로는 십 분마다 오백 원을 받는다.",
    "비가 많이 오는 날에는 바깥 시설의 문을 닫고 문자로 알린다.",
    "잃어버린 물건은 안내 창구에서 한 달 동안 보관한다.",
    "음식물은 정해진 자리에서만 먹을 수 있다.",
    "사진을 찍으려면 담당자의 허락을 받아야 한다.",
    "예순다섯 살이 넘은 사람과 학생은 반값에 들어간다.",
    "소방 훈련은 봄과 가을에 한 번씩 모든 직원이 참여하여 실시한다.",
)
"""Passages say two of these of each subject, and one of our sentences."""
QUERIES = [
    f"{subject} {what}"
    for subject in SUBJECTS
    for what in ("주차 요금은 얼마인가요?", "예약은 어떻게 하나요?", "학생 할인이 되나요?", "분실물은 어디에 있나요?")
]
K = 10


@pytest.fixture(scope="module")
def passages(colbert: Any) -> list[Any]:
    pairs = itertools.product(SUBJECTS, itertools.permutations(CLAUSES, 3))
    texts = [
        f"{subject} 안내. {' '.join(said)} {DOCUMENTS[number % len(DOCUMENTS)]}"
        for number, (subject, said) in enumerate(pairs)
    ]
    chosen = np.random.default_rng(0).permutation(len(texts))[:500]
    return list(colbert.encode_documents([texts[number] for number in chosen], show_progress=False))


@pytest.fixture(scope="module")
def queries(colbert: Any) -> list[Any]:
    return list(colbert.encode_queries(QUERIES))


@pytest.fixture(scope="module")
def exact(passages: list[Any], queries: list[Any]) -> Any:
    halves = [tokens.astype(np.float16) for tokens in passages]
    return np.stack([maxsim(query, halves) for query in queries])


def scores(name: str, passages: list[Any], queries: list[Any], learned_from: int | None = None) -> tuple[Any, Any]:
    codec = next(codec for codec in PACKED if codec.name == name)
    learned = codec.learn(passages[:learned_from])
    assert learned is not None
    arrays = codec.encode_with(passages, learned)
    part = SegmentSlice(arrays, np.arange(len(passages)))
    return np.stack(list(codec.search(queries, [part], K, exact=True))), arrays


def recall(found: Any, exact: Any) -> float:
    """Of the best by exact scores; those as good as the last of them count too."""
    hits = []
    for own, true in zip(found, exact, strict=True):
        least = np.sort(true)[-K] - 1e-5
        hits.append((true[np.argsort(-own, kind="stable")[:K]] >= least).mean())
    return float(np.mean(hits))


def test_more_bits_lose_less(passages: list[Any], queries: list[Any], exact: Any) -> None:
    errors, recalls = [], []
    for name in ("1bit", "2bit", "4bit", "int8"):
        found, arrays = scores(name, passages, queries)
        errors.append(float(np.abs(found - exact).mean()))
        recalls.append(recall(found, exact))
        if name == "1bit":
            own = sum(arrays[each].nbytes for each in ("codes", "cells", "gains", "offsets"))
            assert own / arrays["offsets"][-1] <= 20

    assert errors == sorted(errors, reverse=True)
    assert recalls[0] >= 0.6
    assert recalls[2] >= 0.9


def test_kept_vectors_make_up_for_the_codes(passages: list[Any], queries: list[Any], exact: Any) -> None:
    found, _ = scores("1bit+vectors", passages, queries)
    assert recall(found, exact) >= 0.99


def test_a_pruned_search_finds_nearly_all(
    passages: list[Any], queries: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed_search, "PRUNED_FROM", 0)
    monkeypatch.setattr(candidates, "LEAST", 2)
    found, arrays = scores("1bit", passages, queries)
    (codec,) = [codec for codec in PACKED if codec.name == "1bit"]
    pruned = np.stack(list(codec.search(queries, [SegmentSlice(arrays, np.arange(len(passages)))], K, exact=False)))
    scored = np.isfinite(pruned)
    assert (pruned[scored] == found[scored]).all()
    assert recall(pruned, found) >= 0.95
    assert scored.mean() <= 0.25


def test_a_codebook_of_the_first_part_fits_the_rest(passages: list[Any], queries: list[Any], exact: Any) -> None:
    """And half of the documents, as after the others are deleted."""
    with a_codebook_from(2_048, centroids=256):
        found, _ = scores("1bit", passages, queries, learned_from=len(passages) // 10)
    whole, _ = scores("1bit", passages, queries)
    assert recall(found, exact) >= recall(whole, exact) - 0.2
    assert recall(found[:, ::2], exact[:, ::2]) >= recall(whole[:, ::2], exact[:, ::2]) - 0.2
