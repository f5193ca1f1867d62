"""Reading training pairs from JSONL, CSV or parquet; every problem is reported before training."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from korag._optional import require
from korag.errors import CheckpointNotFoundError, InvalidArgumentError
from korag.logs import logger
from korag.storage import check_readable, find_path
from korag.training.pairs import Pair, Problem, pairs_error
from korag.training.problems import find_problems

_QUERY = ("query", "anchor", "question")
_POSITIVE = ("positive", "pos", "document", "passage")
_NEGATIVE = re.compile(r"neg(ative)?s?(_?\d+)?")
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}


def read_pairs(
    path: str | os.PathLike[str], *, columns: Mapping[str, str] | None = None, strict: bool = True
) -> list[Pair]:
    """Reads (query, positive[, negatives]) pairs and checks every one.

    Columns: ``query`` (or ``anchor``, ``question``), ``positive`` (or ``pos``, ``document``, ``passage``), and for
    negatives ``negatives`` (a list) or ``negative``, ``negative_1``, ``neg_0`` … (one text each; empty ones are
    ignored). ``scores`` may hold a list of a teacher's scores (see `Pair`). Other columns are ignored.

    Args:
        path: A ``.jsonl``, ``.csv``, ``.tsv`` or ``.parquet`` file; text in UTF-8.
        columns: Other column names, such as ``{"query": "질문", "positive": "문서"}``; ``"negatives"`` may name one
            column, and ``"scores"`` that of the scores.
        strict: Treat problems as errors; otherwise pairs with a problem are left out. Unreadable files and missing
            columns are always errors.

    Returns:
        The pairs, in file order.

    Raises:
        CheckpointNotFoundError: If the file does not exist.
        PairsError: If there are problems; the message lists them with their lines.
        AccessError: If the file may not be read.
        InvalidArgumentError: If the file has another suffix.
        MissingDependencyError: If the file is parquet and pyarrow is not installed.
    """
    file = find_path(path)
    if file is None or not file.is_file():
        raise CheckpointNotFoundError(
            f"학습 쌍 파일 '{path}'이(가) 없습니다.", f"The file of training pairs '{path}' does not exist."
        )
    check_readable(file)
    kind = _SUFFIXES.get(file.suffix.lower())
    if kind is None:
        raise InvalidArgumentError(
            f"'{file.name}'의 형식을 알 수 없습니다. .jsonl, .csv, .tsv, .parquet 중 하나여야 합니다.",
            f"The format of '{file.name}' is unknown; it must be .jsonl, .csv, .tsv or .parquet.",
        )
    problems: list[Problem] = []
    rows = {"jsonl": _jsonl, "csv": _csv, "parquet": _parquet}[kind](file, problems)
    pairs = _to_pairs(rows, dict(columns or {}), file, problems)
    return _checked(pairs, problems, str(file), strict=strict)


def check_pairs(pairs: Iterable[Pair | tuple[Any, ...]], *, strict: bool = True) -> list[Pair]:
    """Checks pairs in memory, as `read_pairs` checks a file.

    Args:
        pairs: `Pair` objects, or tuples (query, positive) or (query, positive, negatives).
        strict: As for `read_pairs`.

    Raises:
        PairsError: If there are problems; pairs without a line are numbered from 1.
    """
    problems: list[Problem] = []
    made = []
    for number, item in enumerate(pairs, 1):
        if isinstance(item, Pair):
            made.append(
                item if item.line is not None else Pair(item.query, item.positive, item.negatives, number, item.scores)
            )
        elif isinstance(item, tuple) and len(item) in (2, 3):
            given = item[2] if len(item) == 3 else ()
            made.append(Pair(item[0], item[1], tuple([given] if isinstance(given, str) else given), number))
        else:
            problems.append((number, f"쌍이 아닙니다: {item!r:.60}", f"not a pair: {item!r:.60}"))
    return _checked(made, problems, "pairs", strict=strict)


def _jsonl(file: Path, problems: list[Problem]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, raw in enumerate(file.read_bytes().splitlines(), 1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            problems.append((number, "UTF-8이 아닙니다", "not UTF-8"))
            continue
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            problems.append((number, f"깨진 JSON입니다({error})", f"broken JSON ({error})"))
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            problems.append((number, "JSON 객체가 아닙니다", "not a JSON object"))


def _csv(file: Path, problems: list[Problem]) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise pairs_error(file.name, [(
            line, "UTF-8이 아닙니다. 엑셀에서는 'CSV UTF-8'로 저장하세요", "not UTF-8; in Excel, save as 'CSV UTF-8'"
        )]) from None  # fmt: skip
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = 2
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problems.append((reader.line_num, f"깨진 CSV입니다({error})", f"broken CSV ({error})"))
            return
        number, start = start, reader.line_num + 1
        if None in row or None in row.values():
            problems.append((number, "열의 개수가 헤더와 다릅니다", "the number of fields differs from the header"))
        else:
            yield number, row


def _parquet(file: Path, problems: list[Problem]) -> Iterator[tuple[int, dict[str, Any]]]:
    arrow, parquet = require("pyarrow", extra="train"), require("pyarrow.parquet", extra="train")

    try:
        table = parquet.read_table(file)
    except (arrow.ArrowInvalid, OSError) as error:
        raise pairs_error(file.name, [(None, f"깨진 parquet입니다({error})", f"broken parquet ({error})")]) from error
    yield from enumerate(table.to_pylist(), 1)


def _to_pairs(
    rows: Iterator[tuple[int, dict[str, Any]]], columns: dict[str, str], file: Path, problems: list[Problem]
) -> list[Pair]:
    pairs: list[Pair] = []
    for number, row in rows:
        query = _column(row, columns.get("query"), _QUERY)
        positive = _column(row, columns.get("positive"), _POSITIVE)
        if query is None or positive is None:
            wanted = " / ".join(columns.get(name, name) for name in ("query", "positive"))
            found = ", ".join(map(str, row))
            problems.append((
                number, f"열이 맞지 않습니다: {wanted}이(가) 필요한데 있는 열은 {found}입니다",
                f"wrong columns: {wanted} expected, found {found}",
            ))  # fmt: skip
            if not pairs:  # in the first row: every other row would repeat it
                raise pairs_error(file.name, problems)
            continue
        named = columns.get("negatives")
        places = [named] if named else [name for name in row if _NEGATIVE.fullmatch(str(name))]
        negatives: list[Any] = []
        for place in places:
            value = row.get(place)
            if isinstance(value, list):
                negatives += value
            elif value not in (None, ""):
                negatives.append(value)
        scores = row.get(columns.get("scores", "scores"))
        if not isinstance(scores, list | None):
            problems.append((
                number, f"scores가 리스트가 아닙니다: {scores!r:.40}. JSONL이나 parquet의 리스트로 적으세요",
                f"scores is no list: {scores!r:.40}; use a list in JSONL or parquet",
            ))  # fmt: skip
            continue
        pairs.append(Pair(row[query], row[positive], tuple(negatives), number, tuple(scores or ())))
    if not pairs and not problems:
        problems.append((None, "쌍이 하나도 없습니다", "it contains no pairs"))
    return pairs


def _column(row: Mapping[str, Any], own: str | None, names: tuple[str, ...]) -> str | None:
    return next((name for name in ((own,) if own else names) if name in row), None)


def _checked(pairs: list[Pair], problems: list[Problem], source: str, *, strict: bool) -> list[Pair]:
    good = find_problems(pairs, problems)
    if problems and (strict or not good):
        raise pairs_error(Path(source).name, problems)
    if problems:
        logger.warning(
            "%s: 문제가 있는 %d건을 제외하고 %d쌍을 씁니다. / %s: %d invalid entries are left out; %d pairs remain.",
            source, len(problems), len(good), source, len(problems), len(good),
        )  # fmt: skip
    return good
