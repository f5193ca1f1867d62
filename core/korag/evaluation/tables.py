"""Reading rows from JSONL, CSV, TSV and parquet files, with their locations for error messages."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from korag._optional import require
from korag.errors import DatasetError, UnreadableFileError
from korag.reading.decoding import open_text
from korag.storage import check_readable

SUFFIXES = (".parquet", ".jsonl", ".csv", ".tsv")
"""File types of `read_rows`, preferred first."""

TableRow = Mapping[str, Any]
"""Values by column."""
TableRows = Iterable[tuple[str, TableRow]]
"""Rows, each with its location for error messages."""


def read_rows(path: Path) -> Iterator[tuple[str, TableRow]]:
    """Reads a table row by row.

    Args:
        path: A ``.parquet``, ``.jsonl``, ``.csv`` or ``.tsv`` file; text in the encodings of `korag.reading.decoding`.

    Yields:
        The location of the row (``"qrels.tsv:3"``: line of the file, or row of a parquet file) and its values.

    Raises:
        DatasetError: If a line is malformed; the message has its number.
        AccessError: If the file may not be read.
        MissingDependencyError: If the file is parquet and pyarrow is not installed.
    """
    if not path.is_file():
        raise DatasetError(f"파일 '{path}'이(가) 없습니다.", f"There is no file '{path}'.")
    check_readable(path)
    if path.suffix == ".parquet":
        yield from _parquet(path)
        return
    try:
        if path.suffix == ".jsonl":
            yield from _jsonl(path)
        elif path.suffix in (".csv", ".tsv"):
            yield from _csv(path, "\t" if path.suffix == ".tsv" else ",")
        else:
            raise DatasetError(
                f"'{path.name}'은(는) 지원하지 않는 형식입니다. 다음 중 하나여야 합니다: {', '.join(SUFFIXES)}.",
                f"The format of '{path.name}' is not supported; it must be one of: {', '.join(SUFFIXES)}.",
            )
    except UnreadableFileError as error:
        raise DatasetError(*error.args) from error


def find_table(folder: Path, name: str) -> Path | None:
    """Returns the file of the table `name` in a folder, in any format, or None."""
    return next((path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()), None)


def column(row: TableRow, names: Sequence[str], where: str, *, advice: tuple[str, str] = ("", "")) -> Any:
    """Returns the value of the first of several columns that exists.

    Args:
        row: The row.
        names: The columns.
        where: The row's location, for the message.
        advice: What to do if none exists, in Korean and English, each with a space before it.

    Raises:
        DatasetError: If none exists; the message names those that do.
    """
    for name in names:
        if name in row:
            return row[name]
    wanted, found = " / ".join(names), ", ".join(map(str, row))
    raise DatasetError(
        f"{where}: '{wanted}' 열이 없습니다. 있는 열: {found}.{advice[0]}",
        f"{where}: there is no column '{wanted}'; the columns are: {found}.{advice[1]}",
    )


def text_column(row: TableRow, names: Sequence[str], where: str, *, advice: tuple[str, str] = ("", "")) -> str:
    """Returns the value of a column as a non-empty string; integers, as ids often are, are converted.

    Args:
        row: As for `column`.
        names: Likewise.
        where: Likewise.
        advice: Likewise.

    Raises:
        DatasetError: If the column is missing, or its value is empty or neither a string nor an integer.
    """
    value = column(row, names, where, advice=advice)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        return value
    raise DatasetError(
        f"{where}: '{names[0]}' 값 {value!r:.60}은(는) 비어 있지 않은 문자열이어야 합니다.",
        f"{where}: '{names[0]}' is {value!r:.60}; it must be a non-empty string.",
    )


def _parquet(path: Path) -> Iterator[tuple[str, TableRow]]:
    parquet = require("pyarrow.parquet", extra="eval")
    try:
        number = 0
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path.name}:{number}", row
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"parquet 파일 '{path}'이(가) 손상되었습니다({error}). 다시 다운로드하세요.",
            f"The parquet file '{path}' is damaged ({error}); download it again.",
        ) from error


def _jsonl(path: Path) -> Iterator[tuple[str, TableRow]]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"{path.name}:{number}"
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DatasetError(
                    f"{where}: 잘못된 JSON입니다({error.msg}, {error.colno}번째 글자): {line.strip()!r:.80}",
                    f"{where}: invalid JSON ({error.msg}, character {error.colno}): {line.strip()!r:.80}",
                ) from error
            if not isinstance(row, dict):
                raise DatasetError(
                    f"{where}: 각 줄은 JSON 객체여야 하는데 {type(row).__name__}입니다: {line.strip()!r:.80}",
                    f"{where}: each line must be a JSON object, not {type(row).__name__}: {line.strip()!r:.80}",
                )
            yield where, row


def _csv(path: Path, delimiter: str) -> Iterator[tuple[str, TableRow]]:
    with open_text(path, newline="") as file:
        # BEIR's TSV files have no quoting.
        reader = (
            csv.DictReader(file, delimiter=delimiter, quoting=csv.QUOTE_NONE)
            if delimiter == "\t"
            else csv.DictReader(file, delimiter=delimiter, strict=True)
        )
        try:
            for row in reader:
                where = f"{path.name}:{reader.line_num}"
                if None in row or None in row.values():
                    raise DatasetError(
                        f"{where}: 값의 개수가 헤더의 열 {len(reader.fieldnames or [])}개와 다릅니다.",
                        f"{where}: the number of values differs from the {len(reader.fieldnames or [])} columns of "
                        "the header.",
                    )
                yield where, row
        except csv.Error as error:
            raise DatasetError(
                f"{path.name}:{reader.line_num}: CSV를 읽을 수 없습니다({error}). 긴 텍스트에는 JSONL이 더 안전합니다.",
                f"{path.name}:{reader.line_num}: the CSV cannot be read ({error}); JSONL is safer for long texts.",
            ) from error
