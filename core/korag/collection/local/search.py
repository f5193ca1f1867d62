"""Searching a collection: queries → each leg's best among the documents allowed → fusion → hits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from korag.collection.base import Hit, SearchOptions
from korag.collection.documents import StoredDocument
from korag.collection.explaining import explain_leg
from korag.collection.local.database import Database
from korag.collection.local.filtering import FilteredRows
from korag.collection.local.segments import as_inconsistent
from korag.collection.local.snapshot import Snapshot, SnapshotReader
from korag.collection.local.tables import Keys
from korag.collection.local.views import repeated
from korag.collection.ranking import FindSpan, rank_hits, record_runs
from korag.collection.runs import LegRuns, Run
from korag.collection.spans import leg_part
from korag.collection.vector_queries import search_by_vector
from korag.explanations import LegExplanation
from korag.filters import parse, to_sql
from korag.legs.base import Leg
from korag.legs.registry import leg_type
from korag.legs.windows.leg import WindowedLeg, WindowScores
from korag.scoring import top_k


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

    def search(self, queries: list[str], legs: Sequence[str], options: SearchOptions) -> list[list[Hit]]:
        """As `korag.collection.base.Collection._search`; encodes all queries together."""
        return self._find({leg: self._legs[leg].encode_queries(queries) for leg in legs}, options)

    def leg_runs(
        self, queries: list[str], legs: Sequence[str], fetch: int, where: Mapping[str, Any] | None = None
    ) -> list[LegRuns]:
        """As `korag.collection.base.Collection._leg_runs`."""
        encoded = {leg: self._legs[leg].encode_queries(queries) for leg in legs}
        return self._find(encoded, SearchOptions(k=fetch, fetch_k=fetch, where=where), record_runs)

    def explain(self, query: str, names: Sequence[str], document: StoredDocument) -> dict[str, LegExplanation]:
        """As `korag.collection.base.Collection._explain_legs`, by what is stored of the document."""
        return self._explain({name: self._legs[name].encode_queries([query])[0] for name in names}, query, document)

    @repeated
    def _explain(self, encoded: Mapping[str, Any], query: str, document: StoredDocument) -> dict[str, LegExplanation]:
        explained = {}
        with self._reader.reading() as snapshot:
            wanted = np.array(sorted(self._database.id_by_key([document.id])), np.int64)
            places = ((reader, reader.rows(wanted)) for reader in snapshot.readers)
            reader, rows = next(((reader, rows) for reader, rows in places if len(rows)), (None, wanted))
            for name, own in encoded.items():
                leg = self._legs[name]
                prepared = leg.prepare(own, [reader.legs[name] for reader in snapshot.readers])
                vectors = None
                if reader is not None and leg.encoder is not None:
                    with as_inconsistent(reader.info.name, name):
                        vectors = leg.codec.decode(reader.legs[name].arrays, rows[:1])
                explained[name] = explain_leg(leg, query, prepared, document, vectors)
        return explained

    def search_by_vector(self, vector: Sequence[float], options: SearchOptions) -> list[Hit]:
        """`search` with the dense leg, for a query that is encoded already."""
        return search_by_vector(self._legs, vector, options, lambda encoded: self._find(encoded, options))

    @repeated
    def confidences(self, queries: list[str], name: str) -> list[float]:
        """As `korag.collection.local.collection.LocalCollection.confidences`."""
        leg = self._legs[name]
        encoded = leg.encode_queries(queries)
        with self._reader.reading() as snapshot:
            live = [reader.legs[name] for reader in snapshot.readers]
            return [leg.confidence(leg.prepare(query, live)) for query in encoded]

    @repeated
    def similarities(self, ids: Sequence[str], legs: Sequence[str]) -> tuple[list[str], NDArray[np.float32]]:
        """As `korag.collection.base.Collection._similarities`."""
        name = self._in_order(legs)[0]
        leg = self._legs[name]
        parts, found = [], []
        with self._reader.reading() as snapshot:
            id_by_key = self._database.id_by_key(ids)
            wanted = np.array(sorted(id_by_key), np.int64)
            for reader in snapshot.readers:
                rows = reader.rows(wanted)
                if len(rows):
                    with as_inconsistent(reader.info.name, name):
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

    @repeated
    def _find(
        self, queries: Mapping[str, Sequence[Any]], options: SearchOptions, rank: Callable[..., Any] = rank_hits
    ) -> list[Any]:
        """Calls `rank` on the best documents for each query, by the legs that queries are encoded for.

        All of one moment.
        """
        condition = None if (parsed := parse(options.where)) is None else to_sql(parsed)
        with self._reader.reading() as snapshot:
            return list(self._rank(queries, snapshot, snapshot.select(condition, self._database), options, rank))

    def _rank(
        self,
        queries: Mapping[str, Sequence[Any]],
        snapshot: Snapshot,
        selection: FilteredRows,
        options: SearchOptions,
        rank: Callable[..., Any],
    ) -> Iterator[Any]:
        fetch = options.candidates if len(queries) > 1 else options.k
        prepared: dict[str, list[Any]] = {}
        found: dict[str, Iterator[NDArray[np.float32] | WindowScores]] = {}
        for name, encoded in queries.items():
            leg = self._legs[name]
            live = [reader.legs[name] for reader in snapshot.readers]
            with leg_part(name, leg.encoder, k=fetch):
                prepared[name] = [leg.prepare(query, live) for query in encoded]
            search = leg.search_windows if isinstance(leg, WindowedLeg) else leg.search
            found[name] = search(prepared[name], selection.slices(name), fetch, exact=options.exact)
        for position in range(len(next(iter(queries.values())))):
            best = {}
            for name, scores in found.items():
                with leg_part(name, self._legs[name].encoder, k=fetch) as part:
                    best[name] = _best(next(scores), selection.keys, fetch)
                    part.found += len(best[name][0])
            runs = {name: run for name, (run, _) in best.items()}
            spans = {name: span for name, (_, span) in best.items()}
            max_scores = {name: self._legs[name].max_score(prepared[name][position]) for name in runs}
            confidences = {name: self._legs[name].confidence(prepared[name][position]) for name in runs}
            yield rank(runs, max_scores, self._documents, options, confidences, spans=spans)

    def _documents(self, keys: Iterable[int]) -> dict[int, StoredDocument]:
        """Documents of live rows, which exist."""
        found = self._database.documents(wanted := list(keys))
        if missing := set(wanted) - found.keys():
            raise self._database.damaged(f"documents: {min(missing)}")
        return found


def _best(found: NDArray[np.float32] | WindowScores, keys: Keys, k: int) -> tuple[Run, FindSpan]:
    """The k best of one leg, and where their best windows are."""
    scores = found.scores if isinstance(found, WindowScores) else found
    places = {int(keys[index]): int(index) for index in top_k(scores, keys, k)}
    run = [(key, float(scores[index])) for key, index in places.items()]
    return run, lambda key: found.span(places[key]) if isinstance(found, WindowScores) else None
