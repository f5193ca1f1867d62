"""Time is linear in a text's length, whatever is in it.

Each text here would take minutes, or for ever, in time that grows with the square of its length or faster: the suite's
limit for a test is what fails.
"""

import pytest

from korag.reading.base import ReadOptions
from korag.reading.html import HtmlReader
from korag.splitting import split
from korag.splitting.choosing import choose
from korag.splitting.citations import Place, cited_by

MANY = 200_000


def test_many_comments_before_a_text():
    assert choose("<!-- 가 -->" * 40 + "본문이다.") == "prose"
    assert choose("<!-- 가 -->\n" * 40 + "<html>") == "html"
    assert choose("<!--" * MANY) == "prose"


def test_many_items_between_two_articles():
    items = ", ".join(f"제{number}호" for number in range(2, 60))
    text = f"제49조제1호, {items}에 해당하는 자에게는 제9조를 적용한다."
    assert cited_by(text, Place("가법", article="제1조"), ["제1조", "제9조", "제49조"])[0] == [
        "가법 제49조",
        "가법 제9조",
    ]


@pytest.mark.parametrize(
    ("words", "law"),
    [
        ("제2항 및 제3호의2호, ", "나법"), ("제1호의2ㆍ가목 또는 3호, 각 호의 ", "나법"), ("(가를 뺀다)와 ", "나법"),
        ("제2항을 어긴 자는 ", "가법"),
    ],
)  # fmt: skip
def test_a_law_is_named_once_for_articles_that_belong_together(words, law):
    cited, _ = cited_by(f"「나법」 제3조{words}제5조에 따른다.", Place("가법", article="제1조"), [])
    assert cited == ["나법 제3조", f"{law} 제5조"]


@pytest.mark.parametrize("mark", ["!", "…"])
def test_many_marks_at_the_end_of_a_sentence(mark):
    text = "가" + mark * MANY + "나"
    assert "".join(chunk.text for chunk in split(text, encoder=len, max_tokens=500)) == text
    short = f"첫째 문장이다{mark * 5} 둘째 문장이다."
    parts = [chunk.text for chunk in split(short, encoder=len, max_tokens=20)]
    assert parts == [f"첫째 문장이다{mark * 5}", "둘째 문장이다."]


def test_a_long_text_without_spaces_is_measured_in_few_parts():
    measured = []

    def count(text):
        measured.append(len(text))
        return len(text)

    text = "QUJD" * 25_000
    chunks = split(text, encoder=count, max_tokens=400)
    assert "".join(chunk.text for chunk in chunks) == text
    assert min(len(chunk.text) for chunk in chunks[:-1]) > 360
    assert len(measured) < len(text) / 20
    assert sum(measured) < 6 * len(text)


def test_spaces_within_a_heading():
    spaces = " " * MANY
    (chunk,) = split(f"# 가{spaces}나\n글", encoder=len, max_tokens=2 * MANY, splitter="markdown")
    assert chunk.headings[0].startswith("가")
    for line, title in [("## 요금 ##  ", "요금"), ("# C#", "C#"), ("# 가 # 나 #", "가 # 나"), ("#\t가", "가")]:
        assert split(f"{line}\n글", encoder=len, splitter="markdown")[0].headings == (title,)


def test_a_line_of_spaces_under_what_may_be_the_header_of_a_table():
    text = "가|나\n" + " " * MANY + "다\n"
    (chunk,) = split(text, encoder=len, max_tokens=2 * MANY, splitter="markdown")
    assert chunk.text == text.strip()
    for rule in ("|---|:--:|", "--- | ---", " | --- | ", "|:---:|", "-- | --|  "):
        table = f"|가|나|\n{rule}\n" + "|다|라|\n" * 20
        parts = split(table, encoder=len, max_tokens=60, splitter="markdown")
        assert parts[1].repeated == f"|가|나|\n{rule.rstrip()}\n"


def test_a_line_of_spaces_before_a_statute():
    text = " " * MANY + "\n  # 창고법 (안)\n제1조(목적) 빌린다.\n"
    (chunk,) = split(text, encoder=len, splitter="statutes")
    assert chunk.headings == ("창고법", "제1조(목적)")
    assert chunk.text == text.strip()


def test_a_page_of_many_tables():
    count = 4_000
    page = "<html>" + "<h2>요금</h2><table><tr><th>가</th></tr><tr><td>나</td></tr></table>" * count
    assert len(split(page, encoder=len, max_tokens=500)) == count


@pytest.mark.parametrize("markup", ["<a ", "<!--", "<a b='"])
def test_a_page_that_is_cut_off(markup, tmp_path):
    page = "<p>글</p>온도 < 30&amp;<b>끝</b>" + markup * MANY
    (chunk,) = split(page, encoder=len, max_tokens=8 * MANY, splitter="html")
    assert chunk.text == "글\n\n온도 < 30&끝" + (markup * MANY).rstrip()
    assert page[: chunk.end] == page.rstrip()
    (tmp_path / "글.html").write_text(page, encoding="utf-8")
    (part,) = HtmlReader().read(tmp_path / "글.html", ReadOptions())
    assert part.text == "글\n온도 < 30&끝" + (markup * MANY).rstrip()
