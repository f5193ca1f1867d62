"""Options of the lexical leg: Hanja read in Hangul, and a user's synonyms."""

import pickle

import pytest

from korag import BM25, Collection
from korag.analysis.hanja import read_hanja
from korag.errors import FingerprintError, InvalidArgumentError

TEXTS = [
    "民法은 私權을 다룬다.",
    "민법은 물권과 채권을 다룬다.",
    "주택임대차보호법은 세입자를 지킨다.",
    "GPU 서버를 점검한다.",
]
IDS = ["한자", "한글", "주택", "서버"]
SYNONYMS = {"주임법": "주택임대차보호법", "그래픽 카드": ["GPU", "지피유"]}


def filled(bm25, **more):
    made = Collection.in_memory(bm25=bm25, **more)
    made.add(TEXTS, ids=IDS)
    return made


def ids(collection, query):
    return {hit.id for hit in collection.search(query)}


@pytest.mark.parametrize(
    ("hanja", "read"),
    [
        ("民法", "민법"), ("女子", "여자"), ("男女", "남녀"),
        ("勞動法", "노동법"), ("勤勞者", "근로자"), ("法律", "법률"),
        ("比率", "비율"), ("確率", "확률"), ("不動産", "부동산"), ("不法", "불법"), ("金融", "금융"), ("住宅", "주택"),
        ("賃貸借契約", "임대차계약"), ("年金과 料理", "연금과 요리"), ("新年에", "신년에"),
        ("제3法", "제3법"), ("大韓民國", "대한민국"), ("娛樂", "오악"), ("한글 ABC 12", "한글 ABC 12"),
    ],
)  # fmt: skip
def test_readings(hanja, read):
    assert read_hanja(hanja) == read


@pytest.mark.parametrize("tokenizer", ["bigram", "kiwi"])
def test_hanja_and_hangul_find_each_other(tokenizer):
    collection = filled(BM25(tokenizer, hanja=True))
    assert ids(collection, "민법") == ids(collection, "民法") == {"한자", "한글"}
    assert "한자" in ids(collection, "사권")
    assert collection.get(["한자"])[0].text == TEXTS[0]
    plain = filled(BM25(tokenizer))
    assert ids(plain, "민법") == {"한글"}
    assert ids(plain, "民法") == {"한자"}


def test_a_collection_keeps_its_hanja(tmp_path):
    with Collection.open(tmp_path / "on", bm25=BM25(hanja=True)) as collection:
        collection.add(TEXTS, ids=IDS)
        assert ids(pickle.loads(pickle.dumps(collection)), "민법") == {"한자", "한글"}  # noqa: S301 (our own)
    with Collection.open(tmp_path / "on") as collection:
        assert ids(collection, "민법") == {"한자", "한글"}
    with pytest.raises(FingerprintError, match="hanja"):
        Collection.open(tmp_path / "on", bm25=BM25())
    with Collection.open(tmp_path / "off", bm25=True) as collection:
        collection.add(TEXTS, ids=IDS)
    with pytest.raises(FingerprintError, match="hanja"):
        Collection.open(tmp_path / "off", bm25=BM25(hanja=True))


@pytest.mark.parametrize("tokenizer", ["bigram", "kiwi", str.split])
def test_synonyms_find_each_other(tokenizer):
    collection = Collection.in_memory(bm25=BM25(tokenizer, synonyms=SYNONYMS))
    collection.add([*TEXTS, "주임법 해설", "그래픽 카드 점검"], ids=[*IDS, "해설", "카드"])
    if tokenizer != str.split:  # to which 주택임대차보호법은 is another word
        assert "주택" in ids(collection, "주임법") & ids(collection, "주임법상 무엇인가요?")
    if tokenizer != "kiwi":  # which reads an unknown abbreviation differently in different sentences
        assert "해설" in ids(collection, "주임법") & ids(collection, "주택임대차보호법")
    for query in ("gpu", "그래픽카드", "지피유"):
        assert {"서버", "카드"} <= ids(collection, query), query
    assert "서버" not in ids(collection, "gpus")


def test_synonyms_are_lists_too():
    groups = [["주임법", "주택임대차보호법"], ("GPU", "지피유", "그래픽 카드")]
    assert ids(filled(BM25(synonyms=groups)), "주임법") == {"주택"}
    assert ids(filled(BM25(synonyms=groups)), "지피유") >= {"서버"}
    assert ids(filled(True), "주임법") == {"주택"}  # shares 주


@pytest.mark.parametrize(
    "wrong", ["주임법", 3, ["주임법"], [["주임법"]], {"주임법": 3}, {"": "법"}, [["가", " "]], {"가": []}]
)
def test_wrong_synonyms(wrong):
    with pytest.raises(InvalidArgumentError, match="synonyms"):
        BM25(synonyms=wrong)


def test_synonyms_are_recorded_and_may_change(tmp_path):
    with Collection.open(tmp_path, bm25=BM25(synonyms=SYNONYMS)) as collection:
        collection.add(TEXTS, ids=IDS)
        expected = collection.search("지피유")
        assert expected[0].id == "서버"
    with Collection.open(tmp_path) as collection:
        assert collection.search("지피유") == expected
    with Collection.open(tmp_path, bm25=BM25(synonyms={"지피유": "세입자"})) as collection:
        assert collection.search("지피유")[0].id == "주택"
