"""Everything registered in a test is gone after it."""

from collections.abc import Iterator

import pytest

from korag.legs.registry import temporary_registrations


@pytest.fixture(autouse=True)
def restored_registry() -> Iterator[None]:
    with temporary_registrations():
        yield
