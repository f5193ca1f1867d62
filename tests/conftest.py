"""What all tests share: no network, and the shipped models loaded once."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: it reads this once
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its warning after a fork is about us, not for us

import pytest

from korag import DenseEncoder, LateInteractionEncoder, SparseEncoder, load_encoder

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
"""Our own sentences, one topic each."""


@pytest.fixture(scope="session")
def documents() -> list[str]:
    return list(DOCUMENTS)


@pytest.fixture(scope="session")
def colbert() -> LateInteractionEncoder:
    return load_encoder("mini-colbert")


@pytest.fixture(scope="session")
def dense() -> DenseEncoder:
    return load_encoder("mini-dense")


@pytest.fixture(scope="session")
def splade() -> SparseEncoder:
    return load_encoder("mini-splade")
