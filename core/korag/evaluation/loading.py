"""`load_dataset`: loads a data set from a file, a folder, or by name."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from korag.errors import DatasetError, InvalidArgumentError
from korag.evaluation.benchmarks import BENCHMARKS, Benchmark
from korag.evaluation.dataset import Dataset
from korag.evaluation.hub_tables import HubTables
from korag.evaluation.layouts import read_folder, read_pairs
from korag.evaluation.tables import SUFFIXES
from korag.logs import logger
from korag.storage import find_path, storage_errors


def load_dataset(
    source: str | os.PathLike[str],
    *,
    split: str = "test",
    local: str | os.PathLike[str] | None = None,
    dataset_id: str | None = None,
    revision: str | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
) -> Dataset:
    """Loads an evaluation data set.

    Args:
        source: A BEIR or AutoRAG folder (see `korag.evaluation.layouts.read_folder`), a table of pairs
            (``.jsonl``, ``.csv``, ``.tsv``, ``.parquet`` with the columns query, positive and negatives), or the
            name of a benchmark (`BENCHMARKS`; case and punctuation are ignored).
        split: Split of a BEIR folder, as in ``qrels/<split>``.
        local: Folder to read a benchmark from instead of the Hub.
        dataset_id: Another copy of a benchmark on the Hub.
        revision: Commit, branch or tag on the Hub.
        cache_folder: Cache of `datasets`.
        columns: The names that a table of pairs has for ``query``, ``positive`` and ``negatives``, by these names.

    Returns:
        The data set, checked.

    Raises:
        DatasetError: If the data set does not exist or is invalid.
        MissingDependencyError: If a required package of ``korag[eval]`` is missing.
    """
    path = find_path(source)
    if path is not None and path.is_file():
        return read_pairs(path, columns=columns)
    if columns:
        raise InvalidArgumentError(
            f"columns={dict(columns)!r:.80}: 질문-정답 표에만 쓸 수 있는데 '{source}'은(는) 표가 아닙니다.",
            f"columns={dict(columns)!r:.80} is for tables of pairs only, and '{source}' is none.",
        )
    if path is not None and local is None:
        with storage_errors(path, writing=False):
            return read_folder(path, split=split)
    benchmark = _find(str(source))
    tables = HubTables(
        dataset_id or benchmark.dataset_id,
        local=None if local is None else Path(local),
        revision=revision,
        cache_folder=cache_folder,
    )
    dataset = benchmark.load(tables)
    for what, found, expected in (
        ("queries", len(dataset.queries), benchmark.queries),
        ("documents", len(dataset.documents), benchmark.documents),
    ):
        if local is None and expected and found != expected:
            logger.warning(
                "%s: %s %d개(모델 카드는 %d개). 모델 카드의 수치와 직접 비교할 수 없습니다. / "
                "%d %s, but the model cards have %d: the figures are not comparable.",
                benchmark.name, what, found, expected, found, what, expected,
            )  # fmt: skip
    return dataset


def _find(name: str) -> Benchmark:
    """Returns the benchmark with this name or Hub id."""
    names = {_plain(known): benchmark for known, benchmark in BENCHMARKS.items()}
    names |= {_plain(benchmark.dataset_id): benchmark for benchmark in BENCHMARKS.values() if benchmark.dataset_id}
    if found := names.get(_plain(name)):
        return found
    close = difflib.get_close_matches(_plain(name), names, n=1, cutoff=0.5)
    korean = f" 혹시 '{names[close[0]].name}'인가요?" if close else ""
    english = f" Did you mean '{names[close[0]].name}'?" if close else ""
    listed = ", ".join(name for name in BENCHMARKS if "/" not in name)
    raise DatasetError(
        f"'{name}'(이)라는 파일, 폴더, 벤치마크가 없습니다.{korean} 벤치마크: {listed}, nanobeir-ko/<이름>. "
        f"파일은 {', '.join(SUFFIXES)} 중 하나여야 합니다.",
        f"There is no file, folder or benchmark '{name}'.{english} The benchmarks are: {listed}, nanobeir-ko/<name>. "
        f"A file must be one of {', '.join(SUFFIXES)}.",
    )


def _plain(name: str | None) -> str:
    return re.sub(r"[^a-z0-9/]", "", (name or "").lower())
