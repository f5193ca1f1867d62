"""Searching a collection: queries → each leg's best among the documents allowed → fusion → hits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from korag.collection.checks import check_count
from korag.collection.database import Database, Keys
from korag.collection.filters import parse, to_sql
from korag.collection.hit import Hit
from korag.collection.legs import Leg
from korag.collection.snapshot import Snapshot, SnapshotReader
from korag.errors import InvalidArgumentError
from korag.fusion import reciprocal_rank_fusion, weighted_fusion
from korag.scoring import top_k
from korag.text import check_texts, is_empty

logger = logging.getLogger("korag")
_FETCH = 100
"""Candidates each leg gives to a fusion, by default."""

Run = list[tuple[int, float]]
"""(key, score) of documents, best first."""


class Searcher:
    """Finds documents of one collection; `korag.collection.Collection.search` has the arguments' meaning.

    Args:
        database: Documents and metadata.
        reader: Where vectors are read.
        legs: The collection's legs by name.
    """

    def __init__(self, database: Database, reader: SnapshotReader, legs: Mapping[str, Leg]) -> None:
        self._database = database
        self._reader = reader
        self._legs = legs

    def search(
        self,
        queries: Iterable[str],
        *,
        k: int,
        using: str | None,
        where: Mapping[str, Any] | None,
        fetch_k: int | None,
        fusion: str,
        weights: Mapping[str, float] | None,
    ) -> list[list[Hit]]:
        """Checks everything, encodes all queries at once, and returns the hits of each, in order."""
        checked = check_texts(queries, "queries")
        k = check_count("k", k)
        legs = self._choose(using)
        fetch = max(k, _FETCH) if fetch_k is None else max(k, check_count("fetch_k", fetch_k))
        if fusion not in ("rrf", "weighted"):
            raise InvalidArgumentError(
                f"fusion={fusion!r}은(는) 쓸 수 없습니다. 'rrf' 또는 'weighted'여야 합니다.",
                f"fusion={fusion!r} is not possible; it must be 'rrf' or 'weighted'.",
            )
        if weights is not None:
            reciprocal_rank_fusion({leg: [] for leg in legs}, weights=weights)  # checks names and values
        condition = None if (parsed := parse(where)) is None else to_sql(parsed)
        filled = [index for index, query in enumerate(checked) if not is_empty(query)]
        if len(filled) < len(checked):
            warn_empty(len(checked) - len(filled), len(checked))
        hits: list[list[Hit]] = [[] for _ in checked]
        if not filled or k == 0:
            return hits
        texts = [checked[index] for index in filled]
        encoded = {leg: self._legs[leg].encode_queries(texts) for leg in legs}
        allowed = None if condition is None else self._database.keys(*condition)
        snapshot = self._reader.read()
        fetch = fetch if len(legs) > 1 else k
        for position, index in enumerate(filled):
            runs = {leg: self._run(leg, encoded[leg][position], snapshot, allowed, fetch) for leg in legs}
            hits[index] = self._hits(runs, k, fusion, weights)
        return hits

    def _choose(self, using: str | None) -> tuple[str, ...]:
        legs = tuple(self._legs)
        if using is None or (using == "hybrid" and len(legs) > 1):
            return legs
        if using in legs:
            return (using,)
        choices = ", ".join((*legs, *(["hybrid"] if len(legs) > 1 else [])))
        raise InvalidArgumentError(
            f"using={using!r}은(는) 이 컬렉션에 없습니다. 쓸 수 있는 값: {choices}.",
            f"using={using!r} is not in this collection; it offers: {choices}.",
        )

    def _run(self, name: str, query: Any, snapshot: Snapshot, allowed: Keys | None, k: int) -> Run:
        """The k best of one leg."""
        leg = self._legs[name]
        segments = [view.legs[name] for view in snapshot.views]
        prepared = leg.prepare(query, segments)
        keys, scores = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for view, segment in zip(snapshot.views, segments, strict=True):
            rows = view.rows(allowed)
            if len(rows):
                keys.append(view.keys[rows])
                scores.append(leg.scores(segment.arrays, prepared, rows))
        all_keys, all_scores = np.concatenate(keys), np.concatenate(scores)
        best = top_k(all_scores, all_keys, k)
        return [(int(all_keys[index]), float(all_scores[index])) for index in best]

    def _hits(self, runs: dict[str, Run], k: int, fusion: str, weights: Mapping[str, float] | None) -> list[Hit]:
        """Fuses the legs' runs and looks the best documents up."""
        ranks = {leg: {key: (rank, score) for rank, (key, score) in enumerate(run, 1)} for leg, run in runs.items()}
        if len(runs) == 1:
            fused = next(iter(runs.values()))
        elif fusion == "rrf":
            fused = reciprocal_rank_fusion({leg: list(found) for leg, found in ranks.items()}, weights=weights)
        else:
            fused = weighted_fusion(runs, weights=weights)
        best = sorted(fused, key=lambda item: (-item[1], item[0]))[:k]
        documents = self._database.documents(key for key, _ in best)
        return [
            Hit(
                id=documents[key].id,
                score=score,
                text=documents[key].text,
                metadata=documents[key].metadata,
                legs={leg: found[key] for leg, found in ranks.items() if key in found},
            )
            for key, score in best
            if key in documents  # deleted meanwhile
        ]


def warn_empty(empty: int, total: int) -> None:
    """Reports texts that cannot be searched, or searched for."""
    logger.warning(
        "%d개 가운데 %d개의 텍스트가 비어 있어 검색되지 않습니다. / %d of %d texts are empty and match nothing.",
        total, empty, empty, total,
    )  # fmt: skip
