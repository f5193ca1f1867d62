"""Articles that a found article cites are added behind the hits, one step away."""

import pytest
from dict_store import DictStore

from korag import Collection, SearchOptions
from korag.errors import InvalidArgumentError
from korag.splitting import split

RULES = """창고 임대 규정

제1조(목적) 이 규정은 창고를 빌려주는 절차를 정한다.
제2조(보증금) 빌리는 사람은 열쇠를 받기 전에 석 달 치 요금을 맡긴다.
제3조(지체) 맡긴 돈을 늦게 돌려주면 이자를 붙인다. 제2조와 「이자 규정」 제7조를 준용한다.
제4조(해지) 계약을 끝내려면 제3조에 따른 정산을 마친다.
"""
INTEREST = "이자 규정\n\n제6조(날짜) 날짜를 센다.\n제7조(이율) 이율은 한 해 백분의 오로 한다."


@pytest.fixture(params=[lambda: Collection.in_memory(bm25=True), lambda: DictStore(bm25=True)], ids=["local", "other"])
def collection(request):
    with request.param() as made:
        for text in (RULES, INTEREST):
            chunks = split(text, encoder=len, max_tokens=300)
            ids = [chunk.metadata["citation"] for chunk in chunks]
            metadata = [chunk.to_metadata({"시행": chunk.metadata["law"] != "이자 규정"}) for chunk in chunks]
            made.add([chunk.text for chunk in chunks], ids=ids, metadata=metadata)
        yield made


def test_cited_articles_come_behind_the_hits_and_are_marked(collection):
    plain = collection.search("늦게 돌려주면", k=2)
    hits = collection.search("늦게 돌려주면", k=2, expand="citations")
    assert hits[: len(plain)] == plain
    assert [(hit.id, hit.cited_by) for hit in hits[len(plain) :]] == [
        ("창고임대규정 제2조", plain[0].id), ("이자규정 제7조", plain[0].id),
    ]  # fmt: skip
    assert plain[0].id == "창고임대규정 제3조"
    added = hits[-1]
    assert (added.score, added.relevance, added.legs) == (plain[0].score, plain[0].relevance, {})
    assert added.text == "제7조(이율) 이율은 한 해 백분의 오로 한다."


def test_what_is_found_anyway_is_not_added_and_one_step_is_one_step(collection):
    hits = collection.search("정산을 마친다", k=1, expand="citations")
    assert [hit.id for hit in hits] == ["창고임대규정 제4조", "창고임대규정 제3조"]  # not 제2조, which 제3조 cites
    every = collection.search("창고 이자 보증금 규정 정산 날짜", k=10, expand="citations")
    assert len({hit.id for hit in every}) == len(every) == 6
    found = collection.search("창고 이자 보증금 규정 정산 날짜", k=10)
    assert [hit.cited_by for hit in every] == [None] * len(found) + [hit.cited_by for hit in every[len(found) :]]


def test_a_name_of_several_words_needs_no_brackets_and_a_paragraph_is_its_whole_article():
    storage = "냉동 창고 관리법\n\n제1조(온도) ① 온도를 잰다. " + "재는 방법은 같다. " * 12 + "② 온도를 적는다.\n"
    contract = (
        "보관 계약서\n\n제1조(관리) 주인은 냉동 창고 관리법 제1조제2항에 따라 물건을 돌본다.\n제2조(요금) 다달이 낸다."
    )
    with Collection.in_memory(bm25=True) as collection:
        for text in (storage, contract):
            chunks = split(text, encoder=len, max_tokens=150, splitter="statutes")
            collection.add([chunk.text for chunk in chunks], metadata=[chunk.to_metadata() for chunk in chunks])
        hits = collection.search("주인이 물건을 돌본다", k=2, using="bm25", expand="citations")
        (first, *added) = [hit for hit in hits if hit.text.startswith("제1조(관리)") or hit.cited_by is not None]
        article = [document.text for document in collection.get(where={"citation": "냉동창고관리법 제1조"})]
    assert len(article) > 1
    assert [hit.text for hit in added] == article[:2]
    assert {hit.cited_by for hit in added} == {first.id}


def test_added_articles_match_the_filter_and_are_at_most_k(collection):
    hits = collection.search("늦게 돌려주면", k=2, expand="citations", where={"시행": True})
    assert "이자규정 제7조" not in [hit.id for hit in hits]
    hits = collection.search("늦게 돌려주면", k=1, options=None, expand="citations")
    assert [hit.id for hit in hits] == ["창고임대규정 제3조", "창고임대규정 제2조"]
    many = collection.search_many(["늦게", "정산", ""], options=SearchOptions(k=1, expand="citations"))
    assert [len(hits) for hits in many] == [2, 2, 0]


def test_other_metadata_of_that_name_is_no_citation():
    with Collection.in_memory(bm25=True) as collection:
        listed = {"citation": ["김 2020"], "cites": ["김 2020"]}
        metadata = [{"cites": 3}, {"cites": [1, None]}, {"citation": 5}, listed]
        collection.add(["보증금", "보증금 반환", "보증금 이자", "보증금 문헌"], metadata=metadata)
        assert collection.search("보증금", expand="citations") == collection.search("보증금")


CONTENTS = """창고 임대 규정

목차
제1장 총칙
  제1조(목적) ........ 1
  제2조(보증금)
제2장 정산
  제3조(지체) ········ 2
  제4조(해지)
부칙
별표 1

제1장 총칙
"""


def test_a_table_of_contents_hides_no_article():
    chunks = split(CONTENTS + RULES.partition("\n\n")[2], encoder=len, max_tokens=300)
    assert [chunk.metadata.get("citation") for chunk in chunks] == [
        None, *(f"창고임대규정 제{number}조" for number in (1, 2, 3, 4)),
    ]  # fmt: skip
    assert not any("part" in chunk.metadata for chunk in chunks)
    assert chunks[0].text.endswith("별표 1")
    assert chunks[1].headings == ("창고 임대 규정", "제1장 총칙", "제1조(목적)")
    with Collection.in_memory(bm25=True) as collection:
        collection.add([chunk.text for chunk in chunks], metadata=[chunk.to_metadata() for chunk in chunks])
        hits = collection.search("정산을 마친다", k=1, expand="citations")
    assert [hit.text.strip().splitlines()[-1][:8] for hit in hits] == ["제4조(해지) ", "제3조(지체) "]


def test_unknown_expansions_are_errors():
    with pytest.raises(InvalidArgumentError, match="expand='links'"):
        SearchOptions(expand="links")
