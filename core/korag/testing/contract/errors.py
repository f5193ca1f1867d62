"""Mistakes: each is an error that names it, before any work is done."""

from __future__ import annotations

import math
from typing import Any

import pytest

from korag.collection.base import Collection
from korag.errors import FilterError, InvalidArgumentError, InvalidTextError, KoragError
from korag.testing.contract.fixtures import ContractFixtures, Encoders, Make
from korag.testing.contract.samples import BAD_METADATA


class ErrorTests(ContractFixtures):
    """Invalid arguments."""

    @pytest.mark.parametrize(
        ("texts", "arguments", "place"),
        [
            ("한 문자열", {}, "texts"),
            (None, {}, "texts"),
            (["가", None], {}, r"texts\[1\]"),
            (["가", b"x"], {}, r"texts\[1\]"),
            (["가", "\ud83d"], {}, r"texts\[1\]"),
            (["가", "나"], {"ids": "가나"}, "ids"),
            (["가", "나"], {"ids": ["a", 2]}, r"ids\[1\]"),
            (["가", "나"], {"ids": ["a", ""]}, r"ids\[1\]"),
            (["가", "나"], {"ids": ["a", "b\0"]}, r"ids\[1\]"),
            (["가", "나"], {"ids": ["a", "\udc00"]}, r"ids\[1\]"),
            (["가", "나"], {"ids": ["a", "a"]}, r"ids\[1\]"),
            (["가", "나"], {"ids": ["a"]}, "ids"),
            (["가", "나"], {"ids": ["a", "b", "c"]}, "ids"),
            (["가", "나"], {"metadata": [{}]}, "metadata"),
            (["가", "나"], {"metadata": {"a": 1, "b": 2}}, "metadata"),
            (["가", "나"], {"metadata": 5}, "metadata"),
        ],
    )
    def test_bad_documents_change_nothing(
        self, small: Collection, texts: Any, arguments: dict[str, Any], place: str
    ) -> None:
        small.add(["있던 것"], ids=["a"])
        before = small.get()
        with pytest.raises(KoragError, match=place):
            small.add(texts, **arguments)
        assert small.get() == before

    @pytest.mark.parametrize("fields", BAD_METADATA.values(), ids=BAD_METADATA)
    def test_bad_metadata_changes_nothing(self, small: Collection, fields: Any) -> None:
        small.add(["있던 것"], ids=["a"])
        before = small.get()
        with pytest.raises(InvalidArgumentError, match=r"metadata\[1\]") as caught:
            small.add(["새것", "가"], ids=["a", "b"], metadata=[{}, fields])
        assert len(str(caught.value)) < 1_500
        assert small.get() == before

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"query": None}, InvalidTextError),
            ({"query": ["보증금"]}, InvalidTextError),
            ({"query": "\ud83d"}, InvalidTextError),
            ({"k": -1}, InvalidArgumentError),
            ({"k": 1.5}, InvalidArgumentError),
            ({"k": True}, InvalidArgumentError),
            ({"k": None}, InvalidArgumentError),
            ({"fetch_k": -5}, InvalidArgumentError),
            ({"fetch_k": "10"}, InvalidArgumentError),
            ({"using": "bm52"}, InvalidArgumentError),
            ({"using": ["bm25"]}, InvalidArgumentError),
            ({"fusion": "RRF"}, InvalidArgumentError),
            ({"weights": {"dense": -1.0}}, InvalidArgumentError),
            ({"weights": {"dense": math.nan}}, InvalidArgumentError),
            ({"weights": {"dense": math.inf}}, InvalidArgumentError),
            ({"weights": {"dense": "1"}}, InvalidArgumentError),
            ({"weights": {"colbret": 1.0}}, InvalidArgumentError),
            ({"weights": [0.5, 0.5]}, InvalidArgumentError),
            ({"using": "bm25", "weights": {"dense": 1.0}}, InvalidArgumentError),
            ({"where": {"a": {"$regex": "x"}}}, FilterError),
            ({"where": {"$nor": []}}, FilterError),
            ({"where": []}, FilterError),
            ({"where": "a = 1"}, FilterError),
            ({"where": ""}, FilterError),
        ],
    )
    def test_bad_searches_are_errors_before_any_work(
        self,
        make: Make,
        encoders: Encoders,
        monkeypatch: pytest.MonkeyPatch,
        arguments: dict[str, Any],
        error: type[Exception],
    ) -> None:
        collection, arguments = make(encoders=[encoders["dense"]], bm25=True), dict(arguments)
        monkeypatch.setattr(type(encoders["dense"]), "encode_queries", lambda *_, **__: pytest.fail("encoded a query"))
        everything: dict[str, Any] = {"query": "보증금"} | arguments
        with pytest.raises(error):
            collection.search(**everything)
        queries = [arguments.pop("query", "보증금")]
        with pytest.raises(error):
            collection.search_many(queries, **arguments)

    def test_bad_filters_delete_and_get_nothing(self, small: Collection) -> None:
        small.add(["가"], ids=["a"], metadata=[{"n": 1}])
        bad_filters: list[Any] = [[], "", {"n": {"$gtt": 1}}, {"$and": []}]
        for where in bad_filters:
            with pytest.raises(FilterError):
                small.delete(where=where)
            with pytest.raises(FilterError):
                small.get(where=where)
        bad_ids: list[Any] = ["a", [None], [""], 5]
        for ids in bad_ids:
            with pytest.raises(KoragError):
                small.delete(ids)
            with pytest.raises(KoragError):
                small.get(ids)
        assert len(small) == 1

    def test_delete_needs_to_be_told_what(self, small: Collection) -> None:
        with pytest.raises(InvalidArgumentError, match="where=\\{\\}"):
            small.delete()
        assert small.delete([]) == 0

    def test_an_encoder_that_fails_loses_nothing(
        self, small: Collection, encoders: Encoders, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small.add(["있던 것"], ids=["a"])
        before = small.get()
        with monkeypatch.context() as patch:
            patch.setattr(type(encoders["dense"]), "encode_documents", failing)
            with pytest.raises(RuntimeError, match="GPU"):
                small.add(["새것"], ids=["a"])
        assert small.get() == before
        small.add(["새것"], ids=["a"])
        assert [hit.text for hit in small.search("새것")] == ["새것"]


def failing(*_: object, **__: object) -> Any:
    """Stands for an encoder that fails."""
    raise RuntimeError("GPU")
