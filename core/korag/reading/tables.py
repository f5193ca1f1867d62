"""Tables: a text for each row, the other columns as metadata."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from korag._optional import require
from korag.errors import UnreadableFileError
from korag.reading.base import Part, ReadOptions
from korag.reading.decoding import read_text
from korag.storage import check_readable
from korag.text import to_nfc

_TITLES = ("title", "제목", "question", "질문")
_TEXTS = ("text", "contents", "content", "body", "본문", "내용", "글", "answer", "답변")
_IDS = ("_id", "id", "doc_id")
_CELL_LIMIT = Lock()
"""Held while the `csv` module has another limit than the program's: it has one for the whole process."""
_LONGEST_CELL = 2**31 - 1
"""Characters: the largest C long of every platform."""

Row = Mapping[str, Any]


class TableReader:
    """Reads ``.csv``, ``.tsv``, ``.jsonl`` and ``.parquet``."""

    suffixes: tuple[str, ...] = (".csv", ".tsv", ".jsonl", ".parquet")
    packages: tuple[str, ...] = ()
    extra: str | None = None

    def read(self, path: Path, options: ReadOptions) -> list[Part]:
        """As `korag.reading.base.Reader.read`."""
        suffix = path.suffix.lower()
        if suffix == ".parquet":
            rows: Iterable[Row] = _parquet(path)
        elif suffix == ".jsonl":
            rows = _jsonl(path)
        else:
            rows = _csv(path, "\t" if suffix == ".tsv" else ",")
        return _parts(path, list(rows), options)


def _parts(path: Path, rows: Sequence[Row], options: ReadOptions) -> list[Part]:
    columns = list(dict.fromkeys(to_nfc(str(name)) for row in rows for name in row))
    texts = _text_columns(path, columns, options)
    id_column = options.id_column and to_nfc(options.id_column)
    if id_column is None:
        id_column = next((name for name in _IDS if name in columns), None)
    elif rows and id_column not in columns:
        raise _no_column(path, id_column, columns, "--id-column")
    parts: list[Part] = []
    seen: set[str] = set()
    for number, row in enumerate(rows, start=1):
        values = {to_nfc(str(name)): value for name, value in row.items()}
        text = "\n".join(str(values[name]) for name in texts if values.get(name) not in (None, ""))
        named = to_nfc(str(values[id_column])) if id_column and values.get(id_column) not in (None, "") else str(number)
        if named in seen:
            raise UnreadableFileError(
                f"'{path.name}' {number}행: id {named!r}이(가) 앞 행에도 있습니다. --id-column으로 다른 열을 고르세요.",
                f"'{path.name}', row {number}: the id {named!r} is that of a row before, too. Choose another column "
                "with --id-column.",
            )
        seen.add(named)
        others = {name: _plain(value) for name, value in values.items() if name not in texts}
        parts.append(Part(named, text, {"row": number, **others}))
    return parts


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


def _csv(path: Path, delimiter: str) -> list[Row]:
    text = read_text(path)
    with _CELL_LIMIT:
        usual = csv.field_size_limit(_LONGEST_CELL)
        try:
            rows: list[Row] = list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
        except csv.Error as error:
            raise _damaged(path, error) from error
        finally:
            csv.field_size_limit(usual)
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise UnreadableFileError(
                f"'{path.name}' {number}행: 값이 헤더의 열보다 많습니다. 따옴표를 확인하세요.",
                f"'{path.name}', row {number}: there are more values than columns in the header. Check the quotes.",
            )
    return rows


def _jsonl(path: Path) -> list[Row]:
    rows: list[Row] = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise _damaged(path, f"{number}: {error}") from error
            if not isinstance(row, dict):
                raise _damaged(path, f"{number}: {line:.60}")
            rows.append(row)
    return rows


def _parquet(path: Path) -> list[Row]:
    parquet = require("pyarrow.parquet", extra="parquet")
    check_readable(path)
    try:
        rows: list[Row] = parquet.read_table(path).to_pylist()
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    return rows


def _damaged(path: Path, reason: object) -> UnreadableFileError:
    return UnreadableFileError(
        f"'{path.name}'을(를) 읽을 수 없습니다({reason}). 파일이 온전한지 확인하세요.",
        f"'{path.name}' cannot be read ({reason}); check that the file is whole.",
    )
