"""Numbers and names find each other however they are written, and nothing that only looks like them."""

from itertools import permutations

import pytest

from korag import Collection
from korag.analysis.tokenizers import BigramTokenizer, KiwiTokenizer

SAME = {
    "paragraph": ["제15조제1항", "제15조 제1항", "15조 1항", "제 15 조의 제1항"],
    "telephone": ["010-7711-2299", "01077112299", "010.7711.2299", "010 7711 2299", "+82 10-7711-2299"],
    "local number": ["02-345-6789", "(02) 345-6789", "02.345.6789", "023456789"],
    "date": ["2024년 11월 5일", "2024-11-05", "2024.11.5", "2024. 11. 5.", "2024/11/05", "20241105"],
    "code": ["KRA-520104C", "KRA520104C", "kra 520104c", "kra_520104c"],
    "model": ["GPT-4", "GPT4", "gpt-4"],
    "case": ["2019다12345", "2019 다 12345", "2019다 12345"],
    "notice": ["제2024-15호", "2024-15호", "제 2024-15 호"],
    "won": ["1,500원", "1500원", "1천5백원", "1천 5백 원"],
    "more won": ["35,000원", "35000원", "3만 5천원", "3만5천 원"],
    "people": ["120000명", "12만 명", "12만명"],
    "account": ["110-234-567890", "110234567890"],
    "address": ["dalgi@example.kr", "Dalgi@Example.kr"],
}
FILLER = ["마을 도서관은 주말에도 문을 연다", "강가의 나무는 봄에 잎을 낸다"]


@pytest.fixture(params=["bigram", "kiwi"])
def tokenizer(request):
    if request.param == "kiwi":
        pytest.importorskip("kiwipiepy")
    return request.param


@pytest.mark.slow
@pytest.mark.parametrize("kind", SAME)
def test_every_form_finds_every_other(kind, tokenizer):
    for query, written in permutations(SAME[kind], 2):
        with Collection.in_memory(bm25=True, tokenizer=tokenizer) as collection:
            collection.add([*FILLER, f"안내문에는 {written} 이라고 적혀 있다."], ids=["a", "b", "found"])
            assert [hit.id for hit in collection.search(query, k=1)] == ["found"], (query, written)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "other", "right"),
    [
        ("제6조", "제6조의2(이름) 이름을 정한다.", "제6조(나이) 나이를 정한다."),
        ("제6조의2", "제6조(나이) 나이를 정한다.", "제6조의2(이름) 이름을 정한다."),
        ("제15조 1항", "약관 제15조제2항에 적었다.", "약관 제15조제1항에 적었다."),
        ("2024-11-05", "행사는 2024-05-11에 열린다.", "행사는 2024년 11월 5일에 열린다."),
        ("2024년 11월", "행사는 2024-12-11에 열린다.", "행사는 2024-11-05에 열린다."),
        ("11월 5일", "행사는 2024-05-11에 열린다.", "행사는 2024.11.5에 열린다."),
        ("7711-2299", "문의는 010-2299-1177로 한다.", "문의는 01077112299로 한다."),
        ("2019다12345", "사건 2019나12345를 보라.", "사건 2019 다 12345를 보라."),
        ("KRA-520104C", "부품 KRA-520104D를 쓴다.", "부품 KRA520104C를 쓴다."),
        ("520104C", "부품 KRA-520105C를 쓴다.", "부품 KRA520104C를 쓴다."),
        ("5만원", "요금은 5,000원이다.", "요금은 50,000원이다."),
    ],
)
def test_the_same_thing_is_found_before_a_similar_one(query, other, right, tokenizer):
    with Collection.in_memory(bm25=True, tokenizer=tokenizer) as collection:
        collection.add([other, right], ids=["other", "right"])
        assert collection.search(query, k=1)[0].id == "right"


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["10.1.1", "3.14", "1.5", "10-20", "2024-13-05", "2024.11.5.1", "192.168.0.1", "v2.1", "2019-2020"]
)
def test_what_only_looks_like_a_date_or_a_telephone_number(text, tokenizer):
    (tokens,) = (BigramTokenizer() if tokenizer == "bigram" else KiwiTokenizer())([f"값은 {text} 이다"])
    assert not [token for token in tokens if token.startswith("id:") or token in ("년", "월", "일")]


@pytest.mark.parametrize(
    "text", ["1.5", "15", "3만 2억", "5천리", "A4", "useState", "state-of-the-art", "문제 3호", "제1항공"]
)
def test_ordinary_numbers_and_words_stay_as_they_were(text):
    assert BigramTokenizer()([text]) == BigramTokenizer(version=1)([text])


def test_old_collections_keep_their_tokens():
    text = "2024-11-05 010-7711-2299 KRA-520104C 3만원 제15조 1항"
    assert BigramTokenizer(version=1)([text])[0] == (
        ["2024", "11", "05", "010", "7711", "2299", "kra", "520104", "c", "3", "만", "만원", "제15조", "1", "항"]
    )


def test_very_long_runs_take_linear_time():
    for unit in ("a", "1", "1,", "a-", "a1", "a@", "1만 ", "2024.", "제 ", "0"):
        BigramTokenizer()([unit * 100_000])
