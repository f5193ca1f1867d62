"""`korag index`, as in a new user's first hour."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
import tracemalloc
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pytest
from documents_made import write_hwpx, write_pdf

from korag import Collection
from korag.cli import main
from korag.collection.local.stored import reading
from korag.errors import IndexStateError, InvalidArgumentError
from korag.folders.indexing import index_folder
from korag.folders.reports import IndexReport
from korag.splitting import Splitter
from korag.testing import FakeDenseEncoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as an office has it."""
    root = tmp_path / "문서"
    (root / "인사").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".git" / "숨김.txt").write_text("숨긴 글", encoding="utf-8")
    (root / "도서관.txt").write_bytes("도서관은 월요일에 쉰다. 주말에는 다섯 시에 닫는다.".encode("cp949"))
    (root / "인사" / unicodedata.normalize("NFD", "휴가.md")).write_text(
        "# 휴가\n\n연차는 열다섯 날이다.", encoding="utf-8"
    )
    (root / "문답.csv").write_text("질문,본문\n주차,지하 이 층에 한다.\n암호,안내판에 있다.\n", encoding="utf-8-sig")
    (root / "정전.html").write_text("<h1>정전</h1><p>토요일 새벽에 정전이 있다.", encoding="utf-8")
    write_hwpx(root / "기안.hwpx", ["부산에 출장을 다녀왔다."])
    (root / "옛 문서.hwp").write_bytes(b"HWP Document File")
    (root / "깨진 글.txt").write_bytes(b"\x00\x01")
    (root / "사진.png").write_bytes(b"\x89PNG")
    (root / "~$휴가.docx").write_bytes(b"lock")
    return root


FILES = {"도서관.txt", "인사/휴가.md", "문답.csv", "정전.html", "기안.hwpx"}


@pytest.fixture
def collection(tmp_path: Path) -> Any:
    with Collection.open(tmp_path / "색인", encoders=[FakeDenseEncoder()], bm25=True) as opened:
        yield opened


def encoded(collection: Any) -> int:
    return int(collection.encoders["dense"].documents_encoded)


def index(*arguments: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(["index", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_first_hour(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = str(tmp_path / "색인")
    first = index(str(folder), "--to", target, "--models", capsys=capsys)
    assert set(first["added"]) == FILES
    assert first["documents"] == 6
    assert {problem["file"] for problem in first["problems"]} == {"옛 문서.hwp", "깨진 글.txt"}
    assert first["skipped"] == {".png": 1}

    assert main(["search", target, "연차가 며칠", "--k", "1", "--json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)
    assert (hit["id"], hit["metadata"]["file"]) == ("인사/휴가.md", "인사/휴가.md")
    assert main(["search", target, "암호", "--where", '{"file": "문답.csv"}', "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["metadata"]["row"] == 2

    (folder / "도서관.txt").write_text("도서관은 화요일에 쉰다.", encoding="utf-8")
    (folder / "정전.html").rename(folder / "공지.html")
    (folder / "기안.hwpx").unlink()
    second = index(str(folder), "--to", target, capsys=capsys)
    assert (second["added"], second["changed"], second["removed"]) == ([], ["도서관.txt"], ["기안.hwpx"])
    assert second["renamed"] == {"정전.html": "공지.html"}
    assert second["unchanged"] == 2
    with Collection.open(target) as opened:
        assert set(opened.ids()) == {"도서관.txt", "인사/휴가.md", "문답.csv#1", "문답.csv#2", "공지.html"}
        assert opened.get(["도서관.txt"])[0].text == "도서관은 화요일에 쉰다."


def test_with_the_bundled_models(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", str(folder), "--to", str(tmp_path / "색인"), "--quiet"]) == 0
    printed = capsys.readouterr()
    assert "5 new" in printed.out
    assert "not read: 옛 문서.hwp" in printed.err
    with Collection.open(tmp_path / "색인") as opened:
        assert opened.legs == ("dense", "sparse", "bm25")
        assert opened.search("도서관이 쉬는 날", k=1)[0].id == "도서관.txt"


def test_unchanged_files_are_not_read(folder: Path, collection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    index_folder(folder, collection)
    monkeypatch.setattr("korag.folders.running.digest_of", lambda _: pytest.fail("read"))
    for name in ("깨진 글.txt", "옛 문서.hwp"):
        (folder / name).unlink()
    report = index_folder(folder, collection)
    assert (report.unchanged, report.added, report.changed) == (5, [], [])


def test_a_touched_file_is_not_encoded(folder: Path, collection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    index_folder(folder, collection)
    before = encoded(collection)
    os.utime(folder / "정전.html", ns=(1, 1))
    assert index_folder(folder, collection).unchanged == 5
    assert encoded(collection) == before
    monkeypatch.setattr("korag.folders.running.digest_of", lambda _: pytest.fail("read"))
    (folder / "깨진 글.txt").unlink()
    assert index_folder(folder, collection).unchanged == 5


def test_renamed_files_and_moved_rows_are_not_encoded(folder: Path, collection: Any) -> None:
    index_folder(folder, collection)
    before = encoded(collection)
    (folder / "인사").rename(folder / "노무")
    (folder / "문답.csv").write_text("질문,본문\n암호,안내판에 있다.\n주차,지하 이 층에 한다.\n", encoding="utf-8-sig")
    report = index_folder(folder, collection)
    assert report.renamed == {"인사/휴가.md": "노무/휴가.md"}
    assert report.changed == ["문답.csv"]
    assert encoded(collection) == before
    assert collection.get(["문답.csv#1"])[0].text == "암호\n안내판에 있다."
    assert collection.get(["노무/휴가.md"])[0].metadata["file"] == "노무/휴가.md"
    assert collection.search("안내판", k=1, using="bm25")[0].id == "문답.csv#1"


def test_one_more_row_is_one_more_encoding(folder: Path, collection: Any) -> None:
    index_folder(folder, collection)
    before = encoded(collection)
    (folder / "문답.csv").write_text(
        "질문,본문\n식당,일 층에 있다.\n주차,지하 이 층에 한다.\n암호,안내판에 있다.\n", encoding="utf-8-sig"
    )
    index_folder(folder, collection)
    assert encoded(collection) == before + 1
    assert [collection.get([f"문답.csv#{row}"])[0].text[:2] for row in (1, 2, 3)] == ["식당", "주차", "암호"]


def test_documents_of_others_stay(folder: Path, collection: Any) -> None:
    collection.add(["손으로 넣은 글"], ids=["내 것"])
    index_folder(folder, collection)
    (folder / "정전.html").unlink()
    index_folder(folder, collection)
    assert "내 것" in collection.ids()
    assert "정전.html" not in collection.ids()


def test_a_file_that_cannot_be_read_any_more_keeps_its_documents(folder: Path, collection: Any) -> None:
    index_folder(folder, collection)
    (folder / "도서관.txt").write_bytes(b"\x00")
    report = index_folder(folder, collection)
    assert "도서관.txt" in {problem.file for problem in report.problems}
    assert collection.get(["도서관.txt"])[0].text.startswith("도서관은 월요일")


def test_files_without_text_are_said_and_not_read_again(folder: Path, collection: Any) -> None:
    (folder / "빈.txt").write_text(" \n", encoding="utf-8")
    assert index_folder(folder, collection).without_text == ["빈.txt"]
    assert index_folder(folder, collection).unchanged == 6


def test_another_or_an_empty_folder_changes_nothing(folder: Path, collection: Any, tmp_path: Path) -> None:
    index_folder(folder, collection)
    (tmp_path / "빈 폴더").mkdir()
    with pytest.raises(IndexStateError, match="--replace"):
        index_folder(tmp_path / "빈 폴더", collection)
    assert len(collection) == 6
    index_folder(tmp_path / "빈 폴더", collection, replace=True)
    assert len(collection) == 0


def test_an_empty_folder_suggests_no_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "빈 폴더").mkdir()
    assert main(["index", str(tmp_path / "빈 폴더"), "--to", str(tmp_path / "색인"), "--models", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "There was nothing to index" in printed
    assert "korag search" not in printed


def test_rows_without_text_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder := tmp_path / "표").mkdir()
    rows = '{"text": "연차는 열다섯 날이다."}\n{"내용": "출장비는 나중에 낸다."}\n{"내용": "보증금은 돌려준다."}\n'
    (folder / "자료.jsonl").write_text(rows, encoding="utf-8")
    assert main(["index", str(folder), "--to", str(tmp_path / "색인"), "--models", "--quiet"]) == 0
    said = capsys.readouterr().err
    assert "일부만 읽음 / read in part: 자료.jsonl" in said
    assert "행 2개는 검색하는 열 'text'에 글이 없습니다(2, 3행). 이 행에 있는 다른 열: 내용." in said
    assert "2 rows have no text in 'text', the column that is searched (rows 2, 3)." in said
    advice = said.strip().rpartition(": ")[2].split()
    assert advice == ["--text-column", "text", "내용"]
    report = index(str(folder), "--to", str(tmp_path / "색인"), *advice, capsys=capsys)
    assert (report["documents"], report["problems"]) == (3, [])


_TABLES = [
    ("표.csv", "text,내용\n글,\n,출장비\n,\n"),
    ("표.tsv", "id\ttext\t내용\na\t글\t\nb\t\t출장비\n\t\t\n"),
    ("표.jsonl", '{"text": "글"}\n\n{"text": null, "내용": "출장비"}\n{"text": " "}\n{}\n'),
    ("표.jsonl", '{"title": "제목", "text": "글"}\n{"title": "출장", "내용": "출장비"}\n{"title": "제목뿐"}\n'),
    ("표.parquet", ""),
]


@pytest.mark.parametrize(("name", "content"), _TABLES)
def test_rows_without_text_are_named_in_every_table(tmp_path: Path, collection: Any, name: str, content: str) -> None:
    (folder := tmp_path / "표").mkdir()
    if name.endswith("parquet"):
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        table = pyarrow.table({"text": ["글", None, ""], "내용": [None, "출장비", None]})
        parquet.write_table(table, folder / name)
    else:
        (folder / name).write_text(content, encoding="utf-8")
    (problem,) = index_folder(folder, collection).problems
    assert (problem.file, problem.in_part) == (name, True)
    assert "1 row has no text in 'text', the column that is searched (row 2). Other columns there: 내용." in str(
        problem.error
    )


def test_rows_with_an_id_alone_are_named(tmp_path: Path, collection: Any) -> None:
    (folder := tmp_path / "표").mkdir()
    (folder / "표.csv").write_text("id,text\n" + "".join(f"{n},\n" for n in range(7)) + "8,글\n", encoding="utf-8")
    (problem,) = index_folder(folder, collection).problems
    assert str(problem.error).endswith(
        "7 rows have no text in 'text', the column that is searched (rows 1, 2, 3, 4, 5, …)."
    )


def test_names_that_differ_in_their_form_only(folder: Path, collection: Any) -> None:
    for form in ("NFC", "NFD"):
        (folder / unicodedata.normalize(form, "같은 글.txt")).write_text(form, encoding="utf-8")
    report = index_folder(folder, collection)
    assert report.added.count("같은 글.txt") == 1
    assert "같은 글.txt" in {problem.file for problem in report.problems}


def test_an_index_inside_the_folder_is_not_indexed(folder: Path) -> None:
    with Collection.open(folder / "색인", bm25=True) as inside:
        assert set(index_folder(folder, inside).added) == FILES


def test_pdf_pages_are_documents(tmp_path: Path, collection: Any) -> None:
    pytest.importorskip("pypdfium2")
    (tmp_path / "쪽").mkdir()
    write_pdf(tmp_path / "쪽" / "규정.pdf", [["연차는 열다섯 날이다."], [], ["병가는 열 날이다."]])
    index_folder(tmp_path / "쪽", collection)
    assert {document.id: document.metadata["page"] for document in collection.get()} == {
        "규정.pdf#1": 1,
        "규정.pdf#3": 3,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "없는 폴더", "--to", "INDEX"], "There is no folder"),
        (["index", "FILE", "--to", "INDEX"], "is a file, not a folder; pass the folder it is in"),
        (["index", "FOLDER", "--to", "INDEX", "--device", "gpu"], "device='gpu' is no device. The names are cpu, cuda"),
        (["index", "FOLDER", "--to", "FOLDER"], "is the folder to index"),
        (["index", "FOLDER", "--to", "INDEX", "--models", "mini-dens"], "mini-dense"),
        (["index", "FOLDER", "--to", "INDEX", "--models", "--codec", "1bit"], "codec"),
        (["index", "FOLDER", "--to", "INDEX", "--models", "--max-tokens", "0"], "--max-tokens 0 must be at least 1"),
    ],
)
def test_mistakes_leave_no_index(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    places = {"FOLDER": str(folder), "FILE": str(folder / "도서관.txt"), "INDEX": str(tmp_path / "색인")}
    assert main([places.get(argument, argument) for argument in arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "색인").exists()


def test_ctrl_c_says_how_to_go_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("korag.folders.running._DOCUMENTS", 1)
    added = 0
    original = Collection.add

    def add(self: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal added
        added += 1
        if added == 3:
            raise KeyboardInterrupt
        return original(self, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(Collection, "add", add)
        assert main(["index", str(folder), "--to", str(tmp_path / "색인"), "--models", "--quiet"]) == 130
    said = capsys.readouterr().err
    assert "같은 명령을 다시 실행하면 이어서" in said
    assert "the same command goes on" in said
    report = index(str(folder), "--to", str(tmp_path / "색인"), capsys=capsys)
    assert report["documents"] == 6
    assert report["unchanged"] >= 1


_KILLED = """
import os, signal, sys
from korag import Collection
from korag.cli import main
from korag.folders import running
running._DOCUMENTS = 1
add, left = Collection.add, int(sys.argv[1])
def killing(self, *arguments, **keywords):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    return add(self, *arguments, **keywords)
Collection.add = killing
main(["index", sys.argv[2], "--to", sys.argv[3], "--models"])
"""


@pytest.mark.kill
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_an_hour_with_a_kill_in_it(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files of all kinds, a run that is killed and goes on, a changed file, and what is found at the end."""
    pytest.importorskip("pypdfium2")
    docx = pytest.importorskip("docx")
    write_pdf(folder / "규정.pdf", [["병가는 열 날이다."], ["휴직은 한 해이다."]])
    (letter := docx.Document()).add_paragraph("구내식당은 열두 시에 연다.")
    letter.save(str(folder / "식당.docx"))
    target = tmp_path / "색인"
    done = subprocess.run([sys.executable, "-c", _KILLED, "3", str(folder), str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    with reading(target) as stored:
        assert len(stored) == 3
    report = index(str(folder), "--to", str(target), capsys=capsys)
    assert report["documents"] == 9
    assert report["unchanged"] >= 1  # files whose documents are all there
    (folder / "도서관.txt").write_text("도서관은 화요일에 쉰다.", encoding="utf-8")
    report = index(str(folder), "--to", str(target), capsys=capsys)
    assert (report["changed"], report["unchanged"], report["documents"]) == (["도서관.txt"], 6, 9)
    with Collection.open(target) as opened:
        assert len(set(opened.ids())) == 9
        found = {
            query: opened.search(query, k=1)[0].metadata["file"]
            for query in ("도서관이 쉬는 화요일", "연차", "암호 안내판", "정전", "부산 출장", "병가", "구내식당")
        }
        assert set(found.values()) == {*FILES, "규정.pdf", "식당.docx"}
    assert Collection.verify(target).ok


class TestRename:
    def test_ids_change_and_vectors_stay(self, collection: Any) -> None:
        collection.add(["하나", "둘", "셋"], ids=["가", "나", "다"], metadata=[{"수": 1}, {"수": 2}, {"수": 3}])
        before = encoded(collection)
        collection.rename({"가": "나", "나": "가", "다": "라"})
        assert [(document.id, document.text) for document in collection.get()] == [
            ("나", "하나"),
            ("가", "둘"),
            ("라", "셋"),
        ]
        assert collection.search("하나", k=1)[0].id == "나"
        assert collection.get(["라"])[0].metadata == {"수": 3}
        assert encoded(collection) == before
        assert Collection.verify(collection.path).ok

    @pytest.mark.parametrize("ids", [{"없음": "라"}, {"가": "나"}, {"가": "라", "나": "라"}, {"가": ""}])
    def test_mistakes_change_nothing(self, collection: Any, ids: dict[str, str]) -> None:
        collection.add(["하나", "둘"], ids=["가", "나"])
        with pytest.raises(InvalidArgumentError):
            collection.rename(ids)
        assert collection.ids() == ["가", "나"]


def test_a_report_of_an_interrupted_run_is_not_complete(
    folder: Path, collection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Collection, "add", interrupt)
    report = IndexReport()
    with pytest.raises(KeyboardInterrupt):
        index_folder(folder, collection, report=report)
    assert not report.complete


# -- splitting ------------------------------------------------------------------------------------------------------

RULES = """도서관 운영 규칙

제1조(목적) 이 규칙은 도서관을 여닫는 시간과 자료를 빌리는 방법을 정한다.

제2조(휴관) 도서관은 월요일에 쉰다.

제3조(대출) 자료는 한 사람이 다섯 권까지 두 주 동안 빌린다.
"""


def test_an_article_of_a_statute_is_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root := tmp_path / "규칙").mkdir()
    (root / "도서관.txt").write_text(RULES, encoding="utf-8")
    target = str(tmp_path / "색인")
    assert index(str(root), "--to", target, "--models", capsys=capsys)["documents"] >= 3
    assert main(["search", target, "몇 권까지 빌리나", "--k", "1", "--json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)
    assert hit["text"].startswith("제3조(대출)")
    assert hit["metadata"]["file"] == "도서관.txt"
    start, end = hit["metadata"]["start"], hit["metadata"]["end"]
    assert RULES[start:end] == hit["text"]
    assert index(str(root), "--to", target, capsys=capsys)["unchanged"] == 1
    # Other settings read the file again; one text is one document then.
    assert index(str(root), "--to", target, "--splitter", "none", capsys=capsys)["changed"] == ["도서관.txt"]
    with Collection.open(target) as opened:
        assert [document.text for document in opened.get()] == [RULES]
        assert opened.ids() == ["도서관.txt"]


def test_a_changed_article_is_one_encoding(tmp_path: Path, collection: Any) -> None:
    (root := tmp_path / "규칙").mkdir()
    splitter = Splitter(encoder=len, max_tokens=200)
    (root / "안내.txt").write_text("안내판은 현관에 있다.", encoding="utf-8")
    (root / "도서관.txt").write_text(RULES, encoding="utf-8")
    index_folder(root, collection, splitter=splitter)
    before, count = encoded(collection), len(collection)
    (root / "도서관.txt").write_text(RULES.replace("월요일", "매주 화요일"), encoding="utf-8")
    report = index_folder(root, collection, splitter=splitter)
    assert report.changed == ["도서관.txt"]
    assert encoded(collection) == before + 1
    assert len(collection) == count
    text = RULES.replace("월요일", "매주 화요일")
    for document in collection.get(where={"file": "도서관.txt"}):
        assert text[document.metadata["start"] : document.metadata["end"]] == document.text
    (root / "도서관.txt").rename(root / "운영 규칙.txt")
    index_folder(root, collection, splitter=splitter)
    assert encoded(collection) == before + 1
    assert {document.metadata["file"] for document in collection.get()} == {"안내.txt", "운영 규칙.txt"}


@pytest.mark.parametrize("arguments", [["--splitter", "문단"], ["--max-tokens", "0"], ["--max-tokens", "많이"]])
def test_wrong_splitters(folder: Path, tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        raise SystemExit(main(["index", str(folder), "--to", str(tmp_path / "색인"), "--models", *arguments]))
    assert caught.value.code == 2


# -- what a folder may hold -----------------------------------------------------------------------------------------

PAGE = "여는 말이다.\n\n```html\n<p>하나</p>\n<p>둘</p>\n<div>셋</div>\n```\n\n닫는 말이다."


@pytest.mark.parametrize("name", ["태그.md", "태그.txt"])
def test_text_about_tags_keeps_them(tmp_path: Path, collection: Any, name: str) -> None:
    (root := tmp_path / "글").mkdir()
    (root / name).write_text(PAGE, encoding="utf-8")
    index_folder(root, collection, splitter=Splitter(encoder=len, max_tokens=500))
    assert [document.text for document in collection.get()] == [PAGE]


def test_tags_that_a_page_shows_are_text(tmp_path: Path, collection: Any) -> None:
    (root := tmp_path / "글").mkdir()
    shown = "&lt;p&gt;하나&lt;/p&gt; &lt;p&gt;둘&lt;/p&gt; &lt;p&gt;셋&lt;/p&gt;"
    (root / "태그.html").write_text(f"<html><body><p>{shown}</p></body></html>", encoding="utf-8")
    index_folder(root, collection, splitter=Splitter(encoder=len, max_tokens=500))
    assert collection.get()[0].text == "<p>하나</p> <p>둘</p> <p>셋</p>"


def test_a_text_of_empty_tags_is_a_document(tmp_path: Path, collection: Any) -> None:
    (root := tmp_path / "글").mkdir()
    text = "<p></p><p></p><p>&nbsp;</p>"
    (root / "글.jsonl").write_text(json.dumps({"text": text}), encoding="utf-8")
    index_folder(root, collection, splitter=Splitter(encoder=len, max_tokens=500))
    assert [document.text for document in collection.get()] == [text]


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO])
def test_a_folder_that_cannot_be_read_any_more_keeps_its_documents(
    folder: Path, collection: Any, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    index_folder(folder, collection)
    scandir = os.scandir

    def fail(path: Any) -> Any:
        if Path(path).name == "인사":
            raise OSError(error, os.strerror(error), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fail)
    report = index_folder(folder, collection)
    assert report.removed == []
    assert "인사" in {problem.file for problem in report.problems}
    assert "인사/휴가.md" in collection.ids()


def test_another_folder_with_a_file_of_the_same_name_changes_nothing(
    folder: Path, collection: Any, tmp_path: Path
) -> None:
    index_folder(folder, collection)
    (other := tmp_path / "다른 폴더").mkdir()
    (other / "도서관.txt").write_text("다른 도서관이다.", encoding="utf-8")
    with pytest.raises(IndexStateError, match="4 of 5"):
        index_folder(other, collection)
    assert len(collection) == 6
    index_folder(other, collection, replace=True)
    assert collection.ids() == ["도서관.txt"]


def test_the_only_file_can_be_renamed(tmp_path: Path, collection: Any) -> None:
    (root := tmp_path / "글").mkdir()
    (root / "하나.txt").write_text("글이 하나 있다.", encoding="utf-8")
    index_folder(root, collection)
    (root / "하나.txt").rename(root / "둘.txt")
    assert index_folder(root, collection).renamed == {"하나.txt": "둘.txt"}


def bad_name(root: Path) -> str:
    try:
        Path(os.fsdecode(os.fsencode(root) + b"/" + "한글.txt".encode("cp949"))).write_text("글", encoding="utf-8")
    except OSError:
        pytest.skip("such names cannot be here")
    return os.fsdecode("한글.txt".encode("cp949")).encode(errors="backslashreplace").decode()


def bad_loop(root: Path) -> str:
    try:
        (root / "고리.txt").symlink_to("고리.txt")
    except OSError:
        pytest.skip("links cannot be made here")
    return "고리.txt"


def bad_file(name: str, text: str) -> Any:
    def write(root: Path) -> str:
        (root / name).write_text(text, encoding="utf-8")
        return name

    return write


def bad_archive(root: Path) -> str:
    write_hwpx(root / "나쁜.hwpx", [f"{number}번 창고의 열쇠는 경비실에 있다." for number in range(200)])
    with zipfile.ZipFile(root / "나쁜.hwpx") as archive:
        section = archive.read("Contents/section0.xml")
    with zipfile.ZipFile(root / "나쁜.hwpx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Contents/section0.xml", section)
    data = bytearray((root / "나쁜.hwpx").read_bytes())
    for place in (100, 101):
        data[place] ^= 0xFF
    (root / "나쁜.hwpx").write_bytes(data)
    return "나쁜.hwpx"


def bad_link(root: Path) -> str:
    try:
        (root / "끊긴.txt").symlink_to(root / "없는 글.txt")
    except OSError:
        pytest.skip("links cannot be made here")
    return "끊긴.txt"


BAD = {
    "archive": bad_archive,
    "link": bad_link,
    "name": bad_name,
    "loop": bad_loop,
    "surrogate": bad_file("나쁜.jsonl", '{"text": "글 \\ud800"}'),
    "surrogate in metadata": bad_file("나쁜.jsonl", '{"text": "글", "값": "\\ud800"}'),
    "ids": bad_file("나쁜.csv", f"id,text\n가,글\n{unicodedata.normalize('NFD', '가')},글\n"),
    "breadcrumb": bad_file("나쁜.jsonl", '{"text": "글", "_korag_breadcrumb": 5}'),
    "nested": bad_file("나쁜.jsonl", '{"text": "글", "값": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "somewhat nested": bad_file("나쁜.jsonl", '{"text": "글", "값": ' + "[" * 900 + "]" * 900 + "}"),
}


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_reported_and_the_others_are_indexed(
    tmp_path: Path, collection: Any, kind: str, *, split: bool
) -> None:
    (root := tmp_path / "글").mkdir()
    (root / "좋은.txt").write_text("좋은 글이다.", encoding="utf-8")
    name = BAD[kind](root)
    splitter = Splitter(encoder=len, max_tokens=500) if split else None
    report = index_folder(root, collection, splitter=splitter)
    assert report.complete
    assert [problem.file for problem in report.problems] == [name]
    str(report.problems[0].error).encode()
    assert collection.ids() == ["좋은.txt"]


def test_whatever_a_reader_stumbles_over_is_reported(
    folder: Path, collection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise KeyError("header")

    monkeypatch.setattr("korag.reading.plain.PlainReader.read", fail)
    report = index_folder(folder, collection)
    assert report.complete
    assert {"도서관.txt", "인사/휴가.md"} <= {problem.file for problem in report.problems}
    assert "KeyError: 'header'" in str(report.problems[-1].error)
    assert set(report.added) == FILES - {"도서관.txt", "인사/휴가.md"}


def commits(monkeypatch: pytest.MonkeyPatch, collection: Any) -> list[str]:
    """Returns the changes of a collection by name, as they come."""
    done: list[str] = []
    for name in ("add", "delete", "rename", "update_metadata"):
        change = getattr(type(collection), name)

        def noting(self: Any, *arguments: Any, _name: str = name, _change: Any = change, **keywords: Any) -> Any:
            done.append(_name)
            return _change(self, *arguments, **keywords)

        monkeypatch.setattr(type(collection), name, noting)
    return done


def test_many_small_changes_are_few_commits(tmp_path: Path, collection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (root := tmp_path / "글").mkdir()
    files = [root / f"{number}.txt" for number in range(30)]
    for file in files:
        file.write_text(f"{file.stem}번 창고", encoding="utf-8")
        (root / f"{file.stem}.csv").write_text("글\n하나\n둘\n셋\n", encoding="utf-8")
    index_folder(root, collection)
    for number, file in enumerate(files):
        os.utime(file, ns=(number, number))
        (root / f"{file.stem}.csv").write_text("글\n둘\n셋\n", encoding="utf-8")
    done = commits(monkeypatch, collection)
    report = index_folder(root, collection)
    assert (report.unchanged, len(report.changed)) == (30, 30)
    assert done == ["update_metadata", "rename", "add", "delete"]
    assert [document.text for document in collection.get(where={"file": "7.csv"})] == ["둘", "셋"]
    assert (len(collection), encoded(collection)) == (90, 120)
    assert index_folder(root, collection).unchanged == 60


def test_a_changed_file_is_never_missing(tmp_path: Path, collection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (root := tmp_path / "글").mkdir()
    (root / "창고.txt").write_text("가 동의 창고", encoding="utf-8")
    (root / "표.csv").write_text("글\n하나\n둘\n셋\n", encoding="utf-8")
    index_folder(root, collection)
    (root / "창고.txt").write_text("나 동의 창고", encoding="utf-8")
    (root / "표.csv").write_text("글\n셋\n넷\n", encoding="utf-8")

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(type(collection), "add", interrupt)
        with pytest.raises(KeyboardInterrupt):
            index_folder(root, collection)
    assert {document.text for document in collection.get()} == {"가 동의 창고", "하나", "둘", "셋"}
    index_folder(root, collection)
    assert {document.id: document.text for document in collection.get()} == {
        "창고.txt": "나 동의 창고",
        "표.csv#1": "셋",
        "표.csv#2": "넷",
    }
    assert encoded(collection) == 6


def test_folders_in_folders_without_end(tmp_path: Path, collection: Any) -> None:
    deep = [tmp_path / "글"]
    while len(deep) < 1_100:
        deep.append(deep[-1] / "a")
    try:
        for folder in deep:
            folder.mkdir()
        (deep[-1] / "창고.txt").write_text("가 동의 창고", encoding="utf-8")
        assert index_folder(deep[0], collection).added == ["a/" * 1_099 + "창고.txt"]
    finally:
        (deep[-1] / "창고.txt").unlink(missing_ok=True)
        for folder in reversed(deep):
            folder.rmdir()


def test_documents_behind_a_link_stay_when_it_breaks(tmp_path: Path, collection: Any) -> None:
    (root := tmp_path / "글").mkdir()
    (root / "다른 글.txt").write_text("나 동의 창고", encoding="utf-8")
    (tmp_path / "창고.txt").write_text("가 동의 창고", encoding="utf-8")
    bad_link(root)
    (root / "끊긴.txt").unlink()
    (root / "끊긴.txt").symlink_to(tmp_path / "창고.txt")
    index_folder(root, collection)
    (tmp_path / "창고.txt").unlink()
    report = index_folder(root, collection)
    assert ([problem.file for problem in report.problems], report.removed) == (["끊긴.txt"], [])
    assert "broken link" in str(report.problems[0].error)
    assert "끊긴.txt" in collection.ids()


def test_columns_of_a_row_are_kept_as_they_are(tmp_path: Path, collection: Any) -> None:
    (root := tmp_path / "글").mkdir()
    columns = {"start": "월요일", "end": "금요일", "row": "셋째", "headings": "제목", "law": "민법", "article": "9"}
    (root / "행사.jsonl").write_text(json.dumps({"text": RULES, **columns}), encoding="utf-8")
    index_folder(root, collection, splitter=Splitter(encoder=len, max_tokens=200))
    assert len(collection) >= 3
    for document in collection.get():
        assert columns.items() <= document.metadata.items()
        assert document.metadata["file"] == "행사.jsonl"


def test_a_document_of_others_is_not_overwritten(tmp_path: Path, collection: Any) -> None:
    (root := tmp_path / "글").mkdir()
    collection.add(["손으로 넣은 글"], ids=["나.txt"])
    for name in ("가.txt", "나.txt"):
        (root / name).write_text("파일의 글", encoding="utf-8")
    report = index_folder(root, collection)
    assert [problem.file for problem in report.problems] == ["나.txt"]
    assert "'나.txt'" in str(report.problems[0].error)
    assert report.added == ["가.txt"]
    assert collection.get(["나.txt"])[0].text == "손으로 넣은 글"


def test_two_files_do_not_share_an_id(tmp_path: Path, collection: Any) -> None:
    (root := tmp_path / "글").mkdir()
    (root / "가.csv").write_text("id,text\n나.txt,표의 글\n", encoding="utf-8")
    (root / "가.csv#나.txt").write_text("파일의 글", encoding="utf-8")
    for _ in range(2):  # the same file wins each time
        report = index_folder(root, collection)
        assert [problem.file for problem in report.problems] == ["가.csv#나.txt"]
        assert "'가.csv'" in str(report.problems[0].error)
        assert collection.get()[0].text == "표의 글"
    (root / "가.csv").rename(root / "다.csv")
    index_folder(root, collection)
    assert not index_folder(root, collection).problems  # now that the id is free
    assert {document.text for document in collection.get()} == {"표의 글", "파일의 글"}


@pytest.mark.parametrize("place", ["stat", "open"])
def test_a_file_that_fails_while_it_is_read_is_reported(
    folder: Path, collection: Any, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    works, seen = getattr(Path, place), []

    def fails(self: Path, *arguments: Any, **keywords: Any) -> Any:
        if self.name == "도서관.txt":
            seen.append(self)
            if place == "open" or len(seen) > 1:  # not while the folder is looked at
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
        return works(self, *arguments, **keywords)

    monkeypatch.setattr(Path, place, fails)
    report = index_folder(folder, collection)
    assert report.complete
    (problem,) = [problem for problem in report.problems if problem.file == "도서관.txt"]
    assert "could not be read" in str(problem.error)
    assert "인사/휴가.md" in collection.ids()


def test_ids_of_rows_keep_their_marks(tmp_path: Path, collection: Any) -> None:
    (root := tmp_path / "글").mkdir()
    rows = [{"id": id_, "text": RULES} for id_ in ("#가", "가")]
    (root / "규칙.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert not index_folder(root, collection, splitter=Splitter(encoder=len, max_tokens=200)).problems
    assert {"규칙.jsonl##가#1", "규칙.jsonl#가#1"} <= set(collection.ids())


def test_names_that_are_no_text_can_be_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root := tmp_path / "글").mkdir()
    (root / "좋은.txt").write_text("좋은 글이다.", encoding="utf-8")
    bad_name(root)
    for name in ("사진", "문서.hwp"):
        Path(os.fsdecode(os.fsencode(root) + b"/" + name.encode("cp949"))).write_bytes(b"\0")
    report = index(str(root), "--to", str(tmp_path / "색인"), "--models", capsys=capsys)
    assert len(report["problems"]) == 2
    json.dumps(report, ensure_ascii=False).encode()


@pytest.mark.skipif(sys.platform == "win32", reason="no such names")
def test_names_of_files_do_not_control_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root := tmp_path / "글").mkdir()
    (root / "나쁜\x1b[2J.hwp").write_bytes(b"\0")
    assert main(["index", str(root), "--to", str(tmp_path / "색인"), "--models"]) == 0
    assert "\N{REPLACEMENT CHARACTER}[2J.hwp" in (said := capsys.readouterr().err)
    assert "\x1b" not in said


def test_the_rows_of_a_table_are_not_in_memory_at_once(tmp_path: Path) -> None:
    (root := tmp_path / "글").mkdir()
    rows, log = 800, "경비실에서 열쇠를 받았다. " * 1_000
    with (root / "큰 표.jsonl").open("w", encoding="utf-8") as file:
        for row in range(rows):
            file.write(json.dumps({"text": f"{row}번 창고", "기록": f"{row} {log}"}, ensure_ascii=False) + "\n")
    with Collection.open(tmp_path / "색인", bm25=True) as opened:
        tracemalloc.start()
        try:
            report = index_folder(root, opened)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (report.documents, report.problems) == (rows, [])
        assert opened.get(["큰 표.jsonl#800"])[0].metadata["기록"] == f"799 {log}"
    assert peak < rows * 2 * len(log) / 2


def test_a_large_table_that_changes_while_it_is_indexed_is_indexed_again(
    tmp_path: Path, collection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root := tmp_path / "글").mkdir()
    table = root / "큰 표.csv"
    log = "열쇠를 받았다. " * 1_000

    def write(rows: int, name: str) -> None:
        table.write_text("text,기록\n" + f"{name},{log}\n" * rows, encoding="utf-8")

    add = type(collection).add

    def add_and_change(self: Any, *arguments: Any, **keywords: Any) -> Any:
        write(300, "지하 창고")
        return add(self, *arguments, **keywords)

    write(300, "옥상 창고")
    with monkeypatch.context() as patch:
        patch.setattr(type(collection), "add", add_and_change)
        report = index_folder(root, collection)
    assert "was changed while it was read" in str(report.problems[0].error)
    assert not index_folder(root, collection).problems
    assert {document.text for document in collection.get()} == {"지하 창고"}
    assert index_folder(root, collection).unchanged == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"text": "글 \ud800"}, r"'큰 표.jsonl', line 301, column 'text' has half a character"),
        ({"text": "글", "값": "\ud800"}, r"line 301, column '값' has half a character"),
        ({"text": "글", "_korag_breadcrumb": 5}, r"metadata\[300\]"),
        ({"id": "0#1", "text": "글"}, r"'큰 표.jsonl', row 301: the document id '0#1' is there before"),
    ],
)
def test_a_bad_row_far_down_leaves_the_whole_file_out(
    tmp_path: Path, collection: Any, row: dict[str, str], message: str
) -> None:
    (root := tmp_path / "글").mkdir()
    rows = [{"id": "0", "text": RULES}] + [{"id": str(number), "text": "글"} for number in range(1, 300)] + [row]
    (root / "큰 표.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    splitter = Splitter(encoder=len, max_tokens=200) if "id" in row else None
    report = index_folder(root, collection, splitter=splitter)
    (problem,) = report.problems
    assert re.search(message, str(problem.error))
    assert not collection.ids()
