"""Tables: a text for each row, the other columns as metadata."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from korag._optional import require
from korag.errors import UnreadableFileError
from korag.reading.base import MissingText, Part, ReadOptions
from korag.reading.decoding import open_text
from korag.storage import check_readable
from korag.text import is_empty, to_nfc

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
T = TypeVar("T")


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
            if len(values) != len(row):
                _check_columns(self.path, list(row))
            text = "\n".join(filter(None, (self._text(number, name, values.get(name)) for name in texts)))
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
            yield Part(named, text, {"row": number, **others}, self._missing(number, text, values, texts, id_column))

    def _text(self, number: int, name: str, value: Any) -> str:
        """Returns the text in a cell; several in a list are a line each."""
        if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            return "\n".join(value)
        if isinstance(value, bool | bytes | Mapping | list | tuple):
            raise UnreadableFileError(
                f"'{self.path.name}' {number}행 '{name}' 열: 글이 아니라 {type(value).__name__}입니다. 글이 있는 열을 "
                "--text-column으로 고르세요.",
                f"'{self.path.name}', row {number}, column '{name}' has no text but a {type(value).__name__}. Choose "
                "the column with the text by --text-column.",
            )
        return "" if _plain(value) is None else str(value)

    def _missing(
        self, number: int, text: str, values: Row, texts: Sequence[str], id_column: str | None
    ) -> MissingText | None:
        """Returns what is said of a row with values but without text; None if there is text, or no value at all."""
        bodies = texts if self.options.text_columns else texts[-1:]
        if not is_empty(text) and any(name in values for name in bodies):
            return None
        filled = [name for name, value in values.items() if name not in texts and _is_filled(value)]
        others = [name for name in filled if name != id_column]
        if not others and not (is_empty(text) and filled):
            return None
        others.sort(key=lambda name: name.lower() not in _TEXTS)
        return MissingText(number, tuple(texts), tuple(others))

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


def _is_filled(value: Any) -> bool:
    plain = _plain(value)
    return not is_empty(plain) if isinstance(plain, str) else plain is not None and plain not in ([], {})


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
        names = _without_limit(path, lambda: list(rows.fieldnames or ()))
        # The first column may have no name (pandas), and so may others behind the table (spreadsheets).
        rows.fieldnames = [
            name or ("" if place == names.index("") else str(place + 1)) for place, name in enumerate(names)
        ]
        _check_columns(path, rows.fieldnames)
        for number, row in enumerate(iter(lambda: _without_limit(path, lambda: next(rows, None)), None), start=1):
            if None in row:
                raise UnreadableFileError(
                    f"'{path.name}' {number}행: 값이 헤더의 열보다 많습니다. 따옴표를 확인하세요.",
                    f"'{path.name}', row {number}: there are more values than columns in the header. Check the quotes.",
                )
            yield row


def _without_limit(path: Path, read: Callable[[], T]) -> T:
    """Reads from a CSV file with cells of any length."""
    with _CELL_LIMIT:
        usual = csv.field_size_limit(_LONGEST_CELL)
        try:
            return read()
        except csv.Error as error:
            raise _damaged(path, error) from error
        finally:
            csv.field_size_limit(usual)


def _check_columns(path: Path, names: Sequence[str]) -> None:
    """Raises if two columns have one name: the values of one of them would be lost."""
    name, count = next(iter(Counter(map(to_nfc, names)).most_common(1)), ("", 0))
    if count > 1:
        raise UnreadableFileError(
            f"'{path.name}'에 '{name}' 열이 {count}개입니다. 열의 이름을 서로 다르게 고치세요.",
            f"'{path.name}' has {count} columns '{name}'; give them different names.",
        )


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
                if "\\ud" in line.lower():
                    _check_characters(path, number, row)
                yield row


def _check_characters(path: Path, number: int, row: Row) -> None:
    """Raises if a text has half a character (a lone surrogate), which escapes of JSON can spell."""
    for name, value in row.items():
        try:
            json.dumps({name: value}, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise UnreadableFileError(
                f"'{path.name}' {number}번째 줄 {name!r:.80} 열: 반쪽짜리 글자(서로게이트)가 있습니다. 원래의 글에서 "
                "UTF-8로 다시 저장하세요.",
                f"'{path.name}', line {number}, column {name!r:.80} has half a character (a lone surrogate). Save it "
                "again as UTF-8, from the original text.",
            ) from error


def _parquet(path: Path) -> Iterator[Row]:
    parquet = require("pyarrow.parquet", extra="parquet")
    check_readable(path)
    try:
        with parquet.ParquetFile(path, buffer_size=_PARQUET_BUFFER) as file:
            _check_columns(path, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                yield from _batch_rows(path, batch)
    except (OSError, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from error


def _batch_rows(path: Path, batch: Any) -> Iterator[Row]:
    names = batch.schema.names
    columns = (_values(path, name, column) for name, column in zip(names, batch.columns, strict=True))
    for row in zip(*columns, strict=True):
        yield dict(zip(names, row, strict=True))


def _values(path: Path, name: str, column: Any) -> list[Any]:
    """Returns a column's values as Python has them."""
    try:
        values: list[Any] = column.to_pylist()
    except Exception as error:  # dates and time zones that Python does not know, texts that are not UTF-8
        raise UnreadableFileError(
            f"'{path.name}'의 '{name}' 열({column.type})을 읽을 수 없습니다({error!s:.200}). 열을 UTF-8 문자열로 "
            "바꾸거나 빼고 다시 저장하세요.",
            f"The column '{name}' ({column.type}) of '{path.name}' cannot be read ({error!s:.200}). Save the file with "
            "it as UTF-8 strings, or without it.",
        ) from error
    return values


def _damaged(path: Path, reason: object) -> UnreadableFileError:
    return UnreadableFileError(
        f"'{path.name}'을(를) 읽을 수 없습니다({reason}). 파일이 온전한지 확인하세요.",
        f"'{path.name}' cannot be read ({reason}); check that the file is whole.",
    )
