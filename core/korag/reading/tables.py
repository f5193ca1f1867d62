"""Tables: a text for each row, the other columns as metadata."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

from korag._optional import require
from korag.errors import UnreadableFileError
from korag.reading.base import Part, ReadOptions
from korag.reading.decoding import open_text
from korag.storage import check_readable
from korag.text import to_nfc

_TITLES = ("title", "제목", "question", "질문")
_TEXTS = ("text", "contents", "content", "body", "본문", "내용", "글", "answer", "답변")
_IDS = ("_id", "id", "doc_id")
_CELL_LIMIT = Lock()
"""Held while the `csv` module has another limit than the program's: it has one for the whole process."""
_LONGEST_CELL = 2**31 - 1
"""Characters: the largest C long of every platform."""
_PARQUET_ROWS = 256
"""Rows made at a time."""
_PARQUET_BUFFER = 1 << 20
"""Bytes of a column read at a time, not a whole row group."""

Row = Mapping[str, Any]


class TableReader:
    """Reads ``.csv``, ``.tsv``, ``.jsonl`` and ``.parquet``."""

    suffixes: tuple[str, ...] = (".csv", ".tsv", ".jsonl", ".parquet")
    packages: tuple[str, ...] = ()
    extra: str | None = None

    def read(self, path: Path, options: ReadOptions) -> Iterable[Part]:
        """As `korag.reading.base.Reader.read`."""
        return _Table(path, options)


@dataclass(frozen=True)
class _Table:
    """The rows of a table, read one after the other whenever they are gone through: a table may exceed memory."""

    path: Path
    options: ReadOptions

    def __iter__(self) -> Iterator[Part]:
        columns = self._columns()
        texts = _text_columns(self.path, columns, self.options)
        id_column = self.options.id_column and to_nfc(self.options.id_column)
        if id_column is None:
            id_column = next((name for name in _IDS if name in columns), None)
        elif columns and id_column not in columns:
            raise _no_column(self.path, id_column, columns, "--id-column")
        seen: set[str] = set()
        for number, row in enumerate(self._rows(), start=1):
            values = {to_nfc(str(name)): value for name, value in row.items()}
            text = "\n".join(str(values[name]) for name in texts if values.get(name) not in (None, ""))
            id_ = values.get(id_column) if id_column else None
            named = str(number) if id_ in (None, "") else to_nfc(str(id_))
            if named in seen:
                raise UnreadableFileError(
                    f"'{self.path.name}' {number}행: id {named!r}이(가) 앞 행에도 있습니다. --id-column으로 다른 열을 "
                    "고르세요.",
                    f"'{self.path.name}', row {number}: the id {named!r} is that of a row before, too. Choose another "
                    "column with --id-column.",
                )
            if id_column:
                seen.add(named)
            others = {name: _plain(value) for name, value in values.items() if name not in texts}
            yield Part(named, text, {"row": number, **others})

    def _columns(self) -> list[str]:
        """Returns the names of all columns; rows of JSON may each have others."""
        rows = self._rows()
        if self.path.suffix.lower() != ".jsonl":
            rows = islice(rows, 1)
        return list(dict.fromkeys(to_nfc(str(name)) for row in rows for name in row))

    def _rows(self) -> Iterator[Row]:
        suffix = self.path.suffix.lower()
        if suffix == ".parquet":
            return _parquet(self.path)
        if suffix == ".jsonl":
            return _jsonl(self.path)
        return _csv(self.path, "\t" if suffix == ".tsv" else ",")


def _text_columns(path: Path, columns: Sequence[str], options: ReadOptions) -> list[str]:
    if not columns:
        return []
    asked = [to_nfc(name) for name in options.text_columns]
    for name in asked:
        if name not in columns:
            raise _no_column(path, name, columns, "--text-column")
    if asked:
        return asked
    title = next((name for name in columns if name.lower() in _TITLES), None)
    text = next((name for usual in _TEXTS for name in columns if name.lower() == usual), None)
    if text is None and len(columns) == 1:
        text = columns[0]
    if text is None:
        raise _no_column(path, " / ".join(_TEXTS), columns, "--text-column")
    return [name for name in (title, text) if name is not None]


def _no_column(path: Path, name: str, columns: Sequence[str], option: str) -> UnreadableFileError:
    listed = ", ".join(columns)
    return UnreadableFileError(
        f"'{path.name}'에 '{name}' 열이 없습니다. 고르는 옵션: {option}. 있는 열: {listed:.300}.",
        f"'{path.name}' has no column '{name}'. Choose with {option}; it has: {listed:.300}.",
    )


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value)


def _csv(path: Path, delimiter: str) -> Iterator[Row]:
    with open_text(path) as file:
        rows = csv.DictReader(file, delimiter=delimiter)
        for number, row in enumerate(iter(lambda: _next_row(rows, path), None), start=1):
            if None in row:
                raise UnreadableFileError(
                    f"'{path.name}' {number}행: 값이 헤더의 열보다 많습니다. 따옴표를 확인하세요.",
                    f"'{path.name}', row {number}: there are more values than columns in the header. Check the quotes.",
                )
            yield row


def _next_row(rows: Iterator[Row], path: Path) -> Row | None:
    with _CELL_LIMIT:
        usual = csv.field_size_limit(_LONGEST_CELL)
        try:
            return next(rows, None)
        except csv.Error as error:
            raise _damaged(path, error) from error
        finally:
            csv.field_size_limit(usual)


def _jsonl(path: Path) -> Iterator[Row]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise _damaged(path, f"{number}: {error}") from error
                if not isinstance(row, dict):
                    raise _damaged(path, f"{number}: {line:.60}")
                yield row


def _parquet(path: Path) -> Iterator[Row]:
    parquet = require("pyarrow.parquet", extra="parquet")
    check_readable(path)
    try:
        with parquet.ParquetFile(path, buffer_size=_PARQUET_BUFFER) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                yield from batch.to_pylist()
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, reason: object) -> UnreadableFileError:
    return UnreadableFileError(
        f"'{path.name}'을(를) 읽을 수 없습니다({reason}). 파일이 온전한지 확인하세요.",
        f"'{path.name}' cannot be read ({reason}); check that the file is whole.",
    )
