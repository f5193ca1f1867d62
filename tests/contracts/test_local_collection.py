"""The local collection, in memory and on disk."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

pytest.register_assert_rewrite("collection_contract")

from collection_contract import CollectionContract, Make  # noqa: E402 (after the line above, or asserts say little)

from korag import Collection  # noqa: E402


class TestInMemory(CollectionContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls) -> Make:
        return Collection.in_memory


class TestOnDisk(CollectionContract):
    @pytest.fixture(scope="class")
    @classmethod
    def make(cls, tmp_path_factory: pytest.TempPathFactory) -> Make:
        folders = (tmp_path_factory.mktemp("collection") / str(number) for number in itertools.count())

        def open_new(**arguments: Any) -> Collection:
            return Collection.open(next(folders), **arguments)

        return open_new
