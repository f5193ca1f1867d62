"""``korag export``: writes a collection's documents into a JSONL or parquet file, without loading its models."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from korag._optional import require
from korag.commands.opening import add_index, add_json, read_index
from korag.commands.options import as_json, write
from korag.encoders.batching import batched
from korag.errors import InvalidArgumentError
from korag.paths import check_path
from korag.storage import atomic_file, flush

if TYPE_CHECKING:
    from korag.collection.documents import StoredDocument

_ROWS = 4_096
"""Rows of parquet written at a time."""


def add_arguments(subparsers: Any) -> None:
    """Adds the command to the subparsers of `argparse`."""
    parser = subparsers.add_parser(
        "export",
        help="문서를 파일로 내보냅니다. Writes the documents into a file.",
        description="컬렉션의 문서(id, text, metadata)를 파일로 내보냅니다. 벡터는 내보내지 않습니다. Writes the "
        "documents of a collection (id, text, metadata) into a file, without their vectors.",
    )
    add_index(parser, models=False)
    parser.add_argument(
        "output",
        metavar="FILE",
        help=".jsonl이나 .parquet 파일. parquet의 metadata 열은 JSON입니다. A .jsonl or .parquet file; parquet has the "
        "metadata as JSON.",
    )
    parser.add_argument("--overwrite", action="store_true", help="있는 파일을 바꿉니다. Replaces an existing file.")
    add_json(parser)
    parser.set_defaults(run=run, interrupted=("아무것도 쓰지 않았습니다.", "Nothing was written."))


def run(options: argparse.Namespace) -> None:
    """Writes the file, whole or not at all, and prints how much."""
    output = check_path("output", options.output)
    if output.suffix not in _WRITERS:
        raise InvalidArgumentError(
            f"'{output.name}'의 형식을 알 수 없습니다. 이름이 .jsonl이나 .parquet으로 끝나야 합니다.",
            f"'{output.name}' has no known format; its name must end in .jsonl or .parquet.",
        )
    if output.exists() and not options.overwrite:
        raise InvalidArgumentError(
            f"'{output}'이(가) 이미 있습니다. 다른 이름을 쓰거나 --overwrite로 바꾸세요.",
            f"'{output}' exists; use another name, or --overwrite to replace it.",
        )
    if output.suffix == ".parquet":
        require("pyarrow.parquet", extra="parquet")
    with read_index(options) as stored, atomic_file(output) as unfinished:
        unfinished.open("xb").close()  # never a file of the user's
        count = _WRITERS[output.suffix](stored.documents(), unfinished)
        flush(unfinished)
    if options.json:
        write(as_json({"documents": count, "file": str(output)}))
    else:
        write(f"문서 {count:,}개를 썼습니다: {output} / Wrote {count:,} documents: {output}")


def _write_jsonl(documents: Iterable[StoredDocument], path: Path) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for document in documents:
            row = {"id": document.id, "text": document.text, "metadata": document.metadata}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _write_parquet(documents: Iterable[StoredDocument], path: Path) -> int:
    from korag.collection.documents import to_json  # imports numpy and scipy, which `korag --help` can do without

    arrow = require("pyarrow", extra="parquet")
    parquet = require("pyarrow.parquet", extra="parquet")
    schema = arrow.schema([(name, arrow.string()) for name in ("id", "text", "metadata")])
    count = 0
    with parquet.ParquetWriter(path, schema) as file:
        for some in batched(documents, _ROWS):
            columns = {
                "id": [document.id for document in some],
                "text": [document.text for document in some],
                "metadata": [to_json(document.metadata) for document in some],
            }
            file.write_table(arrow.table(columns, schema=schema))
            count += len(some)
    return count


_WRITERS: dict[str, Callable[[Iterable[StoredDocument], Path], int]] = {
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
