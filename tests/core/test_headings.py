"""Documents filed under an article, a case number or a code are found by it, before those that mention it."""

import pytest

from korag import Collection

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


def test_an_old_collection_has_no_headings(old_bm25):
    assert not [token for token in old_bm25 if ":" in token]


@pytest.fixture
def old_bm25():
    from korag.analysis.analyzer import Analyzer

    return Analyzer(version=1).documents([ARTICLES["6"]])[0]
