"""`load_dataset`: a data set from a file, a folder, or by name."""

from __future__ import annotations

import difflib
import logging
import os
import re
from pathlib import Path

from korag.errors import DatasetError
from korag.evaluation.benchmarks import BENCHMARKS, Benchmark
from korag.evaluation.dataset import Dataset
from korag.evaluation.hub_tables import HubTables
from korag.evaluation.layouts import read_folder, read_pairs
from korag.evaluation.tables import SUFFIXES

logger = logging.getLogger("korag")


def load_dataset(
    source: str | os.PathLike[str],
    *,
    split: str = "test",
    local: str | os.PathLike[str] | None = None,
    dataset_id: str | None = None,
    revision: str | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Reads an evaluation data set.

    Args:
        source: A BEIR or AutoRAG folder (see `korag.evaluation.layouts.read_folder`), a table of pairs
            (``.jsonl``, ``.csv``, ``.tsv``, ``.parquet`` with the columns query, positive and negatives), or the
            name of a benchmark (`BENCHMARKS`; case and punctuation do not matter).
        split: Which ``qrels/<split>`` of a BEIR folder.
        local: For a benchmark: a folder to read instead of the Hub.
        dataset_id: For a benchmark: another copy on the Hub.
        revision: Its commit, branch or tag.
        cache_folder: Cache of `datasets`.

    Returns:
        The data set, checked.

    Raises:
        DatasetError: If there is no such data set, or something in it is wrong.
        MissingDependencyError: If a package of ``korag[eval]`` is needed and missing.
    """
    path = Path(source)
    if path.is_dir() and local is None:
        return read_folder(path.absolute(), split=split)
    if path.is_file():
        return read_pairs(path)
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
                "%s: %s %d개(카드에는 %d개). 카드의 수치와 바로 비교할 수 없습니다. / "
                "%d %s where the cards have %d: figures do not compare with the cards'.",
                benchmark.name, what, found, expected, found, what, expected,
            )  # fmt: skip
    return dataset


def _find(name: str) -> Benchmark:
    """The benchmark called so, or with this Hub id."""
    names = {_plain(known): benchmark for known, benchmark in BENCHMARKS.items()}
    names |= {_plain(benchmark.dataset_id): benchmark for benchmark in BENCHMARKS.values() if benchmark.dataset_id}
    if found := names.get(_plain(name)):
        return found
    close = difflib.get_close_matches(_plain(name), names, n=1, cutoff=0.5)
    korean = f" 혹시 '{names[close[0]].name}'인가요?" if close else ""
    english = f" Did you mean '{names[close[0]].name}'?" if close else ""
    listed = ", ".join(name for name in BENCHMARKS if "/" not in name)
    raise DatasetError(
        f"'{name}'이라는 파일, 폴더, 벤치마크가 없습니다.{korean} 아는 이름: {listed}, nanobeir-ko/<이름>. "
        f"파일이면 {', '.join(SUFFIXES)} 가운데 하나여야 합니다.",
        f"There is no file, folder or benchmark '{name}'.{english} Known names: {listed}, nanobeir-ko/<name>. "
        f"A file must be one of {', '.join(SUFFIXES)}.",
    )


def _plain(name: str | None) -> str:
    return re.sub(r"[^a-z0-9/]", "", (name or "").lower())
