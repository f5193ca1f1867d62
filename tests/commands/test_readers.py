"""Files of every format that `korag index` reads."""

import csv
import json
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from documents_made import write_hwpx, write_pdf

from korag.errors import UnreadableFileError
from korag.reading.base import Part, ReadOptions
from korag.reading.registry import find_reader
from korag.splitting import split

TEXT = "제6조(보존 기간) 계약서는 십 년 동안 보존한다.\n뷁, 펲시맨 ― ①"


def read(path: Path, **options: object) -> list[Part]:
    reader = find_reader(path)
    assert reader is not None
    return list(reader.read(path, ReadOptions(**options)))  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp949"])
@pytest.mark.parametrize("name", ["글.txt", "글.MD"])
def test_text_in_the_encodings_of_korean_files(tmp_path: Path, encoding: str, name: str) -> None:
    (tmp_path / name).write_bytes(TEXT.replace("\n", "\r\n").encode(encoding))
    assert read(tmp_path / name) == [Part("", TEXT)]


def test_euc_kr_web_page(tmp_path: Path) -> None:
    page = """<html><head><title>공지 사항</title><meta charset="euc-kr"><style>p { color: red }</style></head><body>
    <script>alert("안 됨")</script><h2>정전 &amp; 단수</h2><p>토요일   새벽에\n정전이 있다.<p>물은 <b>나온다</b>.
    <ul><li>가 동<li>나 동</ul><table><tr><th>동</th><th>시각</th></tr><tr><td>가</td><td>두 시</td></tr></table>
    <pre>a\n  b</pre></body></html>"""
    (tmp_path / "공지.html").write_bytes(page.encode("euc-kr"))
    (part,) = read(tmp_path / "공지.html")
    assert part.metadata == {"title": "공지 사항"}
    for line in ("## 정전 & 단수", "토요일 새벽에 정전이 있다.", "물은 나온다.", "동 | 시각", "가 | 두 시", "  b"):
        assert line in part.text
    for hidden in ("alert", "color", "공지"):
        assert hidden not in part.text


@pytest.mark.parametrize(
    ("page", "title", "text"),
    [
        ("<html><head><title>공지</title><body><p>본문은 남는다.", "공지", "본문은 남는다."),
        ("<head><meta charset=utf-8><title>공지</title><p>본문은 남는다.", "공지", "본문은 남는다."),
        ("<head><noscript><link></head><body>글", "", "글"),
        ("<title>공지<p>글", "공지", "글"),
        ("<title>공지</title><svg><svg><title>단추</title></svg><text>그림</text></svg>글", "공지", "글"),
        ("<object>그림 대신</object><math><mi>값</mi></math><iframe>틀</iframe>", "", "그림 대신값"),
        ("앞<![foo[bar]]> 뒤<![ 1]> 끝<![CDATA[x]]>", "", "앞 뒤 끝"),
    ],
)
def test_a_page_as_browsers_see_it(tmp_path: Path, page: str, title: str, text: str) -> None:
    (tmp_path / "글.html").write_text(page, encoding="utf-8")
    (part,) = read(tmp_path / "글.html")
    assert (part.metadata.get("title", ""), part.text) == (title, text)
    assert [chunk.text for chunk in split(page, encoder=len, splitter="html")] == [text]


@pytest.mark.parametrize(
    ("page", "text", "headings"),
    [
        ("<h2><div>요금</div></h2>글", "## 요금\n글", ["요금"]),
        ("<h2>제1장<br>총칙</h2><p>글", "## 제1장 총칙\n\n글", ["제1장 총칙"]),
        ("<h2>요금<p>글<p>글<h3>기간</h3>글", "## 요금\n글\n글\n\n### 기간\n글", ["요금", "기간"]),
        ("<h2>\n</h2>글", "글", []),
        ("<table><tr>\n<td><p>가</p></td>\n<td><div>나<p>다</div><tr><td>라<td><br></table>", "가 | 나 다\n라 |", []),
        ("<table><tr><th>#<th>이름</table><p># 글<p>#태그<p>---<p>&lt;!-- 글",
         "\\# | 이름\n\n\\# 글\n#태그\n\\---\n\\<!-- 글", []),
        ("<table><tr><td><h2>요금</h2><p>글<p>글<td>끝</table>", "## 요금\n\n글\n글\n끝", ["요금"]),
        ("<h2>설치</h2><pre>\n# 주석\n\n\n\n```\n  a<br># b</pre>끝",
         "## 설치\n\n````\n# 주석\n\n\n\n```\n  a\n# b\n````\n끝",
         ["설치"]),
        ("<pre># 주석", "```\n# 주석\n```", []),
        ("<table><tr><td>1<td><pre># 가\n나</pre></table>", "1 |\n```\n# 가\n나\n```", []),
    ],
)  # fmt: skip
def test_a_page_is_markdown_with_the_headings_of_the_page(
    tmp_path: Path, page: str, text: str, headings: list[str]
) -> None:
    (tmp_path / "글.html").write_text(page, encoding="utf-8")
    (part,) = read(tmp_path / "글.html")
    assert part.text == text
    found = [chunk.headings[-1] for chunk in split(text, encoder=len, splitter="markdown") if chunk.headings]
    assert found == headings


class TestTables:
    ROWS = ({"제목": "주차", "본문": "지하에 한다.", "부서": "총무"}, {"제목": "출입", "본문": '문 "가"로,\n다닌다.'})

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "cp949"])
    @pytest.mark.parametrize("suffix", [".csv", ".tsv"])
    def test_csv(self, tmp_path: Path, encoding: str, suffix: str) -> None:
        comma = "\t" if suffix == ".tsv" else ","
        lines = ["제목,본문,부서", "주차,지하에 한다.,총무", '출입,"문 ""가""로,\n다닌다.",']
        text = "\n".join(lines).replace(",", comma)
        (tmp_path / f"표{suffix}").write_bytes(text.encode(encoding))
        first, second = read(tmp_path / f"표{suffix}")
        assert first == Part("1", "주차\n지하에 한다.", {"부서": "총무", "row": 1})
        assert second.text == f'출입\n문 "가"로{comma}\n다닌다.'

    def test_a_csv_with_the_unnamed_first_column_of_pandas(self, tmp_path: Path) -> None:
        (tmp_path / "표.csv").write_text(",제목,본문\n0,주차,지하에 한다.\n1,출입,문으로 다닌다.\n", encoding="utf-8")
        first, second = read(tmp_path / "표.csv")
        assert (first.text, second.text) == ("주차\n지하에 한다.", "출입\n문으로 다닌다.")
        assert first.metadata == {"": "0", "row": 1}

    def test_a_long_cell_leaves_the_limit_of_the_program_alone(self, tmp_path: Path) -> None:
        limit = csv.field_size_limit()
        (tmp_path / "표.csv").write_text(f"제목,본문\n긴 글,{'가' * 200_000}\n", encoding="utf-8")
        (part,) = read(tmp_path / "표.csv")
        assert len(part.text) == len("긴 글\n") + 200_000
        assert csv.field_size_limit() == limit

    def test_jsonl(self, tmp_path: Path) -> None:
        rows = [row | {"_id": f"문답-{number}"} for number, row in enumerate(self.ROWS)]
        (tmp_path / "표.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
        assert [part.name for part in read(tmp_path / "표.jsonl")] == ["문답-0", "문답-1"]

    def test_parquet(self, tmp_path: Path) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(list(self.ROWS)), tmp_path / "표.parquet")
        first, second = read(tmp_path / "표.parquet")
        assert first.text == "주차\n지하에 한다."
        assert second.metadata == {"부서": None, "row": 2}

    def test_columns_of_ones_own(self, tmp_path: Path) -> None:
        (tmp_path / "표.csv").write_text("번호,질문,답\nQ7,언제 쉬나요,월요일\n", encoding="utf-8")
        with pytest.raises(UnreadableFileError, match="--text-column"):
            read(tmp_path / "표.csv")
        parts = read(tmp_path / "표.csv", text_columns=("질문", "답"), id_column="번호")
        assert parts == [Part("Q7", "언제 쉬나요\n월요일", {"번호": "Q7", "row": 1})]
        with pytest.raises(UnreadableFileError, match="no column '대답'"):
            read(tmp_path / "표.csv", text_columns=("대답",))

    @pytest.mark.parametrize("rows", ["제목,본문,,\n주차,지하에 한다.,가,\n", ",본문,제목,\n,지하에 한다.,주차,가\n"])
    def test_unnamed_columns_of_a_spreadsheet(self, tmp_path: Path, rows: str) -> None:
        (tmp_path / "표.csv").write_text(rows, encoding="utf-8")
        (part,) = read(tmp_path / "표.csv")
        assert part.text == "주차\n지하에 한다."
        assert "가" in part.metadata.values()

    def test_texts_in_a_list_are_lines_and_numbers_are_text(self, tmp_path: Path) -> None:
        rows = [{"제목": 7, "본문": ["지하에 한다.", "밤에는 닫는다."]}, {"제목": None, "본문": []}]
        (tmp_path / "표.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        assert [part.text for part in read(tmp_path / "표.jsonl")] == ["7\n지하에 한다.\n밤에는 닫는다.", ""]

    def test_a_column_of_parquet_that_python_cannot_read_is_named(self, tmp_path: Path) -> None:
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        bad = {
            "날": pyarrow.array([10_000_000], pyarrow.date32()),
            "때": pyarrow.array([0], pyarrow.timestamp("us", "서울/강남")),
            "글자": pyarrow.StringArray.from_buffers(
                1, pyarrow.py_buffer(b"\0\0\0\0\2\0\0\0"), pyarrow.py_buffer(b"\xb0\xa1")
            ),
        }
        for name, values in bad.items():
            parquet.write_table(pyarrow.table({"text": ["글"], name: values}), tmp_path / "표.parquet")
            with pytest.raises(UnreadableFileError, match=rf"The column '{name}' .* of '표.parquet' cannot be read"):
                read(tmp_path / "표.parquet")
        twice = pyarrow.table([pyarrow.array(["하나"])] * 2, names=["text", "text"])
        parquet.write_table(twice, tmp_path / "표.parquet")
        with pytest.raises(UnreadableFileError, match="has 2 columns 'text'"):
            read(tmp_path / "표.parquet")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("표.csv", "본문,값,값\n가,1,2\n", "has 2 columns '값'"),
            ("표.csv", "본문,가,\u1100\u1161\n글,1,2\n", "has 2 columns '가'"),
            ("표.jsonl", '{"text": "글", "가": 1, "\u1100\u1161": 2}', "has 2 columns '가'"),
            ("표.jsonl", '{"text": "글"}\n{"text": true}', "row 2, column 'text' has no text but a bool"),
            ("표.jsonl", '{"text": {"글": "글"}}', "row 1, column 'text' has no text but a dict"),
            ("표.jsonl", '{"text": ["글", 2]}', "row 1, column 'text' has no text but a list"),
            ("표.jsonl", '{"text": "글 \\udc80"}', "line 1, column 'text' has half a character"),
            ("표.csv", "본문\n가,나\n", "more values than columns"),
            ("표.csv", "id,본문\n1,가\n1,나\n", "that of a row before"),
            ("표.jsonl", '{"text": "가"}\n[1]\n', "2: "),
            ("표.jsonl", '{"text": \n', "1: "),
            ("표.parquet", "본문", "cannot be read"),
        ],
    )
    def test_damage(self, tmp_path: Path, name: str, content: str, message: str) -> None:
        if name.endswith("parquet"):
            pytest.importorskip("pyarrow")
        (tmp_path / name).write_text(content, encoding="utf-8")
        with pytest.raises(UnreadableFileError, match=message):
            read(tmp_path / name)


class TestPdf:
    @pytest.fixture(autouse=True)
    def _needs_pdfium(self) -> None:
        pytest.importorskip("pypdfium2")

    def test_pages(self, tmp_path: Path) -> None:
        write_pdf(
            tmp_path / "규정.pdf", [["제1조(목적) 연차휴가를 정한다.", "미리 신청한다."], ["연차는 열다섯 날이다."]]
        )
        assert read(tmp_path / "규정.pdf") == [
            Part("1", "제1조(목적) 연차휴가를 정한다.\n미리 신청한다.", {"page": 1}),
            Part("2", "연차는 열다섯 날이다.", {"page": 2}),
        ]

    def test_damage(self, tmp_path: Path) -> None:
        (tmp_path / "아님.pdf").write_bytes(b"%PDF-1.4\n")
        with pytest.raises(UnreadableFileError, match=r"'아님.pdf' cannot be read"):
            read(tmp_path / "아님.pdf")


class TestDocx:
    def test_headings_paragraphs_and_tables_in_order(self, tmp_path: Path) -> None:
        docx = pytest.importorskip("docx")
        document = docx.Document()
        document.add_heading("휴가 규정", level=1)
        document.add_paragraph("연차는 열다섯 날이다.")
        table = document.add_table(rows=2, cols=2)
        for row, values in zip(table.rows, [("종류", "날"), ("병가", "열 날")], strict=True):
            for cell, value in zip(row.cells, values, strict=True):
                cell.text = value
        document.add_paragraph("끝.")
        document.save(str(tmp_path / "휴가.docx"))
        (part,) = read(tmp_path / "휴가.docx")
        table_text = "| 종류 | 날 |\n| --- | --- |\n| 병가 | 열 날 |"
        assert part.text == f"# 휴가 규정\n\n연차는 열다섯 날이다.\n\n{table_text}\n\n끝."

    def test_a_paragraph_with_a_number_sign_is_no_heading(self, tmp_path: Path) -> None:
        docx = pytest.importorskip("docx")
        document = docx.Document()
        document.add_heading("휴가\n규정", level=1)
        for paragraph in ("# 메모", "글\n## 메모", "#연차", "```", "---"):
            document.add_paragraph(paragraph)
        document.save(str(tmp_path / "휴가.docx"))
        (part,) = read(tmp_path / "휴가.docx")
        assert part.text == "# 휴가 규정\n\n\\# 메모\n\n글\n\\## 메모\n\n#연차\n\n\\```\n\n\\---"

    def test_what_is_inside_something_is_read_and_what_was_deleted_is_not(self, tmp_path: Path) -> None:
        docx = pytest.importorskip("docx")
        xml = pytest.importorskip("docx.oxml")
        document = docx.Document()
        body = document.element.body
        for paragraph in (
            "<w:sdt><w:sdtPr/><w:sdtContent><w:p><w:r><w:t>양식 칸</w:t></w:r></w:p></w:sdtContent></w:sdt>",
            "<w:p><w:r><w:t>이름: </w:t></w:r><w:sdt><w:sdtContent><w:r><w:t>김</w:t></w:r></w:sdtContent></w:sdt>"
            "<w:ins><w:r><w:t> 넣은 글</w:t></w:r></w:ins><w:del><w:r><w:delText>뺀 글</w:delText></w:r></w:del>"
            "<w:moveFrom><w:r><w:t>옮긴 글</w:t></w:r></w:moveFrom>"
            "<w:hyperlink><w:r><w:t> 고리</w:t></w:r></w:hyperlink><w:r><w:br/><w:t>줄</w:t></w:r></w:p>",
        ):
            space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
            body.insert(len(body) - 1, xml.parse_xml(paragraph.replace(">", f" {space}>", 1)))
        table = document.add_table(rows=2, cols=3)
        table.cell(0, 0).merge(table.cell(1, 0)).text = "종류"
        table.cell(0, 1).merge(table.cell(0, 2)).text = "날"
        table.cell(1, 1).text = "밖"
        inner = table.cell(1, 2).add_table(rows=1, cols=2)
        inner.cell(0, 0).text, inner.cell(0, 1).text = "안", "표"
        document.save(str(tmp_path / "양식.docx"))
        (part,) = read(tmp_path / "양식.docx")
        assert part.text == (
            "양식 칸\n\n이름: 김 넣은 글 고리\n줄\n\n| 종류 | 날 |\n| --- | --- |\n| 종류 | 밖 | 안 표 |"
        )

    def test_damage(self, tmp_path: Path) -> None:
        pytest.importorskip("docx")
        (tmp_path / "아님.docx").write_bytes(b"PK")
        with zipfile.ZipFile(tmp_path / "다른 것.docx", "w") as archive:
            archive.writestr("나.txt", "가")
        for path in tmp_path.iterdir():
            with pytest.raises(UnreadableFileError, match="cannot be read"):
                read(path)


class TestHwpx:
    def test_paragraphs_and_tables(self, tmp_path: Path) -> None:
        write_hwpx(tmp_path / "기안.hwpx", ["출장 <보고>", "부산에 다녀왔다."], [("날", "일"), ("월", "회의")])
        (part,) = read(tmp_path / "기안.hwpx")
        assert part.text == "출장 <보고>\n부산에 다녀왔다.\n| 날 | 일 |\n| --- | --- |\n| 월 | 회의 |"

    def test_a_paragraph_with_a_number_sign_is_no_heading(self, tmp_path: Path) -> None:
        write_hwpx(tmp_path / "기안.hwpx", ["# 출장", "#부산", "---"], [("# 날", "일"), ("월", "회의")])
        (part,) = read(tmp_path / "기안.hwpx")
        assert part.text == "\\# 출장\n#부산\n\\---\n| # 날 | 일 |\n| --- | --- |\n| 월 | 회의 |"

    def test_damage_and_entities_that_multiply(self, tmp_path: Path) -> None:
        (tmp_path / "아님.hwpx").write_bytes(b"HWP Document File")
        with zipfile.ZipFile(tmp_path / "빈 것.hwpx", "w") as archive:
            archive.writestr("mimetype", "application/hwp+zip")
        with zipfile.ZipFile(tmp_path / "폭탄.hwpx", "w") as archive:
            archive.writestr("Contents/section0.xml", '<!DOCTYPE a [<!ENTITY b "가">]><a>&b;</a>')
        with zipfile.ZipFile(tmp_path / "인코딩.hwpx", "w") as archive:
            archive.writestr("Contents/section0.xml", '<?xml version="1.0" encoding="foo-bar"?><a>가</a>')
        for path in tmp_path.iterdir():
            with pytest.raises(UnreadableFileError, match="cannot be read"):
                read(path)


@pytest.mark.parametrize("name", ["옛.hwp", "옛.doc", "표.xlsx", "발표.pptx"])
def test_other_documents_are_refused_with_advice(name: str) -> None:
    with pytest.raises(UnreadableFileError, match=r"is not read\. Save it as"):
        find_reader(Path(name))


def test_what_is_no_document_is_nothing() -> None:
    assert find_reader(Path("사진.png")) is None


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "글.txt").write_bytes(b"\x00\x01\x02")
    with pytest.raises(UnreadableFileError, match="no text, or in an unknown encoding"):
        read(tmp_path / "글.txt")


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_is_read_row_by_row(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"큰 표{suffix}"
    text, rows, size = "창고의 열쇠는 경비실에 맡긴다. " * 500, 1_000, 0
    if suffix == ".parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table({"text": [f"{row} {text}" for row in range(rows)]}), path)
    else:
        with path.open("w", encoding="utf-8") as file:
            if suffix != ".jsonl":
                file.write("text\n")
            for row in range(rows):
                line = f"{row} {text}"
                file.write((json.dumps({"text": line}, ensure_ascii=False) if suffix == ".jsonl" else line) + "\n")
    reader = find_reader(path)
    assert reader is not None
    tracemalloc.start()
    try:
        for part in reader.read(path, ReadOptions()):
            size += 2 * len(part.text)  # bytes of Hangul in memory
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 15_000_000
    assert peak < size / 2.5
