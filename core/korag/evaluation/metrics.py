"""Ranking measures per query, computed by ir-measures (based on trec_eval).

Definitions:

- ``nDCG@k``: grades discounted by log2(rank + 1), relative to the ideal ranking (Järvelin and
  Kekäläinen 2002, https://doi.org/10.1145/582415.582418; linear gains as in trec_eval, BEIR and MTEB).
- ``Recall@k``: fraction of the relevant documents among the first k.
- ``MRR@10``: 1 / rank of the first relevant document, 0 beyond rank 10.
- ``MAP@100``: precisions at the ranks of relevant documents up to 100, summed, over the number of relevant ones.
- ``Accuracy@k``: 1 if any of the first k is relevant (sentence-transformers' accuracy; "hit rate", "success").
- ``Precision@k``: relevant documents among the first k, over k.
- ``F1@k``: harmonic mean of the query's Precision@k and Recall@k.

Grades of at least 1 are relevant. A query without results scores 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from korag._optional import require

_IR_NAMES = {
    "nDCG": "nDCG", "Recall": "R", "MRR": "RR", "MAP": "AP", "Accuracy": "Success", "Precision": "P",
}  # fmt: skip
_CUTOFFS: dict[str, tuple[int, ...]] = {
    "nDCG": (1, 3, 5, 10, 20),
    "Recall": (1, 3, 5, 10, 20, 100),
    "MRR": (10,),
    "MAP": (100,),
    "Accuracy": (1, 3, 5, 10),
    "Precision": (1, 3, 5, 10),
    "F1": (1, 3, 5, 10),
}
MEASURES: tuple[str, ...] = tuple(f"{name}@{k}" for name, cutoffs in _CUTOFFS.items() for k in cutoffs)
"""All measures, in the order of the tables."""
MAIN_MEASURE = "nDCG@10"
"""The measure by which systems are compared."""

PerQuery = dict[str, NDArray[np.float64]]
"""Values of each measure, per query. Shape of each: (queries,)."""


def cutoff(measure: str) -> int:
    """Returns the rank cutoff of a measure."""
    return int(measure.rpartition("@")[2])


def score_rankings(
    rankings: Mapping[str, Sequence[str]], relevant: Mapping[str, Mapping[str, int]], *, depth: int = 100
) -> PerQuery:
    """Scores rankings per query.

    Args:
        rankings: Ids for each query, best first. A repeated id counts once, at its better rank.
        relevant: Relevant documents of each query with their grades.
        depth: Depth of the rankings; measures with a larger cutoff are left out.

    Returns:
        For each measure, a float64 value per query in the order of `relevant`. Shape of each: (queries,).

    Raises:
        MissingDependencyError: If ir-measures is not installed.
    """
    library = require("ir_measures", extra="eval")
    parsed = {
        name: library.parse_measure(f"{_IR_NAMES[kind]}@{k}")
        for name in MEASURES
        for kind, k in [(name.partition("@")[0], cutoff(name))]
        if kind in _IR_NAMES and k <= depth
    }
    names = {str(measure): name for name, measure in parsed.items()}
    position = {query: index for index, query in enumerate(relevant)}
    values = {name: np.zeros(len(relevant)) for name in MEASURES if cutoff(name) <= depth}
    qrels = {query: dict(grades) for query, grades in relevant.items()}
    # Scores by rank: trec_eval would reorder equal scores by id.
    run = {query: _by_rank(rankings.get(query, ())) for query in relevant}
    if any(run.values()):
        for metric in library.iter_calc(list(parsed.values()), qrels, run):
            values[names[str(metric.measure)]][position[metric.query_id]] = metric.value
    for name in values:
        if name.startswith("F1@"):
            precision, recall = values[f"Precision@{cutoff(name)}"], values[f"Recall@{cutoff(name)}"]
            total = precision + recall
            values[name] = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    return values


def _by_rank(ids: Sequence[str]) -> dict[str, float]:
    unique = list(dict.fromkeys(ids))
    return {id_: float(len(unique) - rank) for rank, id_ in enumerate(unique)}
