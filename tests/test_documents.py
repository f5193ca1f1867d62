"""Every example in the READMEs and under `examples/` runs and prints the output shown."""

import contextlib
import io
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from korag.cli import build_parser
from korag.errors import MissingDependencyError
from korag.legs.registry import temporary_registrations
from korag.plaid.release import check_release

ROOT = Path(__file__).parents[1]
_PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
_CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
_EXAMPLE = re.compile(r"```python\n(?P<code>(?:(?!```).)*)```\n+```text\n(?P<output>.*?)```", re.DOTALL)


def _examples(name: str) -> list[tuple[str, str]]:
    return [(match["code"], match["output"]) for match in _EXAMPLE.finditer((ROOT / name).read_text(encoding="utf-8"))]


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_readme_examples_print_what_they_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    examples = _examples(name)
    assert len(examples) == 7
    for code, expected in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, name, "exec"), {})  # noqa: S102 (our own README)
        assert printed.getvalue() == expected


def test_both_readmes_have_the_same_examples() -> None:
    english, korean = _examples("README.md"), _examples("README.ko.md")
    strip = re.compile(r"#.*")
    assert [strip.sub("", code) for code, _ in english] == [strip.sub("", code) for code, _ in korean]
    assert [output for _, output in english] == [output for _, output in korean]


def test_the_extending_page_prints_what_it_says() -> None:
    ((code, expected),) = _examples("docs/extending.md")
    printed = io.StringIO()
    with temporary_registrations(), contextlib.redirect_stdout(printed):
        exec(compile(code, "extending.md", "exec"), {})  # noqa: S102 (our own page)
    assert printed.getvalue() == expected


def test_the_page_on_explanations_prints_what_it_says() -> None:
    ((code, expected),) = _examples("docs/explaining.md")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "explaining.md", "exec"), {})  # noqa: S102 (our own page)
    assert printed.getvalue() == expected


def test_the_evaluation_page_prints_what_it_says() -> None:
    pytest.importorskip("mteb")
    ((code, expected),) = _examples("docs/evaluation.md")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "evaluation.md", "exec"), {})  # noqa: S102 (our own page)
    assert printed.getvalue() == expected


@pytest.mark.parametrize("name", ["evaluation", "training", "models"])
def test_the_korean_pages_print_what_they_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ir_measures")
    monkeypatch.chdir(tmp_path)
    ((code, expected),) = _examples(f"docs/{name}.ko.md")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, f"{name}.ko.md", "exec"), {})  # noqa: S102 (our own page)
    assert printed.getvalue() == expected


@pytest.mark.parametrize("name", ["evaluation", "training", "models"])
def test_the_korean_pages_have_the_figures_of_the_english_ones(name: str) -> None:
    """Measured figures change on the English pages first; these must follow."""
    english, korean = ((ROOT / f"docs/{name}{ending}").read_text(encoding="utf-8") for ending in (".md", ".ko.md"))
    assert f"({name}.ko.md)" in english.partition("\n## ")[0]
    prose = re.sub(r"```.*?```|<!-- presets -->.*", "", korean, flags=re.DOTALL)
    figures = re.findall(r"(?<![\w.])\d*\.\d+(?![\w.]*[a-z])", prose)
    assert len(figures) >= 4
    assert not [figure for figure in figures if figure not in english]


@pytest.mark.parametrize("name", ["evaluation", "training", "models"])
def test_the_korean_pages_have_commands_that_exist(name: str) -> None:
    text = (ROOT / f"docs/{name}.ko.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("korag ")]
    assert bool(lines) == (name != "models")
    for line in lines:
        assert build_parser().parse_args(shlex.split(line, comments=True)[1:]).run


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _CODE.sub("", page.read_text(encoding="utf-8"))):
        file, _, anchor = target.partition("#")
        if "://" in target:
            continue
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), target
        assert not anchor or anchor in _anchors(path), target


def test_the_bm25_page_prints_what_it_says() -> None:
    pytest.importorskip("kiwipiepy")
    ((code, expected),) = _examples("docs/bm25.md")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "bm25.md", "exec"), {})  # noqa: S102 (our own page)
    assert printed.getvalue() == expected


def test_the_splitting_page_prints_what_it_says() -> None:
    ((code, expected),) = _examples("docs/splitting.md")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "splitting.md", "exec"), {})  # noqa: S102 (our own page)
    assert printed.getvalue() == expected


def test_the_pruning_page_prints_what_it_says() -> None:
    ((code, expected),) = _examples("docs/pruning.md")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "pruning.md", "exec"), {})  # noqa: S102 (our own page)
    assert printed.getvalue() == expected


def test_the_tracing_page_prints_what_it_says() -> None:
    """In a process of its own: a tracer provider is configured once."""
    ((code, expected),) = _examples("docs/tracing.md")
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stdout == expected, done.stderr


def test_the_page_on_pylate_prints_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        check_release()
    except MissingDependencyError as error:
        pytest.skip(str(error).splitlines()[-1])
    monkeypatch.chdir(tmp_path)
    ((code, expected),) = _examples("docs/pylate.md")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "pylate.md", "exec"), {})  # noqa: S102 (our own page)
    assert printed.getvalue() == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("quickstart.py", "임차권등기명령"),
        ("langchain_chain.py", "임차권등기명령"),
        ("llamaindex_rerank.py", "lease-1"),
    ],
)
def test_examples_run(
    name: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "examples"), *sys.path])
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    assert expected in capsys.readouterr().out.replace("\n", "")


@pytest.mark.training
def test_fine_tuning_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = ROOT / "examples" / "finetune.py"
    monkeypatch.setattr(sys, "argv", [str(script), "--max-steps", "2"])
    runpy.run_path(str(script), run_name="__main__")
    assert "nDCG@10" in capsys.readouterr().out
