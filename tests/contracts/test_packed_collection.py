"""Collections whose token vectors are packed: too few to learn a codebook from, and with one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from small_codebooks import learned_from

from korag import Collection
from korag.testing import CollectionContract, SavingContract

Make = Callable[..., Collection]


class TestRaw(CollectionContract, SavingContract):
    """Fewer tokens than a codebook is learned from."""

    codec = "1bit"

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls, tmp_path_factory: pytest.TempPathFactory) -> Make:
        folders = (tmp_path_factory.mktemp("collection") / str(number) for number in itertools.count())

        def open_new(**arguments: Any) -> Collection:
            has_tokens = any(encoder.family == "late_interaction" for encoder in arguments.get("encoders", ()))
            return Collection.open(next(folders), **arguments, **({"codec": cls.codec} if has_tokens else {}))

        return open_new


@pytest.mark.slow
class TestCoded(TestRaw):
    """All of them are coded."""

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def small_codebook(cls) -> Iterator[None]:
        with learned_from(8):
            yield


@pytest.mark.slow
class TestCodedWithVectors(TestCoded):
    codec = "4bit+vectors"
