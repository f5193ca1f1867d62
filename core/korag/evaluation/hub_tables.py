"""Tables of a data set on the Hub or of its copy on disk, read with `datasets`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from korag._optional import require
from korag.errors import DatasetError
from korag.evaluation.tables import TableRow

_BUILDERS = {"parquet": "parquet", "jsonl": "json", "jsonl.gz": "json", "csv": "csv", "tsv": "csv"}


@dataclass(frozen=True)
class Table:
    """One table of a data set.

    Attributes:
        config: Its configuration ("subset").
        split: Its split; None for the only one it has.
        file: The file itself, for data sets that only a loading script describes: `datasets` 4 and later runs
            none.
    """

    config: str
    split: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.config}/{self.split}" if self.split else self.config


@dataclass(frozen=True)
class HubTables:
    """Where tables are read from.

    Attributes:
        dataset_id: On the Hub; read from the cache where the machine is offline (``HF_HUB_OFFLINE=1``).
        local: A folder that stands in for it: a snapshot of the repository, or files named
            ``<config>/<split>.parquet`` (also JSONL, CSV, TSV, and parquet shards ``<split>-*.parquet``).
        revision: Commit, branch or tag on the Hub.
        cache_folder: Cache of `datasets`.
    """

    dataset_id: str | None
    local: Path | None = None
    revision: str | None = None
    cache_folder: str | os.PathLike[str] | None = None

    def rows(self, table: Table) -> Iterator[tuple[str, TableRow]]:
        """Reads a table.

        Yields:
            Where each row is, and its values.

        Raises:
            DatasetError: If the table cannot be had; the message says how to bring it along.
            MissingDependencyError: If `datasets` is not installed.
        """
        datasets = require("datasets", extra="eval")
        place = str(self.local or self.dataset_id)
        try:
            loaded = self._load(datasets, table)
        except DatasetError:
            raise
        except Exception as error:  # the Hub, its cache and every file format have errors of their own
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise DatasetError(
                f"'{place}'의 표 {table}을(를) 읽지 못했습니다({reason:.200}). 인터넷이 없다면 다른 컴퓨터에서 받은 "
                "폴더를 local=(명령줄은 --local)로 알려 주세요.",
                f"The table {table} of '{place}' cannot be read ({reason:.200}). Without a connection, fetch it "
                "elsewhere and pass the folder as local= (--local on the command line).",
            ) from error
        for number, row in enumerate(loaded, start=1):
            yield f"{place}:{table}:{number}", row

    def _load(self, datasets: Any, table: Table) -> Any:
        cache = None if self.cache_folder is None else os.fspath(self.cache_folder)
        files = self._files(table)
        if files:
            builder = _BUILDERS[_suffix(files[0])]
            options = {"delimiter": "\t"} if _suffix(files[0]) == "tsv" else {}
            return datasets.load_dataset(builder, data_files=files, split="train", cache_dir=cache, **options)
        if self.local is not None:
            if not self.local.is_dir():
                raise DatasetError(f"폴더 '{self.local}'이(가) 없습니다.", f"There is no folder '{self.local}'.")
            return _only_split(datasets.load_dataset(str(self.local), table.config, cache_dir=cache), table)
        on_hub = {"cache_dir": cache, "revision": self.revision}
        if table.split is not None:
            return datasets.load_dataset(self.dataset_id, table.config, split=table.split, **on_hub)
        return _only_split(datasets.load_dataset(self.dataset_id, table.config, **on_hub), table)

    def _files(self, table: Table) -> list[str]:
        """The table's own files, where it can be told by their names."""
        if self.local is None:
            revision = f"@{self.revision}" if self.revision else ""
            return [f"hf://datasets/{self.dataset_id}{revision}/{table.file}"] if table.file else []
        if table.file and (self.local / table.file).is_file():
            return [str(self.local / table.file)]
        folder = self.local / table.config
        for suffix in _BUILDERS:
            patterns = [f"{table.split}.{suffix}", f"{table.split}-*.{suffix}"] if table.split else [f"*.{suffix}"]
            for pattern in patterns:
                if found := sorted(map(str, folder.glob(pattern))):
                    return found
        return []


def _only_split(splits: Any, table: Table) -> Any:
    """The split asked for, or the only one; of several, the one named like its table."""
    names = list(splits)
    for name in (table.split, *(names if len(names) == 1 else ()), table.config, table.config.partition("-")[0]):
        if name in splits and (table.split in (None, name)):
            return splits[name]
    raise DatasetError(
        f"표 '{table.config}'의 split을 고를 수 없습니다(찾는 것: {table.split}). 있는 것: {', '.join(names)}.",
        f"The split of the table '{table.config}' cannot be chosen (wanted: {table.split}) of: {', '.join(names)}.",
    )


def _suffix(name: str) -> str:
    return next(suffix for suffix in sorted(_BUILDERS, key=len, reverse=True) if name.endswith(f".{suffix}"))
