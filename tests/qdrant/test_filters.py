"""Filters on the engine mean what `korag.filters.matches` means, whatever is stored and asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as q
from edge_engine import to_filter
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from properties.test_filters import filters, metadata, paths

from korag.collection.qdrant.filters import Where, as_filter
from korag.collection.qdrant.layout import searchable
from korag.filters import matches, parse

Documents = list[dict[str, Any]]


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("shard")
    config = q.EdgeConfig(vectors={"d": q.EdgeVectorParams(size=1, distance=q.Distance.Dot)})
    shard = q.EdgeShard.create(str(folder), config)
    yield shard
    shard.close()


def is_storable(fields: Any) -> bool:
    """Integers beyond any float are refused by `korag.metadata.check_metadata` before a store sees them."""
    try:
        json.dumps(searchable(fields))
    except OverflowError:
        return False
    return True


def passing(shard: Any, condition: Any) -> set[int]:
    own = as_filter(condition) if condition is not None else None
    return {r.id for r in shard.scroll(q.ScrollRequest(limit=100, with_payload=False, filter=to_filter(own)))[0]}


def check(shard: Any, documents: Documents, where: Any) -> None:
    points = [q.Point(id=place, vector={}, payload=searchable(fields)) for place, fields in enumerate(documents)]
    shard.update(q.UpdateOperation.delete_points_by_filter(q.Filter()))
    shard.update(q.UpdateOperation.upsert_points(points))
    tree, condition = parse(where), Where(where)
    wanted = {place for place, fields in enumerate(documents) if matches(tree, fields)}
    over, under = passing(shard, condition.over), passing(shard, condition.under)
    assert under <= wanted <= over
    if condition.is_exact:
        assert over == under
    assert passing(shard, condition.between) == over - under
    assert {place for place in over if condition.passes(json.dumps(documents[place]))} == wanted


many = settings(
    max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
some = settings(many, max_examples=60)
documents_of_all_kinds = st.lists(metadata.filter(is_storable), min_size=1, max_size=5)


@some
@given(documents=documents_of_all_kinds, where=filters)
@example(documents=[{"a": 0.1}, {"a": 0.30000000000000004}], where={"a": {"$gt": 0.1, "$lte": 0.3}})
@example(documents=[{"a": []}, {"a": None}, {}, {"a": [None]}], where={"a": {"$empty": True}})
@example(documents=[{"a.b": 1}, {"a": {"b": 2}}], where={"a.b": {"$in": [1, 3.0]}})
@example(documents=[{"a": True}, {"a": 1}, {"a": 1.0}, {"a": "1"}], where={"a": 1})
def test_conditions_enclose_what_matches(shard: Any, documents: Documents, where: Any) -> None:
    check(shard, documents, where)


@pytest.mark.slow
@many
@given(documents=documents_of_all_kinds, where=filters)
def test_many_conditions_enclose_what_matches(shard: Any, documents: Documents, where: Any) -> None:
    check(shard, documents, where)


@pytest.mark.slow
@many
@given(documents=documents_of_all_kinds, data=st.data())
def test_conditions_find_the_values_there_are(shard: Any, documents: Documents, data: Any) -> None:
    """Filters with fields and operands from the documents, so that matches are likely."""
    there = [
        (name, inner)
        for document in documents
        for name, value in paths(document)
        if not name.startswith("$")
        for inner in (value if isinstance(value, list) else [value])
        if inner is None or isinstance(inner, str | bool | float) or (isinstance(inner, int) and abs(inner) < 2**63)
    ]
    if not there:
        return
    name, value = data.draw(st.sampled_from(there))
    operators = ["$eq", "$ne", "$in", "$nin"]
    if value is not None:
        operators += ["$contains"] + ([] if isinstance(value, bool) else ["$gt", "$gte", "$lt", "$lte"])
    if isinstance(value, str):
        operators.append("$icontains")
        value = value[data.draw(st.integers(0, len(value))) :]
    op = data.draw(st.sampled_from(operators))
    others = data.draw(st.lists(st.sampled_from([x for _, x in there]), max_size=3))
    check(shard, documents, {name: {op: [value, *others] if op in ("$in", "$nin") else value}})
