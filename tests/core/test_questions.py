"""The lexical legs leave out of a query what only makes it a question."""

import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from korag import Collection
from korag.analysis.analyzer import Analyzer
from korag.analysis.questions import trim_question
from korag.analysis.settings import BM25
from korag.errors import InvalidArgumentError

TRIMMED = [
    # 무엇인가, 누구예요, 어디야, with the particle before it
    ("상법 제20조의 내용은 무엇인가?", "상법 제20조"),
    ("상법 제20조의 내용이 무엇입니까", "상법 제20조"),
    ("김치냉장고의 적정 온도는 얼마인가요?", "김치냉장고의 적정 온도"),
    ("첨성대를 세운 왕은 누구일까요?", "첨성대를 세운 왕은"),
    ("이 회사의 본점은 어디입니까?", "이 회사의 본점"),
    ("추석 연휴는 언제인가", "추석 연휴"),
    ("전자서명이란 무엇인가요?", "전자서명"),
    ("점유란 무엇인가", "점유"),
    ("점유라는 것은 무엇인가", "점유"),
    ("가압류가 뭐예요?", "가압류가"),
    ("가압류 뜻이 뭔가요", "가압류 뜻이"),
    ("대리점 사장님이 누구죠?", "대리점 사장님이"),
    ("체크인 시간은 언제?", "체크인 시간은"),
    ("분실물 센터는 어디야", "분실물 센터"),
    ("한글을 만든 사람은   누구인가?", "한글을 만든 사람은"),
    # 어떻게 되나요
    ("배송 기간은 어떻게 되나요?", "배송 기간은"),
    ("환불을 받으려면 어떻게 해야 하나요?", "환불을 받으려면"),
    ("회원 탈퇴 절차가 어떻게 됩니까?", "회원 탈퇴 절차가"),
    ("여권을 잃어버렸는데 어떡해요?", "여권을 잃어버렸는데"),
    ("새 요금제는 어때요?", "새 요금제"),
    ("지원 서류에는 어떤 것들이 있나요?", "지원 서류에"),
    ("분리수거장은 어디에 있나요?", "분리수거장은"),
    # endings of verbs, and the words that ask
    ("경복궁은 언제 지어졌나요?", "경복궁은 지어졌"),
    ("경복궁은 언제 지어졌는가", "경복궁은 지어졌"),
    ("왜 바닷물은 짠가요?", "왜 바닷물은 짠가요?"),
    ("바닷물은 왜 증발하나요?", "바닷물은 증발하"),
    ("세종대왕은 몇 년 동안 재위했습니까?", "세종대왕은 년 동안 재위했"),
    ("어느 은행에서 대출을 받을 수 있나요?", "은행에서 대출을 받을"),
    ("주차장에 무엇을 두면 안 되나요?", "주차장에 두면 안"),
    ("문어는 물고기인가요?", "문어는 물고기"),
    ("문어는 물고기인가?", "문어는 물고기"),
    ("이 계약서는 유효한가?", "이 계약서는 유효한"),
    ("고래가 사람보다 오래 살 수 있을까요?", "고래가 사람보다 오래 살"),
    ("반품한 상품의 배송비는 누가 부담합니까?", "반품한 상품의 배송비는 부담"),
    ("보험금을 못 받을 수도 있나요?", "보험금을 못 받을 수도"),
    # requests
    ("연차 휴가 발생 기준을 알려줘", "연차 휴가 발생 기준"),
    ("연차 휴가 발생 기준 알려 주세요.", "연차 휴가 발생 기준"),
    ("연차 휴가 발생 기준을 좀 자세히 알려 주실 수 있나요?", "연차 휴가 발생 기준"),
    ("근로기준법 제60조에 대해 설명하시오.", "근로기준법 제60조"),
    ("근로기준법 제60조에 대하여 자세히 설명해 주세요", "근로기준법 제60조"),
    ("양도소득세 비과세에 관한 내용을 알려줘", "양도소득세 비과세"),
    ("퇴직금 중간정산에 대한 정보를 찾아줘", "퇴직금 중간정산"),
    ("가을을 노래한 시를 소개해 줘", "가을을 노래한 시"),
    ("마을 알려줘", "마을"),
    ("대리인이 누구인지 알려주세요", "대리인이"),
    ("확정일자를 어디서 받는지 궁금합니다", "확정일자를 받"),
    ("세대주 변경을 하려면 어떻게 해야 하는지 알고 싶어요.", "세대주 변경을 하려면"),
    ("재고가 있는지 알려 주세요", "재고가"),
    ("교환 신청 방법 알려 주세요. 감사합니다!", "교환 신청 방법"),
    # more than one sentence: the last
    ("어제 산 옷이 작아요. 교환하려면 어떻게 해야 하나요?", "어제 산 옷이 작아요. 교환하려면"),
    ("누수가 생겼어요. 어떻게 하나요?", "누수가 생겼어요."),
    # what follows quoted text or code
    ("'침묵의 봄'의 저자는 누구인가요?", "'침묵의 봄'의 저자"),
    ("「동백꽃」은 무엇인가?", "「동백꽃」"),
    ("`npm ci`는 무엇인가요?", "`npm ci`"),
    ("관세법에서 '간이세율'에 대해 규정한 조문은 무엇인가요?", "관세법에서 '간이세율'에 대해 규정한 조문"),
]
KEPT = [
    "무엇인가?",
    "누구인가요?",
    "있나요?",
    "알려줘",
    "설명해 주세요",
    "어떻게 하나요?",
    "뭐",
    "?",
    "",
    "전세보증금 반환",
    "사업시행인가",
    "사업시행인가 취소",
    "바나나",
    "바나나?",
    "국민가요",
    "인기가요",
    "하나",
    "우리 하나?",
    "언어",
    "언제나 맑음",
    "누구나 참여할 수 있는 공모전",
    "무엇이든 물어보세요",
    "제품 설명서",
    "길을 알려주는 앱",
    "요청 방법을 알려주는 함수",
    "어디 앱 설치",
    "어떤 날",
    "왜란",
    "왜 나라",
    "얼마 전 개정된 시행령",
    "몇 가지 예외",
    "인가요건",
    "대부업 인가",
    '"사랑이란 무엇인가"',
    "'너는 누구인가'",
    "『정의란 무엇인가』",
    "`알려줘`",
    "훅은 어떻게 동작하나요? (훅 소개)",
    "SELECT name FROM 누구",
    "useState(무엇인가)",
    "What is a lien?",
    "KRA-520104C",
    "그러니까",
    "왜냐하면 비가 오니까",
]


@pytest.mark.parametrize(("query", "expected"), TRIMMED)
def test_what_asks_is_left_out(query: str, expected: str) -> None:
    assert trim_question(query) == expected


@pytest.mark.parametrize("query", KEPT)
def test_what_does_not_ask_is_kept(query: str) -> None:
    assert trim_question(query) == query


PARTS = sorted({word for query in [*KEPT, *(query for query, _ in TRIMMED)] for word in query.split()})


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=8), max_size=9).map(" ".join))
@example("사업은 무엇인가? 인가는 무엇인가?")
@example("알려줘를 알려줘")
def test_trimming_twice_is_trimming_once_and_leaves_something(query: str) -> None:
    trimmed = trim_question(query)
    assert trim_question(trimmed) == trimmed
    assert len(trimmed) <= len(query)
    assert bool(trimmed.strip()) == bool(query.strip())
    analyzer = Analyzer(BM25("bigram"))
    assert bool(analyzer.queries([query])[0]) == bool(analyzer.documents([query])[0])


@pytest.mark.parametrize("tokenizer", ["bigram", "kiwi", str.split])
def test_documents_are_never_trimmed(tokenizer: object) -> None:
    if tokenizer == "kiwi":
        pytest.importorskip("kiwipiepy")
    texts = [query for query, _ in TRIMMED]
    on, off = (Analyzer(BM25(tokenizer, trim_questions=trim)) for trim in (True, False))  # type: ignore[arg-type]
    assert on.documents(texts) == off.documents(texts)
    assert on.queries(texts) != off.queries(texts)


def test_a_question_in_nfd_is_trimmed_too() -> None:
    query = unicodedata.normalize("NFD", "전자서명이란 무엇인가요?")
    assert Analyzer().queries([query]) == Analyzer().queries(["전자서명"])


def test_a_function_gets_the_trimmed_question() -> None:
    with Collection.in_memory(bm25=True, tokenizer=str.split) as collection:
        collection.add(["전자서명", "무엇인가요?"], ids=["뜻", "물음"])
        assert [hit.id for hit in collection.search("전자서명 무엇인가요?")] == ["뜻"]


TEXTS = {
    "질권": "질권은 물건을 맡긴 사람의 채무를 담보한다.",
    "103": "법률행위의 내용은 무엇인가에 따라 효력이 정해진다.",
    "104": "계약의 내용은 무엇인가를 당사자가 정한다.",
}


def test_a_question_finds_its_topic_before_those_that_ask_the_same() -> None:
    query = "질권의 내용은 무엇인가?"
    for trim in (True, False):
        with Collection.in_memory(bm25=BM25(trim_questions=trim)) as collection:
            collection.add(list(TEXTS.values()), ids=list(TEXTS))
            assert (collection.search(query)[0].id == "질권") is trim


def test_a_query_of_nothing_else_finds_what_it_did() -> None:
    with Collection.in_memory(bm25=True) as collection:
        collection.add(list(TEXTS.values()), ids=list(TEXTS))
        assert {hit.id for hit in collection.search("무엇인가?")} == {"103", "104"}


def test_trim_questions_must_be_a_bool() -> None:
    with pytest.raises(InvalidArgumentError, match="trim_questions='yes'"):
        BM25(trim_questions="yes")  # type: ignore[arg-type]
