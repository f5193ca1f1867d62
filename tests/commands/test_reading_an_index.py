"""`korag search`, `info`, `export` and `truncated`, as a user types them."""

import io
import json
import re
from pathlib import Path

import pytest

from korag import Collection
from korag.cli import main

LONG = "보증금을 돌려받을 권리는 이사한 뒤에도 세입자에게 남는다. " * 60
TEXTS = {
    "보존": "계약서는 십 년, 회의록은 오 년 동안 보존한다.",
    "출장": "출장비는 돌아온 날부터 일주일 안에 청구한다.",
    "임대": LONG,
}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    with Collection.open(tmp_path / "색인", bm25=True) as collection:
        collection.add(list(TEXTS.values()), ids=list(TEXTS), metadata=[{"file": "규정.md"}, {"쪽": 2}, {"쪽": 3}])
    return tmp_path / "색인"


def test_search_prints_hits_without_colour_where_nobody_sees_it(
    index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(index), "계약서를 보존하는 기간"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("1. 보존")
    assert "규정.md" in printed
    assert TEXTS["보존"] in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize("off", [False, True])
def test_what_fits_is_marked_in_a_terminal(
    index: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, off: bool
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1") if off else monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(["search", str(index), "계약서를 보존하는 기간"]) == 0
    assert ("\x1b[1;33m계약서\x1b[0m" in capsys.readouterr().out) is not off


def test_search_as_json_with_a_filter(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(index), "보존 청구", "--where", '{"쪽": {"$gte": 2}}', "--k", "1", "--json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)
    assert (hit["id"], hit["text"], hit["metadata"]) == ("출장", TEXTS["출장"], {"쪽": 2})
    assert hit["legs"]["bm25"]["rank"] == 1


def test_cited_articles_follow_and_say_by_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "규정").mkdir()
    text = "창고 규정\n\n제1조(보증금) 석 달 치를 낸다.\n\n제2조(지체) 늦게 돌려주면 이자를 붙인다. 제1조를 준용한다.\n"
    (tmp_path / "규정" / "창고.txt").write_text(text, encoding="utf-8")
    target = str(tmp_path / "색인")
    command = ["index", str(tmp_path / "규정"), "--to", target, "--models", "--max-tokens", "60", "--quiet"]
    assert main(command) == 0
    capsys.readouterr()
    search = ["search", target, "늦게 돌려주면", "--k", "1", "--expand", "citations"]
    assert main(search) == 0
    assert "2. 창고.txt#1  인용/cited by 창고.txt#2" in capsys.readouterr().out
    assert main([*search, "--json"]) == 0
    assert [hit["cited_by"] for hit in json.loads(capsys.readouterr().out)] == [None, "창고.txt#2"]


def test_a_long_document_is_shown_where_it_fits(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Collection.open(index) as collection:
        collection.add([LONG + "반려동물은 관리소에 신고한다."], ids=["끝"])
    assert main(["search", str(index), "반려동물 신고", "--k", "1"]) == 0
    printed = capsys.readouterr().out
    assert "반려동물은 관리소에 신고한다" in printed
    assert len(printed) < 500


def test_scores_are_explained_in_the_terminal_in_json_and_as_a_page(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["search", str(index), "계약서를 보존하는 기간", "--k", "1"]
    page = tmp_path / "까닭.html"
    assert main([*command, "--explain", "--html", str(page)]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"bm25: \d\.\d+\n +\d\.\d+  \S+", printed)
    assert f"Wrote the explanations: {page}" in printed
    assert main([*command, "--html", str(tmp_path / "또.html"), "--json"]) == 0
    assert json.loads((said := capsys.readouterr()).out)
    assert "또.html" in said.err
    html = page.read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert "계약서" in html
    assert main([*command, "--explain", "--json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)
    assert hit["explanation"]["legs"]["bm25"]["score"] == pytest.approx(hit["score"])
    for name, message in ((str(page), "exists"), ("까닭.txt", "must have the form")):
        assert main([*command, "--html", name]) == 2
        assert message in capsys.readouterr().err
    assert page.read_text(encoding="utf-8") == html


@pytest.mark.parametrize(
    ("where", "korean", "english"),
    [
        (
            '{"파일": "규정.md"}',
            "'파일' 필드가 있는 문서가 없습니다. 있는 필드: file, 쪽, 번호.",
            "there are: file, 쪽, 번호.",
        ),
        ('{"$or": [{"책": 1}, {"쪽": 99}]}', "'책' 필드가 있는 문서가 없습니다.", "No document has the field '책'"),
        ('{"번호": {"$gte": 3}}', "'번호' 필드의 값은 수가 아니라 글자입니다. 예: '7'.", "are texts, not numbers"),
        ('{"쪽": 99}', "", ""),
    ],
)
def test_a_filter_that_nothing_passes_is_explained(
    index: Path, capsys: pytest.CaptureFixture[str], where: str, korean: str, english: str
) -> None:
    with Collection.open(index) as collection:
        collection.add(["회의실은 미리 예약한다."], ids=["회의"], metadata=[{"번호": "7"}])
    assert main(["search", str(index), "회의실 예약", "--where", where]) == 0
    printed = capsys.readouterr()
    assert "Nothing was found" in printed.out
    assert korean in printed.err
    assert english in printed.err
    assert bool(printed.err) is bool(korean)


def test_nothing_found_is_said(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["search", str(index), "xyz"]) == 0
    assert "Nothing was found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "INDEX", "글", "--where", "쪽=2"], "--where '쪽=2' must have the form JSON"),
        (["search", "INDEX", "글", "--where", "[1]"], "must have the form JSON"),
        (["search", "INDEX", "글", "--k", "-1"], "--k -1: the number of hits must be at least 1"),
        (["search", "INDEX", "글", "--k", "0"], "--k 0: the number of hits must be at least 1"),
        (["search", "INDEX", "\udcb1\udcdb"], "is not UTF-8; set the terminal's encoding"),
        (["search", "INDEX", "글", "--using", "dense"], "using='dense'"),
        (["search", "INDEX", "글", "--where", "{file: 1}"], "--where '{file: 1}': JSON 형식이어야 합니다."),
        (["search", "없는 폴더", "글"], "korag index"),
        (["info", "없는 폴더"], "There is no collection"),
        (["truncated", "없는 폴더"], "There is no collection"),
        (["export", "없는 폴더", "나.jsonl"], "There is no collection"),
        (["export", "INDEX", "나.txt"], "must end in .jsonl or .parquet"),
    ],
)
def test_mistakes(index: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main([str(index) if argument == "INDEX" else argument for argument in arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["search", "truncated", "info", "verify"])
def test_a_folder_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    (folder := tmp_path / "문서").mkdir()
    (folder / "글.txt").write_text("글", encoding="utf-8")
    assert main([command, str(folder), *(["글"] if command == "search" else [])]) == 2
    said = capsys.readouterr().err
    assert "is not a KoRAG collection; pass the folder of one" in said
    assert (f"먼저 korag index {folder} --to 색인" in said) is (command != "verify")


def test_json_is_valid_in_any_encoding(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "뷁 계약 é 😀 \x9b"
    with Collection.open(index) as collection:
        collection.add([text], ids=["뷁"])
    for encoding in ("cp949", "utf-8"):
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(printed := io.BytesIO(), encoding=encoding))
        assert main(["search", str(index), "뷁", "--k", "1", "--json"]) == 0
        written = printed.getvalue().decode(encoding)
        assert [hit["text"] for hit in json.loads(written)] == [text]
        assert "\x9b" not in written
        assert ("뷁" in written) is (encoding == "utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_output_that_cannot_be_written(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main(["info", str(index)]) == 2
    assert "The output could not be written (No space left on device)" in capsys.readouterr().err


def test_documents_do_not_control_the_terminal(
    index: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Collection.open(index) as collection:
        collection.add(
            ["창고의 \x1b[2J\x9b31m 열쇠 \u202e"], ids=["나쁜\x1b]0;제목\x07"], metadata=[{"file": "\x1b[8m.txt"}]
        )
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(["search", str(index), "창고 열쇠", "--k", "1"]) == 0
    printed = capsys.readouterr().out
    assert "나쁜\N{REPLACEMENT CHARACTER}]0;제목" in printed
    assert "\x1b[1;33m열쇠\x1b[0m" in printed
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", re.sub(r"\x1b\[(1;33|0)m", "", printed))
    assert main(["search", str(index), "창고", "--where", "\x1b[2J"]) == 2
    assert "\x1b" not in capsys.readouterr().err


def test_info_needs_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str], index: Path) -> None:
    assert main(["info", str(index), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["documents"], info["segments"]) == (3, 1)
    assert info["bytes"] > 0
    assert info["legs"] == [{"name": "bm25", "model": None, "codec": "postings", "window": None, "tokenizer": "bigram"}]
    with Collection.open(tmp_path / "모델", encoders=["mini-dense"], window=64):
        pass
    assert main(["info", str(tmp_path / "모델")]) == 0
    printed = capsys.readouterr().out
    for fact in ("mini-dense", "codec float32", "windows: 64"):
        assert fact in printed


class TestExport:
    def test_jsonl(self, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        target = tmp_path / "새 폴더" / "문서.jsonl"
        assert main(["export", str(index), str(target), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["documents"] == 3
        rows = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
        assert {row["id"]: row["text"] for row in rows} == TEXTS
        assert rows[0]["metadata"] == {"file": "규정.md"}
        assert not list(target.parent.glob("*.tmp"))

    def test_parquet(self, index: Path, tmp_path: Path) -> None:
        parquet = pytest.importorskip("pyarrow.parquet")
        assert main(["export", str(index), str(tmp_path / "문서.parquet")]) == 0
        rows = parquet.read_table(tmp_path / "문서.parquet").to_pylist()
        assert {row["id"]: row["text"] for row in rows} == TEXTS
        assert json.loads(rows[1]["metadata"]) == {"쪽": 2}

    def test_a_file_is_replaced_only_if_asked_for(
        self, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        target = tmp_path / "문서.jsonl"
        target.write_text("내 것", encoding="utf-8")
        assert main(["export", str(index), str(target)]) == 2
        assert "--overwrite" in capsys.readouterr().err
        assert target.read_text(encoding="utf-8") == "내 것"
        assert main(["export", str(index), str(target), "--overwrite"]) == 0
        assert len(target.read_text(encoding="utf-8").splitlines()) == 3

    def test_other_files_are_left_alone(self, index: Path, tmp_path: Path) -> None:
        mine = tmp_path / "문서.jsonl.tmp"
        mine.write_text("내 것", encoding="utf-8")
        assert main(["export", str(index), str(tmp_path / "문서.jsonl")]) == 0
        assert mine.read_text(encoding="utf-8") == "내 것"
        assert {path.name for path in tmp_path.iterdir()} == {"색인", "문서.jsonl", "문서.jsonl.tmp"}


class TestTruncated:
    @pytest.fixture
    def cut(self, tmp_path: Path) -> Path:
        with Collection.open(tmp_path / "잘림", encoders=["mini-dense"], window=None) as collection:
            collection.add(list(TEXTS.values()), ids=list(TEXTS))
        return tmp_path / "잘림"

    def test_documents_tokens_model_and_remedy(self, cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["truncated", str(cut), "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)
        assert (found["leg"], found["model"], found["limit"], found["documents"]) == ("dense", "mini-dense", 512, 3)
        (document,) = found["cut"]
        assert document["id"] == "임대"
        assert document["tokens"] - document["lost"] == 512
        assert found["lost"] == pytest.approx(document["lost"] / found["tokens"])
        assert "window='auto'" in found["remedy"]
        assert main(["truncated", str(cut), "--all"]) == 0
        assert "임대: " in capsys.readouterr().out

    def test_windows_lose_nothing(self, tmp_path: Path) -> None:
        with Collection.in_memory(encoders=["mini-dense"], bm25=True) as collection:
            collection.add(list(TEXTS.values()), ids=list(TEXTS))
            (found,) = collection.truncated()
        assert [document.id for document in found.windowed] == ["임대"]
        assert (found.cut, found.ids, found.lost, found.remedy) == ((), (), 0.0, ("", ""))

    def test_tokens_far_behind_the_limit_count(self) -> None:
        words = "보증금 반환 " * 20_000
        with Collection.in_memory(encoders=["mini-dense"], window=None) as collection:
            collection.add([words[:6_000], words], ids=["짧은 것", "긴 것"])
            short, long = collection.truncated()[0].cut
        assert long.tokens == pytest.approx(short.tokens * len(words) / 6_000, rel=0.02)

    def test_no_model(self, index: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["truncated", str(index)]) == 0
        assert "BM25 indexes whole texts" in capsys.readouterr().out

    def test_adding_warns_once_with_model_ids_and_share(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("korag.collection.adding.COMMIT_DOCUMENTS", 1)
        with Collection.in_memory(encoders=["mini-dense"], window=None) as collection, caplog.at_level("WARNING"):
            collection.add([*TEXTS.values(), LONG + "끝"], ids=[*TEXTS, "둘째"])
        (message,) = [record.getMessage() for record in caplog.records if record.name == "korag"]
        korean, english = message.split(" / ")
        assert "mini-dense: 문서 4개 가운데 2개가 잘렸습니다" in korean
        assert "2 of 4 documents truncated" in english
        assert "% of all tokens were not read" in english
        assert "임대, 둘째" in english
        assert "collection.truncated()" in english

    def test_streams_warn_once(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        monkeypatch.setattr("korag.collection.editing.COMMIT_DOCUMENTS", 1)
        with Collection.in_memory(encoders=["mini-dense"], window=None) as collection, caplog.at_level("WARNING"):
            collection.add_stream([("가", LONG), ("나", LONG)])
        assert len([record for record in caplog.records if record.name == "korag"]) == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("korag 0.")


@pytest.mark.parametrize("command", ["search", "info", "export", "truncated", "verify", "upgrade"])
def test_help_is_bilingual(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert "JSON으로" in printed
    assert "as JSON" in " ".join(printed.split())
