"""`korag eval` and `korag models`, as a user types them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import toy_token_codec
from layouts.bge_m3 import bge_m3

from korag import Collection
from korag.cli import main
from korag.evaluation import Dataset, Report
from korag.legs.registry import temporary_registrations
from korag.testing import FakeMultiVectorEncoder


@pytest.fixture
def pairs(tmp_path: Path, write: Any, dataset: Dataset) -> Path:
    rows = [
        {"query": text, "positive": [dataset.documents[id_] for id_ in dataset.relevant[query]]}
        for query, text in dataset.queries.items()
    ]
    return write(tmp_path / "질문.jsonl", rows)


@pytest.mark.slow
def test_eval(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    command = ["eval", str(pairs), "--models", "mini-colbert", "--dims", "32", "64", "--bm25", "bigram",
               "--hybrid", "mini-dense", "--weights", "bm25=2", "--quiet",
               "--output", str(tmp_path / "결과")]  # fmt: skip
    assert main(command) == 0
    printed = capsys.readouterr().out
    for name in ("BM25 bigram", "mini-colbert @32", "mini-colbert @64", "hybrid mini-dense + BM25 bigram"):
        assert name in printed
    assert {path.name for path in (tmp_path / "결과").iterdir()} == {"report.json", "report.md", "plot.png", "runs"}
    assert main([*command, "--format", "json"]) == 0
    assert len(Report.from_json(capsys.readouterr().out).rows) == 4


def test_a_model_of_several_families(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bge_m3(tmp_path / "m3")
    command = ["eval", str(pairs), "--models", str(tmp_path / "m3"), "--quiet"]
    assert main(command) == 2
    assert "family=" in capsys.readouterr().err
    assert main([*command, "--family", "sparse"]) == 0
    assert "m3" in capsys.readouterr().out


def test_several_data_sets_have_a_folder_each(
    pairs: Path, tmp_path: Path, write: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    other = write(
        tmp_path / "더.csv", [{"query": "버스", "positive": "버스를 탄다."}, {"query": "눈", "positive": "눈이 온다."}]
    )
    assert main(["eval", str(pairs), str(other), "--output", str(tmp_path / "out"), "--format", "markdown"]) == 0
    assert capsys.readouterr().out.count("| BM25 bigram |") == 2
    assert json.loads((tmp_path / "out/더/report.json").read_text(encoding="utf-8"))["queries"] == 2
    assert main(["eval", str(pairs), str(other), "--json"]) == 0
    assert [report["dataset"] for report in json.loads(capsys.readouterr().out)] == ["질문", "더"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["없는-파일.jsonl"], "There is no file, folder or benchmark '없는-파일.jsonl'"),
        (["autorag-kor"], "Did you mean 'autorag-ko'?"),
        (["PAIRS", "--models", "mini-colber"], "mini-colbert"),
        (["PAIRS", "--models", "mini-colbert", "--dims", "48"], "dim=48"),
        (["PAIRS", "--bm25", "mecab"], "tokenizer='mecab'"),
        (["PAIRS", "--hybrid", "--weights", "bm25"], "must have the form LEG=NUMBER"),
        (["PAIRS", "PAIRS", "--local", "x"], "one benchmark only"),
        (["PAIRS", "--k", "3"], "needs at least 10"),
    ],
)
def test_errors_have_no_traceback(
    pairs: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", *(str(pairs) if argument == "PAIRS" else argument for argument in arguments)]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("arguments", [[], ["evaluate"], ["eval"], ["eval", "x", "--fusion", "sum"]])
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: korag" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "korean", "english"),
    [
        ([], "꼭 필요한 인수가 없습니다: COMMAND", "required: COMMAND"),
        (["evall"], "COMMAND 'evall': 다음 중 하나여야 합니다", "invalid choice: 'evall'"),
        (["models", "--family", "bert"], "--family 'bert': 다음 중 하나여야 합니다", "invalid choice: 'bert'"),
        (["models", "--family", "colbert"], "혹시 late_interaction인가요?", "Did you mean late_interaction?"),
        (["models", "--famly", "dense"], "없는 인수입니다: --famly", "unrecognized arguments: --famly"),
        (["serch", "색인", "글"], "혹시 search인가요?", "Did you mean search?"),
        (["search", "색인", "글", "--explian"], "--explian. 혹시 --explain인가요?", "Did you mean --explain?"),
        (["search", "색인", "글", "--top-k", "3"], "혹시 --k인가요?", "Did you mean --k?"),
        (
            ["search", "색인", "연차", "휴가"],
            "질문에 빈칸이 있으면 따옴표로 묶으세요.",
            "Put a question with spaces in quotes.",
        ),
        (["index", "내", "문서", "--to", "색인"], "이름에 빈칸이 있으면 따옴표로", "Put a name with spaces in quotes."),
        (["eval", "x", "--k", "열"], "--k '열': 정수여야 합니다", "invalid int value: '열'"),
        (["eval", "x", "--k"], "--k 값이 하나 있어야 합니다", "expected one argument"),
        (["eval", "x", "--models"], "--models 값이 모자랍니다", "expected at least one argument"),
    ],
)
def test_wrong_usage_is_explained_in_korean_and_english(
    arguments: list[str], korean: str, english: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    usage, said, same = capsys.readouterr().err.rstrip("\n").rsplit("\n", 2)
    assert usage.startswith("usage: korag")
    assert korean in said
    assert english in same


def test_a_mistake_in_a_subcommand_shows_its_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["search", "색인", "연차", "휴가"])
    assert capsys.readouterr().err.startswith("usage: korag search ")


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "korag", "models", "--family", "dense"], check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("[dense]")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end otherwise there")
def test_a_reader_that_has_had_enough_is_no_error() -> None:
    """As in ``korag models | head``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "korag", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process:
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_help_is_in_korean_and_english(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["eval", "--help"])
    assert stop.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "모델 이름이나 폴더. Model names or folders." in printed


def test_interrupted(pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("korag.evaluation.load_dataset", interrupt)
    assert main(["eval", str(pairs)]) == 130
    assert "중단했습니다" in capsys.readouterr().err


class TestModels:
    def test_by_family_with_quality_size_and_licence(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["models"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if line.startswith("[")] == [
            "[dense]", "[sparse]", "[late_interaction]", "[cross_encoder]",
        ]  # fmt: skip
        assert lines[1].split() == ["model", "quality", "size", "licence", "dims", "tokens"]
        assert "  dragonkue/colbert-ko-0.1b" in "".join(lines)
        assert any(line.split() == ["dragonkue/colbert-ko-0.1b", "0.678", "a", "149M", "Apache-2.0", "32/64/96/128",
                                    "2048"] for line in lines)  # fmt: skip
        assert any(line.split()[:5] == ["mini-splade", "0.682", "f", "3.5M", "*"] for line in lines)
        assert any("unknown !" in line for line in lines if "ko-sroberta" in line)
        assert any(line.startswith("!  라이선스") for line in lines)
        assert any(line.startswith("*  ") for line in lines)

    def test_one_family_and_only_its_signs(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["models", "--family", "late_interaction"]) == 0
        out = capsys.readouterr().out
        assert "nlpai-lab/KURE-v2" in out
        assert not any(other in out for other in ("BGE-m3-ko", "splade-ko", "reranker", "라이선스"))
        assert re.findall(r"^  ([a-z])  ", out, re.MULTILINE) == ["a", "f"]

    def test_as_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["models", "--json"]) == 0
        entries = {entry["model"]: entry for entry in json.loads(capsys.readouterr().out)}
        assert {entry["family"] for entry in entries.values()} >= {"dense", "cross_encoder"}
        mini = entries["mini-dense"]
        assert (mini["bundled"], mini["loads"], mini["parameters"]) == (True, True, "3.5M")
        assert mini["figures"][0].keys() == {"benchmark", "ndcg@10"}
        assert main(["models", "--family", "sparse", "--json"]) == 0
        assert {entry["family"] for entry in json.loads(capsys.readouterr().out)} == {"sparse"}

    def test_sources(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["models", "--family", "sparse", "--sources"]) == 0
        out = capsys.readouterr().out
        assert "https://huggingface.co/yjoonjang/splade-ko-v1" in out
        assert "trust_remote_code=True" in out

    @pytest.mark.parametrize("columns", [55, 80, 120, 200])
    def test_every_width_has_every_fact_in_its_column(
        self, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("COLUMNS", str(columns))
        assert main(["models"]) == 0
        lines = capsys.readouterr().out.partition("quality: nDCG")[0].splitlines()
        header = lines[1]
        facts = [line for line in lines if "Apache-2.0" in line]
        assert {line.index("Apache-2.0") for line in facts} == {header.index("licence")}
        assert all(len(line) <= columns for line in facts)
        assert sum("0.755 a" in line for line in lines) == 1

    def test_an_unknown_family(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main(["models", "--family", "colbert"])
        assert "late_interaction" in capsys.readouterr().err


def test_importing_loads_nothing_heavy() -> None:
    unwanted = ("torch", "transformers", "sentence_transformers", "datasets", "matplotlib", "pyarrow", "pandas",
                "ir_measures", "langchain_core", "llama_index")  # fmt: skip
    code = f"import sys; sys.path[:0] = {sys.path!r}\nimport korag.cli, korag.evaluation\n"
    code += f"print([name for name in {unwanted!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_eval_stores_token_vectors_as_it_is_told(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["eval", str(pairs), "--models", "mini-colbert", "--format", "json", "--quiet", "--output", str(tmp_path)]
    sizes = []
    for options in ([], ["--pool-factor", "3"], ["--pool-factor", "3", "--keep-vectors"]):
        assert main([*command, *options]) == 0
        sizes.append(Report.from_json(capsys.readouterr().out).rows[1].index_bytes)
    assert sizes[1] == sizes[2] < sizes[0]
    for options, message in (
        (["--codec", "1-bit"], "codec='1-bit'"),
        (["--no-keep-vectors"], "keep_vectors=False"),
        (["--pool-factor", "0"], "pool_factor=0"),
    ):
        assert main([*command, *options]) == 2
        assert message in capsys.readouterr().err
    assert main(["eval", str(pairs), "--models", "mini-dense", "--pool-factor", "2"]) == 2
    assert "is for ColBERT models" in capsys.readouterr().err


def test_upgrade_changes_the_codec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Collection.open(tmp_path / "색인", encoders=[FakeMultiVectorEncoder()]) as collection:
        collection.add(["우편물은 경비실에서 찾아간다."])
    with temporary_registrations():
        toy_token_codec.register()
        assert main(["upgrade", str(tmp_path / "색인"), "--codec", "signs"]) == 0
        assert "Segments rewritten: 1" in capsys.readouterr().out
        assert main(["upgrade", str(tmp_path / "색인")]) == 0
        assert "Segments rewritten: 0" in capsys.readouterr().out
        assert main(["upgrade", str(tmp_path / "색인"), "--codec", "signs", "--keep-vectors"]) == 2
        assert "has not kept the vectors" in capsys.readouterr().err
        with Collection.open(tmp_path / "색인", encoders=[FakeMultiVectorEncoder()], codec="signs") as collection:
            assert len(collection.search("우편물")) == 1


class TestColumns:
    def test_own_names(self, tmp_path: Path, write: Any, capsys: pytest.CaptureFixture[str]) -> None:
        rows = [{"질문": "버스", "본문": "버스를 탄다.", "query": 1}, {"질문": "눈", "본문": "눈이 온다.", "query": 2}]
        table = write(tmp_path / "문답.csv", rows)
        assert main(["eval", str(table), "--column", "query=질문", "--column", "positive=본문"]) == 0
        assert "BM25 bigram" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["PAIRS", "--column", "query"], "must have the form NAME=COLUMN"),
            (["PAIRS", "--column", "quest=질문"], "must have the form NAME=COLUMN, for example query="),
            (["PAIRS", "--column", "query=물음"], "no column '물음'"),
            (["OWN"], "the columns are: 질문, 본문. For columns of other names, say which they are: --column query="),
            (["OWN", "--column", "query=질문"], "--column query=질문 --column positive=본문"),
            (["autorag-ko", "--column", "query=질문"], "for tables of pairs only"),
        ],
    )
    def test_mistakes(
        self, pairs: Path, arguments: list[str], message: str, write: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        own = write(pairs.with_name("문답.jsonl"), [{"질문": "버스", "본문": "버스를 탄다."}])
        paths = {"PAIRS": str(pairs), "OWN": str(own)}
        assert main(["eval", *(paths.get(argument, argument) for argument in arguments)]) == 2
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize("encoding", ["cp949", "utf-16"])
    def test_tables_as_excel_saves_them(
        self, tmp_path: Path, encoding: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        table = tmp_path / "문답.csv"
        table.write_bytes('query,positive\r\n버스,"버스를\r\n탄다."\r\n눈,눈이 온다.\r\n'.encode(encoding))
        assert main(["eval", str(table)]) == 0
        assert "BM25 bigram" in capsys.readouterr().out
        table.write_bytes(b"query,positive\n\xff\xff,\xff\n")
        assert main(["eval", str(table)]) == 2
        assert "codec" not in (said := capsys.readouterr().err)
        assert "Save it as UTF-8" in said
