"""Builds every case of tests/layouts and writes what they give into docs/models.md: ``make layouts-page``."""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported

from layouts.all_cases import CASES, REFUSALS  # noqa: E402 (after the path)
from layouts.case import LayoutCase, RefusalCase, first_sentences, measure, refuse  # noqa: E402
from pages import fill_between, table  # noqa: E402

PAGE = ROOT / "docs" / "models.md"
LAYOUT_COLUMNS = ("layout", "loads as", "largest difference", "note")
REFUSAL_COLUMNS = ("what", "error", "Korean", "English")


def layout_row(case: LayoutCase) -> tuple[str, ...]:
    """Returns a case's name, family, largest difference to the reference, and note."""
    with tempfile.TemporaryDirectory() as place:
        measured = measure(case, Path(place) / "model")
    if measured.problems or measured.difference > case.atol:
        message = f"{case.name}: {measured}"
        raise ValueError(message)
    note = "; ".join(filter(None, (case.note, case.reason)))
    return case.name, measured.family.replace("_", " "), f"{measured.difference:.0e}".replace("0e+00", "0"), note


def refusal_row(case: RefusalCase) -> tuple[str, ...]:
    """Returns a case's name, its error's class and the first sentences of its messages."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        error = refuse(case, folder)
        return case.name, f"`{type(error).__name__}`", *first_sentences(error, folder)


def main() -> None:
    """Rewrites the page."""
    page = PAGE.read_text(encoding="utf-8")
    layouts = table(LAYOUT_COLUMNS, [layout_row(case) for case in CASES])
    refusals = table(REFUSAL_COLUMNS, [refusal_row(case) for case in REFUSALS])
    page = fill_between(page, "layouts", ["", *layouts, ""])
    PAGE.write_text(fill_between(page, "refusals", ["", *refusals, ""]), encoding="utf-8")
    sys.stdout.write(f"{PAGE}\n")


if __name__ == "__main__":
    main()
