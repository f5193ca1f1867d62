"""The contract of collections, with a leg and a codec from outside the package."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import toy_codec
import toy_leg

from korag.collection.local.collection import LocalCollection
from korag.legs import dense, dense_search
from korag.legs.registry import temporary_registrations
from korag.testing import CollectionContract
from korag.testing.contract.fixtures import Make


def with_codec(name: str) -> Make:
    """Makes collections whose dense vectors, if any, are stored with a codec."""

    def make(**arguments: Any) -> LocalCollection:
        given = arguments.get("encoders")
        families = [getattr(encoder, "family", None) for encoder in given] if isinstance(given, list) else []
        return LocalCollection.in_memory(**arguments, codecs={"dense": name} if "dense" in families else None)

    return make


class TestCodec(CollectionContract):
    """Dense vectors as `toy_codec.HalvesCodec` stores them."""

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Iterator[Make]:
        with temporary_registrations():
            toy_codec.register()
            yield with_codec("halves")


@pytest.fixture(scope="class")
def always_by_codes() -> Iterator[None]:
    """Segments have codes, and are searched by them, however few documents there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense, "CODES_FROM", 1)
        patch.setattr(dense_search, "MIN_CODED", 0)
        patch.setattr(dense_search, "MIN_DOCUMENTS", 0)
        patch.setattr(dense_search, "MIN_RATIO", 0)
        yield


@pytest.mark.usefixtures("always_by_codes")
class TestFloat32(CollectionContract):
    """Dense vectors in float32, found by codes."""

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Make:
        return with_codec("float32")


@pytest.mark.usefixtures("always_by_codes")
class TestInt8(CollectionContract):
    """Dense vectors in int8, found by signs and codes."""

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Make:
        return with_codec("int8")


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
