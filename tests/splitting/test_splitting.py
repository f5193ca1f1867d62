"""Each kind of text is split where its reader would."""

import subprocess
import sys
import unicodedata

import pytest

from korag import Collection, load_encoder
from korag.errors import InvalidArgumentError, InvalidTextError, MissingDependencyError
from korag.splitting import Chunk, Splitter, split
from korag.testing import FakeDenseEncoder

RULES = """사내 문서 관리 규정

제1장 총칙

제1조(목적) 이 규정은 회사의 문서를 작성하고 보존하는 방법을 정한다.
제2조(정의) 이 규정에서 사용하는 용어의 뜻은 다음과 같다.
1. "문서"란 업무에 관하여 만든 글을 말한다.
2. "보존 기간"이란 문서를 버리지 않고 두는 기간을 말한다.
제2장 보존
제1절 기간
제3조(보존 기간) ① 문서는 5년 동안 보존한다.
② 제1항에도 불구하고 「상법」 제33조에 따른 장부는 10년 동안 보존한다.
③ 제2조제2호와 제6조의2부터 제8조까지의 규정은 전자 문서에 준용한다.
제6조의2(전자 문서) 전자 문서는 별표 1에 따라 보존한다.
제7조(폐기) 문서를 버리려면 전조에 따라 점검한다.
제8조 삭제
부칙 <2024. 3. 1.>
제1조(시행일) 제3조의 개정규정은 공포한 날부터 시행한다.
[별표 1] 보존 방법(제6조의2 관련)
종이 상자에 넣는다.
"""


def titles(chunks):
    return [chunk.headings[-1] if chunk.headings else "" for chunk in chunks]


# -- statutes -------------------------------------------------------------------------------------------------


def test_an_article_is_a_chunk():
    chunks = split(RULES, encoder=len, max_tokens=400)
    assert titles(chunks) == [
        "제1조(목적)", "제2조(정의)", "제3조(보존 기간)", "제6조의2(전자 문서)", "제7조(폐기)", "제8조",
        "제1조(시행일)", "[별표 1] 보존 방법(제6조의2 관련)",
    ]  # fmt: skip
    third = chunks[2]
    assert third.text.startswith("제2장 보존\n제1절 기간\n제3조(보존 기간) ① 문서는")
    assert third.headings == ("사내 문서 관리 규정", "제2장 보존", "제1절 기간", "제3조(보존 기간)")
    assert third.breadcrumb == "사내 문서 관리 규정"  # the chunk itself has the others
    assert chunks[3].breadcrumb == "사내 문서 관리 규정 > 제2장 보존 > 제1절 기간"
    assert chunks[3].searched == f"{chunks[3].breadcrumb}\n{chunks[3].text}"


def test_a_long_article_is_split_by_paragraph_and_keeps_its_heading():
    chunks = [one for one in split(RULES, encoder=len, max_tokens=100) if one.metadata.get("article") == "제3조"]
    assert [one.metadata["paragraphs"] for one in chunks] == [[1, 2], [3]]
    assert chunks[1].text == "③ 제2조제2호와 제6조의2부터 제8조까지의 규정은 전자 문서에 준용한다."
    assert chunks[1].breadcrumb.endswith("제1절 기간 > 제3조(보존 기간)")


def test_articles_know_what_they_cite_and_how_they_are_cited():
    chunks = {chunk.headings[-1]: chunk.metadata for chunk in split(RULES, encoder=len, max_tokens=400)}
    own = "사내문서관리규정"
    assert chunks["제3조(보존 기간)"]["citation"] == f"{own} 제3조"
    applied = [f"{own} 제2조", f"{own} 제6조의2", f"{own} 제7조", f"{own} 제8조"]  # there is no 제7조의2
    assert chunks["제3조(보존 기간)"]["cites"] == ["상법 제33조", *applied]
    assert chunks["제3조(보존 기간)"]["applies"] == applied
    assert chunks["제6조의2(전자 문서)"]["cites"] == [f"{own} 별표1"]
    assert chunks["제7조(폐기)"]["cites"] == [f"{own} 제6조의2"]
    assert "cites" not in chunks["제1조(목적)"]
    addendum = chunks["제1조(시행일)"]
    assert (addendum["part"], addendum["citation"]) == ("부칙<2024.3.1.>", f"{own} 부칙<2024.3.1.> 제1조")
    assert addendum["cites"] == [f"{own} 제3조"]
    annex = chunks["[별표 1] 보존 방법(제6조의2 관련)"]
    assert (annex["part"], annex["citation"], annex["cites"]) == ("별표1", f"{own} 별표1", [f"{own} 제6조의2"])


CITING = {
    "「주택임대차보호법」 제3조, 제4조 및 제6조의2를 준용한다.": [
        "주택임대차보호법 제3조", "주택임대차보호법 제4조", "주택임대차보호법 제6조의2",
    ],
    "「민법」 제5조 내지 제7조에 따른다.": ["민법 제5조", "민법 제6조", "민법 제7조"],
    "「상법」 제33조를 따르고, 같은 법 제34조는 따르지 않는다.": ["상법 제33조", "상법 제34조"],
    "민법 제750조에 따르고 제2조에 따르지 않는다.": ["민법 제750조", "창고업법시행령 제2조"],
    "법 제9조와 이 영 제2조에 따른다.": ["창고업법 제9조", "창고업법시행령 제2조"],
    "전2조에 따른다.": ["창고업법시행령 제1조", "창고업법시행령 제2조"],
    "이 방법 제3호와 부칙 제2조, 제5조(제목)": ["창고업법시행령 제5조"],
    "6조 원과 제3항, 전항": [],
    # Names of several words without brackets: by all their words, and by the last one if that may be a name.
    "주인은 하천 정비법 제4조제2항을, 같은 법 시행령 제5조를 따른다.": [
        "하천정비법 제4조", "정비법 제4조", "하천정비법시행령 제5조", "정비법시행령 제5조",
    ],
    "이 경우 항만의 이용 및 안전 관리에 관한 법률 제9조를 준용한다.": ["항만의이용및안전관리에관한법률 제9조"],
    "배달을 마친 사람은 화물 운송 특례법 제2조에 따른다.": ["화물운송특례법 제2조"],
    "주인이 하천 정비법 시행령 제6조를 따르면": ["하천정비법시행령 제6조", "정비법시행령 제6조"],
    "보증금에 관한 규정 제5조, 다른 창고업법 제5조, 그 밖의 방법 제2조": [
        "창고업법시행령 제5조", "창고업법 제5조", "창고업법시행령 제2조",
    ],
    "맡기는 때에 민법 제3조, 신고를 하여 상법 제4조": ["민법 제3조", "상법 제4조"],
}  # fmt: skip


@pytest.mark.parametrize("text", CITING)
def test_citations_are_read_as_they_are_written(text):
    law = f"창고업법 시행령\n제1조(목적) 가\n제2조(정의) 나\n제3조(등록) {text}\n제5조(휴업) 라"
    third = split(law, encoder=len, max_tokens=300)[2]
    assert third.metadata.get("cites", []) == CITING[text]


@pytest.mark.parametrize("brackets", ["()", "【】", "[]", "（）"])
def test_a_contract_is_a_statute_whatever_the_brackets_of_its_titles(brackets):
    text = "창고 임대 계약서\n" + "".join(
        f"제{number}조{brackets[0]}{title}{brackets[1]} {title}을 정한다.\n"
        for number, title in enumerate(["목적", "요금", "기간"], 1)
    )
    assert [chunk.metadata.get("article") for chunk in split(text, encoder=len)] == [None, "제1조", "제2조", "제3조"]
    notes = "두 조를 옮겨 적는다.\n제1조[1] 글이다.\n제2조[2] 글이다."
    assert len(split(notes, encoder=len)) == 1


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("별표 1", "별표1"), ("별표 제2호", "별표2"), ("별표3의2", "별표3의2"), ("**별표 제4호의2**", "별표4의2"),
        ("별표", None), ("별표 1에 따른다.", None),
    ],
)  # fmt: skip
def test_an_annex_needs_no_brackets_in_a_line_of_its_own(line, part):
    text = f"창고 규정\n제1조(목적) 별표 1\n에 따른다. 그 밖에는\n별표 1\n에 따른다.\n{line}\n요금표이다.\n"
    chunk = split(text, encoder=len, splitter="statutes")[-1]
    assert (chunk.metadata.get("part"), chunk.metadata["citation"]) == (
        part, f"창고규정 {part}" if part else "창고규정 제1조",
    )  # fmt: skip


def test_mentions_at_the_beginning_of_a_line_are_no_headings():
    law = "제1조(목적) 이 법은\n제5조(등록)의 규정에 따른다.\n제3조제2항을 보라.\n제4조에 따라 한다.\n제2조(정의) 뜻"
    assert titles(split(law, encoder=len, max_tokens=400)) == ["제1조(목적)", "제2조(정의)"]
    assert titles(split("제1조 이 법은 창고에 적용한다.\n제2조 ① 주인은", encoder=len, splitter="statutes")) == [
        "제1조",
        "제2조",
    ]


def test_text_may_follow_the_title_of_an_article_without_a_space():
    law = "제1조(목적)이 규칙은 창고를 정한다.\n제2조(가입)가입자는 누구나 된다.\n제2조의2(요금)이 요금은\n"
    law += "제3조(정산)의 규정에 따른다.\n제3조(정산)정산은 달마다 한다.\n제9조(해지)가 정하는 바에 따른다."
    assert titles(split(law, encoder=len, max_tokens=400)) == [
        "제1조(목적)", "제2조(가입)", "제2조의2(요금)", "제3조(정산)",
    ]  # fmt: skip


def test_a_statute_without_its_name_takes_the_title():
    (chunk,) = split("제1조(목적) 제3조에 따른다.", encoder=len, title="창고업법")
    assert (chunk.breadcrumb, chunk.metadata["citation"], chunk.metadata["cites"]) == (
        "창고업법", "창고업법 제1조", ["창고업법 제3조"],
    )  # fmt: skip
    (named,) = split("창고업법\n제1조(목적) 이 법은", encoder=len, title="창고업법", splitter="statutes")
    assert named.headings == ("창고업법", "제1조(목적)")


def test_decomposed_hangul_is_split_alike():
    chunks = split(RULES, encoder=len, max_tokens=400)
    decomposed = unicodedata.normalize("NFD", RULES)
    same = split(decomposed, encoder=lambda text: len(unicodedata.normalize("NFC", text)), max_tokens=400)
    assert [unicodedata.normalize("NFC", one.text) for one in same] == [one.text for one in chunks]
    assert all(decomposed[one.start : one.end] == one.text for one in same)
    assert [one.metadata for one in same] == [one.metadata for one in chunks]


# -- other kinds ------------------------------------------------------------------------------------------------

GUIDE = """---
작성: 총무팀
---
# 도서관 안내

## 휴관일

도서관은 월요일에 쉰다.

```python
# 제목이 아니다

def f():
    return 1
```

## 요금 `표`

| 이름 | 값 |
|---|---|
| 어른 | 1,000 |
| 학생 | 500 |
| 아이 | 없음 |

기타
----
무료다.
"""


def test_markdown_is_split_by_heading_with_fences_whole():
    chunks = split(GUIDE, encoder=len, max_tokens=90)
    assert [chunk.headings for chunk in chunks] == [
        (), ("도서관 안내", "휴관일"), ("도서관 안내", "요금 표"), ("도서관 안내", "기타"),
    ]  # fmt: skip
    assert "# 제목이 아니다\n\ndef f():" in chunks[1].text
    small = split(GUIDE, encoder=len, max_tokens=70)
    code = next(chunk for chunk in small if chunk.text.startswith("```"))
    assert code.text.endswith("```")
    assert code.breadcrumb == "도서관 안내 > 휴관일"


def test_comments_of_markdown_have_no_headings():
    comment = "<!-- 옛 글\n# 옛 요금\n\n---\n# 끝 --> # 아님\n"
    text = f"# 요금\n글\n{comment}글\n<!-- 한 줄 -->\n## 기간\n글 <!--\n# 규정\n<!--\n# 별첨\n글"
    chunks = split(text, encoder=len)
    assert titles(chunks) == ["요금", "기간", "규정", "별첨"]  # a comment that does not end is none
    assert "".join("".join(chunk.text.split()) for chunk in chunks) == "".join(text.split())


def test_every_part_of_a_table_has_its_header():
    rows = "".join(f"| 품목{number} | {number * 100}원 |\n" for number in range(30))
    chunks = split(f"# 요금\n\n| 이름 | 값 |\n|---|---|\n{rows}", encoder=len, max_tokens=120)
    assert len(chunks) > 3
    assert all("| 이름 | 값 |\n|---|---|\n| 품목" in chunk.text for chunk in chunks)
    assert all(line.count("|") == 3 for chunk in chunks[1:] for line in chunk.text.splitlines())
    csv = "이름,설명\n" + "".join(f'품목{number},"첫 줄\n둘째 줄"\n' for number in range(20))
    parts = split(csv, encoder=len, max_tokens=80, filename="요금.csv")
    assert all(part.text.startswith("이름,설명\n품목") and part.text.count('"') % 2 == 0 for part in parts)
    assert [csv[part.start : part.end] for part in parts] == [part.text.removeprefix(part.repeated) for part in parts]


def test_html_is_split_by_heading_as_a_reader_sees_it():
    rows = "".join(f"<tr><td>품목{number}</td><td>{number}&nbsp;원</td></tr>" for number in range(20))
    page = f"""<!doctype html><html><head><title>빼는 글</title><style>p {{}}</style></head><body>
<h1>안내 &amp; 도움</h1><p>도서관은<br>월요일에   쉰다.</p>
<h2>요금</h2><table><tr><th>이름</th><th>값</th></tr>{rows}</table>
<script>var 뺄 = "글"</script><pre>가\n  나</pre></body></html>"""
    chunks = split(page, encoder=len, max_tokens=100)
    assert chunks[0].text == "안내 & 도움\n\n도서관은\n월요일에 쉰다."
    assert chunks[0].headings == ("안내 & 도움",)
    assert page[chunks[0].start : chunks[0].end].startswith("안내 &amp; 도움</h1>")
    tables = [chunk for chunk in chunks if "품목" in chunk.text]
    assert len(tables) > 2
    assert all("이름 | 값\n품목" in chunk.text for chunk in tables)
    assert "가\n  나" in chunks[-1].text
    assert not any("뺄" in chunk.text or "빼는" in chunk.text for chunk in chunks)


def test_prose_is_split_between_sentences():
    text = (
        "도서관은 월요일에 쉰다. 공휴일에도 쉰다! 버전 2.5는 2024. 5. 1. 나왔다. A. 김이 \u201c그렇다.\u201d 했다. 끝"
    )
    chunks = [chunk.text for chunk in split(text, encoder=len, max_tokens=24)]
    assert chunks == [
        "도서관은 월요일에 쉰다. 공휴일에도 쉰다!",
        "버전 2.5는 2024. 5. 1. 나왔다.",
        "A. 김이 \u201c그렇다.\u201d 했다. 끝",
    ]


def test_kiwi_finds_sentences_without_punctuation():
    pytest.importorskip("kiwipiepy")
    text = "오늘은 비가 왔다 우산을 두고 나왔다 그래서 뛰었다"
    chunks = [chunk.text for chunk in split(text, encoder=len, max_tokens=12, sentences="kiwi", splitter="prose")]
    assert chunks == ["오늘은 비가 왔다", "우산을 두고 나왔다", "그래서 뛰었다"]


def test_code_is_split_between_definitions():
    code = "import re\n\n\ndef one():\n    a = 1\n\n    return a\n\n\ndef two():\n    return 2\n"
    chunks = [chunk.text for chunk in split(code, encoder=len, max_tokens=45, filename="가.py")]
    assert chunks == ["import re", "def one():\n    a = 1\n\n    return a", "def two():\n    return 2"]


# -- settings -------------------------------------------------------------------------------------------------


def test_chunks_are_measured_in_tokens_of_the_model():
    encoder = load_encoder("mini-dense")
    text = "임대차 계약이 끝나면 집주인은 보증금을 돌려주어야 한다. " * 200
    chunks = split(text, encoder=encoder)
    limit = encoder.fingerprint.document_length
    counts = encoder.count_tokens([chunk.searched for chunk in chunks])
    assert max(counts) <= limit
    assert min(counts[:-1]) > 0.9 * limit
    assert all(chunk.text.endswith("한다.") for chunk in chunks)


def test_a_long_title_loses_its_beginning_not_the_text():
    chunks = split(
        "# 가나다라마바사아자차\n\n## 타파하\n\n글입니다. " + "문장이 하나 더 있다. " * 5, encoder=len, max_tokens=24
    )
    assert all(len(chunk.searched) <= 24 for chunk in chunks)
    assert chunks[-1].breadcrumb == "타파하"
    assert chunks[-1].headings == ("가나다라마바사아자차", "타파하")


def test_a_character_that_is_too_long_is_a_chunk_and_said(caplog):
    chunks = split("가 나", encoder=lambda text: 3 * len(text), max_tokens=2)
    assert [chunk.text for chunk in chunks] == ["가", "나"]
    assert "2 single characters have more tokens than max_tokens" in caplog.text


def test_chunks_are_searched_by_their_headings():
    chunks = split(RULES, encoder=FakeDenseEncoder(), max_tokens=60)
    with Collection.in_memory(bm25=True) as collection:
        collection.add([one.text for one in chunks], metadata=[one.to_metadata({"파일": "규정.txt"}) for one in chunks])
        hit = collection.search("제1절 기간 폐기", k=1)[0]
    assert hit.text == "제7조(폐기) 문서를 버리려면 전조에 따라 점검한다."
    assert hit.metadata["파일"] == "규정.txt"
    assert RULES[hit.metadata["start"] : hit.metadata["end"]] == hit.text


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"max_tokens": 0}, "max_tokens=0"), ({"encoder": 3}, "encoder=3"), ({"splitter": "법령"}, "splitter='법령'"),
        ({"sentences": "kss"}, "sentences='kss'"), ({"encoder": []}, "encoder="), ({"chunk_size": 3}, "chunk_size"),
        ({"encoder": load_encoder("mini-dense"), "max_tokens": 10**6}, "reads up to"),
        ({"encoder": FakeDenseEncoder(document_prompt="글: "), "max_tokens": 1}, "no room for text"),
    ],
)  # fmt: skip
def test_wrong_settings_are_errors_before_any_work(keywords, message):
    with pytest.raises(InvalidArgumentError, match=message):
        Splitter(**{"encoder": len, **keywords})


def test_wrong_texts_are_errors():
    for text in (None, b"x", "\ud83d"):
        with pytest.raises(InvalidTextError):
            split(text, encoder=len)
    assert split(" \n\u200b", encoder=len) == []


def test_kiwi_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"korag\[kiwi\]"):
        Splitter(encoder=len, sentences="kiwi")


def test_importing_loads_nothing_heavy():
    code = (
        "import korag.splitting, sys; "
        "print([name for name in ('torch', 'transformers', 'kiwipiepy', 'scipy') if name in sys.modules])"
    )
    path = f"import sys; sys.path[:0] = {sys.path!r}; "
    done = subprocess.run([sys.executable, "-c", path + code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert isinstance(split("글", encoder=len)[0], Chunk)


@pytest.mark.parametrize(
    ("text", "filename", "lost"),
    [
        ("# 제목\n\n<p>하나</p>\n<p>둘</p>\n<p>셋</p>", None, False),
        ("```html\n<p>하나</p>\n<p>둘</p>\n<p>셋</p>\n```", None, False),
        ("태그 </p>와 </div>와 </td>를 닫는다.", None, False),
        ("페이지에서\n이미 뽑은 글이다. 1 < 2이다.", "페이지.html", False),
        ("<p>하나</p>\n<p>둘</p>\n<p>셋</p>", None, True),
        ("<p>하나", "페이지.html", True),
    ],
)
def test_html_is_what_begins_with_tags(text, filename, lost):
    chunks = split(text, encoder=len, filename=filename)
    assert all("<p>" not in chunk.text for chunk in chunks) if lost else [chunk.text for chunk in chunks] == [text]
