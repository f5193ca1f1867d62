"""`SearchOptions` and the keywords of a search."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest

from korag.collection.base import Collection, SearchOptions
from korag.errors import FilterError, InvalidArgumentError
from korag.testing.contract.fixtures import ContractFixtures
from korag.testing.contract.samples import DOCUMENTS, ids_of

QUERY = "보증금을 돌려받는 법"


class OptionTests(ContractFixtures):
    """Search options."""

    @pytest.mark.parametrize(
        "settings",
        [
            {},
            {"k": 3},
            {"using": "dense", "where": {"짝수": True}},
            {"fetch_k": 4, "fusion": "weighted", "weights": {"dense": 2.0, "bm25": 0.5}},
            {"using": "bm25", "min_relevance": 0.1},
            {"using": "colbert", "exact": False},
            {"repair_query": False},
        ],
        ids=repr,
    )
    def test_options_equal_keywords(self, filled: Collection, settings: dict[str, Any]) -> None:
        expected = filled.search(QUERY, **settings)
        options = SearchOptions(**settings)
        assert filled.search(QUERY, options=options) == expected
        assert filled.search_many([QUERY], options=options) == [expected]
        assert expected

    def test_options_and_keywords_together_are_an_error(self, filled: Collection) -> None:
        with pytest.raises(InvalidArgumentError, match=r"dataclasses\.replace") as caught:
            filled.search(QUERY, options=SearchOptions(), k=3)
        assert "k" in str(caught.value)
        with pytest.raises(InvalidArgumentError, match=r"dataclasses\.replace"):
            filled.search_many([QUERY], options=SearchOptions(), where={})

    def test_replaced_options(self, filled: Collection) -> None:
        options = SearchOptions(k=2, using="dense")
        more = dataclasses.replace(options, k=5)
        assert (options.k, more.k, more.using) == (2, 5, "dense")
        assert filled.search(QUERY, options=more) == filled.search(QUERY, k=5, using="dense")
        with pytest.raises(InvalidArgumentError, match="k="):
            dataclasses.replace(options, k=-1)
        with pytest.raises(dataclasses.FrozenInstanceError):
            options.k = 3  # type: ignore[misc]

    @pytest.mark.parametrize(
        ("settings", "error", "name"),
        [
            ({"k": -1}, InvalidArgumentError, "k="),
            ({"k": True}, InvalidArgumentError, "k="),
            ({"k": 2.0}, InvalidArgumentError, "k="),
            ({"fetch_k": -5}, InvalidArgumentError, "fetch_k"),
            ({"fusion": "RRF"}, InvalidArgumentError, "fusion"),
            ({"fusion": None}, InvalidArgumentError, "fusion"),
            ({"min_relevance": 1.5}, InvalidArgumentError, "min_relevance"),
            ({"exact": 1}, InvalidArgumentError, "exact"),
            ({"repair_query": None}, InvalidArgumentError, "repair_query"),
            ({"where": []}, FilterError, "Metadata filter"),
            ({"where": {"a": {"$regex": "x"}}}, FilterError, r"\$regex"),
        ],
        ids=repr,
    )
    def test_invalid_values_raise_when_made(
        self, filled: Collection, settings: dict[str, Any], error: type[Exception], name: str
    ) -> None:
        with pytest.raises(error, match=name):
            SearchOptions(**settings)
        with pytest.raises(error, match=name):
            filled.search(QUERY, **settings)

    def test_an_unknown_keyword_names_the_nearest(self, filled: Collection) -> None:
        settings: dict[str, Any] = {"fetchk": 5}
        for search in (lambda: filled.search(QUERY, **settings), lambda: filled.search_many([QUERY], **settings)):
            with pytest.raises(InvalidArgumentError, match="Did you mean fetch_k") as caught:
                search()
            assert "fetchk" in str(caught.value)
            assert "인수가 없습니다" in str(caught.value)

    def test_a_mistyped_query_is_repaired_or_searched_for_as_it_is(self, filled: Collection) -> None:
        typed, meant = "qhwmdrma", "보증금"
        hits = filled.search(typed)
        if hits and hits[0].rewritten_query is not None:
            expected = filled.search(meant, repair_query=False)
            assert hits == [dataclasses.replace(hit, rewritten_query=meant) for hit in expected]
        else:
            assert hits == filled.search(typed, repair_query=False)
        assert all(hit.rewritten_query is None for hit in filled.search(typed, repair_query=False))
        assert filled.search(meant) == filled.search(meant, repair_query=False)

    def test_options_of_another_type(self, filled: Collection) -> None:
        wrong: Any = {"k": 3}
        with pytest.raises(InvalidArgumentError, match="SearchOptions"):
            filled.search(QUERY, options=wrong)

    def test_options_are_never_changed(self, filled: Collection) -> None:
        where = {"$or": [{"번호": {"$in": [0, 1]}}, {"짝수": True}]}
        options = SearchOptions(where=where, weights={"dense": 2.0}, using="hybrid")
        before = copy.deepcopy(options)
        filled.search(QUERY, options=options)
        filled.search_many([*DOCUMENTS, ""], options=options)
        assert options == before

    def test_options_serve_many_searches(self, filled: Collection) -> None:
        options = SearchOptions(k=1, using="dense")
        found = [ids_of(filled.search(document, options=options)) for document in DOCUMENTS]
        assert found == [ids_of(hits) for hits in filled.search_many(DOCUMENTS, options=options)]
        assert len({id_ for ids in found for id_ in ids}) == len(DOCUMENTS)
