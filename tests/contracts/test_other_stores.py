"""Stores from outside: a simple one passes the contract, and every broken one fails it."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import broken_stores
import pytest
from dict_store import DictStore

from korag.collection import LocalCollection
from korag.collection.base import Collection
from korag.testing import (
    CollectionContract,
    FakeDenseEncoder,
    FakeMultiVectorEncoder,
    FakeSparseEncoder,
)
from korag.testing.contract.samples import DOCUMENTS, IDS, METADATA


class TestDictStore(CollectionContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Callable[..., Collection]:
        return DictStore


CAUGHT_BY = {
    "DropsFilters": "filters_come_before_the_best_k",
    "FiltersAfterwards": "k_results_although_the_best_k_are_all_filtered_out",
    "IgnoresK": "k",
    "IgnoresThresholds": "min_relevance_leaves_out_what_is_below",
    "IgnoresWeights": "weights",
    "IgnoresFetchK": "fetch_k_limits_what_each_leg_gives",
    "FusesInOneWay": "hybrid_is_the_fusion_of_the_legs",
    "ReversesTies": "equal_documents_keep_their_insertion_order",
    "SwapsQueries": "many_queries_are_many_searches",
    "SearchesOneLeg": "hybrid_is_the_fusion_of_the_legs",
    "SharesMetadata": "hits_are_copies",
    "SwallowsKeywords": "an_unknown_keyword_names_the_nearest",
    "EncodesBeforeChecking": "bad_searches_are_errors_before_any_work",
    "PopsFilters": "inputs_are_never_changed",
    "MarksMetadata": "inputs_are_never_changed",
    "LosesUpserts": "adding_a_known_id_replaces_it",
    "EncodesEqualTexts": "a_document_with_the_same_text_is_not_encoded_again",
    "KeepsOldMetadata": "new_changed_and_equal_documents_in_one_call",
    "ChangesOneByOne": "bad_changes_change_nothing",
    "ReplacesMetadata": "metadata_changes_without_encoding",
    "CountsAll": "count_and_ids_are_those_of_get",
    "KeepsWhatItWasNotGiven": "keep_only_removes_the_rest",
    "AddsOneByOne": "bad_documents_change_nothing",
    "StripsTexts": "characters_of_all_kinds_come_back",
    "NormalizesTexts": "unicode_forms_find_the_same",
    "SortsByID": "get_by_id_keeps_the_order_given_and_ignores_unknown",
    "DeletesTooMuch": "deleted_documents_are_found_by_no_leg",
    "StreamsEverythingAgain": "a_stream_adds_what_is_new_or_changed",
    "RepeatsItself": "diversify_skips_copies",
    "ScalesVectors": "search_by_vector_is_the_dense_search",
    "EncodesWhatIsEncoded": "vectors_from_elsewhere_are_found_as_if_made_here",
    "TakesOtherModels": "vectors_of_another_model_are_refused",
    "NeverCloses": "a_closed_collection_raises",
}
"""The contract's test that catches each broken store."""


def cases(test: Any) -> Iterator[dict[str, Any]]:
    """The values of a test's parameters, as `pytest.mark.parametrize` gives them."""
    columns = []
    for mark in getattr(test, "pytestmark", []):
        names = [mark.args[0]] if isinstance(mark.args[0], str) else list(mark.args[0])
        columns.append([dict(zip(names, row if len(names) > 1 else [row], strict=True)) for row in mark.args[1]])
    for row in itertools.product(*columns):
        yield {name: value for column in row for name, value in column.items()}


def run(store: type[LocalCollection], name: str) -> None:
    """Runs one of the contract's tests, in all its cases."""
    test = getattr(CollectionContract, f"test_{name}")
    encoders = {"colbert": FakeMultiVectorEncoder(), "sparse": FakeSparseEncoder(), "dense": FakeDenseEncoder()}
    for case in cases(test):
        filled = store.in_memory(encoders=list(encoders.values()), bm25=True)
        filled.add(list(DOCUMENTS), ids=list(IDS), metadata=[dict(fields) for fields in METADATA])
        with pytest.MonkeyPatch.context() as patch:
            fixtures: dict[str, Any] = {
                "make": store.in_memory,
                "encoders": encoders,
                "filled": filled,
                "small": store.in_memory(encoders=[encoders["dense"]], bm25=True),
                "monkeypatch": patch,
            }
            wanted = [name for name in inspect.signature(test).parameters if name in fixtures]
            test(CollectionContract(), **{name: fixtures[name] for name in wanted}, **case)


@pytest.mark.parametrize("store", CAUGHT_BY)
def test_a_broken_store_fails_the_contract(store: str) -> None:
    with pytest.raises((Exception, pytest.fail.Exception)) as caught:
        run(getattr(broken_stores, store), CAUGHT_BY[store])
    assert not isinstance(caught.value, TypeError | NameError), caught.value  # a mistake of the broken store itself


def test_the_same_tests_pass_without_the_bugs() -> None:
    for name in sorted(set(CAUGHT_BY.values())):
        run(LocalCollection, name)


def test_every_broken_store_is_tried() -> None:
    stores = {
        name for name, value in vars(broken_stores).items() if inspect.isclass(value) and not name.startswith("_")
    }
    stores = {name for name in stores if getattr(broken_stores, name).__module__ == broken_stores.__name__}
    assert stores - {"ChangesOptions"} == set(CAUGHT_BY)
