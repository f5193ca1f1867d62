"""Explanations on a server: BM25 terms as those of a folder, whose sum is the server's score."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sentences import DOCUMENTS

from korag import Collection, QdrantCollection
from korag.collection.qdrant import frequencies
from korag.testing import FakeDenseEncoder

QUERIES = ["보증금을 언제 돌려받나요?", "도서관 휴관일", "제44조 연차 휴가 신청", "환불 규정과 보증금", "월요일"]
TEXTS = [*DOCUMENTS, "보증금 보증금 보증금", "보증금은 계약이 끝나면 돌려받는다. " * 30]
IDS = [f"문서-{number}" for number in range(len(TEXTS))]


def test_the_terms_are_those_of_a_folder_and_add_up_to_the_score(open_new: Callable[..., QdrantCollection]) -> None:
    server = open_new(bm25=True)
    with Collection.in_memory(bm25=True) as local:
        for collection in (server, local):
            collection.add(TEXTS, ids=IDS)
            collection.delete([IDS[3]])  # and what is deleted counts no more
        checked = 0
        for query in QUERIES:
            for hit in server.search(query, k=20):
                told, known = server.explain(query, hit).legs["bm25"], local.explain(query, hit.id).legs["bm25"]
                assert told.kind == "lexical"
                assert told.score == pytest.approx(hit.score, abs=1e-4)
                assert sum(term.contribution for term in told.terms) == pytest.approx(hit.score, abs=1e-4)
                expected = {term.term: (term.contribution, term.spans) for term in known.terms}
                found = {term.term: (term.contribution, term.spans) for term in told.terms}
                assert found.keys() == expected.keys()
                for term, (contribution, spans) in found.items():
                    assert contribution == pytest.approx(expected[term][0], abs=1e-4)
                    assert spans == expected[term][1]
                checked += 1
        assert checked > 10


def test_beside_other_legs_and_without_a_word_in_common(open_new: Callable[..., QdrantCollection]) -> None:
    collection = open_new(bm25=True, encoders=[FakeDenseEncoder()])
    collection.add(TEXTS, ids=IDS)
    hit = collection.search(QUERIES[0], k=1)[0]
    why = collection.explain(QUERIES[0], hit)
    assert why.score == pytest.approx(hit.score, abs=1e-5)
    assert why.legs["bm25"].score == pytest.approx(hit.legs["bm25"][1], abs=1e-4)
    assert why.legs["bm25"].heat()
    other = collection.explain("xyzzy", hit).legs["bm25"]
    assert (other.score, other.terms) == (0.0, ())
    assert "no term in common" in other.note


def test_every_shared_term_of_a_long_query_is_counted(
    open_new: Callable[..., QdrantCollection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frequencies, "_MOST", 5)  # of more, a search counts a sample
    server, long = open_new(bm25=True), " ".join(DOCUMENTS[:3])
    with Collection.in_memory(bm25=True) as local:
        for collection in (server, local):
            collection.add(TEXTS, ids=IDS)
        told, known = server.explain(long, IDS[0]).legs["bm25"], local.explain(long, IDS[0]).legs["bm25"]
    assert len(known.terms) > 5
    assert {term.term for term in told.terms} == {term.term for term in known.terms}
    for term, expected in zip(
        sorted(told.terms, key=lambda one: one.term), sorted(known.terms, key=lambda one: one.term), strict=True
    ):
        assert term.contribution == pytest.approx(expected.contribution, abs=1e-4)


def test_with_several_shards_a_note_says_that_the_weights_are_not_known(
    open_new: Callable[..., QdrantCollection],
) -> None:
    collection = open_new(bm25=True, shard_number=2)
    collection.add(TEXTS, ids=IDS)
    hit = collection.search(QUERIES[0], k=1)[0]
    told = collection.explain(QUERIES[0], hit).legs["bm25"]
    assert told.score == pytest.approx(hit.score, abs=1e-4)
    assert told.terms == ()
    assert "shards" in told.note
