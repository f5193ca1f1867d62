"""Texts that a reader takes for the same have the same scores in every leg and reranker, and are stored as given."""

import random
import unicodedata

import numpy as np
import pytest

from korag import Collection, CrossEncoderReranker, Reranker, load_encoder

INVISIBLE = (
    "\u200b\u2060\u00ad\ufeff\u3164\u115f\u1160\uffa0\u200c\u200d\u200e\u200f\u202a\u202e\u2067\u2069\ufe0f\ufff9\0"
)
DOCUMENTS = [
    "임대차 계약이 끝나면 보증금을 돌려준다.",
    "GPU-4 서버는 50kg이며 10%를 할인한다~",
    "민법 제15조 제1항은 개정되었다.",
    "주식회사 가람은 1,200m2의 창고를 빌렸다. (주)가람",
    "ガイド 와 樂園 이라는 표기가 남아 있다.",
]
EVERYWHERE = [
    ("보증금을 돌려준다", "보증\u200b금을 돌\u00ad려준\u3164다"),
    ("보증금을 돌려준다", "\ufeff보증금을\u2060 돌려준다\u200e"),
    ("보증금을 돌려준다", unicodedata.normalize("NFD", "보증금을 돌려준다").replace("\u1173", "\u200b\u1173")),
    ("임대차 계약", "임대차\u00a0계약"),
    ("임대차 계약", "임대차\u3000계약"),
    ("임대차\n계약", "임대차\u2028계약"),
    ("임대차\n계약", "임대차\r\n계약"),
    ("GPU-4 서버 10%~", "ＧＰＵ－４　서버 １０％～"),
    ("ガイド", "ｶﾞｲﾄﾞ"),
    ("樂園", "\uf914園"),
]
"""Forms that are one text to every leg."""
LEXICAL = [
    ("50kg", "50㎏"),
    ("1200m2", "1200㎡"),
    ("1200m2", "1200m²"),
    ("(주)가람", "㈜가람"),
    ("제15조", "第15條"),
    ("제15조", "第十五條"),
    ("제6조의2", "第6條之2"),
    ("IV장", "Ⅳ장"),
    ("1 1/2", "1½"),
    ("二", "⼆"),
    ("제1항", "①제1항"),
]
"""Forms that are one text to the lexical leg; what a model makes of them is the model's."""
LEGS = ("dense", "sparse", "colbert", "bm25")


@pytest.fixture(scope="module")
def encoders():
    return [load_encoder(name) for name in ("mini-dense", "mini-splade", "mini-colbert")]


@pytest.fixture(scope="module")
def collection(encoders):
    made = Collection.in_memory(encoders=encoders, bm25=True)
    made.add(DOCUMENTS, ids=list("12345"))
    return made


def found(collection, query, leg):
    return {hit.id: pytest.approx(hit.score, abs=1e-5) for hit in collection.search(query, using=leg)}


@pytest.mark.parametrize("leg", LEGS)
def test_queries_in_another_form_score_the_same(collection, leg):
    for plain, other in EVERYWHERE + (LEXICAL if leg == "bm25" else []):
        assert found(collection, other, leg) == found(collection, plain, leg), ascii(other)


@pytest.mark.parametrize("leg", LEGS)
def test_documents_in_another_form_score_the_same(encoders, leg):
    pairs = EVERYWHERE + (LEXICAL if leg == "bm25" else [])
    others = Collection.in_memory(encoders=encoders, bm25=True)
    others.add([f"{other} 이다." for _, other in pairs])
    plains = Collection.in_memory(encoders=encoders, bm25=True)
    plains.add([f"{plain} 이다." for plain, _ in pairs])
    for query in (*DOCUMENTS, "50kg 1200m2 제15조 제6조의2"):
        scores = [sorted(hit.score for hit in some.search(query, using=leg, k=99)) for some in (others, plains)]
        np.testing.assert_allclose(*scores, atol=1e-5)
    assert [document.text for document in others.get()] == [f"{other} 이다." for _, other in pairs]


@pytest.mark.parametrize("tokenizer", ["kiwi", str.split])
def test_other_tokenizers(tokenizer):
    collection = Collection.in_memory(bm25=True, tokenizer=tokenizer)
    collection.add(DOCUMENTS, ids=list("12345"))
    for plain, other in EVERYWHERE + (LEXICAL if tokenizer == "kiwi" else []):
        assert found(collection, other, "bm25") == found(collection, plain, "bm25"), ascii(other)


@pytest.mark.parametrize("leg", LEGS)
def test_invisible_characters_at_random_places_change_no_score(collection, leg):
    draw = random.Random(17)
    for text in DOCUMENTS:
        characters = list(text)
        for _ in range(8):
            characters.insert(draw.randrange(len(characters) + 1), draw.choice(INVISIBLE))
        assert found(collection, "".join(characters), leg) == found(collection, text, leg)


def test_rerankers_score_the_same(encoders, built):
    for reranker in (Reranker(encoders[2]), CrossEncoderReranker(built("cross_encoder"), dtype="float32")):
        for plain, other in EVERYWHERE:
            ranked = [reranker.rerank(query, [text, *DOCUMENTS]) for query in (plain, other) for text in (plain, other)]
            for some in ranked[1:]:
                assert some == [(index, pytest.approx(score, abs=1e-5)) for index, score in ranked[0]]


def test_an_article_in_hanja_is_found(collection):
    assert [hit.id for hit in collection.search("第15條", using="bm25")] == ["3"]
    assert collection.search("㈜가람 1,200㎡", using="bm25")[0].id == "4"


def test_numbers_of_a_list_are_no_content(collection):
    assert collection.search("①", using="bm25") == []
    assert found(collection, "① 보증금 ⑵", "bm25") == found(collection, "보증금", "bm25")
