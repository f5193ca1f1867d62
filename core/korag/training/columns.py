"""Conversion of pairs into the columns of a trainer."""

from __future__ import annotations

import random
from collections.abc import Sequence

from korag.training.pairs import Pair, key

LABEL = "label"
"""Name of the column of a teacher's scores, as the trainers expect it."""


def to_columns(pairs: Sequence[Pair], negatives: int, seed: int) -> dict[str, list[str]]:
    """Converts pairs into columns of equal length: query, positive and numbered negatives.

    A pair with fewer negatives than the others is filled up with random documents, none of which is a positive of its
    query: like in-batch negatives.

    Args:
        pairs: The training pairs.
        negatives: Maximum number of negatives per pair; fewer if no pair has as many.
        seed: Seed of the random documents.
    """
    count = min(negatives, max((len(pair.negatives) for pair in pairs), default=0))
    columns = {"query": [pair.query for pair in pairs], "positive": [pair.positive for pair in pairs]}
    if not count:
        return columns
    positives: dict[str, set[str]] = {}
    for pair in pairs:
        positives.setdefault(key(pair.query), set()).add(key(pair.positive))
    documents = {key(text): text for pair in pairs for text in (pair.positive, *pair.negatives)}
    names = sorted(documents)
    draw = random.Random(seed)  # noqa: S311 (not cryptographic)
    rows = []
    for pair in pairs:
        row = list(pair.negatives[:count])
        taken = positives[key(pair.query)] | {key(text) for text in row}
        while len(row) < count:
            free = [name for name in draw.sample(names, min(len(names), len(taken) + 1)) if name not in taken]
            if not free:  # the corpus is too small for so many negatives
                return to_columns(pairs, count - 1, seed)
            row.append(documents[free[0]])
            taken.add(free[0])
        rows.append(row)
    return columns | {f"negative_{index + 1}": [row[index] for row in rows] for index in range(count)}
