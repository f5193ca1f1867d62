"""Whatever a text holds: nothing of it is lost, order is kept, chunks fit and are where they say."""

import itertools
import unicodedata

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from korag.splitting import Splitter
from korag.splitting.choosing import choose
from korag.splitting.html import read_html
from korag.splitting.kinds import KINDS
from korag.testing import FakeDenseEncoder
from korag.text import is_empty, normalize

LINES = [
    "제1장 총칙", "제1조(목적) 이 규정은 문서를 정한다.",
    "제6조의2(정의) ① 뜻은 다음과 같다. ② 그 밖에는 제1조에 따른다.",
    "1. 첫째 문서를 말한다.", "가. 둘째 문서를 말한다.", "부칙 <2024. 3. 1.>", "[별표 1] 보존 방법", "제3조 삭제",
    "# 안내", "## 휴관일 안내", "제목", "===", "---", "```python", "def f():", "    return 1", "```", "~~~",
    "| 이름 | 값 |", "|---|---|", "| 가 | 1 |", "| 나 | 2 |", "이름,값", '"줄\n바꿈",3',
    "도서관은 월요일에 쉰다. 공휴일에도 쉰다! 정말인가? \u201c그렇다.\u201d",
    "v2.1은 3.5배 빠르다.", "A. 김", "가" * 90, "ㅋ" * 40,
    "<h1>머리</h1>", "<table><tr><th>이름</th></tr><tr><td>값 &amp; 값</td></tr></table>",
    "<p>글&nbsp;글", "<pre>a\n b</pre>",
    "제６조（목적）", "\u200b", "\ufeff", "👩‍👩‍👧",
    "e\u0301\u0316", "\u1100\u1161\u11a8", "İ", "ﬁ", "①", "", " ", "\t", "\r",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(LINES) | st.text(max_size=12), max_size=25).map("\n".join)
KIND = st.sampled_from(["auto", *KINDS])
TITLES = st.sampled_from([None, "", "민법", "긴 제목 " * 9])


def joined(text):
    return "".join(text.split())


def is_one_character(text):
    """With its marks, the jamo of its syllable, what is invisible, and what a joiner joins: it is never cut."""
    return all(
        unicodedata.category(character) in ("Mn", "Me", "Cf", "Sk") or 0x1160 <= ord(character) <= 0x11FF
        or before == "\u200d"
        for before, character in itertools.pairwise(one for one in text if one == "\u200d" or normalize(one))
    )  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, form=st.sampled_from(["NFC", "NFD"]), kind=KIND, limit=st.integers(1, 120), title=TITLES)
def test_chunks_are_the_text_in_order_and_fit(text, form, kind, limit, title):
    source = unicodedata.normalize(form, text.encode("utf-8", "ignore").decode())
    chunks = Splitter(encoder=len, max_tokens=limit, splitter=kind).split(source, title=title)
    is_page = (choose(normalize(source)) if kind == "auto" else kind) == "html"
    end = 0
    for chunk in chunks:
        assert end <= chunk.start < chunk.end <= len(source)  # in order, and apart
        end = chunk.end
        own = chunk.text.removeprefix(chunk.repeated)
        assert own == own.strip() != ""
        assert is_page or own == source[chunk.start : chunk.end]
        assert len(chunk.searched) <= limit or (is_one_character(own) and chunk.searched == own)
        assert unicodedata.combining(own[0]) == 0 or own[0] == joined(source)[0]
        assert not 0x1160 <= ord(own[0]) <= 0x11FF or own[0] == joined(source)[0]
    if is_empty(source) or (is_page and is_empty(read_html(source).text)):
        assert chunks == []
        return
    read = "".join(chunk.text.removeprefix(chunk.repeated) for chunk in chunks)
    assert joined(read) == joined(read_html(source).text if is_page else source)


@settings(max_examples=25, deadline=None)
@given(text=TEXTS, kind=KIND, limit=st.integers(8, 40))
def test_tokens_of_several_models_are_counted(text, kind, limit):
    text = text.encode("utf-8", "ignore").decode()
    words = FakeDenseEncoder(document_prompt="문서: ")
    for chunk in Splitter(encoder=[words, len], max_tokens=limit, splitter=kind).split(text):
        assert words.count_tokens([chunk.searched])[0] <= limit
        assert len(chunk.searched) <= limit or is_one_character(chunk.text)


# Pieces of pages with what a reader sees of them, known because they are put together here.
WORDS = st.sampled_from(
    ["보증금", "열쇠를 맡긴다.", "제3조(요금)", "A & B", "3 < 4", "가나", "\u1100\u1161\u11a8", "①"]
)


def shown(words):
    return words.replace("&", "&amp;").replace("<", "&lt;")


def piece(form):
    return st.lists(WORDS, min_size=1, max_size=3).map(lambda words: form(" ".join(words)))


PIECES = st.one_of(
    piece(lambda words: (f"<p>{shown(words)}", words)),
    piece(lambda words: (f"<h2 id='a>b'>{shown(words)}</h2>\n", words)),
    piece(lambda words: (f"<div>{shown(words[:2])}<b>{shown(words[2:])}</b></div>", words)),
    piece(lambda words: (f"<ul><li>{shown(words)}<li>{shown(words)}</ul>", words * 2)),
    piece(lambda words: (f"<pre>{shown(words)}\n  끝</pre>", words + "끝")),
    piece(lambda words: (f"<table><tr><th>이름<tr><td>{shown(words)}</td></tr></table>", "이름" + words)),
    piece(lambda words: (f"<!-- {words.replace('-', ' ')} -->", "")),
    piece(lambda words: (f"<script>let x = '{words}'</script>", "")),
    piece(lambda words: (f"<style>p {{}} /* {words} */</style>", "")),
    st.just(("글&nbsp;글 &#8361;&#x20a9; &hellip;", "글글₩₩…")),
)


@settings(max_examples=25, deadline=None)
@given(pieces=st.lists(PIECES, min_size=1, max_size=8), limit=st.integers(20, 80))
def test_chunks_of_a_page_are_what_a_reader_sees(pieces, limit):
    source = "".join(written for written, _ in pieces)
    chunks = Splitter(encoder=len, max_tokens=limit, splitter="html").split(f"<html><body>{source}</body></html>")
    read = "".join(chunk.text.removeprefix(chunk.repeated) for chunk in chunks)
    assert joined(read) == joined("".join(seen for _, seen in pieces))
