"""Searching on the server: all legs in one request, fused here as everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID

import numpy as np
from qdrant_client import models as m

from korag.collection.base import SearchOptions
from korag.collection.documents import StoredDocument
from korag.collection.explaining import explain_leg
from korag.collection.qdrant.filters import Where
from korag.collection.qdrant.frequencies import Frequencies, frequencies_of
from korag.collection.qdrant.layout import point_id, terms_field
from korag.collection.qdrant.payloads import OwnPayloads, Payloads
from korag.collection.qdrant.points import terms_text
from korag.collection.qdrant.schema import LateInteraction
from korag.collection.qdrant.transport import Transport
from korag.collection.spans import leg_part
from korag.encoders.batching import batched
from korag.explanations import LegExplanation
from korag.legs.base import Leg
from korag.legs.bm25 import BM25Leg, QueryTerms, weigh
from korag.legs.bm25_codecs import WeighedQuery
from korag.legs.dense import DenseLeg
from korag.legs.multi_vector.leg import LateInteractionLeg
from korag.legs.sparse import SparseLeg

_TOGETHER = 32
"""Searches in a request."""
_WIDER = 4
"""Factor on what is fetched where ties, or documents that do not pass the filter, leave too few."""
_BM25_SCALE = 1 / 2.2
"""The server's BM25 has a factor of k1 + 1, with k1 = 1.2, that ours does not have."""
_OTHER_WEIGHTS = (
    "서버가 매긴 용어의 가중치를 알 수 없습니다(샤드마다 다릅니다) / the server's weights of terms are not known; each "
    "of its shards has others"
)


@dataclass(frozen=True)
class Found:
    """A point that a leg has found.

    Attributes:
        point: Its id.
        id: The document's.
        sequence: Its place among the others.
        score: The leg's score.
    """

    point: int | str | UUID
    id: str
    sequence: int
    score: float


class Searcher:
    """Finds documents of one collection; `korag.collection.Collection.search` has the arguments' meaning.

    Args:
        transport: The server.
        legs: The collection's legs by name.
        mode: How the leg with token vectors is searched.
        payloads: Reads what points hold.
        names: Of the vectors on the server, by leg, where they differ; None for the one without a name.
    """

    def __init__(
        self,
        transport: Transport,
        legs: Mapping[str, Leg],
        mode: LateInteraction,
        payloads: Payloads | None = None,
        names: Mapping[str, str | None] | None = None,
    ) -> None:
        self._transport = transport
        self._frequencies = Frequencies(transport)
        self._payloads = OwnPayloads() if payloads is None else payloads
        self._names = names or {}
        self._legs = legs
        self._reranked = {
            name for name, leg in legs.items() if mode == "rerank" and isinstance(leg, LateInteractionLeg)
        }

    def encode(self, queries: list[str], legs: Sequence[str]) -> dict[str, list[Any]]:
        """Encodes queries for some legs, and for those that find what these rerank."""
        needed = self._legs if self._reranked & set(legs) else legs
        return {name: self._legs[name].encode_queries(queries) for name in needed}

    def find(
        self,
        encoded: Mapping[str, Sequence[Any]],
        legs: Sequence[str],
        options: SearchOptions,
        rank: Callable[..., Any],
        *,
        texts: bool = True,
    ) -> list[Any]:
        """Calls `rank`, which takes what `korag.collection.ranking.rank_hits` does, on what legs find for each query.

        Args:
            encoded: From `encode`.
            legs: The legs to search.
            options: Settings.
            rank: The function.
            texts: Give it whole documents; False for their ids alone.
        """
        where = self._payloads.where(options.where)
        fetch = options.candidates if len(legs) > 1 else options.k
        prepared = self._prepared(encoded, where)
        searches = [(place, name) for place in range(len(next(iter(prepared.values())))) for name in legs]
        found = self._run(searches, prepared, where, fetch, options)
        ranked = []
        for place in range(len(next(iter(prepared.values())))):
            runs = {name: found[place, name] for name in legs}
            points = sorted({(own.sequence, own.id, own.point) for run in runs.values() for own in run}, key=_in_order)
            keys = {point: key for key, (_, _, point) in enumerate(points)}

            def documents(wanted: Iterable[int], points: Any = points) -> dict[int, StoredDocument]:
                if not texts:
                    return {key: StoredDocument(points[key][1], "", {}) for key in wanted}
                return self._documents({key: points[key][2] for key in wanted})

            ranked.append(
                rank(
                    {name: [(keys[own.point], own.score) for own in run] for name, run in runs.items()},
                    {name: self._legs[name].max_score(prepared[name][place]) for name in legs},
                    documents,
                    options,
                    {name: self._legs[name].confidence(prepared[name][place]) for name in legs},
                )
            )
        return ranked

    def _documents(self, points: Mapping[int, int | str | UUID]) -> dict[int, StoredDocument]:
        if not points:
            return {}
        records = self._transport.call(
            "retrieve", ids=list(points.values()), with_payload=self._payloads.document_fields
        )
        found = {str(record.id): self._payloads.document(record) for record in records}
        return {key: found[str(point)] for key, point in points.items() if str(point) in found}

    # -- BM25: the weights of terms --------------------------------------------------------------------------

    def _prepared(self, encoded: Mapping[str, Sequence[Any]], where: Where) -> dict[str, list[Any]]:
        """Adds document frequencies, which relevance and confidence need; the server scores by its own."""
        return {
            name: self._weigh(name, own, where) if isinstance(self._legs[name], BM25Leg) else list(own)
            for name, own in encoded.items()
        }

    def _weigh(self, name: str, queries: Sequence[QueryTerms], where: Where) -> list[WeighedQuery]:
        counted = [] if where.matches_nothing else queries
        documents, frequencies = self._frequencies.of(terms_field(name), counted)
        return [
            weigh(
                query,
                frequencies_of(query, frequencies),
                documents=documents,
                average_length=1.0,  # the server knows it, and nothing here needs it
            )
            for query in queries
        ]

    def explain_terms(self, name: str, asked: str, document: StoredDocument) -> LegExplanation:
        """Returns what a BM25 leg's score of a document consists of.

        The server tells the score and how many documents have a term, but not the mean length of documents, which
        follows from the score. With several shards, each has weights of its own, which it does not tell.

        Args:
            name: The leg.
            asked: The query.
            document: The document.
        """
        leg = cast("BM25Leg", self._legs[name])
        ((held, _),) = leg.encode_documents([document.searched], show_progress=False)
        shared = leg.encode_queries([asked])[0].among(held)
        documents, counted = self._frequencies.of_all(terms_field(name), shared)
        query = weigh(shared, frequencies_of(shared, counted), documents=documents, average_length=1.0)
        score = self._score_of(name, query, document.id)
        if score is None:
            told = explain_leg(leg, asked, query, document, None)
            return told if not told.terms else LegExplanation("other", None, note=_OTHER_WEIGHTS)
        shards = self._transport.call("get_collection").config.params.shard_number
        average = leg.average_length_of(query, document.searched, score) if shards in (None, 1) else None
        if average is None:
            return LegExplanation("other", score, note=_OTHER_WEIGHTS)
        return explain_leg(leg, asked, replace(query, average_length=average), document, None)

    def _score_of(self, name: str, query: WeighedQuery, id_: str) -> float | None:
        if not len(query.terms):
            return None
        only = m.Filter(must=[m.HasIdCondition(has_id=[point_id(id_)])])
        request = m.QueryRequest(query=self._query(name, query), using=self._using(name), filter=only, limit=1)
        (answer,) = self._transport.call("query_batch_points", requests=[request])
        scores = [point.score * _BM25_SCALE for point in answer.points if point.score > 0]
        return scores[0] if scores else None

    # -- the legs ----------------------------------------------------------------------------------------------

    def _run(
        self,
        searches: Sequence[tuple[int, str]],
        prepared: Mapping[str, Sequence[Any]],
        where: Where,
        fetch: int,
        options: SearchOptions,
    ) -> dict[tuple[int, str], list[Found]]:
        """Finds each leg's best, equal scores in insertion order.

        Where the last one wanted ties with the first one not wanted, or too few pass the filter, more is fetched.
        """
        done: dict[tuple[int, str], list[Found]] = {search: [] for search in searches}
        if where.matches_nothing:
            return done
        limit = fetch + 1
        pending = list(searches)
        while pending:
            again = []
            for some in batched(pending, _TOGETHER):
                requests = {
                    (place, name): self._request(name, place, prepared, where, limit, options) for place, name in some
                }
                sent = [search for search in some if requests[search] is not None]
                if not sent:
                    continue
                answers = self._transport.call("query_batch_points", requests=[requests[search] for search in sent])
                for search, answer in zip(sent, answers, strict=True):
                    with leg_part(search[1], self._legs[search[1]].encoder, k=fetch) as part:
                        kept = self._passing(search[1], answer.points, where)
                        is_all = len(answer.points) < limit
                        is_enough = len(kept) > fetch and kept[-1].score < kept[fetch - 1].score
                        if is_all or is_enough:
                            kept.sort(key=lambda own: (-own.score, own.sequence, own.id))
                            done[search] = kept[:fetch]
                            part.found += len(done[search])
                        else:
                            again.append(search)
            pending, limit = again, limit * _WIDER
        return done

    def _passing(self, name: str, points: Sequence[m.ScoredPoint], where: Where) -> list[Found]:
        leg = self._legs[name]
        scale = _BM25_SCALE if isinstance(leg, BM25Leg) else 1.0
        least = 0.0 if isinstance(leg, BM25Leg | SparseLeg) else -np.inf
        return [
            Found(point.id, *self._payloads.place(point), float(np.float32(point.score * scale)))
            for point in points
            if point.score > least
            and (where.is_exact or where.passes_all(self._payloads.metadata(point.payload or {})))
        ]

    def _request(
        self,
        name: str,
        place: int,
        prepared: Mapping[str, Sequence[Any]],
        where: Where,
        limit: int,
        options: SearchOptions,
    ) -> m.QueryRequest | None:
        query = self._query(name, prepared[name][place])
        if query is None:
            return None
        fields = self._payloads.place_fields if where.is_exact else self._payloads.filtered_fields
        prefetch = None
        if name in self._reranked:
            others = {
                other: self._query(other, own[place]) for other, own in prepared.items() if other not in self._reranked
            }
            prefetch = [
                m.Prefetch(
                    query=own,
                    using=self._using(other),
                    filter=where.over,
                    limit=max(limit, options.candidates),
                    params=self._params(other, exact=options.exact),
                )
                for other, own in others.items()
                if own is not None
            ]
            if not prefetch:
                return None
        return m.QueryRequest(
            prefetch=prefetch,
            query=query,
            using=self._using(name),
            filter=where.over,
            limit=limit,
            params=self._params(name, exact=options.exact),
            with_payload=fields,
        )

    def _using(self, name: str) -> str | None:
        if name in self._names:
            return self._names[name]
        return terms_field(name) if isinstance(self._legs[name], BM25Leg) else name

    def _params(self, name: str, *, exact: bool) -> m.SearchParams | None:
        return m.SearchParams(exact=exact) if isinstance(self._legs[name], DenseLeg) else None

    def _query(self, name: str, query: Any) -> Any:
        """The query of a leg as the server takes it; None for one that matches nothing."""
        leg = self._legs[name]
        if isinstance(leg, LateInteractionLeg):
            return query[0].tolist()
        if isinstance(leg, SparseLeg):
            return m.SparseVector(indices=query.indices.tolist(), values=query.data.tolist()) if query.nnz else None
        if isinstance(leg, BM25Leg):
            return m.TextQuery(text=terms_text(query.terms)) if len(query.terms) else None
        return query.tolist()


def _in_order(found: tuple[int, str, int | str | UUID]) -> tuple[int, str]:
    return found[:2]
