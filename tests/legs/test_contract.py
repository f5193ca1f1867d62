"""The contract of collections, with a leg and a codec from outside the package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import toy_codec
import toy_leg

from korag.collection.local.collection import LocalCollection
from korag.legs.registry import temporary_registrations
from korag.testing import CollectionContract
from korag.testing.contract.fixtures import Make


class TestCodec(CollectionContract):
    """Dense vectors as `toy_codec.HalvesCodec` stores them."""

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Iterator[Make]:
        def make(**arguments: Any) -> LocalCollection:
            given = arguments.get("encoders")
            families = [getattr(encoder, "family", None) for encoder in given] if isinstance(given, list) else []
            codecs = {"dense": "halves"} if "dense" in families else None
            return LocalCollection.in_memory(**arguments, codecs=codecs)

        with temporary_registrations():
            toy_codec.register()
            yield make


class TestLeg(CollectionContract):
    """Every collection of several legs also has `toy_leg.PhraseLeg`."""

    extra_legs = ("phrase",)

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Iterator[Make]:
        def make(**arguments: Any) -> LocalCollection:
            several = bool(arguments.get("encoders")) and arguments.get("bm25")
            return LocalCollection.in_memory(**arguments, legs=["phrase"] if several else None)

        with temporary_registrations():
            toy_leg.register()
            yield make

    def test_the_leg_finds_a_document_by_its_own_text(self, filled: LocalCollection) -> None:
        for document in filled.get():
            hits = filled.search(document.text, using="phrase", k=3)
            assert (hits[0].id, hits[0].score) == (document.id, 1.0)
