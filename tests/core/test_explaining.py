"""`Collection.explain`: parts that add up to the score, places in the text as it was given, and pictures."""

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from checkpoints import expanding_colbert
from hypothesis import example, given, settings
from hypothesis import strategies as st

from korag import Collection, DenseEncoder, LateInteractionEncoder, SparseEncoder, load_encoder
from korag.breadcrumbs import BREADCRUMB
from korag.errors import InvalidArgumentError, InvalidTextError
from korag.explain import Explanation, explain_matches
from korag.html.fragments import page
from korag.places import spell
from korag.testing.encoders import FakeMultiVectorEncoder, FakeSparseEncoder
from korag.text import normalize

QUERY = "보증금은 언제 돌려받나요? 제3조의2"
TEXTS = {
    "계약": "보증금은 계약이 끝나면 돌려받는다. 임대인은 <b>보증금</b>을 반환한다 <script>alert(1)</script>.",
    "도서관": "도서관은 월요일에 쉰다.",
    "전세": unicodedata.normalize("NFD", "전세 보증금을 돌려받지 못하면 제 3 조의 2에 따라 ２０２４년까지 신고한다."),
    "긴 글": "도서관은 월요일에 쉰다. " * 30 + "보증금은 이사하는 날 돌려받는다. " + "책은 두 주 동안 빌린다. " * 30,
}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory, splade: SparseEncoder, dense: DenseEncoder) -> list[Any]:
    folder = expanding_colbert(tmp_path_factory.mktemp("models") / "mini-colbert")
    return [load_encoder(folder, device="cpu"), splade, dense]


def _collection(encoders: list[Any], **settings: Any) -> Any:
    collection = Collection.in_memory(encoders=encoders, bm25=True, **settings)
    breadcrumbs = [{BREADCRUMB: "주택임대차보호법 > 보증금의 회수"}, {}, {}, {}]
    collection.add(list(TEXTS.values()), ids=list(TEXTS), metadata=breadcrumbs)
    return collection


@pytest.fixture(scope="module")
def collection(encoders: list[Any]) -> Any:
    return _collection(encoders, window=64)


@pytest.fixture(scope="module")
def why(collection: Any) -> Explanation:
    return collection.explain(QUERY, "전세")


def _parts(leg: Any) -> list[float]:
    return [match.similarity for match in leg.matches] + [term.contribution for term in leg.terms]


@pytest.mark.parametrize("stored", [{"window": 64}, {"codec": "4bit"}, {"pool_factor": 2}])
def test_the_parts_add_up_to_the_scores_of_the_search(encoders: list[Any], stored: dict[str, Any]) -> None:
    searched = _collection(encoders, **stored)
    for fusion in ("anchored", "weighted", "rrf"):
        how: dict[str, Any] = {"fusion": fusion, "weights": {"dense": 0.5}, "where": {"쪽": {"$exists": False}}}
        for hit in searched.search(QUERY, k=2 if fusion == "anchored" else 1, **how):
            why = searched.explain(QUERY, hit, **how)
            assert (why.score, why.text) == (pytest.approx(hit.score), hit.text)
            assert math.fsum(row.contribution for row in why.fusion.rows) == pytest.approx(hit.score)
            for row in why.fusion.rows:
                assert (row.rank, row.score) == hit.legs.get(row.leg, (None, None))
                leg = why.legs[row.leg]
                assert leg.score == pytest.approx(row.score or 0.0, abs=1e-4)
                assert math.fsum(_parts(leg)) == pytest.approx(leg.score, abs=1e-4) or leg.kind == "dense"
    for leg in searched.legs:
        (hit, *_) = searched.search(QUERY, using=leg)
        alone = searched.explain(QUERY, hit, using=leg)
        assert (alone.score, alone.fusion, list(alone.legs)) == (hit.score, None, [leg])


def test_places_are_those_in_the_text_as_it_was_given(why: Explanation) -> None:
    found = {match.query_token: match for match in why.legs["colbert"].matches if match.query_kind == "text"}
    (begin, end), *_ = found["보증금"].document_spans
    assert unicodedata.normalize("NFC", why.text[begin:end]) == "보증금"
    assert QUERY[slice(*found["돌려"].query_spans[0])] == "돌려"
    kinds = [match.query_kind for match in why.legs["colbert"].matches]
    assert kinds[:2] == ["special", "prompt"]
    assert kinds[-1] == "expansion"
    assert not any(match.query_spans for match in why.legs["colbert"].matches if match.query_kind != "text")
    terms = {term.term: term for term in why.legs["bm25"].terms}
    assert unicodedata.normalize("NFC", why.text[slice(*terms["제3조의2"].spans[0])]) == "제 3 조의 2"
    sparse = why.legs["sparse"].terms
    assert {term.term for term in sparse if term.in_query and term.in_document} >= {"보증금", "돌려", "3"}
    assert not any(term.spans for term in sparse if not term.in_document)
    words = {why.text[word.begin : word.end]: word for word in why.legs["colbert"].words(why.text)}
    assert "보증금" in words[unicodedata.normalize("NFD", "보증금을")].labels
    assert math.fsum(word.contribution for word in words.values()) == pytest.approx(
        math.fsum(heat.contribution for heat in why.legs["colbert"].heat())
    )


def test_breadcrumbs_and_windows(collection: Any) -> None:
    under = collection.explain("주택임대차보호법에서 임대인의 반환", "계약")
    matches = under.legs["colbert"].matches
    assert {match.document_kind for match in matches} >= {"breadcrumb", "text"}
    for match in matches:
        for begin, end in match.document_spans:
            assert under.text[begin:end] == match.document_token
    long = collection.explain("보증금을 돌려받는 날", "긴 글").legs["colbert"]
    assert long.span is not None
    assert TEXTS["긴 글"][slice(*long.span)].count("보증금은 이사하는 날")
    assert {TEXTS["긴 글"][heat.begin : heat.end] for heat in long.heat()} >= {"보증금", "돌려"}
    assert all(long.span[0] <= heat.begin < heat.end <= long.span[1] for heat in long.heat())


def test_a_document_that_was_not_found_and_an_empty_one(collection: Any) -> None:
    why = collection.explain("xyz", "도서관")
    row = next(row for row in why.fusion.rows if row.leg == "bm25")
    assert (row.rank, row.score, row.contribution, why.legs["bm25"].score) == (None, None, 0.0, 0.0)
    assert "no term in common" in str(why)
    with Collection.in_memory(bm25=True) as small:
        small.add(["", "도서관"], ids=["빈", "글"])
        assert small.explain("도서관", "빈").score is None


def test_other_models_say_what_they_cannot_tell() -> None:
    collection = Collection.in_memory(encoders=[FakeMultiVectorEncoder(), FakeSparseEncoder()])
    collection.add(["보증금", "도서관"], ids=["가", "나"])
    (hit, *_) = collection.search("보증금")
    why = collection.explain("보증금", hit)
    for leg, own in why.legs.items():
        assert own.score == pytest.approx(hit.legs[leg][1], abs=1e-4)
        assert not _parts(own)
        assert "does not tell" in own.note


def test_bad_arguments(collection: Any) -> None:
    for wrong, message in ((["없음"], "document="), ("없음", "no document"), (None, "document=")):
        with pytest.raises(InvalidArgumentError, match=message):
            collection.explain(QUERY, wrong)
    for query in ("", " \u200b"):
        with pytest.raises(InvalidArgumentError, match="the query is empty"):
            collection.explain(query, "전세")
    with pytest.raises(InvalidTextError, match="query"):
        collection.explain(None, "전세")
    with pytest.raises(InvalidArgumentError, match="using='dens'"):
        collection.explain(QUERY, "전세", using="dens")


def test_explain_matches_has_places_of_pooled_and_cut_texts(colbert: LateInteractionEncoder) -> None:
    short: Any = load_encoder("mini-colbert", max_length=12)
    matches = explain_matches(short, "보증금", TEXTS["긴 글"])
    assert all(end <= 40 for match in matches for _, end in match.document_spans)
    emoji = "  뷁 😀보증금"
    spans = {match.document_token: match.document_spans for match in explain_matches(colbert, "뷁 😀보증금", emoji)}
    assert spans["보증금"] == ((5, 8),)
    assert spans["<0xEB>"] == ((2, 3),)  # a byte of a rare syllable has the place of the whole


@given(st.text(st.sampled_from("가\u1100\u1161\u11a8a\u0301 \u200b\u200d👩💻Ａ\r\nｶﾞ\u3000금"), max_size=20))
@example("\u200b보\u00a0ｶﾞ\r\n👩\u200d💻")
@settings(max_examples=25, deadline=None)
def test_every_character_of_the_one_spelling_has_a_place(text: str) -> None:
    spelling = spell(text)
    assert spelling.text == normalize(text)
    end = 0
    for index, character in enumerate(spelling.text):
        if not character.isspace():
            begin, after = spelling.place(index, index + 1)
            assert 0 <= begin < after <= len(text)
            assert character in normalize(text[begin:after])
            assert after >= end
            end = after


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.shown: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.shown.append(data)


def _read(html: str) -> _Page:
    read = _Page()
    read.feed(html)
    return read


def _pictures(collection: Any) -> Iterator[str]:
    hostile = "<script>alert(1)</script>\"'&"
    (hit, *_) = collection.search(QUERY)
    why = collection.explain(f"{QUERY} {hostile}", "계약")
    yield why.to_html()
    yield page(hit._repr_html_(), title=hostile)


def test_pictures_need_nothing_else_and_run_nothing(collection: Any) -> None:
    for html in _pictures(collection):
        read = _read(html)
        assert not {"script", "link", "img", "iframe"} & set(read.tags)
        assert not [name for name, _ in read.attributes if name.startswith("on") or name in ("src", "href")]
        assert "url(" not in html
        assert not re.search("https?://", html)
        assert "prefers-color-scheme" in html
        assert "<script>" in "".join(read.shown)  # as text
    whole = "".join(_read(collection.explain(QUERY, "계약").to_html()).shown)
    assert TEXTS["계약"] in whole


def test_a_picture_shows_by_more_than_colour(why: Explanation) -> None:
    read = _read(why._repr_html_())
    titles = [value or "" for name, value in read.attributes if name == "title"]
    assert any(re.match(r"0\.\d\d ← .*보증금", title) for title in titles)
    for shown in ("결합(anchored)", "합계", "특수 토큰", "마스크 토큰", "질문에 더한 말", "제3조의2"):
        assert shown in "".join(read.shown)
    assert all(("aria-hidden", "true") in read.attributes for tag in read.tags if tag == "bar")


def test_as_data_and_text(why: Explanation) -> None:
    told = json.loads(json.dumps(why.to_dict(), ensure_ascii=False))
    assert told["legs"]["colbert"]["words"][0]["labels"]
    assert told["fusion"]["rows"][0]["leg"] == "colbert"
    assert re.search(r"colbert +#\d +\d+\.\d+ +0\.\d+ = 0\.\d+ × \d\.\d+", str(why))
    assert "제3조의2" in str(why)
    assert repr(why).startswith("Explanation(query='보증금은 언제")
    assert len(repr(why)) < 200
