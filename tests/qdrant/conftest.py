"""A server on loopback for the tests of this folder: the embedded engine behind Qdrant's REST interface."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from edge_server import EdgeServer

from korag import QdrantCollection
from korag.collection.qdrant import transport


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "qdrant" in item.path.parts:
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1"]))


@pytest.fixture(scope="module")
def module_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeServer]:
    with EdgeServer(tmp_path_factory.mktemp("edge")) as server:
        yield server


@pytest.fixture
def server(module_server: EdgeServer) -> Iterator[EdgeServer]:
    yield module_server
    module_server.fault = lambda method, path: None
    module_server.key, module_server.echo, module_server.version = None, False, "1.20.0"


NUMBERS = itertools.count()


@pytest.fixture
def open_new(server: EdgeServer) -> Iterator[Callable[..., QdrantCollection]]:
    """Makes collections of new names."""
    opened = []

    def make(name: str | None = None, **arguments: Any) -> QdrantCollection:
        collection = QdrantCollection.open(name or f"c{next(NUMBERS)}", url=server.url, **arguments)
        opened.append(collection)
        return collection

    yield make
    for collection in opened:
        collection.close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off is tested by what is waited for, not by waiting."""
    monkeypatch.setattr(transport, "_FIRST_WAIT", 0.0005)
