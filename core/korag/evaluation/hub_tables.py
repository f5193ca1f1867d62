"""Reading tables of a data set from the Hub or a local copy, with `datasets`."""

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
    """A table of a data set.

    Attributes:
        config: Configuration ("subset").
        split: Split; None for the only one.
        file: File in the repository, for data sets defined by a loading script, which `datasets` 4 no longer runs.
    """

    config: str
    split: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        return f"{self.config}/{self.split}" if self.split else self.config


@dataclass(frozen=True)
class HubTables:
    """Location of the tables of a data set.

    Attributes:
        dataset_id: Id on the Hub; read from the cache when offline (``HF_HUB_OFFLINE=1``).
        local: A folder to read instead: a snapshot of the repository, or files named ``<config>/<split>.parquet``
            (also JSONL, CSV, TSV, and parquet shards ``<split>-*.parquet``).
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
            The location of each row, and its values.

        Raises:
            DatasetError: If the table cannot be read; the message explains how to provide it offline.
            MissingDependencyError: If `datasets` is not installed.
        """
        datasets = require("datasets", extra="eval")
        place = str(self.local or self.dataset_id)
        try:
            loaded = self._load(datasets, table)
        except DatasetError:
            raise
        except Exception as error:  # the Hub, its cache and the file formats raise errors of many kinds
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise DatasetError(
                f"'{place}'의 표 {table}을(를) 읽지 못했습니다({reason:.200}). 인터넷에 연결할 수 없으면 다른 곳에서 "
                "다운로드한 폴더를 local=(명령줄에서는 --local)로 지정하세요.",
                f"The table {table} of '{place}' cannot be read ({reason:.200}). Without a connection, download it "
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
        """Returns the files of the table, if their names identify it."""
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
    """Returns the requested split, or the only one; of several, the one named like the table."""
    names = list(splits)
    for name in (table.split, *(names if len(names) == 1 else ()), table.config, table.config.partition("-")[0]):
        if name in splits and (table.split in (None, name)):
            return splits[name]
    raise DatasetError(
        f"표 '{table.config}'의 split을 정할 수 없습니다(요청: {table.split}). 있는 split: {', '.join(names)}.",
        f"Cannot choose a split of the table '{table.config}' (requested: {table.split}); it has: {', '.join(names)}.",
    )


def _suffix(name: str) -> str:
    return next(suffix for suffix in sorted(_BUILDERS, key=len, reverse=True) if name.endswith(f".{suffix}"))
