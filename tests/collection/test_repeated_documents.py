"""A document that is found several times counts once, in its best place."""

from __future__ import annotations

import dataclasses
from typing import Any

from korag import Collection, SearchOptions
from korag.collection.documents import StoredDocument
from korag.collection.ranking import rank_hits


def test_hits_of_several_searches_are_diversified_as_one_document_each(dense: Any) -> None:
    collection = Collection.in_memory(encoders=[dense])
    collection.add(
        ["수영장은 새벽에 엽니다.", "수영장은 저녁에 닫습니다.", "사물함은 유료입니다."], ids=["a", "b", "c"]
    )
    hits = collection.search("수영장 시간", k=3)
    worse = [dataclasses.replace(hit, relevance=hit.relevance / 2) for hit in hits]
    chosen = collection.diversify([*worse, *hits, *worse], k=9, lambda_mult=1)
    assert chosen == collection.diversify(hits, k=9, lambda_mult=1)
    assert len(chosen) == 3


def test_a_store_that_finds_a_document_twice_has_one_hit_of_it() -> None:
    stored = {key: StoredDocument(id_, "글", {}) for key, id_ in enumerate("abc")}
    options = SearchOptions(k=3, fusion="anchored")
    twice, once = [(0, 3.0), (1, 2.0), (0, 1.0), (2, 0.5)], [(0, 3.0), (1, 2.0), (2, 0.5)]
    for others in ({}, {"dense": [(1, 0.9), (1, 0.8), (0, 0.3)]}):
        tops = {"bm25": 5.0, "dense": 1.0}
        found = rank_hits({"bm25": twice, **others}, tops, lambda _: stored, options)
        assert len({hit.id for hit in found}) == len(found) == 3
        unique = {leg: list(dict(reversed(run)).items())[::-1] for leg, run in others.items()}
        assert found == rank_hits({"bm25": once, **unique}, tops, lambda _: stored, options)
