"""docs/models.md, docs/models.ko.md and the tables of the READMEs say what the rows of known models say."""

import importlib
import re
from pathlib import Path

import pytest

from korag.checkpoints.bundled import shipped_models
from korag.checkpoints.presets import PRESETS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "models.md"
KOREAN = ROOT / "docs" / "models.ko.md"


@pytest.fixture
def models_page(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("models_page")


def test_the_page_is_what_the_command_writes(models_page):
    page = PAGE.read_text(encoding="utf-8")
    assert page == models_page.fill(page), "run `make models-page`"


def test_the_korean_page_is_what_the_command_writes(models_page):
    page = KOREAN.read_text(encoding="utf-8")
    assert page == models_page.fill_korean(page), "run `make models-page`"
    for preset in PRESETS.values():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| [{preset.name}](")]
        assert ("| **" in line) == (not preset.free)
        assert all(f"{figure.value:.3f} {figure.benchmark.mark}" in line for figure in preset.figures)


def test_what_is_around_the_tables_is_left_alone(models_page):
    page = models_page.fill("before\n<!-- presets -->\nold\n<!-- /presets -->\nafter\n")
    assert page.startswith("before\n<!-- presets -->\n")
    assert page.endswith("<!-- /presets -->\nafter\n")
    assert "old\n" not in page
    assert models_page.fill(page) == page


def test_a_page_without_marks_is_an_error(models_page):
    with pytest.raises(ValueError, match="presets"):
        models_page.fill("no tables")


def test_every_model_is_on_the_page_and_unknown_licences_stand_out():
    page = PAGE.read_text(encoding="utf-8")
    for preset in PRESETS.values():
        (line,) = [line for line in page.splitlines() if line.startswith(f"| [{preset.name}](")]
        assert f"| {preset.licence} |" in line if preset.free else f"| **{preset.licence}** |" in line
        assert ("cannot load it yet" in line) == (not preset.loads)


def test_the_bridge_between_benchmarks_is_right():
    text = PAGE.read_text(encoding="utf-8").partition("<!-- presets -->")[0]
    for figure in PRESETS["nlpai-lab/KURE-v1"].figures:
        assert f"{figure.value:.3f} in {figure.benchmark.mark}" in text


def _rows(name: str) -> dict[str, list[str]]:
    """The cells of each model in a README's table."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {row[1].strip("`"): row for row in cells if len(row) > 1 and row[1].strip("`") in PRESETS}


@pytest.mark.parametrize("name", ["README.md", "README.ko.md"])
def test_the_readme_says_which_to_take_and_the_same_facts(name):
    rows = _rows(name)
    assert set(shipped_models()) < set(rows)
    for model, (_, _, quality, vectors, tokens, size, licence) in rows.items():
        preset = PRESETS[model]
        figure = preset.figures[0]
        assert quality == f"{figure.value:.3f} {figure.benchmark.mark}"
        assert re.findall(r"[\d,]+", vectors.replace(" / ", "/")) or preset.family == "cross_encoder"
        assert tokens == (f"{preset.max_length:,}" if preset.max_length else "")
        assert preset.parameters in size
        assert licence == preset.licence
        assert preset.free
        assert preset.loads


def test_both_readmes_recommend_the_same_models():
    assert list(_rows("README.md")) == list(_rows("README.ko.md"))
