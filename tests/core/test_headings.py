"""Documents filed under an article, a case number or a code are found by it, before those that mention it."""

import numpy as np
import pytest

from korag import Collection, load_encoder
from korag.analysis.analyzer import Analyzer
from korag.legs.base import SegmentSlice
from korag.legs.bm25 import BM25Leg
from korag.legs.bm25_codecs import PostingsCodec

TOKENIZERS = ["bigram", "kiwi"]
ARTICLES = {
    "6": "민법 제6조(이장의 임무) 이장은 마을 회의를 소집하고 그 결과를 적는다.",
    "6의2": "민법 제6조의2(부이장) 부이장은 이장을 돕는다. 제6조의 임무를 대신할 수 있다.",
    "7": "민법 제7조(회의) ① 제6조에 따라 이장이 연다. ② 제6조의2에 따른 부이장도 제6조와 같이 회의를 연다.",
    "8": "민법 제8조(기록) 제6조, 제6조의2, 제7조와 제9조의 일을 적는다. 민법 제9조와 제6조를 함께 본다.",
    "9": "민법 제9조(보관) 적은 것은 열 해 동안 창고에 둔다. "
    + "창고에는 불을 켜지 않으며 문을 잠그고 열쇠를 맡긴다. " * 30,
    "상6": "상법 제6조(상점) 상점은 아침에 열고 민법에 따른 회의가 있는 날은 쉰다.",
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def articles(request):
    if request.param == "kiwi":
        pytest.importorskip("kiwipiepy")
    collection = Collection.in_memory(bm25=True, tokenizer=request.param)
    collection.add(list(ARTICLES.values()), ids=list(ARTICLES))
    return collection


def first_of(collection, query):
    return collection.search(query, k=1)[0].id


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "id_"),
    [
        ("민법 제6조", "6"),
        ("민법 제6조의2", "6의2"),
        ("민법 6조의 2", "6의2"),
        ("제7조", "7"),
        ("민법 제7조제2항", "7"),
        ("민법 7조 1항", "7"),
        ("우리 민법의 제9조는 어떤 내용인가요?", "9"),
        ("상법 제6조", "상6"),
    ],
)
def test_an_article_is_found_before_those_that_mention_it(articles, query, id_):
    assert first_of(articles, query) == id_


HEADINGS = [
    "제44조(모임의 이름) 모임의 이름을 정한다.",
    "# 제44조 ① 모임의 이름을 정한다.",
    "\n  ## 동네모임규약 제44조【모임의 이름】 모임의 이름을 정한다.",
    "제44조\n모임의 이름을 정한다.",
    "동네모임규약 > 제2장 모임 > 제44조(이름) 모임의 이름을 정한다.",
    "제 44 조 (이름) 모임의 이름을 정한다.",
    "제43조(자리) 모임의 자리를 정한다.\n제44조(이름) 모임의 이름을 정한다.",
]
MENTIONS = [
    "제44조에 따라 제44조의 이름을 정한다. 제44조",
    "제44조 제1항의 이름은 제44조를 본다.",
    "이 규약 제44조 및 제45조는 제44조의 예를 따른다.",
    "이름을 정한다. 제44조(이름)와 제44조는 같다.",
    "제44조의2(이름) 제44조와 제44조를 함께 본다.",
]


@pytest.mark.parametrize("heading", HEADINGS)
def test_forms_of_headings(heading):
    with Collection.in_memory(bm25=True) as collection:
        collection.add([*MENTIONS, heading], ids=[*map(str, range(len(MENTIONS))), "heading"])
        assert first_of(collection, "제44조") == "heading"
        assert first_of(collection, "동네모임규약 44조") == "heading"


def test_the_statute_named_in_the_heading_decides():
    laws = ["가나법", "다라법 시행령", "다라법", "마바에 관한 법률"]
    texts = [f"{law} 제3조(목적) 이 법은 사람들의 편안한 생활을 목적으로 한다." for law in laws]
    with Collection.in_memory(bm25=True) as collection:
        collection.add(texts, ids=laws)
        for law in laws:
            assert first_of(collection, f"{law} 제3조") == law
            assert first_of(collection, f"현행 {law} 3조는 무엇인가요?") == law


def test_headings_that_no_document_has_change_no_score():
    with Collection.in_memory(bm25=True) as collection:
        collection.add(["가로등은 제5조에 따라 켠다.", "가로등을 끈다."], ids=["5", "끔"])
        asked = collection.search("제5조 가로등")[0]
        assert asked.id == "5"
        assert asked.relevance > 0.4


def test_the_terms_of_an_old_collection_have_no_headings():
    assert not [token for token in Analyzer(version=1).documents([ARTICLES["6"]])[0] if ":" in token]


@pytest.fixture(scope="module")
def hybrid():
    """Models that have never seen the number must not outvote the leg that has found it."""
    collection = Collection.in_memory(encoders=[load_encoder("mini-dense"), load_encoder("mini-splade")], bm25=True)
    parts = ["회전판", "덮개", "손잡이", "전선", "나사", "거름망", "받침", "물통"]
    texts = [f"KRA-52010{number}C 사용 설명서: {part}의 청소와 교체 방법" for number, part in enumerate(parts)]
    texts += [f"{part}을 바꿀 때는 부품 번호 KRA-520104C 같은 것을 확인하고 주문한다." for part in parts]
    texts += list(ARTICLES.values())
    collection.add(texts, ids=[str(number) for number in range(len(texts))])
    return collection


@pytest.mark.parametrize("query", ["KRA-520104C", "kra520104c", "KRA 520104C 나사 교체 방법"])
def test_a_hybrid_finds_a_code(hybrid, query):
    assert first_of(hybrid, query) == "4"


@pytest.mark.parametrize("query", ["민법 제6조의2", "민법 6조의2", "민법 제6조의2의 내용은 무엇인가요?"])
def test_a_hybrid_finds_an_article(hybrid, query):
    assert "민법 제6조의2(" in hybrid.search(query, k=1)[0].text


def test_the_leg_is_trusted_as_far_as_it_has_what_the_query_names():
    leg = BM25Leg(PostingsCodec())
    texts = [*ARTICLES.values(), "2024년 예산은 100만 원이다."]
    whole = SegmentSlice(leg.codec.encode(leg.encode_documents(texts, show_progress=False)), np.arange(len(texts)))

    def confidence(query):
        return leg.confidence(leg.prepare(leg.encode_queries([query])[0], [whole]))

    assert confidence("2024년 예산 100만 원") == confidence("민법 제999조") == confidence("KRA-999999Z") == 1.0
    assert 1.0 < confidence("민법 제6조와 관련된 마을 회의의 판례를 찾아 줘") < confidence("민법 제6조") < 4.0
