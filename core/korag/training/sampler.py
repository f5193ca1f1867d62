"""Batches without false negatives."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from sentence_transformers.base.sampler import DefaultBatchSampler

from korag.training.columns import LABEL
from korag.training.pairs import key


class PairBatchSampler(DefaultBatchSampler):
    """Batches in which no document is a negative of a query it answers.

    Every document of a batch is a candidate for every query. Two rows therefore share a batch only if their queries
    differ and no document of one is a known positive of the other's query. Unlike with sentence-transformers'
    ``NO_DUPLICATES``, rows may share negatives: in a small domain, hard negatives are few and common to many queries.

    Rows that do not fit are deferred to a later batch. The order depends only on the seed and the epoch, so that a
    resumed run gets the same batches.

    Args:
        dataset: Columns query, positive, then negatives; and the teacher's scores, if any.
        batch_size: Maximum number of rows per batch.
        drop_last: Drop incomplete batches.
        seed: Seed of the order.
        kwargs: Other arguments of sentence-transformers' samplers; ignored.
    """

    def __init__(self, dataset: Any, batch_size: int, drop_last: bool, *, seed: int = 0, **kwargs: Any) -> None:  # noqa: FBT001 (signature of its caller)
        super().__init__(dataset, batch_size=batch_size, drop_last=drop_last, seed=seed)
        names = [name for name in dataset.column_names if name != LABEL]
        columns = [[key(text) for text in dataset[name]] for name in names]
        self._queries = columns[0]
        self._documents = [frozenset(row) for row in zip(*columns[1:], strict=True)]
        self._positives: dict[str, set[str]] = {}
        for query, positive in zip(columns[0], columns[1], strict=True):
            self._positives.setdefault(query, set()).add(positive)
        self._length: int | None = None

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the batches of the epoch set by ``set_epoch``."""
        return iter(self._batches(self.epoch))

    def __len__(self) -> int:
        """Number of batches in the first epoch; another may have one more or less."""
        if self._length is None:
            self._length = len(self._batches(0))
        return self._length

    def _batches(self, epoch: int) -> list[list[int]]:
        waiting = list(range(len(self._queries)))
        random.Random(f"{self.seed} {epoch}").shuffle(waiting)  # noqa: S311 (not cryptographic)
        batches = []
        while waiting:
            batch: list[int] = []
            queries: set[str] = set()
            documents: set[str] = set()
            positives: set[str] = set()
            left = []
            for position, row in enumerate(waiting):
                if len(batch) == self.batch_size:
                    left += waiting[position:]
                    break
                query = self._queries[row]
                if query in queries or self._documents[row] & positives or self._positives[query] & documents:
                    left.append(row)
                    continue
                batch.append(row)
                queries.add(query)
                documents |= self._documents[row]
                positives |= self._positives[query]
            waiting = left
            if len(batch) == self.batch_size or not self.drop_last:
                batches.append(batch)
        return batches
