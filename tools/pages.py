"""Sections of Markdown pages that commands write: what is between two marks."""

from collections.abc import Sequence


def fill_between(page: str, name: str, lines: Sequence[str]) -> str:
    """Returns a page with everything between ``<!-- name -->`` and ``<!-- /name -->`` written anew.

    Raises:
        ValueError: If the page lacks the marks.
    """
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, _, rest = page.partition(start)
    _, mark, after = rest.partition(end)
    if not mark:
        message = f"the page needs {start} and {end}"
        raise ValueError(message)
    return "\n".join([before + start, *lines, end + after])


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns a Markdown table, without the columns that are empty in every row."""
    kept = [column for column in range(len(header)) if any(row[column] for row in rows)]
    lines = [
        [header[column] for column in kept],
        ["---"] * len(kept),
        *([row[column] for column in kept] for row in rows),
    ]
    return ["| " + " | ".join(line) + " |" for line in lines]
