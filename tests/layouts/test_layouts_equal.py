"""Every layout gives what the library that saved it gives; every refusal is an error of ours in two languages."""

from pathlib import Path

import pytest
from assertions import assert_bilingual

from layouts.all_cases import CASES, REFUSALS
from layouts.case import LayoutCase, RefusalCase, first_sentences, measure, refuse

# peft's, where an adapter is made
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equal_to_the_reference(case: LayoutCase, tmp_path: Path) -> None:
    measured = measure(case, tmp_path / "model")
    assert not measured.problems
    assert measured.difference <= case.atol


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_refused(case: RefusalCase, tmp_path: Path) -> None:
    error = refuse(case, tmp_path / "model")
    assert_bilingual(error)
    assert all(str(tmp_path) not in sentence for sentence in first_sentences(error, tmp_path / "model"))


def test_names_are_distinct() -> None:
    names = [case.name for case in (*CASES, *REFUSALS)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("section", "cases"), [("layouts", CASES), ("refusals", REFUSALS)])
def test_the_page_has_a_row_for_every_case(section: str, cases: list[LayoutCase | RefusalCase]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    rows = page.partition(f"<!-- {section} -->")[2].partition(f"<!-- /{section} -->")[0]
    names = [line.split(" | ")[0].removeprefix("| ") for line in rows.splitlines() if line.startswith("| ")][2:]
    assert names == [case.name for case in cases], "run `make layouts-page`"
