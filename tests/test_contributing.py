"""CONTRIBUTING and the documentation name files, modules and commands that exist."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from korag.collection.local.database import DATABASE_FILE
from korag.collection.local.marker import MARKER_FILE

ROOT = Path(__file__).parents[1]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", "training/minis/*.md", "core/korag/**/*.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"  # which also names what is gone
)  # fmt: skip
_CODE = re.compile(r"`([^`\n]+)`")
_PATH = re.compile(r"(?:core|langchain_korag|llamaindex_korag|docs|benchmarks|examples|tests|training)/[\w./-]*")
_FILES = (".md", ".py", ".committed", ".sqlite3", ".sqlite3-wal")
_NAME = re.compile(r"(?:korag|langchain_korag|llamaindex_korag)(?:\.\w+)+")
_SPANS = {
    name
    for path in (ROOT / "core").rglob("*.py")
    for name in re.findall(r'"(korag\.[a-z_]+)[ "]', path.read_text(encoding="utf-8"))
}
"""Names of spans and their attributes."""


def _changes() -> list[tuple[str, list[str], str]]:
    section = CONTRIBUTING.partition("## Ten common changes")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")][2:]
    return [(change.strip(), _CODE.findall(files), _CODE.findall(symbol)[0]) for change, files, symbol in rows]


def test_there_are_ten_changes() -> None:
    assert len(_changes()) == 10


@pytest.mark.parametrize(("change", "files", "symbol"), _changes())
def test_a_change_names_files_and_where_to_start(change: str, files: list[str], symbol: str) -> None:
    missing = [name for name in files if not (ROOT / name).exists()]
    assert not missing, f"CONTRIBUTING.md, {change}: {missing} are gone; name the files to touch today"
    texts = [(ROOT / name).read_text(encoding="utf-8") for name in files if (ROOT / name).is_file()]
    assert any(re.search(rf"\b{symbol}\b", text) for text in texts), (
        f"CONTRIBUTING.md, {change}: no {symbol} in {files}"
    )


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = {target for command in re.findall(r"`make ([\w -]+)`", CONTRIBUTING) for target in command.split()}
    assert named
    assert not [target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES)
def test_paths_and_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    missing = [link for link in links if link and not (ROOT / page).parent.joinpath(link).exists()]
    for code in _CODE.findall(text):
        if _PATH.fullmatch(code) and not (ROOT / code).exists():
            missing.append(code)
    assert not missing, f"{page} names {missing}, which do not exist"


def _exists(name: str) -> bool:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            if not hasattr(found, attribute):
                return False
            found = getattr(found, attribute)
        return True
    return False


@pytest.mark.parametrize("page", PAGES)
def test_modules_and_names_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    names = {match for code in _CODE.findall(text) for match in _NAME.findall(code) if not code.endswith(_FILES)}
    unknown = sorted(name for name in names - {DATABASE_FILE, MARKER_FILE} - _SPANS if not _exists(name))
    assert not unknown, f"{page} names {unknown}, which do not exist"
