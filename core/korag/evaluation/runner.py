"""`evaluate`: runs and scores systems on a data set."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from korag._optional import check
from korag.checks import check_count
from korag.encoders.progress import progress_bar
from korag.errors import InvalidArgumentError
from korag.evaluation.autorag import autorag_scores
from korag.evaluation.bootstrap import intervals
from korag.evaluation.dataset import Dataset
from korag.evaluation.loading import load_dataset
from korag.evaluation.metrics import MAIN_MEASURE, PerQuery, cutoff, score_rankings
from korag.evaluation.plan import Systems, plan
from korag.evaluation.report import Report, Row
from korag.evaluation.reranked import RerankedSystem
from korag.evaluation.store import RunStore
from korag.evaluation.systems import CompositeSystem, HybridSystem, LegSystem, RetrievalRun, System, candidates
from korag.legs.multi_vector.settings import check_tokens
from korag.legs.windows.settings import WindowSize, check_windows
from korag.paths import check_path

_AUTORAG_CUTOFFS = (1, 3, 5, 10)


def evaluate(
    dataset: Dataset | str | os.PathLike[str],
    systems: Systems = (),
    *,
    bm25: Sequence[Any] = ("bigram",),
    dims: Sequence[int] | None = None,
    k: int = 100,
    window: WindowSize = "auto",
    stride: int | None = None,
    codec: str | None = None,
    keep_vectors: bool | None = None,
    pool_factor: int | None = None,
    output: str | os.PathLike[str] | None = None,
    load_options: Mapping[str, Any] | None = None,
    autorag: bool | None = None,
    seed: int = 0,
    show_progress: bool | None = None,
) -> Report:
    """Runs and scores systems on a data set, with BM25 as the baseline.

    Args:
        dataset: A `Dataset`, or an argument of `load_dataset`.
        systems: The systems; a dict names the rows. Each is

            - a model name or path, or a loaded encoder,
            - `Hybrid(models, bm25=…)`: legs over the data set's documents, fused,
            - `Reranked(model, first_stage=…)`: a reranker over the first documents of another system,
            - a collection that holds the documents, or `CollectionLeg(collection, using=…)`,
            - a function from a query to ids or (id, score), best first,
            - a LangChain or LlamaIndex retriever (anything with ``invoke`` or ``retrieve``).
        bm25: Tokenizers as for `Collection`, each for a BM25 row; at least one. The first row is the baseline.
        dims: Matryoshka dimensions of models given by name, each for a row; None for only the largest.
        k: Depth of the rankings; measures with a larger cutoff are left out.
        window: Tokens of the windows that long documents are split into for models; as for `korag.Collection.open`.
        stride: Tokens from the beginning of a window to that of the next; as there.
        codec: How the token vectors of ColBERT models are stored, and so how exactly they are scored; as there.
        keep_vectors: Store the float16 vectors too, where `codec` does not; as there.
        pool_factor: Merge similar token vectors of each document, so that one is left for so many; as there.
        output: Folder for finished runs and the report. Runs finished there (same model fingerprint, data and k) are
            reused.
        load_options: Keywords of `korag.load_encoder`, for models given by name.
        autorag: Add AutoRAG's measures and its legacy figures (`korag.evaluation.autorag`); None adds them if the data
            set has AutoRAG's judgements.
        seed: Seed of the bootstrap.
        show_progress: Show a progress bar per row; None shows them in a terminal.

    Returns:
        The report. With `output`, it is also saved there as JSON and Markdown.

    Raises:
        DatasetError: If the data set is invalid, or a system returns documents that are not in it.
        InvalidArgumentError: If a system cannot be evaluated.
        MissingDependencyError: If a package of ``korag[eval]`` is missing.
    """
    check("ir_measures", extra="eval")
    folder = None if output is None else check_path("output", output)
    if check_count("k", k) < cutoff(MAIN_MEASURE):
        raise InvalidArgumentError(
            f"k={k}은(는) 쓸 수 없습니다. {MAIN_MEASURE}을 재려면 10 이상이어야 합니다.",
            f"k={k} is invalid; {MAIN_MEASURE} needs at least 10.",
        )
    stored = check_windows(window, stride), check_tokens(codec, keep_vectors, pool_factor)
    rows = plan(systems, bm25=bm25, dims=dims, load_options=load_options, windows=stored[0], tokens=stored[1])
    data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset)
    runner = _Runner(data, k, RunStore(folder), show_progress)
    with_autorag = data.groups is not None if autorag is None else autorag
    scored: list[Row] = []
    baseline: PerQuery | None = None
    for system in rows:
        run = runner.run(system)
        ids = _ids(run)
        per_query = score_rankings(ids, data.relevant, depth=k)
        first = None
        if isinstance(system, RerankedSystem):
            first = score_rankings(_ids(runner.run(system.parts[0])), data.relevant, depth=k)
        scored.append(
            _row(
                system, run, per_query, baseline, first, data, seed,
                autorag=_autorag(ids, data, k) if with_autorag else {},
            )
        )  # fmt: skip
        baseline = baseline or per_query
    report = Report(
        dataset=data.name, source=data.source, fingerprint=data.fingerprint,
        documents=len(data.documents), queries=len(data.queries), k=k, rows=tuple(scored),
    )  # fmt: skip
    if folder is not None:
        report.save(folder)
    return report


class _Runner:
    """Runs systems, or reuses their runs from this evaluation or the folder."""

    def __init__(self, dataset: Dataset, k: int, store: RunStore, show_progress: bool | None) -> None:  # noqa: FBT001 (private, mirrors the public keyword)
        self._dataset, self._k, self._store = dataset, k, store
        self._show = sys.stderr.isatty() if show_progress is None else show_progress
        self._done: dict[str, RetrievalRun] = {}

    def run(self, system: System) -> RetrievalRun:
        run = self._finished(system)
        return replace(run, rankings={query: ranking[: self._k] for query, ranking in run.rankings.items()})

    def _finished(self, system: System) -> RetrievalRun:
        """The run of a system; of a leg, as deep as a hybrid search needs it."""
        identity = system.identity
        depth = candidates(self._k) if isinstance(system, LegSystem) else self._k
        run = self._done.get(identity) if identity is not None else None
        run = run or self._store.load(system, self._dataset, depth)
        if run is None:
            run = self._run(system, depth)
            self._store.save(run, system, self._dataset, depth)
        if identity is not None:
            self._done[identity] = run
        return run

    def _run(self, system: System, depth: int) -> RetrievalRun:
        part_run = self._finished if isinstance(system, HybridSystem) else self.run
        parts = [part_run(part) for part in system.parts] if isinstance(system, CompositeSystem) else []
        total = system.steps(self._dataset)
        with progress_bar(f"{self._dataset.name}: {system.name}", total, show=self._show) as bar:
            if isinstance(system, CompositeSystem):
                return system.combine(parts, self._dataset, self._k, bar.update)
            return system.run(self._dataset, k=depth, advance=bar.update)


def _row(
    system: System,
    run: RetrievalRun,
    per_query: PerQuery,
    baseline: PerQuery | None,
    first: PerQuery | None,
    dataset: Dataset,
    seed: int,
    *,
    autorag: dict[str, float],
) -> Row:
    names = list(per_query)
    values = np.stack([per_query[name] for name in names], axis=1)
    low, high = intervals(values, seed=seed)
    return Row(
        name=system.name,
        kind=system.kind,
        dim=system.dim,
        identity=system.identity,
        metrics={name: float(mean) for name, mean in zip(names, values.mean(axis=0), strict=True)},
        intervals={name: (float(low[i]), float(high[i])) for i, name in enumerate(names)},
        difference=_difference(per_query, baseline, seed),
        first_stage_difference=_difference(per_query, first, seed),
        found=max(map(len, run.rankings.values()), default=0),
        index_bytes=run.index_bytes,
        index_seconds=run.index_seconds,
        search_seconds=run.search_seconds,
        documents_per_second=_rate(len(dataset.documents), run.index_seconds),
        queries_per_second=_rate(len(dataset.queries), run.search_seconds),
        facts=dict(run.facts),
        autorag=autorag,
        per_query=dict(zip(dataset.relevant, map(float, per_query[MAIN_MEASURE]), strict=True)),
    )


def _ids(run: RetrievalRun) -> dict[str, list[str]]:
    return {query: [id_ for id_, _ in ranking] for query, ranking in run.rankings.items()}


def _difference(per_query: PerQuery, other: PerQuery | None, seed: int) -> tuple[float, float, float] | None:
    """The mean paired difference to another system, with its interval."""
    if other is None:
        return None
    gains = (per_query[MAIN_MEASURE] - other[MAIN_MEASURE])[:, None]
    bounds = intervals(gains, seed=seed)
    return float(gains.mean()), float(bounds[0, 0]), float(bounds[1, 0])


def _autorag(ids: dict[str, list[str]], dataset: Dataset, k: int) -> dict[str, float]:
    groups = dataset.groups or {query: (tuple(grades),) for query, grades in dataset.relevant.items()}
    return {
        f"{'legacy ' if legacy else ''}{name}@{cut}": value
        for legacy in (False, True)
        for cut in _AUTORAG_CUTOFFS
        if cut <= k
        for name, value in autorag_scores(ids, groups, k=cut, legacy=legacy).items()
    }


def _rate(number: int, seconds: float | None) -> float | None:
    return number / seconds if seconds else None
