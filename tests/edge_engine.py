"""Qdrant's engine, embedded (`qdrant_edge`), behind the requests of its REST interface.

Requests are validated by qdrant-client's own models, made from the OpenAPI description: what a server would refuse as
unknown is refused here. What a cluster does (shards, replicas, optimizers, time-outs) is not here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import qdrant_edge as q
from pydantic import TypeAdapter
from qdrant_client.http import models as m

DISTANCES = {"Cosine": q.Distance.Cosine, "Dot": q.Distance.Dot, "Euclid": q.Distance.Euclid}
DATATYPES = {"float32": q.VectorStorageDatatype.Float32, "float16": q.VectorStorageDatatype.Float16}
TOKENIZERS = {"word": q.TokenizerType.Word, "whitespace": q.TokenizerType.Whitespace}
DONE = {"operation_id": 0, "status": "completed"}


class RefusedError(Exception):
    """The server's answer to a bad request."""


class EdgeCollection:
    """One collection."""

    def __init__(self, folder: Path, body: dict[str, Any]) -> None:
        created = m.CreateCollection.model_validate(body)
        self._body, self._indexes = body, {}
        vectors = created.vectors or {}
        if not isinstance(vectors, dict):
            vectors = {"": vectors}
        sparse = {
            name: q.EdgeSparseVectorParams(modifier=modifier(own))
            for name, own in (created.sparse_vectors or {}).items()
        }
        if not vectors and not sparse:
            sparse = {"_none": q.EdgeSparseVectorParams()}  # the engine wants some; a server takes none
        named = {name: dense_params(own) for name, own in vectors.items()}
        self.metadata = dict(body.get("metadata") or {})
        self.strict: dict[str, Any] = dict(body.get("strict_mode_config") or {})
        self.shard = q.EdgeShard.create(str(folder), q.EdgeConfig(vectors=named or None, sparse_vectors=sparse or None))

    def close(self) -> None:
        self.shard.close()

    def describe(self) -> dict[str, Any]:
        params = {name: self._body[name] for name in ("vectors", "sparse_vectors", "shard_number", "replication_factor")
                  if self._body.get(name) is not None}  # fmt: skip
        return {
            "status": "green", "optimizer_status": "ok", "segments_count": 1, "indexed_vectors_count": 0,
            "points_count": self.shard.count(q.CountRequest()),
            "payload_schema": {name: {"data_type": kind, "points": 0} for name, kind in self._indexes.items()},
            "config": {
                "params": params, "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
                "optimizer_config": {"deleted_threshold": 0.2, "vacuum_min_vector_number": 1000,
                                     "default_segment_number": 0, "flush_interval_sec": 5},
                "metadata": self.metadata,
            },
        }  # fmt: skip

    def change(self, body: dict[str, Any]) -> bool:
        m.UpdateCollection.model_validate(body)
        self.metadata |= body.get("metadata") or {}
        return True

    def answer(self, method: str, rest: list[str], body: Any) -> Any:
        match method, rest:
            case "PUT", ["index"]:
                return self._index(m.CreateFieldIndex.model_validate(body))
            case "PUT", ["points"]:
                return self._update({"upsert": body})
            case "POST", ["points", "delete"]:
                return self._update({"delete": body})
            case "POST", ["points", "batch"]:
                m.UpdateOperations.model_validate(body)
                return [self._update(operation) for operation in body["operations"]]
            case "POST", ["points"]:
                asked = m.PointRequest.model_validate(body)
                found = self.shard.retrieve(
                    list(asked.ids), with_payload=selector(asked.with_payload), with_vector=asked.with_vector
                )
                return [record(own) for own in found]
            case "POST", ["points", "scroll"]:
                return self._scroll(m.ScrollRequest.model_validate(body))
            case "POST", ["points", "count"]:
                asked = m.CountRequest.model_validate(body)
                return {"count": self.shard.count(q.CountRequest(exact=asked.exact, filter=to_filter(asked.filter)))}
            case "POST", ["points", "query"]:
                return {"points": self._query(m.QueryRequest.model_validate(body))}
            case "POST", ["points", "query", "batch"]:
                return [{"points": self._query(one)} for one in m.QueryRequestBatch.model_validate(body).searches]
        raise RefusedError(f"{method} {'/'.join(rest)} is not handled here")

    def _index(self, asked: m.CreateFieldIndex) -> dict[str, Any]:
        schema, make = asked.field_schema, q.UpdateOperation.create_field_index
        if isinstance(schema, m.TextIndexParams):
            tokenizer = TOKENIZERS[schema.tokenizer.value if schema.tokenizer else "word"]
            own = q.TextIndexParams(
                tokenizer=tokenizer, scoring=bool(schema.scoring) or None, lowercase=schema.lowercase
            )
            self.shard.update(make(asked.field_name, own))
            self._indexes[asked.field_name] = "text"
        else:
            kind = schema if isinstance(schema, m.PayloadSchemaType) else m.PayloadSchemaType(schema.type.value)
            self.shard.update(make(asked.field_name, getattr(q.PayloadSchemaType, kind.value.capitalize())))
            self._indexes[asked.field_name] = kind.value
        return DONE

    def _update(self, operation: dict[str, Any]) -> dict[str, Any]:
        ((kind, body),) = operation.items()
        make = q.UpdateOperation
        if kind == "upsert":
            given = TypeAdapter(m.PointInsertOperations).validate_python(body)
            points = [q.Point(id=p.id, vector=named_vectors(p.vector), payload=p.payload) for p in given.points]
            self.shard.update(make.upsert_points(points))
        elif kind == "delete":
            chosen = TypeAdapter(m.PointsSelector).validate_python(body)
            if isinstance(chosen, m.FilterSelector):
                self.shard.update(make.delete_points_by_filter(to_filter(chosen.filter)))
            else:
                self.shard.update(make.delete_points(list(chosen.points)))
        elif kind == "set_payload":
            payload = m.SetPayload.model_validate(body)
            if payload.filter is not None:
                self.shard.update(make.set_payload_by_filter(to_filter(payload.filter), payload.payload))
            else:
                self.shard.update(make.set_payload(list(payload.points or []), payload.payload))
        else:
            raise RefusedError(f"{kind} is not handled here")
        return DONE

    def _scroll(self, asked: m.ScrollRequest) -> dict[str, Any]:
        order = None if asked.order_by is None else q.OrderBy(asked.order_by.key, start_from=asked.order_by.start_from)
        points, following = self.shard.scroll(
            q.ScrollRequest(
                offset=asked.offset,
                limit=asked.limit,
                filter=to_filter(asked.filter),
                order_by=order,
                with_payload=selector(asked.with_payload),
                with_vector=asked.with_vector,
            )
        )
        following = following if following is None or isinstance(following, int) else str(following)
        return {"points": [record(own) for own in points], "next_page_offset": following}

    def _query(self, asked: m.QueryRequest) -> list[dict[str, Any]]:
        if self.strict.get("search_allow_exact") is False and asked.params is not None and asked.params.exact:
            raise RefusedError("Forbidden: Exact search disabled! Help: Set exact=false.")
        if self.strict.get("unindexed_filtering_retrieve") is False:
            for key in keys_of(asked.filter):
                if key not in self._indexes:
                    raise RefusedError(f"Bad request: Index required but not found for {key} of one of the following")
        found = self.shard.query(
            q.QueryRequest(
                limit=asked.limit if asked.limit is not None else 10,
                offset=asked.offset,
                query=to_query(asked.query, asked.using),
                prefetches=prefetches(asked.prefetch),
                filter=to_filter(asked.filter),
                params=to_params(asked.params),
                score_threshold=asked.score_threshold,
                with_payload=selector(asked.with_payload),
                with_vector=asked.with_vector,
            )
        )
        return [record(own) for own in found]


# -- from the REST interface to the engine ----------------------------------------------------------------------


def dense_params(given: m.VectorParams) -> Any:
    graph = given.hnsw_config
    return q.EdgeVectorParams(
        size=given.size,
        distance=DISTANCES[given.distance.value],
        datatype=DATATYPES[given.datatype.value] if given.datatype else None,
        hnsw_config=None
        if graph is None
        else q.HnswIndexConfig(m=graph.m, ef_construct=100, full_scan_threshold=10000),
        multivector_config=q.MultiVectorConfig(q.MultiVectorComparator.MaxSim) if given.multivector_config else None,
    )


def modifier(given: m.SparseVectorParams) -> Any:
    return q.Modifier.Idf if given.modifier == m.Modifier.IDF else None


def named_vectors(given: Any) -> Any:
    if isinstance(given, dict):
        return {name: to_vector(own) for name, own in given.items()}
    return to_vector(given)


def to_vector(given: Any) -> Any:
    return q.SparseVector(given.indices, given.values) if isinstance(given, m.SparseVector) else given


def to_filter(given: m.Filter | None) -> Any:
    if given is None:
        return None

    def many(conditions: Any) -> Any:
        listed = conditions if isinstance(conditions, list) else [conditions]
        return None if conditions is None else [to_condition(own) for own in listed]

    return q.Filter(must=many(given.must), should=many(given.should), must_not=many(given.must_not))


def keys_of(given: Any) -> list[str]:
    """The payload fields that a filter names."""
    match given:
        case m.Filter():
            parts = [part if isinstance(part, list) else [part] for part in (given.must, given.should, given.must_not)]
            return [key for part in parts for condition in part for key in keys_of(condition)]
        case m.IsEmptyCondition():
            return [given.is_empty.key]
        case m.IsNullCondition():
            return [given.is_null.key]
        case m.FieldCondition():
            return [given.key]
    return []


def to_condition(given: Any) -> Any:
    match given:
        case m.Filter():
            return to_filter(given)
        case m.IsEmptyCondition():
            return q.IsEmptyCondition(given.is_empty.key)
        case m.IsNullCondition():
            return q.IsNullCondition(given.is_null.key)
        case m.HasIdCondition():
            return q.HasIdCondition(set(given.has_id))
        case m.FieldCondition():
            span = given.range
            return q.FieldCondition(
                key=given.key,
                match=None if given.match is None else to_match(given.match),
                range=None if span is None else q.RangeFloat(gt=span.gt, gte=span.gte, lt=span.lt, lte=span.lte),
            )
    raise RefusedError(f"condition {given!r:.200}")


def to_match(given: Any) -> Any:
    match given:
        case m.MatchValue():
            return q.MatchValue(np.bool_(given.value) if isinstance(given.value, bool) else given.value)
        case m.MatchAny():
            return q.MatchAny(list(given.any))
        case m.MatchText():
            return q.MatchText(given.text)
    raise RefusedError(f"match {given!r:.200}")


def to_query(given: Any, using: str | None) -> Any:
    if given is None:
        return None
    if isinstance(given, m.TextQuery):
        return q.TextQuery(field=using, query=given.text, scoring=None)
    if isinstance(given, m.NearestQuery):
        given = given.nearest
    if isinstance(given, m.SparseVector | list):
        return q.Query.Nearest(to_vector(given), using=using)
    raise RefusedError(f"query {given!r:.200}")


def prefetches(given: Any) -> Any:
    listed = [] if given is None else given if isinstance(given, list) else [given]
    return [
        q.Prefetch(
            limit=own.limit or 10, query=to_query(own.query, own.using), prefetches=prefetches(own.prefetch),
            params=to_params(own.params), filter=to_filter(own.filter), score_threshold=own.score_threshold,
        )
        for own in listed
    ] or None  # fmt: skip


def to_params(given: m.SearchParams | None) -> Any:
    return None if given is None else q.SearchParams(hnsw_ef=given.hnsw_ef, exact=bool(given.exact))


def selector(given: Any) -> Any:
    if isinstance(given, m.PayloadSelectorExclude):
        return q.PayloadSelector.Exclude(list(given.exclude))
    return list(given.include) if isinstance(given, m.PayloadSelectorInclude) else given


def record(own: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"id": own.id if isinstance(own.id, int) else str(own.id), "payload": own.payload}
    if own.vector is not None:
        found["vector"] = read_vector(own.vector)
    if hasattr(own, "score"):
        found |= {"version": 0, "score": own.score}
    return found


def read_vector(given: Any) -> Any:
    if isinstance(given, q.SparseVector):
        return {"indices": list(given.indices), "values": list(given.values)}
    return {name: read_vector(own) for name, own in given.items()} if isinstance(given, dict) else given
