"""The local collection, in memory and on disk."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from korag import Collection
from korag.encoders.base import Encoder
from korag.errors import InvalidArgumentError
from korag.testing import CollectionContract, SavingContract

Make = Callable[..., Collection]


class TestInMemory(CollectionContract, SavingContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Make:
        return Collection.in_memory

    def test_a_new_collection_needs_something_to_search_by(self, make: Make, encoders: dict[str, Encoder[Any]]) -> None:
        dense = encoders["dense"]
        with pytest.raises(InvalidArgumentError, match="bm25=True"):
            make(encoders=[])
        with pytest.raises(InvalidArgumentError, match="add bm25=True"):
            make(encoders=[dense], tokenizer=str.split)
        with pytest.raises(InvalidArgumentError, match="dense"):
            make(encoders=[dense, dense])
        with pytest.raises(InvalidArgumentError, match="encoders="):
            make(encoders="mini-dense")


class TestOnDisk(TestInMemory):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls, tmp_path_factory: pytest.TempPathFactory) -> Make:
        folders = (tmp_path_factory.mktemp("collection") / str(number) for number in itertools.count())

        def open_new(**arguments: Any) -> Collection:
            return Collection.open(next(folders), **arguments)

        return open_new


@pytest.mark.slow
class TestShippedModels(TestOnDisk):
    """The same with the vectors of the models that KoRAG ships."""

    @pytest.fixture(scope="class")
    @classmethod
    def encoders(cls, colbert: Any, splade: Any, dense: Any) -> dict[str, Encoder[Any]]:
        return {"colbert": colbert, "sparse": splade, "dense": dense}
