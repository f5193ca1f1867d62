"""Searching a collection: queries → each leg's best among the documents allowed → fusion → hits."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.checks import check_fraction, check_weights
from korag.collection.base import Hit, SearchOptions
from korag.collection.local.database import Database, Keys
from korag.collection.local.snapshot import SnapshotReader
from korag.errors import InvalidArgumentError
from korag.filters import parse, to_sql
from korag.fusion import Fusion
from korag.legs.base import Leg
from korag.legs.registry import leg_type
from korag.scoring import top_k
from korag.text import is_empty

logger = logging.getLogger("korag")

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

    def search(self, queries: list[str], options: SearchOptions) -> list[list[Hit]]:
        """Encodes all queries together, and returns the hits of each, in order."""
        legs = self._choose(options.using)
        if options.weights is not None:
            check_weights(legs, options.weights)
        filled = [index for index, query in enumerate(queries) if not is_empty(query)]
        if len(filled) < len(queries):
            warn_empty(len(queries) - len(filled), len(queries))
        hits: list[list[Hit]] = [[] for _ in queries]
        if not filled or options.k == 0:
            return hits
        texts = [queries[index] for index in filled]
        encoded = {leg: self._legs[leg].encode_queries(texts) for leg in legs}
        for index, own in zip(filled, self._find(encoded, options), strict=True):
            hits[index] = own
        return hits

    def search_by_vector(self, vector: Sequence[float], options: SearchOptions) -> list[Hit]:
        """`search` with the dense leg, for a query that is encoded already."""
        name = next((name for name in self._in_order(self._legs) if self._legs[name].takes_vectors), None)
        if name is None:
            raise InvalidArgumentError(
                f"벡터 하나로는 dense 모델이 있는 컬렉션만 찾을 수 있습니다(이 컬렉션: {', '.join(self._legs)}). "
                "질의 문자열로 찾으세요.",
                f"Only a collection with a dense model can be searched by one vector; this one has "
                f"{', '.join(self._legs)}. Search with the query's text.",
            )
        query = self._legs[name].query_from_vector(vector)
        if options.k == 0:
            return []
        (hits,) = self._find({name: [query]}, options)
        return hits

    def similarities(self, ids: Sequence[str], using: str | None) -> tuple[list[str], NDArray[np.float32]]:
        """How alike documents are to the first leg of a search that compares vectors.

        Args:
            ids: Of the documents.
            using: As for `search`.

        Returns:
            The ids that exist, in their order, and the similarities of these, two by two. Shape: (n, n).
        """
        name = self._in_order(self._choose(using))[0]
        leg = self._legs[name]
        snapshot = self._reader.read()
        id_by_key = self._database.id_by_key(ids)
        wanted = np.array(sorted(id_by_key), np.int64)
        parts, found = [], []
        for reader in snapshot.readers:
            rows = reader.rows(wanted)
            if len(rows):
                parts.append(leg.codec.decode(reader.legs[name].arrays, rows))
                found += [id_by_key[key] for key in reader.keys[rows].tolist()]
        if not found:
            return [], np.zeros((0, 0), np.float32)
        place = {id_: index for index, id_ in enumerate(found)}
        order = [place[id_] for id_ in ids if id_ in place]
        return [found[index] for index in order], leg.similarities(leg.concat(parts))[np.ix_(order, order)]

    @staticmethod
    def _in_order(legs: Iterable[str]) -> list[str]:
        """Legs in the registry's order of comparison."""
        return sorted(legs, key=lambda name: leg_type(name).comparison_order)

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

    def _find(self, queries: Mapping[str, Sequence[Any]], options: SearchOptions) -> Iterator[list[Hit]]:
        """The best documents for each query, by all the legs that queries are encoded for."""
        condition = None if (parsed := parse(options.where)) is None else to_sql(parsed)
        selection = self._reader.select(condition)
        fetch = options.candidates if len(queries) > 1 else options.k
        fusion = Fusion(options.fusion, options.weights)
        least = check_fraction("min_relevance", options.min_relevance)
        prepared: dict[str, list[Any]] = {}
        found: dict[str, Iterator[NDArray[np.float32]]] = {}
        for name, encoded in queries.items():
            live = [reader.legs[name] for reader in selection.snapshot.readers]
            prepared[name] = [self._legs[name].prepare(query, live) for query in encoded]
            found[name] = self._legs[name].search(prepared[name], selection.slices(name), fetch, exact=options.exact)
        for position in range(len(next(iter(queries.values())))):
            runs = {name: _best(next(scores), selection.keys, fetch) for name, scores in found.items()}
            if len(runs) == 1:
                ((name, fused),) = runs.items()
                max_score = self._legs[name].max_score(prepared[name][position])
            else:
                fused, max_score = fusion(runs)
            best = sorted(fused, key=lambda item: (-item[1], item[0]))[: options.k]
            yield [hit for hit in self._hits(best, max_score, runs) if hit.relevance >= least]

    def _hits(self, best: Run, max_score: float, runs: Mapping[str, Run]) -> list[Hit]:
        """Looks documents up."""
        ranks = {leg: {key: (rank, score) for rank, (key, score) in enumerate(run, 1)} for leg, run in runs.items()}
        documents = self._database.documents(key for key, _ in best)
        return [
            Hit(
                id=documents[key].id,
                score=score,
                text=documents[key].text,
                metadata=documents[key].metadata,
                legs={leg: found[key] for leg, found in ranks.items() if key in found},
                relevance=min(1.0, max(0.0, score / max_score)) if max_score > 0 else 0.0,
            )
            for key, score in best
            if key in documents  # deleted meanwhile
        ]


def _best(scores: NDArray[np.float32], keys: Keys, k: int) -> Run:
    """The k best of one leg."""
    return [(int(keys[index]), float(scores[index])) for index in top_k(scores, keys, k)]


def warn_empty(empty: int, total: int) -> None:
    """Reports texts that cannot be searched, or searched for."""
    logger.warning(
        "%d개 가운데 %d개의 텍스트가 비어 있어 검색되지 않습니다. / %d of %d texts are empty and match nothing.",
        total, empty, empty, total,
    )  # fmt: skip
