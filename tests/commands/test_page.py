"""docs/commands.md and commands.ko.md: their commands run and print what they say, and all commands are there."""

import re
import shlex
from pathlib import Path

import pytest

from korag.cli import COMMANDS, build_parser, main
from korag.reading.registry import suffixes

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
KOREAN = (Path(__file__).parents[2] / "docs" / "commands.ko.md").read_text(encoding="utf-8")
_NAMES = {"evaluate": "eval"}


def _write_folder(folder: Path) -> None:
    folder.mkdir()
    (folder / "휴가.md").write_text("# 휴가\n\n연차는 열다섯 날이다.", encoding="utf-8")
    (folder / "도서관.txt").write_bytes("도서관은 월요일에 쉰다.".encode("cp949"))
    (folder / "문답.csv").write_text("질문,답변\n주차,지하\n암호,안내판\n", encoding="utf-8")


def test_the_first_commands_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _write_folder(tmp_path / "문서")
    match = re.search(r"```bash\n(.*?)```\n+```text\n(.*?)```", PAGE, re.DOTALL)
    assert match is not None
    index, search, info = match[1].splitlines()
    assert main(shlex.split(index)[1:]) == 0
    assert capsys.readouterr().out == match[2]
    assert main(shlex.split(search)[1:]) == 0
    assert capsys.readouterr().out.startswith("1. 휴가.md")
    assert main(shlex.split(info)[1:]) == 0
    assert "documents: 4" in capsys.readouterr().out


def test_the_korean_recipes_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ir_measures")
    monkeypatch.chdir(tmp_path)
    _write_folder(tmp_path / "문서")
    (tmp_path / "질문.csv").write_text("질문,본문\n연차,연차는 열다섯 날\n휴관,월요일에 쉰다\n", encoding="utf-8")
    for commands, expected in re.findall(r"```bash\n(.*?)```\n(?:\n+```text\n(.*?)```)?", KOREAN, re.DOTALL):
        for line in commands.splitlines():
            words = shlex.split(line)
            capsys.readouterr()
            if words[0] == "korag":
                assert main(words[1:]) == 0
            elif words[0] == "mv":
                Path(words[1]).rename(words[2])
            else:
                assert (words[0], words[2]) == ("printf", ">")
                Path(words[3]).write_text(words[1].replace("\\n", "\n"), encoding="utf-8")
        assert not expected or capsys.readouterr().out == expected


def test_every_command_and_format_is_on_the_page() -> None:
    for command in COMMANDS:
        name = command.__name__.rpartition(".")[2]
        assert f"`korag {_NAMES.get(name, name)}" in PAGE
    written = {".txt": ".text", ".md": ".markdown", ".html": ".htm"}
    for suffix in suffixes():
        assert f"`{suffix}`" in PAGE or suffix in written.values() or suffix == ".xhtml"


@pytest.mark.parametrize(
    "command", [_NAMES.get(c.__name__.rpartition(".")[2], c.__name__.rpartition(".")[2]) for c in COMMANDS]
)
def test_help_is_in_korean_and_english(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args([command, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert re.search("[가-힣]", printed)
    assert ("--json" in printed) == (command not in ("serve", "mcp"))  # servers print no results
    for block in re.split(r"\n  (?=-|[A-Za-z]+ )", printed.partition("-h, --help")[2])[1:]:
        assert re.search("[가-힣]", block), f"korag {command} --help: no Korean: {block}"
