"""The fixtures that a store's tests override."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from korag.collection.base import Collection
from korag.encoders.base import Encoder
from korag.testing.contract.samples import DOCUMENTS, IDS, METADATA
from korag.testing.encoders import FakeDenseEncoder, FakeMultiVectorEncoder, FakeSparseEncoder

Make = Callable[..., Collection]
"""``make(encoders=[…], bm25=True, tokenizer=None)`` returns a new, empty collection with these legs.

`bm25` is as for `korag.Collection.open`.
"""
Encoders = dict[str, Encoder[Any]]
"""An encoder of each family, by the name of its leg."""


class ContractFixtures:
    """Collections for the tests. Override `make`, and `encoders` to test with other vectors.

    Attributes:
        extra_legs: Legs that `make` adds to each collection with an encoder and BM25.
    """

    extra_legs: ClassVar[tuple[str, ...]] = ()

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Make:
        """Makes empty collections of the store under test."""
        raise NotImplementedError(f"{cls.__name__} must override the fixture `make`.")

    @pytest.fixture(scope="class")
    @classmethod
    def encoders(cls) -> Encoders:
        """Fake encoders."""
        return {"colbert": FakeMultiVectorEncoder(), "sparse": FakeSparseEncoder(), "dense": FakeDenseEncoder()}

    @pytest.fixture(scope="class")
    @classmethod
    def filled(cls, make: Make, encoders: Encoders) -> Collection:
        """Every leg, with `DOCUMENTS`, `IDS` and `METADATA`. Read-only: all tests share it."""
        collection = make(encoders=list(encoders.values()), bm25=True)
        assert collection.add(DOCUMENTS, ids=IDS, metadata=METADATA) == IDS
        return collection

    @pytest.fixture
    def small(self, make: Make, encoders: Encoders) -> Collection:
        """An empty collection to write to, with a dense leg and BM25."""
        return make(encoders=[encoders["dense"]], bm25=True)
