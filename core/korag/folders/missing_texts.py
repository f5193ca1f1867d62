"""Rows of a table whose text is missing, and the error that names them."""

from __future__ import annotations

from korag.errors import UnreadableFileError
from korag.paths import shell_word
from korag.reading.base import MissingText

_SHOWN = 5
"""Rows and columns that are named."""


class MissingTexts:
    """The rows of a table whose text is missing: how many, the first of them, and their other columns."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[MissingText] = []
        self._columns: dict[str, None] = {}

    def add(self, missing: MissingText) -> None:
        """Counts a row."""
        self._count += 1
        if len(self._first) < _SHOWN:
            self._first.append(missing)
        for name in missing.others:
            if len(self._columns) < _SHOWN:
                self._columns[name] = None

    def error(self, name: str) -> UnreadableFileError | None:
        """Returns the error that names the rows and their columns; None if there are none.

        Args:
            name: The file.
        """
        if not self._count:
            return None
        wanted = self._first[0].wanted
        rows = ", ".join(f"{one.row:,}" for one in self._first) + (", …" if self._count > _SHOWN else "")
        korean = f"'{name}': 행 {self._count:,}개는 검색하는 열 '{wanted[-1]}'에 글이 없습니다({rows}행)."
        row, have = ("row", "has") if self._count == 1 else ("rows", "have")
        where = f"'{wanted[-1]}', the column that is searched ({row} {rows})."
        english = f"'{name}': {self._count:,} {row} {have} no text in {where}"
        if self._columns:
            listed = ", ".join(self._columns)
            advice = " ".join(("--text-column", *map(shell_word, (*wanted, next(iter(self._columns))))))
            korean += f" 이 행에 있는 다른 열: {listed:.300}. 글이 거기 있으면 함께 고르세요: {advice}"
            english += f" Other columns there: {listed:.300}. If one has the text, choose it too: {advice}"
        return UnreadableFileError(korean, english)
